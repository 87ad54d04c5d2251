//! A map as it stands on chain, with accounts that exist: what the runtime's wasm is held against by a polkadot.js client
//! (`e2e/polkadot-js/answers.mjs`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use arion_types::{CrushParams, MinerRecord};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Params {
    pg_count: u32,
    ec_k: u8,
    ec_m: u8,
    family_shards_max: u8,
    choose_tries: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Miner {
    uid: u32,
    family: String,
    weight: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    params: Params,
    miners: Vec<Miner>,
    /// Account by name, hexadecimal.
    families: BTreeMap<String, String>,
    /// Uids of every placement group.
    groups: Vec<Vec<u32>>,
}

fn account(digits: &str) -> [u8; 32] {
    let bytes: Vec<u8> =
        (0..64).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

#[test]
fn the_vector_of_the_chain_is_what_this_crate_places() {
    let vector: Vector = serde_json::from_str(include_str!("../vectors/chain.json")).unwrap();
    let Params { pg_count, ec_k, ec_m, family_shards_max, choose_tries } = vector.params;
    let params = CrushParams { pg_count, ec_k, ec_m, family_shards_max, choose_tries };
    let miners: Vec<MinerRecord> = vector
        .miners
        .iter()
        .map(|miner| MinerRecord {
            uid: miner.uid,
            // Placement does not depend on it.
            node_id: [miner.uid as u8; 32],
            family: account(&vector.families[&miner.family]),
            weight: miner.weight,
            endpoint: Default::default(),
        })
        .collect();
    let map = crush::Map::from_records(&params, &miners).unwrap();
    let placed: Vec<Vec<u32>> =
        (0..pg_count).map(|pg| map.place_vec(pg).into_iter().map(Option::unwrap).collect()).collect();
    assert_eq!(placed, vector.groups);
}
