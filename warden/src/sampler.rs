//! Which shard is challenged next.
//!
//! # Invariants
//! - [`Sampler::next`] gives no shard twice in a round, unless it was given back, and only shards that are this
//!   warden's to audit ([`Duty`]).
//! - Of one miner a shard is drawn with the probability of its bytes among those not drawn yet: what a miner lost
//!   is met by its share of the miner's bytes, however it cut it into shards.
//! - Miners take turns, so that the loss of the same part of its bytes is found as soon at a small miner as at a
//!   large one.

mod draw;

use std::{collections::BTreeMap, ops::Bound};

use arion_types::{NodeId, ShardHash};
use rand::Rng;

use crate::duty::Duty;
use draw::Draw;

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
    /// Round in which it was drawn last; 0 for none.
    drawn_in: u64,
}

#[derive(Debug, Default)]
struct Miner {
    /// In order of address: a round must not depend on how a hash table lies in memory.
    live: BTreeMap<ShardHash, Entry>,
    /// To be challenged in this round; may hold shards that are gone.
    due: Draw,
    mine: Amount,
}

/// Shards and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amount {
    /// Number of shards.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, size: u32) {
        self.shards = self.shards.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size.into());
    }

    fn remove(&mut self, size: u32) {
        self.shards = self.shards.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size.into());
    }
}

/// The live shards and the state of the round.
#[derive(Debug)]
pub struct Sampler {
    round: u64,
    duty: Duty,
    miners: BTreeMap<NodeId, Miner>,
    last: Option<NodeId>,
}

impl Sampler {
    /// No shards yet, in this round (at least 1).
    pub fn new(round: u64, duty: Duty) -> Self {
        Self { round: round.max(1), duty, miners: BTreeMap::new(), last: None }
    }

    /// Number of the round.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Number of live shards, over all miners, whoever audits them.
    pub fn live(&self) -> usize {
        self.miners.values().map(|miner| miner.live.len()).sum()
    }

    /// Who audits what.
    pub fn duty(&self) -> &Duty {
        &self.duty
    }

    /// What is this warden's to audit, by miner.
    pub fn mine(&self) -> impl Iterator<Item = (&NodeId, Amount)> {
        self.miners.iter().map(|(node, miner)| (node, miner.mine))
    }

    /// The shard, if the miner has signed for it and it is still wanted.
    pub fn target(&self, node: &NodeId, shard: &ShardHash) -> Option<Target> {
        let entry = self.miners.get(node)?.live.get(shard)?;
        Some(Target { node: *node, shard: *shard, size: entry.size, gateway: entry.gateway })
    }

    /// A shard to audit, last audited in that round. One that is known already is left as it is.
    pub fn add(&mut self, target: Target, audited_in: u64) {
        let is_mine = self.duty.is_mine(&target.node, &target.shard);
        let miner = self.miners.entry(target.node).or_default();
        if miner.live.contains_key(&target.shard) {
            return;
        }
        let entry = Entry { size: target.size, gateway: target.gateway, drawn_in: audited_in };
        miner.live.insert(target.shard, entry);
        if is_mine {
            miner.mine.add(target.size);
            if audited_in < self.round {
                miner.due.push(target.shard, target.size);
            }
        }
    }

    /// A shard that is no longer wanted.
    pub fn remove(&mut self, node: &NodeId, shard: &ShardHash) {
        let Some(miner) = self.miners.get_mut(node) else { return };
        if let Some(entry) = miner.live.remove(shard)
            && self.duty.is_mine(node, shard)
        {
            miner.mine.remove(entry.size);
        }
        if miner.live.is_empty() {
            self.miners.remove(node);
        }
    }

    /// A shard that goes on being wanted, by another gateway.
    pub fn pass(&mut self, target: &Target) {
        let live = self.miners.get_mut(&target.node).map(|miner| &mut miner.live);
        if let Some(entry) = live.and_then(|live| live.get_mut(&target.shard)) {
            entry.gateway = target.gateway;
        }
    }

    /// The next shard of the round; `None` if none is left of the eligible miners.
    pub fn next(&mut self, rng: &mut impl Rng, is_eligible: impl Fn(&NodeId) -> bool) -> Option<Target> {
        let turns = turns(&self.miners, self.last);
        for node in turns.into_iter().filter(|node| is_eligible(node)) {
            let Some(miner) = self.miners.get_mut(&node) else { continue };
            while miner.due.bytes() > 0 {
                let byte = rng.random_range(0..miner.due.bytes());
                let Some(shard) = miner.due.take(byte) else { break };
                let is_due = |entry: &&mut Entry| entry.drawn_in < self.round;
                if let Some(entry) = miner.live.get_mut(&shard).filter(is_due) {
                    entry.drawn_in = self.round;
                    self.last = Some(node);
                    return Some(Target { node, shard, size: entry.size, gateway: entry.gateway });
                }
            }
        }
        None
    }

    /// The verdict was lost: the shard is due again if it is still wanted.
    pub fn give_back(&mut self, target: &Target) {
        if let Some(miner) = self.miners.get_mut(&target.node)
            && let Some(entry) = miner.live.get_mut(&target.shard)
            && entry.drawn_in == self.round
        {
            entry.drawn_in = self.round.saturating_sub(1);
            if self.duty.is_mine(&target.node, &target.shard) {
                miner.due.push(target.shard, entry.size);
            }
        }
    }

    /// Starts the next round if there is something to audit. Returns its number.
    pub fn start_round(&mut self) -> Option<u64> {
        if self.miners.is_empty() {
            return None;
        }
        self.round = self.round.saturating_add(1);
        self.fill();
        Some(self.round)
    }

    /// Others audit now: shards that become this warden's are due in this round, unless they were drawn in it.
    /// Walks over all live shards.
    pub fn set_duty(&mut self, duty: Duty) {
        if duty != self.duty {
            self.duty = duty;
            self.fill();
        }
    }

    fn fill(&mut self) {
        for (node, miner) in &mut self.miners {
            miner.due.clear();
            miner.mine = Amount::default();
            for (shard, entry) in &miner.live {
                if self.duty.is_mine(node, shard) {
                    miner.mine.add(entry.size);
                    if entry.drawn_in < self.round {
                        miner.due.push(*shard, entry.size);
                    }
                }
            }
        }
    }
}

/// All miners, beginning behind the last one.
fn turns(miners: &BTreeMap<NodeId, Miner>, last: Option<NodeId>) -> Vec<NodeId> {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let behind = miners.range((from, Bound::Unbounded));
    let before = last.map(|last| miners.range((Bound::Unbounded, Bound::Included(last))));
    behind.chain(before.into_iter().flatten()).map(|(node, _)| *node).collect()
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
