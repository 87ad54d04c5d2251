//! Which shard is challenged next.
//!
//! # Invariants
//! - [`Sampler::next`] gives no shard twice in a round, unless it was given back.
//! - A round ends when every shard of every eligible miner has a verdict.
//! - Miners take turns, so that one with many shards does not keep the others waiting.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use arion_types::{NodeId, ShardHash};
use rand::Rng;

/// A shard that a miner has signed for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// The miner.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardHash,
    /// Its length in bytes.
    pub size: u32,
    /// The gateway whose ledger has it.
    pub gateway: NodeId,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    size: u32,
    gateway: NodeId,
    /// Round of the last verdict; 0 for none.
    audited_in: u64,
}

#[derive(Debug, Default)]
struct Miner {
    live: HashMap<ShardHash, Entry>,
    /// To be challenged in this round, in no order; may hold shards that are gone.
    pending: Vec<ShardHash>,
}

/// The live shards and the state of the round.
#[derive(Debug)]
pub struct Sampler {
    round: u64,
    miners: BTreeMap<NodeId, Miner>,
    last: Option<NodeId>,
    in_flight: usize,
}

impl Sampler {
    /// No shards yet, in this round (at least 1).
    pub fn new(round: u64) -> Self {
        Self { round: round.max(1), miners: BTreeMap::new(), last: None, in_flight: 0 }
    }

    /// Number of the round.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Number of live shards, over all miners.
    pub fn live(&self) -> usize {
        self.miners.values().map(|miner| miner.live.len()).sum()
    }

    /// Challenges without a verdict.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether the miner has signed for the shard and it is still wanted.
    pub fn is_live(&self, node: &NodeId, shard: &ShardHash) -> bool {
        self.miners.get(node).is_some_and(|miner| miner.live.contains_key(shard))
    }

    /// A shard to audit, last audited in that round. One that is known already is left as it is.
    pub fn add(&mut self, target: Target, audited_in: u64) {
        let miner = self.miners.entry(target.node).or_default();
        if miner.live.contains_key(&target.shard) {
            return;
        }
        let entry = Entry { size: target.size, gateway: target.gateway, audited_in };
        miner.live.insert(target.shard, entry);
        if audited_in < self.round {
            miner.pending.push(target.shard);
        }
    }

    /// A shard that is no longer wanted.
    pub fn remove(&mut self, node: &NodeId, shard: &ShardHash) {
        if let Some(miner) = self.miners.get_mut(node) {
            miner.live.remove(shard);
            if miner.live.is_empty() {
                self.miners.remove(node);
            }
        }
    }

    /// The next shard of the round; `None` if none is left of the eligible miners.
    pub fn next(&mut self, rng: &mut impl Rng, is_eligible: impl Fn(&NodeId) -> bool) -> Option<Target> {
        let from = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let to = self.last.map_or(Bound::Unbounded, Bound::Included);
        let behind = self.miners.range((from, Bound::Unbounded)).map(|(node, _)| *node);
        let before = self.miners.range((Bound::Unbounded, to)).map(|(node, _)| *node);
        let turns: Vec<NodeId> = match self.last {
            Some(_) => behind.chain(before).collect(),
            None => behind.collect(),
        };
        for node in turns.into_iter().filter(|node| is_eligible(node)) {
            let Some(miner) = self.miners.get_mut(&node) else { continue };
            while !miner.pending.is_empty() {
                let shard = miner.pending.swap_remove(rng.random_range(0..miner.pending.len()));
                let is_due = |entry: &&Entry| entry.audited_in < self.round;
                if let Some(entry) = miner.live.get(&shard).filter(is_due) {
                    self.last = Some(node);
                    self.in_flight += 1;
                    return Some(Target { node, shard, size: entry.size, gateway: entry.gateway });
                }
            }
        }
        None
    }

    /// The shard has its verdict for this round, or there is none to be had in this round.
    pub fn audited(&mut self, target: &Target) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let round = self.round;
        if let Some(entry) = self.miners.get_mut(&target.node).and_then(|m| m.live.get_mut(&target.shard)) {
            entry.audited_in = round;
        }
    }

    /// The verdict was lost: the shard stays due in this round if it is still wanted.
    pub fn give_back(&mut self, target: &Target) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(miner) = self.miners.get_mut(&target.node)
            && miner.live.contains_key(&target.shard)
        {
            miner.pending.push(target.shard);
        }
    }

    /// Starts the next round if this one is over for the eligible miners and there is something to audit. Call
    /// it when [`Sampler::next`] gave `None`. Returns the number of the new round.
    pub fn start_round(&mut self) -> Option<u64> {
        if self.in_flight > 0 || self.live() == 0 {
            return None;
        }
        self.round += 1;
        for miner in self.miners.values_mut() {
            miner.pending.clear();
            miner.pending.extend(miner.live.keys());
        }
        Some(self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::HashSet;

    fn target(node: u8, shard: u8) -> Target {
        let mut hash = [node; 32];
        hash[0] = shard;
        Target { node: NodeId([node; 32]), shard: ShardHash(hash), size: 64, gateway: NodeId([0; 32]) }
    }

    fn sampler(counts: &[u8]) -> Sampler {
        let mut sampler = Sampler::new(1);
        for (node, count) in counts.iter().enumerate() {
            for shard in 0..*count {
                sampler.add(target(node as u8, shard), 0);
            }
        }
        sampler
    }

    fn run_round(sampler: &mut Sampler, rng: &mut StdRng) -> Vec<Target> {
        let mut seen = Vec::new();
        while let Some(target) = sampler.next(rng, |_| true) {
            sampler.audited(&target);
            seen.push(target);
        }
        seen
    }

    proptest! {
        #[test]
        fn every_round_covers_everything_exactly_once(
            counts in proptest::collection::vec(0u8..20, 1..8), seed in any::<u64>(),
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut sampler = sampler(&counts);
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            for _ in 0..3 {
                let seen = run_round(&mut sampler, &mut rng);
                prop_assert_eq!(seen.len(), total);
                prop_assert_eq!(seen.iter().collect::<HashSet<_>>().len(), total);
                prop_assert_eq!(sampler.start_round().is_some(), total > 0);
            }
        }
    }

    #[test]
    fn miners_take_turns_and_the_order_differs_between_rounds() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut sampler = sampler(&[30, 30]);
        let first = run_round(&mut sampler, &mut rng);
        assert!(first.windows(2).all(|pair| pair[0].node != pair[1].node));
        sampler.start_round().unwrap();
        assert_ne!(first, run_round(&mut sampler, &mut rng));
    }

    #[test]
    fn a_round_waits_for_verdicts_and_takes_back_what_had_none() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut sampler = sampler(&[2]);
        let first = sampler.next(&mut rng, |_| true).unwrap();
        let second = sampler.next(&mut rng, |_| true).unwrap();
        assert_eq!(sampler.next(&mut rng, |_| true), None);
        sampler.audited(&first);
        assert_eq!(sampler.start_round(), None);
        sampler.give_back(&second);
        assert_eq!(sampler.next(&mut rng, |_| true), Some(second));
        sampler.audited(&second);
        assert_eq!(sampler.start_round(), Some(2));
    }

    #[test]
    fn new_deleted_and_ineligible_shards() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut sampler = sampler(&[2, 2]);
        sampler.remove(&target(0, 0).node, &target(0, 0).shard);
        sampler.add(target(0, 7), 0);
        sampler.add(target(0, 7), 0);
        sampler.add(target(0, 8), 1);
        let is_first = |node: &NodeId| *node == target(0, 0).node;
        let mut seen = Vec::new();
        while let Some(target) = sampler.next(&mut rng, is_first) {
            sampler.audited(&target);
            seen.push(target);
        }
        assert_eq!(seen.iter().copied().collect::<HashSet<_>>(), [target(0, 1), target(0, 7)].into());
        assert_eq!(seen.len(), 2);
        assert_eq!(sampler.live(), 5);
    }
}
