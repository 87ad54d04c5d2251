//! The QUIC server: bounded in connections, in requests, in bytes and in time.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arion_types::NodeId;
use ed25519_dalek::SigningKey;
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, EndpointConfig, Incoming, Runtime as _, ServerConfig, TokioRuntime,
    VarInt, crypto::rustls::QuicServerConfig, rustls::pki_types::CertificateDer,
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

mod request;

use self::request::{Slot, serve_request};
use crate::{
    config::{bind_udp, server_endpoint_config, take_long_packets, transport_config},
    congestion::Congestion,
    identity::node_id_from_spki,
    keys::{KeyClock, KeyLifetime},
    notice::{self, LEFT, LEFT_UNSEEN},
    relay::{Attached, Attachment, InnerEndpoints, RelayAddr},
    share::{PeerSlot, Shares},
    stream::BUSY,
    tls::TlsIdentity,
    transport::Service,
};

/// Connection code: too many connections of this peer.
const TOO_MANY_CONNECTIONS: VarInt = VarInt::from_u32(1);
/// Connection code: the server stops.
const STOPPING: VarInt = VarInt::from_u32(0);

/// Bounds of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Requests served at once, over all peers; beyond it peers are told `Busy`.
    pub requests_max: usize,
    /// Requests one connection may have open at once; beyond it the peer's QUIC waits.
    pub requests_per_connection_max: u32,
    /// Requests of one node id served at once, over all its connections; beyond it the peer is told `Busy`. Never more than
    /// half of `requests_max`.
    pub requests_per_peer_max: usize,
    /// Requests of strangers ([`Service::knows`]) served at once, besides those of `requests_max`.
    pub stranger_requests_max: usize,
    /// Bytes of request bodies of one node id in memory at once; beyond it they wait in the peer's hands. At least one
    /// body of the largest size.
    pub body_bytes_per_peer_max: usize,
    /// Open connections, over all peers.
    pub connections_max: usize,
    /// Open connections of strangers, over all of them.
    pub stranger_connections_max: usize,
    /// Open connections of one node id.
    pub connections_per_peer_max: usize,
    /// Time for the handshake.
    pub handshake_timeout: Duration,
    /// Time for the header of a request to arrive.
    pub header_timeout: Duration,
    /// Time for the body of a request to arrive.
    pub body_timeout: Duration,
    /// Time for the peer to take the response.
    pub response_timeout: Duration,
    /// How fetched shards are paced.
    pub congestion: Congestion,
    /// When traffic keys are replaced.
    pub keys: KeyLifetime,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            requests_max: 256,
            requests_per_connection_max: 64,
            requests_per_peer_max: 128,
            stranger_requests_max: 16,
            body_bytes_per_peer_max: 96 << 20,
            connections_max: 1_024,
            stranger_connections_max: 256,
            connections_per_peer_max: 16,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(30),
            congestion: Congestion::default(),
            keys: KeyLifetime::default(),
        }
    }
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process uses the address.
    #[error("UDP address {0} is in use: stop the other process or choose another port")]
    InUse(SocketAddr),
    /// The system refused.
    #[error("cannot bind UDP address {0}: {1}")]
    Socket(SocketAddr, #[source] io::Error),
    /// The TLS library refused the key.
    #[error("TLS set-up failed: {0}")]
    Tls(#[from] rustls::Error),
}

/// Opens the UDP socket of a server or client. Needs a running tokio runtime.
pub(crate) fn open_socket(addr: SocketAddr) -> Result<Arc<dyn AsyncUdpSocket>, BindError> {
    let socket = bind_udp(addr).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(addr),
        _ => BindError::Socket(addr, error),
    })?;
    TokioRuntime.wrap_udp_socket(socket).map_err(|error| BindError::Socket(addr, error))
}

/// A QUIC endpoint on a socket, and the socket's address. Needs a running tokio runtime.
pub(crate) fn open_endpoint(
    socket: Arc<dyn AsyncUdpSocket>,
    mut config: EndpointConfig,
    server: Option<ServerConfig>,
) -> Result<(Endpoint, SocketAddr), BindError> {
    take_long_packets(&mut config);
    let nowhere = (Ipv4Addr::UNSPECIFIED, 0).into();
    let addr = socket.local_addr().map_err(|error| BindError::Socket(nowhere, error))?;
    let endpoint = Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(TokioRuntime))
        .map_err(|error| BindError::Socket(addr, error))?;
    Ok((endpoint, addr))
}

/// A listening server. Dropping it closes all connections at once; [`QuicServer::shutdown`] drains first.
pub struct QuicServer {
    endpoint: Endpoint,
    local_addr: SocketAddr,
    socket: Arc<dyn AsyncUdpSocket>,
    tls: TlsIdentity,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl QuicServer {
    /// Listens on `addr` with default bounds. Needs a running tokio runtime.
    pub fn bind(addr: SocketAddr, key: &SigningKey, service: Arc<dyn Service>) -> Result<Self, BindError> {
        Self::bind_with(addr, key, service, ServerOptions::default())
    }

    /// Listens on `addr`. Needs a running tokio runtime.
    pub fn bind_with(
        addr: SocketAddr,
        key: &SigningKey,
        service: Arc<dyn Service>,
        options: ServerOptions,
    ) -> Result<Self, BindError> {
        Self::with_socket(open_socket(addr)?, key, service, options)
    }

    /// Listens on a socket that somebody else made, or that is more than a socket: whatever carries datagrams. Needs
    /// a running tokio runtime.
    pub fn with_socket(
        socket: Arc<dyn AsyncUdpSocket>,
        key: &SigningKey,
        service: Arc<dyn Service>,
        options: ServerOptions,
    ) -> Result<Self, BindError> {
        let tls = TlsIdentity::new(key)?;
        let config = direct_config(&tls, &options)?;
        let endpoint_config = server_endpoint_config(key);
        let (endpoint, local_addr) = open_endpoint(socket.clone(), endpoint_config, Some(config))?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            slots: Arc::new(Semaphore::new(options.requests_max)),
            stranger_slots: Arc::new(Semaphore::new(options.stranger_requests_max)),
            stranger_connections: Arc::new(Semaphore::new(options.stranger_connections_max)),
            peers: Arc::default(),
            shares: Shares::new(
                options.requests_per_peer_max.min(options.requests_max.div_ceil(2)),
                options.body_bytes_per_peer_max,
                options.connections_max,
            ),
            stop: stop.clone(),
            tasks: tasks.clone(),
            requests: TaskTracker::new(),
            notices: TaskTracker::new(),
            left: CancellationToken::new(),
            rotations: watch::Sender::new(0),
            unanswered: AtomicBool::new(false),
            service,
            options,
            inner: InnerEndpoints::default(),
        });
        tasks.spawn(accept(endpoint.clone(), shared.clone()));
        Ok(Self { endpoint, local_addr, socket, tls, shared, stop, tasks })
    }

    /// Lets others reach this server through a relay too, for as long as it runs. Keeps trying where the relay is not
    /// there. Needs a running tokio runtime.
    pub fn attach(&self, relay: RelayAddr) -> Result<Attachment, BindError> {
        let shared = self.shared.clone();
        let attached = Attached {
            relay,
            tls: self.tls.clone(),
            endpoint: self.endpoint.clone(),
            socket: self.socket.clone(),
            server: server_config(&self.tls)?,
            streams_max: shared.options.requests_per_connection_max,
            serve: Box::new(move |endpoint| {
                shared.inner.add(endpoint.clone());
                shared.tasks.spawn(accept(endpoint, shared.clone()));
            }),
        };
        Ok(attached.start(self.stop.clone()))
    }

    /// The address in use, with the port the system chose where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Proves another key from now on. Connections of the old key are told to make no more requests; those under way
    /// finish, and their connections end with them. An [`Attachment`] to a relay keeps the key it began with.
    pub fn rotate(&mut self, key: &SigningKey) -> Result<(), BindError> {
        let tls = TlsIdentity::new(key)?;
        self.endpoint.set_server_config(Some(direct_config(&tls, &self.shared.options)?));
        self.tls = tls;
        self.shared.rotations.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Takes no new requests and tells the peers so, lets running requests finish, closes. Returns whether all finished
    /// within `deadline`.
    pub async fn shutdown(self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        self.stop.cancel();
        self.shared.requests.close();
        let finished = timeout_at(end, self.shared.requests.wait()).await.is_ok();
        self.shared.notices.close();
        let _ = timeout_at(end, self.shared.notices.wait()).await;
        self.endpoint.set_server_config(None);
        self.shared.left.cancel();
        self.tasks.close();
        let drained = timeout_at(end, self.tasks.wait()).await.is_ok() && finished;
        let answered = drained && !self.shared.unanswered.load(Ordering::Relaxed);
        let (code, reason) = if answered { (LEFT, &b"left"[..]) } else { (STOPPING, &b"stopping"[..]) };
        // While what carries them still stands.
        self.shared.inner.close(code, end).await;
        self.endpoint.close(code, reason);
        // Lets the close frames leave; peers that are gone cannot hold it up.
        let linger = end.min(Instant::now() + Duration::from_millis(300));
        let _ = timeout_at(linger, self.endpoint.wait_idle()).await;
        drained
    }
}

impl Drop for QuicServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.shared.left.cancel();
        self.endpoint.close(STOPPING, b"stopping");
    }
}

struct Shared {
    service: Arc<dyn Service>,
    options: ServerOptions,
    slots: Arc<Semaphore>,
    stranger_slots: Arc<Semaphore>,
    stranger_connections: Arc<Semaphore>,
    peers: Arc<Mutex<HashMap<NodeId, usize>>>,
    shares: Shares,
    /// No more connections and requests are taken.
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Requests that were taken.
    requests: TaskTracker,
    /// Peers being told that no more are.
    notices: TaskTracker,
    /// Connections are no longer served.
    left: CancellationToken,
    /// How often the key was changed.
    rotations: watch::Sender<u64>,
    /// An answer could not be delivered, so that its request may have been carried out unknown to the peer.
    unanswered: AtomicBool,
    inner: InnerEndpoints,
}

fn direct_config(tls: &TlsIdentity, options: &ServerOptions) -> Result<ServerConfig, rustls::Error> {
    let mut config = server_config(tls)?;
    config.transport_config(transport_config(options.requests_per_connection_max, options.congestion));
    Ok(config)
}

fn server_config(tls: &TlsIdentity) -> Result<ServerConfig, rustls::Error> {
    let tls = QuicServerConfig::try_from(tls.server_config()?)
        .map_err(|_| rustls::Error::General("no initial cipher suite".into()))?;
    Ok(ServerConfig::with_crypto(Arc::new(tls)))
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    loop {
        let incoming = tokio::select! {
            () = shared.left.cancelled() => return,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let open = endpoint.open_connections();
        if shared.stop.is_cancelled() {
            // Told so, the peer need not wait for an answer.
            incoming.refuse();
        } else if open >= shared.options.connections_max {
            warn!(open, "connection refused: too many open");
            incoming.refuse();
        } else if open >= shared.options.connections_max / 2 && incoming.may_retry() {
            // Under load an address must prove itself before it costs a handshake.
            let _ = incoming.retry();
        } else {
            let task = serve_connection(shared.clone(), incoming);
            shared.tasks.spawn(task);
        }
    }
}

async fn serve_connection(shared: Arc<Shared>, incoming: Incoming) {
    let remote = incoming.remote_address();
    let mut rotations = shared.rotations.subscribe();
    // A server can always begin; only a session that is taken up makes use of it.
    let Some((connection, shaken)) = incoming.accept().ok().and_then(|begun| begun.into_0rtt().ok()) else {
        return debug!(%remote, "handshake failed at its first packet");
    };
    let mut shaken = pin!(timeout(shared.options.handshake_timeout, shaken));
    // Known so early only where a session is taken up: whoever holds it has proven the key when it began.
    let mut handshake_done = false;
    if peer_of(&connection).is_none() {
        let in_time = tokio::select! {
            () = shared.stop.cancelled() => return,
            shaken = &mut shaken => shaken.is_ok(),
        };
        if !settled(&connection, in_time) {
            return;
        }
        handshake_done = true;
    }
    let Some(peer) = peer_of(&connection) else {
        return debug!(%remote, "peer without a key");
    };
    let Some(_slot) = PeerSlot::take(&shared.peers, peer, shared.options.connections_per_peer_max) else {
        connection.close(TOO_MANY_CONNECTIONS, b"too many connections");
        return debug!(%remote, %peer, "peer has too many connections");
    };
    // Counted for as long as the connection lasts, also when the peer is registered meanwhile.
    let _stranger = match shared.service.knows(&peer) {
        true => None,
        false => match shared.stranger_connections.clone().try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => {
                connection.close(TOO_MANY_CONNECTIONS, b"too many connections of unregistered keys");
                return debug!(%remote, %peer, "too many connections of strangers");
            }
        },
    };
    debug!(%remote, %peer, "connected");
    let share = shared.shares.of(peer);
    let keys = Arc::new(KeyClock::new(shared.options.keys));
    let mut aging = pin!(keys.run(&connection));
    let mut told = false;
    loop {
        let stream = tokio::select! {
            () = shared.left.cancelled() => return,
            () = &mut aging => continue,
            shaken = &mut shaken, if !handshake_done => {
                if !settled(&connection, shaken.is_ok()) {
                    return;
                }
                handshake_done = true;
                continue;
            }
            () = leaving(&shared.stop, &mut rotations), if !told => {
                told = true;
                shared.notices.spawn(notice::announce(connection.clone()));
                continue;
            }
            stream = connection.accept_bi() => stream,
        };
        let (mut send, mut recv) = match stream {
            Ok(stream) => stream,
            Err(error) => return debug!(%remote, %peer, %error, "disconnected"),
        };
        let code = match Slot::take(&shared, &share, shared.service.knows(&peer)) {
            Some(slot) => {
                let (keys, connection) = (keys.clone(), connection.clone());
                let task = serve_request(shared.clone(), slot, peer, send, recv);
                shared.requests.spawn(async move {
                    task.await;
                    keys.check(&connection);
                });
                continue;
            }
            None if shared.stop.is_cancelled() => LEFT_UNSEEN,
            None => BUSY,
        };
        let _ = send.reset(code);
        let _ = recv.stop(code);
    }
}

/// Returns when this connection is to get no more requests.
async fn leaving(stop: &CancellationToken, rotations: &mut watch::Receiver<u64>) {
    tokio::select! {
        () = stop.cancelled() => {}
        _ = rotations.changed() => {}
    }
}

/// Whether the handshake came to a good end.
fn settled(connection: &Connection, in_time: bool) -> bool {
    let remote = connection.remote_address();
    if !in_time {
        connection.close(STOPPING, b"handshake timed out");
        debug!(%remote, "handshake timed out");
        return false;
    }
    match connection.close_reason() {
        Some(error) => {
            debug!(%remote, %error, "handshake failed");
            false
        }
        None => true,
    }
}

pub(crate) fn peer_of(connection: &Connection) -> Option<NodeId> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    match identity.as_slice() {
        [key] => node_id_from_spki(key).ok(),
        _ => None,
    }
}
