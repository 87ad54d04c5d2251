//! Heartbeats over the in-memory network.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::{Duration, Instant},
};

use arion_miner::{
    heartbeat::Reporter,
    metrics::Metrics,
    store::{Clock, Store, StoreOptions, Volumes},
};
use arion_net::{MemoryNetwork, PeerAddr, Service};
use arion_protocol::{ErrorCode, Request, Response, SignedHeartbeat};
use arion_types::{NodeId, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tempfile::TempDir;

const GENESIS: [u8; 32] = [7; 32];

/// Refuses the first heartbeats, keeps the others.
struct Validator {
    refusals: AtomicU64,
    heard: Mutex<Vec<SignedHeartbeat>>,
}

#[async_trait]
impl Service for Validator {
    async fn serve(&self, _peer: NodeId, request: Request, _body: Bytes) -> (Response, Bytes) {
        use std::sync::atomic::Ordering::SeqCst;
        let Request::Heartbeat(heartbeat) = request else { panic!("{request:?}") };
        if self.refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return (Response::error(ErrorCode::NotRegistered, "not yet"), Bytes::new());
        }
        self.heard.lock().unwrap().push(heartbeat);
        (Response::HeartbeatAccepted { epoch: 1 }, Bytes::new())
    }
}

impl Validator {
    fn new(refusals: u64) -> Arc<Self> {
        Arc::new(Self { refusals: AtomicU64::new(refusals), heard: Mutex::default() })
    }

    fn count(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

#[tokio::test]
async fn every_validator_hears_signed_reports_in_growing_order_and_one_that_is_away_stops_no_other() {
    let network = MemoryNetwork::new();
    let validators = [Validator::new(0), Validator::new(1)];
    let addr = |number: u8| PeerAddr {
        node_id: signing::node_id(&SigningKey::from_bytes(&[number; 32])),
        endpoint: format!("validator-{number}:1"),
    };
    for (number, validator) in (1..).zip(&validators) {
        network.listen(format!("validator-{number}:1"), addr(number).node_id, validator.clone());
    }
    let key = SigningKey::from_bytes(&[9; 32]);
    let dir = TempDir::new().unwrap();
    // A clock that stands still: times must grow nevertheless.
    let clock: Clock = Arc::new(|| 1_000);
    let options = StoreOptions { clock: clock.clone(), ..StoreOptions::default() };
    let reporter = Arc::new(Reporter {
        key: key.clone(),
        genesis: GENESIS,
        endpoint: b"127.0.0.1:7".to_vec().try_into().unwrap(),
        draining: false,
        drain_file: dir.path().join("draining"),
        store: Arc::new(Volumes::from(Store::open(dir.path(), options).unwrap())),
        transport: Arc::new(network.transport(signing::node_id(&key))),
        clock,
        metrics: Metrics::new(&mut Default::default()),
        interval: Duration::from_millis(20),
        last_sent_at: AtomicU64::new(0),
    });
    // The third is not there at all.
    let tasks: Vec<_> =
        (1..=3).map(|number| tokio::spawn(reporter.clone().report_to(addr(number)))).collect();
    let start = Instant::now();
    while validators.iter().any(|validator| validator.count() < 3) {
        assert!(start.elapsed() < Duration::from_secs(20), "a validator hears nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tasks.iter().for_each(|task| task.abort());
    for validator in &validators {
        let heard = validator.heard.lock().unwrap();
        assert!(heard.iter().all(|heartbeat| heartbeat.verify(&GENESIS)));
        assert!(heard.windows(2).all(|pair| pair[0].heartbeat.sent_at < pair[1].heartbeat.sent_at));
        let first = &heard[0].heartbeat;
        assert_eq!(first.node_id, signing::node_id(&key));
        assert_eq!(first.capacity_bytes, StoreOptions::default().capacity_bytes);
        assert_eq!(&first.endpoint[..], b"127.0.0.1:7");
    }
}
