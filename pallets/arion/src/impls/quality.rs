//! Reports of quality: who may report what, when.

use arion_types::{NodeQuality, quality::UPTIME_PERMILLE_MAX};
use frame_support::{ensure, pallet_prelude::*, sp_runtime::traits::SaturatedConversion};
use frame_system::pallet_prelude::BlockNumberFor;

use crate::{
    ChildRegistrations, ChildStatus, Config, Error, Event, Pallet, QualityReport, QualityReports,
    QualityUpdatesOf, WeightReporters,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_submit_node_quality(
        validator: T::AccountId,
        bucket: u32,
        updates: QualityUpdatesOf<T>,
    ) -> DispatchResult {
        Self::ensure_open(bucket)?;
        Self::check_updates(&updates)?;
        let mut reporters = WeightReporters::<T>::get(bucket);
        ensure!(!reporters.contains(&validator), Error::<T>::AlreadyReported);
        let reporter = reporters.len() as u16;
        ensure!(reporters.try_push(validator.clone()).is_ok(), Error::<T>::TooManyReports);
        WeightReporters::<T>::insert(bucket, reporters);

        let mut taken: u32 = 0;
        for (child, quality) in updates {
            if !Self::is_active(&child) {
                continue;
            }
            let report = QualityReport {
                reporter,
                shard_data_bytes: quality.shard_data_bytes,
                bandwidth_bytes: quality.bandwidth_bytes,
                uptime_permille: quality.uptime_permille,
            };
            QualityReports::<T>::try_append(bucket, &child, report)
                .map_err(|()| Error::<T>::TooManyReports)?;
            taken = taken.saturating_add(1);
        }
        Self::deposit_event(Event::NodeQualityReported { validator, bucket, updates: taken });
        Ok(())
    }

    /// What a report says can be true.
    pub(crate) fn check_updates(updates: &[(T::AccountId, NodeQuality)]) -> DispatchResult {
        ensure!(!updates.is_empty(), Error::<T>::EmptyReport);
        ensure!(
            updates.windows(2).all(|pair| pair[0].0 < pair[1].0),
            Error::<T>::UpdatesNotSortedOrNotUnique
        );
        ensure!(
            updates.iter().all(|(_, quality)| quality.uptime_permille <= UPTIME_PERMILLE_MAX),
            Error::<T>::InvalidUptime
        );
        Ok(())
    }

    /// The bucket is the one of this block.
    pub(crate) fn ensure_open(bucket: u32) -> DispatchResult {
        let open = Self::open_weight_bucket();
        ensure!(bucket >= open, Error::<T>::WeightBucketClosed);
        ensure!(bucket <= open, Error::<T>::WeightBucketNotOpen);
        Ok(())
    }

    /// Weight bucket a block belongs to.
    pub fn weight_bucket_of(block: BlockNumberFor<T>) -> u32 {
        (block / T::WeightBucketBlocks::get()).saturated_into()
    }

    /// Weight bucket of this block.
    pub fn open_weight_bucket() -> u32 {
        Self::weight_bucket_of(frame_system::Pallet::<T>::block_number())
    }

    /// Whether an account is an active child.
    pub(crate) fn is_active(child: &T::AccountId) -> bool {
        ChildRegistrations::<T>::get(child).is_some_and(|record| record.status == ChildStatus::Active)
    }
}
