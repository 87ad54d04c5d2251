//! Invariants of quality, weights and stats.

use arion_types::quality::UPTIME_PERMILLE_MAX;
use frame_support::{
    ensure,
    pallet_prelude::*,
    sp_runtime::{TryRuntimeError, traits::SaturatedConversion},
};

use crate::{
    AuditCounts, AuditCountsByChild, AuditTallies, ClosingVotes, Config, CurrentWeightBucket,
    CurrentWeightRound, FamilyGraceStart, FamilyWeight, FamilyWeightRaw, Maintenances, MinerStats,
    NetworkStats, NodeQualityByChild, NodeWeightByChild, Pallet, QualityReports, TimeoutsToConfirm,
    WeightReporters,
};

impl<T: Config> Pallet<T> {
    pub(super) fn try_state_weights() -> Result<(), TryRuntimeError> {
        Self::try_state_nodes()?;
        Self::try_state_families()?;
        Self::try_state_buckets()
    }

    fn try_state_nodes() -> Result<(), TryRuntimeError> {
        for (child, weight) in NodeWeightByChild::<T>::iter() {
            ensure!(Self::is_active(&child), "a node has weight but is no active child");
            ensure!(weight > 0 && weight <= T::MaxNodeWeight::get(), "a node's weight is out of bounds");
            ensure!(NodeQualityByChild::<T>::contains_key(&child), "a node has weight but no quality");
        }
        for (child, quality) in NodeQualityByChild::<T>::iter() {
            ensure!(Self::is_active(&child), "a node has quality but is no active child");
            ensure!(quality.uptime_permille <= UPTIME_PERMILLE_MAX, "an uptime is beyond 1,000 permille");
        }
        let now: u64 = frame_system::Pallet::<T>::block_number().saturated_into();
        for (child, counts) in AuditCountsByChild::<T>::iter() {
            ensure!(Self::is_active(&child), "audits are counted of an account that is no active child");
            ensure!(counts.last_block <= now, "an audit is of a block that was not produced");
            let nothing = AuditCounts { last_block: counts.last_block, ..Default::default() };
            ensure!(counts != nothing, "counts without an audit are stored");
        }
        let open = Self::open_weight_bucket();
        for (child, stats) in MinerStats::<T>::iter() {
            ensure!(Self::is_active(&child), "there are stats of an account that is no active child");
            ensure!(stats.bucket <= open, "stats are from a bucket that has not begun");
        }
        ensure!(
            NetworkStats::<T>::get().is_none_or(|stats| stats.bucket <= open),
            "totals are from a bucket that has not begun"
        );
        Ok(())
    }

    fn try_state_families() -> Result<(), TryRuntimeError> {
        let weights = FamilyWeight::<T>::iter().chain(FamilyWeightRaw::<T>::iter());
        for (family, weight) in weights {
            ensure!(Self::has_children(&family), "a family has weight but no children");
            ensure!(weight > 0 && weight <= T::MaxFamilyWeight::get(), "a family's weight is out of bounds");
        }
        let open = Self::open_weight_bucket();
        ensure!(
            FamilyGraceStart::<T>::iter_values().all(|start| start <= open),
            "a family's grace starts in the future"
        );
        Ok(())
    }

    /// What validators and wardens said is there for the open bucket and the one being weighed, no other.
    fn try_state_buckets() -> Result<(), TryRuntimeError> {
        let open = Self::open_weight_bucket();
        let round = CurrentWeightRound::<T>::get();
        let closing = round.as_ref().map(|round| round.bucket);
        ensure!(CurrentWeightBucket::<T>::get() <= open, "weights are of a bucket that is not over");
        ensure!(closing.is_none_or(|bucket| bucket < open), "a bucket is weighed that is not over");
        ensure!(round.is_some() || !ClosingVotes::<T>::exists(), "votes of a bucket that is done");
        let in_use = |bucket: u32| bucket == open || Some(bucket) == closing;
        ensure!(
            WeightReporters::<T>::iter_keys().all(|bucket| bucket == open),
            "reporters of a closed bucket"
        );
        for (bucket, child, reports) in QualityReports::<T>::iter() {
            ensure!(in_use(bucket), "reports of a bucket that is done");
            ensure!(Self::is_active(&child), "reports about an account that is no active child");
            let reporters = match bucket == open {
                true => WeightReporters::<T>::get(bucket).len(),
                false => ClosingVotes::<T>::decode_len().unwrap_or(0),
            };
            ensure!(
                reports.windows(2).all(|pair| pair[0].reporter < pair[1].reporter)
                    && reports.iter().all(|report| usize::from(report.reporter) < reporters),
                "a report has no reporter, or one twice"
            );
        }
        for (bucket, child, tallies) in AuditTallies::<T>::iter() {
            ensure!(in_use(bucket), "tallies of a bucket that is done");
            ensure!(Self::is_active(&child), "tallies of an account that is no active child");
            let mut wardens: alloc::vec::Vec<_> = tallies.iter().map(|tally| tally.warden).collect();
            wardens.sort_unstable();
            ensure!(wardens.windows(2).all(|pair| pair[0] != pair[1]), "a warden has two tallies");
        }
        for (child, away) in Maintenances::<T>::iter() {
            ensure!(Self::is_active(&child), "maintenance of an account that is no active child");
            ensure!(
                away.from < away.until && away.period_start <= away.from,
                "maintenance ends before it begins"
            );
            ensure!(away.announced <= T::MaintenanceBlocksMax::get(), "more maintenance than a period has");
        }
        let newest = open.checked_sub(1);
        for (child, waiting) in TimeoutsToConfirm::<T>::iter() {
            ensure!(Self::is_active(&child), "timeouts to confirm of an account that is no active child");
            ensure!(waiting.timeouts > 0, "no timeouts are to be confirmed");
            ensure!(Some(waiting.bucket) <= newest, "timeouts to confirm are of a bucket that is not over");
        }
        Ok(())
    }
}
