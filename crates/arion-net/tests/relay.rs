//! Nodes behind a relay, on real sockets of 127.0.0.1.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    collections::HashSet,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arion_net::{
    Admission, Attachment, AttachmentState, CallError, ClientOptions, DialError, PeerAddr, QuicServer,
    QuicTransport, RelayAddr, RelayError, RelayOptions, RelayServer, Service, Transport,
};
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{NodeId, ShardHash, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

const DEADLINE: Duration = Duration::from_secs(20);
const RELAY: u8 = 1;
const MINER: u8 = 2;
const CALLER: u8 = 3;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn node(seed: u8) -> NodeId {
    signing::node_id(&key(seed))
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Lets the nodes of two lists in.
struct Lists {
    attach: Mutex<HashSet<NodeId>>,
    reach: Mutex<HashSet<NodeId>>,
    known: AtomicBool,
}

impl Lists {
    fn new(attach: &[u8], reach: &[u8]) -> Arc<Self> {
        let set = |seeds: &[u8]| Mutex::new(seeds.iter().map(|seed| node(*seed)).collect());
        Arc::new(Self { attach: set(attach), reach: set(reach), known: AtomicBool::new(true) })
    }

    fn ask(&self, list: &Mutex<HashSet<NodeId>>, node: &NodeId) -> Result<(), ErrorCode> {
        match (self.known.load(Ordering::SeqCst), list.lock().unwrap().contains(node)) {
            (false, _) => Err(ErrorCode::Unavailable),
            (true, true) => Ok(()),
            (true, false) => Err(ErrorCode::NotRegistered),
        }
    }
}

impl Admission for Lists {
    fn may_attach(&self, node: &NodeId) -> Result<(), ErrorCode> {
        self.ask(&self.attach, node)
    }

    fn may_reach(&self, node: &NodeId) -> Result<(), ErrorCode> {
        self.ask(&self.reach, node)
    }
}

/// Keeps one body, and says over which address it was asked.
#[derive(Default)]
struct Shelf(Mutex<Bytes>);

#[async_trait]
impl Service for Shelf {
    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        match request {
            Request::Ping => (Response::Pong { now: u64::from(peer.0[0]) }, Bytes::new()),
            // Stands for a store: it takes a body.
            Request::Attest => {
                let size = body.len() as u64;
                *self.0.lock().unwrap() = body;
                (Response::Pong { now: size }, Bytes::new())
            }
            Request::Fetch { .. } => {
                let body = self.0.lock().unwrap().clone();
                (Response::Shard { size: body.len() as u32 }, body)
            }
            _ => (Response::error(ErrorCode::Unsupported, "a shelf"), Bytes::new()),
        }
    }
}

const FETCH: Request = Request::Fetch { shard: ShardHash([1; 32]) };

/// No direct path is looked for: what is relayed stays relayed.
fn never_direct() -> RelayOptions {
    RelayOptions { direct: false, ..RelayOptions::default() }
}

fn relay(options: RelayOptions) -> RelayServer {
    RelayServer::bind(loopback(), &key(RELAY), Lists::new(&[MINER], &[CALLER]), options).unwrap()
}

fn address(relay: SocketAddr) -> RelayAddr {
    RelayAddr::new(node(RELAY), &relay.to_string()).unwrap()
}

fn behind(relay: SocketAddr, seed: u8) -> PeerAddr {
    PeerAddr { node_id: node(seed), endpoint: address(relay).to_string() }
}

async fn attached(attachment: &mut Attachment) {
    tokio::time::timeout(DEADLINE, attachment.attached()).await.expect("attached in time");
}

async fn miner(relay: SocketAddr) -> QuicServer {
    let server = QuicServer::bind(loopback(), &key(MINER), Arc::new(Shelf::default())).unwrap();
    attached(&mut server.attach(address(relay)).unwrap()).await;
    server
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn call(
    client: &QuicTransport,
    peer: &PeerAddr,
    request: Request,
) -> Result<(Response, Bytes), CallError> {
    client.call(peer, request, Bytes::new(), DEADLINE).await
}

fn shard() -> Bytes {
    (0..1 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn a_shard_is_stored_and_fetched_through_a_relay() {
    let relay = relay(never_direct());
    let _miner = miner(relay.local_addr()).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    let peer = behind(relay.local_addr(), MINER);
    let (stored, _) = client.call(&peer, Request::Attest, shard(), DEADLINE).await.unwrap();
    assert_eq!(stored, Response::Pong { now: 1 << 20 });
    let (_, back) = call(&client, &peer, FETCH).await.unwrap();
    assert_eq!(back, shard());
    // The miner has seen the caller's key, not the relay's.
    let (pong, _) = call(&client, &peer, Request::Ping).await.unwrap();
    assert_eq!(pong, Response::Pong { now: u64::from(node(CALLER).0[0]) });
    let stats = relay.stats();
    assert!(stats.forwarded_bytes > 2 << 20, "{stats:?}");
    assert_eq!((stats.attached, stats.channels, stats.dropped_length), (1, 1, 0), "{stats:?}");
}

#[tokio::test]
async fn another_key_behind_the_relay_is_refused() {
    let lists = Lists::new(&[MINER], &[CALLER]);
    let relay = RelayServer::bind(loopback(), &key(RELAY), lists, never_direct()).unwrap();
    let _miner = miner(relay.local_addr()).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    // Not attached: the relay says so.
    let error = call(&client, &behind(relay.local_addr(), 9), Request::Ping).await.unwrap_err();
    let CallError::Unreachable { reason: DialError::Relay(RelayError::Refused(code)), .. } = error else {
        panic!("{error}")
    };
    assert_eq!(code, ErrorCode::NotFound);
    // A relay with another key than the endpoint says.
    let forged = PeerAddr {
        node_id: node(MINER),
        endpoint: RelayAddr::new(node(8), &relay.local_addr().to_string()).unwrap().to_string(),
    };
    let error = call(&client, &forged, Request::Ping).await.unwrap_err();
    let CallError::Unreachable { reason: DialError::Relay(RelayError::WrongIdentity), .. } = error else {
        panic!("{error}")
    };
    let malformed = PeerAddr { node_id: node(MINER), endpoint: "relay://nobody@nowhere".into() };
    let error = call(&client, &malformed, Request::Ping).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { reason: DialError::RelayAddr(_), .. }), "{error}");
}

#[tokio::test]
async fn only_admitted_nodes_get_in_and_those_struck_off_are_put_out() {
    let lists = Lists::new(&[MINER], &[CALLER]);
    let options = RelayOptions { recheck: Duration::from_millis(50), ..never_direct() };
    let relay = RelayServer::bind(loopback(), &key(RELAY), lists.clone(), options).unwrap();
    let server = QuicServer::bind(loopback(), &key(MINER), Arc::new(Shelf::default())).unwrap();
    let mut attachment = server.attach(address(relay.local_addr())).unwrap();
    attached(&mut attachment).await;
    let peer = behind(relay.local_addr(), MINER);
    let stranger = QuicTransport::new(&key(7)).unwrap();
    assert!(call(&stranger, &peer, Request::Ping).await.is_err());
    // No back-off: the miner is called again right after a call that failed.
    let options = ClientOptions { dial_backoff: Duration::ZERO, ..ClientOptions::default() };
    let client = QuicTransport::with_options(&key(CALLER), options).unwrap();
    call(&client, &peer, Request::Ping).await.unwrap();
    // While it is not known who may, what stands goes on.
    lists.known.store(false, Ordering::SeqCst);
    call(&client, &peer, Request::Ping).await.unwrap();
    lists.known.store(true, Ordering::SeqCst);
    lists.attach.lock().unwrap().clear();
    until("the miner is put out", || matches!(attachment.state(), AttachmentState::Detached { .. })).await;
    until("its place is free", || relay.stats().attached == 0).await;
    assert!(call(&client, &peer, Request::Ping).await.is_err());
    lists.attach.lock().unwrap().insert(node(MINER));
    attached(&mut attachment).await;
    call(&client, &peer, Request::Ping).await.unwrap();
}

/// What the miner does when its relay is restarted, and what callers see of it.
#[tokio::test]
async fn a_restarted_relay_is_found_again_by_both_sides() {
    let first = relay(never_direct());
    let addr = first.local_addr();
    let server = QuicServer::bind(loopback(), &key(MINER), Arc::new(Shelf::default())).unwrap();
    let mut attachment = server.attach(address(addr)).unwrap();
    attached(&mut attachment).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    let peer = behind(addr, MINER);
    call(&client, &peer, Request::Ping).await.unwrap();
    first.shutdown(DEADLINE).await;
    until("the miner notices", || matches!(attachment.state(), AttachmentState::Detached { .. })).await;
    let error = call(&client, &peer, Request::Ping).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    let lists = Lists::new(&[MINER], &[CALLER]);
    let _second = RelayServer::bind(addr, &key(RELAY), lists, never_direct()).unwrap();
    attached(&mut attachment).await;
    let start = Instant::now();
    while let Err(error) = call(&client, &peer, Request::Ping).await {
        assert!(start.elapsed() < DEADLINE, "{error}");
    }
}

#[tokio::test]
async fn a_restarted_miner_is_reached_again_at_once() {
    let relay = relay(never_direct());
    let first = miner(relay.local_addr()).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    let peer = behind(relay.local_addr(), MINER);
    call(&client, &peer, Request::Ping).await.unwrap();
    assert!(first.shutdown(DEADLINE).await);
    let _second = miner(relay.local_addr()).await;
    let start = Instant::now();
    call(&client, &peer, Request::Ping).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// The miner is gone without a word: the caller is told by the relay, not by a timeout.
#[tokio::test]
async fn a_channel_whose_end_is_gone_is_closed_at_the_callers_side() {
    let relay = relay(never_direct());
    let _first = miner(relay.local_addr()).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    let peer = behind(relay.local_addr(), MINER);
    call(&client, &peer, Request::Ping).await.unwrap();
    // The same node attaches anew elsewhere: its earlier connection, and the channel with it, is closed.
    let second = QuicServer::bind(loopback(), &key(MINER), Arc::new(Shelf::default())).unwrap();
    let mut attachment = second.attach(address(relay.local_addr())).unwrap();
    attached(&mut attachment).await;
    until("the channel is closed", || relay.stats().channels == 0).await;
    let start = Instant::now();
    while let Err(error) = call(&client, &peer, Request::Ping).await {
        assert!(start.elapsed() < DEADLINE, "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_direct_path_is_taken_when_there_is_one() {
    let relay = relay(RelayOptions::default());
    let _miner = miner(relay.local_addr()).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    let peer = behind(relay.local_addr(), MINER);
    call(&client, &peer, Request::Ping).await.unwrap();
    let start = Instant::now();
    loop {
        let before = relay.stats().forwarded_bytes;
        client.call(&peer, Request::Attest, shard(), DEADLINE).await.unwrap();
        if relay.stats().forwarded_bytes - before < 64 << 10 {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "calls go on through the relay");
    }
    // The relay is gone: the direct path does not need it.
    relay.shutdown(DEADLINE).await;
    let (_, back) = call(&client, &peer, FETCH).await.unwrap();
    assert_eq!(back, shard());
}

/// A path between two sockets that loses every nth packet in each direction once it is told to.
struct Lossy {
    addr: SocketAddr,
    every: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Lossy {
    fn before(target: SocketAddr) -> Self {
        let outside = Arc::new(UdpSocket::bind(loopback()).unwrap());
        let addr = outside.local_addr().unwrap();
        let (every, lost) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicU64::new(0)));
        let (inside, from) = (Arc::new(UdpSocket::bind(loopback()).unwrap()), Arc::new(Mutex::new(None)));
        let pump = |rx: Arc<UdpSocket>, tx: Arc<UdpSocket>, learn: bool| {
            let (every, lost, from) = (every.clone(), lost.clone(), from.clone());
            std::thread::spawn(move || {
                let mut packet = [0; 2_048];
                for count in 1.. {
                    let Ok((len, source)) = rx.recv_from(&mut packet) else { return };
                    if learn {
                        *from.lock().unwrap() = Some(source);
                    }
                    let to = if learn { Some(target) } else { *from.lock().unwrap() };
                    if u64::is_multiple_of(count, every.load(Ordering::SeqCst)) {
                        lost.fetch_add(1, Ordering::SeqCst);
                    } else if let Some(to) = to {
                        let _ = tx.send_to(&packet[..len], to);
                    }
                }
            });
        };
        pump(outside.clone(), inside.clone(), true);
        pump(inside, outside, false);
        Self { addr, every, lost }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_loses_packets_slows_a_shard_down_and_no_more() {
    let relay = relay(never_direct());
    let path = Lossy::before(relay.local_addr());
    // The miner reaches the relay over the bad path.
    let _miner = miner(path.addr).await;
    path.every.store(50, Ordering::SeqCst);
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    let peer = behind(relay.local_addr(), MINER);
    client.call(&peer, Request::Attest, shard(), DEADLINE).await.unwrap();
    let (_, back) = call(&client, &peer, FETCH).await.unwrap();
    assert_eq!(back, shard());
    assert!(path.lost.load(Ordering::SeqCst) > 10);
}

#[tokio::test]
async fn a_channel_keeps_to_its_rate_and_shards_arrive_all_the_same() {
    let rate = 1 << 20;
    let options = RelayOptions { channel_bytes_per_second: rate, ..never_direct() };
    let relay = relay(options);
    let _miner = miner(relay.local_addr()).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    let peer = behind(relay.local_addr(), MINER);
    let start = Instant::now();
    client.call(&peer, Request::Attest, shard(), DEADLINE).await.unwrap();
    call(&client, &peer, FETCH).await.unwrap();
    let stats = relay.stats();
    let elapsed = start.elapsed();
    // What has passed: the burst of a quarter second, then the rate.
    let allowed = rate / 4 + rate * (elapsed.as_millis() as u64 + 1) / 1_000;
    assert!(stats.forwarded_bytes <= allowed, "{} of {allowed} in {elapsed:?}", stats.forwarded_bytes);
    assert!(stats.dropped_rate > 0, "{stats:?}");
    assert!(elapsed >= Duration::from_millis(1_500), "{elapsed:?}");
}

#[tokio::test]
async fn bounds_on_connections_and_channels_hold() {
    let options =
        RelayOptions { connections_per_node_max: 1, channels_per_connection_max: 1, ..never_direct() };
    let lists = Lists::new(&[MINER, 4], &[CALLER, 5]);
    let relay = RelayServer::bind(loopback(), &key(RELAY), lists, options).unwrap();
    let addr = relay.local_addr();
    let _miner = miner(addr).await;
    let other = QuicServer::bind(loopback(), &key(4), Arc::new(Shelf::default())).unwrap();
    attached(&mut other.attach(address(addr)).unwrap()).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    call(&client, &behind(addr, MINER), Request::Ping).await.unwrap();
    // A second channel of one connection, and a second one to one attached node.
    let busy = |error: CallError| match error {
        CallError::Unreachable { reason: DialError::Relay(RelayError::Refused(ErrorCode::Busy)), .. } => {}
        error => panic!("{error}"),
    };
    busy(call(&client, &behind(addr, 4), Request::Ping).await.unwrap_err());
    let second = QuicTransport::new(&key(5)).unwrap();
    busy(call(&second, &behind(addr, MINER), Request::Ping).await.unwrap_err());
    // A second connection of one node.
    let twin = QuicTransport::new(&key(CALLER)).unwrap();
    assert!(call(&twin, &behind(addr, MINER), Request::Ping).await.is_err());
    // Channels are free again when their caller is gone.
    client.close().await;
    until("the channel is closed", || relay.stats().channels == 0).await;
    let start = Instant::now();
    while let Err(error) = call(&second, &behind(addr, MINER), Request::Ping).await {
        assert!(start.elapsed() < DEADLINE, "{error}");
    }
    assert!(relay.stats().refused >= 3);
}

#[tokio::test]
async fn no_relay_there_is_unreachable_and_a_stopping_miner_finishes_what_it_serves() {
    let silent = UdpSocket::bind(loopback()).unwrap();
    let options = ClientOptions { dial_timeout: Duration::from_millis(300), ..ClientOptions::default() };
    let client = QuicTransport::with_options(&key(CALLER), options).unwrap();
    let error = call(&client, &behind(silent.local_addr().unwrap(), MINER), Request::Ping).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { reason: DialError::Timeout(_), .. }), "{error}");

    let relay = relay(never_direct());
    let server = miner(relay.local_addr()).await;
    let client = QuicTransport::new(&key(CALLER)).unwrap();
    let peer = behind(relay.local_addr(), MINER);
    let sending = tokio::spawn({
        let (client, peer) = (client.clone(), peer.clone());
        async move { client.call(&peer, Request::Attest, shard(), DEADLINE).await }
    });
    until("the shard is on its way", || relay.stats().forwarded_bytes > 100_000).await;
    let stopped = server.shutdown(DEADLINE).await;
    // Either it had been accepted and was finished, or it was not taken any more and fails at once.
    let outcome = sending.await.unwrap();
    assert!(stopped);
    if let Err(error) = outcome {
        assert!(matches!(error, CallError::Unreachable { .. } | CallError::Refused { .. }), "{error}");
    }
}
