//! The maps on which placement is compared with Ceph's.

use crush::{CrushParams, Leaf, Map};
use serde::{Deserialize, Serialize};

/// How Ceph writes an empty position.
pub(crate) const NONE: u32 = 0x7fff_ffff;
/// The frozen vectors.
pub(crate) const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/placement.json");

/// A map with Ceph's answers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// pg_count, k, m, family_shards_max, choose_tries.
    pub(crate) params: (u32, u8, u8, u8, u16),
    /// uid, byte that fills the family account, weight.
    pub(crate) miners: Vec<(u32, u8, u32)>,
    /// Placement groups compared.
    pub(crate) groups: u32,
    /// Answers for groups 0, groups / 16, 2 * groups / 16, ...
    pub(crate) placements: Vec<Vec<u32>>,
}

impl Case {
    fn new(name: &str, params: (u32, u8, u8, u8, u16), miners: Vec<(u32, u8, u32)>) -> Self {
        Self { name: name.into(), params, miners, groups: params.0, placements: Vec::new() }
    }

    pub(crate) fn map(&self) -> Map {
        let (pg_count, ec_k, ec_m, family_shards_max, choose_tries) = self.params;
        let params = CrushParams { pg_count, ec_k, ec_m, family_shards_max, choose_tries };
        let leaves =
            self.miners.iter().map(|&(uid, family, weight)| Leaf { uid, family: [family; 32], weight });
        Map::build(&params, leaves).unwrap()
    }
}

pub(crate) fn all() -> Vec<Case> {
    let one = 0x1_0000;
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move |below: u32| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((random >> 33) % u64::from(below)) as u32
    };
    let mut uneven = |miners: u32, families: u32, weight_max: u32| -> Vec<_> {
        (0..miners).map(|uid| (uid * 3 + 1, next(families) as u8, 1 + next(weight_max))).collect()
    };
    vec![
        Case::new(
            "32 equal miners in 16 families",
            (4_096, 10, 20, 2, 500),
            (0..32).map(|uid| (uid, (uid / 2) as u8, one)).collect(),
        ),
        Case::new(
            "32 miners in 16 families, one miner drained",
            (4_096, 10, 20, 2, 500),
            (0..32).map(|uid| (uid, (uid % 16) as u8, if uid == 5 { 0 } else { one })).collect(),
        ),
        Case::new("200 uneven miners in 40 families", (4_096, 10, 20, 2, 500), uneven(200, 40, 40 * one)),
        Case::new("600 uneven miners in 250 families", (2_048, 10, 20, 2, 500), uneven(600, 250, 100 * one)),
        Case::new("few tries leave positions empty", (2_048, 10, 20, 2, 3), uneven(60, 17, 3 * one)),
        Case::new("cap 4 does not divide 30", (2_048, 10, 20, 4, 500), uneven(120, 12, 9 * one)),
        Case::new("cap 1", (2_048, 4, 5, 1, 50), uneven(50, 20, one)),
        Case::new("cap beyond k + m, one family", (1_024, 2, 1, 9, 50), uneven(12, 1, 9 * one)),
        Case::new("255 positions", (256, 100, 155, 5, 200), uneven(900, 120, 9 * one)),
        Case::new("weights of 1/65536", (1_024, 3, 3, 2, 100), uneven(30, 9, 2)),
    ]
}

pub(crate) fn placement(map: &Map, pg: u32) -> Vec<u32> {
    map.place_vec(pg).into_iter().map(|uid| uid.unwrap_or(NONE)).collect()
}

pub(crate) fn frozen() -> Vec<Case> {
    serde_json::from_str(&std::fs::read_to_string(PATH).unwrap()).unwrap()
}

/// One case per line, so that differences can be read.
pub(crate) fn to_json(cases: &[Case]) -> String {
    let lines: Vec<_> = cases.iter().map(|case| serde_json::to_string(case).unwrap()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}
