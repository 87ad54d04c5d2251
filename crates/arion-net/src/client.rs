//! The QUIC client: pooled connections, one stream per request.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arion_protocol::{ErrorCode, Request, RequestHeader, Response, ResponseHeader, frame::Header};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use quinn::{
    AsyncUdpSocket, ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream,
    TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::debug;

use crate::{
    config::transport_config,
    congestion::Congestion,
    keys::KeyLifetime,
    notice::LEFT_UNSEEN,
    pool::{Held, Pool, Rules, is_left},
    relay::{RelayAddr, Relayed, Relays, prefer_direct},
    server::{BindError, open_endpoint, open_socket},
    stream::{self, BUSY, CANCELLED, StreamError},
    tls::{PeerCheck, TlsIdentity},
    transport::{CallError, DialError, PeerAddr, ProtocolError, Transport, answer, is_repeatable},
};

/// TLS wants a name; identities are keys here, so that it is never sent nor looked at.
pub(crate) const SERVER_NAME: &str = "arion";
/// A connection on which nothing at all came back for so long during an abandoned call is given up.
const SILENCE: Duration = Duration::from_secs(3);
/// How often one call moves on from servers that leave before they look at it.
const MOVES_MAX: usize = 4;
/// Pause between looks for the successor of a server that left.
const SUCCESSOR_PAUSE: Duration = Duration::from_millis(50);

/// Settings of a client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Time for one new connection, name lookup included.
    pub dial_timeout: Duration,
    /// After a failed dial further calls fail at once for this long, doubled with every further failure; chance takes
    /// away up to half.
    pub dial_backoff: Duration,
    /// The longest such time.
    pub dial_backoff_max: Duration,
    /// A node that has announced that it leaves is expected back at its endpoint for this long: calls wait for it.
    pub successor_wait: Duration,
    /// Connections kept.
    pub connections_max: usize,
    /// Local address; none: any port, IPv4 and IPv6.
    pub bind: Option<SocketAddr>,
    /// How stored shards are paced.
    pub congestion: Congestion,
    /// When traffic keys are replaced.
    pub keys: KeyLifetime,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(3),
            dial_backoff: Duration::from_millis(500),
            dial_backoff_max: Duration::from_secs(5),
            successor_wait: Duration::from_secs(2),
            connections_max: 1_024,
            bind: None,
            congestion: Congestion::default(),
            keys: KeyLifetime::default(),
        }
    }
}

/// Calls nodes over QUIC. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct QuicTransport {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    endpoint: Endpoint,
    tls: RwLock<TlsIdentity>,
    config: Arc<TransportConfig>,
    pub(crate) options: ClientOptions,
    pub(crate) pool: Pool,
    relays: Relays,
    next_id: AtomicU64,
}

/// A connection and whether it stood before this call.
struct Lease {
    held: Held,
    reused: bool,
    /// The handshake, where it is still under way.
    dial: Option<JoinHandle<Result<Held, CallError>>>,
}

/// Why one attempt brought no answer.
struct Failure {
    error: StreamError,
    /// Whether the peer may have seen the request.
    sent: bool,
}

impl Failure {
    /// Whether the server says that it left before it looked at the request.
    fn left_unseen(&self) -> bool {
        match &self.error {
            StreamError::Stopped(code) => *code == LEFT_UNSEEN,
            StreamError::Protocol(ProtocolError::Reset(code)) => *code == u64::from(LEFT_UNSEEN),
            StreamError::Lost(error) => is_left(error),
            _ => false,
        }
    }
}

impl QuicTransport {
    /// A client that proves `key`, with default settings. Needs a running tokio runtime.
    pub fn new(key: &SigningKey) -> Result<Self, BindError> {
        Self::with_options(key, ClientOptions::default())
    }

    /// A client that proves `key`. Needs a running tokio runtime.
    pub fn with_options(key: &SigningKey, options: ClientOptions) -> Result<Self, BindError> {
        let socket = match options.bind {
            Some(addr) => open_socket(addr)?,
            None => open_socket((Ipv6Addr::UNSPECIFIED, 0).into())
                .or_else(|_| open_socket((Ipv4Addr::UNSPECIFIED, 0).into()))?,
        };
        Self::with_socket(socket, key, options)
    }

    /// A client that proves `key` and speaks through a socket that somebody else made (`options.bind` is not
    /// looked at). Needs a running tokio runtime.
    pub fn with_socket(
        socket: Arc<dyn AsyncUdpSocket>,
        key: &SigningKey,
        options: ClientOptions,
    ) -> Result<Self, BindError> {
        let tls = TlsIdentity::new(key)?;
        let (endpoint, _) = open_endpoint(socket, EndpointConfig::default(), None)?;
        let rules = Rules {
            backoff: options.dial_backoff,
            backoff_max: options.dial_backoff_max,
            successor_wait: options.successor_wait,
            keys: options.keys,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                relays: Relays::new(tls.clone(), endpoint.clone()),
                endpoint,
                tls: RwLock::new(tls),
                // Servers open no streams for requests towards clients.
                config: transport_config(0, options.congestion),
                pool: Pool::new(options.connections_max, rules),
                options,
                next_id: AtomicU64::new(1),
            }),
        })
    }

    /// Proves another key from now on, on new connections; calls under way finish on the old ones. Connections to relays
    /// keep the key they began with.
    pub fn rotate(&self, key: &SigningKey) -> Result<(), BindError> {
        let tls = TlsIdentity::new(key)?;
        *self.shared.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        self.shared.pool.forget();
        Ok(())
    }

    /// Closes all connections; calls under way fail.
    pub async fn close(&self) {
        self.shared.relays.close(VarInt::from_u32(0), b"client stops").await;
        self.shared.endpoint.close(VarInt::from_u32(0), b"client stops");
        let _ = timeout(Duration::from_millis(300), self.shared.endpoint.wait_idle()).await;
    }

    async fn attempts(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
    ) -> Result<(Response, Bytes), CallError> {
        let (repeatable, read) = (is_repeatable(&request), request.is_read() && body.is_empty());
        let body_len = u32::try_from(body.len()).map_err(|_| ProtocolError::BodyTooLong)?;
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = RequestHeader { id, body_len, request }.to_frame().map_err(ProtocolError::Frame)?;
        let frame = Bytes::from(frame);
        let (mut again, mut moves) = (true, 0..MOVES_MAX);
        loop {
            let lease = self.lease(peer, read).await?;
            let mut held = lease.held;
            let mut outcome = exchange(&held.connection, id, frame.clone(), body.clone()).await;
            if let (Some(dial), Err(Failure { error: StreamError::TooEarly | StreamError::Lost(_), .. })) =
                (lease.dial, &outcome)
            {
                // Early data was not taken, perhaps because somebody else is there: the handshake tells.
                held = joined(dial).await?;
                outcome = exchange(&held.connection, id, frame.clone(), body.clone()).await;
            }
            held.keys.check(&held.connection);
            let failure = match outcome {
                Ok((response, body)) => return answer(response, body),
                Err(failure) => failure,
            };
            if failure.left_unseen() && moves.next().is_some() {
                debug!(endpoint = %peer.endpoint, "server leaves, moving on");
                held.leave();
                continue;
            }
            let lost = matches!(failure.error, StreamError::Lost(_));
            if !(lost && again && lease.reused && (repeatable || !failure.sent)) {
                return Err(call_error(peer, failure.error));
            }
            // The pooled connection was stale: a fresh one, once.
            debug!(endpoint = %peer.endpoint, "pooled connection was stale, dialling again");
            again = false;
        }
    }

    /// A standing connection to `peer`, dialled if need be; for a read also one whose handshake is under way, if it
    /// takes up a session. The dial goes on when the caller gives up, so that its outcome serves the next call.
    async fn lease(&self, peer: &PeerAddr, read: bool) -> Result<Lease, CallError> {
        let asked = Instant::now();
        let mut known = self.shared.pool.peer(peer).await;
        if let Some(held) = known.standing() {
            return Ok(Lease { held, reused: true, dial: None });
        }
        if let Some(error) = known.fresh_failure(asked) {
            return Err(error);
        }
        let (shared, peer) = (self.shared.clone(), peer.clone());
        let check = known.check(|| shared.tls().peer_check(peer.node_id));
        let (early, begun) = oneshot::channel();
        check.begin(read.then_some(early));
        let dial = tokio::spawn(async move {
            let outcome = shared.dial_expecting(&peer, &check, known.expected_until()).await;
            check.begin(None);
            let (outcome, relayed) = match outcome {
                Ok(Dialled { connection, relayed }) => (Ok(connection), relayed),
                Err(error) => (Err(error), None),
            };
            known.record(&outcome);
            if let Some(relayed) = relayed {
                tokio::spawn(prefer_direct(shared, peer, relayed));
            }
            // Closed in the same moment, it is used all the same: the call then says why.
            outcome.map(|connection| known.standing().unwrap_or_else(|| Held::bare(connection)))
        });
        if let Ok(connection) = begun.await {
            return Ok(Lease { held: Held::bare(connection), reused: false, dial: Some(dial) });
        }
        Ok(Lease { held: joined(dial).await?, reused: false, dial: None })
    }
}

/// A new connection, and the way it took where that was through a relay.
struct Dialled {
    connection: Connection,
    relayed: Option<Relayed>,
}

async fn joined(dial: JoinHandle<Result<Held, CallError>>) -> Result<Held, CallError> {
    dial.await.map_err(|_| CallError::Protocol(ProtocolError::EndedEarly))?
}

impl Shared {
    /// Our key for handshakes.
    pub(crate) fn tls(&self) -> TlsIdentity {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Dials until it works, or until a peer that left is no longer expected back.
    async fn dial_expecting(
        &self,
        peer: &PeerAddr,
        check: &Arc<PeerCheck>,
        until: Option<Instant>,
    ) -> Result<Dialled, CallError> {
        loop {
            match (self.dial(peer, check).await, until) {
                (Err(CallError::Unreachable { .. }), Some(until)) if Instant::now() < until => {
                    tokio::time::sleep(SUCCESSOR_PAUSE).await;
                    check.begin(None);
                }
                (outcome, _) => return outcome,
            }
        }
    }

    async fn dial(&self, peer: &PeerAddr, check: &Arc<PeerCheck>) -> Result<Dialled, CallError> {
        let unreachable = |reason| CallError::Unreachable { endpoint: peer.endpoint.clone(), reason };
        let time = self.options.dial_timeout;
        let dialled = timeout(time, self.connect(peer, check)).await;
        match dialled {
            Ok(Ok(dialled)) => Ok(dialled),
            Ok(Err(reason)) => Err(match check.impostor() {
                Some(presented) => CallError::WrongIdentity { expected: peer.node_id, presented },
                None => unreachable(reason),
            }),
            Err(_) => Err(unreachable(DialError::Timeout(time))),
        }
    }

    async fn connect(&self, peer: &PeerAddr, check: &Arc<PeerCheck>) -> Result<Dialled, DialError> {
        if let Some(relay) = RelayAddr::of_endpoint(&peer.endpoint) {
            let relayed = self.relays.connect(&relay?, peer.node_id, self.client_config(check)).await?;
            return Ok(Dialled { connection: relayed.connection.clone(), relayed: Some(relayed) });
        }
        let addr = resolve(&peer.endpoint).await?;
        Ok(Dialled { connection: self.connect_at(addr, check).await?, relayed: None })
    }

    /// A connection to this address, with the settings of any other.
    pub(crate) async fn connect_at(
        &self,
        addr: SocketAddr,
        check: &Arc<PeerCheck>,
    ) -> Result<Connection, DialError> {
        let mut config = self.client_config(check);
        config.transport_config(self.config.clone());
        Ok(check.shake(self.endpoint.connect_with(config, addr, SERVER_NAME)?).await?)
    }

    fn client_config(&self, check: &Arc<PeerCheck>) -> ClientConfig {
        let tls = self
            .tls()
            .client_config(check.clone())
            .ok()
            .and_then(|config| QuicClientConfig::try_from(config).ok())
            .expect("ring offers TLS 1.3 with the initial cipher suite");
        ClientConfig::new(Arc::new(tls))
    }
}

/// The first address of `host:port`.
pub(crate) async fn resolve(endpoint: &str) -> Result<SocketAddr, DialError> {
    let mut found =
        tokio::net::lookup_host(endpoint).await.map_err(|error| DialError::Lookup(error.kind()))?;
    found.next().ok_or(DialError::NoAddress)
}

/// Abandons a request whose caller went away, and a connection that has gone silent.
struct Abandon<'a> {
    connection: &'a Connection,
    send: SendStream,
    since: Instant,
    received_before: u64,
    done: bool,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let _ = self.send.reset(CANCELLED);
        let silent = self.connection.stats().udp_rx.datagrams == self.received_before;
        if silent && self.since.elapsed() >= SILENCE {
            self.connection.close(VarInt::from_u32(0), b"silent");
        }
    }
}

/// One request and its answer on one stream.
async fn exchange(
    connection: &Connection,
    id: u64,
    frame: Bytes,
    body: Bytes,
) -> Result<(Response, Bytes), Failure> {
    let (send, mut recv) = connection
        .open_bi()
        .await
        .map_err(|error| Failure { error: StreamError::Lost(error), sent: false })?;
    let received_before = connection.stats().udp_rx.datagrams;
    let mut guard = Abandon { connection, send, since: Instant::now(), received_before, done: false };
    let result = converse(&mut guard.send, &mut recv, id, frame, body).await;
    guard.done = result.is_ok();
    result.map_err(|error| Failure { error, sent: true })
}

async fn converse(
    send: &mut SendStream,
    recv: &mut RecvStream,
    id: u64,
    frame: Bytes,
    body: Bytes,
) -> Result<(Response, Bytes), StreamError> {
    match stream::send(send, frame, body).await {
        // The server has answered before it had read everything: the answer says why.
        Err(StreamError::Stopped(code)) if code != BUSY => {}
        sent => sent?,
    }
    let header = stream::read_header::<ResponseHeader>(recv).await?;
    let unread = header.id == 0 && matches!(header.response, Response::Error { .. });
    if header.id != id && !unread {
        return Err(ProtocolError::WrongId.into());
    }
    let body = stream::read_body(recv, header.body_len).await?;
    Ok((header.response, body))
}

fn call_error(peer: &PeerAddr, error: StreamError) -> CallError {
    let busy = u64::from(BUSY);
    match error {
        StreamError::Lost(error) => {
            CallError::Unreachable { endpoint: peer.endpoint.clone(), reason: error.into() }
        }
        // Tried again when the handshake was done, so that it does not get here.
        StreamError::TooEarly => ProtocolError::TooEarly.into(),
        StreamError::Stopped(BUSY) => no_slot(),
        StreamError::Protocol(ProtocolError::Reset(code)) if code == busy => no_slot(),
        StreamError::Stopped(code) => ProtocolError::Reset(code.into_inner()).into(),
        StreamError::Rejected(rejection) => ProtocolError::Frame(rejection.error).into(),
        StreamError::Protocol(error) => error.into(),
    }
}

fn no_slot() -> CallError {
    CallError::Refused { code: ErrorCode::Busy, detail: "the node serves as many requests as it can".into() }
}

#[async_trait]
impl Transport for QuicTransport {
    async fn call(
        &self,
        peer: &PeerAddr,
        request: Request,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response, Bytes), CallError> {
        match timeout(deadline, self.attempts(peer, request, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Timeout(deadline)),
        }
    }
}
