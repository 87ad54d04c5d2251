//! Miners that are wiped, lost and found, and the gateway that wrote to them.

mod gateway;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arion_chain::{ChainError, ChainView, Child, EpochMap, Registry, Snapshot, ViewSource};
use arion_daemon::{Health, now_ms};
use arion_erasure::Codec;
use arion_ledger::{Follower, ReceiptChecker};
use arion_miner::{
    chain_facts::{Anchors, LiveChain},
    metrics::Metrics as MinerMetrics,
    orphans::collector::{Collector, CollectorOptions},
    replay::ReplayGuard,
    service::{Budgets, MinerService, Parts as MinerParts},
    store::{Store, StoreOptions, Volumes},
    witnesses::Witnesses,
};
use arion_net::{MemoryNetwork, PeerAddr, Service, Transport};
use arion_protocol::{
    Action, Command, Heartbeat, LedgerRecord, Request, Response, ShardPlacement, UnnamedQuestion,
};
use arion_types::{
    CrushParams, MinerRecord, NodeId, ShardHash, StripeId,
    map::WEIGHT_ONE,
    signing::node_id,
    stripe::{placement_group, stripe_id},
};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tempfile::TempDir;

use self::gateway::Gateway;
use crate::{
    holdings::{Holdings, HoldingsBook, StripeRef},
    liveness::Liveness,
    metrics::Metrics,
    repair::{Orphans, Parts, Repair, RepairOptions, Tally, custody::Custody},
    standing::{Patience, Standings},
    unnamed::{Ledgers, Silence},
    weight::Merits,
};

const GENESIS: [u8; 32] = [7; 32];
const GATEWAY: &str = "gateway:1";
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the second service waits for the first.
pub(super) const HOUR_MS: u64 = 3_600_000;
/// Services that are registered.
const SERVICES: usize = 2;

fn miner_key(uid: u32) -> SigningKey {
    SigningKey::from_bytes(&[uid as u8 + 1; 32])
}

fn gateway_key() -> SigningKey {
    SigningKey::from_bytes(&[201; 32])
}

fn validator_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[202 + number; 32])
}

/// Waits for a condition.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    within(what, async || holds()).await;
}

/// The same for a condition that takes its time.
pub(super) async fn within(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    Honest,
    /// Answers a fetch with a flipped byte.
    Flipping,
}

struct Miner {
    service: MinerService,
    store: Arc<Volumes>,
    manner: Mutex<Manner>,
    directory: TempDir,
}

#[async_trait]
impl Service for Miner {
    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        let is_fetch = matches!(request, Request::Fetch { .. });
        let (response, body) = self.service.serve(peer, request, body).await;
        match (is_fetch, *self.manner.lock().unwrap()) {
            (true, Manner::Flipping) if !body.is_empty() => {
                let mut bytes = body.to_vec();
                bytes[0] ^= 1;
                (response, bytes.into())
            }
            _ => (response, body),
        }
    }
}

/// A validator service as far as it is asked what is wanted.
struct Answering(Arc<Ledgers>);

#[async_trait]
impl Service for Answering {
    async fn serve(&self, peer: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        let (shards, but) = match request {
            Request::Unnamed { shards } => (shards, None),
            Request::UnnamedByOthers { gateway, shards } => (shards, Some(gateway)),
            other => panic!("{other:?}"),
        };
        let response = match self.0.unnamed(&peer, UnnamedQuestion { shards: &shards, but }) {
            Ok(word) => Response::Unnamed(Box::new(word)),
            Err(reason) => Response::error(reason.code(), reason.to_string()),
        };
        (response, Bytes::new())
    }
}

/// No ledger is anchored.
struct NoAnchors;

#[async_trait]
impl Anchors for NoAnchors {
    async fn lines_of(&self, _: &NodeId) -> Result<u64, ChainError> {
        Ok(0)
    }
}

/// Shards of a stripe by position.
type Shards = Vec<(ShardHash, Bytes)>;

pub(super) struct World {
    pub(super) memory: MemoryNetwork,
    pub(super) gateway: Arc<Gateway>,
    view: ChainView,
    source: ViewSource,
    maps: Mutex<Vec<Arc<EpochMap>>>,
    count: u32,
    miners: Mutex<BTreeMap<u32, Arc<Miner>>>,
    stripes: Mutex<BTreeMap<StripeId, Shards>>,
    order: Mutex<Vec<StripeId>>,
    stores_of_services: [TempDir; SERVICES],
    /// Gateways that services made from now on follow, too.
    others: Mutex<Vec<PeerAddr>>,
}

/// A miner knows the network by what it asks services over, and the network knows the miner: without this neither would go.
impl Drop for World {
    fn drop(&mut self) {
        (0..self.count).for_each(|uid| self.lose(uid));
    }
}

impl World {
    /// So many miners, three in a family (with one less it still fills the two positions that a group takes of it), and map 1 of
    /// all of them.
    pub(super) fn new(count: u32) -> Self {
        Self::with_services(count, 1)
    }

    pub(super) fn with_services(count: u32, services: u8) -> Self {
        let mut registry = Registry::default();
        for uid in 0..count {
            let family = [(uid / 3) as u8 + 1; 32];
            registry.miners.insert(node_id(&miner_key(uid)), Child { child: [uid as u8; 32], family });
        }
        registry.gateways.insert(node_id(&gateway_key()));
        registry.validators.extend((0..services).map(|number| node_id(&validator_key(number))));
        let first = Snapshot { registry: Arc::new(registry), ..Snapshot::default() };
        let (view, source) = ChainView::manual(GENESIS, first);
        let gateway = Arc::new(Gateway::new(view.clone()));
        let world = Self {
            memory: MemoryNetwork::new(),
            gateway,
            view,
            source,
            maps: Mutex::default(),
            count,
            miners: Mutex::default(),
            stripes: Mutex::default(),
            order: Mutex::default(),
            stores_of_services: std::array::from_fn(|_| tempfile::tempdir().unwrap()),
            others: Mutex::default(),
        };
        world.connect_gateway();
        (0..count).for_each(|uid| world.wipe(uid));
        world.set_map(1, &[]);
        world
    }

    pub(super) fn connect_gateway(&self) {
        self.memory.listen(GATEWAY, node_id(&gateway_key()), self.gateway.clone());
    }

    pub(super) fn disconnect_gateway(&self) {
        self.memory.disconnect(GATEWAY);
    }

    /// A map without some miners becomes the current one.
    pub(super) fn set_map(&self, epoch: u64, without: &[u32]) {
        let record = |uid: u32| MinerRecord {
            uid,
            node_id: node_id(&miner_key(uid)).0,
            family: [(uid / 3) as u8 + 1; 32],
            weight: WEIGHT_ONE,
            endpoint: endpoint(uid).into_bytes().try_into().unwrap(),
        };
        let miners = (0..self.count).filter(|uid| !without.contains(uid)).map(record).collect();
        let mut maps = self.maps.lock().unwrap();
        maps.insert(0, Arc::new(EpochMap::new(epoch, CrushParams::STANDARD, miners)));
        let registry = self.view.snapshot().registry.clone();
        let (current, earlier) = (Some(maps[0].clone()), maps[1..].to_vec());
        self.source.set(Snapshot { current, earlier, registry, ..Snapshot::default() });
    }

    /// The chain keeps the newest map only.
    pub(super) fn forget_earlier_maps(&self) {
        let mut maps = self.maps.lock().unwrap();
        maps.truncate(1);
        let registry = self.view.snapshot().registry.clone();
        self.source.set(Snapshot { current: Some(maps[0].clone()), registry, ..Snapshot::default() });
    }

    /// Another gateway is registered.
    pub(super) fn register_gateway(&self, gateway: NodeId) {
        let before = self.view.snapshot();
        let mut registry = (*before.registry).clone();
        registry.gateways.insert(gateway);
        self.source.set(Snapshot { registry: Arc::new(registry), ..(*before).clone() });
    }

    /// One more gateway is registered and followed.
    pub(super) fn add_gateway(&self, key: &SigningKey, gateway: Arc<dyn Service>) -> NodeId {
        let (node_id, endpoint) = (node_id(key), "another-gateway:1".to_owned());
        self.register_gateway(node_id);
        self.memory.listen(endpoint.clone(), node_id, gateway);
        self.others.lock().unwrap().push(PeerAddr { node_id, endpoint });
        node_id
    }

    /// The shards of a stripe by position.
    pub(super) fn shards_of(&self, stripe: &StripeId) -> Vec<ShardHash> {
        self.stripes.lock().unwrap()[stripe].iter().map(|(shard, _)| *shard).collect()
    }

    /// How many of these shards a miner has.
    pub(super) fn held(&self, uid: u32, shards: &[ShardHash]) -> usize {
        let store = self.store(uid);
        shards.iter().filter(|shard| store.stat(shard).is_some()).count()
    }

    /// What looks for shards on a miner that nobody wants, and asks these services.
    pub(super) fn collector(&self, uid: u32, services: &[&Running], retention: Duration) -> Collector {
        let miner = self.miners.lock().unwrap()[&uid].clone();
        let answering = |service: &&Running| {
            let ledgers = service.ledgers();
            let node_id = node_id(&ledgers.key);
            let endpoint = format!("service-{node_id}:1");
            self.memory.listen(endpoint.clone(), node_id, Arc::new(Answering(ledgers)));
            PeerAddr { node_id, endpoint }
        };
        let services = services.iter().map(answering).collect();
        let transport = Arc::new(self.memory.transport(node(uid)));
        let witnesses =
            Witnesses::new(node(uid), self.view.clone(), Arc::new(NoAnchors), transport, services);
        miner.service.consent().set(witnesses.clone());
        Collector {
            orphans: miner.service.orphans().clone(),
            store: miner.store.clone(),
            witnesses,
            options: CollectorOptions { deletes: true, retention },
            metrics: MinerMetrics::new(&mut Default::default()),
            health: Health::new("test", "0"),
        }
    }

    /// Starts a miner with an empty disk.
    pub(super) fn wipe(&self, uid: u32) {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { background: false, ..StoreOptions::default() };
        let store = Store::open(&directory.path().join("store"), options).unwrap();
        let store = Arc::new(Volumes::from(store));
        let chain = Arc::new(LiveChain::default());
        chain.set(self.view.clone());
        let service = MinerService::new(MinerParts {
            key: miner_key(uid),
            store: store.clone(),
            chain,
            replays: ReplayGuard::open(&directory.path().join("nonces"), now_ms()).unwrap(),
            clock: Arc::new(now_ms),
            budgets: Budgets { transfers_max: 16, audits_max: 2 },
            metrics: MinerMetrics::new(&mut Default::default()),
        });
        let manner = Mutex::new(Manner::Honest);
        let miner = Arc::new(Miner { service, store, manner, directory });
        self.miners.lock().unwrap().insert(uid, miner);
        self.come_back(uid);
    }

    /// Where the miners keep their shards.
    pub(super) fn disks(&self) -> Vec<PathBuf> {
        self.miners.lock().unwrap().values().map(|miner| miner.directory.path().to_owned()).collect()
    }

    /// Takes a miner off the network.
    pub(super) fn lose(&self, uid: u32) {
        self.memory.disconnect(&endpoint(uid));
    }

    pub(super) fn come_back(&self, uid: u32) {
        let miner = self.miners.lock().unwrap()[&uid].clone();
        self.memory.listen(endpoint(uid), node_id(&miner_key(uid)), miner);
    }

    pub(super) fn set_manner(&self, uid: u32, manner: Manner) {
        *self.miners.lock().unwrap()[&uid].manner.lock().unwrap() = manner;
    }

    fn store(&self, uid: u32) -> Arc<Volumes> {
        self.miners.lock().unwrap()[&uid].store.clone()
    }

    /// By position of a stripe: the miner that the current map names.
    fn homes(&self, stripe: &StripeId) -> Vec<u32> {
        let map = self.maps.lock().unwrap()[0].clone();
        let placed = crush::Map::from_records(&map.params, &map.miners).unwrap();
        let pg = placement_group(stripe, map.params.pg_count);
        placed.place_vec(pg).into_iter().map(Option::unwrap).collect()
    }

    pub(super) fn home(&self, stripe: &StripeId, index: usize) -> u32 {
        self.homes(stripe)[index]
    }

    pub(super) fn stripes(&self) -> Vec<StripeId> {
        self.order.lock().unwrap().clone()
    }

    /// Writes a stripe as the gateway does; the first `stored` shards get there.
    pub(super) async fn upload(&self, seed: u8, size: usize, stored: usize) -> StripeId {
        self.upload_as(None, seed, size, stored).await
    }

    /// The same, as shards of a stripe that they are not of.
    pub(super) async fn upload_as(
        &self,
        said: Option<StripeId>,
        seed: u8,
        size: usize,
        stored: usize,
    ) -> StripeId {
        let mut bytes = vec![0; size * 10];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        let shards = Codec::new(10, 20).unwrap().encode(bytes.into()).unwrap();
        let shards: Shards =
            shards.into_iter().map(|bytes| (ShardHash(blake3::hash(&bytes).into()), bytes)).collect();
        let made = stripe_id(&shards.iter().map(|(hash, _)| *hash).collect::<Vec<_>>());
        let stripe = said.unwrap_or(made);
        let (epoch, pg_count) = {
            let map = &self.maps.lock().unwrap()[0];
            (map.epoch, map.params.pg_count)
        };
        let transport = self.memory.transport(node_id(&gateway_key()));
        for (index, (uid, (shard, bytes))) in
            self.homes(&stripe).into_iter().zip(&shards).take(stored).enumerate()
        {
            let peer = PeerAddr { node_id: node_id(&miner_key(uid)), endpoint: endpoint(uid) };
            let pg = placement_group(&stripe, pg_count);
            let placement = ShardPlacement { stripe, pg, index: index as u8, epoch, size: size as u32 };
            let command = Command {
                action: Action::Store(placement),
                shard: *shard,
                target: peer.node_id,
                nonce: rand::random(),
                expires_at: now_ms() + 60_000,
            };
            let request = Request::Store(command.sign(&GENESIS, &gateway_key()));
            let answer = transport.call(&peer, request, bytes.clone(), PATIENCE).await.unwrap();
            let Response::Stored(signed) = answer.0 else { panic!("{answer:?}") };
            self.gateway.lines.lock().unwrap().push(LedgerRecord::Stored(signed));
        }
        self.stripes.lock().unwrap().insert(stripe, shards);
        self.order.lock().unwrap().push(stripe);
        stripe
    }

    /// Has miners forget shards of a stripe.
    pub(super) async fn forget(&self, stripe: &StripeId, positions: std::ops::Range<usize>) {
        for index in positions {
            let shard = self.stripes.lock().unwrap()[stripe][index].0;
            assert!(self.store(self.home(stripe, index)).delete(shard).await.unwrap());
        }
    }

    /// Shards that miners on the network or off it have.
    pub(super) fn shard_count(&self) -> usize {
        let miners = self.miners.lock().unwrap();
        miners.values().map(|miner| miner.store.list(None, 1_000).len()).sum()
    }

    /// Positions whose shard is on the miner that the current map names.
    pub(super) fn in_place(&self, stripe: &StripeId) -> Vec<usize> {
        let shards = self.stripes.lock().unwrap()[stripe].clone();
        let homes = self.homes(stripe);
        let is_there = |index: &usize| self.store(homes[*index]).stat(&shards[*index].0).is_some();
        (0..30).filter(is_there).collect()
    }

    pub(super) fn is_whole(&self, but: &[StripeId]) -> bool {
        self.stripes().iter().filter(|stripe| !but.contains(stripe)).all(|stripe| {
            let shards = self.stripes.lock().unwrap()[stripe].clone();
            let homes = self.homes(stripe);
            let is_told =
                |index: usize| self.gateway.has_signed(&shards[index].0, &node_id(&miner_key(homes[index])));
            self.in_place(stripe).len() == 30 && (0..30).all(is_told)
        })
    }

    /// A physical census: every shard is read where the current map says, and the ledger says so too.
    pub(super) async fn check_all_in_place(&self, but: &[StripeId]) {
        assert!(self.is_whole(but), "not every shard is in place and in the ledger");
        for stripe in self.stripes().iter().filter(|stripe| !but.contains(stripe)) {
            let shards = self.stripes.lock().unwrap()[stripe].clone();
            for (index, (uid, (shard, bytes))) in self.homes(stripe).into_iter().zip(shards).enumerate() {
                let (entry, read) = self.store(uid).read_blocking(&shard).unwrap();
                assert_eq!(read, bytes);
                assert_eq!((entry.placement.stripe, usize::from(entry.placement.index)), (*stripe, index));
            }
        }
    }

    /// Repair as the first service would start it; what it keeps on disk is what the one before it left.
    pub(super) fn service(&self) -> Running {
        self.service_number(0)
    }

    pub(super) fn service_number(&self, number: u8) -> Running {
        let key = validator_key(number);
        let transport: Arc<dyn Transport> = Arc::new(self.memory.transport(node_id(&key)));
        let holdings = open(&self.stores_of_services[usize::from(number)]);
        let metrics = Metrics::default();
        let follows = |gateway: PeerAddr| {
            Arc::new(Follower::new(
                gateway,
                transport.clone(),
                Arc::new(HoldingsBook(holdings.clone())),
                Arc::new(tokio::sync::Mutex::new(ReceiptChecker::new(self.view.clone()))),
                metrics.ledgers.clone(),
            ))
        };
        let follower = follows(PeerAddr { node_id: node_id(&gateway_key()), endpoint: GATEWAY.into() });
        let others = self.others.lock().unwrap().iter().cloned().map(follows).collect::<Vec<_>>();
        let repair = Repair::new(Parts {
            key: key.clone(),
            view: self.view.clone(),
            transport: transport.clone(),
            holdings: holdings.clone(),
            followers: [&follower].into_iter().chain(&others).cloned().collect(),
            liveness: Arc::new(Mutex::new(Liveness::new(GENESIS, Duration::from_secs(30)))),
            health: Health::new("test", "0"),
            last_census: Default::default(),
            metrics,
            options: RepairOptions {
                bytes_per_second: 1 << 30,
                workers: 2,
                census_interval: Duration::from_secs(3_600),
                delay: Duration::ZERO,
                takeover: Duration::from_millis(HOUR_MS),
                orphan_age: Duration::ZERO,
            },
        });
        Running { key, repair, follower, others }
    }
}

/// The node id of a miner.
pub(super) fn node(uid: u32) -> NodeId {
    node_id(&miner_key(uid))
}

/// What was aborted lets go of the file a moment later.
fn open(directory: &TempDir) -> Arc<Holdings> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Holdings::open(directory.path()) {
            Ok(holdings) => return Arc::new(holdings),
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn endpoint(uid: u32) -> String {
    format!("miner-{uid}:1")
}

pub(super) struct Running {
    key: SigningKey,
    repair: Arc<Repair>,
    follower: Arc<Follower>,
    others: Vec<Arc<Follower>>,
}

impl Running {
    /// What it says of ledgers.
    pub(super) fn ledgers(&self) -> Arc<Ledgers> {
        Arc::new(Ledgers {
            key: self.key.clone(),
            view: self.repair.view.clone(),
            holdings: self.repair.holdings.clone(),
            followers: vec![self.follower.clone()],
        })
    }

    /// Which of these shards, that a miner asks about, no ledger names.
    pub(super) fn unnamed(&self, miner: NodeId, shards: &[ShardHash]) -> Result<Vec<ShardHash>, Silence> {
        let asked = UnnamedQuestion { shards, but: None };
        let word = self.ledgers().unnamed(&miner, asked)?;
        assert!(word.verify(&GENESIS, asked) && word.validator == node_id(&self.key));
        let unnamed = shards.iter().enumerate().filter(|(at, _)| word.unnamed.shards.has(*at));
        Ok(unnamed.map(|(_, shard)| *shard).collect())
    }

    /// Reads the ledger, which may fail.
    pub(super) async fn try_sync(&self) -> Result<(), String> {
        self.follower.sync().await.map_err(|error| error.to_string())
    }

    /// Receipts in the ledger that do not count.
    pub(super) fn refused(&self) -> u64 {
        self.repair.metrics.ledgers.receipts_refused.get()
    }

    pub(super) async fn sync(&self) {
        self.follower.sync().await.unwrap();
    }

    /// Reads the ledgers of all gateways, and says which could not be read.
    pub(super) async fn sync_all(&self) -> Vec<NodeId> {
        let mut failed = Vec::new();
        for follower in [&self.follower].into_iter().chain(&self.others) {
            if follower.sync().await.is_err() {
                failed.push(follower.gateway());
            }
        }
        failed
    }

    pub(super) async fn census(&self, asks: bool) -> Tally {
        let map = self.repair.map().unwrap();
        self.repair.walk(&map, asks).await.unwrap()
    }

    pub(super) async fn work(&self, stripe: StripeId) -> Result<(), String> {
        let stripe = StripeRef { id: stripe, gateway: node_id(&gateway_key()) };
        self.repair.work(stripe).await.map_err(|error| error.to_string())
    }

    /// What miners hold, where one of them says that it is being emptied.
    pub(super) fn custody(&self, world: &World, draining: u32) -> Arc<Custody> {
        let now = now_ms();
        let snapshot = world.view.snapshot();
        let heartbeat = Heartbeat {
            node_id: node(draining),
            endpoint: endpoint(draining).into_bytes().try_into().unwrap(),
            capacity_bytes: 1 << 40,
            used_bytes: 0,
            shard_count: 0,
            draining: true,
            version: (1, 0, 0),
            sent_at: now,
        };
        let mut liveness = Liveness::new(GENESIS, Duration::from_secs(3_600));
        let signed = heartbeat.sign(&GENESIS, &miner_key(draining));
        liveness.accept(node(draining), signed, &snapshot.registry, now).unwrap();
        let (out_after, in_after) = (Duration::from_secs(3_600), Duration::ZERO);
        let mut standings = Standings::new(Patience { out_after, in_after });
        standings.update(&snapshot.registry, snapshot.current.as_deref(), &liveness, &Merits::default(), now);
        let followers = vec![self.follower.clone()];
        let holdings = self.repair.holdings.clone();
        let standings = Arc::new(Mutex::new(standings));
        Custody::new(world.view.clone(), holdings, followers, standings, Metrics::default())
    }

    /// What no ledger names.
    pub(super) async fn orphans(&self) -> Option<Orphans> {
        self.repair.orphans(&self.repair.map().unwrap()).await
    }

    /// Stripes whose time has come in so many milliseconds from now; they are under way from now on.
    pub(super) fn due(&self, in_ms: u64) -> Vec<StripeId> {
        let now = now_ms() + in_ms;
        let due: Vec<StripeRef> = std::iter::from_fn(|| self.repair.queue().take(now)).collect();
        due.iter().for_each(|stripe| self.repair.queue().failed(stripe, 0));
        due.into_iter().map(|stripe| stripe.id).collect()
    }

    /// Works through the queue; what failed.
    pub(super) async fn drain(&self) -> Vec<String> {
        self.drain_at(0).await
    }

    /// As if it were so many milliseconds later.
    pub(super) async fn drain_at(&self, in_ms: u64) -> Vec<String> {
        let mut failed = Vec::new();
        loop {
            let next = self.repair.queue().take(now_ms() + in_ms);
            let Some(stripe) = next else { return failed };
            let outcome = self.repair.work(stripe).await;
            failed.extend(outcome.as_ref().err().map(ToString::to_string));
            self.repair.finish(&stripe, outcome, now_ms() + in_ms);
        }
    }

    /// Shards that it stored.
    pub(super) fn shards(&self) -> u64 {
        self.repair.metrics.repair.shards.get()
    }

    /// Bytes of shards that it has read, and shards that were signed for again and not sent.
    pub(super) fn read_and_signed(&self) -> (u64, u64) {
        let metrics = &self.repair.metrics.repair;
        (metrics.read_bytes.get(), metrics.signed_again.get())
    }

    /// Deletions that it had taken back.
    pub(super) fn restored(&self) -> u64 {
        self.repair.metrics.repair.restored.get()
    }

    /// Stripes that are left alone.
    pub(super) fn left_alone(&self) -> Vec<String> {
        self.repair.aside().told()
    }

    /// Wrong bytes that it was given.
    pub(super) fn corrupt(&self) -> u64 {
        self.repair.metrics.repair.shards_corrupt.get()
    }

    /// Runs by itself.
    pub(super) fn run(self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            let mut others = tokio::task::JoinSet::new();
            for follower in self.others {
                others.spawn(async move { follower.run(Duration::from_millis(50)).await });
            }
            tokio::select! {
                () = self.repair.run() => {}
                () = self.follower.run(Duration::from_millis(50)) => {}
            }
        })
    }
}
