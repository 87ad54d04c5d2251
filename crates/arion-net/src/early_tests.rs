//! Early data over real QUIC. A gate between client and server holds back what the server says: a client that has heard nothing
//! can only have sent early data, so that what the service sees meanwhile came with 0-RTT.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arion_protocol::{
    Action, Command, ErrorCode, Request, RequestHeader, Response, ResponseHeader, ShardPlacement,
    frame::{Header, PREFIX_BYTES},
};
use arion_types::{NodeId, ShardHash, StripeId, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use quinn::{ClientConfig, Endpoint, VarInt, crypto::rustls::QuicClientConfig};
use tokio::{net::UdpSocket, sync::watch};

use crate::{CallError, PeerAddr, QuicServer, QuicTransport, Service, Transport, tls::TlsIdentity};

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

/// Counts what it is asked.
#[derive(Default)]
struct Counter {
    reads: AtomicUsize,
    others: AtomicUsize,
    last_peer: Mutex<Option<NodeId>>,
}

impl Counter {
    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Service for Counter {
    async fn serve(&self, peer: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        let counter = if request.is_read() { &self.reads } else { &self.others };
        *self.last_peer.lock().unwrap() = Some(peer);
        counter.fetch_add(1, Ordering::SeqCst);
        (Response::Pong { now: 7 }, Bytes::new())
    }
}

/// Forwards datagrams between one client and a server; those of the server only while it is open.
struct Gate {
    addr: SocketAddr,
    open: watch::Sender<bool>,
    /// What clients sent since the gate was shut.
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Gate {
    async fn before(server: SocketAddr) -> Self {
        let (front, back) =
            (UdpSocket::bind(loopback()).await.unwrap(), UdpSocket::bind(loopback()).await.unwrap());
        back.connect(server).await.unwrap();
        let addr = front.local_addr().unwrap();
        let (open, mut is_open) = watch::channel(true);
        let sent: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let record = sent.clone();
        let task = tokio::spawn(async move {
            let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
            let (mut client, mut held) = (None, Vec::new());
            loop {
                tokio::select! {
                    got = front.recv_from(&mut from_client) => {
                        let Ok((length, from)) = got else { continue };
                        client = Some(from);
                        if !*is_open.borrow() {
                            record.lock().unwrap().push(from_client[..length].to_vec());
                        }
                        let _ = back.send(&from_client[..length]).await;
                    }
                    got = back.recv(&mut from_server) => {
                        let Ok(length) = got else { continue };
                        held.push(from_server[..length].to_vec());
                    }
                    changed = is_open.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                }
                if *is_open.borrow_and_update()
                    && let Some(client) = client
                {
                    for datagram in held.drain(..) {
                        let _ = front.send_to(&datagram, client).await;
                    }
                }
            }
        });
        Self { addr, open, sent, task }
    }

    fn shut(&self) {
        self.sent.lock().unwrap().clear();
        self.open.send_replace(false);
    }

    fn open(&self) {
        self.open.send_replace(true);
    }

    fn peer(&self, seed: u8) -> PeerAddr {
        PeerAddr { node_id: node(seed), endpoint: self.addr.to_string() }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ping(client: &QuicTransport, peer: &PeerAddr) -> Result<(Response, Bytes), CallError> {
    client.call(peer, Request::Ping, Bytes::new(), DEADLINE).await
}

/// Ends the connection, so that the next call dials.
async fn hang_up(client: &QuicTransport, peer: &PeerAddr) {
    let standing = client.shared.pool.peer(peer).await.standing().unwrap();
    standing.connection.close(VarInt::from_u32(0), b"test");
}

fn store() -> Request {
    let placement = ShardPlacement { stripe: StripeId([1; 32]), pg: 1, index: 1, epoch: 1, size: 1 };
    let command = Command {
        action: Action::Store(placement),
        shard: ShardHash([2; 32]),
        target: node(1),
        nonce: [3; 16],
        expires_at: 4,
    };
    Request::Store(command.sign(&[5; 32], &key(2)))
}

/// A server, the gate before it, and a client that has a session with it and no connection.
async fn acquainted() -> (QuicServer, Arc<Counter>, Gate, QuicTransport) {
    let counter = Arc::new(Counter::default());
    let server = QuicServer::bind(loopback(), &key(1), counter.clone()).unwrap();
    let gate = Gate::before(server.local_addr()).await;
    let client = QuicTransport::new(&key(2)).unwrap();
    ping(&client, &gate.peer(1)).await.unwrap();
    hang_up(&client, &gate.peer(1)).await;
    (server, counter, gate, client)
}

#[tokio::test]
async fn a_read_goes_out_with_the_first_packet() {
    let (_server, counter, gate, client) = acquainted().await;
    gate.shut();
    let (peer, caller) = (gate.peer(1), client.clone());
    let call = tokio::spawn(async move { ping(&caller, &peer).await });
    until("the read is served before the client heard anything", || counter.reads() == 2).await;
    assert_eq!(*counter.last_peer.lock().unwrap(), Some(node(2)));
    gate.open();
    assert_eq!(call.await.unwrap().unwrap().0, Response::Pong { now: 7 });
    // The connection is whole afterwards: what is not a read goes over it.
    client.call(&gate.peer(1), store(), Bytes::new(), DEADLINE).await.unwrap();
    assert_eq!(counter.others.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_a_session_nothing_goes_out_early() {
    let counter = Arc::new(Counter::default());
    let server = QuicServer::bind(loopback(), &key(1), counter.clone()).unwrap();
    let gate = Gate::before(server.local_addr()).await;
    let client = QuicTransport::new(&key(2)).unwrap();
    gate.shut();
    let short = Duration::from_millis(300);
    let error = client.call(&gate.peer(1), Request::Ping, Bytes::new(), short).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout(_)), "{error}");
    assert!(!gate.sent.lock().unwrap().is_empty());
    assert_eq!(counter.reads(), 0);
}

#[tokio::test]
async fn what_is_not_a_read_waits_for_the_handshake() {
    let (_server, counter, gate, client) = acquainted().await;
    gate.shut();
    let short = Duration::from_millis(300);
    let error = client.call(&gate.peer(1), store(), Bytes::new(), short).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout(_)), "{error}");
    assert!(!gate.sent.lock().unwrap().is_empty());
    gate.open();
    client.call(&gate.peer(1), store(), Bytes::new(), DEADLINE).await.unwrap();
    assert_eq!(counter.others.load(Ordering::SeqCst), 1);
}

/// A client that breaks the rule is told so. The read behind the store shows that the server has taken both streams.
#[tokio::test]
async fn a_server_refuses_early_what_is_not_a_read() {
    let counter = Arc::new(Counter::default());
    let server = QuicServer::bind(loopback(), &key(1), counter.clone()).unwrap();
    let gate = Gate::before(server.local_addr()).await;
    let tls = TlsIdentity::new(&key(2)).unwrap();
    let check = tls.peer_check(node(1));
    let endpoint = Endpoint::client(loopback()).unwrap();
    let connecting = || {
        let config = QuicClientConfig::try_from(tls.client_config(check.clone()).unwrap()).unwrap();
        endpoint.connect_with(ClientConfig::new(Arc::new(config)), gate.addr, "arion").unwrap()
    };
    let frame = |id, request| RequestHeader { id, body_len: 0, request }.to_frame().unwrap();

    let first = connecting().await.unwrap();
    let (mut send, mut recv) = first.open_bi().await.unwrap();
    send.write_all(&frame(1, Request::Ping)).await.unwrap();
    send.finish().unwrap();
    recv.read_to_end(1024).await.unwrap();
    first.close(VarInt::from_u32(0), b"test");

    gate.shut();
    let (early, done) = connecting().into_0rtt().ok().unwrap();
    let (mut send, mut refused) = early.open_bi().await.unwrap();
    send.write_all(&frame(2, store())).await.unwrap();
    send.finish().unwrap();
    let (mut send, mut served) = early.open_bi().await.unwrap();
    send.write_all(&frame(3, Request::Ping)).await.unwrap();
    send.finish().unwrap();
    until("the read is served", || counter.reads() == 2).await;
    gate.open();
    assert!(done.await, "the server did not take early data");
    let answer = refused.read_to_end(1024).await.unwrap();
    let answer = ResponseHeader::from_bytes(&answer[PREFIX_BYTES..]).unwrap();
    assert_eq!(answer.id, 2);
    assert!(matches!(answer.response, Response::Error { code: ErrorCode::TooEarly, .. }), "{answer:?}");
    served.read_to_end(1024).await.unwrap();
    assert_eq!(counter.others.load(Ordering::SeqCst), 0);
}

/// Somebody who recorded the first packets of a client sends them again.
#[tokio::test]
async fn a_recording_is_not_served_again() {
    let (server, counter, gate, client) = acquainted().await;
    gate.shut();
    let (peer, caller) = (gate.peer(1), client.clone());
    let call = tokio::spawn(async move { ping(&caller, &peer).await });
    until("the read is served", || counter.reads() == 2).await;
    // The packets of the handshake; the end of the connection before may be among the others.
    let is_long = |datagram: &[u8]| datagram[0] & 0x80 != 0;
    let mut recording = gate.sent.lock().unwrap().clone();
    recording.retain(|datagram| is_long(datagram));
    gate.open();
    call.await.unwrap().unwrap();
    hang_up(&client, &gate.peer(1)).await;

    let replayer = UdpSocket::bind(loopback()).await.unwrap();
    let (start, mut answer) = (Instant::now(), [0; 2048]);
    loop {
        // Until the server has forgotten the first connection it sees these packets as its own.
        for datagram in &recording {
            replayer.send_to(datagram, server.local_addr()).await.unwrap();
        }
        let wait = Duration::from_millis(100);
        if tokio::time::timeout(wait, replayer.recv_from(&mut answer)).await.is_ok() && is_long(&answer) {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "the server never looked at the recording");
    }
    ping(&client, &gate.peer(1)).await.unwrap();
    assert_eq!(counter.reads(), 3, "the recorded read was served again");
}

#[tokio::test]
async fn a_restarted_server_has_forgotten_and_is_asked_again() {
    let (server, _, gate, client) = acquainted().await;
    let addr = server.local_addr();
    assert!(server.shutdown(DEADLINE).await);
    let (counter, mut second) = (Arc::new(Counter::default()), None);
    until("port free", || {
        second = QuicServer::bind(addr, &key(1), counter.clone()).ok();
        second.is_some()
    })
    .await;
    ping(&client, &gate.peer(1)).await.unwrap();
    assert_eq!(counter.reads(), 1);
}

/// Also a server whose key has changed: a session is with a key, not with an address.
#[tokio::test]
async fn another_key_at_the_address_gets_nothing_out_of_a_session() {
    let (server, _, gate, client) = acquainted().await;
    let addr = server.local_addr();
    assert!(server.shutdown(DEADLINE).await);
    let (counter, mut second) = (Arc::new(Counter::default()), None);
    until("port free", || {
        second = QuicServer::bind(addr, &key(3), counter.clone()).ok();
        second.is_some()
    })
    .await;
    let error = ping(&client, &gate.peer(1)).await.unwrap_err();
    let CallError::WrongIdentity { expected, presented } = error else { panic!("{error}") };
    assert_eq!((expected, presented), (node(1), node(3)));
    assert_eq!(counter.reads(), 0);
    ping(&client, &gate.peer(3)).await.unwrap();
    assert_eq!(counter.reads(), 1);
}

#[tokio::test]
async fn a_server_that_changes_its_key_takes_up_no_session() {
    let (mut server, counter, gate, client) = acquainted().await;
    server.rotate(&key(3)).unwrap();
    let error = ping(&client, &gate.peer(1)).await.unwrap_err();
    let CallError::WrongIdentity { expected, presented } = error else { panic!("{error}") };
    assert_eq!((expected, presented), (node(1), node(3)));
    assert_eq!(counter.reads(), 1);
}

#[tokio::test]
async fn a_client_that_changes_its_key_begins_anew() {
    let (_server, counter, gate, client) = acquainted().await;
    client.rotate(&key(4)).unwrap();
    gate.shut();
    let short = Duration::from_millis(300);
    let error = client.call(&gate.peer(1), Request::Ping, Bytes::new(), short).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout(_)), "{error}");
    assert_eq!(counter.reads(), 1, "a session of the old key was taken up");
    gate.open();
    ping(&client, &gate.peer(1)).await.unwrap();
    assert_eq!(*counter.last_peer.lock().unwrap(), Some(node(4)));
}

/// A session that was handed on is of no use under another key: the server sees who is really there.
#[tokio::test]
async fn a_session_belongs_to_one_key_of_the_client() {
    let (_server, counter, gate, client) = acquainted().await;
    let check = client.shared.pool.peer(&gate.peer(1)).await.check(|| panic!("made at the first dial"));
    let other = QuicTransport::new(&key(4)).unwrap();
    other.shared.pool.peer(&gate.peer(1)).await.check(|| check);
    ping(&other, &gate.peer(1)).await.unwrap();
    assert_eq!(*counter.last_peer.lock().unwrap(), Some(node(4)));
}
