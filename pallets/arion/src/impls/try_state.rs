//! Every invariant of the pallet's state, checked over all of it.

mod weights;

use alloc::collections::{BTreeMap, BTreeSet};
use arion_types::map::map_root;
use frame_support::{
    ensure,
    pallet_prelude::*,
    sp_runtime::{
        TryRuntimeError,
        traits::{SaturatedConversion, Zero},
    },
    traits::fungible::InspectHold,
};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_core::H256;

use crate::{
    AttestationSubmitters, AttestationsByBucket, BalanceOf, ChildCooldownEnd, ChildRegistrations,
    ChildStatus, Config, CurrentAttestationBucket, CurrentEpoch, EpochAttestationCommitments, EpochMiners,
    EpochParams, EpochRoot, EpochStarts, FamilyChildren, FamilyCount, FamilyGraceStart, FreeSlotUsed,
    HoldReason, KeptEpochs, NodeIdNonce, NodeIdToChild, Pallet, RegisteredWardens, TotalActiveChildren,
    WardenConflicts,
};

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet's state.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        Self::try_state_maps()?;
        Self::try_state_children()?;
        Self::try_state_attestations()?;
        Self::try_state_weights()
    }

    fn try_state_maps() -> Result<(), TryRuntimeError> {
        let kept = KeptEpochs::<T>::get();
        ensure!(kept.windows(2).all(|pair| pair[0] < pair[1]), "kept epochs do not grow");
        ensure!(kept.last().copied().unwrap_or(0) == CurrentEpoch::<T>::get(), "the current map is not kept");
        for epoch in &kept {
            let params = EpochParams::<T>::get(epoch).ok_or("a kept epoch has no parameters")?;
            let miners = EpochMiners::<T>::get(epoch).ok_or("a kept epoch has no miners")?;
            let root = EpochRoot::<T>::get(epoch).ok_or("a kept epoch has no root")?;
            ensure!(root == H256(map_root(&params, &miners)), "a root does not commit to its map");
            ensure!(miners.windows(2).all(|pair| pair[0].uid < pair[1].uid), "a map is not sorted");
        }
        let kept: BTreeSet<u64> = kept.into_iter().collect();
        ensure!(
            EpochParams::<T>::iter_keys().all(|epoch| kept.contains(&epoch)),
            "parameters were not pruned"
        );
        ensure!(EpochMiners::<T>::iter_keys().all(|epoch| kept.contains(&epoch)), "miners were not pruned");
        ensure!(EpochRoot::<T>::iter_keys().all(|epoch| kept.contains(&epoch)), "a root was not pruned");
        ensure!(
            EpochAttestationCommitments::<T>::iter_keys().all(|epoch| kept.contains(&epoch)),
            "a commitment was not pruned"
        );
        let starts = EpochStarts::<T>::get();
        ensure!(starts.iter().map(|(epoch, _)| *epoch).eq(kept.iter().copied()), "epochs and starts differ");
        ensure!(starts.windows(2).all(|pair| pair[0].1 <= pair[1].1), "an epoch started before an older one");
        Ok(())
    }

    fn try_state_children() -> Result<(), TryRuntimeError> {
        let mut active: BTreeMap<T::AccountId, BTreeSet<T::AccountId>> = BTreeMap::new();
        let mut deposits: BTreeMap<T::AccountId, BalanceOf<T>> = BTreeMap::new();
        for (child, registration) in ChildRegistrations::<T>::iter() {
            let family = registration.family;
            ensure!(FreeSlotUsed::<T>::contains_key(&family), "a family with children has its free slot");
            ensure!(NodeIdNonce::<T>::get(registration.node_id) > 0, "a registered node never used a nonce");
            *deposits.entry(family.clone()).or_default() += registration.deposit;
            match registration.status {
                ChildStatus::Active => {
                    ensure!(FamilyGraceStart::<T>::contains_key(&family), "a family's grace has no start");
                    ensure!(
                        NodeIdToChild::<T>::get(registration.node_id).as_ref() == Some(&child),
                        "an active child's node id does not lead to it"
                    );
                    active.entry(family).or_default().insert(child);
                }
                ChildStatus::Unbonding { .. } => {
                    ensure!(
                        ChildCooldownEnd::<T>::contains_key(&child),
                        "an unbonding child does not cool down"
                    );
                }
            }
        }
        // Of all accounts: a family without any record left has nothing held either.
        for account in frame_system::Account::<T>::iter_keys() {
            let on_hold = T::DepositCurrency::balance_on_hold(&HoldReason::ChildDeposit.into(), &account);
            let held = deposits.remove(&account).unwrap_or_default();
            ensure!(on_hold == held, "what is held is not the sum of the deposits");
        }
        ensure!(deposits.values().all(Zero::is_zero), "a deposit is of a family that has no account");
        let total: usize = active.values().map(BTreeSet::len).sum();
        ensure!(total as u32 == TotalActiveChildren::<T>::get(), "TotalActiveChildren is wrong");
        ensure!(total as u32 <= T::MaxChildrenTotal::get(), "more children than MaxChildrenTotal");
        ensure!(active.len() as u32 == FamilyCount::<T>::get(), "FamilyCount is wrong");
        ensure!(active.len() as u32 <= T::MaxFamilies::get(), "more families than MaxFamilies");
        ensure!(NodeIdToChild::<T>::iter().count() == total, "a node id leads to a child that is not active");
        let mut lists: BTreeMap<T::AccountId, BTreeSet<T::AccountId>> = BTreeMap::new();
        for (family, list) in FamilyChildren::<T>::iter() {
            let length = list.len();
            let children: BTreeSet<T::AccountId> = list.into_iter().collect();
            ensure!(children.len() == length, "a family has a child twice");
            lists.insert(family, children);
        }
        ensure!(lists == active, "FamilyChildren is not the active children by family");
        Ok(())
    }

    fn try_state_attestations() -> Result<(), TryRuntimeError> {
        let now = Self::bucket_of(frame_system::Pallet::<T>::block_number());
        let newest = CurrentAttestationBucket::<T>::get();
        for (bucket, records) in AttestationsByBucket::<T>::iter() {
            ensure!(bucket <= newest && newest <= now, "a bucket is newer than the current one");
            ensure!(bucket >= Self::oldest_attestation_bucket(), "a bucket was not pruned");
            ensure!(!records.is_empty(), "an empty bucket is stored");
            let mut seen = BTreeSet::new();
            for record in &records {
                ensure!(seen.insert(record.challenge()), "a challenge has two verdicts of one warden");
                let block: BlockNumberFor<T> = record.block_number.saturated_into();
                ensure!(Self::bucket_of(block) == bucket, "an attestation is not in the bucket of its block");
            }
        }
        ensure!(RegisteredWardens::<T>::count() <= T::MaxWardens::get(), "more wardens than MaxWardens");
        ensure!(
            WardenConflicts::<T>::iter_keys().all(|warden| !RegisteredWardens::<T>::contains_key(warden)),
            "a warden that contradicted itself is registered"
        );
        ensure!(
            AttestationSubmitters::<T>::count() <= T::MaxAttestationSubmitters::get(),
            "more submitters than MaxAttestationSubmitters"
        );
        Ok(())
    }
}
