//! Measures what every call and every hook costs, each in the worst state it can meet: lists are full, as many
//! validators as can be have their votes counted, the last vote publishes its map.
//!
//! `./scripts/bench weights` runs this in wasm and writes `weights.rs` from it.

// The macro makes public items without documentation.
#![allow(missing_docs)]

mod setup;

use alloc::{boxed::Box, vec::Vec};
use arion_types::{MinerStatsUpdate, NetworkTotals, map::map_root};
use frame_benchmarking::v2::*;
use frame_support::{
    BoundedVec,
    sp_runtime::traits::Bounded,
    traits::{Get, UncheckedOnRuntimeUpgrade, fungible::Mutate},
    weights::Weight,
};
use frame_system::RawOrigin;
use sp_core::H256;

use crate::{
    AttestationSubmitters, AttestationsByBucket, AuditCountsByChild, AuditTallies, BalanceOf, BaseDeposit,
    Call, ChildCooldownEnd, ChildRegistrations, ChildStatus, ClosingVotes, Config, CurrentEpoch,
    CurrentWeightRound, EpochAttestationCommitments, EpochRoot, EpochStarts, FamilyChildren, FamilyCount,
    FamilyGraceStart, FamilyWeight, FamilyWeightRaw, FreeSlotUsed, GlobalNextDeposit, KeptEpochs,
    LockupEnabled, Maintenances, MapVote, MapVotes, MinerStats, NetworkStats, NodeIdCooldownEnd,
    NodeQualityByChild, NodeWeightByChild, Pallet, QualityReports, RegisteredWardens, Sweep, SweepPosition,
    TimeoutsToConfirm, TotalActiveChildren, WardenConflicts, WeightReporters, WeightRound,
    impls::{SWEPT_PER_BLOCK, VOTES_CLEARED_MAX},
    migrations::V1ToV2,
    offchain::ReporterId,
    types::SweptItem,
};

/// What benchmarks need of the rest of the runtime.
pub trait BenchmarkHelper<AccountId> {
    /// Makes these accounts the validators, each with votes, all of them with as many.
    fn set_validators(validators: &[AccountId]);
    /// Makes an account a family, with as many proxies as it can have, of which the child is found last.
    fn set_family(family: &AccountId, child: &AccountId);
    /// Makes a key the reporter of a validator.
    fn set_reporter(validator: &AccountId, reporter: &ReporterId);
}

/// Wardens that audited a child in benchmarks of weighing: all there can be.
fn all_wardens<T: Config>() -> Vec<[u8; 32]> {
    (0..T::MaxWardens::get()).map(setup::warden).collect()
}

/// Puts the sweep to the start of an item.
fn sweep_from<T: Config>(item: SweptItem) {
    SweepPosition::<T>::put(Sweep { item, after: BoundedVec::default() });
}

#[benchmarks(where T::DepositCurrency: Mutate<T::AccountId>)]
mod benchmarks {
    use super::*;

    /// The last vote, which publishes the map: as many maps as can be are kept already, and the votes of former
    /// validators are still there.
    #[benchmark]
    fn submit_crush_map(m: Linear<1, { T::MaxMiners::get() }>) {
        let kept = T::MaxEpochsKept::get();
        CurrentEpoch::<T>::put(u64::from(kept));
        KeptEpochs::<T>::put(setup::full::<_, T::MaxEpochsKept>(|n| u64::from(n) + 1));
        EpochStarts::<T>::put(setup::full::<_, T::MaxEpochsKept>(|n| (u64::from(n) + 1, 0u32.into())));
        setup::children::<T>(m);
        let (epoch, params, miners) = (u64::from(kept) + 1, setup::PARAMS, setup::miners::<T>(m));
        let vote = MapVote { epoch, root: H256(map_root(&params, &miners)) };
        let mut validators = setup::validators::<T>();
        let last = validators.pop().expect("there is a validator");
        for n in validators.len() as u32 + 1..VOTES_CLEARED_MAX {
            validators.push(account("former validator", n, 0));
        }
        for voter in validators {
            MapVotes::<T>::insert(voter, vote);
        }

        #[extrinsic_call]
        _(RawOrigin::Signed(last), epoch, params, miners);

        assert_eq!(CurrentEpoch::<T>::get(), epoch);
        assert_eq!(MapVotes::<T>::iter().count(), 0);
    }

    /// A paid registration into a family with one free place, after a price that decayed for long.
    #[benchmark]
    fn register_child() {
        let family: T::AccountId = whitelisted_caller();
        let child: T::AccountId = account("new child", 0, 0);
        T::BenchmarkHelper::set_family(&family, &child);
        T::DepositCurrency::set_balance(&family, BalanceOf::<T>::max_value() / 4u32.into());
        let siblings = setup::children::<T>(T::MaxChildrenPerFamily::get() - 1);
        FamilyChildren::<T>::insert(&family, BoundedVec::truncate_from(siblings));
        FreeSlotUsed::<T>::insert(&family, ());
        FamilyGraceStart::<T>::insert(&family, 0);
        LockupEnabled::<T>::put(true);
        BaseDeposit::<T>::put(T::BaseChildDeposit::get());
        GlobalNextDeposit::<T>::put(BalanceOf::<T>::max_value());
        let halving = setup::blocks::<T>(T::GlobalDepositHalvingPeriodBlocks::get());
        setup::set_block::<T>(halving * 128 + 1);
        ChildCooldownEnd::<T>::insert(&child, frame_system::Pallet::<T>::block_number());
        let (node_id, node_sig) = setup::consent::<T>(&family, &child);
        NodeIdCooldownEnd::<T>::insert(node_id, frame_system::Pallet::<T>::block_number());

        #[extrinsic_call]
        _(RawOrigin::Signed(family.clone()), family.clone(), child.clone(), node_id, node_sig);

        assert!(ChildRegistrations::<T>::get(child).is_some_and(|child| child.deposit > 0u32.into()));
    }

    /// The family's only child, about which everything is known in both buckets.
    #[benchmark]
    fn deregister_child() {
        let (family, child) = (setup::family::<T>(), setup::child::<T>(0));
        let bucket_blocks = setup::blocks::<T>(T::WeightBucketBlocks::get());
        setup::set_block::<T>(bucket_blocks);
        FamilyChildren::<T>::insert(&family, BoundedVec::truncate_from(alloc::vec![child.clone()]));
        FamilyCount::<T>::put(1);
        TotalActiveChildren::<T>::put(1);
        FamilyWeight::<T>::insert(&family, 1);
        FamilyWeightRaw::<T>::insert(&family, 1);
        NodeWeightByChild::<T>::insert(&child, 1);
        NodeQualityByChild::<T>::insert(&child, setup::quality());
        AuditCountsByChild::<T>::insert(&child, setup::counts());
        TimeoutsToConfirm::<T>::insert(&child, setup::unconfirmed());
        Maintenances::<T>::insert(&child, setup::away::<T>());
        CurrentWeightRound::<T>::put(WeightRound {
            bucket: 0,
            total_votes: 1,
            cursor: None,
            nodes: 0,
            families: 0,
        });
        for bucket in [0, 1] {
            setup::know::<T>(bucket, &child, &all_wardens::<T>());
        }

        #[extrinsic_call]
        _(RawOrigin::Signed(family), child.clone());

        assert!(!AuditTallies::<T>::contains_key(1, &child));
        assert!(!AuditCountsByChild::<T>::contains_key(&child));
        assert!(!TimeoutsToConfirm::<T>::contains_key(child));
    }

    #[benchmark]
    fn claim_unbonded() -> Result<(), BenchmarkError> {
        let (family, child) = (setup::family::<T>(), setup::child::<T>(0));
        T::DepositCurrency::set_balance(&family, BalanceOf::<T>::max_value() / 4u32.into());
        FreeSlotUsed::<T>::insert(&family, ());
        let deposit = Pallet::<T>::take_deposit(&family)?;
        ChildRegistrations::<T>::mutate(&child, |record| {
            if let Some(record) = record {
                record.deposit = deposit;
                record.status = ChildStatus::Unbonding { end: 0u32.into() };
            }
        });

        #[extrinsic_call]
        _(RawOrigin::Signed(family), child.clone());

        assert!(!ChildRegistrations::<T>::contains_key(child));
        Ok(())
    }

    #[benchmark]
    fn submit_attestations(a: Linear<1, { T::MaxAttestations::get() }>) {
        let validator = setup::last_validator::<T>();
        let (bucket, attestations) = setup::attestations::<T>(a);

        #[extrinsic_call]
        _(RawOrigin::Signed(validator), bucket, attestations);

        assert_eq!(AttestationsByBucket::<T>::get(bucket).len() as u32, T::MaxAttestations::get());
    }

    #[benchmark]
    fn submit_attestation_commitment() {
        let validator = setup::last_validator::<T>();
        EpochRoot::<T>::insert(1, H256([1; 32]));

        #[extrinsic_call]
        _(RawOrigin::Signed(validator), 1, [2; 32], [3; 32], [4; 32], 5);

        assert!(EpochAttestationCommitments::<T>::contains_key(1));
    }

    #[benchmark]
    fn register_warden() -> Result<(), BenchmarkError> {
        let admin = setup::admin::<T>()?;

        #[extrinsic_call]
        _(admin as T::RuntimeOrigin, setup::warden(0));

        assert!(RegisteredWardens::<T>::contains_key(setup::warden(0)));
        Ok(())
    }

    #[benchmark]
    fn deregister_warden() -> Result<(), BenchmarkError> {
        let admin = setup::admin::<T>()?;
        Pallet::<T>::do_register_warden(setup::warden(0))?;

        #[extrinsic_call]
        _(admin as T::RuntimeOrigin, setup::warden(0));

        assert!(!RegisteredWardens::<T>::contains_key(setup::warden(0)));
        Ok(())
    }

    /// Both verdicts are as long as they can be, and hold.
    #[benchmark]
    fn report_conflicting_attestations() -> Result<(), BenchmarkError> {
        let (first, second) = setup::conflict::<T>()?;
        let warden = first.warden_pubkey;

        #[extrinsic_call]
        _(RawOrigin::Signed(whitelisted_caller()), Box::new(first), Box::new(second));

        assert!(!RegisteredWardens::<T>::contains_key(warden));
        assert!(WardenConflicts::<T>::contains_key(warden));
        Ok(())
    }

    /// By the family, in a period in which something was announced before.
    #[benchmark]
    fn announce_maintenance() {
        let (family, child) = (setup::family::<T>(), setup::child::<T>(0));
        setup::set_block::<T>(2);
        Maintenances::<T>::insert(&child, setup::away::<T>());
        let from = frame_system::Pallet::<T>::block_number() + T::MaintenanceNoticeBlocks::get();
        let until = from + 1u32.into();

        #[extrinsic_call]
        _(RawOrigin::Signed(family), child.clone(), from, until);

        assert!(Maintenances::<T>::get(child).is_some_and(|away| away.until == until));
    }

    /// The last validator that can report, about children that all others reported about.
    #[benchmark]
    fn submit_node_quality(u: Linear<1, { T::MaxChildrenTotal::get() }>) {
        let (last, bucket, updates) = setup::last_report::<T>(u);

        #[extrinsic_call]
        _(RawOrigin::Signed(last), bucket, updates);

        assert!(WeightReporters::<T>::get(bucket).is_full());
    }

    /// The same by the validator's session key, once it was authorized.
    #[benchmark]
    fn report_node_quality(u: Linear<1, { T::MaxChildrenTotal::get() }>) {
        let (last, bucket, updates) = setup::last_report::<T>(u);
        let (reporter, signature) = setup::reporter::<T>(&last, bucket, &updates);

        #[extrinsic_call]
        _(RawOrigin::Authorized, bucket, updates, reporter, signature);

        assert!(WeightReporters::<T>::get(bucket).is_full());
    }

    /// What that takes in the pool and before the call.
    #[benchmark]
    fn authorize_report(u: Linear<1, { T::MaxChildrenTotal::get() }>) {
        let (last, bucket, updates) = setup::last_report::<T>(u);
        let (reporter, signature) = setup::reporter::<T>(&last, bucket, &updates);
        let authorized;

        #[block]
        {
            authorized = Pallet::<T>::authorize_report(bucket, &updates, &reporter, &signature);
        }

        assert!(authorized.is_ok());
    }

    #[benchmark]
    fn submit_miner_stats(u: Linear<0, { T::MaxMiners::get() }>) {
        let validator = setup::last_validator::<T>();
        let bucket = Pallet::<T>::open_weight_bucket();
        let update = |child| MinerStatsUpdate { child, shard_count: 1, shard_data_bytes: 2, last_seen_ms: 3 };
        let updates = setup::children::<T>(u).into_iter().map(update);
        let updates = BoundedVec::truncate_from(updates.collect());

        #[extrinsic_call]
        _(RawOrigin::Signed(validator), bucket, updates, Some(NetworkTotals::default()));

        assert!(NetworkStats::<T>::exists());
        assert_eq!(MinerStats::<T>::iter().count() as u32, u);
    }

    #[benchmark]
    fn set_lockup_enabled() -> Result<(), BenchmarkError> {
        let admin = setup::admin::<T>()?;

        #[extrinsic_call]
        _(admin as T::RuntimeOrigin, false);

        assert!(!LockupEnabled::<T>::get());
        Ok(())
    }

    #[benchmark]
    fn set_base_child_deposit() -> Result<(), BenchmarkError> {
        let admin = setup::admin::<T>()?;

        #[extrinsic_call]
        _(admin as T::RuntimeOrigin, 7u32.into());

        assert_eq!(BaseDeposit::<T>::get(), Some(7u32.into()));
        Ok(())
    }

    #[benchmark]
    fn add_attestation_submitter() -> Result<(), BenchmarkError> {
        let admin = setup::admin::<T>()?;
        let submitter: T::AccountId = account("submitter", 0, 0);

        #[extrinsic_call]
        _(admin as T::RuntimeOrigin, submitter.clone());

        assert!(AttestationSubmitters::<T>::contains_key(submitter));
        Ok(())
    }

    #[benchmark]
    fn remove_attestation_submitter() -> Result<(), BenchmarkError> {
        let admin = setup::admin::<T>()?;
        let submitter: T::AccountId = account("submitter", 0, 0);
        Pallet::<T>::do_add_submitter(submitter.clone())?;

        #[extrinsic_call]
        _(admin as T::RuntimeOrigin, submitter.clone());

        assert!(!AttestationSubmitters::<T>::contains_key(submitter));
        Ok(())
    }

    /// The first block of a bucket.
    #[benchmark]
    fn prune_attestations() {
        let buckets = u64::from(T::AttestationRetentionBuckets::get());
        let now = buckets * setup::blocks::<T>(T::AttestationBucketBlocks::get());
        setup::set_block::<T>(now);
        let (_, records) = setup::attestations::<T>(1);
        setup::set_block::<T>(now);
        AttestationsByBucket::<T>::insert(0, records);
        let now = frame_system::Pallet::<T>::block_number();

        #[block]
        {
            Pallet::<T>::prune_attestations(now);
        }

        assert!(!AttestationsByBucket::<T>::contains_key(0));
    }

    /// The first block after a weight bucket in which `r` validators reported, those found last.
    #[benchmark]
    fn open_weight_round(r: Linear<0, { T::MaxWeightReporters::get() }>) {
        let reporters = setup::validators::<T>().into_iter().rev().take(r as usize).collect();
        WeightReporters::<T>::insert(0, BoundedVec::truncate_from(reporters));

        #[block]
        {
            Pallet::<T>::open_round(0);
        }

        assert!(CurrentWeightRound::<T>::get().is_some_and(|round| round.total_votes > 0));
        assert_eq!(ClosingVotes::<T>::get().len() as u32, r);
    }

    /// Weighs `f` families with one child each, and `c` further children in the last of them; all validators
    /// reported about each child, and all wardens audited it.
    #[benchmark]
    fn weigh_children(
        f: Linear<1, { T::MaxChildrenWeighedPerBlock::get() }>,
        c: Linear<0, { T::MaxChildrenPerFamily::get() - 1 }>,
    ) {
        setup::families_to_weigh::<T>(f, c, &all_wardens::<T>());
        ClosingVotes::<T>::put(setup::full::<_, T::MaxWeightReporters>(|_| 1u128));
        let total_votes = u128::from(T::MaxWeightReporters::get());
        let round = WeightRound { bucket: 0, total_votes, cursor: None, nodes: 0, families: 0 };
        CurrentWeightRound::<T>::put(round.clone());

        #[block]
        {
            Pallet::<T>::continue_round(round);
        }

        assert_eq!(AuditTallies::<T>::iter().count(), 0, "all were weighed");
        assert!(FamilyWeight::<T>::iter_values().all(|weight| weight > 1));
    }

    /// The votes are of validators, those found last, for an epoch that is over.
    #[benchmark]
    fn sweep_map_votes(n: Linear<0, { SWEPT_PER_BLOCK.min(T::MaxWeightReporters::get()) }>) {
        for validator in setup::validators::<T>().into_iter().rev().take(n as usize) {
            MapVotes::<T>::insert(validator, MapVote { epoch: 0, root: H256::zero() });
        }
        sweep_from::<T>(SweptItem::MapVotes);

        #[block]
        {
            Pallet::<T>::sweep(Weight::MAX);
        }

        assert_eq!(MapVotes::<T>::iter().count(), 0);
    }

    #[benchmark]
    fn sweep_child_cooldowns(n: Linear<0, SWEPT_PER_BLOCK>) {
        for child in 0..n {
            let child: T::AccountId = account("former child", child, 0);
            ChildCooldownEnd::<T>::insert(child, frame_system::Pallet::<T>::block_number());
        }
        sweep_from::<T>(SweptItem::ChildCooldowns);

        #[block]
        {
            Pallet::<T>::sweep(Weight::MAX);
        }

        assert_eq!(ChildCooldownEnd::<T>::iter().count(), 0);
    }

    #[benchmark]
    fn sweep_node_id_cooldowns(n: Linear<0, SWEPT_PER_BLOCK>) {
        for node in 0..n {
            NodeIdCooldownEnd::<T>::insert(setup::node_id(node), frame_system::Pallet::<T>::block_number());
        }
        sweep_from::<T>(SweptItem::NodeIdCooldowns);

        #[block]
        {
            Pallet::<T>::sweep(Weight::MAX);
        }

        assert_eq!(NodeIdCooldownEnd::<T>::iter().count(), 0);
    }

    #[benchmark]
    fn sweep_attestations(n: Linear<0, SWEPT_PER_BLOCK>) {
        let (_, records) = setup::attestations::<T>(1);
        let retained = u64::from(T::AttestationRetentionBuckets::get() + SWEPT_PER_BLOCK);
        setup::set_block::<T>(retained * setup::blocks::<T>(T::AttestationBucketBlocks::get()));
        let _ = AttestationsByBucket::<T>::clear(u32::MAX, None);
        for bucket in 0..n {
            AttestationsByBucket::<T>::insert(bucket, &records);
        }
        sweep_from::<T>(SweptItem::Attestations);

        #[block]
        {
            Pallet::<T>::sweep(Weight::MAX);
        }

        assert_eq!(AttestationsByBucket::<T>::iter().count(), 0);
    }

    #[benchmark]
    fn sweep_quality_reports(n: Linear<0, SWEPT_PER_BLOCK>) {
        setup::set_block::<T>(setup::blocks::<T>(T::WeightBucketBlocks::get()));
        for child in 0..n {
            setup::know::<T>(0, &account("child", child, 0), &all_wardens::<T>());
        }
        sweep_from::<T>(SweptItem::QualityReports);

        #[block]
        {
            Pallet::<T>::sweep(Weight::MAX);
        }

        assert_eq!(QualityReports::<T>::iter().count(), 0);
    }

    #[benchmark]
    fn sweep_audit_tallies(n: Linear<0, SWEPT_PER_BLOCK>) {
        setup::set_block::<T>(setup::blocks::<T>(T::WeightBucketBlocks::get()));
        for child in 0..n {
            setup::know::<T>(0, &account("child", child, 0), &all_wardens::<T>());
        }
        sweep_from::<T>(SweptItem::AuditTallies);

        #[block]
        {
            Pallet::<T>::sweep(Weight::MAX);
        }

        assert_eq!(AuditTallies::<T>::iter().count(), 0);
    }

    /// All of them go.
    #[benchmark]
    fn sweep_free_unbonding(n: Linear<0, SWEPT_PER_BLOCK>) {
        let now = frame_system::Pallet::<T>::block_number();
        for child in setup::children::<T>(n) {
            ChildRegistrations::<T>::mutate(&child, |record| {
                if let Some(record) = record {
                    record.status = ChildStatus::Unbonding { end: now };
                }
            });
            ChildCooldownEnd::<T>::insert(child, now);
        }
        sweep_from::<T>(SweptItem::FreeUnbonding);

        #[block]
        {
            Pallet::<T>::sweep(Weight::MAX);
        }

        assert_eq!(ChildRegistrations::<T>::iter().count(), 0);
    }

    #[benchmark]
    fn migrate_v1_to_v2(f: Linear<0, { T::MaxFamilies::get() }>) {
        for family in 0..f {
            let family: T::AccountId = account("family", family, 1);
            let children = setup::full::<_, T::MaxChildrenPerFamily>(|n| account("child", n, 0));
            FamilyChildren::<T>::insert(family, children);
        }
        KeptEpochs::<T>::put(setup::full::<_, T::MaxEpochsKept>(|n| u64::from(n) + 1));

        #[block]
        {
            V1ToV2::<T>::on_runtime_upgrade();
        }

        assert_eq!(FamilyGraceStart::<T>::iter().count() as u32, f);
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::chain(), crate::mock::Test);
}
