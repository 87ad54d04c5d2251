//! Rules: `take`, `choose indep`, `chooseleaf indep`, `emit`, as `crush_do_rule` and `crush_choose_indep` run them
//! with Ceph's optimal tunables.

use alloc::vec::Vec;

use arion_types::Uid;

use crate::{
    hash::hash2,
    hierarchy::{Hierarchy, HierarchyError, Level, Node, Target},
    straw2::{Machine, Scratch},
};

/// Most positions of a placement: k + m of an erasure code over GF(2^8).
pub(crate) const POSITIONS_MAX: usize = 255;
/// Most steps of a rule.
pub(crate) const STEPS_MAX: usize = 32;
/// Attempts where the rule sets none: `choose_total_tries` 50, counted by Ceph as tries beyond the first.
const TRIES: u32 = 51;

/// One step of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Attempts per position of the steps that follow, at least 1; 51 where it is missing.
    SetChooseTries(u32),
    /// Attempts inside each bucket that `chooseleaf` tries, at least 1; 1 where it is missing.
    SetChooseleafTries(u32),
    /// Start at the bucket with this id.
    Take(i32),
    /// From each bucket at hand, `count` different items of a level; 0: as many as positions are asked for.
    ChooseIndep {
        /// How many.
        count: u8,
        /// What.
        level: Level,
    },
    /// From each bucket at hand, `count` different items of a level, and one miner out of each.
    ChooseleafIndep {
        /// How many; 0: as many as positions are asked for.
        count: u8,
        /// What.
        level: Level,
    },
    /// Append what was chosen to the answer.
    Emit,
}

/// A checked rule; what it takes are indices of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    /// Node of each `Take`, by step.
    taken: Vec<usize>,
}

impl Program {
    pub(crate) fn new(steps: &[Step], node: impl Fn(i32) -> Option<usize>) -> Result<Self, HierarchyError> {
        if steps.is_empty() || steps.len() > STEPS_MAX {
            return Err(HierarchyError::Steps { found: steps.len() });
        }
        let mut taken = Vec::with_capacity(steps.len());
        for step in steps {
            taken.push(match *step {
                Step::Take(id) => node(id).ok_or(HierarchyError::TakesUnknown { id })?,
                Step::SetChooseTries(0) | Step::SetChooseleafTries(0) => return Err(HierarchyError::NoTries),
                _ => 0,
            });
        }
        if steps.last() != Some(&Step::Emit) {
            return Err(HierarchyError::NoEmit);
        }
        Ok(Self { steps: steps.into(), taken })
    }
}

/// Items at hand between two steps.
struct Hand {
    targets: [Target; POSITIONS_MAX],
    len: usize,
}

impl Hand {
    #[inline(always)]
    fn new() -> Self {
        Self { targets: [Target::NONE; POSITIONS_MAX], len: 0 }
    }
}

/// What the draws of one placement have in common.
struct Run<'a, M> {
    m: M,
    tree: &'a Hierarchy,
    x: u32,
    scratch: Scratch,
    /// Miner of each position of the step at hand, for `chooseleaf`.
    leaves: [Target; POSITIONS_MAX],
}

/// A `choose` step in one bucket.
struct Choice {
    /// `numrep`: the stride between the attempts of a position.
    count: u32,
    level: Level,
    tries: u32,
    /// Attempts inside a bucket, for `chooseleaf`.
    leaf_tries: Option<u32>,
}

/// Runs the rule of `tree`.
#[inline(always)]
pub(crate) fn run<M: Machine>(m: M, tree: &Hierarchy, x: u32, out: &mut [Option<Uid>]) {
    out.fill(None);
    let most = out.len().min(POSITIONS_MAX);
    let mut run = Run { m, tree, x, scratch: Scratch::new(), leaves: [Target::NONE; POSITIONS_MAX] };
    let (mut hand, mut chosen) = (&mut Hand::new(), &mut Hand::new());
    let (mut tries, mut leaf_tries) = (TRIES, 1);
    let mut emitted = 0;
    for (step, taken) in tree.program.steps.iter().zip(&tree.program.taken) {
        let (count, level, leaf) = match *step {
            Step::SetChooseTries(set) => {
                tries = set;
                continue;
            }
            Step::SetChooseleafTries(set) => {
                leaf_tries = set;
                continue;
            }
            Step::Take(_) => {
                hand.targets[0] = Target::bucket(*taken);
                hand.len = 1;
                continue;
            }
            Step::Emit => {
                for (target, place) in hand.targets[..hand.len].iter().zip(&mut out[emitted..most]) {
                    *place = target.miner();
                }
                emitted = (emitted + hand.len).min(most);
                hand.len = 0;
                continue;
            }
            Step::ChooseIndep { count, level } => (count, level, false),
            Step::ChooseleafIndep { count, level } => (count, level, true),
        };
        let count = if count == 0 { most } else { usize::from(count) };
        let leaf_tries = leaf.then_some(leaf_tries);
        let choice = Choice { count: count as u32, level, tries, leaf_tries };
        chosen.len = 0;
        for target in &hand.targets[..hand.len] {
            // A position that stayed empty takes up no positions in the next step: Ceph closes the gap.
            let Some(node) = target.node().and_then(|node| tree.nodes.get(node)) else { continue };
            let end = chosen.len + count.min(most - chosen.len);
            run.choose(&choice, node, &mut chosen.targets[chosen.len..end]);
            chosen.len = end;
        }
        core::mem::swap(&mut hand, &mut chosen);
    }
}

/// What came of one descent.
enum Found {
    /// Index of an item of the wanted level.
    Item(usize),
    /// An empty bucket: another attempt may end elsewhere.
    Nothing,
    /// A miner above the wanted level: Ceph gives the position up.
    TooDeep,
}

impl<M: Machine> Run<'_, M> {
    /// `crush_choose_indep`: a different item for every position of `out`, or [`Target::NONE`].
    #[inline(always)]
    fn choose(&mut self, choice: &Choice, node: &Node, out: &mut [Target]) {
        let Choice { count, level, tries, leaf_tries } = *choice;
        out.fill(Target::OPEN);
        self.leaves[..out.len()].fill(Target::NONE);
        let mut open = out.len();
        // Once every item of a bucket is taken, further draws could only collide.
        let mut free = if node.holds == Some(level) { node.bucket.open.max(1) } else { usize::MAX };
        for attempt in 0..tries {
            if open == 0 || free == 0 {
                break;
            }
            for position in 0..out.len() {
                if out[position] != Target::OPEN {
                    continue;
                }
                let r = (position as u32).wrapping_add(count.wrapping_mul(attempt));
                // Nobody is placed yet in the first round: the next position will draw as well.
                let next = attempt == 0 && position + 1 < out.len();
                let item = match self.descend(node, level, r, next) {
                    Found::Item(item) => item,
                    Found::Nothing => continue,
                    Found::TooDeep => {
                        out[position] = Target::NONE;
                        open -= 1;
                        continue;
                    }
                };
                let target = self.tree.target[item];
                if out.contains(&target) {
                    continue;
                }
                let inner = target.node().and_then(|inner| self.tree.nodes.get(inner));
                if let (Some(inner), Some(tries)) = (inner, leaf_tries) {
                    self.leaves[position] = self.leaf(inner, count, position as u32, r, tries);
                    if self.leaves[position] == Target::NONE {
                        continue;
                    }
                } else {
                    // A miner that then refuses stays here if no attempt finds another: so does Ceph's.
                    self.leaves[position] = target;
                }
                if inner.is_none() && self.refuses(item) {
                    continue;
                }
                out[position] = target;
                open -= 1;
                free -= 1;
            }
        }
        for (target, leaf) in out.iter_mut().zip(&self.leaves) {
            if leaf_tries.is_some() {
                *target = *leaf;
            } else if *target == Target::OPEN {
                *target = Target::NONE;
            }
        }
    }

    /// One miner below `node` for a position, as the inner call of `chooseleaf`; `outer` is the r that drew `node`.
    #[inline(always)]
    fn leaf(&mut self, node: &Node, count: u32, position: u32, outer: u32, tries: u32) -> Target {
        for attempt in 0..tries {
            let r = position.wrapping_add(outer).wrapping_add(count.wrapping_mul(attempt));
            match self.descend(node, Level::Miner, r, false) {
                Found::Item(item) if !self.refuses(item) => return self.tree.target[item],
                Found::Item(_) | Found::Nothing => {}
                Found::TooDeep => break,
            }
        }
        Target::NONE
    }

    /// Draws from bucket to bucket until an item has the level. `next`: r + 1 will be drawn from the same bucket.
    #[inline(always)]
    fn descend(&mut self, from: &Node, level: Level, r: u32, next: bool) -> Found {
        let mut node = from;
        loop {
            if node.bucket.len == 0 {
                return Found::Nothing;
            }
            let next = next && core::ptr::eq(node, from);
            let item = self.tree.draw(self.m, &mut self.scratch, node, self.x, r, next);
            let inner = self.tree.target[item].node().and_then(|inner| self.tree.nodes.get(inner));
            match inner {
                Some(inner) if inner.level == level => return Found::Item(item),
                Some(inner) => node = inner,
                None if level == Level::Miner => return Found::Item(item),
                None => return Found::TooDeep,
            }
        }
    }

    /// `is_out`: whether the miner's reweight keeps it from this placement.
    #[inline(always)]
    fn refuses(&self, item: usize) -> bool {
        match self.tree.reweight[item] {
            0x1_0000.. => false,
            0 => true,
            reweight => hash2(self.x, self.tree.items.id[item]) & 0xffff >= reweight,
        }
    }
}
