//! What a new map moves.

use arion_chain::EpochMap;

/// Positions (a shard of every stripe of one placement group) between two maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Movement {
    /// Positions of a map.
    pub positions: u64,
    /// Positions that get another miner.
    pub moved: u64,
    /// As many have to, whatever the placement: what miners gain, if each has its weight's share of all positions.
    pub least: u64,
}

impl Movement {
    /// `None` where the maps cannot be compared: they differ in their groups or their code.
    pub fn between(before: &EpochMap, after: &EpochMap) -> Option<Self> {
        let placement = |map: &EpochMap| crush::Map::from_records(&map.params, &map.miners).ok();
        let plan = crush::Plan::between(&placement(before)?, &placement(after)?).ok()?;
        let least = before.least_moved(after);
        Some(Self { positions: plan.positions, moved: plan.moved + plan.filled, least })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::{CrushParams, MinerRecord};

    fn map(uids: impl Iterator<Item = u32>) -> EpochMap {
        let record = |uid: u32| MinerRecord {
            uid,
            node_id: [uid as u8; 32],
            family: [uid as u8 / 2 + 100; 32],
            weight: 1 << 16,
            endpoint: b"a:1".to_vec().try_into().unwrap(),
        };
        let params = CrushParams { pg_count: 256, ..CrushParams::STANDARD };
        EpochMap::new(1, params, uids.map(record).collect())
    }

    #[test]
    fn losing_one_of_forty_moves_little_more_than_its_own() {
        let (before, after) = (map(2..42), map((2..42).filter(|uid| *uid != 7)));
        assert_eq!(Movement::between(&before, &before).unwrap().moved, 0);
        let movement = Movement::between(&before, &after).unwrap();
        assert_eq!(movement.positions, 256 * 30);
        // A fortieth of the positions, give or take the rounding of 39 shares.
        assert!((150..=192).contains(&movement.least), "{movement:?}");
        assert!(movement.moved >= movement.least && movement.moved < 3 * movement.least, "{movement:?}");
    }

    #[test]
    fn maps_of_other_groups_are_not_compared() {
        let mut other = map(2..42);
        other.params.pg_count = 512;
        assert_eq!(Movement::between(&map(2..42), &other), None);
    }
}
