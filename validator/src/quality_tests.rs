//! What the node is told of miners: by heartbeats, a gateway's ledger and a chain in one process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{BlockRef, ChainView, Child, EpochMap, Registry, Snapshot, ViewSource};
use arion_daemon::StatusCode;
use arion_ledger::{Book, Change, Follower, ReceiptChecker};
use arion_net::{MemoryNetwork, PeerAddr, Service};
use arion_protocol::{
    Heartbeat, LedgerEntry, LedgerRecord, Request, Response, Served, limits::LEDGER_ENTRIES_MAX,
};
use arion_types::{
    CrushParams, MinerRecord, NodeId, Receipt, ShardHash, SignedReceipt, StripeId,
    map::WEIGHT_ONE,
    quality::QualityStatement,
    signing::node_id,
    stripe::{placement_group, stripe_id},
};
use async_trait::async_trait;
use bytes::Bytes;
use codec::DecodeAll;
use ed25519_dalek::SigningKey;

use crate::{
    holdings::{Holdings, HoldingsBook},
    liveness::Liveness,
    metrics::Metrics,
    presence::Presence,
    quality::{NoReport, Observer, Reports},
};

const GENESIS: [u8; 32] = [7; 32];
const GATEWAY: &str = "gateway:1";
const GATEWAY_ID: NodeId = NodeId([250; 32]);
const BUCKET_BLOCKS: u32 = 20;
const MINERS: u8 = 32;
const SHARD_BYTES: u32 = 1_000;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n + 1; 32])
}

fn map() -> EpochMap {
    let miner = |n: u8| MinerRecord {
        uid: u32::from(n) + 1,
        node_id: node_id(&key(n)).0,
        family: [n / 2 + 100; 32],
        weight: WEIGHT_ONE,
        endpoint: b"h:1".to_vec().try_into().unwrap(),
    };
    EpochMap::new(1, CrushParams::STANDARD, (0..MINERS).map(miner).collect())
}

fn snapshot(block: u32) -> Snapshot {
    let mut registry = Registry::default();
    for n in 0..MINERS {
        // Accounts in another order than node ids.
        registry
            .miners
            .insert(node_id(&key(n)), Child { child: [MINERS - n; 32], family: [n / 2 + 100; 32] });
    }
    Snapshot {
        block: BlockRef { number: block, hash: [1; 32] },
        current: Some(Arc::new(map())),
        registry: Arc::new(registry),
        ..Snapshot::default()
    }
}

/// The receipts of a stripe, as the map places it.
fn receipts() -> Vec<SignedReceipt> {
    let hashes: Vec<ShardHash> = (0..30u8).map(|n| ShardHash([n + 1; 32])).collect();
    let stripe = stripe_id(&hashes);
    let pg = placement_group(&stripe, map().params.pg_count);
    let placed = crush::Map::from_records(&map().params, &map().miners).unwrap().place_vec(pg);
    let receipt = |(index, uid): (usize, Option<u32>)| {
        let key = key(uid.unwrap() as u8 - 1);
        let receipt = Receipt {
            shard: hashes[index],
            size: SHARD_BYTES,
            stripe,
            pg,
            index: index as u8,
            epoch: 1,
            node_id: node_id(&key),
            stored_at: 1,
        };
        receipt.sign(&GENESIS, &key)
    };
    placed.into_iter().enumerate().map(receipt).collect()
}

/// Answers with pages of its ledger, or not at all.
#[derive(Default)]
struct Gateway {
    lines: Mutex<Vec<LedgerRecord>>,
    pages_left: Mutex<Option<u32>>,
}

#[async_trait]
impl Service for Gateway {
    async fn serve(&self, _peer: NodeId, request: Request, _body: Bytes) -> (Response, Bytes) {
        let Request::LedgerFrom { after, limit, .. } = request else {
            panic!("only its ledger is asked for")
        };
        if let Some(left) = &mut *self.pages_left.lock().unwrap() {
            if *left == 0 {
                return (Response::error(arion_protocol::ErrorCode::Busy, ""), Bytes::new());
            }
            *left -= 1;
        }
        let lines = self.lines.lock().unwrap();
        let entries = lines.iter().enumerate().skip(after as usize).take(usize::from(limit));
        let entries = entries.map(|(i, record)| LedgerEntry { sequence: i as u64 + 1, record: *record });
        (Response::LedgerLines(entries.collect()), Bytes::new())
    }
}

struct Stage {
    observer: Arc<Observer>,
    source: ViewSource,
    gateway: Arc<Gateway>,
    now_ms: u64,
    block: u32,
    _directory: tempfile::TempDir,
}

fn stage(gateways: usize) -> Stage {
    let network = MemoryNetwork::new();
    let gateway = Arc::new(Gateway::default());
    network.listen(GATEWAY, GATEWAY_ID, gateway.clone());
    let (view, source) = ChainView::manual(GENESIS, snapshot(0));
    let directory = tempfile::tempdir().unwrap();
    let holdings = Arc::new(Holdings::open(directory.path()).unwrap());
    let follower = || {
        Arc::new(Follower::new(
            PeerAddr { node_id: GATEWAY_ID, endpoint: GATEWAY.into() },
            Arc::new(network.transport(NodeId([251; 32]))),
            Arc::new(HoldingsBook(holdings.clone())),
            Arc::new(tokio::sync::Mutex::new(ReceiptChecker::new(view.clone()))),
            Metrics::default().ledgers,
        ))
    };
    let liveness = Liveness::new(GENESIS, Duration::from_secs(3));
    let observer = Arc::new(Observer {
        view: view.clone(),
        presence: Mutex::new(Presence::new(BUCKET_BLOCKS, liveness.window())),
        liveness: Arc::new(Mutex::new(liveness)),
        followers: (0..gateways).map(|_| follower()).collect(),
        holdings: holdings.clone(),
    });
    Stage { observer, source, gateway, now_ms: 1_000_000, block: 0, _directory: directory }
}

impl Stage {
    /// Goes on to a block, three seconds each; everybody but the silent sends heartbeats.
    fn until(&mut self, block: u32, silent: &[u8]) {
        while self.block < block {
            self.block += 1;
            self.source.set(snapshot(self.block));
            for n in (0..MINERS).filter(|n| !silent.contains(n)) {
                let heartbeat = Heartbeat {
                    node_id: node_id(&key(n)),
                    endpoint: b"127.0.0.1:4000".to_vec().try_into().unwrap(),
                    capacity_bytes: 1 << 40,
                    // What it claims to hold is never reported.
                    used_bytes: 1 << 39,
                    shard_count: 1 << 20,
                    draining: false,
                    version: (0, 1, 0),
                    sent_at: self.now_ms,
                };
                let signed = heartbeat.sign(&GENESIS, &key(n));
                let mut liveness = self.observer.liveness.lock().unwrap();
                let registry = &self.observer.view.snapshot().registry;
                liveness.accept(node_id(&key(n)), signed, registry, self.now_ms).unwrap();
            }
            for _ in 0..3 {
                self.observer.look(self.now_ms);
                self.now_ms += 1_000;
            }
        }
    }

    fn refusal(&self, bucket: u32) -> NoReport {
        self.observer.statement(bucket).unwrap_err()
    }
}

#[tokio::test]
async fn a_report_says_what_was_heard_and_what_ledgers_have() {
    let mut stage = stage(1);
    stage.gateway.lines.lock().unwrap().extend(receipts().into_iter().map(LedgerRecord::Stored));
    let now = arion_daemon::now_ms();
    // Of the first holder as much as it has, of the second more; of somebody who has nothing nothing counts.
    let nobody = (0..MINERS)
        .map(|n| node_id(&key(n)))
        .find(|node| receipts().iter().all(|signed| signed.receipt.node_id != *node));
    let readers = [
        (receipts()[0].receipt.node_id, 7),
        (receipts()[1].receipt.node_id, u64::from(SHARD_BYTES) + 1),
        (nobody.unwrap(), 7),
    ];
    for (miner, bytes) in readers {
        let line = Served { miner, from: now - 10_000, until: now - 5_000, bytes };
        stage.gateway.lines.lock().unwrap().push(LedgerRecord::Served(line));
    }
    stage.observer.followers[0].sync().await.unwrap();
    stage.until(34, &[5]);
    let reports = Reports::new(Metrics::default());
    assert_eq!(reports.answer("bucket=1").status, StatusCode::SERVICE_UNAVAILABLE);
    reports.serve(stage.observer.clone());
    let answer = reports.answer("bucket=1");
    assert_eq!(answer.status, StatusCode::OK);
    let QualityStatement::V1 { genesis, bucket, updates } =
        QualityStatement::<[u8; 32]>::decode_all(&mut &answer.body[..]).unwrap();
    assert_eq!((genesis, bucket, updates.len()), (GENESIS, 1, usize::from(MINERS)));
    assert!(updates.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let holders: Vec<NodeId> = receipts().iter().map(|signed| signed.receipt.node_id).collect();
    for (child, quality) in &updates {
        let n = MINERS - child[0];
        let held = if holders.contains(&node_id(&key(n))) { u64::from(SHARD_BYTES) } else { 0 };
        let uptime = if n == 5 { 0 } else { 1_000 };
        assert_eq!((quality.shard_data_bytes, quality.uptime_permille), (held, uptime), "miner {n}");
        let served = readers.iter().find(|(miner, _)| *miner == node_id(&key(n)));
        assert_eq!(quality.bandwidth_bytes, served.map_or(0, |(_, bytes)| *bytes).min(held), "miner {n}");
        assert_eq!((quality.strikes, quality.integrity_fails), (0, 0));
    }

    // Deleted, and forged: neither counts.
    let gone = LedgerRecord::Deleted { shard: receipts()[0].receipt.shard };
    let mut forged = receipts()[0];
    forged.receipt.shard = ShardHash([99; 32]);
    stage.gateway.lines.lock().unwrap().extend([gone, LedgerRecord::Stored(forged)]);
    stage.observer.followers[0].sync().await.unwrap();
    assert_eq!(stage.observer.holdings.bytes_of(&holders[0]), 0);

    // A miner that comes back is up for a part of the time.
    stage.until(44, &[]);
    let QualityStatement::V1 { updates, .. } = stage.observer.statement(2).unwrap();
    let back = updates.iter().find(|(child, _)| child[0] == MINERS - 5).unwrap().1.uptime_permille;
    assert!((400..700).contains(&back), "{back}");
}

#[tokio::test]
async fn what_is_not_known_is_not_reported() {
    let mut stage = stage(1);
    let reports = Reports::new(Metrics::default());
    reports.serve(stage.observer.clone());
    for query in
        ["", "bucket=", "bucket=-1", "bucket=x", "bucket=99999999999", "other=1", "bucket=0&bucket=1"]
    {
        assert_eq!(reports.answer(query).status, StatusCode::BAD_REQUEST, "{query}");
    }
    stage.until(5, &[]);
    assert_eq!(stage.refusal(0), NoReport::LedgerUnread(GATEWAY_ID));
    stage.observer.followers[0].sync().await.unwrap();
    // Started within the bucket: who was not heard yet is not called absent.
    assert!(matches!(stage.refusal(0), NoReport::NotHeard { needed: BUCKET_BLOCKS, .. }));
    let answer = reports.answer("bucket=0");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(answer.status == StatusCode::NOT_FOUND && text.contains("a report needs 20"), "{text}");
    stage.until(30, &[]);
    assert!(stage.observer.statement(1).is_ok());
    assert_eq!(stage.refusal(0), NoReport::OtherBucket { asked: 0, open: 1 });
    assert_eq!(stage.refusal(2), NoReport::OtherBucket { asked: 2, open: 1 });
    // The process stood still for a while: heartbeats may have been missed.
    stage.now_ms += 60_000;
    stage.until(32, &[]);
    assert!(matches!(stage.refusal(1), NoReport::NotHeard { .. }));
    stage.until(56, &[]);
    assert!(stage.observer.statement(2).is_ok());
    let deserted = Snapshot { registry: Arc::default(), ..snapshot(56) };
    stage.source.set(deserted);
    assert_eq!(stage.refusal(2), NoReport::NoMiners);
}

#[tokio::test]
async fn without_gateways_nobody_knows_what_is_stored() {
    let mut stage = stage(0);
    stage.until(34, &[]);
    assert_eq!(stage.refusal(1), NoReport::NoGateways);
}

#[tokio::test]
async fn a_half_read_ledger_is_no_ledger_and_a_silent_gateway_blocks_nobody() {
    let mut half = stage(1);
    half.until(34, &[]);
    let page = usize::from(LEDGER_ENTRIES_MAX);
    let filler = LedgerRecord::Deleted { shard: ShardHash([0; 32]) };
    *half.gateway.lines.lock().unwrap() = vec![filler; page + 1];
    *half.gateway.pages_left.lock().unwrap() = Some(1);
    assert!(half.observer.followers[0].sync().await.is_err());
    assert_eq!(half.refusal(1), NoReport::LedgerUnread(GATEWAY_ID));
    *half.gateway.pages_left.lock().unwrap() = None;
    half.observer.followers[0].sync().await.unwrap();
    assert!(half.observer.statement(1).is_ok());
    // Known once, it stays known.
    *half.gateway.pages_left.lock().unwrap() = Some(0);
    assert!(half.observer.followers[0].sync().await.is_err());
    assert!(half.observer.statement(1).is_ok());

    let mut silent = stage(1);
    silent.until(34, &[]);
    *silent.gateway.pages_left.lock().unwrap() = Some(0);
    assert!(silent.observer.followers[0].sync().await.is_err());
    assert_eq!(silent.refusal(1), NoReport::LedgersSilent);
    // As after a restart: an earlier run has read it.
    let known = Change::Stored(Receipt {
        shard: ShardHash([1; 32]),
        size: 64,
        stripe: StripeId([1; 32]),
        pg: 0,
        index: 0,
        epoch: 1,
        node_id: node_id(&key(1)),
        stored_at: 1,
    });
    HoldingsBook(silent.observer.holdings.clone()).apply(&GATEWAY_ID, vec![known], 1).await.unwrap();
    assert!(silent.observer.statement(1).is_ok());
}
