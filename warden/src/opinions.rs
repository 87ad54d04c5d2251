//! What other wardens found and this one has to see for itself.
//!
//! A finding of one warden weighs little on chain until others agree. Whoever is asked about a shard
//! ([`Duty::is_asked_about`]) challenges it out of turn when the finalised chain has another warden's finding.
//!
//! # Invariants
//! - Wardens do not keep each other busy: who has found something about a shard, or has looked since, is not asked
//!   again within [`WINDOW`] blocks.
//! - Bounded: at most [`WAITING_MAX`] shards wait; what is older than half a window is dropped.
//!
//! [`Duty::is_asked_about`]: crate::duty::Duty::is_asked_about

use std::collections::{HashMap, HashSet, VecDeque};

use arion_types::{NodeId, ShardHash};

/// Blocks in which a finding is looked into once.
pub const WINDOW: u32 = 100;
/// Most shards that wait; further findings are heard when their next ones are on chain.
pub const WAITING_MAX: usize = 1_024;

type Subject = (NodeId, ShardHash);

/// A verdict of this warden.
#[derive(Clone, Copy, Debug)]
struct Own {
    block: u32,
    is_finding: bool,
}

/// Findings to look into, and what this warden said itself.
#[derive(Clone, Debug, Default)]
pub struct Opinions {
    waiting: VecDeque<(Subject, u32)>,
    queued: HashSet<Subject>,
    own: HashMap<Subject, Own>,
}

impl Opinions {
    /// Number of shards that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// This warden has a verdict, with the seed of that block.
    pub fn said(&mut self, node: NodeId, shard: ShardHash, block: u32, is_finding: bool) {
        let own = self.own.entry((node, shard)).or_insert(Own { block, is_finding });
        if block >= own.block {
            *own = Own { block, is_finding };
        }
    }

    /// Another warden found something at `block`.
    pub fn heard(&mut self, node: NodeId, shard: ShardHash, block: u32, head: u32) {
        let subject = (node, shard);
        let is_old = block.saturating_add(WINDOW / 2) < head;
        if is_old || self.is_settled(&subject, block) || self.waiting.len() >= WAITING_MAX {
            return;
        }
        if self.queued.insert(subject) {
            self.waiting.push_back((subject, block));
        }
    }

    fn is_settled(&self, subject: &Subject, block: u32) -> bool {
        self.own.get(subject).is_some_and(|own| {
            own.block >= block || (own.is_finding && own.block.saturating_add(WINDOW) >= block)
        })
    }

    /// The next to look into.
    pub fn next(&mut self, head: u32) -> Option<Subject> {
        while let Some((subject, block)) = self.waiting.pop_front() {
            self.queued.remove(&subject);
            if block.saturating_add(WINDOW / 2) >= head && !self.is_settled(&subject, block) {
                return Some(subject);
            }
        }
        None
    }

    /// Forgets what no longer matters at `head`.
    pub fn forget(&mut self, head: u32) {
        self.own.retain(|_, own| own.block.saturating_add(2 * WINDOW) >= head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NODE: NodeId = NodeId([1; 32]);
    const SHARD: ShardHash = ShardHash([2; 32]);

    #[test]
    fn a_finding_is_looked_into_once() {
        let mut opinions = Opinions::default();
        opinions.heard(NODE, SHARD, 100, 103);
        opinions.heard(NODE, SHARD, 101, 103);
        assert_eq!(opinions.waiting(), 1);
        assert_eq!(opinions.next(104), Some((NODE, SHARD)));
        assert_eq!(opinions.next(104), None);
        // Looked into at 104 and not confirmed: only a later finding asks again.
        opinions.said(NODE, SHARD, 104, false);
        opinions.heard(NODE, SHARD, 101, 106);
        assert_eq!(opinions.next(106), None);
        opinions.heard(NODE, SHARD, 105, 106);
        assert_eq!(opinions.next(106), Some((NODE, SHARD)));
        // Confirmed: the other's next one within the window is not news.
        opinions.said(NODE, SHARD, 107, true);
        opinions.heard(NODE, SHARD, 107 + WINDOW, 107 + WINDOW);
        assert_eq!(opinions.next(107 + WINDOW), None);
        opinions.heard(NODE, SHARD, 108 + WINDOW, 108 + WINDOW);
        assert_eq!(opinions.next(108 + WINDOW), Some((NODE, SHARD)));
        opinions.forget(u32::MAX);
        assert!(opinions.own.is_empty());
    }

    #[test]
    fn old_findings_and_floods_are_dropped() {
        let mut opinions = Opinions::default();
        opinions.heard(NODE, SHARD, 100, 101 + WINDOW / 2);
        assert_eq!(opinions.waiting(), 0);
        opinions.heard(NODE, SHARD, 100, 100 + WINDOW / 2);
        assert_eq!(opinions.next(101 + WINDOW / 2), None);
        for n in 0..2 * WAITING_MAX {
            let mut shard = [0; 32];
            shard[..8].copy_from_slice(&(n as u64).to_le_bytes());
            opinions.heard(NODE, ShardHash(shard), 100, 100);
        }
        assert_eq!(opinions.waiting(), WAITING_MAX);
    }

    proptest! {
        /// Wardens that always confirm each other say no more than one thing each about a shard in a window,
        /// whatever the delays until the chain has it.
        #[test]
        fn wardens_do_not_echo(delays in proptest::collection::vec(1u32..60, 50), wardens in 2usize..6) {
            let mut opinions = vec![Opinions::default(); wardens];
            let mut delays = delays.into_iter().cycle();
            // (known from, by, block of the finding)
            let mut on_chain = vec![(10u32, 0usize, 1u32)];
            opinions[0].said(NODE, SHARD, 1, true);
            let mut said = vec![0u32; wardens];
            said[0] = 1;
            for head in 2..=WINDOW {
                for me in 0..wardens {
                    for (_, _, block) in on_chain.iter().filter(|(from, by, _)| *by != me && *from <= head) {
                        opinions[me].heard(NODE, SHARD, *block, head);
                    }
                    if opinions[me].next(head).is_some() {
                        said[me] += 1;
                        opinions[me].said(NODE, SHARD, head, true);
                        on_chain.push((head + delays.next().unwrap(), me, head));
                    }
                }
            }
            prop_assert!(said.iter().all(|count| *count <= 1), "{said:?}");
        }
    }
}
