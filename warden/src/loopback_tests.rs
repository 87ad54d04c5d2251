//! A warden against miners, a gateway and a submitter in one process: honest, lying and broken ones.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use arion_chain::{BlockRef, ChainView, EpochMap, Registry, Snapshot, ViewSource};
use arion_daemon::Health;
use arion_ledger::{FollowError, Follower, ReceiptChecker};
use arion_net::{MemoryNetwork, PeerAddr, Service, Transport};
use arion_protocol::{ErrorCode, LedgerEntry, LedgerRecord, Request, Response};
use arion_types::{
    AttestationRecord, AttestationResult, CrushParams, Exhibit, MinerRecord, NodeId, Receipt, ShardHash,
    ShownAttestation, SignedReceipt,
    attestation::challenge_seed,
    map::WEIGHT_ONE,
    signing::node_id,
    stripe::{placement_group, stripe_id},
};
use async_trait::async_trait;
use bytes::Bytes;
use codec::DecodeAll;
use ed25519_dalek::SigningKey;
use tokio::time::Instant;

use crate::{
    auditor::{Auditor, Signer},
    book::ShardBook,
    challenge::Patience,
    docket::{Action, Docket, Pace},
    duty::Duty,
    evidence::Evidence,
    handover::Handover,
    metrics::Metrics,
    sampler::Sampler,
    store::Store,
};

const GENESIS: [u8; 32] = [7; 32];
const HEAD: BlockRef = BlockRef { number: 123, hash: [0xb1; 32] };
const SHARD_BYTES: usize = 100_000;
const GATEWAY: &str = "gateway:1";
const SUBMITTER: &str = "submitter:1";

fn miner_key(uid: u32) -> SigningKey {
    SigningKey::from_bytes(&[uid as u8; 32])
}

fn warden_key() -> SigningKey {
    SigningKey::from_bytes(&[200; 32])
}

fn gateway_key() -> SigningKey {
    SigningKey::from_bytes(&[201; 32])
}

fn map(epoch: u64) -> EpochMap {
    let miner = |uid: u32| MinerRecord {
        uid,
        node_id: node_id(&miner_key(uid)).0,
        family: [(uid / 2) as u8 + 1; 32],
        weight: WEIGHT_ONE,
        endpoint: format!("miner-{uid}:1").into_bytes().try_into().unwrap(),
    };
    EpochMap::new(epoch, CrushParams::STANDARD, (2..34).map(miner).collect())
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Manner {
    Honest,
    Wiped,
    Damaged,
    Busy,
    /// Busy this many times, then honest.
    BusyFor(u32),
    /// Answers with the proof of other chunk groups.
    OtherGroups,
    /// Proves the right groups, but leaves out the last byte.
    Short,
    /// Names another size.
    OtherSize,
    /// Answers something else.
    OffTopic,
}

struct Miner {
    manner: Manner,
    shards: HashMap<ShardHash, Vec<u8>>,
    asked: AtomicU32,
}

#[async_trait]
impl Service for Miner {
    async fn serve(&self, _peer: NodeId, request: Request, _body: Bytes) -> (Response, Bytes) {
        let Request::Challenge { shard, seed } = request else { panic!("a warden only challenges") };
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let bytes = &self.shards[&shard];
        let size = bytes.len() as u32;
        let prove = |seed| arion_proofs::prove(&shard, bytes, &arion_proofs::derive(seed, size)).unwrap();
        let refuse = |code| (Response::error(code, ""), Bytes::new());
        match self.manner {
            Manner::Wiped => refuse(ErrorCode::NotFound),
            Manner::Damaged => refuse(ErrorCode::Damaged),
            Manner::Busy => refuse(ErrorCode::Busy),
            Manner::BusyFor(times) if asked < times => refuse(ErrorCode::Busy),
            Manner::Honest | Manner::BusyFor(_) => (Response::Proof { size }, prove(&seed).into()),
            Manner::OtherGroups => {
                let other = (0u8..).map(|n| [n; 32]);
                let mut other = other
                    .filter(|other| arion_proofs::derive(other, size) != arion_proofs::derive(&seed, size));
                (Response::Proof { size }, prove(&other.next().unwrap()).into())
            }
            Manner::Short => {
                let mut proof = prove(&seed);
                proof.pop();
                (Response::Proof { size }, proof.into())
            }
            Manner::OtherSize => (Response::Proof { size: size + 1 }, prove(&seed).into()),
            Manner::OffTopic => (Response::Pong { now: 0 }, Bytes::from_static(b"?")),
        }
    }
}

#[derive(Default)]
struct Gateway {
    lines: Mutex<Vec<LedgerRecord>>,
}

#[async_trait]
impl Service for Gateway {
    async fn serve(&self, _peer: NodeId, request: Request, _body: Bytes) -> (Response, Bytes) {
        let Request::LedgerFrom { after, limit, .. } = request else {
            panic!("only its ledger is asked for")
        };
        let lines = self.lines.lock().unwrap();
        let entries = lines.iter().enumerate().skip(after as usize).take(usize::from(limit));
        let entries = entries.map(|(i, record)| LedgerEntry { sequence: i as u64 + 1, record: *record });
        (Response::LedgerLines(entries.collect()), Bytes::new())
    }
}

#[derive(Default)]
struct Submitter {
    records: Mutex<Vec<AttestationRecord>>,
    exhibits: Mutex<Vec<Exhibit>>,
    /// It is of a version that knows of no exhibits.
    is_old: AtomicBool,
}

#[async_trait]
impl Service for Submitter {
    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        assert_eq!(peer, node_id(&warden_key()));
        let response = match request {
            Request::AttestShown if self.is_old.load(Ordering::SeqCst) => {
                Response::error(ErrorCode::Unsupported, "what is that")
            }
            Request::AttestShown => {
                let shown = Vec::<ShownAttestation>::decode_all(&mut &body[..]).unwrap();
                let (records, exhibits): (Vec<_>, Vec<_>) =
                    shown.into_iter().map(|shown| (shown.record, shown.exhibit)).unzip();
                let new = records.len() as u32;
                self.records.lock().unwrap().extend(records);
                self.exhibits.lock().unwrap().extend(exhibits);
                Response::AttestationsKept { new, exhibits: new }
            }
            Request::Attest => {
                let records = Vec::<AttestationRecord>::decode_all(&mut &body[..]).unwrap();
                let new = records.len() as u32;
                self.records.lock().unwrap().extend(records);
                Response::AttestationsQueued { new }
            }
            other => panic!("{other:?}"),
        };
        (response, Bytes::new())
    }
}

struct Network {
    memory: MemoryNetwork,
    gateway: Arc<Gateway>,
    submitter: Arc<Submitter>,
    view: ChainView,
    source: ViewSource,
    receipts: Vec<SignedReceipt>,
}

/// A chain with this warden.
fn chain() -> Snapshot {
    let mut registry = Registry::default();
    registry.wardens.insert(node_id(&warden_key()));
    Snapshot { block: HEAD, registry: Arc::new(registry), ..Snapshot::default() }
}

/// One stripe on 30 of 32 miners, who behave as told by their number.
fn network(manners: &BTreeMap<u8, Manner>) -> Network {
    let first = Snapshot { current: Some(Arc::new(map(1))), ..chain() };
    let (view, source) = ChainView::manual(GENESIS, first);
    let shards: Vec<Vec<u8>> = (0..30u8).map(|n| vec![n; SHARD_BYTES]).collect();
    let hashes: Vec<ShardHash> = shards.iter().map(|s| ShardHash(blake3::hash(s).into())).collect();
    let stripe = stripe_id(&hashes);
    let pg = placement_group(&stripe, map(1).params.pg_count);
    let placed = crush::Map::from_records(&map(1).params, &map(1).miners).unwrap().place_vec(pg);
    let memory = MemoryNetwork::new();
    let mut receipts = Vec::new();
    for (index, uid) in placed.into_iter().enumerate() {
        let key = miner_key(uid.unwrap());
        let receipt = Receipt {
            shard: hashes[index],
            size: SHARD_BYTES as u32,
            stripe,
            pg,
            index: index as u8,
            epoch: 1,
            node_id: node_id(&key),
            stored_at: 1,
        };
        receipts.push(receipt.sign(&GENESIS, &key));
        let miner = Miner {
            manner: manners.get(&(index as u8)).copied().unwrap_or(Manner::Honest),
            shards: [(hashes[index], shards[index].clone())].into(),
            asked: AtomicU32::new(0),
        };
        memory.listen(format!("miner-{}:1", uid.unwrap()), node_id(&key), Arc::new(miner));
    }
    let (gateway, submitter) = (Arc::new(Gateway::default()), Arc::new(Submitter::default()));
    memory.listen(GATEWAY, node_id(&gateway_key()), gateway.clone());
    memory.listen(SUBMITTER, NodeId([202; 32]), submitter.clone());
    gateway.lines.lock().unwrap().extend(receipts.iter().copied().map(LedgerRecord::Stored));
    Network { memory, gateway, submitter, view, source, receipts }
}

struct Warden {
    begun: Instant,
    auditor: Auditor,
    follower: Arc<Follower>,
    handover: Handover,
}

fn warden(network: &Network, directory: &Path) -> Warden {
    let transport: Arc<dyn Transport> = Arc::new(network.memory.transport(node_id(&warden_key())));
    let store = Arc::new(Store::open(directory).unwrap());
    let me = node_id(&warden_key());
    let mut sampler = Sampler::new(store.round().unwrap(), Duty::alone(me));
    for (target, audited_in) in store.shards().unwrap() {
        sampler.add(target, audited_in);
    }
    let pace = Pace {
        pause: Duration::ZERO,
        round_min: Duration::from_secs(3_600),
        round_max: Duration::from_secs(7_200),
        parallel: 1,
    };
    let patience = Patience { deadline: Duration::from_secs(5), retries: 2, pause: Duration::from_millis(1) };
    let mut docket = Docket::new(me, sampler, pace, patience);
    let snapshot = network.view.snapshot();
    docket.chain(&snapshot);
    docket.witnessed(&snapshot.registry.wardens, &[], 150);
    let docket = Arc::new(Mutex::new(docket));
    let metrics = Metrics::default();
    let follower = Arc::new(Follower::new(
        PeerAddr { node_id: node_id(&gateway_key()), endpoint: GATEWAY.into() },
        transport.clone(),
        Arc::new(ShardBook { store: store.clone(), docket: docket.clone() }),
        Arc::new(tokio::sync::Mutex::new(ReceiptChecker::new(network.view.clone()))),
        metrics.ledgers.clone(),
    ));
    let handover = Handover {
        store: store.clone(),
        transport: transport.clone(),
        submitter: PeerAddr { node_id: NodeId([202; 32]), endpoint: SUBMITTER.into() },
        health: Health::new("test", "0"),
        metrics: metrics.clone(),
    };
    let auditor = Auditor {
        signer: Signer { key: warden_key(), genesis: GENESIS, name: b"test".to_vec() },
        view: network.view.clone(),
        transport,
        docket,
        store,
        followers: [(follower.gateway(), follower.clone())].into(),
        evidence: directory.join("evidence"),
        health: Health::new("test", "0"),
        metrics,
    };
    Warden { begun: Instant::now(), auditor, follower, handover }
}

impl Warden {
    /// Audits shards until so many have a verdict, or there is none to be had; or all of the round. Returns how many.
    async fn audit(&self, most: usize) -> usize {
        let begun = self.begun;
        let mut cases = std::collections::HashSet::new();
        loop {
            let is_enough = cases.len() == most && self.auditor.docket().under_way() == 0;
            match self.auditor.poll(begun.elapsed()) {
                _ if is_enough => return cases.len(),
                Action::Ask(ask) => {
                    cases.insert(ask.case);
                    self.auditor.audit(*ask, begun).await;
                }
                Action::Rest(_) if self.auditor.docket().under_way() > 0 => tokio::task::yield_now().await,
                Action::Rest(_) => return cases.len(),
                Action::Round(_) => panic!("the round lasts for an hour"),
            }
        }
    }

    async fn audit_round(&self) -> usize {
        self.audit(usize::MAX).await
    }

    fn live(&self) -> usize {
        self.auditor.docket().sampler().live()
    }
}

#[tokio::test]
async fn verdicts_are_right_for_every_manner_of_miner() {
    let manners: BTreeMap<u8, Manner> = [
        (1, Manner::Wiped),
        (2, Manner::Damaged),
        (3, Manner::Busy),
        (4, Manner::BusyFor(2)),
        (5, Manner::OtherGroups),
        (6, Manner::Short),
        (7, Manner::OtherSize),
        (8, Manner::OffTopic),
    ]
    .into();
    let network = network(&manners);
    let uid_of = |index: usize| {
        map(1).miner_by_node(&network.receipts[index].receipt.node_id).map(|miner| miner.uid).unwrap()
    };
    network.memory.disconnect(&format!("miner-{}:1", uid_of(9)));
    let directory = tempfile::tempdir().unwrap();
    let warden = warden(&network, directory.path());
    warden.follower.sync().await.unwrap();
    assert_eq!(warden.audit_round().await, 30);
    warden.handover.hand_over().await.unwrap();

    let records = network.submitter.records.lock().unwrap();
    assert_eq!(records.len(), 30);
    for (index, signed) in network.receipts.iter().enumerate() {
        let receipt = signed.receipt;
        let record = records.iter().find(|record| record.shard_hash == receipt.shard.0).unwrap();
        let expected = match index {
            1 | 2 => AttestationResult::Failed,
            3 | 9 => AttestationResult::Timeout,
            5..=8 => AttestationResult::InvalidProof,
            _ => AttestationResult::Passed,
        };
        assert_eq!(record.result, expected, "shard {index}");
        assert_eq!((record.miner_uid, record.block_number), (uid_of(index), 123));
        let warden = node_id(&warden_key()).0;
        let seed = challenge_seed(&HEAD.hash, &warden, &receipt.node_id.0, &receipt.shard.0);
        assert_eq!(record.challenge_seed, seed);
        assert!(record.verify(&GENESIS));
        let has_answer = matches!(expected, AttestationResult::Passed | AttestationResult::InvalidProof);
        let hash_of_nothing: [u8; 32] = blake3::hash(b"").into();
        assert_eq!(record.merkle_proof_sig_hash != hash_of_nothing, has_answer);
    }
    // Failed and InvalidProof can be shown; of a silence there is nothing to show.
    let mut shown = 0;
    for file in std::fs::read_dir(directory.path().join("evidence")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let Evidence::V1 { record, miner, size, refusal, answer } =
            Evidence::decode_all(&mut bytes.as_slice()).unwrap();
        assert!(records.contains(&record) && size == SHARD_BYTES as u32);
        assert_eq!(blake3::hash(&answer), record.merkle_proof_sig_hash);
        assert_eq!(refusal.is_some(), record.result == AttestationResult::Failed);
        assert!(network.receipts.iter().any(|signed| signed.receipt.node_id.0 == miner));
        shown += 1;
    }
    assert_eq!(shown, 6);
    assert_eq!(warden.handover.store.outbox_len().unwrap(), 0);

    // What was handed over with them shows the same to anybody; only that a miner named another length cannot be shown.
    let exhibits = network.submitter.exhibits.lock().unwrap();
    let mut judged = BTreeMap::new();
    for (record, exhibit) in records.iter().zip(exhibits.iter()) {
        let shown = arion_bundle::judge(record, exhibit).unwrap();
        *judged.entry(format!("{:?}: {shown:?}", record.result)).or_insert(0) += 1;
    }
    let expected = [
        ("Failed: Told", 2),
        ("InvalidProof: Doubtful", 1),
        ("InvalidProof: Shown", 3),
        ("Passed: Shown", 22),
        ("Timeout: Told", 2),
    ];
    assert_eq!(judged, expected.map(|(what, count)| (what.to_owned(), count)).into());
}

#[tokio::test]
async fn signed_attestations_and_the_round_survive_a_crash() {
    let network = network(&BTreeMap::new());
    let directory = tempfile::tempdir().unwrap();
    {
        let warden = warden(&network, directory.path());
        warden.follower.sync().await.unwrap();
        assert_eq!(warden.audit(12).await, 12);
        network.memory.disconnect(SUBMITTER);
        assert!(warden.handover.hand_over().await.is_err());
    }
    network.memory.listen(SUBMITTER, NodeId([202; 32]), network.submitter.clone());
    let warden = warden(&network, directory.path());
    warden.handover.hand_over().await.unwrap();
    assert_eq!(network.submitter.records.lock().unwrap().len(), 12);
    assert_eq!(warden.audit_round().await, 18);
    warden.handover.hand_over().await.unwrap();
    let records = network.submitter.records.lock().unwrap();
    let shards: std::collections::HashSet<_> = records.iter().map(|record| record.shard_hash).collect();
    assert_eq!((records.len(), shards.len()), (30, 30));
}

#[tokio::test]
async fn a_submitter_of_before_gets_attestations_alone() {
    let network = network(&BTreeMap::new());
    network.submitter.is_old.store(true, Ordering::SeqCst);
    let directory = tempfile::tempdir().unwrap();
    {
        let warden = warden(&network, directory.path());
        warden.follower.sync().await.unwrap();
        assert_eq!(warden.audit(12).await, 12);
        warden.handover.hand_over().await.unwrap();
        assert_eq!(network.submitter.records.lock().unwrap().len(), 12);
        assert!(network.submitter.exhibits.lock().unwrap().is_empty());
    }
    network.submitter.is_old.store(false, Ordering::SeqCst);
    let warden = warden(&network, directory.path());
    assert_eq!(warden.audit_round().await, 18);
    warden.handover.hand_over().await.unwrap();
    assert_eq!(network.submitter.exhibits.lock().unwrap().len(), 18);
    assert_eq!(warden.handover.store.outbox_len().unwrap(), 0);
}

#[tokio::test]
async fn receipts_that_do_not_hold_are_not_audited() {
    let network = network(&BTreeMap::new());
    let spoil = |change: &dyn Fn(&mut Receipt), signer: &dyn Fn(NodeId) -> SigningKey| {
        let mut receipt = network.receipts[0].receipt;
        receipt.shard = ShardHash([0x55; 32]);
        change(&mut receipt);
        receipt.sign(&GENESIS, &signer(receipt.node_id))
    };
    let own = |node: NodeId| (2..34).map(miner_key).find(|key| node_id(key) == node).unwrap();
    let elsewhere = network.receipts[1].receipt.node_id;
    let bad = [
        spoil(&|_| (), &|_| miner_key(100)),
        spoil(&|r| r.pg ^= 1, &own),
        spoil(&|r| r.size = 0, &own),
        spoil(&|r| r.size = (1 << 20) + 1, &own),
        spoil(&|r| r.index = 30, &own),
        spoil(&|r| r.node_id = elsewhere, &own),
    ];
    let directory = tempfile::tempdir().unwrap();
    let warden = warden(&network, directory.path());
    network.gateway.lines.lock().unwrap().extend(bad.map(LedgerRecord::Stored));
    warden.follower.sync().await.unwrap();
    assert_eq!(warden.live(), 30);
    assert_eq!(warden.auditor.metrics.ledgers.receipts_refused.get(), 6);

    // A receipt of an epoch that is not final yet waits for it.
    let early = spoil(&|r| r.epoch = 2, &own);
    network.gateway.lines.lock().unwrap().push(LedgerRecord::Stored(early));
    assert!(matches!(warden.follower.sync().await, Err(FollowError::EpochAhead)));
    assert_eq!(warden.live(), 30);
    let earlier = vec![Arc::new(map(1))];
    let second = Snapshot { current: Some(Arc::new(map(2))), earlier, ..chain() };
    network.source.set(second);
    warden.follower.sync().await.unwrap();
    assert_eq!(warden.live(), 31);
}

#[tokio::test]
async fn deleted_shards_and_silent_gateways_accuse_nobody() {
    let manners = (0..30).map(|index| (index, Manner::Wiped)).collect();
    let network = network(&manners);
    let directory = tempfile::tempdir().unwrap();
    let warden = warden(&network, directory.path());
    warden.follower.sync().await.unwrap();
    // Deleted after the warden's last look at the ledger.
    let shards: Vec<_> = network.receipts[..10].iter().map(|signed| signed.receipt.shard).collect();
    let deleted = shards.iter().map(|shard| LedgerRecord::Deleted { shard: *shard });
    network.gateway.lines.lock().unwrap().extend(deleted);
    network.memory.disconnect(GATEWAY);
    assert!(matches!(warden.follower.sync().await, Err(FollowError::Call(_))));
    assert_eq!(warden.audit_round().await, 30);
    assert_eq!(warden.handover.store.outbox_len().unwrap(), 0);
    network.memory.listen(GATEWAY, node_id(&gateway_key()), network.gateway.clone());
    assert_eq!(warden.auditor.docket().sampler_mut().start_round(), Some(2));
    warden.audit_round().await;
    let accused: Vec<_> = warden
        .handover
        .store
        .outbox(100, 1 << 20)
        .unwrap()
        .into_iter()
        .map(|(_, s)| s.record.shard_hash)
        .collect();
    assert_eq!(accused.len(), 20);
    assert!(shards.iter().all(|shard| !accused.contains(&shard.0)));
}

/// A warden whose chain node lagged took a ledger for read up to the first receipt of an epoch that it did not know yet, and accused
/// miners that had deleted on order behind it (`sim replay --scenario chain-lag --seed 1`).
#[tokio::test]
async fn a_warden_behind_the_chain_accuses_nobody_of_a_deletion_it_cannot_see_yet() {
    let manners = (0..30).map(|index| (index, Manner::Wiped)).collect();
    let network = network(&manners);
    let directory = tempfile::tempdir().unwrap();
    let warden = warden(&network, directory.path());
    warden.follower.sync().await.unwrap();
    let mut early = network.receipts[0].receipt;
    early.epoch = 2;
    let key = (2..34).map(miner_key).find(|key| node_id(key) == early.node_id).unwrap();
    let deleted = network.receipts.iter().map(|signed| LedgerRecord::Deleted { shard: signed.receipt.shard });
    let unseen = [LedgerRecord::Stored(early.sign(&GENESIS, &key))].into_iter().chain(deleted);
    network.gateway.lines.lock().unwrap().extend(unseen);
    assert_eq!(warden.audit_round().await, 30);
    assert_eq!(warden.handover.store.outbox_len().unwrap(), 0);
}

#[tokio::test]
async fn a_ledger_with_a_gap_is_not_followed() {
    struct Gapped;
    #[async_trait]
    impl Service for Gapped {
        async fn serve(&self, _: NodeId, _: Request, _: Bytes) -> (Response, Bytes) {
            let record = LedgerRecord::Deleted { shard: ShardHash([1; 32]) };
            (Response::LedgerLines(vec![LedgerEntry { sequence: 2, record }]), Bytes::new())
        }
    }
    let network = network(&BTreeMap::new());
    network.memory.listen(GATEWAY, node_id(&gateway_key()), Arc::new(Gapped));
    let directory = tempfile::tempdir().unwrap();
    let warden = warden(&network, directory.path());
    let error = warden.follower.sync().await.unwrap_err();
    assert!(matches!(error, FollowError::Gap { after: 0, found: 2 }), "{error}");
}
