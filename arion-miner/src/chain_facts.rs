//! What the miner asks of the finalised chain: who may do what, and where data belongs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use arion_chain::{ChainClient, ChainError, ChainView, EpochMap};
use arion_types::{Epoch, GenesisHash, NodeId, PgId, Uid};
use async_trait::async_trait;

/// Maps kept built; the view holds no more than a few.
const MAPS_MAX: usize = 16;

/// Roles of a key on the finalised chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roles {
    /// Active storage miner.
    pub miner: bool,
    /// Gateway.
    pub gateway: bool,
    /// Validator service.
    pub validator: bool,
    /// Warden.
    pub warden: bool,
}

impl Roles {
    /// Whether the key has any role.
    pub fn any(self) -> bool {
        self.miner || self.gateway || self.validator || self.warden
    }
}

/// A map ready to place.
#[derive(Debug)]
pub struct PlacedMap {
    map: crush::Map,
    nodes: HashMap<Uid, NodeId>,
}

impl PlacedMap {
    /// From the map on chain.
    pub fn new(map: &EpochMap) -> Result<Self, crush::BuildError> {
        Ok(Self {
            map: crush::Map::from_records(&map.params, &map.miners)?,
            nodes: map.miners.iter().map(|miner| (miner.uid, NodeId(miner.node_id))).collect(),
        })
    }

    /// Number of placement groups.
    pub fn pg_count(&self) -> u32 {
        self.map.params().pg_count
    }

    /// The node of position `index` of a placement group; none where CRUSH left it empty.
    pub fn node_at(&self, pg: PgId, index: u8) -> Option<NodeId> {
        let uid = self.map.place_vec(pg).get(usize::from(index)).copied().flatten()?;
        self.nodes.get(&uid).copied()
    }
}

/// What a request handler may ask. Everything is `None` until something is known of the chain.
pub trait ChainFacts: Send + Sync + 'static {
    /// Hash of block 0.
    fn genesis(&self) -> Option<GenesisHash>;
    /// Roles of a key at the finalised head.
    fn roles(&self, node: &NodeId) -> Option<Roles>;
    /// The validator services at the finalised head.
    fn validators(&self) -> Option<BTreeSet<NodeId>>;
    /// The finalised map of an epoch, if it is the current one or one of the last few.
    fn map(&self, epoch: Epoch) -> Option<Arc<PlacedMap>>;
}

/// What the chain has of the ledgers of gateways.
#[async_trait]
pub trait Anchors: Send + Sync {
    /// Lines of a gateway's ledger that the chain has a root of; 0 where there is none.
    async fn lines_of(&self, gateway: &NodeId) -> Result<u64, ChainError>;
}

#[async_trait]
impl Anchors for ChainClient {
    async fn lines_of(&self, gateway: &NodeId) -> Result<u64, ChainError> {
        Ok(self.ledger_commitment(gateway).await?.map_or(0, |newest| newest.lines()))
    }
}

/// Built maps by epoch and root.
type PlacedMaps = BTreeMap<(Epoch, [u8; 32]), Arc<PlacedMap>>;

/// [`ChainFacts`] of a node's RPC, and of what it said last as long as it was not reached.
#[derive(Default)]
pub struct LiveChain {
    view: OnceLock<ChainView>,
    kept: OnceLock<ChainView>,
    maps: Mutex<PlacedMaps>,
}

impl LiveChain {
    /// Sets the view once the chain is reached; later calls change nothing.
    pub fn set(&self, view: ChainView) {
        let _ = self.view.set(view);
    }

    /// Sets what the chain said last, to go by until it is reached; later calls change nothing.
    pub fn set_kept(&self, view: ChainView) {
        let _ = self.kept.set(view);
    }

    /// The view, once the chain was reached.
    pub fn live(&self) -> Option<&ChainView> {
        self.view.get()
    }

    /// The view, or before that what the chain said last, if it is known.
    pub fn view(&self) -> Option<&ChainView> {
        self.live().or_else(|| self.kept.get())
    }
}

impl ChainFacts for LiveChain {
    fn genesis(&self) -> Option<GenesisHash> {
        self.view().map(ChainView::genesis)
    }

    fn roles(&self, node: &NodeId) -> Option<Roles> {
        let snapshot = self.view()?.snapshot();
        let registry = &snapshot.registry;
        Some(Roles {
            miner: registry.miners.contains_key(node),
            gateway: registry.gateways.contains(node),
            validator: registry.validators.contains(node),
            warden: registry.wardens.contains(node),
        })
    }

    fn validators(&self) -> Option<BTreeSet<NodeId>> {
        Some(self.view()?.snapshot().registry.validators.clone())
    }

    fn map(&self, epoch: Epoch) -> Option<Arc<PlacedMap>> {
        let snapshot = self.view()?.snapshot();
        let map = snapshot.map(epoch)?;
        let key = (map.epoch, map.root);
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(placed) = maps.get(&key) {
            return Some(placed.clone());
        }
        let placed = match PlacedMap::new(map) {
            Ok(placed) => Arc::new(placed),
            Err(error) => {
                tracing::error!(epoch, %error, "the map on chain cannot place anything");
                return None;
            }
        };
        maps.insert(key, placed.clone());
        while maps.len() > MAPS_MAX {
            maps.pop_first();
        }
        Some(placed)
    }
}
