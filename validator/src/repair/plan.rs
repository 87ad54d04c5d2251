//! What is to be done about a stripe: a pure function of its receipts, the current map and what miners answered.
//!
//! # Invariants
//! - A stripe is whole only if every position is held, and signed for, by the miner that the map names.
//! - A shard is ordered to no other miner than the one that the map names for its position.
//! - Of a stripe of which fewer than k shards are left anywhere nothing is written; nor of one whose shards do not make its id.

use arion_types::{CrushParams, NodeId, ShardHash, stripe::stripe_id};

use crate::holdings::{Place, Stripe};

/// What a miner says of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It has it.
    Held,
    /// It does not.
    Absent,
    /// It does not answer: its shards are out of reach, not lost.
    Silent,
}

/// Data shards and all shards of a stripe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// k.
    pub(super) data: u8,
    /// k + m.
    pub(super) shards: u8,
}

impl Shape {
    /// That of the stripes of a map.
    pub(super) fn of(params: &CrushParams) -> Self {
        Self { data: params.ec_k, shards: params.ec_k.saturating_add(params.ec_m) }
    }
}

/// How a stripe is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Condition {
    /// Every shard is held, and signed for, by the miner that the map names.
    Whole,
    /// Shards that are not.
    Degraded {
        /// How many.
        missing: u8,
    },
    /// Fewer than k shards are left.
    Unrecoverable,
    /// Its receipts are not of the shards that its id stands for: nothing is computed from them.
    Contradicted,
}

/// A shard that is to be brought to the miner that the map names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Job {
    /// Its position.
    pub(super) index: u8,
    /// The miner.
    pub(super) to: NodeId,
    /// Who has it: it is copied from one of them, or computed if there is none. `to` itself if only its receipt is missing.
    pub(super) from: Vec<NodeId>,
}

/// A shard that can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Source {
    /// Its position.
    pub(super) index: u8,
    /// Its address.
    pub(super) shard: ShardHash,
    /// Who has it.
    pub(super) nodes: Vec<NodeId>,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// How the stripe is.
    pub(super) condition: Condition,
    /// Data shards and all shards.
    pub(super) shape: Shape,
    /// Positions of which somebody has the shard.
    pub(super) present: u8,
    /// Positions that wait for a miner that the map names, has not signed for its shard, and does not answer.
    pub(super) waiting: u8,
    /// The shards that can be read, by position.
    pub(super) sources: Vec<Source>,
    /// What is to be written, in order of position; empty where nothing can be done now.
    pub(super) jobs: Vec<Job>,
}

impl Plan {
    /// It was found out that the lines of the stripe are not so: there is nothing to do.
    pub(super) fn contradict(&mut self) {
        self.condition = Condition::Contradicted;
        self.jobs.clear();
    }
}

/// The shard at each position, as far as it is known. All are the same where the stripe is a copy for everybody.
pub(super) fn shards(stripe: &Stripe, shape: Shape) -> (Shape, Vec<Option<ShardHash>>) {
    let known: Vec<_> = (0..shape.shards).map(|index| stripe.shard(index)).collect();
    if let Some(only) = known.iter().flatten().next()
        && known.iter().flatten().all(|shard| shard == only)
        && stripe_id(&vec![*only; usize::from(shape.shards)]) == stripe.id
    {
        return (Shape { data: 1, ..shape }, vec![Some(*only); usize::from(shape.shards)]);
    }
    (shape, known)
}

/// What is to be done about a stripe whose positions the map gives to `named`.
pub(super) fn plan(
    stripe: &Stripe,
    shape: Shape,
    named: &[Option<NodeId>],
    answer: impl Fn(&NodeId, &ShardHash) -> Answer,
) -> Plan {
    let (shape, shards) = shards(stripe, shape);
    let contradicted =
        shards.iter().copied().collect::<Option<Vec<_>>>().is_some_and(|all| stripe_id(&all) != stripe.id);
    let mut found = Plan {
        condition: Condition::Contradicted,
        shape,
        present: 0,
        waiting: 0,
        sources: Vec::new(),
        jobs: Vec::new(),
    };
    let (mut in_place, mut perhaps) = (0u8, 0u8);
    for (index, shard) in (0u8..).zip(&shards) {
        let to = named.get(usize::from(index)).copied().flatten();
        let Some(shard) = shard else {
            // Nobody has signed for it: what it is follows from the others.
            found.jobs.extend(to.map(|to| Job { index, to, from: Vec::new() }));
            continue;
        };
        // Where all shards are the same, a miner that has one has that of any position, and keeps it under the first.
        let signed = |node: &NodeId| {
            let of_position = |place: &&Place| shape.data == 1 || place.index == index;
            stripe.places.iter().filter(of_position).any(|place| place.node == *node)
        };
        let of_named = to.map(|to| (to, answer(&to, shard), signed(&to)));
        let mut nodes: Vec<NodeId> = match of_named {
            Some((to, Answer::Held, _)) => vec![to],
            _ => Vec::new(),
        };
        let mut is_silent = false;
        for place in stripe.holders(index).filter(|place| Some(place.node) != to) {
            match answer(&place.node, shard) {
                Answer::Held => nodes.push(place.node),
                Answer::Silent => is_silent = true,
                Answer::Absent => {}
            }
        }
        is_silent |= matches!(of_named, Some((_, Answer::Silent, true)));
        match nodes.is_empty() {
            true => perhaps += u8::from(is_silent),
            false => found.present += 1,
        }
        match of_named {
            Some((_, Answer::Held, true)) => in_place += 1,
            Some((to, Answer::Held, false)) => {
                found.jobs.push(Job { index, to, from: vec![to] });
            }
            Some((to, Answer::Absent, _)) => {
                found.jobs.push(Job { index, to, from: nodes.clone() });
            }
            // It is waited for until it answers or the map names another.
            Some((_, Answer::Silent, signed)) => found.waiting += u8::from(!signed),
            None => {}
        }
        if !nodes.is_empty() {
            found.sources.push(Source { index, shard: *shard, nodes });
        }
    }
    if contradicted {
        found.jobs.clear();
        return found;
    }
    found.condition = match shape.shards - in_place {
        0 => Condition::Whole,
        _ if found.present.saturating_add(perhaps) < shape.data => Condition::Unrecoverable,
        missing => Condition::Degraded { missing },
    };
    match found.condition {
        Condition::Degraded { .. } if found.present >= shape.data => {}
        // What is there can be moved, but nothing can be computed now.
        Condition::Degraded { .. } => found.jobs.retain(|job| !job.from.is_empty()),
        _ => found.jobs.clear(),
    }
    found
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
