//! What placement promises, over random maps.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use crush::{BuildError, CrushParams, Leaf, Map};
use proptest::prelude::*;

const PARAMS: CrushParams =
    CrushParams { pg_count: 256, ec_k: 4, ec_m: 8, family_shards_max: 2, choose_tries: 500 };
const ONE: u32 = 0x1_0000;

/// Maps that can be built: at least 6 families of at least 2 miners, some drained, weights of up to 8 TiB.
fn miners() -> impl Strategy<Value = Vec<Leaf>> {
    prop::collection::vec(prop::collection::vec((1..8 * ONE, prop::bool::weighted(0.1)), 2..6), 6..20)
        .prop_map(|families| {
            let mut leaves = Vec::new();
            for (family, members) in families.into_iter().enumerate() {
                for (place, (weight, drained)) in members.into_iter().enumerate() {
                    let weight = if drained && place >= 2 { 0 } else { weight };
                    leaves.push(Leaf { uid: leaves.len() as u32, family: [family as u8; 32], weight });
                }
            }
            leaves
        })
}

fn build(miners: &[Leaf]) -> Map {
    Map::build(&PARAMS, miners.iter().copied()).unwrap()
}

/// Positions that differ between two maps, of all positions of all placement groups.
fn moved(before: &Map, after: &Map) -> f64 {
    let groups = PARAMS.pg_count;
    let changed: usize = (0..groups)
        .map(|pg| before.place_vec(pg).iter().zip(after.place_vec(pg)).filter(|(a, b)| **a != *b).count())
        .sum();
    changed as f64 / (groups as usize * before.shards()) as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn distinct_miners_within_the_family_cap_and_none_without_weight(miners in miners()) {
        let map = build(&miners);
        for pg in 0..64 {
            let placed: Vec<u32> = map.place_vec(pg).into_iter().flatten().collect();
            prop_assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), placed.len());
            let mut families = BTreeMap::<[u8; 32], u8>::new();
            for uid in placed {
                let miner = miners[uid as usize];
                prop_assert!(miner.weight > 0, "miner {} has no weight", uid);
                *families.entry(miner.family).or_default() += 1;
            }
            prop_assert!(families.values().all(|shards| *shards <= PARAMS.family_shards_max));
        }
    }

    #[test]
    fn the_order_of_miners_does_not_matter(
        (given, shuffled) in miners().prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle()))
    ) {
        prop_assert_eq!(build(&given), build(&shuffled));
    }

    #[test]
    fn a_drained_miner_is_as_good_as_absent(miners in miners()) {
        // Unless it was the family's eldest, which may decide about a bucket id both hash to.
        let present: Vec<Leaf> = miners.iter().copied().filter(|miner| miner.weight > 0).collect();
        prop_assert_eq!(build(&miners), build(&present));
    }

    #[test]
    fn place_is_the_prefix_of_place_vec(miners in miners(), pg in any::<u32>(), len in 0usize..20) {
        let map = build(&miners);
        let mut out = vec![Some(u32::MAX); len];
        map.place(pg, &mut out);
        let mut expected = map.place_vec(pg);
        expected.resize(len, None);
        prop_assert_eq!(out, expected);
    }
}

/// 40 families of 5 miners, 1 TiB each.
fn steady() -> Vec<Leaf> {
    (0..200).map(|uid| Leaf { uid, family: [(uid / 5) as u8; 32], weight: ONE }).collect()
}

#[test]
fn a_new_miner_moves_little() {
    let before = steady();
    let mut after = before.clone();
    after.push(Leaf { uid: 200, family: [7; 32], weight: ONE });
    let moved = moved(&build(&before), &build(&after));
    // Ideal: 1 / 201 = 0.5 %.
    assert!(moved > 0.0 && moved < 0.02, "{moved}");
}

#[test]
fn a_new_family_moves_little_wherever_its_account_sorts() {
    let before = steady();
    for account in [[0x00; 32], [0xff; 32]] {
        let mut after: Vec<Leaf> = before.clone();
        after.iter_mut().filter(|miner| miner.family == [0; 32]).for_each(|miner| miner.family = [99; 32]);
        let before = build(&after);
        after.extend((200..205).map(|uid| Leaf { uid, family: account, weight: ONE }));
        let moved = moved(&before, &build(&after));
        // Ideal: 1 / 41 = 2.4 %.
        assert!(moved > 0.0 && moved < 0.07, "{moved}");
    }
}

#[test]
fn a_drained_miner_moves_little() {
    let before = steady();
    let mut after = before.clone();
    after[17].weight = 0;
    let moved = moved(&build(&before), &build(&after));
    assert!(moved > 0.0 && moved < 0.02, "{moved}");
}

#[test]
fn load_follows_weight() {
    let mut miners = steady();
    for family in 0..40 {
        miners[family * 5].weight = 3 * ONE;
    }
    let map = build(&miners);
    let (mut heavy, mut light) = (0u32, 0u32);
    for uid in (0..4_096).flat_map(|pg| map.place_vec(pg)).flatten() {
        if uid % 5 == 0 { heavy += 1 } else { light += 1 }
    }
    // 3 of 7 parts of a family's weight, but a family holds two shards on two miners: 2 * 3/7 draws can not all
    // land on one of them.
    let share = f64::from(heavy) / f64::from(heavy + light);
    assert!((0.33..0.43).contains(&share), "{share}");
}

#[test]
fn refusals_say_what_is_wrong() {
    let refuse =
        |params: &CrushParams, miners: &[Leaf]| Map::build(params, miners.iter().copied()).unwrap_err();
    let miners = steady();

    let twice = [miners.clone(), vec![miners[3]]].concat();
    assert_eq!(refuse(&PARAMS, &twice), BuildError::DuplicateUid { uid: 3 });
    let huge = [Leaf { uid: crush::UID_MAX + 1, ..miners[0] }];
    assert_eq!(refuse(&PARAMS, &huge), BuildError::UidTooLarge { uid: 0x7fff_fffe });
    let heavy = [Leaf { weight: u32::MAX, ..miners[0] }, Leaf { weight: 1, ..miners[1] }];
    assert_eq!(refuse(&PARAMS, &heavy), BuildError::FamilyTooHeavy { uid: 0 });

    assert_eq!(refuse(&PARAMS, &[]), BuildError::NoWeight);
    assert_eq!(refuse(&PARAMS, &[Leaf { weight: 0, ..miners[0] }]), BuildError::NoWeight);
    assert_eq!(refuse(&PARAMS, &miners[..25]), BuildError::TooFewFamilies { found: 5, needed: 6 });
    let singles: Vec<_> = (0..8).map(|i| miners[i * 5]).chain([miners[1]]).collect();
    assert_eq!(refuse(&PARAMS, &singles), BuildError::TooFewMiners { families: 6, fillable: 7, needed: 12 });

    for (params, error) in [
        (CrushParams { pg_count: 0, ..PARAMS }, BuildError::NoPlacementGroups),
        (CrushParams { ec_k: 0, ..PARAMS }, BuildError::Code { k: 0, m: 8 }),
        (CrushParams { ec_k: 200, ec_m: 56, ..PARAMS }, BuildError::Code { k: 200, m: 56 }),
        (CrushParams { family_shards_max: 0, ..PARAMS }, BuildError::NoShardsPerFamily),
        (CrushParams { choose_tries: 0, ..PARAMS }, BuildError::NoTries),
    ] {
        assert_eq!(refuse(&params, &miners), error);
    }
    assert_eq!(
        refuse(&PARAMS, &miners[..25]).to_string(),
        "5 families have weight but a stripe needs 6: register 1 more or raise family_shards_max"
    );
}

#[test]
fn records_with_one_node_id_twice_are_refused() {
    let record = |uid: u32| crush::MinerRecord::<[u8; 32]> {
        uid,
        node_id: [(uid / 2) as u8; 32],
        family: [uid as u8; 32],
        weight: ONE,
        endpoint: Default::default(),
    };
    let error = Map::from_records(&PARAMS, &[record(4), record(5)]).unwrap_err();
    assert_eq!(error, BuildError::DuplicateNode { first: 4, second: 5 });
}
