//! What could make a miner delete what somebody wants, one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arion_chain::{BlockRef, ChainError, ChainView, Child, EpochMap, Registry, Snapshot, ViewSource};
use arion_daemon::Health;
use arion_net::{MemoryNetwork, PeerAddr, Service};
use arion_protocol::{
    ErrorCode, LedgerPosition, Request, Response, ShardBits, ShardPlacement, Unnamed, UnnamedQuestion,
};
use arion_types::{CrushParams, Epoch, NodeId, ShardHash, StripeId, signing::node_id};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Collector, Orphans, collector::CollectorOptions};
use crate::{
    chain_facts::Anchors,
    metrics::Metrics,
    store::{Owner, Store, StoreOptions, Volumes},
    witnesses::Witnesses,
};

const GENESIS: [u8; 32] = [7; 32];
const DAY: Duration = Duration::from_secs(86_400);
const RETENTION: Duration = Duration::from_secs(30 * 86_400);
const GATEWAY: NodeId = NodeId([60; 32]);
const LATER_GATEWAY: NodeId = NodeId([61; 32]);

fn me() -> NodeId {
    node_id(&SigningKey::from_bytes(&[1; 32]))
}

fn key(service: u8) -> SigningKey {
    SigningKey::from_bytes(&[service + 100; 32])
}

/// What a service knows, and how it behaves.
#[derive(Clone, Debug)]
struct Mind {
    named: BTreeSet<ShardHash>,
    ledgers: BTreeMap<NodeId, u64>,
    epoch: Epoch,
    block: u32,
    /// Says that nobody wants anything.
    lies: bool,
    /// Does not answer.
    is_silent: bool,
    /// Whose key signs.
    signs_as: u8,
}

impl Mind {
    fn knows(&mut self, shard: ShardHash) {
        self.named.insert(shard);
    }

    fn forgets(&mut self, shard: ShardHash) {
        self.named.remove(&shard);
    }

    fn has_read(&mut self, lines: u64) {
        self.ledgers.insert(GATEWAY, lines);
    }
}

struct Witness {
    mind: Mutex<Mind>,
    asked: AtomicUsize,
}

#[async_trait]
impl Service for Witness {
    async fn serve(&self, peer: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        let (shards, but) = match request {
            Request::Unnamed { shards } => (shards, None),
            Request::UnnamedByOthers { gateway, shards } => (shards, Some(gateway)),
            other => panic!("{other:?}"),
        };
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mind = self.mind.lock().unwrap().clone();
        if mind.is_silent {
            return (Response::error(ErrorCode::Unavailable, "a ledger was not read"), Bytes::new());
        }
        let mut unnamed = ShardBits::NONE;
        for (at, shard) in shards.iter().enumerate() {
            if mind.lies || !mind.named.contains(shard) {
                unnamed.set(at);
            }
        }
        let ledgers = mind.ledgers.into_iter();
        let ledgers = ledgers.map(|(gateway, sequence)| LedgerPosition { gateway, sequence }).collect();
        let word = Unnamed { miner: peer, epoch: mind.epoch, block: mind.block, shards: unnamed, ledgers };
        let word = word.sign(&GENESIS, UnnamedQuestion { shards: &shards, but }, &key(mind.signs_as));
        (Response::Unnamed(Box::new(word)), Bytes::new())
    }
}

#[derive(Default)]
struct Anchored(Mutex<BTreeMap<NodeId, u64>>);

#[async_trait]
impl Anchors for Anchored {
    async fn lines_of(&self, gateway: &NodeId) -> Result<u64, ChainError> {
        Ok(self.0.lock().unwrap().get(gateway).copied().unwrap_or(0))
    }
}

/// A miner and its validator services.
struct World {
    collector: Collector,
    source: ViewSource,
    anchored: Arc<Anchored>,
    witnesses: Vec<Arc<Witness>>,
    _directory: TempDir,
}

impl World {
    /// So many services, all honest: they have read 10 lines, which name nothing.
    fn new(services: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { background: false, ..StoreOptions::default() };
        let store = Store::open(&directory.path().join("store"), options).unwrap();
        let (view, source) = ChainView::manual(GENESIS, Snapshot::default());
        let network = MemoryNetwork::new();
        let mut witnesses = Vec::new();
        let mut peers = Vec::new();
        for service in 0..services {
            let mind = Mind {
                named: BTreeSet::new(),
                ledgers: BTreeMap::from([(GATEWAY, 10)]),
                epoch: 1,
                block: 1_000,
                lies: false,
                is_silent: false,
                signs_as: service,
            };
            let witness = Arc::new(Witness { mind: Mutex::new(mind), asked: AtomicUsize::new(0) });
            let endpoint = format!("service-{service}:1");
            network.listen(endpoint.clone(), node_id(&key(service)), witness.clone());
            peers.push(PeerAddr { node_id: node_id(&key(service)), endpoint });
            witnesses.push(witness);
        }
        let anchored = Arc::new(Anchored::default());
        let transport = Arc::new(network.transport(me()));
        let collector = Collector {
            orphans: Arc::new(Orphans::default()),
            store: Arc::new(Volumes::from(store)),
            witnesses: Witnesses::new(me(), view, anchored.clone(), transport, peers),
            options: CollectorOptions { deletes: true, retention: RETENTION },
            metrics: Metrics::new(&mut Default::default()),
            health: Health::new("test", "0"),
        };
        let world = Self { collector, source, anchored, witnesses, _directory: directory };
        world.chain(1, 1_000, &[GATEWAY], services);
        world
    }

    /// What the miner sees of the chain.
    fn chain(&self, epoch: Epoch, number: u32, gateways: &[NodeId], services: u8) {
        let mut registry = Registry::default();
        registry.miners.insert(me(), Child { child: [1; 32], family: [1; 32] });
        registry.gateways.extend(gateways);
        registry.validators.extend((0..services).map(|service| node_id(&key(service))));
        let map = EpochMap::new(epoch, CrushParams::STANDARD, Vec::new());
        let block = BlockRef { number, hash: [number as u8; 32] };
        let (current, registry) = (Some(Arc::new(map)), Arc::new(registry));
        self.source.set(Snapshot { block, current, registry, ..Snapshot::default() });
    }

    /// A gateway stores a shard, as the service of requests does it.
    async fn store(&self, number: u8) -> ShardHash {
        let body = Bytes::from(vec![number; 100]);
        let shard = ShardHash(blake3::hash(&body).into());
        let placement =
            ShardPlacement { stripe: StripeId([number; 32]), pg: 1, index: 2, epoch: 1, size: 100 };
        let _kept = self.collector.orphans.keep(&shard).await;
        self.collector.store.put(shard, placement, body).await.unwrap();
        shard
    }

    fn has(&self, shard: &ShardHash) -> bool {
        self.collector.store.stat(shard).is_some()
    }

    fn mind(&self, service: usize, change: impl FnOnce(&mut Mind)) {
        change(&mut self.witnesses[service].mind.lock().unwrap());
    }

    fn minds(&self, change: impl Fn(&mut Mind)) {
        (0..self.witnesses.len()).for_each(|service| self.mind(service, &change));
    }

    /// Days, a round each; what the last one said.
    async fn days(&self, days: u32) -> Result<(), String> {
        let mut last = Ok(());
        for _ in 0..days {
            last = self.collector.step(DAY).await.map_err(|error| error.to_string());
        }
        last
    }
}

#[tokio::test]
async fn what_nobody_wants_goes_when_its_time_is_over_and_can_be_restored() {
    let world = World::new(3);
    let (orphan, wanted) = (world.store(1).await, world.store(2).await);
    world.minds(|mind| mind.knows(wanted));
    world.days(30).await.unwrap();
    assert!(world.has(&orphan), "the first round tells of it, 29 days have passed");
    world.days(1).await.unwrap();
    assert!(!world.has(&orphan) && world.has(&wanted));
    assert!(world.collector.store.restore(orphan, Owner::NONE).await.unwrap());
}

#[tokio::test]
async fn nothing_is_deleted_where_the_operator_says_so() {
    let mut world = World::new(3);
    world.collector.options.deletes = false;
    let orphan = world.store(1).await;
    world.days(90).await.unwrap();
    assert!(world.has(&orphan));
}

#[tokio::test]
async fn a_gateway_that_enters_its_lines_late_loses_nothing() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.days(29).await.unwrap();
    // One service has the line before the others.
    world.mind(2, |mind| mind.knows(shard));
    world.days(1).await.unwrap();
    world.mind(2, |mind| mind.forgets(shard));
    world.days(29).await.unwrap();
    assert!(world.has(&shard), "it began anew when somebody knew a line");
}

#[tokio::test]
async fn services_that_have_not_read_what_is_anchored_do_not_count() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.anchored.0.lock().unwrap().insert(GATEWAY, 11);
    let said = world.days(60).await.unwrap_err();
    assert!(said.contains("0 of 2") && said.contains("anchored 11"), "{said}");
    assert!(world.has(&shard));
    // One that has is not enough.
    world.mind(0, |mind| mind.has_read(11));
    assert!(world.days(60).await.unwrap_err().contains("1 of 2"));
    assert!(world.has(&shard));
    world.mind(1, |mind| mind.has_read(12));
    world.days(31).await.unwrap();
    assert!(!world.has(&shard));
}

#[tokio::test]
async fn a_gateway_that_services_do_not_follow_keeps_everything() {
    let world = World::new(3);
    let shard = world.store(1).await;
    // A gateway that was made again from a snapshot: its ledger is another one.
    world.chain(1, 1_000, &[GATEWAY, LATER_GATEWAY], 3);
    assert!(world.days(60).await.unwrap_err().contains("silent about the ledger"));
    assert!(world.has(&shard));
    world.minds(|mind| {
        mind.ledgers.insert(LATER_GATEWAY, 5);
        mind.named.insert(shard);
    });
    world.days(60).await.unwrap();
    assert!(world.has(&shard), "the new gateway has it in its ledger");
}

#[tokio::test]
async fn a_minority_that_lies_deletes_nothing() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.minds(|mind| mind.knows(shard));
    world.mind(1, |mind| mind.lies = true);
    world.days(90).await.unwrap();
    assert!(world.has(&shard));
    // The others away, it is alone.
    for service in [0, 2] {
        world.mind(service, |mind| mind.is_silent = true);
    }
    assert!(world.days(90).await.unwrap_err().contains("1 of 2"));
    assert!(world.has(&shard));
}

#[tokio::test]
async fn even_two_thirds_that_lie_are_held_up_by_one_that_knows_the_line() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.minds(|mind| mind.lies = true);
    world.mind(2, |mind| {
        mind.lies = false;
        mind.named.insert(shard);
    });
    world.days(90).await.unwrap();
    assert!(world.has(&shard));
}

#[tokio::test]
async fn words_in_the_name_of_others_count_for_nobody() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.minds(|mind| mind.signs_as = 0);
    assert!(world.days(90).await.unwrap_err().contains("1 of 2"));
    assert!(world.has(&shard));
}

#[tokio::test]
async fn services_that_are_registered_but_not_trusted_only_raise_what_is_needed() {
    let world = World::new(2);
    let shard = world.store(1).await;
    world.chain(1, 1_000, &[GATEWAY], 4);
    let said = world.days(60).await.unwrap_err();
    assert!(said.contains("names 2 of the 4") && said.contains("3 have to be asked"), "{said}");
    assert!(world.has(&shard));
    assert_eq!(world.witnesses[0].asked.load(Ordering::SeqCst), 0);
    // Nor does one that is trusted and not registered.
    world.chain(1, 1_000, &[GATEWAY], 1);
    world.mind(0, |mind| mind.knows(shard));
    world.days(60).await.unwrap();
    assert!(world.has(&shard));
    assert_eq!(world.witnesses[1].asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_change_of_the_map_or_a_service_that_is_behind_waits() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.chain(2, 1_000, &[GATEWAY], 3);
    assert!(world.days(60).await.unwrap_err().contains("epoch"));
    world.chain(1, 1_200, &[GATEWAY], 3);
    assert!(world.days(60).await.unwrap_err().contains("block"));
    world.chain(1, 1_000, &[], 3);
    assert!(world.days(60).await.unwrap_err().contains("no gateway"));
    assert!(world.has(&shard));
}

#[tokio::test]
async fn what_repair_stores_again_here_begins_anew() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.days(30).await.unwrap();
    // It was here all along, released and forgotten; the receipt is on its way to the ledger.
    world.store(1).await;
    world.days(30).await.unwrap();
    assert!(world.has(&shard));
    world.days(1).await.unwrap();
    assert!(!world.has(&shard));
}

#[tokio::test]
async fn what_somebody_reads_or_audits_begins_anew() {
    let world = World::new(3);
    let shard = world.store(1).await;
    for _ in 0..10 {
        world.days(30).await.unwrap();
        world.collector.orphans.asked_for(&shard);
    }
    assert!(world.has(&shard));
}

#[tokio::test]
async fn while_a_shard_is_being_stored_it_is_not_deleted() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.days(30).await.unwrap();
    // Between its order and its receipt.
    let kept = world.collector.orphans.keep(&ShardHash([9; 32])).await;
    let step = world.days(1);
    tokio::pin!(step);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut step).await;
    assert!(waited.is_err() && world.has(&shard), "a deletion waits for whoever stores");
    world.collector.orphans.asked_for(&shard);
    drop(kept);
    step.await.unwrap();
    assert!(world.has(&shard), "somebody has asked for it meanwhile");
}

#[tokio::test]
async fn a_clock_that_jumps_makes_nothing_older() {
    let world = World::new(3);
    let shard = world.store(1).await;
    // Time is what the collector measured between its rounds, not what shards or clocks say.
    for _ in 0..100 {
        world.collector.step(Duration::ZERO).await.unwrap();
    }
    assert!(world.has(&shard));
}

#[tokio::test]
async fn a_restart_goes_on_and_a_crash_begins_anew() {
    let mut world = World::new(3);
    let shard = world.store(1).await;
    world.days(30).await.unwrap();
    let path = world._directory.path().join("orphans");
    world.collector.orphans.leave(&path).unwrap();
    let restarted = Orphans::default();
    restarted.take_over(&path).unwrap();
    world.collector.orphans = Arc::new(restarted);
    // This process crashes, and the next finds nothing.
    let crashed = Orphans::default();
    crashed.take_over(&path).unwrap();
    assert_eq!(crashed.age(&shard), None);
    world.days(1).await.unwrap();
    assert!(!world.has(&shard));
}

#[tokio::test]
async fn where_much_would_go_nothing_does() {
    let world = World::new(1);
    let mut storing = JoinSet::new();
    for number in 0..1_500_u32 {
        let body = Bytes::from(number.to_le_bytes().to_vec());
        let shard = ShardHash(blake3::hash(&body).into());
        let placement = ShardPlacement { stripe: StripeId([1; 32]), pg: 1, index: 2, epoch: 1, size: 4 };
        let store = world.collector.store.clone();
        storing.spawn(async move { store.put(shard, placement, body).await.unwrap() });
    }
    assert_eq!(storing.join_all().await.len(), 1_500);
    world.days(40).await.unwrap();
    assert_eq!(world.collector.store.usage().shards, 1_500);
    // More pages than one, and who is first asked is asked of all.
    assert_eq!(world.witnesses[0].asked.load(Ordering::SeqCst), 80);
}

#[tokio::test]
async fn what_one_service_knows_the_others_are_not_asked() {
    let world = World::new(3);
    let shard = world.store(1).await;
    world.minds(|mind| mind.knows(shard));
    world.days(3).await.unwrap();
    let asked: Vec<_> = world.witnesses.iter().map(|witness| witness.asked.load(Ordering::SeqCst)).collect();
    assert_eq!(asked, [1, 1, 1], "another one first every round");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_waited_for_once() {
    let world = World::new(4);
    world.store(1).await;
    world.mind(2, |mind| mind.is_silent = true);
    world.days(8).await.unwrap();
    let asked =
        || world.witnesses.iter().map(|witness| witness.asked.load(Ordering::SeqCst)).collect::<Vec<_>>();
    assert_eq!(asked(), [8, 8, 1, 8]);
    // Where its word is needed it is asked, and it may answer again.
    world.mind(0, |mind| mind.is_silent = true);
    world.mind(2, |mind| mind.is_silent = false);
    world.days(1).await.unwrap();
    assert_eq!(asked(), [9, 9, 2, 9]);
}

#[test]
fn a_retention_has_several_rounds() {
    let period = |retention| CollectorOptions { deletes: true, retention }.period();
    assert_eq!(period(RETENTION), Duration::from_secs(6 * 3_600));
    assert_eq!(period(Duration::from_secs(60)), Duration::from_secs(15));
}
