//! Real sockets on 127.0.0.1: identities, caps, bounds, restarts, shutdown.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arion_net::{
    BindError, CallError, ClientOptions, DialError, MemoryNetwork, PeerAddr, ProtocolError, QuicServer,
    QuicTransport, ServerOptions, Service, Transport,
};
use arion_protocol::{
    ErrorCode, Request, Response,
    limits::{BODY_BYTES_MAX, HEADER_BYTES_MAX},
};
use arion_types::{NodeId, ShardHash, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::sync::Semaphore;

const DEADLINE: Duration = Duration::from_secs(10);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn node(seed: u8) -> NodeId {
    signing::node_id(&key(seed))
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Echoes bodies; tells the caller's node id in place of a clock; waits at the gate for `List`.
struct Echo {
    gate: Semaphore,
    waiting: AtomicUsize,
}

impl Echo {
    fn new() -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(0), waiting: AtomicUsize::new(0) })
    }
}

fn head(node: &NodeId) -> u64 {
    u64::from_le_bytes(node.0[..8].try_into().unwrap())
}

#[async_trait]
impl Service for Echo {
    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        match request {
            Request::Ping => (Response::Pong { now: head(&peer) }, body),
            Request::Fetch { .. } => (Response::Shard { size: body.len() as u32 }, body),
            Request::FetchRange { .. } => {
                (Response::Shard { size: 0 }, Bytes::from(vec![0; BODY_BYTES_MAX as usize + 1]))
            }
            Request::List { .. } => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let passed = self.gate.acquire().await;
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                drop(passed);
                (Response::Listing(vec![]), body)
            }
            _ => (Response::error(ErrorCode::Unsupported, "echo only"), Bytes::new()),
        }
    }
}

fn peer(server: &QuicServer, seed: u8) -> PeerAddr {
    PeerAddr { node_id: node(seed), endpoint: server.local_addr().to_string() }
}

const LIST: Request = Request::List { after: None, limit: 1 };

fn fetch() -> Request {
    Request::Fetch { shard: ShardHash([1; 32]) }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn both_ends_prove_their_keys() {
    let server = QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let (response, body) =
        client.call(&peer(&server, 1), Request::Ping, Bytes::from_static(b"body"), DEADLINE).await.unwrap();
    assert_eq!(response, Response::Pong { now: head(&node(2)) });
    assert_eq!(body, &b"body"[..]);
    assert!(server.shutdown(DEADLINE).await);
}

#[tokio::test]
async fn a_server_with_another_key_is_refused() {
    let server = QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let error = client.call(&peer(&server, 3), Request::Ping, Bytes::new(), DEADLINE).await.unwrap_err();
    let CallError::WrongIdentity { expected, presented } = error else { panic!("{error}") };
    assert_eq!((expected, presented), (node(3), node(1)));
    client.call(&peer(&server, 1), Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
}

#[tokio::test]
async fn the_largest_body_passes_and_one_more_byte_is_refused_on_either_side() {
    let server = QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let peer = peer(&server, 1);
    let largest = Bytes::from(vec![7; BODY_BYTES_MAX as usize]);
    let (_, body) = client.call(&peer, fetch(), largest.clone(), DEADLINE).await.unwrap();
    assert_eq!(body, largest);

    let larger = Bytes::from(vec![7; BODY_BYTES_MAX as usize + 1]);
    let error = client.call(&peer, fetch(), larger, DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::Protocol(ProtocolError::Frame(_))), "{error}");

    let range = Request::FetchRange { shard: ShardHash([1; 32]), offset: 0, length: 1 };
    let error = client.call(&peer, range, Bytes::new(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { code: ErrorCode::Unavailable, .. }), "{error}");

    let shards = vec![ShardHash([1; 32]); HEADER_BYTES_MAX as usize / 32];
    let error = client.call(&peer, Request::Stat { shards }, Bytes::new(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::Protocol(ProtocolError::Frame(_))), "{error}");
}

#[tokio::test]
async fn a_refusal_is_an_error_with_its_code() {
    let server = QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let error = client.call(&peer(&server, 1), Request::Attest, Bytes::new(), DEADLINE).await.unwrap_err();
    let CallError::Refused { code, detail } = error else { panic!("{error}") };
    assert_eq!((code, detail.as_str()), (ErrorCode::Unsupported, "echo only"));
}

#[tokio::test]
async fn many_calls_at_once_share_one_connection_and_get_their_own_answers() {
    let server = QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let peer = peer(&server, 1);
    let calls = (0..200u32).map(|number| {
        let (client, peer) = (client.clone(), peer.clone());
        tokio::spawn(async move {
            let body = Bytes::from(number.to_le_bytes().repeat(1 + number as usize * 20));
            let (_, back) = client.call(&peer, fetch(), body.clone(), DEADLINE).await.unwrap();
            assert_eq!(back, body);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn requests_beyond_the_bound_are_told_busy() {
    let echo = Echo::new();
    let options = ServerOptions { requests_max: 4, ..ServerOptions::default() };
    let server = QuicServer::bind_with(loopback(), &key(1), echo.clone(), options).unwrap();
    let [client, second, third] = [2, 3, 4].map(|seed| QuicTransport::new(&key(seed)).unwrap());
    let peer = peer(&server, 1);
    let hold = |client: &QuicTransport| {
        let (client, peer) = (client.clone(), peer.clone());
        tokio::spawn(async move { client.call(&peer, LIST, Bytes::new(), DEADLINE).await })
    };
    let mut held = vec![hold(&client), hold(&client)];
    until("half of the slots taken", || echo.waiting.load(Ordering::SeqCst) == 2).await;
    // More than half is for nobody; another peer finds the rest.
    let error = client.call(&peer, fetch(), Bytes::new(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::Refused { code: ErrorCode::Busy, .. }), "{error}");
    held.extend([hold(&second), hold(&second)]);
    until("all slots taken", || echo.waiting.load(Ordering::SeqCst) == 4).await;
    for body in [Bytes::new(), Bytes::from(vec![0; BODY_BYTES_MAX as usize])] {
        let error = third.call(&peer, fetch(), body, DEADLINE).await.unwrap_err();
        assert!(matches!(error, CallError::Refused { code: ErrorCode::Busy, .. }), "{error}");
    }
    echo.gate.add_permits(4);
    for call in held {
        call.await.unwrap().unwrap();
    }
    // A slot is free again when its answer has been acknowledged, a moment after it was read.
    let start = Instant::now();
    while let Err(error) = client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await {
        assert!(matches!(error, CallError::Refused { code: ErrorCode::Busy, .. }), "{error}");
        assert!(start.elapsed() < DEADLINE, "slots stay taken");
    }
}

#[tokio::test]
async fn an_abandoned_call_frees_its_slot() {
    let echo = Echo::new();
    let server = QuicServer::bind(loopback(), &key(1), echo.clone()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let peer = peer(&server, 1);
    let held = tokio::spawn({
        let (client, peer) = (client.clone(), peer.clone());
        async move { client.call(&peer, LIST, Bytes::new(), DEADLINE).await }
    });
    until("request waits", || echo.waiting.load(Ordering::SeqCst) == 1).await;
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    assert!(server.shutdown(Duration::from_secs(2)).await, "the abandoned request still runs");
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let server = QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let start = Instant::now();
    let deadline = Duration::from_millis(300);
    let error = client.call(&peer(&server, 1), LIST, Bytes::new(), deadline).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout(_)), "{error}");
    assert!(start.elapsed() >= deadline && start.elapsed() < DEADLINE);
}

#[tokio::test]
async fn nobody_there_and_bad_endpoints_are_unreachable() {
    let options = ClientOptions { dial_timeout: Duration::from_millis(300), ..ClientOptions::default() };
    let client = QuicTransport::with_options(&key(2), options).unwrap();
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let there = PeerAddr { node_id: node(1), endpoint: silent.local_addr().unwrap().to_string() };
    let error = client.call(&there, Request::Ping, Bytes::new(), DEADLINE).await.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable { reason: DialError::Timeout(_), .. }), "{error}");
    let nowhere = PeerAddr { node_id: node(1), endpoint: "no port".into() };
    let error = client.call(&nowhere, Request::Ping, Bytes::new(), DEADLINE).await.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable { reason: DialError::Lookup(_), .. }), "{error}");
}

#[tokio::test]
async fn a_restarted_server_is_reached_again_by_the_same_client() {
    let mut server = QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap();
    let addr = server.local_addr();
    let client = QuicTransport::new(&key(2)).unwrap();
    let peer = peer(&server, 1);
    client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    assert!(server.shutdown(DEADLINE).await);
    let start = Instant::now();
    server = loop {
        match QuicServer::bind(addr, &key(1), Echo::new()) {
            Ok(server) => break server,
            Err(error) => assert!(start.elapsed() < DEADLINE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    drop(server);
}

/// A killed server says no goodbye; its successor tells old peers so when they next speak.
#[tokio::test]
async fn a_server_restarted_after_a_crash_is_reached_again_without_waiting_for_a_timeout() {
    let crashing =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = crashing.spawn(async { QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap() });
    let first = first.await.unwrap();
    let (addr, peer) = (first.local_addr(), peer(&first, 1));
    let client = QuicTransport::new(&key(2)).unwrap();
    client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    crashing.shutdown_background();
    drop(first);
    let mut second = None;
    until("port free", || {
        second = QuicServer::bind(addr, &key(1), Echo::new()).ok();
        second.is_some()
    })
    .await;
    let start = Instant::now();
    client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let server = QuicServer::bind(loopback(), &key(1), Echo::new()).unwrap();
    let error = QuicServer::bind(server.local_addr(), &key(3), Echo::new()).map(|_| ()).unwrap_err();
    assert!(matches!(error, BindError::InUse(addr) if addr == server.local_addr()), "{error}");
}

#[tokio::test]
async fn shutdown_lets_running_requests_finish_and_takes_no_more() {
    let echo = Echo::new();
    let server = QuicServer::bind(loopback(), &key(1), echo.clone()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let peer = peer(&server, 1);
    let held = tokio::spawn({
        let (client, peer) = (client.clone(), peer.clone());
        async move { client.call(&peer, LIST, Bytes::from(vec![1; 1 << 20]), DEADLINE).await }
    });
    until("request waits", || echo.waiting.load(Ordering::SeqCst) == 1).await;
    let stopping = tokio::spawn(server.shutdown(DEADLINE));
    echo.gate.add_permits(1);
    let (_, body) = held.await.unwrap().unwrap();
    assert_eq!(body.len(), 1 << 20);
    assert!(stopping.await.unwrap());
    let short = Duration::from_millis(200);
    assert!(client.call(&peer, Request::Ping, Bytes::new(), short).await.is_err());
}

#[tokio::test]
async fn shutdown_does_not_wait_beyond_its_deadline() {
    let echo = Echo::new();
    let server = QuicServer::bind(loopback(), &key(1), echo.clone()).unwrap();
    let client = QuicTransport::new(&key(2)).unwrap();
    let peer = peer(&server, 1);
    let held = tokio::spawn(async move { client.call(&peer, LIST, Bytes::new(), DEADLINE).await });
    until("request waits", || echo.waiting.load(Ordering::SeqCst) == 1).await;
    let start = Instant::now();
    assert!(!server.shutdown(Duration::from_millis(200)).await);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(matches!(held.await.unwrap(), Err(CallError::Unreachable { .. })));
}

#[tokio::test]
async fn one_peer_cannot_take_all_connections() {
    let options = ServerOptions { connections_per_peer_max: 1, ..ServerOptions::default() };
    let server = QuicServer::bind_with(loopback(), &key(1), Echo::new(), options).unwrap();
    let peer = peer(&server, 1);
    let first = QuicTransport::new(&key(2)).unwrap();
    first.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    let second = QuicTransport::new(&key(2)).unwrap();
    assert!(second.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.is_err());
    let other = QuicTransport::new(&key(3)).unwrap();
    other.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
}

#[tokio::test]
async fn the_in_memory_network_behaves_alike() {
    let network = MemoryNetwork::new();
    network.listen("a", node(1), Echo::new());
    let client = network.transport(node(2));
    let at = |seed, endpoint: &str| PeerAddr { node_id: node(seed), endpoint: endpoint.into() };
    let (response, _) = client.call(&at(1, "a"), Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    assert_eq!(response, Response::Pong { now: head(&node(2)) });
    let error = client.call(&at(3, "a"), Request::Ping, Bytes::new(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::WrongIdentity { .. }), "{error}");
    let error = client.call(&at(1, "b"), Request::Ping, Bytes::new(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    let larger = Bytes::from(vec![0; BODY_BYTES_MAX as usize + 1]);
    let error = client.call(&at(1, "a"), fetch(), larger, DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::Protocol(ProtocolError::Frame(_))), "{error}");
    network.disconnect("a");
    assert!(client.call(&at(1, "a"), Request::Ping, Bytes::new(), DEADLINE).await.is_err());
}
