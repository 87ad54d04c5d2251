//! The sweep: what has had its time leaves the state, a few entries per block that has room for it.

use alloc::vec::Vec;
use frame_support::{pallet_prelude::*, sp_runtime::traits::Zero};

use crate::{
    AttestationsByBucket, AuditTallies, ChildCooldownEnd, ChildRegistrationOf, ChildRegistrations,
    ChildStatus, Config, CurrentEpoch, CurrentWeightRound, Event, MapVotes, NodeIdCooldownEnd, Pallet,
    QualityReports, Sweep, SweepPosition, WeightInfo, types::SweptItem,
};

/// Entries looked at per block.
pub(crate) const SWEPT_PER_BLOCK: u32 = 32;

impl<T: Config> Pallet<T> {
    /// Looks at the next entries of the item the sweep is at and removes those that have had their time, if
    /// the block has `left` for it.
    pub(crate) fn sweep(left: Weight) -> Weight {
        let look = T::DbWeight::get().reads(1);
        if !look.all_lte(left) {
            return Weight::zero();
        }
        let Sweep { item, after } = SweepPosition::<T>::get();
        let cost = Self::weight_of_sweep(item);
        if !cost.all_lte(left) {
            return look;
        }
        let last = match item {
            SweptItem::MapVotes => Self::sweep_map_votes(after.into_inner()),
            SweptItem::ChildCooldowns => Self::sweep_child_cooldowns(after.into_inner()),
            SweptItem::NodeIdCooldowns => Self::sweep_node_id_cooldowns(after.into_inner()),
            SweptItem::Attestations => Self::sweep_attestations(after.into_inner()),
            SweptItem::QualityReports => Self::sweep_quality_reports(after.into_inner()),
            SweptItem::AuditTallies => Self::sweep_audit_tallies(after.into_inner()),
            SweptItem::FreeUnbonding => Self::sweep_free_unbonding(after.into_inner()),
        };
        let next = last.and_then(|key| BoundedVec::try_from(key).ok());
        SweepPosition::<T>::put(match next {
            Some(after) => Sweep { item, after },
            None => Sweep { item: item.next(), after: BoundedVec::default() },
        });
        cost
    }

    /// Cost of looking at the next entries of an item, with that of finding out which item it is.
    fn weight_of_sweep(item: SweptItem) -> Weight {
        let entries = SWEPT_PER_BLOCK;
        match item {
            SweptItem::MapVotes => T::WeightInfo::sweep_map_votes(entries),
            SweptItem::ChildCooldowns => T::WeightInfo::sweep_child_cooldowns(entries),
            SweptItem::NodeIdCooldowns => T::WeightInfo::sweep_node_id_cooldowns(entries),
            SweptItem::Attestations => T::WeightInfo::sweep_attestations(entries),
            SweptItem::QualityReports => T::WeightInfo::sweep_quality_reports(entries),
            SweptItem::AuditTallies => T::WeightInfo::sweep_audit_tallies(entries),
            SweptItem::FreeUnbonding => T::WeightInfo::sweep_free_unbonding(entries),
        }
    }

    fn sweep_map_votes(after: Vec<u8>) -> Option<Vec<u8>> {
        let (current, validators) = (CurrentEpoch::<T>::get(), T::ValidatorVotes::get());
        let keys =
            if after.is_empty() { MapVotes::<T>::iter_keys() } else { MapVotes::<T>::iter_keys_from(after) };
        sweep_keys(keys, MapVotes::<T>::hashed_key_for, |voter| {
            let is_validator = validators.iter().any(|(validator, _)| validator == voter);
            if !is_validator || MapVotes::<T>::get(voter).is_some_and(|vote| vote.epoch <= current) {
                MapVotes::<T>::remove(voter);
            }
        })
    }

    /// The cooldown of an account stays as long as its record: it says that the child left.
    fn sweep_child_cooldowns(after: Vec<u8>) -> Option<Vec<u8>> {
        let now = frame_system::Pallet::<T>::block_number();
        let keys = if after.is_empty() {
            ChildCooldownEnd::<T>::iter_keys()
        } else {
            ChildCooldownEnd::<T>::iter_keys_from(after)
        };
        sweep_keys(keys, ChildCooldownEnd::<T>::hashed_key_for, |child| {
            let is_over = ChildCooldownEnd::<T>::get(child).is_some_and(|end| end <= now);
            if is_over && !ChildRegistrations::<T>::contains_key(child) {
                ChildCooldownEnd::<T>::remove(child);
            }
        })
    }

    fn sweep_node_id_cooldowns(after: Vec<u8>) -> Option<Vec<u8>> {
        let now = frame_system::Pallet::<T>::block_number();
        let keys = if after.is_empty() {
            NodeIdCooldownEnd::<T>::iter_keys()
        } else {
            NodeIdCooldownEnd::<T>::iter_keys_from(after)
        };
        sweep_keys(keys, NodeIdCooldownEnd::<T>::hashed_key_for, |node_id| {
            if NodeIdCooldownEnd::<T>::get(node_id).is_some_and(|end| end <= now) {
                NodeIdCooldownEnd::<T>::remove(node_id);
            }
        })
    }

    /// Normally `prune_attestations` was here before; not if a runtime upgrade shortened the retention.
    fn sweep_attestations(after: Vec<u8>) -> Option<Vec<u8>> {
        let oldest = Self::oldest_attestation_bucket();
        let keys = if after.is_empty() {
            AttestationsByBucket::<T>::iter_keys()
        } else {
            AttestationsByBucket::<T>::iter_keys_from(after)
        };
        sweep_keys(keys, AttestationsByBucket::<T>::hashed_key_for, |bucket| {
            if *bucket < oldest {
                AttestationsByBucket::<T>::remove(bucket);
            }
        })
    }

    fn sweep_quality_reports(after: Vec<u8>) -> Option<Vec<u8>> {
        let keys = if after.is_empty() {
            QualityReports::<T>::iter_keys()
        } else {
            QualityReports::<T>::iter_keys_from(after)
        };
        let key_of = |(bucket, child)| QualityReports::<T>::hashed_key_for(bucket, child);
        sweep_keys(keys, key_of, |(bucket, child)| {
            if !Self::is_in_use(*bucket) {
                QualityReports::<T>::remove(bucket, child);
            }
        })
    }

    fn sweep_audit_tallies(after: Vec<u8>) -> Option<Vec<u8>> {
        let keys = if after.is_empty() {
            AuditTallies::<T>::iter_keys()
        } else {
            AuditTallies::<T>::iter_keys_from(after)
        };
        let key_of = |(bucket, child)| AuditTallies::<T>::hashed_key_for(bucket, child);
        sweep_keys(keys, key_of, |(bucket, child)| {
            if !Self::is_in_use(*bucket) {
                AuditTallies::<T>::remove(bucket, child);
            }
        })
    }

    /// Where nothing is held, nobody has a reason to claim, and the record would stay for ever.
    fn sweep_free_unbonding(after: Vec<u8>) -> Option<Vec<u8>> {
        let keys = if after.is_empty() {
            ChildRegistrations::<T>::iter_keys()
        } else {
            ChildRegistrations::<T>::iter_keys_from(after)
        };
        sweep_keys(keys, ChildRegistrations::<T>::hashed_key_for, |child| {
            if let Some(record) = ChildRegistrations::<T>::get(child).filter(|it| Self::is_over(child, it)) {
                ChildRegistrations::<T>::remove(child);
                Self::deposit_event(Event::ChildUnbonded {
                    family: record.family,
                    child: child.clone(),
                    node_id: record.node_id,
                    amount: record.deposit,
                });
            }
        })
    }

    /// Whether nothing is held for a child that left, and neither unbonding nor cooldown goes on.
    fn is_over(child: &T::AccountId, record: &ChildRegistrationOf<T>) -> bool {
        let now = frame_system::Pallet::<T>::block_number();
        let ChildStatus::Unbonding { end } = record.status else { return false };
        record.deposit.is_zero()
            && end <= now
            && ChildCooldownEnd::<T>::get(child).is_none_or(|cooldown_end| cooldown_end <= now)
    }

    /// Whether a weight bucket is open or being weighed.
    pub(crate) fn is_in_use(bucket: u32) -> bool {
        bucket >= Self::open_weight_bucket()
            || CurrentWeightRound::<T>::get().is_some_and(|round| round.bucket == bucket)
    }
}

/// Visits the next [`SWEPT_PER_BLOCK`] keys; the storage key of the last, or `None` at the end.
fn sweep_keys<Key: Clone>(
    mut keys: impl Iterator<Item = Key>,
    storage_key: impl Fn(Key) -> Vec<u8>,
    visit: impl Fn(&Key),
) -> Option<Vec<u8>> {
    let mut last = None;
    for _ in 0..SWEPT_PER_BLOCK {
        let key = keys.next()?;
        visit(&key);
        last = Some(key);
    }
    last.map(storage_key)
}
