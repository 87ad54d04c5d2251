//! Two services, their miners and a chain in one process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{BlockRef, ChainView, Child, EpochMap, Registry, Snapshot, ViewSource};
use arion_daemon::{Health, now_ms};
use arion_net::{CallError, MemoryNetwork, PeerAddr, Transport};
use arion_protocol::{ErrorCode, Heartbeat, Request, Response};
use arion_types::{CrushParams, Epoch, NodeId, signing::node_id};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use crate::{
    announcement::Announcements,
    holdings::Holdings,
    liveness::Liveness,
    metrics::Metrics,
    publisher::{Publisher, TICK, VoteChain, publish},
    repair::custody::Custody,
    service::ValidatorService,
    standing::{Patience, Standings},
    unnamed::Ledgers,
    weight::Merits,
};

const GENESIS: [u8; 32] = [7; 32];
const DEADLINE: Duration = Duration::from_secs(20);

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n + 1; 32])
}

/// Takes votes; the first attempts fail.
#[derive(Default)]
struct FakeChain {
    failures: Mutex<u32>,
    votes: Mutex<Vec<EpochMap>>,
}

#[async_trait]
impl VoteChain for FakeChain {
    async fn vote(&self) -> anyhow::Result<Option<(Epoch, [u8; 32])>> {
        Ok(self.votes.lock().unwrap().last().map(|map| (map.epoch, map.root)))
    }

    async fn merits(&self, _: &BlockRef) -> anyhow::Result<Merits> {
        Ok(Merits::default())
    }

    async fn submit(&self, map: &EpochMap) -> anyhow::Result<()> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            anyhow::bail!("node restarts");
        }
        self.votes.lock().unwrap().push(map.clone());
        Ok(())
    }
}

struct Running {
    endpoint: &'static str,
    source: ViewSource,
    chain: Arc<FakeChain>,
    task: tokio::task::JoinHandle<()>,
}

fn registry(miners: u8) -> Arc<Registry> {
    let mut registry = Registry::default();
    for n in 0..miners {
        registry.miners.insert(node_id(&key(n)), Child { child: [n; 32], family: [n / 2 + 100; 32] });
    }
    Arc::new(registry)
}

fn start(network: &MemoryNetwork, endpoint: &'static str, failures: u32) -> Running {
    let first = Snapshot { registry: registry(32), ..Snapshot::default() };
    let (view, source) = ChainView::manual(GENESIS, first);
    let liveness = Arc::new(Mutex::new(Liveness::new(GENESIS, Duration::from_secs(30))));
    let metrics = Metrics::default();
    let patience = Patience { out_after: Duration::from_secs(600), in_after: Duration::ZERO };
    let standings = Arc::new(Mutex::new(Standings::new(patience)));
    let directory = tempfile::tempdir().unwrap();
    let holdings = Arc::new(Holdings::open(directory.path()).unwrap());
    let service = ValidatorService {
        view: view.clone(),
        liveness: liveness.clone(),
        standings: standings.clone(),
        custody: Custody::new(view.clone(), holdings.clone(), Vec::new(), standings.clone(), metrics.clone()),
        ledgers: Arc::new(Ledgers { key: key(250), view: view.clone(), holdings, followers: Vec::new() }),
        last_census: Default::default(),
        metrics: metrics.clone(),
    };
    network.listen(endpoint, NodeId([250; 32]), Arc::new(service));
    let chain = Arc::new(FakeChain { failures: Mutex::new(failures), ..FakeChain::default() });
    let task = tokio::spawn(publish(Publisher {
        view,
        chain: chain.clone(),
        liveness,
        standings,
        params: CrushParams::STANDARD,
        min_miners: 32,
        tick: TICK,
        settle: Duration::ZERO,
        announcements: Arc::new(Announcements::new(0)),
        health: Health::new("test", "0"),
        metrics,
    }));
    Running { endpoint, source, chain, task }
}

impl Running {
    async fn hear(&self, network: &MemoryNetwork, n: u8, capacity: u64) -> Result<Response, CallError> {
        let report = Heartbeat {
            node_id: node_id(&key(n)),
            endpoint: format!("127.0.0.1:{}", 4_000 + u16::from(n)).into_bytes().try_into().unwrap(),
            capacity_bytes: capacity,
            used_bytes: 0,
            shard_count: 0,
            draining: false,
            version: (0, 1, 0),
            sent_at: now_ms(),
        };
        self.ask(network, n, Request::Heartbeat(report.sign(&GENESIS, &key(n)))).await
    }

    async fn ask(&self, network: &MemoryNetwork, n: u8, request: Request) -> Result<Response, CallError> {
        let peer = PeerAddr { node_id: NodeId([250; 32]), endpoint: self.endpoint.into() };
        let transport = network.transport(node_id(&key(n)));
        transport.call(&peer, request, Bytes::new(), DEADLINE).await.map(|(response, _)| response)
    }

    async fn votes(&self, count: usize) -> Vec<EpochMap> {
        let wait = async {
            loop {
                let votes = self.chain.votes.lock().unwrap().clone();
                if votes.len() >= count {
                    return votes;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("no vote in time")
    }
}

#[tokio::test]
async fn services_that_hear_the_same_miners_vote_for_the_same_maps() {
    let network = MemoryNetwork::new();
    let services = [start(&network, "one:1", 0), start(&network, "two:1", 1)];
    for n in 0..32 {
        let answer = services[0].hear(&network, n, 1 << 40).await.unwrap();
        assert_eq!(answer, Response::HeartbeatAccepted { epoch: 0 });
        services[1].hear(&network, 31 - n, 1 << 40).await.unwrap();
    }
    let stranger = services[0].hear(&network, 40, 1 << 40).await;
    assert!(matches!(stranger, Err(CallError::Refused { code: ErrorCode::NotRegistered, .. })));
    let Ok(Response::Miners(known)) =
        services[0].ask(&network, 40, Request::Miners { after: None, limit: 512 }).await
    else {
        panic!("what is known of miners is public")
    };
    assert!(known.len() == 32 && known.iter().all(|miner| miner.used_bytes == 0));
    for (request, expected) in [
        (Request::Custody { after: None, limit: 0 }, ErrorCode::Malformed),
        (Request::Custody { after: None, limit: 512 }, ErrorCode::Unavailable),
        (Request::Durability, ErrorCode::Unavailable),
        (Request::Transitions { after: None, limit: 3, newest: 4 }, ErrorCode::Malformed),
        (Request::Transitions { after: None, limit: 3, newest: 0 }, ErrorCode::Malformed),
    ] {
        match services[0].ask(&network, 40, request).await {
            Err(CallError::Refused { code, .. }) => assert_eq!(code, expected),
            other => panic!("{other:?}"),
        }
    }

    let first = services[0].votes(1).await.remove(0);
    assert_eq!((first.epoch, first.miners.len()), (1, 32));
    // The second one's first attempt failed; it tries again by itself.
    assert_eq!(services[1].votes(1).await.remove(0), first);

    // The map takes effect, then one miner leaves and one grows.
    for service in &services {
        service.source.set(Snapshot {
            current: Some(Arc::new(first.clone())),
            registry: registry(31),
            ..Snapshot::default()
        });
        service.hear(&network, 3, 1 << 41).await.unwrap();
    }
    let last = |votes: Vec<EpochMap>| votes.into_iter().next_back().unwrap();
    let settled = async {
        loop {
            let (one, two) = (last(services[0].votes(2).await), last(services[1].votes(2).await));
            if one == two {
                return one;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let second = tokio::time::timeout(DEADLINE, settled).await.expect("the services disagree");
    // Without the one that is left of the family: its places would be empty half of the time.
    assert_eq!((second.epoch, second.miners.len()), (2, 30));
    assert_eq!(second.miner_by_node(&node_id(&key(3))).unwrap().weight, 2 << 16);
    for service in services {
        service.task.abort();
    }
}
