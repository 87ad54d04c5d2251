//! What the calls do once their origin is known, and what blocks do by themselves.

mod attestations;
mod audits;
mod children;
mod maintenance;
mod maps;
mod pruning;
mod quality;
mod queries;
mod stats;
#[cfg(any(feature = "std", feature = "try-runtime"))]
mod try_state;
mod weighing;

#[cfg(feature = "runtime-benchmarks")]
pub(crate) use {audits::MAPS_PER_BATCH, maps::VOTES_CLEARED_MAX, pruning::SWEPT_PER_BLOCK};

use arion_types::GenesisHash;
use frame_support::{sp_runtime::traits::Zero, traits::Get};
use frame_system::pallet_prelude::BlockNumberFor;

use crate::{Config, Pallet};

impl<T: Config> Pallet<T> {
    /// Hash of block 0, which `frame_system` never forgets: part of every signed message.
    pub(crate) fn genesis_hash() -> GenesisHash {
        frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero()).0
    }

    /// Refuses configurations that cannot work.
    ///
    /// # Panics
    /// When a constant makes no sense; called by tests and builders only.
    pub(crate) fn check_constants() {
        let zero = BlockNumberFor::<T>::zero();
        assert!(T::MaxEpochsKept::get() > 0, "at least the current map is kept");
        assert!(T::AttestationRetentionBuckets::get() > 0, "at least the current bucket is kept");
        assert!(T::AttestationBucketBlocks::get() > zero, "a bucket has at least one block");
        assert!(
            T::MaintenanceBlocksMax::get() < T::MaintenancePeriodBlocks::get(),
            "a miner is not away for good"
        );
        assert!(T::GlobalDepositHalvingPeriodBlocks::get() > zero, "a halving period has at least one block");
        assert!(T::MaxChildrenWeighedPerBlock::get() > 0, "a block weighs at least one family");
        let rounds = T::MaxChildrenTotal::get().div_ceil(T::MaxChildrenWeighedPerBlock::get());
        assert!(
            T::WeightBucketBlocks::get() > rounds.saturating_add(1).into(),
            "the weights of a bucket are computed before the next is over"
        );
        assert!(T::NodeScoreUnitBytes::get().is_power_of_two(), "logarithms of the unit are exact");
        assert!(
            T::MaxNodeWeight::get() <= T::MaxFamilyWeight::get(),
            "a family weighs no less than its node"
        );
        assert!(T::NewcomerFloorWeight::get() <= T::MaxFamilyWeight::get(), "the floor is a weight");
        assert!(T::MaxWeightReporters::get() <= u16::MAX.into(), "a reporter's position fits its field");
    }
}
