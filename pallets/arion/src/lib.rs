//! Where data goes, who stores it, what was audited and what it is worth: CRUSH maps, storage miners,
//! attestations and weights.
//!
//! Families register miners (children) against a deposit that doubles with demand; validators agree on a
//! CRUSH map per epoch; wardens' signed audit results arrive in batches and are verified one by one. Once per
//! bucket, what validators report and wardens attest becomes a weight of each node and each family.
//!
//! # Invariants
//! - A map takes effect only when two thirds of the validators submitted the very same one; epochs only grow,
//!   and a published map never changes.
//! - A node id belongs to at most one active child; a signature that registered it once never does so again.
//! - What is held under [`HoldReason`] on a family's account is the sum of its children's deposits.
//! - Every stored attestation carries a valid signature of a warden that was registered when it came in, and
//!   no challenge has two verdicts of the same warden.
//! - A warden that signed two verdicts on one challenge is no warden any more, once anybody has shown both.
//! - Nobody alone moves a weight: quality is the weighted median of validators with two thirds of the votes,
//!   failures count as far as wardens agree on them, timeouts only where another warden saw the miner fail, too. The weights of a bucket are computed once.
//! - Every list has a bound, every loop too.
//!
//! The pallet's module is put together from this file and `config.rs`, `storage.rs`, `events.rs`, `errors.rs`.
//!
//! # Not here
//! Families and service nodes (`pallet-registration`), the placement itself (`crush`), who may sign as
//! authority (the runtime's origins).
//!
//! Specified in docs/spec/chain.md.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
pub mod benchmarking;
mod config;
mod errors;
mod events;
mod impls;
pub mod migrations;
pub mod offchain;
pub mod scoring;
mod storage;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{
    AuditCounts, AuditTally, ChildRegistration, ChildStatus, EpochAttestationCommitment, Maintenance,
    MapVote, MinerStatsRecord, NetworkStatsRecord, PlacementRefusal, QualityReport, Sweep,
    UnconfirmedTimeouts, WardenConflict, WardenInfo, WeightRound,
};
pub use weights::WeightInfo;

use frame_support::pallet_macros::import_section;

/// Which accounts are families.
pub trait FamilyRegistry<AccountId> {
    /// Whether `who` is registered as a family.
    fn is_family(who: &AccountId) -> bool;
}

/// Which accounts act for which families.
pub trait ProxyVerifier<AccountId> {
    /// Whether `child` is a proxy of `family`.
    fn is_proxy(family: &AccountId, child: &AccountId) -> bool;
}

// The pallet macro generates public items without documentation.
#[allow(missing_docs)]
#[import_section(config::config_section)]
#[import_section(storage::storage_section)]
#[import_section(events::events_section)]
#[import_section(errors::errors_section)]
#[frame_support::pallet]
pub mod pallet {
    use alloc::{boxed::Box, vec::Vec};

    use arion_types::{
        AttestationRecord, CrushParams, MinerRecord, MinerStatsUpdate, NetworkTotals, NodeQuality,
    };
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{Inspect, InspectHold, MutateHold},
    };
    use frame_system::{offchain::CreateAuthorizedTransaction, pallet_prelude::*};
    use sp_core::H256;
    use sp_runtime::AccountId32;

    #[cfg(feature = "runtime-benchmarks")]
    use crate::benchmarking::BenchmarkHelper;
    use crate::{
        AuditCounts, AuditTally, ChildRegistration, EpochAttestationCommitment, FamilyRegistry, Maintenance,
        MapVote, MinerStatsRecord, NetworkStatsRecord, ProxyVerifier, QualityReport, Sweep,
        UnconfirmedTimeouts, WardenConflict, WardenInfo, WeightInfo, WeightRound,
        offchain::{ReporterId, ReporterOwner, ReporterSignature},
    };

    /// Balance of the deposits.
    pub type BalanceOf<T> =
        <<T as Config>::DepositCurrency as Inspect<<T as frame_system::Config>::AccountId>>::Balance;
    /// Record of a child under this configuration.
    pub type ChildRegistrationOf<T> =
        ChildRegistration<<T as frame_system::Config>::AccountId, BalanceOf<T>, BlockNumberFor<T>>;
    /// Miners of a map, strictly increasing in uid.
    pub type MinersOf<T> =
        BoundedVec<MinerRecord<<T as frame_system::Config>::AccountId>, <T as Config>::MaxMiners>;
    /// Attestations of a bucket or of a call.
    pub type AttestationsOf<T> = BoundedVec<AttestationRecord, <T as Config>::MaxAttestations>;

    /// Qualities that a validator reports, by account, strictly increasing.
    pub type QualityUpdatesOf<T> =
        BoundedVec<(<T as frame_system::Config>::AccountId, NodeQuality), <T as Config>::MaxChildrenTotal>;
    /// Stats of miners, strictly increasing in account.
    pub type StatsUpdatesOf<T> =
        BoundedVec<MinerStatsUpdate<<T as frame_system::Config>::AccountId>, <T as Config>::MaxMiners>;

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(2);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Removes the one attestation bucket whose retention ends with this block, and goes on with the
        /// weights of the last weight bucket.
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            Self::prune_attestations(now).saturating_add(Self::advance_weights(now))
        }

        /// Removes some of what has had its time.
        fn on_idle(_: BlockNumberFor<T>, left: Weight) -> Weight {
            Self::sweep(left)
        }

        /// On a validator's node, brings the report of the validator service to the chain when it is due.
        fn offchain_worker(now: BlockNumberFor<T>) {
            Self::carry_reports(now);
        }

        fn integrity_test() {
            Self::check_constants();
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Votes for the map of `epoch`. It takes effect when two thirds of the validators submitted the same
        /// epoch, parameters and miners; a validator's newer vote replaces its older one.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::submit_crush_map(miners.len() as u32))]
        pub fn submit_crush_map(
            origin: OriginFor<T>,
            epoch: u64,
            params: CrushParams,
            miners: MinersOf<T>,
        ) -> DispatchResult {
            let validator = T::MapAuthorityOrigin::ensure_origin(origin)?;
            Self::do_submit_crush_map(validator, epoch, params, miners)
        }

        /// Makes `child` a storage miner of the sender, which must be `family`. `node_sig` is the node key's
        /// signature over `arion_types::registration::registration_message`.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::register_child())]
        pub fn register_child(
            origin: OriginFor<T>,
            family: T::AccountId,
            child: T::AccountId,
            node_id: [u8; 32],
            node_sig: [u8; 64],
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(sender == family, Error::<T>::NotFamily);
            Self::do_register_child(family, child, node_id, node_sig)
        }

        /// Takes the sender's child out of service; its deposit stays held for the unbonding period.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::deregister_child())]
        pub fn deregister_child(origin: OriginFor<T>, child: T::AccountId) -> DispatchResult {
            let family = ensure_signed(origin)?;
            Self::do_deregister_child(family, child)
        }

        /// Frees the deposit of the sender's child after the unbonding period and removes its record. A record
        /// without a deposit goes by itself once unbonding and cooldown are over.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::claim_unbonded())]
        pub fn claim_unbonded(origin: OriginFor<T>, child: T::AccountId) -> DispatchResult {
            let family = ensure_signed(origin)?;
            Self::do_claim_unbonded(family, child)
        }

        /// Stores audit results in their bucket, after every one was verified; one that does not hold fails
        /// the batch.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::submit_attestations(attestations.len() as u32))]
        pub fn submit_attestations(
            origin: OriginFor<T>,
            bucket: u32,
            attestations: AttestationsOf<T>,
        ) -> DispatchResult {
            T::AttestationAuthorityOrigin::ensure_origin(origin)?;
            Self::do_submit_attestations(bucket, attestations)
        }

        /// Anchors the bundle of an epoch's attestations, once per epoch.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::submit_attestation_commitment())]
        pub fn submit_attestation_commitment(
            origin: OriginFor<T>,
            epoch: u64,
            arion_content_hash: [u8; 32],
            attestation_merkle_root: [u8; 32],
            warden_pubkey_merkle_root: [u8; 32],
            attestation_count: u32,
        ) -> DispatchResult {
            let submitter = T::AttestationAuthorityOrigin::ensure_origin(origin)?;
            let submitted_at = frame_system::Pallet::<T>::block_number();
            Self::do_submit_commitment(
                epoch,
                EpochAttestationCommitment {
                    arion_content_hash,
                    attestation_merkle_root,
                    warden_pubkey_merkle_root,
                    attestation_count,
                    submitter,
                    submitted_at,
                },
            )
        }

        /// Makes a warden's attestations count. Admin only.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::register_warden())]
        pub fn register_warden(origin: OriginFor<T>, warden_pubkey: [u8; 32]) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            Self::do_register_warden(warden_pubkey)
        }

        /// Makes a warden's attestations no longer count. Admin only.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::deregister_warden())]
        pub fn deregister_warden(origin: OriginFor<T>, warden_pubkey: [u8; 32]) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            Self::do_deregister_warden(warden_pubkey)
        }

        /// Reports the quality of miners in the open bucket: each validator once, for all miners it knows of,
        /// strictly increasing in account. Costs nothing once it is accepted. `strikes` and `integrity_fails`
        /// are ignored: they come from attestations.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::submit_node_quality(updates.len() as u32))]
        pub fn submit_node_quality(
            origin: OriginFor<T>,
            bucket: u32,
            updates: QualityUpdatesOf<T>,
        ) -> DispatchResultWithPostInfo {
            let validator = T::WeightAuthorityOrigin::ensure_origin(origin)?;
            Self::do_submit_node_quality(validator, bucket, updates)?;
            Ok(Pays::No.into())
        }

        /// Publishes stats for people to look at, in the open bucket; newer ones replace older ones.
        #[pallet::call_index(9)]
        #[pallet::weight(T::WeightInfo::submit_miner_stats(updates.len() as u32))]
        pub fn submit_miner_stats(
            origin: OriginFor<T>,
            bucket: u32,
            updates: StatsUpdatesOf<T>,
            network_totals: Option<NetworkTotals>,
        ) -> DispatchResult {
            T::StatsAuthorityOrigin::ensure_origin(origin)?;
            Self::do_submit_miner_stats(bucket, updates, network_totals)
        }

        /// Switches deposits and unbonding on or off for calls from now on. Admin only.
        #[pallet::call_index(10)]
        #[pallet::weight(T::WeightInfo::set_lockup_enabled())]
        pub fn set_lockup_enabled(origin: OriginFor<T>, enabled: bool) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            LockupEnabled::<T>::put(enabled);
            Self::deposit_event(Event::LockupEnabledSet { enabled });
            Ok(())
        }

        /// Sets the floor of the deposit. Admin only.
        #[pallet::call_index(11)]
        #[pallet::weight(T::WeightInfo::set_base_child_deposit())]
        pub fn set_base_child_deposit(origin: OriginFor<T>, deposit: BalanceOf<T>) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            BaseDeposit::<T>::put(deposit);
            Self::deposit_event(Event::BaseChildDepositSet { deposit });
            Ok(())
        }

        /// Lets an account bring attestations to the chain. Admin only.
        #[pallet::call_index(12)]
        #[pallet::weight(T::WeightInfo::add_attestation_submitter())]
        pub fn add_attestation_submitter(origin: OriginFor<T>, submitter: T::AccountId) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            Self::do_add_submitter(submitter)
        }

        /// No longer lets an account bring attestations to the chain. Admin only.
        #[pallet::call_index(13)]
        #[pallet::weight(T::WeightInfo::remove_attestation_submitter())]
        pub fn remove_attestation_submitter(origin: OriginFor<T>, submitter: T::AccountId) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            Self::do_remove_submitter(submitter)
        }

        /// Reports the quality of miners in the open bucket, as [`Pallet::submit_node_quality`] does, for the
        /// validator of the session whose session key `reporter` signed
        /// [`offchain::report_message`](crate::offchain::report_message). Without an account, and without a
        /// fee: the node's worker submits it.
        #[pallet::call_index(14)]
        #[pallet::weight(T::WeightInfo::report_node_quality(updates.len() as u32))]
        #[pallet::authorize(|_, bucket, updates, reporter, signature| {
            Self::authorize_report(*bucket, updates, reporter, signature)
        })]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_report(updates.len() as u32))]
        pub fn report_node_quality(
            origin: OriginFor<T>,
            bucket: u32,
            updates: QualityUpdatesOf<T>,
            reporter: ReporterId,
            signature: ReporterSignature,
        ) -> DispatchResultWithPostInfo {
            ensure_authorized(origin)?;
            // It was verified when the call was authorized.
            let _ = signature;
            Self::do_report_node_quality(bucket, updates, &reporter)?;
            Ok(Pays::No.into())
        }

        /// Shows that a warden signed two verdicts on one challenge (shard, miner, block) that contradict each
        /// other: it is deregistered, and its key never admitted again. Anyone may; costs nothing if it holds.
        #[pallet::call_index(15)]
        #[pallet::weight(T::WeightInfo::report_conflicting_attestations())]
        pub fn report_conflicting_attestations(
            origin: OriginFor<T>,
            first: Box<AttestationRecord>,
            second: Box<AttestationRecord>,
        ) -> DispatchResultWithPostInfo {
            let reporter = ensure_signed(origin)?;
            Self::do_report_conflict(reporter, &first, &second)?;
            Ok(Pays::No.into())
        }

        /// Announces that a child will be away in the blocks from `from` to before `until`: wardens do not challenge
        /// it, and timeouts about these blocks do not count. By the child or its family, in advance, so many blocks per
        /// period.
        #[pallet::call_index(16)]
        #[pallet::weight(T::WeightInfo::announce_maintenance())]
        pub fn announce_maintenance(
            origin: OriginFor<T>,
            child: T::AccountId,
            from: BlockNumberFor<T>,
            until: BlockNumberFor<T>,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_announce_maintenance(who, child, from, until)
        }
    }
}
