//! From a closed bucket to weights: once per bucket, a few families per block.

use alloc::vec::Vec;
use arion_types::NodeQuality;
use frame_support::{defensive, pallet_prelude::*, sp_runtime::traits::Zero};
use frame_system::pallet_prelude::BlockNumberFor;

use crate::{
    AuditTallies, AuditTally, ClosingVotes, Config, CurrentWeightBucket, CurrentWeightRound, Event,
    FamilyChildren, FamilyGraceStart, FamilyWeight, FamilyWeightRaw, NodeQualityByChild, NodeWeightByChild,
    Pallet, QualityReports, RegisteredWardens, TimeoutsToConfirm, WeightInfo, WeightReporters, WeightRound,
    scoring::{Scoring, agreed_failures, confirm_timeouts, faded, votes_needed, weighted_median},
};

/// What does not change within a block of a round.
struct Closing<T: Config> {
    bucket: u32,
    votes: BoundedVec<u128, T::MaxWeightReporters>,
    votes_needed: u128,
    wardens: u32,
    scoring: Scoring,
}

impl<T: Config> Pallet<T> {
    /// Opens the round of a bucket that ended with the block before, or goes on with the one there is.
    pub(crate) fn advance_weights(now: BlockNumberFor<T>) -> Weight {
        let mut weight = T::DbWeight::get().reads(1);
        if (now % T::WeightBucketBlocks::get()).is_zero()
            && let Some(bucket) = Self::weight_bucket_of(now).checked_sub(1)
        {
            let reporters = Self::open_round(bucket);
            weight = weight.saturating_add(T::WeightInfo::open_weight_round(reporters));
        }
        match CurrentWeightRound::<T>::get() {
            Some(round) => weight.saturating_add(Self::continue_round(round)),
            None => weight,
        }
    }

    /// Fixes the votes that count for the bucket. Returns the number of validators that reported in it.
    pub(crate) fn open_round(bucket: u32) -> u32 {
        if CurrentWeightRound::<T>::exists() {
            // `check_constants` leaves enough blocks; what this round did not get to is swept.
            defensive!("a round of weights outlasted its bucket");
        }
        let votes = T::ValidatorVotes::get();
        let total_votes = votes.iter().fold(0u128, |sum, (_, votes)| sum.saturating_add(*votes));
        let reporters = WeightReporters::<T>::take(bucket);
        let count = reporters.len() as u32;
        let of_reporters = reporters.into_iter().map(|reporter| {
            votes.iter().find(|(validator, _)| *validator == reporter).map_or(0, |(_, votes)| *votes)
        });
        ClosingVotes::<T>::put(BoundedVec::truncate_from(of_reporters.collect()));
        CurrentWeightRound::<T>::put(WeightRound {
            bucket,
            total_votes,
            cursor: None,
            nodes: 0,
            families: 0,
        });
        count
    }

    /// Weighs the next families; after the last, the round is over.
    pub(crate) fn continue_round(mut round: WeightRound<T::AccountId>) -> Weight {
        let closing = Closing::<T> {
            bucket: round.bucket,
            votes: ClosingVotes::<T>::get(),
            votes_needed: votes_needed(round.total_votes),
            wardens: RegisteredWardens::<T>::count(),
            scoring: Scoring::of::<T>(),
        };
        let mut ahead = match &round.cursor {
            Some(family) => FamilyChildren::<T>::iter_from_key(family),
            None => FamilyChildren::<T>::iter(),
        };
        let (mut families, mut children) = (0u32, 0u32);
        while children < T::MaxChildrenWeighedPerBlock::get() {
            let Some((family, members)) = ahead.next() else {
                Self::close_round(&round);
                return Self::weight_of_weighing(families, children);
            };
            families = families.saturating_add(1);
            children = children.saturating_add(members.len() as u32);
            round.families = round.families.saturating_add(1);
            round.nodes = round.nodes.saturating_add(members.len() as u32);
            Self::weigh_family(&closing, &family, &members);
            round.cursor = Some(family);
        }
        CurrentWeightRound::<T>::put(round);
        Self::weight_of_weighing(families, children)
    }

    /// Cost of weighing so many families with so many children in all: measured is that of families with one
    /// child, and that of a further child.
    fn weight_of_weighing(families: u32, children: u32) -> Weight {
        T::WeightInfo::weigh_children(families, children.saturating_sub(families))
    }

    fn close_round(round: &WeightRound<T::AccountId>) {
        let bucket = round.bucket;
        CurrentWeightRound::<T>::kill();
        ClosingVotes::<T>::kill();
        CurrentWeightBucket::<T>::put(bucket);
        Self::deposit_event(Event::NodeWeightsUpdated { bucket, updates: round.nodes });
        Self::deposit_event(Event::FamilyWeightsComputed { bucket, families: round.families });
    }

    fn weigh_family(closing: &Closing<T>, family: &T::AccountId, members: &[T::AccountId]) {
        let qualities: Vec<NodeQuality> =
            members.iter().filter_map(|child| Self::weigh_node(closing, child)).collect();
        let raw = closing.scoring.family_raw(&qualities);
        let mut weight = closing.scoring.smoothed(FamilyWeight::<T>::get(family), raw);
        let is_up = qualities.iter().any(|quality| quality.uptime_permille > 0);
        if is_up && Self::is_newcomer(family, closing.bucket) {
            weight = weight.max(T::NewcomerFloorWeight::get());
        }
        put::<T, FamilyWeightRaw<T>>(family, raw);
        put::<T, FamilyWeight<T>>(family, weight);
    }

    fn is_newcomer(family: &T::AccountId, bucket: u32) -> bool {
        let start = FamilyGraceStart::<T>::get(family);
        start.is_some_and(|start| bucket < start.saturating_add(T::NewcomerGraceBuckets::get()))
    }

    /// Settles the quality of a child and weighs it; `None` if nobody ever said anything about it.
    fn weigh_node(closing: &Closing<T>, child: &T::AccountId) -> Option<NodeQuality> {
        let quality = Self::settled_quality(closing, child)?;
        NodeQualityByChild::<T>::insert(child, quality);
        put::<T, NodeWeightByChild<T>>(child, closing.scoring.node_weight(&quality));
        Some(quality)
    }

    /// What validators agree on, or else what they agreed on before with an eighth less uptime; with the
    /// failures that wardens agree on.
    fn settled_quality(closing: &Closing<T>, child: &T::AccountId) -> Option<NodeQuality> {
        let audits: Vec<(u16, u16)> = Self::confirmed_audits(closing, child)
            .iter()
            .map(|tally| (tally.timeouts, tally.integrity_fails))
            .collect();
        let is_alone = audits.len() == 1 && closing.wardens > 1;
        let (strikes, integrity_fails) = agreed_failures(&audits, is_alone);
        let agreed = Self::agreed_quality(closing, child);
        let before = NodeQualityByChild::<T>::get(child);
        if agreed.is_none() && before.is_none() && audits.is_empty() {
            return None;
        }
        let before = before.unwrap_or_default();
        let reported = agreed.unwrap_or(NodeQuality {
            uptime_permille: faded(before.uptime_permille.into()) as u16,
            ..before
        });
        Some(NodeQuality {
            strikes: faded(before.strikes).saturating_add(strikes),
            integrity_fails: faded(before.integrity_fails).saturating_add(integrity_fails),
            ..reported
        })
    }

    /// What wardens saw of a child in the closed bucket. Where there are several wardens, timeouts that one of them
    /// saw alone are left out, and wait for the next bucket.
    fn confirmed_audits(closing: &Closing<T>, child: &T::AccountId) -> Vec<AuditTally> {
        let mut audits = AuditTallies::<T>::take(closing.bucket, child).into_inner();
        let before = TimeoutsToConfirm::<T>::take(child);
        if closing.wardens > 1
            && let Some(waiting) = confirm_timeouts(&mut audits, before, closing.bucket)
        {
            TimeoutsToConfirm::<T>::insert(child, waiting);
        }
        audits
    }

    /// The weighted median of each field over the reports about a child, if they carry enough votes.
    fn agreed_quality(closing: &Closing<T>, child: &T::AccountId) -> Option<NodeQuality> {
        let reports: Vec<_> = QualityReports::<T>::take(closing.bucket, child)
            .into_iter()
            .map(|report| {
                (closing.votes.get(usize::from(report.reporter)).copied().unwrap_or_default(), report)
            })
            .collect();
        let votes = reports.iter().fold(0u128, |sum, (votes, _)| sum.saturating_add(*votes));
        if votes < closing.votes_needed {
            return None;
        }
        let median = |field: fn(&crate::QualityReport) -> u64| {
            weighted_median(reports.iter().map(|(votes, report)| (field(report), *votes)).collect())
        };
        Some(NodeQuality {
            shard_data_bytes: median(|report| report.shard_data_bytes)?,
            bandwidth_bytes: median(|report| report.bandwidth_bytes)?,
            uptime_permille: median(|report| report.uptime_permille.into())? as u16,
            strikes: 0,
            integrity_fails: 0,
        })
    }
}

/// Stores a weight; 0 takes no space.
fn put<T: Config, Map: frame_support::storage::StorageMap<T::AccountId, u16>>(
    key: &T::AccountId,
    weight: u16,
) {
    match weight {
        0 => Map::remove(key),
        _ => Map::insert(key, weight),
    }
}
