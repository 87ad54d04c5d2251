//! Connections that last: servers that leave, keys that change, addresses that change, peers that want too much.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arion_net::{
    CallError, ClientOptions, Congestion, PeerAddr, QuicServer, QuicTransport, ServerOptions, Service,
    Transport,
};
use arion_protocol::{
    Action, Command, ErrorCode, Request, Response, ShardPlacement, SignedCommand, limits::BODY_BYTES_MAX,
};
use arion_types::{NodeId, Receipt, ShardHash, SignedReceipt, StripeId, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::{net::UdpSocket, sync::Semaphore};

const DEADLINE: Duration = Duration::from_secs(20);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn node(seed: u8) -> NodeId {
    signing::node_id(&key(seed))
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn peer(addr: SocketAddr, seed: u8) -> PeerAddr {
    PeerAddr { node_id: node(seed), endpoint: addr.to_string() }
}

fn head(node: &NodeId) -> u64 {
    u64::from_le_bytes(node.0[..8].try_into().unwrap())
}

/// Remembers how often each command was carried out; tells who calls; holds `List` at its gate.
struct Desk {
    carried_out: Mutex<HashMap<[u8; 16], usize>>,
    gate: Semaphore,
    waiting: AtomicUsize,
    waiting_most: AtomicUsize,
}

impl Desk {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            carried_out: Mutex::default(),
            gate: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            waiting_most: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Service for Desk {
    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        match request {
            Request::Ping => (Response::Pong { now: head(&peer) }, body),
            Request::Store(command) => {
                *self.carried_out.lock().unwrap().entry(command.command.nonce).or_default() += 1;
                (Response::Stored(receipt()), Bytes::new())
            }
            Request::List { .. } => {
                let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
                self.waiting_most.fetch_max(waiting, Ordering::SeqCst);
                let passed = self.gate.acquire().await;
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                drop(passed);
                (Response::Listing(vec![]), body)
            }
            _ => (Response::error(ErrorCode::Unsupported, "not at this desk"), Bytes::new()),
        }
    }
}

fn receipt() -> SignedReceipt {
    let receipt = Receipt {
        shard: ShardHash([1; 32]),
        size: 1,
        stripe: StripeId([2; 32]),
        pg: 1,
        index: 1,
        epoch: 1,
        node_id: node(1),
        stored_at: 1,
    };
    SignedReceipt { receipt, signature: [4; 64] }
}

fn store(nonce: [u8; 16]) -> Request {
    let placement = ShardPlacement { stripe: StripeId([2; 32]), pg: 1, index: 1, epoch: 1, size: 1 };
    let action = Action::Store(placement);
    let command = Command { action, shard: ShardHash([1; 32]), target: node(1), nonce, expires_at: 6 };
    Request::Store(SignedCommand { command, signer: node(2), signature: [4; 64] })
}

const LIST: Request = Request::List { after: None, limit: 1 };

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn hold(
    client: &QuicTransport,
    peer: &PeerAddr,
    body: Bytes,
) -> tokio::task::JoinHandle<Result<(Response, Bytes), CallError>> {
    let (client, peer) = (client.clone(), peer.clone());
    tokio::spawn(async move { client.call(&peer, LIST, body, DEADLINE).await })
}

/// The calls of this test may be made only once, so that the client may not simply try again.
#[tokio::test]
async fn a_server_that_leaves_hands_over_to_its_successor_without_a_failed_call() {
    let desk = Desk::new();
    let first = QuicServer::bind(loopback(), &key(1), desk.clone()).unwrap();
    let addr = first.local_addr();
    let options = ClientOptions { successor_wait: DEADLINE, ..ClientOptions::default() };
    let client = QuicTransport::with_options(&key(2), options).unwrap();
    let (done, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let workers = (0..8u8).map(|worker| {
        let (client, done, enough) = (client.clone(), done.clone(), enough.clone());
        tokio::spawn(async move {
            for round in 0u64.. {
                if enough.load(Ordering::SeqCst) {
                    break;
                }
                let mut nonce = [worker; 16];
                nonce[..8].copy_from_slice(&round.to_le_bytes());
                let body = Bytes::from(vec![7; 10_000]);
                client.call(&peer(addr, 1), store(nonce), body, DEADLINE).await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    until("calls are made", || done.load(Ordering::SeqCst) > 100).await;
    assert!(first.shutdown(DEADLINE).await);
    let before = done.load(Ordering::SeqCst);
    let mut second = None;
    until("the port is free", || {
        second = QuicServer::bind(addr, &key(1), desk.clone()).ok();
        second.is_some()
    })
    .await;
    until("calls go on", || done.load(Ordering::SeqCst) > before + 100).await;
    enough.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let carried_out = desk.carried_out.lock().unwrap();
    assert_eq!(carried_out.len(), done.load(Ordering::SeqCst));
    assert!(carried_out.values().all(|times| *times == 1), "a command was carried out twice");
}

/// A server that leaves says so before anybody asks.
#[tokio::test]
async fn requests_under_way_finish_while_new_ones_wait_for_the_successor() {
    let desk = Desk::new();
    let server = QuicServer::bind(loopback(), &key(1), desk.clone()).unwrap();
    let addr = server.local_addr();
    let options = ClientOptions { successor_wait: Duration::from_millis(100), ..ClientOptions::default() };
    let client = QuicTransport::with_options(&key(2), options).unwrap();
    let held = hold(&client, &peer(addr, 1), Bytes::from(vec![1; 1 << 20]));
    until("request waits", || desk.waiting.load(Ordering::SeqCst) == 1).await;
    let stopping = tokio::spawn(server.shutdown(DEADLINE));
    let start = Instant::now();
    // Refused at once or after the wait for a successor, and never served.
    while client.call(&peer(addr, 1), Request::Ping, Bytes::new(), DEADLINE).await.is_ok() {
        assert!(start.elapsed() < DEADLINE, "the server goes on to serve");
    }
    // Said, not found out by waiting for an answer.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(!held.is_finished());
    desk.gate.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().1.len(), 1 << 20);
    assert!(stopping.await.unwrap());
}

/// A read may go out before the handshake is done; it does not wait any longer than the handshake.
#[tokio::test]
async fn a_read_to_a_dead_server_ends_with_the_dial() {
    let server = QuicServer::bind(loopback(), &key(1), Desk::new()).unwrap();
    let addr = server.local_addr();
    let dial_timeout = Duration::from_millis(300);
    let options = ClientOptions { successor_wait: Duration::ZERO, dial_timeout, ..ClientOptions::default() };
    let client = QuicTransport::with_options(&key(2), options).unwrap();
    client.call(&peer(addr, 1), Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    assert!(server.shutdown(DEADLINE).await);
    let mut silent = None;
    until("the port is free", || {
        silent = std::net::UdpSocket::bind(addr).ok();
        silent.is_some()
    })
    .await;
    let start = Instant::now();
    let error = client.call(&peer(addr, 1), Request::Ping, Bytes::new(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_server_changes_its_key_and_requests_under_way_finish() {
    let desk = Desk::new();
    let mut server = QuicServer::bind(loopback(), &key(1), desk.clone()).unwrap();
    let addr = server.local_addr();
    let options = ClientOptions { successor_wait: Duration::ZERO, ..ClientOptions::default() };
    let client = QuicTransport::with_options(&key(2), options).unwrap();
    let held = hold(&client, &peer(addr, 1), Bytes::from(vec![1; 1 << 20]));
    until("request waits", || desk.waiting.load(Ordering::SeqCst) == 1).await;
    server.rotate(&key(5)).unwrap();
    client.call(&peer(addr, 5), Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    // Calls to the old key end when the client has heard of the change.
    let start = Instant::now();
    let error = loop {
        match client.call(&peer(addr, 1), Request::Ping, Bytes::new(), DEADLINE).await {
            Ok(_) => assert!(start.elapsed() < DEADLINE, "the old key goes on to serve"),
            Err(error) => break error,
        }
    };
    let CallError::WrongIdentity { expected, presented } = error else { panic!("{error}") };
    assert_eq!((expected, presented), (node(1), node(5)));
    assert!(!held.is_finished());
    desk.gate.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().1.len(), 1 << 20);
    client.call(&peer(addr, 5), Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    assert!(server.shutdown(DEADLINE).await);
}

#[tokio::test]
async fn a_client_changes_its_key_and_calls_under_way_finish() {
    let desk = Desk::new();
    let server = QuicServer::bind(loopback(), &key(1), desk.clone()).unwrap();
    let peer = peer(server.local_addr(), 1);
    let client = QuicTransport::new(&key(2)).unwrap();
    let held = hold(&client, &peer, Bytes::from(vec![1; 1 << 20]));
    until("request waits", || desk.waiting.load(Ordering::SeqCst) == 1).await;
    client.rotate(&key(3)).unwrap();
    let (response, _) = client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    assert_eq!(response, Response::Pong { now: head(&node(3)) });
    assert!(!held.is_finished());
    desk.gate.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().1.len(), 1 << 20);
}

/// Between a client and a server; the client's packets leave from an address that changes when told.
struct Nat {
    addr: SocketAddr,
    outside: Arc<Mutex<Arc<UdpSocket>>>,
    answers: tokio::sync::mpsc::UnboundedSender<Arc<UdpSocket>>,
}

impl Nat {
    async fn before(server: SocketAddr) -> Self {
        let inside = Arc::new(UdpSocket::bind(loopback()).await.unwrap());
        let addr = inside.local_addr().unwrap();
        let first = Arc::new(UdpSocket::bind(loopback()).await.unwrap());
        let outside = Arc::new(Mutex::new(first.clone()));
        let client = Arc::new(Mutex::new(None));
        let (answers, mut sockets) = tokio::sync::mpsc::unbounded_channel::<Arc<UdpSocket>>();
        answers.send(first).unwrap();
        tokio::spawn({
            let (inside, client) = (inside.clone(), client.clone());
            async move {
                while let Some(socket) = sockets.recv().await {
                    let (inside, client) = (inside.clone(), client.clone());
                    tokio::spawn(async move {
                        let mut packet = [0; 65_536];
                        loop {
                            let length = socket.recv(&mut packet).await.unwrap();
                            let to: Option<SocketAddr> = *client.lock().unwrap();
                            let _ = inside.send_to(&packet[..length], to.unwrap()).await;
                        }
                    });
                }
            }
        });
        tokio::spawn({
            let outside = outside.clone();
            async move {
                let mut packet = [0; 65_536];
                loop {
                    let (length, from) = inside.recv_from(&mut packet).await.unwrap();
                    *client.lock().unwrap() = Some(from);
                    let socket = outside.lock().unwrap().clone();
                    let _ = socket.send_to(&packet[..length], server).await;
                }
            }
        });
        Self { addr, outside, answers }
    }

    /// From now on the client is seen at another address; what is sent to the old one is lost.
    async fn rebind(&self) -> (SocketAddr, SocketAddr) {
        let next = Arc::new(UdpSocket::bind(loopback()).await.unwrap());
        let before = std::mem::replace(&mut *self.outside.lock().unwrap(), next.clone());
        let addrs = (before.local_addr().unwrap(), next.local_addr().unwrap());
        self.answers.send(next).unwrap();
        addrs
    }
}

/// The server takes one connection of a peer only, so that a second one would show.
#[tokio::test]
async fn a_connection_survives_that_its_client_gets_another_address() {
    for congestion in [Congestion::Adaptive, Congestion::Bbr, Congestion::Cubic] {
        let desk = Desk::new();
        let options = ServerOptions { connections_per_peer_max: 1, congestion, ..ServerOptions::default() };
        let server = QuicServer::bind_with(loopback(), &key(1), desk.clone(), options).unwrap();
        let nat = Nat::before(server.local_addr()).await;
        let peer = peer(nat.addr, 1);
        let client = QuicTransport::new(&key(2)).unwrap();
        let body = Bytes::from(vec![1; 1 << 20]);
        let held = hold(&client, &peer, body.clone());
        until("request waits", || desk.waiting.load(Ordering::SeqCst) == 1).await;
        for _ in 0..3 {
            let (before, after) = nat.rebind().await;
            assert_ne!(before, after);
            let (_, back) = client.call(&peer, Request::Ping, body.clone(), DEADLINE).await.unwrap();
            assert_eq!(back, body);
        }
        // What began at the first address ends at the fourth.
        desk.gate.add_permits(1);
        assert_eq!(held.await.unwrap().unwrap().1, body);
        assert!(server.shutdown(DEADLINE).await);
    }
}

#[tokio::test]
async fn one_peer_cannot_take_all_requests_whatever_the_number_of_its_connections() {
    let desk = Desk::new();
    let options = ServerOptions { requests_per_peer_max: 2, ..ServerOptions::default() };
    let server = QuicServer::bind_with(loopback(), &key(1), desk.clone(), options).unwrap();
    let peer = peer(server.local_addr(), 1);
    let clients = [2, 2, 3].map(|seed| QuicTransport::new(&key(seed)).unwrap());
    let held: Vec<_> = clients[..2].iter().map(|client| hold(client, &peer, Bytes::new())).collect();
    until("two requests wait", || desk.waiting.load(Ordering::SeqCst) == 2).await;
    for client in &clients[..2] {
        let error = client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap_err();
        assert!(matches!(error, CallError::Refused { code: ErrorCode::Busy, .. }), "{error}");
    }
    clients[2].call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    desk.gate.add_permits(2);
    for call in held {
        call.await.unwrap().unwrap();
    }
}

/// Bodies wait with their sender, and come when there is room.
#[tokio::test]
async fn bodies_beyond_a_peers_room_are_not_taken_into_memory() {
    let desk = Desk::new();
    let room = 3 * BODY_BYTES_MAX as usize;
    let options = ServerOptions { body_bytes_per_peer_max: room, ..ServerOptions::default() };
    let server = QuicServer::bind_with(loopback(), &key(1), desk.clone(), options).unwrap();
    let peer = peer(server.local_addr(), 1);
    let client = QuicTransport::new(&key(2)).unwrap();
    let body = Bytes::from(vec![1; BODY_BYTES_MAX as usize]);
    let held: Vec<_> = (0..12).map(|_| hold(&client, &peer, body.clone())).collect();
    until("there is no more room", || desk.waiting.load(Ordering::SeqCst) == 3).await;
    // Requests without a body need none.
    client.call(&peer, Request::Ping, Bytes::new(), DEADLINE).await.unwrap();
    desk.gate.add_permits(12);
    for call in held {
        assert_eq!(call.await.unwrap().unwrap().1.len(), body.len());
    }
    assert_eq!(desk.waiting_most.load(Ordering::SeqCst), 3);
}
