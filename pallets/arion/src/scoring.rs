//! Weights from quality: the curve, a family's total, agreement between reporters. Pure arithmetic.
//!
//! # Invariants
//! - Integers only; nothing here can overflow or panic, whatever the input.
//! - Splitting storage and bandwidth over more nodes of a family never raises the family's weight: at most
//!   the score of the sum of its resources counts ([`Scoring::family_raw`]).
//! - Over any number of nodes and families, scores add up to at most [`Scoring::scale`] / ln 2 per
//!   [`Scoring::unit_bytes`].
//! - An agreed value lies between values of honest reporters while they hold more than half of the votes that
//!   reported; a count of failures is never more than what half of the auditors saw each; of several wardens one alone
//!   has no timeouts counted.
//!
//! # Not here
//! Who reports, when, and what is stored (`impls/quality.rs`, `impls/audits.rs`).
//!
//! Derived and argued in docs/spec/chain.md.

use alloc::vec::Vec;
use arion_types::{NodeQuality, quality::UPTIME_PERMILLE_MAX};
use frame_support::traits::Get;

use crate::{AuditTally, Config, UnconfirmedTimeouts};

/// Most strikes, and most integrity failures, that the audits of one bucket add to a miner.
pub const AUDIT_FAILURES_MAX: u32 = 25;
/// Failures one warden alone can add in a bucket while others are registered and none of them audited.
pub const LONE_WARDEN_FAILURES_MAX: u32 = 1;

const PERMILLE: u64 = 1_000;
/// Bits behind the point of logarithms.
const LOG_BITS: u32 = 16;
/// Bits behind the point of shares.
const SHARE_BITS: u32 = 32;

/// Parameters of weights, see the constants of the same names in the pallet's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scoring {
    /// Permille of a score that bandwidth makes.
    pub bandwidth_permille: u32,
    /// Permille of a score that storage makes.
    pub storage_permille: u32,
    /// Score of doubling once.
    pub scale: u32,
    /// Where the curve bends: below, a score is proportional to the bytes, above to their logarithm.
    pub unit_bytes: u64,
    /// Taken off a node's weight per strike.
    pub strike_penalty: u32,
    /// Taken off a node's weight per integrity failure.
    pub integrity_fail_penalty: u32,
    /// Most a node weighs.
    pub node_weight_max: u16,
    /// Nodes of a family that count.
    pub top_n: u32,
    /// What each rank counts compared with the one before.
    pub rank_decay_permille: u32,
    /// Most a family weighs.
    pub family_weight_max: u16,
    /// Share of the difference between old and new weight that a bucket makes up for.
    pub alpha_permille: u32,
    /// Most a family's weight changes per bucket.
    pub delta_max: u16,
}

impl Scoring {
    /// The parameters of a runtime.
    pub fn of<T: Config>() -> Self {
        Self {
            bandwidth_permille: T::NodeBandwidthWeightPermille::get(),
            storage_permille: T::NodeStorageWeightPermille::get(),
            scale: T::NodeScoreScale::get(),
            unit_bytes: T::NodeScoreUnitBytes::get(),
            strike_penalty: T::StrikePenalty::get(),
            integrity_fail_penalty: T::IntegrityFailPenalty::get(),
            node_weight_max: T::MaxNodeWeight::get(),
            top_n: T::FamilyTopN::get(),
            rank_decay_permille: T::FamilyRankDecayPermille::get(),
            family_weight_max: T::MaxFamilyWeight::get(),
            alpha_permille: T::FamilyWeightEmaAlphaPermille::get(),
            delta_max: T::MaxFamilyWeightDeltaPerBucket::get(),
        }
    }

    /// log2(1 + bytes / unit), 16 bits behind the point, rounded down.
    fn doublings(&self, bytes: u128) -> u128 {
        let unit = u128::from(self.unit_bytes.max(1));
        log2(unit.saturating_add(bytes)).saturating_sub(log2(unit)).into()
    }

    /// Bandwidth's and storage's part of a score, in permille of 2^-16.
    fn parts(&self, storage_bytes: u128, bandwidth_bytes: u128) -> (u128, u128) {
        let part = |permille: u32, bytes| {
            u128::from(permille).saturating_mul(u128::from(self.scale)).saturating_mul(self.doublings(bytes))
        };
        (part(self.bandwidth_permille, bandwidth_bytes), part(self.storage_permille, storage_bytes))
    }

    /// Score of resources that are always up and never failed an audit.
    pub fn score(&self, storage_bytes: u128, bandwidth_bytes: u128) -> u64 {
        let (bandwidth, storage) = self.parts(storage_bytes, bandwidth_bytes);
        let score = (bandwidth.saturating_add(storage) / u128::from(PERMILLE)) >> LOG_BITS;
        u64::try_from(score).unwrap_or(u64::MAX)
    }

    fn score_of(&self, quality: &NodeQuality) -> u64 {
        self.score(quality.shard_data_bytes.into(), quality.bandwidth_bytes.into())
    }

    /// Weight of a node: its score times its uptime, less its penalties.
    pub fn node_weight(&self, quality: &NodeQuality) -> u16 {
        let uptime = u64::from(quality.uptime_permille.min(UPTIME_PERMILLE_MAX));
        let score = self.score_of(quality).saturating_mul(uptime) / PERMILLE;
        let strikes = u64::from(quality.strikes).saturating_mul(self.strike_penalty.into());
        let fails = u64::from(quality.integrity_fails).saturating_mul(self.integrity_fail_penalty.into());
        let weight = score.saturating_sub(strikes).saturating_sub(fails);
        clamp(weight, self.node_weight_max)
    }

    /// Weight of a family before smoothing.
    ///
    /// The best `top_n` nodes count, each rank `rank_decay_permille` of the one before; but never more than
    /// the score of their resources together, times the share of it that their uptime and audits leave, unless
    /// the best node alone weighs more.
    pub fn family_raw(&self, nodes: &[NodeQuality]) -> u16 {
        let mut ranked: Vec<(u16, &NodeQuality)> =
            nodes.iter().map(|quality| (self.node_weight(quality), quality)).collect();
        ranked.sort_by_key(|(weight, _)| core::cmp::Reverse(*weight));
        ranked.truncate(self.top_n as usize);
        let best = ranked.first().map_or(0, |(weight, _)| u64::from(*weight));
        let weight = self.decayed_sum(&ranked).min(self.joint_score(&ranked).max(best));
        clamp(weight, self.family_weight_max)
    }

    /// Sum of the weights, each rank counting less.
    fn decayed_sum(&self, ranked: &[(u16, &NodeQuality)]) -> u64 {
        let (mut sum, mut factor) = (0u128, 1u128 << SHARE_BITS);
        for (weight, _) in ranked {
            sum = sum.saturating_add(factor.saturating_mul(u128::from(*weight)));
            factor = factor.saturating_mul(self.rank_decay_permille.into()) / u128::from(PERMILLE);
        }
        u64::try_from(sum >> SHARE_BITS).unwrap_or(u64::MAX)
    }

    /// Score of the sum of the resources, times the share of its score that each node keeps after uptime and
    /// penalties, averaged by resources. Everything is rounded down.
    fn joint_score(&self, ranked: &[(u16, &NodeQuality)]) -> u64 {
        let (mut storage, mut bandwidth) = (0u128, 0u128);
        let (mut storage_kept, mut bandwidth_kept) = (0u128, 0u128);
        for (weight, quality) in ranked {
            let kept = (u128::from(*weight) << SHARE_BITS) / u128::from(self.score_of(quality).max(1));
            storage = storage.saturating_add(quality.shard_data_bytes.into());
            bandwidth = bandwidth.saturating_add(quality.bandwidth_bytes.into());
            storage_kept = storage_kept.saturating_add(kept.saturating_mul(quality.shard_data_bytes.into()));
            bandwidth_kept =
                bandwidth_kept.saturating_add(kept.saturating_mul(quality.bandwidth_bytes.into()));
        }
        let (bandwidth_part, storage_part) = self.parts(storage, bandwidth);
        let kept = bandwidth_part
            .saturating_mul(bandwidth_kept / bandwidth.max(1))
            .saturating_add(storage_part.saturating_mul(storage_kept / storage.max(1)))
            / bandwidth_part.saturating_add(storage_part).max(1);
        let score = u128::from(self.score(storage, bandwidth)).saturating_mul(kept) >> SHARE_BITS;
        u64::try_from(score).unwrap_or(u64::MAX)
    }

    /// The weight after a bucket: `alpha_permille` of the way from `old` to `raw`, at least 1 and at most
    /// `delta_max`.
    pub fn smoothed(&self, old: u16, raw: u16) -> u16 {
        let distance = old.abs_diff(raw);
        let alpha = u64::from(self.alpha_permille).min(PERMILLE);
        let step = (u64::from(distance).saturating_mul(alpha) / PERMILLE).max(1);
        let step = clamp(step, self.delta_max.min(distance));
        if raw > old { old.saturating_add(step) } else { old.saturating_sub(step) }
    }
}

fn clamp(weight: u64, max: u16) -> u16 {
    u16::try_from(weight).unwrap_or(u16::MAX).min(max)
}

/// log2(x), 16 bits behind the point, rounded down; 0 for 0. Never decreases as `x` grows.
pub(crate) fn log2(x: u128) -> u32 {
    let Some(whole) = x.checked_ilog2() else { return 0 };
    // x / 2^whole, which is in [1, 2), with 63 bits behind the point.
    let mut rest = (x << (u128::BITS - 1 - whole)) >> 64;
    let mut log = whole;
    for _ in 0..LOG_BITS {
        rest = rest.saturating_mul(rest) >> 63;
        let bit = (rest >> 64) as u32;
        rest >>= bit;
        log = (log << 1) | bit;
    }
    log
}

/// Votes that decide: two thirds of all, rounded up, and at least one.
pub fn votes_needed(total: u128) -> u128 {
    total.saturating_sub(total / 3).max(1)
}

/// The least value that voters with half of the votes do not exceed; `None` without votes. With an even split
/// this is the lower of the two.
pub fn weighted_median<V: Copy + Ord>(mut values: Vec<(V, u128)>) -> Option<V> {
    values.sort_unstable();
    let total = values.iter().fold(0u128, |sum, (_, votes)| sum.saturating_add(*votes));
    let mut below = 0u128;
    values.into_iter().filter(|(_, votes)| *votes > 0).find_map(|(value, votes)| {
        below = below.saturating_add(votes);
        (below >= total.saturating_sub(below)).then_some(value)
    })
}

/// Takes the timeouts that one warden alone saw out of what wardens saw of a miner in `bucket`, and returns them; puts
/// those of the bucket before back in if another warden saw the miner fail since.
///
/// A failure of any kind confirms: who answers one warden with silence and another with a wrong proof has failed both.
pub fn confirm_timeouts(
    audits: &mut Vec<AuditTally>,
    before: Option<UnconfirmedTimeouts>,
    bucket: u32,
) -> Option<UnconfirmedTimeouts> {
    let failed = |tally: &AuditTally| tally.timeouts > 0 || tally.integrity_fails > 0;
    if let Some(before) = before.filter(|before| before.bucket.saturating_add(1) == bucket)
        && audits.iter().any(|tally| tally.warden != before.warden && failed(tally))
    {
        match audits.iter_mut().find(|tally| tally.warden == before.warden) {
            Some(tally) => tally.timeouts = tally.timeouts.saturating_add(before.timeouts),
            None => {
                let UnconfirmedTimeouts { warden, timeouts, .. } = before;
                audits.push(AuditTally { warden, timeouts, integrity_fails: 0 });
            }
        }
    }
    if audits.iter().filter(|tally| failed(tally)).count() != 1 {
        return None;
    }
    let alone = audits.iter_mut().find(|tally| tally.timeouts > 0)?;
    let timeouts = core::mem::take(&mut alone.timeouts);
    Some(UnconfirmedTimeouts { bucket, warden: alone.warden, timeouts })
}

/// What wardens agree on about a miner in one bucket: timeouts, and failed or invalid proofs.
///
/// `audits` has, for each warden that audited the miner, these two counts. A warden's failures count up to the
/// lower median of all auditors' failures; what one saw alone counts up to [`LONE_WARDEN_FAILURES_MAX`] if
/// `is_alone`, that is, if nobody else audited although there are others.
pub fn agreed_failures(audits: &[(u16, u16)], is_alone: bool) -> (u32, u32) {
    let mut failures: Vec<u32> =
        audits.iter().map(|(timeouts, fails)| u32::from(*timeouts).saturating_add((*fails).into())).collect();
    failures.sort_unstable();
    let Some(mut believed) = failures.get(failures.len().saturating_sub(1) / 2).copied() else {
        return (0, 0);
    };
    if is_alone {
        believed = believed.min(LONE_WARDEN_FAILURES_MAX);
    }
    let (mut strikes, mut integrity_fails) = (0u32, 0u32);
    for (timeouts, fails) in audits {
        let fails = u32::from(*fails).min(believed);
        integrity_fails = integrity_fails.saturating_add(fails);
        strikes = strikes.saturating_add(u32::from(*timeouts).min(believed.saturating_sub(fails)));
    }
    (strikes.min(AUDIT_FAILURES_MAX), integrity_fails.min(AUDIT_FAILURES_MAX))
}

/// What is left of a count after a bucket: seven eighths, rounded down.
pub fn faded(count: u32) -> u32 {
    count.saturating_sub(count.div_ceil(8))
}
