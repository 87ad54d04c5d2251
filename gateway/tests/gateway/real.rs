//! Thirty real miners - real stores on disk, real QUIC on loopback - in this process, with everything that passes between
//! them and a gateway written down twice: as datagrams on the wire, and as the messages inside them.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{ChainView, Child, EpochMap, Registry, Snapshot, ViewSource};
use arion_gateway::{
    grid::{Grid, GridOptions},
    meta::Meta,
    metrics::Metrics,
    placement::{Maps, Placement},
};
use arion_miner::{
    chain_facts::LiveChain,
    replay::ReplayGuard,
    service::{Budgets, MinerService, Parts},
    store::{Store, StoreOptions, Volumes, system_clock},
};
use arion_net::{CallError, PeerAddr, QuicServer, QuicTransport, Transport};
use arion_protocol::{Request, Response};
use arion_types::{CrushParams, MinerRecord, NodeId, map::WEIGHT_ONE, signing};
use bytes::Bytes;
use codec::Encode;
use ed25519_dalek::SigningKey;
use tokio::{net::UdpSocket, task::JoinHandle};

pub const GENESIS: [u8; 32] = [7; 32];
pub const MINERS: u8 = 30;

/// Bytes that were seen, one observation behind the other.
pub type Seen = Arc<Mutex<Vec<u8>>>;

struct Miner {
    server: QuicServer,
    store: Arc<Volumes>,
}

pub struct RealNetwork {
    pub directory: tempfile::TempDir,
    pub gateway: SigningKey,
    /// Datagrams between the gateway and the miners, both ways.
    pub wire: Seen,
    /// Requests, answers and their bodies, as they are before QUIC encrypts them.
    pub messages: Seen,
    /// Where the first miner's datagrams go through.
    pub first_tap: SocketAddr,
    /// What the chain says.
    pub snapshot: Snapshot,
    map: EpochMap,
    miners: Vec<Miner>,
    taps: Vec<JoinHandle<()>>,
    _chains: Vec<ViewSource>,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Passes datagrams on between whoever sends to the returned address and `to`; writes all of them down.
async fn tap(to: SocketAddr, wire: Option<Seen>) -> (SocketAddr, JoinHandle<()>) {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = front.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut buffer = vec![0; 1 << 16];
        while let Ok((length, from)) = front.recv_from(&mut buffer).await {
            if let Some(wire) = &wire {
                wire.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
            let back = match backs.get(&from) {
                Some(back) => back.clone(),
                None => {
                    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    back.connect(to).await.unwrap();
                    tokio::spawn(answers(front.clone(), back.clone(), from, wire.clone()));
                    backs.insert(from, back.clone());
                    back
                }
            };
            let _ = back.send(&buffer[..length]).await;
        }
    });
    (address, task)
}

async fn answers(front: Arc<UdpSocket>, back: Arc<UdpSocket>, to: SocketAddr, wire: Option<Seen>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length) = back.recv(&mut buffer).await {
        if let Some(wire) = &wire {
            wire.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
        let _ = front.send_to(&buffer[..length], to).await;
    }
}

/// Writes down what is said before it is encrypted for the wire.
struct Listening {
    inner: QuicTransport,
    messages: Seen,
}

#[async_trait::async_trait]
impl Transport for Listening {
    async fn call(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response, Bytes), CallError> {
        let said = request.encode();
        let answered = self.inner.call(peer, request, body.clone(), deadline).await;
        let mut messages = self.messages.lock().unwrap();
        messages.extend_from_slice(&said);
        messages.extend_from_slice(&body);
        if let Ok((response, body)) = &answered {
            messages.extend_from_slice(&response.encode());
            messages.extend_from_slice(body);
        }
        answered
    }
}

impl RealNetwork {
    /// Starts the miners; with `tapped`, everything goes through taps.
    pub async fn start(tapped: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let gateway = key(200);
        let (wire, messages) = (Seen::default(), Seen::default());
        let mut chains = Vec::new();
        let (mut miners, mut taps, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..MINERS {
            let root = directory.path().join(format!("miner-{number:02}"));
            let clock = system_clock();
            let options = StoreOptions { clock: clock.clone(), ..StoreOptions::default() };
            let store = Arc::new(Volumes::from(Store::open(&root, options).unwrap()));
            let chain = Arc::new(LiveChain::default());
            let service = MinerService::new(Parts {
                key: key(number + 1),
                store: store.clone(),
                chain: chain.clone(),
                replays: ReplayGuard::open(&root.join("nonces"), clock()).unwrap(),
                clock,
                budgets: Budgets { transfers_max: 64, audits_max: 2 },
                metrics: arion_miner::metrics::Metrics::new(&mut Default::default()),
            });
            let server =
                QuicServer::bind(([127, 0, 0, 1], 0).into(), &key(number + 1), Arc::new(service)).unwrap();
            let endpoint = match tapped {
                true => {
                    let (address, task) = tap(server.local_addr(), Some(wire.clone())).await;
                    taps.push(task);
                    address
                }
                false => server.local_addr(),
            };
            endpoints.push(endpoint);
            chains.push(chain);
            miners.push(Miner { server, store });
        }
        let records = endpoints.iter().zip(0u8..).map(|(endpoint, number)| MinerRecord {
            uid: u32::from(number),
            node_id: signing::node_id(&key(number + 1)).0,
            family: [number / 2; 32],
            weight: WEIGHT_ONE,
            endpoint: endpoint.to_string().into_bytes().try_into().unwrap(),
        });
        let map = EpochMap::new(1, CrushParams::STANDARD, records.collect());
        let children = (0..MINERS).map(|number| {
            (signing::node_id(&key(number + 1)), Child { child: [number; 32], family: [number / 2; 32] })
        });
        let registry = Registry {
            miners: children.collect(),
            gateways: [signing::node_id(&gateway)].into(),
            ..Registry::default()
        };
        let snapshot = Snapshot {
            current: Some(Arc::new(map.clone())),
            registry: Arc::new(registry),
            ..Snapshot::default()
        };
        let mut sources = Vec::new();
        for chain in &chains {
            let (view, source) = ChainView::manual(GENESIS, snapshot.clone());
            chain.set(view);
            sources.push(source);
        }
        let first_tap = endpoints[0];
        Self { directory, gateway, wire, messages, first_tap, snapshot, map, miners, taps, _chains: sources }
    }

    /// A gateway's way to the miners, its metadata in `directory`.
    pub fn grid(&self, directory: &Path, options: GridOptions) -> Arc<Grid> {
        let maps = Maps::default();
        maps.set_current(self.placement());
        self.grid_by(maps, directory, options)
    }

    /// The same with these maps.
    pub fn grid_by(&self, maps: Maps, directory: &Path, options: GridOptions) -> Arc<Grid> {
        let inner = QuicTransport::new(&self.gateway).unwrap();
        let transport: Arc<dyn Transport> = match self.taps.is_empty() {
            true => Arc::new(inner),
            false => Arc::new(Listening { inner, messages: self.messages.clone() }),
        };
        let meta = Meta::open(&directory.join("meta.redb")).unwrap();
        let (key, metrics) = (self.gateway.clone(), Metrics::default());
        Arc::new(Grid::new(key, GENESIS, transport, maps, meta, options, metrics))
    }

    /// Node id and endpoint of a miner.
    pub fn peer(&self, number: u8) -> PeerAddr {
        let record = &self.map.miners[usize::from(number)];
        let endpoint = String::from_utf8(record.endpoint.to_vec()).unwrap();
        PeerAddr { node_id: NodeId(record.node_id), endpoint }
    }

    pub fn placement(&self) -> Placement {
        Placement::new(1, &self.map.params, self.map.miners.clone()).unwrap()
    }

    /// Stops the miners, their stores closed; what they hold stays in `directory`.
    pub async fn stop(&mut self) {
        for Miner { server, store } in self.miners.drain(..) {
            server.shutdown(Duration::from_secs(5)).await;
            store.close().await;
        }
        self.taps.drain(..).for_each(|tap| tap.abort());
    }
}
