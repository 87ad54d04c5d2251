//! How much of a miner's data is challenged, and how likely a loss is found.
//!
//! The chance itself is computed in `arion_proofs::detection`.

use std::time::Duration;

use arion_proofs::{PPM, detection_ppm};

use crate::{docket::Pace, sampler::Amount};

/// The loss that detection is computed for: 1 % of a miner's bytes.
pub const LOSS_PPM: u64 = PPM / 100;

const DAY_MS: u64 = 86_400_000;

/// What this warden's pace amounts to, for the miner that it watches least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forecast {
    /// Length of a round, in milliseconds.
    pub round_ms: u64,
    /// Part of a miner's shards that a round covers.
    pub coverage_ppm: u64,
    /// Challenges of a miner in 24 hours.
    pub challenges_per_day: u64,
    /// Chance that a miner who lost [`LOSS_PPM`] of the bytes that are this warden's to audit is found within
    /// 24 hours.
    pub detection_ppm: u64,
}

/// Computes the forecast for miners with these shards; `None` where there are none.
pub fn forecast(amounts: impl IntoIterator<Item = Amount>, pace: &Pace) -> Option<Forecast> {
    let mut counts: Vec<u64> = amounts.into_iter().map(|amount| amount.shards).filter(|n| *n > 0).collect();
    counts.sort_unstable();
    let (least, most) = (*counts.first()?, *counts.last()?);
    let total: u64 = counts.iter().fold(0, |sum, count| sum.saturating_add(*count));
    let pause_us = micros(pace.pause).max(1);
    let (min_us, max_us) = (micros(pace.round_min), micros(pace.round_max));
    let round_us = total.saturating_mul(pause_us).clamp(min_us.min(max_us), max_us).max(1);
    let level = level(&counts, round_us / pause_us);
    let rounds = |challenges: u64| {
        let in_day = u128::from(challenges) * u128::from(DAY_MS) * 1_000 / u128::from(round_us);
        u64::try_from(in_day).unwrap_or(u64::MAX)
    };
    let challenges_per_day = rounds(least.min(level));
    Some(Forecast {
        round_ms: round_us / 1_000,
        coverage_ppm: u64::try_from(u128::from(level.min(most)) * u128::from(PPM) / u128::from(most))
            .unwrap_or(PPM),
        challenges_per_day,
        detection_ppm: detection_ppm(LOSS_PPM, challenges_per_day),
    })
}

/// Miners take turns: each gets as many challenges as it has shards, up to the same number for all. That number.
fn level(ascending: &[u64], challenges: u64) -> u64 {
    let mut left = challenges;
    for (before, count) in ascending.iter().enumerate() {
        let each = left / (ascending.len() - before) as u64;
        if *count > each {
            return each;
        }
        left -= count;
    }
    ascending.last().copied().unwrap_or(0)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_proofs::CHUNKS_MAX;
    use proptest::prelude::*;

    fn pace(pause: Duration, round_max: Duration) -> Pace {
        Pace { pause, round_min: Duration::from_secs(60), round_max, parallel: 8 }
    }

    fn shards(counts: &[u64]) -> Vec<Amount> {
        counts.iter().map(|shards| Amount { shards: *shards, bytes: shards << 20 }).collect()
    }

    proptest! {
        #[test]
        fn the_level_hands_out_all_there_is(mut counts in proptest::collection::vec(1u64..50, 1..9), n in 0u64..500) {
            counts.sort_unstable();
            let level = level(&counts, n);
            let given = |level: u64| counts.iter().map(|count| (*count).min(level)).sum::<u64>();
            prop_assert!(given(level) <= n.max(given(0)));
            prop_assert!(given(level + 1) > n || given(level) == counts.iter().sum::<u64>());
        }
    }

    #[test]
    fn a_small_network_is_covered_and_a_large_one_in_part() {
        let day = Duration::from_secs(86_400);
        let small = forecast(shards(&[10, 30]), &pace(Duration::from_secs(1), day)).unwrap();
        assert_eq!((small.round_ms, small.coverage_ppm), (60_000, PPM));
        assert_eq!(small.challenges_per_day, 10 * 1_440);
        // 100 miners with 100,000 shards each, a challenge a second: 864 each in a day.
        let large = forecast(shards(&[100_000; 100]), &pace(Duration::from_secs(1), day)).unwrap();
        assert_eq!((large.round_ms, large.challenges_per_day), (86_400_000, 864));
        assert_eq!((large.coverage_ppm, large.detection_ppm), (8_640, detection_ppm(10_000, 864)));
        assert_eq!(forecast(shards(&[0]), &pace(Duration::from_secs(1), day)), None);
    }

    /// A shard of which some chunk groups are lost fails its challenge with at least the lost part of its bytes, for
    /// every number of groups and losses: exact counts, over the common denominator.
    #[test]
    fn one_challenge_meets_at_least_the_lost_part() {
        let choose = |n: u64| if n < 4 { 0 } else { n * (n - 1) * (n - 2) * (n - 3) / 24 };
        for groups in CHUNKS_MAX as u64 + 1..=64 {
            for lost in 1..=groups {
                // The last group may be as short as a byte: then the lost part is at most this.
                let (part, of) = (lost.min(groups - 1), groups - 1);
                let (passes, all) = (choose(groups - lost), choose(groups));
                assert!((all - passes) * of >= part * all, "{lost} of {groups} groups");
            }
        }
    }
}
