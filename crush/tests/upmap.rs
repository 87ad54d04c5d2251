//! Exceptions: what they do, what is refused, what they are for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the other half is for the corpus")]
mod corpus;
#[path = "corpus/judge.rs"]
#[allow(dead_code, reason = "the other half is for the corpus")]
mod judge;

use std::collections::BTreeMap;

use crush::{CrushParams, Leaf, Map, Upmap, UpmapError};
use serde::{Deserialize, Serialize};

const PARAMS: CrushParams =
    CrushParams { pg_count: 256, ec_k: 2, ec_m: 4, family_shards_max: 2, choose_tries: 100 };

/// Eight families of three miners.
fn map() -> Map {
    let leaf = |uid: u32| Leaf { uid, family: [(uid / 3) as u8; 32], weight: 0x1_0000 };
    Map::build(&PARAMS, (0..24).map(leaf)).unwrap()
}

fn absent(map: &Map, pg: u32, allowed: impl Fn(u32) -> bool) -> u32 {
    let placed = map.place_vec(pg);
    map.uids().find(|uid| !placed.contains(&Some(*uid)) && allowed(*uid)).unwrap()
}

/// Miners of families that hold nothing of a group.
fn elsewhere(map: &Map, pg: u32) -> impl Iterator<Item = u32> + use<> {
    let placed: Vec<u32> = map.place_vec(pg).into_iter().flatten().collect();
    (0..24).filter(move |uid| placed.iter().all(|placed| placed / 3 != uid / 3))
}

#[test]
fn an_upmap_moves_one_shard_of_one_group() {
    let plain = map();
    let placed = plain.place_vec(9);
    let (from, to) = (placed[4].unwrap(), elsewhere(&plain, 9).next().unwrap());
    let mapped = map().with_upmaps(&[Upmap { pg: 9, from, to }]).unwrap();
    for pg in 0..PARAMS.pg_count {
        let mut expected = plain.place_vec(pg);
        if pg == 9 {
            expected[4] = Some(to);
        }
        assert_eq!(mapped.place_vec(pg), expected, "placement group {pg}");
    }
    let mut first = [None; 5];
    mapped.place(9, &mut first);
    assert_eq!(first[..], mapped.place_vec(9)[..5]);
    assert_eq!(mapped.with_upmaps(&[]).unwrap(), plain);
}

#[test]
fn the_order_of_upmaps_does_not_matter() {
    let map = map();
    let mut upmaps: Vec<Upmap> = (0..20)
        .flat_map(|pg| {
            let to: Vec<u32> = elsewhere(&map, pg).take(2).collect();
            let placed = map.place_vec(pg);
            (0..2).map(move |at| Upmap { pg, from: placed[at].unwrap(), to: to[at] })
        })
        .collect();
    let given = map.clone().with_upmaps(&upmaps).unwrap();
    upmaps.reverse();
    assert_eq!(map.with_upmaps(&upmaps).unwrap(), given);
    assert_eq!(given.upmaps().len(), 40);
}

#[test]
fn an_upmap_that_can_not_be_is_refused() {
    let refuse = |upmaps: &[Upmap]| map().with_upmaps(upmaps).unwrap_err();
    let plain = map();
    let placed: Vec<u32> = plain.place_vec(3).into_iter().flatten().collect();
    let away: Vec<u32> = elsewhere(&plain, 3).collect();
    let (pg, from, to) = (3, placed[0], away[0]);

    assert_eq!(refuse(&[Upmap { pg: 256, from, to }]), UpmapError::UnknownGroup { pg: 256, pg_count: 256 });
    assert_eq!(refuse(&[Upmap { pg, from, to: from }]), UpmapError::Repeated { pg, uid: from });
    let both = [Upmap { pg, from, to }, Upmap { pg, from: placed[1], to }];
    assert_eq!(refuse(&both), UpmapError::Repeated { pg, uid: to });
    assert_eq!(refuse(&[Upmap { pg, from, to: 24 }]), UpmapError::UnknownMiner { pg, to: 24 });
    let absent_one = absent(&plain, pg, |uid| uid != to);
    assert_eq!(refuse(&[Upmap { pg, from: absent_one, to }]), UpmapError::NotPlaced { pg, from: absent_one });
    let error = refuse(&[Upmap { pg, from, to: placed[3] }]);
    assert_eq!(error, UpmapError::AlreadyPlaced { pg, to: placed[3] });
    // The third miner of a family that holds two already.
    let third = absent(&plain, pg, |uid| {
        uid / 3 != from / 3 && placed.iter().filter(|placed| **placed / 3 == uid / 3).count() == 2
    });
    let error = refuse(&[Upmap { pg, from, to: third }]);
    assert_eq!(error, UpmapError::FamilyCap { pg, to: third, cap: 2 });
    assert_eq!(
        error.to_string(),
        format!(
            "upmap of placement group 3: with miner {third} its family holds more than 2 shards; choose another family"
        )
    );
}

#[test]
fn of_many_upmaps_those_that_hold_are_kept() {
    let map = map();
    let placed = map.place_vec(3);
    let away: Vec<u32> = elsewhere(&map, 3).collect();
    let good = Upmap { pg: 3, from: placed[0].unwrap(), to: away[0] };
    let stale = Upmap { pg: 3, from: away[1], to: away[2] };
    let again = Upmap { pg: 3, from: placed[1].unwrap(), to: away[0] };
    let late = Upmap { pg: 900, ..good };
    let kept = map.upmaps_that_hold(&[late, again, stale, good]);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0] == good || kept[0] == again);
    assert_eq!(map.with_upmaps(&kept).unwrap().upmaps(), kept);
}

#[derive(Serialize, Deserialize)]
struct Frozen {
    /// Group, from, to.
    upmaps: Vec<(u32, u32, u32)>,
    /// Group and its miners.
    placements: Vec<(u32, Vec<u32>)>,
}

/// crush/vectors/upmap.json: the map of this file, exceptions, placements with them.
#[test]
fn frozen_exceptions_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/upmap.json");
    if std::env::var("CRUSH_VECTORS").is_ok_and(|value| value == "write") && judge::installed() {
        std::fs::write(path, serde_json::to_string(&cephs()).unwrap() + "\n").unwrap();
    }
    let frozen: Frozen = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let upmaps: Vec<Upmap> = frozen.upmaps.iter().map(|&(pg, from, to)| Upmap { pg, from, to }).collect();
    let map = map().with_upmaps(&upmaps).unwrap();
    assert_eq!((frozen.upmaps.len(), frozen.placements.len()), (12, 16));
    for (pg, placement) in frozen.placements {
        let placed: Vec<u32> = map.place_vec(pg).into_iter().flatten().collect();
        assert_eq!(placed, placement, "placement group {pg}");
    }
}

/// `crushtool`'s answers for groups 0 to 15, changed as docs/spec/placement.md says.
fn cephs() -> Frozen {
    let mut answers = judge::Compiled::new(map().hierarchy()).test(6, 16);
    let mut upmaps = Vec::new();
    for (pg, answer) in (0..).zip(&mut answers).filter(|(pg, _)| pg % 4 != 3) {
        let free = |uid: &u32| answer.iter().all(|placed| placed / 3 != uid / 3);
        let to = (0..24).rev().find(free).unwrap();
        let position = &mut answer[pg as usize % 6];
        upmaps.push((pg, *position, to));
        *position = to;
    }
    Frozen { upmaps, placements: (0..).zip(answers).collect() }
}

/// What they are for: CRUSH spreads like dice, exceptions for a few positions even it out.
#[test]
fn a_few_upmaps_level_the_load() {
    let plain = map();
    let positions = PARAMS.pg_count as usize * plain.shards();
    let load = |map: &Map| {
        let mut load = BTreeMap::<u32, usize>::new();
        (0..PARAMS.pg_count)
            .flat_map(|pg| map.place_vec(pg))
            .flatten()
            .for_each(|uid| *load.entry(uid).or_default() += 1);
        load
    };
    let fair = positions / 24;
    let mut loads = load(&plain);
    let worst = loads.values().max().unwrap() * 100 / fair;
    let mut upmaps: Vec<Upmap> = Vec::new();
    for pg in 0..PARAMS.pg_count {
        let fullest = |uid: &&u32| loads[*uid];
        let placed: Vec<u32> = plain.place_vec(pg).into_iter().flatten().collect();
        let from = *placed.iter().max_by_key(fullest).unwrap();
        let to = elsewhere(&plain, pg).min_by_key(|uid| loads[uid]).unwrap();
        if loads[&from] > fair + 1 && loads[&to] < fair {
            upmaps.push(Upmap { pg, from, to });
            *loads.get_mut(&from).unwrap() -= 1;
            *loads.get_mut(&to).unwrap() += 1;
        }
    }
    let levelled = load(&plain.clone().with_upmaps(&upmaps).unwrap());
    assert_eq!(levelled, loads);
    let better = levelled.values().max().unwrap() * 100 / fair;
    eprintln!(
        "fullest miner: {worst} % of the mean, {better} % with {} of {positions} positions moved",
        upmaps.len()
    );
    assert!(worst > 110 && better < 105, "{worst} % of the mean, {better} % with exceptions");
    assert!(upmaps.len() * 10 < positions, "{} of {positions} positions", upmaps.len());
}
