//! The next map: a pure function of the chain, of what it says of miners, of heartbeats, and of how miners stand.
//!
//! # Invariants
//! - The order in which heartbeats or registrations came does not matter.
//! - Numbers of miners come from the maps that the chain keeps; new node ids get the numbers behind the highest
//!   one, in order of node id.
//!
//! # Not here
//! Who belongs into it ([`crate::standing`]); when to vote for it ([`crate::publisher`]).

use std::collections::{BTreeMap, BTreeSet};

use arion_chain::{EpochMap, Registry, Snapshot};
use arion_types::{CrushParams, MinerRecord, NodeId, Uid};

use crate::{liveness::Liveness, standing::Standings, weight::Merits};

/// Why there is no next map.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotReady {
    /// The current map is still right.
    #[error("the current map is right")]
    Unchanged,
    /// What the chain says of miners was not read yet.
    #[error("what the chain says of miners was not read yet")]
    MinersUnknown,
    /// Too few miners for a first map.
    #[error("{found} of {needed} miners have registered and sent a heartbeat")]
    TooFewMiners {
        /// Miners ready.
        found: usize,
        /// `min_miners`.
        needed: usize,
    },
    /// CRUSH cannot fill a stripe from these miners.
    #[error("no placement: {0}")]
    Unplaceable(#[from] crush::BuildError),
    /// All numbers are used up.
    #[error("no miner numbers are left")]
    NoNumbers,
}

/// The map that should follow the current one.
pub fn next_map(
    snapshot: &Snapshot,
    liveness: &Liveness,
    standings: &Standings,
    merits: &Merits,
    params: &CrushParams,
    min_miners: usize,
) -> Result<EpochMap, NotReady> {
    let current: BTreeMap<[u8; 32], &MinerRecord> =
        snapshot.current.iter().flat_map(|map| &map.miners).map(|miner| (miner.node_id, miner)).collect();
    let is_wanted = |node: &NodeId| standings.of(node).is_some_and(|standing| standing.state.is_wanted());
    let complete = complete_families(&snapshot.registry, params, is_wanted);
    let is_family_complete = |node: &NodeId| {
        snapshot.registry.miners.get(node).is_some_and(|child| complete.contains(&child.family))
    };
    let records = |belongs: &dyn Fn(&NodeId) -> bool| records(snapshot, &current, liveness, merits, belongs);
    // Whoever has to be missing for every stripe to have all its places; then those who are silent, or want to leave, stay
    // too: a place that may come back is better than none.
    let mut miners = records(&|node| is_wanted(node) && is_family_complete(node))?;
    let mut placeable = crush::Map::from_records(params, &miners);
    if placeable.is_err() {
        miners = records(&is_wanted)?;
        placeable = crush::Map::from_records(params, &miners);
    }
    if placeable.is_err() {
        miners = records(&|node| is_wanted(node) || current.contains_key(&node.0))?;
        placeable = crush::Map::from_records(params, &miners);
    }
    let unchanged = |map: &EpochMap| map.miners == miners && map.params == *params;
    if snapshot.current.as_deref().is_some_and(unchanged) {
        return Err(NotReady::Unchanged);
    }
    if snapshot.current.is_none() && miners.len() < min_miners {
        return Err(NotReady::TooFewMiners { found: miners.len(), needed: min_miners });
    }
    placeable?;
    Ok(EpochMap::new(snapshot.epoch() + 1, *params, miners))
}

/// Families that can hold as many shards of a stripe as a family may: a group that draws another has empty places.
fn complete_families(
    registry: &Registry,
    params: &CrushParams,
    is_wanted: impl Fn(&NodeId) -> bool,
) -> BTreeSet<[u8; 32]> {
    let mut sizes: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    for (_, child) in registry.miners.iter().filter(|(node, _)| is_wanted(node)) {
        *sizes.entry(child.family).or_default() += 1;
    }
    let cap = usize::from(params.family_shards_max);
    sizes.into_iter().filter(|(_, miners)| *miners >= cap).map(|(family, _)| family).collect()
}

/// The registered miners for which `belongs` holds, in order of their numbers.
fn records(
    snapshot: &Snapshot,
    current: &BTreeMap<[u8; 32], &MinerRecord>,
    liveness: &Liveness,
    merits: &Merits,
    belongs: &dyn Fn(&NodeId) -> bool,
) -> Result<Vec<MinerRecord>, NotReady> {
    let mut numbers = Numbers::of(snapshot);
    let mut miners = Vec::new();
    for (node, child) in &snapshot.registry.miners {
        let before = current.get(&node.0).copied();
        // Endpoint and weight: by the last heartbeat, else as in the map.
        let place = match (before, liveness.sighting(node)) {
            (None, None) => None,
            (Some(before), None) => Some((before.endpoint.clone(), before.weight)),
            (before, Some(said)) => {
                let said = &said.heartbeat;
                let disk = (said.capacity_bytes, said.used_bytes);
                let weight = before.map(|miner| miner.weight);
                let weight = merits.weight(&child.child, snapshot.block.number, weight, disk);
                Some((said.endpoint.clone(), weight))
            }
        };
        let Some((endpoint, weight)) = place.filter(|_| belongs(node)) else { continue };
        let uid = numbers.number(*node).ok_or(NotReady::NoNumbers)?;
        miners.push(MinerRecord { uid, node_id: node.0, family: child.family, weight, endpoint });
    }
    miners.sort_by_key(|miner| miner.uid);
    Ok(miners)
}

/// Numbers of node ids.
struct Numbers {
    known: BTreeMap<[u8; 32], Uid>,
    next: Option<Uid>,
}

impl Numbers {
    fn of(snapshot: &Snapshot) -> Self {
        let mut known = BTreeMap::new();
        // Newest map first; an older one adds those who left.
        for miner in snapshot.maps().flat_map(|map| &map.miners) {
            known.entry(miner.node_id).or_insert(miner.uid);
        }
        let next = known.values().max().map_or(Some(1), |highest| next_number(*highest));
        Self { known, next }
    }

    /// Must be asked in order of node id.
    fn number(&mut self, node: NodeId) -> Option<Uid> {
        if let Some(uid) = self.known.get(&node.0) {
            return Some(*uid);
        }
        let uid = self.next?;
        self.next = next_number(uid);
        Some(uid)
    }
}

fn next_number(uid: Uid) -> Option<Uid> {
    uid.checked_add(1).filter(|next| *next <= crush::UID_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::Patience;
    use std::{sync::Arc, time::Duration};

    use arion_chain::Child;
    use arion_protocol::Heartbeat;
    use arion_types::{map::WEIGHT_ONE, signing::node_id};
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    const GENESIS: [u8; 32] = [7; 32];
    const NOW_MS: u64 = 10_000_000;
    const PARAMS: CrushParams = CrushParams::STANDARD;
    const OUT_AFTER: Duration = Duration::from_secs(600);

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n + 1; 32])
    }

    /// `n` miners, two per family.
    fn registry(ids: impl IntoIterator<Item = u8>) -> Registry {
        let mut registry = Registry::default();
        for n in ids {
            registry.miners.insert(node_id(&key(n)), Child { child: [n; 32], family: [n / 2 + 100; 32] });
        }
        registry
    }

    fn report(n: u8, capacity_bytes: u64, now_ms: u64) -> Heartbeat {
        Heartbeat {
            node_id: node_id(&key(n)),
            endpoint: format!("127.0.0.1:{}", 4_000 + u16::from(n)).into_bytes().try_into().unwrap(),
            capacity_bytes,
            used_bytes: 0,
            shard_count: 0,
            draining: false,
            version: (0, 1, 0),
            sent_at: now_ms,
        }
    }

    fn hear(liveness: &mut Liveness, registry: &Registry, n: u8, capacity_bytes: u64, now_ms: u64) {
        let signed = report(n, capacity_bytes, now_ms).sign(&GENESIS, &key(n));
        liveness.accept(node_id(&key(n)), signed, registry, now_ms).unwrap();
    }

    /// How everybody stands after having been silent for a moment, or heard for one.
    fn next(
        chain: &Snapshot,
        liveness: &Liveness,
        min_miners: usize,
        now_ms: u64,
    ) -> Result<EpochMap, NotReady> {
        let mut standings = Standings::new(Patience { out_after: OUT_AFTER, in_after: Duration::ZERO });
        standings.update(&chain.registry, chain.current.as_deref(), liveness, &Merits::default(), NOW_MS);
        standings.update(&chain.registry, chain.current.as_deref(), liveness, &Merits::default(), now_ms);
        next_map(chain, liveness, &standings, &Merits::default(), &PARAMS, min_miners)
    }

    fn heard(registry: &Registry, order: &[u8], now_ms: u64) -> Liveness {
        let mut liveness = Liveness::new(GENESIS, Duration::from_secs(30));
        for n in order {
            hear(&mut liveness, registry, *n, 1 << 40, now_ms);
        }
        liveness
    }

    fn snapshot(registry: Registry, maps: Vec<EpochMap>) -> Snapshot {
        let mut maps = maps.into_iter().rev().map(Arc::new);
        let current = maps.next();
        Snapshot { current, earlier: maps.collect(), registry: Arc::new(registry), ..Snapshot::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_order_of_heartbeats_does_not_matter(
            order in Just((0..32).collect::<Vec<u8>>()).prop_shuffle(),
        ) {
            let sorted: Vec<u8> = (0..32).collect();
            let chain = snapshot(registry(0..32), Vec::new());
            let build = |order: &[u8]| {
                let liveness = heard(&chain.registry, order, NOW_MS);
                next(&chain, &liveness, 30, NOW_MS).unwrap()
            };
            let map = build(&order);
            prop_assert_eq!(&map, &build(&sorted));
            prop_assert_eq!(map.epoch, 1);
            let uids: Vec<Uid> = map.miners.iter().map(|miner| miner.uid).collect();
            prop_assert_eq!(uids, (1..=32).collect::<Vec<Uid>>());
            prop_assert!(map.miners.windows(2).all(|pair| pair[0].node_id < pair[1].node_id));
            prop_assert!(map.miners.iter().all(|miner| miner.weight == WEIGHT_ONE));
        }
    }

    #[test]
    fn a_first_map_waits_for_enough_miners_and_families() {
        let chain = snapshot(registry(0..32), Vec::new());
        let some: Vec<u8> = (0..29).collect();
        let few = next(&chain, &heard(&chain.registry, &some, NOW_MS), 30, NOW_MS);
        assert_eq!(few, Err(NotReady::TooFewMiners { found: 29, needed: 30 }));
        let unplaceable = next(&chain, &heard(&chain.registry, &some[..20], NOW_MS), 2, NOW_MS);
        assert!(matches!(unplaceable, Err(NotReady::Unplaceable(_))), "{unplaceable:?}");
    }

    #[test]
    fn silent_members_stay_newcomers_join_and_leavers_leave() {
        let all: Vec<u8> = (0..32).collect();
        let first = {
            let chain = snapshot(registry(0..32), Vec::new());
            next(&chain, &heard(&chain.registry, &all, NOW_MS), 30, NOW_MS).unwrap()
        };
        // A service that restarted has heard nobody: the map stays.
        let chain = snapshot(registry(0..32), vec![first.clone()]);
        let nobody = Liveness::new(GENESIS, Duration::from_secs(30));
        assert_eq!(next(&chain, &nobody, 30, NOW_MS), Err(NotReady::Unchanged));
        // A family joins, of another one miner is silent; one miner leaves, without which its family's places would be empty.
        let chain = snapshot(registry(1..36), vec![first.clone()]);
        let mut liveness = heard(&chain.registry, &[32, 33, 35], NOW_MS);
        let second = next(&chain, &liveness, 30, NOW_MS).unwrap();
        assert_eq!((second.epoch, second.miners.len()), (2, 32));
        let uid = |map: &EpochMap, n| map.miner_by_node(&node_id(&key(n))).map(|miner| miner.uid);
        for n in [0, 1, 34, 35] {
            assert_eq!(uid(&second, n), None, "{n}");
        }
        let numbers = |map: &EpochMap, ids: [u8; 2]| BTreeSet::from(ids.map(|n| uid(map, n)));
        assert_eq!(numbers(&second, [32, 33]), BTreeSet::from([Some(33), Some(34)]));
        for n in 2..32 {
            assert_eq!(uid(&second, n), uid(&first, n));
        }
        // The leaver comes back to its number, the next newcomers get numbers that were never used.
        let chain = snapshot(registry(0..36), vec![first.clone(), second.clone()]);
        for n in [0, 1, 34] {
            hear(&mut liveness, &chain.registry, n, 1 << 40, NOW_MS);
        }
        let third = next(&chain, &liveness, 30, NOW_MS).unwrap();
        assert_eq!((uid(&third, 0), uid(&third, 1)), (uid(&first, 0), uid(&first, 1)));
        assert_eq!(numbers(&third, [34, 35]), BTreeSet::from([Some(35), Some(36)]));
    }

    #[test]
    fn who_is_silent_for_too_long_or_drains_leaves_unless_nobody_can_take_its_place() {
        // 32 miners in 16 families, 15 families with two are needed.
        let all: Vec<u8> = (0..32).collect();
        let mut chain = snapshot(registry(0..32), Vec::new());
        let first = next(&chain, &heard(&chain.registry, &all, NOW_MS), 30, NOW_MS).unwrap();
        chain.current = Some(Arc::new(first));
        let later = NOW_MS + u64::try_from(OUT_AFTER.as_millis()).unwrap() + 1;
        let left = |gone: &[u8]| {
            let mut liveness = Liveness::new(GENESIS, Duration::from_secs(30));
            for n in (0..32).filter(|n| !gone.contains(n)) {
                hear(&mut liveness, &chain.registry, n, 1 << 40, later);
            }
            next(&chain, &liveness, 30, later).map(|map| map.miners.len())
        };
        // With one of the two its family would leave places empty: the other goes, too.
        assert_eq!(left(&[5]), Ok(30));
        assert_eq!(left(&[4, 5]), Ok(30));
        // One more, and no stripe has 30 places: everybody stays.
        assert_eq!(left(&[4, 5, 9]), Err(NotReady::Unchanged));
        let mut liveness = heard(&chain.registry, &all, NOW_MS);
        let drained = Heartbeat { draining: true, ..report(7, 1 << 40, NOW_MS + 1) }.sign(&GENESIS, &key(7));
        liveness.accept(node_id(&key(7)), drained, &chain.registry, NOW_MS + 1).unwrap();
        let map = next(&chain, &liveness, 30, NOW_MS + 1).unwrap();
        assert_eq!((map.miners.len(), map.miner_by_node(&node_id(&key(7)))), (30, None));
    }

    #[test]
    fn families_with_too_few_miners_are_taken_in_where_nobody_else_is_there() {
        // 20 families of one and 10 of two: no group finds 15 complete ones.
        let mut chain = snapshot(registry(0..20), Vec::new());
        let mut all = chain.registry.as_ref().clone();
        for n in 20..40 {
            all.miners.insert(node_id(&key(n)), Child { child: [n; 32], family: [n; 32] });
        }
        chain.registry = Arc::new(all);
        let everybody: Vec<u8> = (0..40).collect();
        let map = next(&chain, &heard(&chain.registry, &everybody, NOW_MS), 30, NOW_MS);
        assert!(matches!(map, Err(NotReady::Unplaceable(_))), "{map:?}");
        // 14 of two and two of one: 30 places for some groups, 29 for others, and none of it without those of one.
        let mut few = registry(0..28);
        for n in 28..31 {
            few.miners.insert(
                node_id(&key(n)),
                Child { child: [n; 32], family: [if n == 28 { 90 } else { 91 }; 32] },
            );
        }
        chain.registry = Arc::new(few);
        let map = next(&chain, &heard(&chain.registry, &everybody[..31], NOW_MS), 30, NOW_MS).unwrap();
        assert_eq!((map.miners.len(), map.miner_by_node(&node_id(&key(28)))), (30, None));
    }

    #[test]
    fn weights_follow_capacity_but_not_every_wobble() {
        let all: Vec<u8> = (0..32).collect();
        let chain = snapshot(registry(0..32), Vec::new());
        let mut liveness = heard(&chain.registry, &all, NOW_MS);
        let first = next(&chain, &liveness, 30, NOW_MS).unwrap();
        let chain = snapshot(registry(0..32), vec![first]);
        hear(&mut liveness, &chain.registry, 3, (1 << 40) - (1 << 34), NOW_MS + 1);
        assert_eq!(next(&chain, &liveness, 30, NOW_MS + 1), Err(NotReady::Unchanged));
        hear(&mut liveness, &chain.registry, 3, 1 << 41, NOW_MS + 2);
        let second = next(&chain, &liveness, 30, NOW_MS + 2).unwrap();
        assert_eq!(second.miner_by_node(&node_id(&key(3))).unwrap().weight, 2 * WEIGHT_ONE);
    }
}
