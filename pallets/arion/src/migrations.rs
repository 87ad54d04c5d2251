//! Storage of earlier versions.
//!
//! Version 1 had maps, children and attestations; version 2 adds quality, weights, stats and the sweep. What
//! is new starts empty and needs nothing, but for two items that other items now imply: a family with children
//! has the bucket of its first registration, and a kept epoch has the block it started in.

use core::marker::PhantomData;
use frame_support::{
    migrations::VersionedMigration, pallet_prelude::*, sp_runtime::traits::Zero,
    traits::UncheckedOnRuntimeUpgrade,
};
use frame_system::pallet_prelude::BlockNumberFor;

use crate::{Config, EpochStarts, FamilyChildren, FamilyGraceStart, KeptEpochs, Pallet, WeightInfo};

/// From version 1 to version 2; does nothing on any other version.
pub type MigrateV1ToV2<T> =
    VersionedMigration<1, 2, V1ToV2<T>, Pallet<T>, <T as frame_system::Config>::DbWeight>;

/// The steps of [`MigrateV1ToV2`], without the check of the version.
pub struct V1ToV2<T>(PhantomData<T>);

impl<T: Config> UncheckedOnRuntimeUpgrade for V1ToV2<T> {
    /// Grace starts now for every family, as weights do; no more than `MaxFamilies` have children. The blocks
    /// in which the kept maps were published are not known: with 0 the newest answers for all blocks.
    fn on_runtime_upgrade() -> Weight {
        let bucket = Pallet::<T>::open_weight_bucket();
        let mut families: u32 = 0;
        for family in FamilyChildren::<T>::iter_keys().take(T::MaxFamilies::get() as usize) {
            FamilyGraceStart::<T>::insert(family, bucket);
            families = families.saturating_add(1);
        }
        let zero = BlockNumberFor::<T>::zero();
        let starts = KeptEpochs::<T>::get().into_iter().map(|epoch| (epoch, zero)).collect();
        EpochStarts::<T>::put(BoundedVec::truncate_from(starts));
        T::WeightInfo::migrate_v1_to_v2(families)
    }

    #[cfg(feature = "try-runtime")]
    fn post_upgrade(_: alloc::vec::Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
        Pallet::<T>::do_try_state()
    }
}
