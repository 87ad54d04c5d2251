//! A network in memory: miners that keep what a gateway of the network orders, and misbehave on request.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    collections::HashMap,
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arion_crypto::{CustomerKey, DataKey, OperatorSecret, WrappedKey};
use arion_daemon::now_ms;
use arion_gateway::{
    grid::{Grid, GridOptions, read::OpenPart, write::Upload},
    keyring::Keyring,
    keystore::Generations,
    manifest::{PartManifest, StripeRecord},
    meta::Meta,
    metrics::Metrics,
    placement::{Maps, Placement},
};
use arion_net::{MemoryNetwork, Service};
use arion_protocol::{Action, ErrorCode, Request, Response, ShardPlacement, ShardStat};
use arion_types::{CrushParams, GenesisHash, MinerRecord, NodeId, Receipt, ShardHash, signing};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

pub const GENESIS: GenesisHash = [7; 32];
pub const MINERS: usize = 30;

/// What a miner does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mood {
    Honest,
    /// Answers a fetch with a flipped byte.
    Corrupt,
    /// Never answers a fetch.
    Hanging,
    /// Signs receipts for another shard.
    Forging,
    /// Never answers anything.
    Mute,
    /// Takes [`SLOW`] to store a shard.
    Slow,
    /// Never answers an order to store, but all others.
    Stalled,
    /// Signs for shards that it does not keep.
    Forgetful,
    /// Has no time to delete anything.
    Keeping,
}

/// Longer than the silence after which a miner is asked whether it lives, shorter than the store timeout.
pub const SLOW: Duration = Duration::from_millis(1_500);

pub struct Miner {
    pub key: SigningKey,
    pub endpoint: String,
    gateways: [NodeId; 2],
    shards: Mutex<HashMap<ShardHash, (ShardPlacement, Bytes)>>,
    mood: AtomicU8,
    pub fetches: AtomicUsize,
    /// What it answered to them.
    pub fetched_bytes: AtomicUsize,
    pub stores: AtomicUsize,
    /// Of these, those that are never answered.
    pub stalled: AtomicUsize,
}

impl Miner {
    pub fn node_id(&self) -> NodeId {
        signing::node_id(&self.key)
    }

    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn is(&self, mood: Mood) -> bool {
        self.mood.load(Ordering::SeqCst) == mood as u8
    }

    pub fn shard_count(&self) -> usize {
        self.shards.lock().unwrap().len()
    }

    /// Whether it holds a shard.
    pub fn holds(&self, shard: &ShardHash) -> bool {
        self.shards.lock().unwrap().contains_key(shard)
    }

    /// Loses a shard.
    pub fn lose(&self, shard: &ShardHash) {
        self.shards.lock().unwrap().remove(shard);
    }

    fn store(&self, command: arion_protocol::SignedCommand, body: Bytes) -> Response {
        if let Err(error) = command.check(&GENESIS, &self.node_id(), now_ms()) {
            return Response::error(error.into(), "");
        }
        let (Action::Store(placement), shard) = (command.command.action, command.command.shard) else {
            return Response::error(ErrorCode::Malformed, "");
        };
        if !self.gateways.contains(&command.signer) {
            return Response::error(ErrorCode::Unauthorized, "");
        }
        if *blake3::hash(&body).as_bytes() != shard.0 || body.len() != placement.size as usize {
            return Response::error(ErrorCode::HashMismatch, "");
        }
        if !self.is(Mood::Forgetful) {
            self.shards.lock().unwrap().insert(shard, (placement, body));
        }
        let receipt = Receipt {
            shard: if self.is(Mood::Forging) { ShardHash([1; 32]) } else { shard },
            size: placement.size,
            stripe: placement.stripe,
            pg: placement.pg,
            index: placement.index,
            epoch: placement.epoch,
            node_id: self.node_id(),
            stored_at: now_ms(),
        };
        Response::Stored(receipt.sign(&GENESIS, &self.key))
    }

    async fn fetched(&self, shard: ShardHash, range: Option<Range<u32>>) -> (Response, Bytes) {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if self.is(Mood::Hanging) {
            std::future::pending::<()>().await;
        }
        let found = self.shards.lock().unwrap().get(&shard).map(|(_, bytes)| bytes.clone());
        let Some(bytes) = found else { return (Response::error(ErrorCode::NotFound, ""), Bytes::new()) };
        let size = bytes.len() as u32;
        let mut answer = match range {
            Some(range) => arion_proofs::prove_range(&shard, &bytes, range).unwrap(),
            None => bytes.to_vec(),
        };
        if self.is(Mood::Corrupt) {
            let middle = answer.len() / 2;
            answer[middle] ^= 1;
        }
        self.fetched_bytes.fetch_add(answer.len(), Ordering::SeqCst);
        (Response::Shard { size }, answer.into())
    }

    fn delete(&self, command: arion_protocol::SignedCommand) -> Response {
        if let Err(error) = command.check(&GENESIS, &self.node_id(), now_ms()) {
            return Response::error(error.into(), "");
        }
        match command.command.action {
            Action::Delete if self.gateways.contains(&command.signer) => {
                let existed = self.shards.lock().unwrap().remove(&command.command.shard).is_some();
                Response::Deleted { existed }
            }
            _ => Response::error(ErrorCode::Unauthorized, ""),
        }
    }
}

#[async_trait::async_trait]
impl Service for Miner {
    async fn serve(&self, _: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        if matches!(request, Request::Store(_)) {
            self.stores.fetch_add(1, Ordering::SeqCst);
        }
        if self.is(Mood::Mute) {
            std::future::pending::<()>().await;
        }
        match request {
            Request::Ping => (Response::Pong { now: now_ms() }, Bytes::new()),
            Request::Store(command) => {
                if self.is(Mood::Slow) {
                    tokio::time::sleep(SLOW).await;
                }
                if self.is(Mood::Stalled) {
                    self.stalled.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                (self.store(command, body), Bytes::new())
            }
            Request::Delete(_) if self.is(Mood::Keeping) => {
                (Response::error(ErrorCode::Busy, ""), Bytes::new())
            }
            Request::Delete(command) => (self.delete(command), Bytes::new()),
            Request::Stat { shards } => {
                let held = self.shards.lock().unwrap();
                let stat = |shard| held.get(shard).map(|(placement, _)| *placement);
                let stat = |shard| stat(shard).map(|placement| ShardStat { placement, stored_at: 1 });
                (Response::Stats(shards.iter().map(stat).collect()), Bytes::new())
            }
            Request::Fetch { shard } => self.fetched(shard, None).await,
            Request::FetchRange { shard, offset, length } => {
                self.fetched(shard, Some(offset..offset + length)).await
            }
            _ => (Response::error(ErrorCode::Unsupported, ""), Bytes::new()),
        }
    }
}

/// The node key of a second gateway, which miners know too.
pub fn heir() -> SigningKey {
    SigningKey::from_bytes(&[201; 32])
}

pub struct Network {
    pub memory: MemoryNetwork,
    pub miners: Vec<Arc<Miner>>,
    pub gateway: SigningKey,
    pub params: CrushParams,
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Network {
    /// 30 miners in 15 families: every stripe has a shard on each of them.
    pub fn new() -> Self {
        let gateway = SigningKey::from_bytes(&[200; 32]);
        let memory = MemoryNetwork::new();
        let miners = (0..MINERS as u8)
            .map(|n| {
                Arc::new(Miner {
                    key: SigningKey::from_bytes(&[n + 1; 32]),
                    endpoint: format!("127.0.0.1:{}", 10_000 + u16::from(n)),
                    gateways: [signing::node_id(&gateway), signing::node_id(&heir())],
                    shards: Mutex::default(),
                    mood: AtomicU8::new(Mood::Honest as u8),
                    fetches: AtomicUsize::new(0),
                    fetched_bytes: AtomicUsize::new(0),
                    stores: AtomicUsize::new(0),
                    stalled: AtomicUsize::new(0),
                })
            })
            .collect();
        let network = Self { memory, miners, gateway, params: CrushParams::STANDARD };
        (0..MINERS).for_each(|n| network.connect(n));
        network
    }

    pub fn connect(&self, n: usize) {
        let miner = &self.miners[n];
        self.memory.listen(miner.endpoint.clone(), miner.node_id(), miner.clone());
    }

    pub fn disconnect(&self, miners: impl IntoIterator<Item = usize>) {
        miners.into_iter().for_each(|n| self.memory.disconnect(&self.miners[n].endpoint));
    }

    pub fn map(&self, epoch: u64) -> Placement {
        let miners = self.miners.iter().zip(0u32..).map(|(miner, uid)| MinerRecord {
            uid,
            node_id: miner.node_id().0,
            family: [(uid / 2) as u8; 32],
            weight: 0x1_0000,
            endpoint: miner.endpoint.clone().into_bytes().try_into().unwrap(),
        });
        Placement::new(epoch, &self.params, miners.collect()).unwrap()
    }

    pub fn options() -> GridOptions {
        GridOptions {
            stripe_timeout: Duration::from_secs(10),
            store_timeout: Duration::from_secs(2),
            fetch_timeout: Duration::from_secs(2),
            tail: Duration::ZERO,
            // What is read comes from miners, unless a test wants otherwise.
            cache_bytes: 0,
            ..GridOptions::default()
        }
    }

    pub fn grid(&self, directory: &Path) -> Arc<Grid> {
        self.grid_with(directory, Self::options())
    }

    pub fn grid_with(&self, directory: &Path, options: GridOptions) -> Arc<Grid> {
        self.grid_of(self.gateway.clone(), open_meta(directory), options)
    }

    /// A replica with these metadata.
    pub fn replica(&self, meta: Meta) -> Arc<Grid> {
        self.replica_with(meta, Self::options())
    }

    pub fn replica_with(&self, meta: Meta, options: GridOptions) -> Arc<Grid> {
        self.grid_of(self.gateway.clone(), meta, options)
    }

    /// Of another gateway, with these metadata.
    pub fn grid_of(&self, key: SigningKey, meta: Meta, options: GridOptions) -> Arc<Grid> {
        let maps = Maps::default();
        maps.set_current(self.map(1));
        let transport = Arc::new(self.memory.transport(signing::node_id(&key)));
        Arc::new(Grid::new(key, GENESIS, transport, maps, meta, options, Metrics::default()))
    }
}

/// The writing thread of an earlier handle lets go of the file a moment after it was dropped.
pub fn open_meta(directory: &Path) -> Meta {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Meta::open(&directory.join("meta.redb")) {
            Ok(meta) => return meta,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// The keys of a gateway with these metadata.
pub fn keyring(meta: &Meta) -> Arc<Keyring> {
    Arc::new(Keyring::new(meta.clone(), Generations::one(OperatorSecret::from_bytes([9; 32]))))
}

/// Whose key the tests of the data path wrap under: that takes no bucket.
fn customer() -> CustomerKey {
    CustomerKey::from_bytes([8; 32])
}

/// A data key as [`write`] keeps it.
pub fn wrapped(key: &DataKey) -> WrappedKey {
    customer().wrap(key, b"")
}

/// Bytes that differ from place to place.
pub fn sample(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut reader = blake3::Hasher::new().update(&(len as u64).to_le_bytes()).finalize_xof();
    reader.fill(&mut bytes);
    bytes
}

/// Writes; the stripes stay, a shared one until [`let_go`] or a restart.
pub async fn write(
    grid: &Arc<Grid>,
    plain: &[u8],
) -> Result<PartManifest, arion_gateway::grid::write::WriteError> {
    let mut upload = Upload::new(grid.clone());
    for piece in plain.chunks(100_000) {
        upload.push(piece).await?;
    }
    let (sealed, key) = upload.finish().await?;
    std::mem::forget(upload.keep());
    Ok(sealed.with_key(wrapped(&key)))
}

/// Has a stripe that was written be held by those only who refer to it.
pub async fn let_go(grid: &Grid, part: &PartManifest) {
    let ids = part.stripes.iter().map(StripeRecord::id).collect();
    grid.meta.unpin_stripes(ids, now_ms()).await.unwrap();
}

/// Reads a range.
pub async fn read(
    grid: &Arc<Grid>,
    manifest: &PartManifest,
    range: Range<u64>,
) -> Result<Vec<u8>, arion_gateway::grid::read::ReadError> {
    let key = customer().unwrap(&manifest.key, b"").unwrap();
    let mut pieces = grid.read(vec![OpenPart { manifest: manifest.clone(), key }], range);
    let mut plain = Vec::new();
    while let Some(piece) = pieces.recv().await {
        plain.extend_from_slice(&piece?);
    }
    Ok(plain)
}

/// Waits for a condition.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    within(Duration::from_secs(40), what, holds).await;
}

/// Waits for a condition that takes its time.
pub async fn within(patience: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
