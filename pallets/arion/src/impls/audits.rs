//! From attestations to tallies and counts: which miner a verdict is about, what each warden saw of it in the
//! bucket, and how its audits ended since it is registered.

use alloc::collections::{BTreeMap, btree_map::Entry};
use arion_types::{AttestationRecord, AttestationResult, Uid};
use frame_support::{pallet_prelude::*, sp_runtime::traits::SaturatedConversion};
use frame_system::pallet_prelude::BlockNumberFor;

use crate::{
    AuditCounts, AuditCountsByChild, AuditTallies, AuditTally, Config, EpochMiners, EpochStarts, Maintenance,
    Maintenances, NodeIdToChild, Pallet,
};

/// Maps that a batch of attestations reads to find out whom they are about.
pub(crate) const MAPS_PER_BATCH: u32 = 4;

/// What each warden saw of a miner in a bucket.
type Tallies<T> = BoundedVec<AuditTally, <T as Config>::MaxWardens>;

/// What is known of a child while a batch is counted.
struct Audits<T: Config> {
    tallies: Tallies<T>,
    counts: AuditCounts,
    away: Option<Maintenance<BlockNumberFor<T>>>,
    is_changed: bool,
}

impl<T: Config> Audits<T> {
    fn of(open: u32, child: &T::AccountId) -> Self {
        Self {
            tallies: AuditTallies::<T>::get(open, child),
            counts: AuditCountsByChild::<T>::get(child),
            away: Maintenances::<T>::get(child),
            is_changed: false,
        }
    }
}

/// Node ids by uid of a map.
type Nodes = BTreeMap<Uid, [u8; 32]>;

impl<T: Config> Pallet<T> {
    /// Counts verdicts for the open weight bucket, unless their challenge is older than the bucket before it
    /// or their miner is in no map or no active child; timeouts of a child that is away as announced do not count.
    pub(crate) fn tally(records: &[AttestationRecord]) {
        let open = Self::open_weight_bucket();
        let starts = EpochStarts::<T>::get();
        let mut maps: BTreeMap<u64, Nodes> = BTreeMap::new();
        let mut children: BTreeMap<[u8; 32], Option<T::AccountId>> = BTreeMap::new();
        let mut audits: BTreeMap<T::AccountId, Audits<T>> = BTreeMap::new();
        for record in records {
            let block: BlockNumberFor<T> = record.block_number.saturated_into();
            if Self::weight_bucket_of(block).saturating_add(1) < open {
                continue;
            }
            let Some(epoch) = epoch_at(&starts, block) else { continue };
            let Some(node_id) = Self::node_in(&mut maps, epoch, record.miner_uid) else { continue };
            let child = children.entry(node_id).or_insert_with(|| NodeIdToChild::<T>::get(node_id));
            let Some(child) = child.clone() else { continue };
            let Audits { tallies, counts, away, is_changed } = match audits.entry(child) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let stored = Audits::of(open, entry.key());
                    entry.insert(stored)
                }
            };
            let is_away = away.is_some_and(|away| away.covers(&block));
            if is_away && record.result == AttestationResult::Timeout {
                continue;
            }
            add_verdict(tallies, record);
            count(counts, record);
            *is_changed = true;
        }
        for (child, Audits { tallies, counts, .. }) in audits.into_iter().filter(|(_, it)| it.is_changed) {
            AuditTallies::<T>::insert(open, &child, tallies);
            AuditCountsByChild::<T>::insert(child, counts);
        }
    }

    /// The node with a uid in the map of an epoch. Of more than [`MAPS_PER_BATCH`] maps, only the first are
    /// read; the nearest of them answers for the others, as a uid never moves to another node.
    fn node_in(maps: &mut BTreeMap<u64, Nodes>, epoch: u64, uid: Uid) -> Option<[u8; 32]> {
        if !maps.contains_key(&epoch) && maps.len() < MAPS_PER_BATCH as usize {
            let miners = EpochMiners::<T>::get(epoch).unwrap_or_default();
            maps.insert(epoch, miners.into_iter().map(|miner| (miner.uid, miner.node_id)).collect());
        }
        let before = maps.range(..=epoch).next_back();
        before.or_else(|| maps.iter().next()).and_then(|(_, nodes)| nodes.get(&uid).copied())
    }
}

/// Epoch of the map in force at a block: the newest that started by then, or else the oldest kept.
fn epoch_at<BlockNumber: PartialOrd>(starts: &[(u64, BlockNumber)], block: BlockNumber) -> Option<u64> {
    let in_force = starts.iter().rev().find(|(_, start)| *start <= block);
    in_force.or_else(|| starts.first()).map(|(epoch, _)| *epoch)
}

/// Adds a verdict to its warden's entry. When as many wardens as may be audited the miner, others are not
/// heard in this bucket.
fn add_verdict<S: Get<u32>>(tallies: &mut BoundedVec<AuditTally, S>, record: &AttestationRecord) {
    let known = tallies.iter().position(|tally| tally.warden == record.warden_pubkey);
    let position = known.unwrap_or_else(|| {
        let _ =
            tallies.try_push(AuditTally { warden: record.warden_pubkey, timeouts: 0, integrity_fails: 0 });
        tallies.len().saturating_sub(1)
    });
    let Some(tally) = tallies.get_mut(position).filter(|tally| tally.warden == record.warden_pubkey) else {
        return;
    };
    match record.result {
        AttestationResult::Passed => {}
        AttestationResult::Timeout => tally.timeouts = tally.timeouts.saturating_add(1),
        AttestationResult::Failed | AttestationResult::InvalidProof => {
            tally.integrity_fails = tally.integrity_fails.saturating_add(1);
        }
    }
}

/// Adds a verdict to its miner's counts.
fn count(counts: &mut AuditCounts, record: &AttestationRecord) {
    let number = match record.result {
        AttestationResult::Passed => &mut counts.passed,
        AttestationResult::Failed => &mut counts.failed,
        AttestationResult::Timeout => &mut counts.timeouts,
        AttestationResult::InvalidProof => &mut counts.invalid_proofs,
    };
    *number = number.saturating_add(1);
    counts.last_block = counts.last_block.max(record.block_number);
}
