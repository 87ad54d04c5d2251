//! Which miner holds which shard: the maps of the epochs, ready to place.
//!
//! # Not here
//! The algorithm (`crush`); where maps come from ([`crate::chain`] in a running gateway).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use arion_net::PeerAddr;
use arion_types::{CrushParams, Epoch, MinerRecord, NodeId, PgId, StripeId, Uid, stripe};
use crush::BuildError;

use crate::stripe_code::Shape;

/// Maps kept in memory.
const MAPS_MAX: usize = 64;

/// The map of an epoch.
#[derive(Debug)]
pub struct Placement {
    epoch: Epoch,
    map: crush::Map,
    miners: Vec<MinerRecord>,
    by_uid: HashMap<Uid, usize>,
    by_node: HashMap<[u8; 32], usize>,
}

impl Placement {
    /// Prepares the map of an epoch.
    pub fn new(epoch: Epoch, params: &CrushParams, miners: Vec<MinerRecord>) -> Result<Self, BuildError> {
        let map = crush::Map::from_records(params, &miners)?;
        let by_uid = miners.iter().enumerate().map(|(at, miner)| (miner.uid, at)).collect();
        let by_node = miners.iter().enumerate().map(|(at, miner)| (miner.node_id, at)).collect();
        Ok(Self { epoch, map, miners, by_uid, by_node })
    }

    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its parameters.
    pub fn params(&self) -> &CrushParams {
        self.map.params()
    }

    /// Data and parity shards of its stripes.
    pub fn shape(&self) -> Shape {
        Shape { data: self.params().ec_k, parity: self.params().ec_m }
    }

    /// The placement group of a stripe.
    pub fn group(&self, stripe: &StripeId) -> PgId {
        stripe::placement_group(stripe, self.params().pg_count)
    }

    /// The miner of every shard of a stripe; `None` where the map leaves a position empty.
    pub fn place(&self, stripe: &StripeId) -> Vec<Option<&MinerRecord>> {
        let uids = self.map.place_vec(self.group(stripe));
        uids.iter().map(|uid| uid.and_then(|uid| self.by_uid.get(&uid)).map(|at| &self.miners[*at])).collect()
    }

    /// The record of a node.
    pub fn miner(&self, node: &NodeId) -> Option<&MinerRecord> {
        self.by_node.get(&node.0).map(|at| &self.miners[*at])
    }
}

/// Where a miner is called.
pub fn address(miner: &MinerRecord) -> PeerAddr {
    PeerAddr {
        node_id: NodeId(miner.node_id),
        endpoint: String::from_utf8_lossy(&miner.endpoint).into_owned(),
    }
}

/// The maps the gateway knows, shared by all its parts.
#[derive(Clone, Debug, Default)]
pub struct Maps {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    current: Option<Epoch>,
    /// Since when the chain says so; none if it was not asked since the start.
    since: Option<Instant>,
    maps: BTreeMap<Epoch, Arc<Placement>>,
}

impl Maps {
    /// Adds a map; it does not become the current one.
    pub fn remember(&self, map: Placement) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.maps.insert(map.epoch, Arc::new(map));
        while inner.maps.len() > MAPS_MAX {
            inner.maps.pop_first();
        }
    }

    /// Adds the map that new stripes are placed by.
    pub fn set_current(&self, map: Placement) {
        let epoch = map.epoch;
        self.remember(map);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.current != Some(epoch) || inner.since.is_none() {
            (inner.current, inner.since) = (Some(epoch), Some(Instant::now()));
        }
    }

    /// The map that new stripes are placed by, if this gateway has known it as that for so long.
    pub fn settled(&self, time: Duration) -> Option<Arc<Placement>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.since.filter(|since| since.elapsed() >= time)?;
        inner.current.and_then(|epoch| inner.maps.get(&epoch).cloned())
    }

    /// Has new stripes be placed by the newest map that is known, whatever the chain says, and says which that is.
    pub fn use_newest(&self) -> Option<Epoch> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        (inner.current, inner.since) = (inner.maps.last_key_value().map(|(epoch, _)| *epoch), None);
        inner.current
    }

    /// Whether the chain has said that this is the epoch of the map that new stripes are placed by.
    pub fn is_current(&self, epoch: Epoch) -> bool {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.current == Some(epoch) && inner.since.is_some()
    }

    /// The map that new stripes are placed by.
    pub fn current(&self) -> Option<Arc<Placement>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.current.and_then(|epoch| inner.maps.get(&epoch).cloned())
    }

    /// The maps in the order in which a shard placed in `epoch` is looked for: the current one, to whose miners repair brings
    /// it, then that epoch's, then the others from the newest.
    pub fn search_order(&self, epoch: Epoch) -> Vec<Arc<Placement>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut order: Vec<Epoch> = inner.current.into_iter().chain([epoch]).collect();
        order.extend(inner.maps.keys().rev());
        let mut seen = HashSet::new();
        order.retain(|epoch| seen.insert(*epoch));
        order.iter().filter_map(|epoch| inner.maps.get(epoch).cloned()).collect()
    }

    /// The map of an epoch.
    pub fn of(&self, epoch: Epoch) -> Option<Arc<Placement>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).maps.get(&epoch).cloned()
    }

    /// Where a miner is called, by the newest map that has it.
    pub fn find(&self, node: &NodeId) -> Option<PeerAddr> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.maps.values().rev().find_map(|map| map.miner(node)).map(address)
    }

    /// Whether the map of an epoch is known.
    pub fn knows(&self, epoch: Epoch) -> bool {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).maps.contains_key(&epoch)
    }

    /// Where a miner is called now: as the current map says, else as `record` says.
    pub fn address(&self, record: &MinerRecord) -> PeerAddr {
        let current = self.current();
        let newest = current.as_ref().and_then(|map| map.miner(&NodeId(record.node_id)));
        address(newest.unwrap_or(record))
    }
}
