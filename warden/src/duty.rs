//! Who audits what: wardens share the shards by hash, and take over from one that is silent.
//!
//! # Invariants
//! - Pure: wardens that see the same wardens present agree, shard by shard, on who audits it.
//! - One warden more or less moves only the shards that it gets or had (rendezvous hashing).
//! - This warden counts as present for itself, whatever the chain says: doubt leads to a shard being audited twice,
//!   never to one that nobody audits.

use std::collections::{BTreeMap, BTreeSet};

use arion_types::{AttestationRecord, NodeId, ShardHash};

/// Who shares the work, seen from one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Duty {
    me: NodeId,
    /// Never empty: `me` is in it.
    present: BTreeSet<NodeId>,
}

impl Duty {
    /// This warden shares with those present.
    pub fn new(me: NodeId, mut present: BTreeSet<NodeId>) -> Self {
        present.insert(me);
        Self { me, present }
    }

    /// This warden audits everything.
    pub fn alone(me: NodeId) -> Self {
        Self::new(me, BTreeSet::new())
    }

    /// Who shares the work.
    pub fn present(&self) -> &BTreeSet<NodeId> {
        &self.present
    }

    /// Whether this warden audits the shard in its rounds.
    pub fn is_mine(&self, node: &NodeId, shard: &ShardHash) -> bool {
        let mine = claim(&self.me, node, shard);
        self.present.iter().all(|warden| *warden == self.me || claim(warden, node, shard) < mine)
    }

    /// Whether this warden looks for itself at what another found.
    ///
    /// The chain believes failures up to the lower median of all who audited the miner: it takes more than half of
    /// them. These are the first in the order of the shard; of two wardens both.
    pub fn is_asked_about(&self, node: &NodeId, shard: &ShardHash) -> bool {
        let mine = claim(&self.me, node, shard);
        let before = self.present.iter().filter(|warden| claim(warden, node, shard) > mine).count();
        before <= self.present.len() / 2
    }
}

/// How strong a warden's claim to a shard is; the strongest audits it. Ties are broken by the key, which is part
/// of it.
fn claim(warden: &NodeId, node: &NodeId, shard: &ShardHash) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("arion 2026-11 audit duty v1");
    for part in [&warden.0, &node.0, &shard.0] {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Who of the registered wardens is at work, by their attestations on the finalised chain.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    /// Newest block of which something is known of a warden: it was registered then, or has attested about it.
    known_at: BTreeMap<NodeId, u32>,
}

impl Presence {
    /// Takes in what the finalised chain has at `head`.
    pub fn observe<'a>(
        &mut self,
        head: u32,
        registered: &BTreeSet<NodeId>,
        attestations: impl IntoIterator<Item = &'a AttestationRecord>,
    ) {
        self.known_at.retain(|warden, _| registered.contains(warden));
        for warden in registered {
            self.known_at.entry(*warden).or_insert(head);
        }
        for record in attestations {
            if let Some(known_at) = self.known_at.get_mut(&NodeId(record.warden_pubkey)) {
                let block = u32::try_from(record.block_number).unwrap_or(u32::MAX).min(head);
                *known_at = block.max(*known_at);
            }
        }
    }

    /// Wardens of which something is known in the last `silence` blocks.
    pub fn present(&self, head: u32, silence: u32) -> BTreeSet<NodeId> {
        let since = head.saturating_sub(silence);
        self.known_at.iter().filter(|(_, at)| **at >= since).map(|(warden, _)| *warden).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wardens(count: u8) -> BTreeSet<NodeId> {
        (0..count).map(|n| NodeId([n; 32])).collect()
    }

    fn shard(n: u16) -> ShardHash {
        let mut hash = [3; 32];
        hash[..2].copy_from_slice(&n.to_le_bytes());
        ShardHash(hash)
    }

    const NODE: NodeId = NodeId([9; 32]);

    proptest! {
        #[test]
        fn one_audits_and_more_than_half_are_asked(count in 1u8..9, n in any::<u16>()) {
            let duties: Vec<Duty> = wardens(count).into_iter().map(|me| Duty::new(me, wardens(count))).collect();
            let audits = duties.iter().filter(|duty| duty.is_mine(&NODE, &shard(n)));
            prop_assert_eq!(audits.clone().count(), 1);
            prop_assert!(audits.into_iter().all(|duty| duty.is_asked_about(&NODE, &shard(n))));
            let asked = duties.iter().filter(|duty| duty.is_asked_about(&NODE, &shard(n))).count();
            prop_assert_eq!(asked, usize::from(count) / 2 + 1);
            // The rule of the chain: with the others' counts at 0, is the lower median above 0?
            let mut failures = vec![0; usize::from(count) - asked];
            failures.extend(vec![1; asked]);
            prop_assert_eq!(failures[(failures.len() - 1) / 2], 1);
        }

        #[test]
        fn a_warden_that_leaves_moves_only_its_own_shards(count in 2u8..9, n in any::<u16>(), gone in any::<u8>()) {
            let gone = NodeId([gone % count; 32]);
            let left: BTreeSet<NodeId> = wardens(count).into_iter().filter(|warden| *warden != gone).collect();
            for me in &left {
                let before = Duty::new(*me, wardens(count)).is_mine(&NODE, &shard(n));
                let after = Duty::new(*me, left.clone()).is_mine(&NODE, &shard(n));
                let was_of_gone = Duty::new(gone, wardens(count)).is_mine(&NODE, &shard(n));
                prop_assert!(before == after || (after && was_of_gone));
            }
        }
    }

    #[test]
    fn shares_are_even() {
        let share = |me| {
            let duty = Duty::new(me, wardens(4));
            (0..4_000).filter(|n| duty.is_mine(&NODE, &shard(*n))).count()
        };
        // 1,000 expected each; the standard deviation is 27.
        let shares: Vec<usize> = wardens(4).into_iter().map(share).collect();
        assert!(shares.iter().all(|share| (890..=1_110).contains(share)), "{shares:?}");
        assert_eq!(shares.iter().sum::<usize>(), 4_000);
    }

    fn record(warden: u8, block: u64) -> AttestationRecord {
        crate::samples::record(NodeId([warden; 32]), block)
    }

    #[test]
    fn a_warden_is_present_from_its_registration_until_it_has_been_silent() {
        let mut presence = Presence::default();
        presence.observe(100, &wardens(2), []);
        assert_eq!(presence.present(100, 50), wardens(2));
        // The chain stands still: nobody is silent.
        assert_eq!(presence.present(150, 50), wardens(2));
        presence.observe(160, &wardens(2), [&record(1, 155), &record(7, 160)]);
        assert_eq!(presence.present(160, 50), [NodeId([1; 32])].into());
        // It speaks again; a block beyond the head counts as the head.
        presence.observe(170, &wardens(2), [&record(0, u64::MAX)]);
        assert_eq!(presence.present(170, 50), wardens(2));
        assert_eq!(presence.present(221, 50), BTreeSet::new());
        // Who is no longer registered is not present, and starts anew.
        presence.observe(170, &wardens(1), []);
        assert_eq!(presence.present(170, 50), wardens(1));
    }
}
