//! Properties of the curve, of families' totals and of agreement, over random inputs.

use arion_types::NodeQuality;
use proptest::prelude::*;

use crate::{
    mock::*,
    scoring::{Scoring, agreed_failures, log2, votes_needed, weighted_median},
};

fn scoring() -> Scoring {
    Scoring::of::<Test>()
}

/// Resources from bytes to exbibytes, all magnitudes alike.
fn bytes() -> impl Strategy<Value = u64> {
    (0..=60u32, any::<u64>()).prop_map(|(magnitude, random)| random >> (64 - magnitude).min(63))
}

fn node() -> impl Strategy<Value = NodeQuality> {
    (bytes(), bytes(), 0..=1_000u16, 0..40u32, 0..40u32).prop_map(
        |(shard_data_bytes, bandwidth_bytes, uptime_permille, strikes, integrity_fails)| NodeQuality {
            shard_data_bytes,
            bandwidth_bytes,
            uptime_permille,
            strikes,
            integrity_fails,
        },
    )
}

/// Cuts `total` at random places into `parts` that add up to it.
fn cut(total: u64, cuts: &[u64]) -> Vec<u64> {
    let mut places: Vec<u64> = cuts.iter().map(|cut| cut.checked_rem(total.max(1)).unwrap_or(0)).collect();
    places.sort_unstable();
    places.push(total);
    let mut before = 0;
    places
        .into_iter()
        .map(|place| {
            let part = place - before;
            before = place;
            part
        })
        .collect()
}

/// The same storage and bandwidth on one node, and spread over up to 32, always up by the same share.
fn split() -> impl Strategy<Value = (NodeQuality, Vec<NodeQuality>)> {
    let cuts = || proptest::collection::vec(any::<u64>(), 31);
    (bytes(), bytes(), 0..=1_000u16, 1..=32usize, cuts(), cuts(), any::<bool>()).prop_map(
        |(storage, bandwidth, uptime_permille, nodes, storage_cuts, bandwidth_cuts, is_even)| {
            let whole = NodeQuality { uptime_permille, ..quality(storage, bandwidth) };
            let parts = |total: u64, cuts: &[u64]| match is_even {
                true => vec![total / nodes as u64; nodes],
                false => cut(total, &cuts[..nodes - 1]),
            };
            let (storage, bandwidth) = (parts(storage, &storage_cuts), parts(bandwidth, &bandwidth_cuts));
            let split = storage.into_iter().zip(bandwidth);
            let split = split.map(|(s, b)| NodeQuality { uptime_permille, ..quality(s, b) });
            (whole, split.collect())
        },
    )
}

#[test]
fn the_curve_has_the_values_of_the_specification() {
    let scoring = scoring();
    let (gib, tib) = (u128::from(GIB), u128::from(TIB));
    for (bytes, score) in [
        (0, 0),
        (gib / 1_024, 0),
        (gib / 2, 299),
        (gib, 512),
        (3 * gib, 1_024),
        (tib, 5_120),
        (16 * tib, 7_168),
        (1_024 * tib, 10_240),
        (u64::MAX.into(), 17_408),
    ] {
        assert_eq!(scoring.score(bytes, bytes), score, "{bytes}");
    }
    assert!(scoring.score(u128::MAX, u128::MAX) > 17_408);
}

#[test]
fn eight_equal_nodes_weigh_as_one_of_their_size_and_a_dead_one_costs_its_share() {
    let scoring = scoring();
    let alone = scoring.family_raw(&[quality(8 * TIB, 8 * TIB)]);
    assert_eq!(alone, scoring.family_raw(&[quality(TIB, TIB); 8]));
    let mut with_dead = [quality(TIB, TIB); 8];
    with_dead[3].uptime_permille = 0;
    assert_eq!(scoring.family_raw(&with_dead), (u32::from(alone) * 7 / 8) as u16);
    assert_eq!(scoring.family_raw(&[]), 0);
}

/// The table under "Why splitting does not pay" in docs/spec/chain.md: 1 TiB over so many families, what they weigh
/// in all, and tenths of what one node weighs.
#[test]
fn splitting_over_families_is_worth_what_the_specification_says() {
    let scoring = scoring();
    for (families, weight, tenths) in
        [(1, 5_120, 10), (2, 9_218, 18), (10, 34_260, 67), (50, 113_250, 221), (256, 304_128, 594)]
    {
        // Of each 1,024 GiB / families, rounded down to whole bytes.
        let each = quality(TIB / families, TIB / families);
        let all = families * u64::from(scoring.family_raw(&[each]));
        assert_eq!(all, weight, "{families}");
        assert_eq!((all * 10 + 2_560) / 5_120, tenths, "{families}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn log2_is_the_logarithm_and_never_falls(x in 1..u128::MAX, y in 1..u128::MAX) {
        let real = (x as f64).log2() * 65_536.0;
        prop_assert!((f64::from(log2(x)) - real).abs() < 2.0, "{x}");
        let (low, high) = (x.min(y), x.max(y));
        prop_assert!(log2(low) <= log2(high));
        prop_assert!(log2(x) <= log2(x.saturating_add(1)));
    }

    /// The rule that cannot be farmed: whatever way a family spreads the same resources over its nodes, one
    /// node has at least the weight.
    #[test]
    fn splitting_within_a_family_never_raises_its_weight((whole, split) in split()) {
        let scoring = scoring();
        let one = scoring.family_raw(&[whole]);
        prop_assert!(scoring.family_raw(&split) <= one, "{} > {one}: {whole:?} {split:?}", scoring.family_raw(&split));
    }

    /// With penalties, splitting wins back at most these: what remains is what one clean node would weigh.
    #[test]
    fn a_family_never_weighs_more_than_its_resources_clean_on_one_node(
        nodes in proptest::collection::vec(node(), 0..32)
    ) {
        let scoring = scoring();
        let raw = u64::from(scoring.family_raw(&nodes));
        let sum = |field: fn(&NodeQuality) -> u64| nodes.iter().map(|node| u128::from(field(node))).sum::<u128>();
        let total = scoring.score(sum(|node| node.shard_data_bytes), sum(|node| node.bandwidth_bytes));
        prop_assert!(raw <= total);
        let best = nodes.iter().map(|node| scoring.node_weight(node)).max().unwrap_or(0);
        prop_assert!(raw >= u64::from(best));
    }

    /// Sum of the best eight, each rank eight tenths of the one before, in reals: the seed's formula, which
    /// the joint score only ever lowers.
    #[test]
    fn a_family_never_weighs_more_than_its_ranks_add_up_to(nodes in proptest::collection::vec(node(), 1..32)) {
        let scoring = scoring();
        let mut weights: Vec<u16> = nodes.iter().map(|node| scoring.node_weight(node)).collect();
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let ranks: f64 =
            weights.iter().take(8).zip(0..).map(|(weight, rank)| f64::from(*weight) * 0.8f64.powi(rank)).sum();
        prop_assert!(f64::from(scoring.family_raw(&nodes)) <= ranks + 0.001);
    }

    /// Over any number of families and nodes, weight is at most proportional to what is really there: 512 / ln 2
    /// per GiB. The parts go to families in groups of `sizes`, several nodes to most.
    #[test]
    fn splitting_over_families_is_worth_at_most_the_slope_of_the_curve_at_zero(
        (whole, split) in split(), sizes in proptest::collection::vec(1..6usize, 32)
    ) {
        let scoring = scoring();
        let (mut rest, mut sum) = (&split[..], 0u64);
        for size in sizes {
            let (family, others) = rest.split_at(size.min(rest.len()));
            sum += u64::from(scoring.family_raw(family));
            rest = others;
        }
        prop_assert!(rest.is_empty());
        let gib = |bytes: u64| bytes as f64 / GIB as f64;
        let linear = 0.7 * gib(whole.bandwidth_bytes) + 0.3 * gib(whole.shard_data_bytes);
        prop_assert!(sum as f64 <= linear * 512.0 / core::f64::consts::LN_2 + 0.001);
    }

    #[test]
    fn more_of_anything_good_never_weighs_less(a in node(), b in node()) {
        let scoring = scoring();
        let best = NodeQuality {
            shard_data_bytes: a.shard_data_bytes.max(b.shard_data_bytes),
            bandwidth_bytes: a.bandwidth_bytes.max(b.bandwidth_bytes),
            uptime_permille: a.uptime_permille.max(b.uptime_permille),
            strikes: a.strikes.min(b.strikes),
            integrity_fails: a.integrity_fails.min(b.integrity_fails),
        };
        prop_assert!(scoring.node_weight(&best) >= scoring.node_weight(&a).max(scoring.node_weight(&b)));
    }

    #[test]
    fn no_quality_overflows(
        storage in any::<u64>(), bandwidth in any::<u64>(), uptime in any::<u16>(), penalty in any::<u32>()
    ) {
        let node = NodeQuality {
            shard_data_bytes: storage,
            bandwidth_bytes: bandwidth,
            uptime_permille: uptime,
            strikes: penalty,
            integrity_fails: penalty,
        };
        prop_assert!(scoring().family_raw(&[node; 32]) <= 20_000);
    }

    #[test]
    fn smoothing_gets_there_in_steps_of_at_most_500(old in 0..=20_000u16, raw in 0..=20_000u16) {
        let scoring = scoring();
        let mut weight = old;
        for _ in 0..200 {
            let next = scoring.smoothed(weight, raw);
            prop_assert!(next.abs_diff(weight) <= 500);
            prop_assert!(next.abs_diff(raw) < weight.abs_diff(raw) || next == raw);
            weight = next;
        }
        prop_assert_eq!(weight, raw);
    }

    /// Liars with less than half of the votes that reported cannot leave the range of what the others said.
    #[test]
    fn a_minority_cannot_move_the_median_beyond_the_others(
        honest in proptest::collection::vec((any::<u64>(), 1..1_000u128), 1..20),
        liars in proptest::collection::vec((any::<u64>(), 1..1_000u128), 0..20),
    ) {
        let votes = |said: &[(u64, u128)]| said.iter().map(|(_, votes)| votes).sum::<u128>();
        prop_assume!(votes(&liars) < votes(&honest));
        let median = weighted_median([&honest[..], &liars[..]].concat()).unwrap();
        let values = || honest.iter().map(|(value, _)| *value);
        prop_assert!(values().min().unwrap() <= median && median <= values().max().unwrap());
    }

    /// Two thirds leave less than half of the reports to a third of liars.
    #[test]
    fn the_quorum_leaves_liars_a_minority(total in 4..u128::MAX) {
        let liars = (total - 1) / 3;
        prop_assert!(liars < votes_needed(total) - liars);
        prop_assert!(votes_needed(total) <= total - liars);
    }

    /// Fewer than half of the wardens that audited a miner add nothing to what the others saw at most.
    #[test]
    fn a_minority_of_wardens_adds_no_more_than_the_others_saw(
        honest in proptest::collection::vec((0..3u16, 0..3u16), 2..20),
        liars in proptest::collection::vec((any::<u16>(), any::<u16>()), 0..19),
    ) {
        prop_assume!(liars.len() < honest.len());
        let worst = honest.iter().map(|(timeouts, fails)| u32::from(timeouts + fails)).max().unwrap();
        let (strikes, fails) = agreed_failures(&[&honest[..], &liars[..]].concat(), false);
        prop_assert!(strikes + fails <= worst * (honest.len() + liars.len()) as u32);
        if worst == 0 {
            prop_assert_eq!((strikes, fails), (0, 0));
        }
    }
}
