//! The connection to a node, and reads at its finalised head.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use arion_types::{AttestationRecord, CrushParams, Epoch, GenesisHash, MinerRecord, NodeId, NodeType};
use codec::{Decode, Encode};
use tokio::sync::Mutex;

use crate::{
    account::AccountId,
    interface::{Interface, InterfaceError},
    records::{
        BlockRef, Child, ChildRegistration, ChildStatus, EpochMap, Maintenance, NodeRecord, OwnerRecord,
        Registry,
    },
    rpc::{DialError, Rpc},
    state::{State, decode},
};

pub use crate::rpc::RpcError;

/// How long [`ChainClient::connect`] waits for the node.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a WebSocket URL.
    #[error("`{0}` is not a node's address; write ws://HOST:PORT")]
    Url(String),
    /// Nobody answers.
    #[error("no Arion node answers at {url} within {} s; start it, or correct the address", CONNECT_TIMEOUT.as_secs())]
    Unreachable {
        /// The address.
        url: String,
    },
    /// Another chain than configured.
    #[error(
        "the node at {url} is on the chain with genesis {found}, but {expected} is configured; correct the address or the genesis"
    )]
    WrongChain {
        /// The address.
        url: String,
        /// Configured, hex.
        expected: String,
        /// The node's, hex.
        found: String,
    },
    /// The runtime is not the one this program was written for.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A request failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A request failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The runtime lacks something.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A value has another shape than expected.
    #[error("the chain's {0} does not decode; update this program")]
    Undecodable(&'static str),
    /// The node at the address was replaced by one of another chain.
    #[error("the node is on another chain than before; connect it to the right one, or restart this program")]
    OtherChain,
    /// The node has finalised less than it had before.
    #[error("the node is behind what it had finalised; waiting until it has caught up")]
    Behind,
    /// A map whose stored root is not that of its parts.
    #[error("the map of epoch {0} does not fit its root")]
    RootMismatch(Epoch),
}

/// A connection to a node; clones share it. It reconnects by itself.
#[derive(Clone)]
pub struct ChainClient {
    inner: Arc<Inner>,
}

struct Inner {
    rpc: Rpc,
    genesis: GenesisHash,
    runtime: RwLock<Arc<Runtime>>,
    /// Held from reading a nonce until the transaction is in the pool.
    submission: Mutex<()>,
}

/// One version of the chain's runtime.
pub(crate) struct Runtime {
    pub(crate) spec_version: u32,
    pub(crate) transaction_version: u32,
    pub(crate) interface: Interface,
}

impl std::fmt::Debug for ChainClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChainClient({})", hex::encode(self.inner.genesis))
    }
}

impl ChainClient {
    /// Connects, waiting up to [`CONNECT_TIMEOUT`] for the node, and checks chain and runtime.
    pub async fn connect(url: &str, expected: Option<GenesisHash>) -> Result<Self, ConnectError> {
        let rpc = Rpc::connect(url, CONNECT_TIMEOUT).await.map_err(|error| match error {
            DialError::Url => ConnectError::Url(url.to_owned()),
            DialError::Timeout => ConnectError::Unreachable { url: url.to_owned() },
        })?;
        let genesis = rpc.block_hash(0).await?.ok_or(RpcError::Undecodable("chain_getBlockHash"))?;
        if let Some(expected) = expected.filter(|expected| *expected != genesis) {
            return Err(ConnectError::WrongChain {
                url: url.to_owned(),
                expected: hex::encode(expected),
                found: hex::encode(genesis),
            });
        }
        let at = rpc.finalized_hash().await?;
        let runtime = RwLock::new(Arc::new(Runtime::load(&rpc, at).await?));
        Ok(Self { inner: Arc::new(Inner { rpc, genesis, runtime, submission: Mutex::new(()) }) })
    }

    /// Hash of block 0.
    pub fn genesis(&self) -> GenesisHash {
        self.inner.genesis
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.inner.rpc
    }

    pub(crate) fn runtime(&self) -> Arc<Runtime> {
        self.inner.runtime.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The checked interface of the runtime.
    pub fn interface(&self) -> Interface {
        self.runtime().interface.clone()
    }

    pub(crate) fn submission(&self) -> &Mutex<()> {
        &self.inner.submission
    }

    /// Loads the runtime's interface again if the runtime was upgraded.
    pub(crate) async fn refresh_runtime(&self, at: [u8; 32]) -> Result<Arc<Runtime>, ChainError> {
        let (spec_version, _) = self.rpc().runtime_version(at).await?;
        if spec_version != self.runtime().spec_version {
            let runtime = Arc::new(Runtime::load(self.rpc(), at).await?);
            *self.inner.runtime.write().unwrap_or_else(PoisonError::into_inner) = runtime;
        }
        Ok(self.runtime())
    }

    /// Storage at the block with this hash.
    pub fn state(&self, at: [u8; 32]) -> State<'_> {
        State { client: self, at }
    }

    pub(crate) async fn head(&self) -> Result<State<'_>, ChainError> {
        Ok(self.state(self.rpc().finalized_hash().await?))
    }

    /// The finalised head.
    pub async fn finalized(&self) -> Result<BlockRef, ChainError> {
        let hash = self.rpc().finalized_hash().await?;
        Ok(self.rpc().block_ref(hash).await?)
    }

    /// The best block: newest, not final yet.
    pub async fn best(&self) -> Result<BlockRef, ChainError> {
        let hash = self.rpc().best_hash().await?;
        Ok(self.rpc().block_ref(hash).await?)
    }

    /// Hash of a block of the best chain; `None` if it does not exist yet.
    pub async fn block_hash(&self, number: u32) -> Result<Option<[u8; 32]>, ChainError> {
        Ok(self.rpc().block_hash(number).await?)
    }

    /// A constant of the runtime.
    pub fn constant<T: Decode>(&self, pallet: &str, name: &'static str) -> Result<T, ChainError> {
        decode(name, self.interface().constant(pallet, name)?)
    }

    /// Blocks per attestation bucket.
    pub fn attestation_bucket_blocks(&self) -> Result<u32, ChainError> {
        self.constant("Arion", "AttestationBucketBlocks")
    }

    /// Most attestations in a call and in a bucket.
    pub fn attestations_max(&self) -> Result<u32, ChainError> {
        self.constant("Arion", "MaxAttestations")
    }

    /// Blocks per weight bucket.
    pub fn weight_bucket_blocks(&self) -> Result<u32, ChainError> {
        self.constant("Arion", "WeightBucketBlocks")
    }

    /// Epoch of the newest map; 0 while there is none.
    pub async fn current_epoch(&self) -> Result<Epoch, ChainError> {
        Ok(self.head().await?.value("Arion", "CurrentEpoch").await?.unwrap_or(0))
    }

    /// The newest map.
    pub async fn current_map(&self) -> Result<Option<EpochMap>, ChainError> {
        let head = self.head().await?;
        match head.value("Arion", "CurrentEpoch").await?.unwrap_or(0) {
            0 => Ok(None),
            epoch => self.map_at_block(epoch, head.at).await,
        }
    }

    /// The map of an epoch, if the chain still keeps it.
    pub async fn map_at(&self, epoch: Epoch) -> Result<Option<EpochMap>, ChainError> {
        let head = self.head().await?;
        self.map_at_block(epoch, head.at).await
    }

    pub(crate) async fn map_at_block(
        &self,
        epoch: Epoch,
        at: [u8; 32],
    ) -> Result<Option<EpochMap>, ChainError> {
        let interface = self.interface();
        let key = epoch.encode();
        let items = ["EpochParams", "EpochMiners", "EpochRoot"];
        let keys: Result<Vec<_>, _> =
            items.iter().map(|item| interface.map_key("Arion", item, &key)).collect();
        let values = self.rpc().storage(&keys?, at).await?;
        let [Some(params), Some(miners), Some(root)] = values.as_slice() else { return Ok(None) };
        let map = EpochMap {
            epoch,
            params: decode::<CrushParams>(items[0], params)?,
            miners: decode::<Vec<MinerRecord>>(items[1], miners)?,
            root: decode(items[2], root)?,
        };
        if map.root_holds() { Ok(Some(map)) } else { Err(ChainError::RootMismatch(epoch)) }
    }

    /// Who has which role.
    pub async fn registry(&self) -> Result<Registry, ChainError> {
        let head = self.head().await?;
        self.registry_at(head.at).await
    }

    pub(crate) async fn registry_at(&self, at: [u8; 32]) -> Result<Registry, ChainError> {
        let state = self.state(at);
        let mut registry = Registry::default();
        let away: BTreeMap<AccountId, Maintenance> =
            state.entries("Arion", "Maintenances").await?.into_iter().collect();
        for (child, record) in state.entries::<ChildRegistration>("Arion", "ChildRegistrations").await? {
            if record.status == ChildStatus::Active {
                let node = NodeId(record.node_id);
                registry.miners.insert(node, Child { child, family: record.family });
                registry.maintenances.extend(away.get(&child).map(|away| (node, *away)));
            }
        }
        for (node, record) in state.entries::<NodeRecord>("Registration", "Nodes").await? {
            match record.node_type {
                NodeType::Gateway => registry.gateways.insert(NodeId(node)),
                NodeType::Validator => registry.validators.insert(NodeId(node)),
                // A warden's word counts by its admission, not by its registration.
                NodeType::StorageMiner | NodeType::ComputeMiner | NodeType::Warden => continue,
            };
        }
        // The map's values say when a warden was admitted; who they are is in the keys.
        let offset = self.interface().map_key_offset("Arion", "RegisteredWardens")?;
        for key in state.keys("Arion", "RegisteredWardens").await? {
            let warden: Option<[u8; 32]> = key.get(offset..).and_then(|id| id.try_into().ok());
            registry.wardens.insert(NodeId(warden.ok_or(ChainError::Undecodable("RegisteredWardens"))?));
        }
        Ok(registry)
    }

    /// Accounts of the validators whose votes count now.
    pub async fn validators(&self) -> Result<Vec<AccountId>, ChainError> {
        Ok(self.head().await?.value("Session", "Validators").await?.unwrap_or_default())
    }

    /// The map a validator voted for: epoch and root; `None` before it votes and once a map is published.
    pub async fn map_vote(&self, validator: &AccountId) -> Result<Option<(Epoch, [u8; 32])>, ChainError> {
        self.head().await?.entry("Arion", "MapVotes", validator).await
    }

    /// An owner's record.
    pub async fn owner(&self, account: &AccountId) -> Result<Option<OwnerRecord>, ChainError> {
        self.head().await?.entry("Registration", "OwnerNodes", account).await
    }

    /// A service node's record.
    pub async fn node(&self, node: &NodeId) -> Result<Option<NodeRecord>, ChainError> {
        self.head().await?.entry("Registration", "Nodes", &node.0).await
    }

    /// The nonce a service node's key signs next (`node_message`).
    pub async fn node_nonce(&self, node: &NodeId) -> Result<u64, ChainError> {
        Ok(self.head().await?.entry("Registration", "NodeNonces", &node.0).await?.unwrap_or(0))
    }

    /// A child's registration, active or unbonding.
    pub async fn child(&self, child: &AccountId) -> Result<Option<ChildRegistration>, ChainError> {
        self.head().await?.entry("Arion", "ChildRegistrations", child).await
    }

    /// All children, active or unbonding, by account.
    pub async fn children(&self) -> Result<Vec<(AccountId, ChildRegistration)>, ChainError> {
        self.head().await?.entries("Arion", "ChildRegistrations").await
    }

    /// Weights of children after the newest weight bucket that was computed.
    pub async fn node_weights(&self) -> Result<BTreeMap<AccountId, u16>, ChainError> {
        let weights = self.head().await?.entries("Arion", "NodeWeightByChild").await?;
        Ok(weights.into_iter().collect())
    }

    /// The account of the active child with this node id.
    pub async fn child_of_node(&self, node: &NodeId) -> Result<Option<AccountId>, ChainError> {
        self.head().await?.entry("Arion", "NodeIdToChild", &node.0).await
    }

    /// The nonce a miner's key signs next (`registration_message`).
    pub async fn child_nonce(&self, node: &NodeId) -> Result<u64, ChainError> {
        Ok(self.head().await?.entry("Arion", "NodeIdNonce", &node.0).await?.unwrap_or(0))
    }

    /// Whether registrations cost a deposit.
    pub async fn lockup_enabled(&self) -> Result<bool, ChainError> {
        Ok(self.head().await?.value("Arion", "LockupEnabled").await?.unwrap_or(true))
    }

    /// Whether the family has used its free registration.
    pub async fn free_slot_used(&self, family: &AccountId) -> Result<bool, ChainError> {
        Ok(self.head().await?.entry::<()>("Arion", "FreeSlotUsed", family).await?.is_some())
    }

    /// What the next paid registration holds, in smallest units, as of the finalised head: the stored deposit,
    /// halved once per full period since the last paid registration, never below the base.
    pub async fn next_deposit(&self) -> Result<u128, ChainError> {
        let head = self.finalized().await?;
        let state = self.state(head.hash);
        let base = match state.value::<u128>("Arion", "BaseDeposit").await? {
            Some(base) => base,
            None => self.constant("Arion", "BaseChildDeposit")?,
        };
        let stored: u128 = state.value("Arion", "GlobalNextDeposit").await?.unwrap_or(0);
        let last: u32 = state.value("Arion", "LastPaidRegistration").await?.unwrap_or(0);
        let period: u32 = self.constant("Arion", "GlobalDepositHalvingPeriodBlocks")?;
        let halvings = head.number.saturating_sub(last) / period.max(1);
        Ok(stored.checked_shr(halvings).unwrap_or(0).max(base))
    }

    /// Free balance of an account, in smallest units.
    pub async fn free_balance(&self, account: &AccountId) -> Result<u128, ChainError> {
        Ok(self.head().await?.balance(account).await?.0)
    }

    /// Attestations of a bucket, in the order in which they came.
    pub async fn attestations(&self, bucket: u32) -> Result<Vec<AttestationRecord>, ChainError> {
        let head = self.head().await?;
        let stored = head.entry("Arion", "AttestationsByBucket", &bucket.encode()).await?;
        Ok(stored.unwrap_or_default())
    }

    /// Attestations of all buckets that the chain keeps.
    pub async fn attestations_by_bucket(&self) -> Result<HashMap<u32, Vec<AttestationRecord>>, ChainError> {
        const ITEM: &str = "AttestationsByBucket";
        let state = self.head().await?;
        let offset = self.interface().map_key_offset("Arion", ITEM)?;
        let mut buckets = HashMap::new();
        for key in state.keys("Arion", ITEM).await? {
            let bucket: u32 = decode(ITEM, key.get(offset..).unwrap_or_default())?;
            let stored = state.entry("Arion", ITEM, &bucket.encode()).await?;
            buckets.insert(bucket, stored.unwrap_or_default());
        }
        Ok(buckets)
    }

    /// Keys of the wardens whose attestations count.
    pub async fn wardens(&self) -> Result<Vec<NodeId>, ChainError> {
        Ok(self.registry().await?.wardens.into_iter().collect())
    }
}

impl Runtime {
    async fn load(rpc: &Rpc, at: [u8; 32]) -> Result<Self, RuntimeError> {
        let (spec_version, transaction_version) = rpc.runtime_version(at).await?;
        let interface = Interface::new(&rpc.metadata(at).await?)?;
        Ok(Self { spec_version, transaction_version, interface })
    }
}

/// Why the runtime's interface is not there.
pub(crate) enum RuntimeError {
    Rpc(RpcError),
    Interface(InterfaceError),
}

impl From<RpcError> for RuntimeError {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

impl From<InterfaceError> for RuntimeError {
    fn from(error: InterfaceError) -> Self {
        Self::Interface(error)
    }
}

macro_rules! from_runtime_error {
    ($($error:ident),*) => {$(
        impl From<RuntimeError> for $error {
            fn from(error: RuntimeError) -> Self {
                match error {
                    RuntimeError::Rpc(error) => Self::Rpc(error),
                    RuntimeError::Interface(error) => Self::Interface(error),
                }
            }
        }
    )*};
}

from_runtime_error!(ConnectError, ChainError);
