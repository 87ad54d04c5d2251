//! The current map, ready to say where the shards of a stripe belong.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use arion_chain::Snapshot;
use arion_net::PeerAddr;
use arion_types::{Epoch, NodeId, PgId, StripeId, Uid, stripe::placement_group};

use super::plan::Shape;

/// The miner of each position; `None` where the map leaves it empty.
pub(super) type Named = Arc<[Option<NodeId>]>;

/// A map with what was placed by it.
#[derive(Debug)]
pub(super) struct CurrentMap {
    /// Its epoch.
    pub(super) epoch: Epoch,
    /// Shards of its stripes.
    pub(super) shape: Shape,
    pg_count: u32,
    map: crush::Map,
    nodes: HashMap<Uid, NodeId>,
    members: HashSet<NodeId>,
    /// Where miners are called, by the newest map that has them.
    addresses: HashMap<NodeId, PeerAddr>,
    /// Whose miners are, by the newest map that has them.
    families: HashMap<NodeId, [u8; 32]>,
    placed: Mutex<HashMap<PgId, Named>>,
}

impl CurrentMap {
    /// The newest map of a snapshot; `None` before the first, or if nothing can be placed with it.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        let current = snapshot.current.as_ref()?;
        let map = crush::Map::from_records(&current.params, &current.miners);
        let map = map.inspect_err(|error| tracing::warn!(%error, "the finalised map places nothing")).ok()?;
        let (mut addresses, mut families) = (HashMap::new(), HashMap::new());
        // Newest map first; an older one adds those who left.
        for miner in snapshot.maps().flat_map(|map| &map.miners) {
            let node_id = NodeId(miner.node_id);
            families.entry(node_id).or_insert(miner.family);
            addresses.entry(node_id).or_insert_with(|| PeerAddr {
                node_id,
                endpoint: String::from_utf8_lossy(&miner.endpoint).into_owned(),
            });
        }
        Some(Self {
            epoch: current.epoch,
            shape: Shape::of(&current.params),
            pg_count: current.params.pg_count,
            map,
            nodes: current.miners.iter().map(|miner| (miner.uid, NodeId(miner.node_id))).collect(),
            members: current.miners.iter().map(|miner| NodeId(miner.node_id)).collect(),
            addresses,
            families,
            placed: Mutex::default(),
        })
    }

    /// The placement group of a stripe.
    pub(super) fn group(&self, stripe: &StripeId) -> PgId {
        placement_group(stripe, self.pg_count)
    }

    /// Where the shards of a stripe belong.
    pub(super) fn named(&self, stripe: &StripeId) -> Named {
        let pg = self.group(stripe);
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        let place = || self.map.place_vec(pg).iter().map(|uid| self.nodes.get(&(*uid)?).copied()).collect();
        placed.entry(pg).or_insert_with(place).clone()
    }

    /// Where a miner of this map, or of one before it, is called.
    pub(super) fn address(&self, node: &NodeId) -> Option<&PeerAddr> {
        self.addresses.get(node)
    }

    /// The family of a miner of this map, or of one before it.
    pub(super) fn family(&self, node: &NodeId) -> Option<&[u8; 32]> {
        self.families.get(node)
    }

    /// The miners of this map, with where they are called.
    pub(super) fn members(&self) -> impl Iterator<Item = &PeerAddr> {
        self.members.iter().filter_map(|node| self.addresses.get(node))
    }

    /// Whether the map has a miner.
    pub(super) fn has(&self, node: &NodeId) -> bool {
        self.members.contains(node)
    }
}
