//! The QUIC server: bounded in connections, in requests, in bytes and in time.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_protocol::{ErrorCode, Rejection, RequestHeader, Response, ResponseHeader, frame::Header};
use arion_types::NodeId;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, EndpointConfig, Incoming, RecvStream, Runtime as _, SendStream,
    ServerConfig, TokioRuntime, VarInt, crypto::rustls::QuicServerConfig, rustls::pki_types::CertificateDer,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    config::{Congestion, bind_udp, server_endpoint_config, transport_config},
    identity::node_id_from_spki,
    relay::{Attached, Attachment, InnerEndpoints, RelayAddr},
    stream::{self, ANSWERED, BUSY, StreamError},
    tls::TlsIdentity,
    transport::{ProtocolError, Service},
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
    /// Open connections, over all peers.
    pub connections_max: usize,
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
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            requests_max: 256,
            requests_per_connection_max: 64,
            connections_max: 1_024,
            connections_per_peer_max: 16,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(30),
            congestion: Congestion::default(),
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
    config: EndpointConfig,
    server: Option<ServerConfig>,
) -> Result<(Endpoint, SocketAddr), BindError> {
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
        let mut config = server_config(&tls)?;
        config.transport_config(transport_config(options.requests_per_connection_max, options.congestion));
        let endpoint_config = server_endpoint_config(key);
        let (endpoint, local_addr) = open_endpoint(socket.clone(), endpoint_config, Some(config))?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            slots: Arc::new(Semaphore::new(options.requests_max)),
            peers: Arc::default(),
            stop: stop.clone(),
            tasks: tasks.clone(),
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

    /// Takes no new requests, lets running ones finish, closes. Returns whether all finished within `deadline`.
    pub async fn shutdown(self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        self.endpoint.set_server_config(None);
        self.stop.cancel();
        self.tasks.close();
        let drained = timeout_at(end, self.tasks.wait()).await.is_ok();
        // While what carries them still stands.
        self.shared.inner.close(STOPPING, end).await;
        self.endpoint.close(STOPPING, b"stopping");
        // Lets the close frames leave; peers that are gone cannot hold it up.
        let linger = end.min(Instant::now() + Duration::from_millis(300));
        let _ = timeout_at(linger, self.endpoint.wait_idle()).await;
        drained
    }
}

impl Drop for QuicServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.endpoint.close(STOPPING, b"stopping");
    }
}

struct Shared {
    service: Arc<dyn Service>,
    options: ServerOptions,
    slots: Arc<Semaphore>,
    peers: Arc<Mutex<HashMap<NodeId, usize>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    inner: InnerEndpoints,
}

fn server_config(tls: &TlsIdentity) -> Result<ServerConfig, rustls::Error> {
    let tls = QuicServerConfig::try_from(tls.server_config()?)
        .map_err(|_| rustls::Error::General("no initial cipher suite".into()))?;
    Ok(ServerConfig::with_crypto(Arc::new(tls)))
}

/// One connection of a peer, counted.
pub(crate) struct PeerSlot {
    peers: Arc<Mutex<HashMap<NodeId, usize>>>,
    peer: NodeId,
}

impl PeerSlot {
    pub(crate) fn take(peers: &Arc<Mutex<HashMap<NodeId, usize>>>, peer: NodeId, max: usize) -> Option<Self> {
        let mut counts = peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&peer).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        counts.insert(peer, count + 1);
        Some(Self { peers: peers.clone(), peer })
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut counts = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    loop {
        let incoming = tokio::select! {
            () = shared.stop.cancelled() => return,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let open = endpoint.open_connections();
        if open >= shared.options.connections_max {
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
    debug!(%remote, %peer, "connected");
    loop {
        let stream = tokio::select! {
            () = shared.stop.cancelled() => return,
            shaken = &mut shaken, if !handshake_done => {
                if !settled(&connection, shaken.is_ok()) {
                    return;
                }
                handshake_done = true;
                continue;
            }
            stream = connection.accept_bi() => stream,
        };
        let (mut send, mut recv) = match stream {
            Ok(stream) => stream,
            Err(error) => return debug!(%remote, %peer, %error, "disconnected"),
        };
        match shared.slots.clone().try_acquire_owned() {
            Ok(slot) => {
                let task = serve_request(shared.clone(), slot, peer, send, recv);
                shared.tasks.spawn(task);
            }
            Err(_) => {
                let _ = send.reset(BUSY);
                let _ = recv.stop(BUSY);
            }
        }
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

/// What keeps a request from being served.
enum ReadFailure {
    /// Worth an answer under this id (0 where the header could not be read).
    Answer(u64, ProtocolError),
    /// The peer is gone or too slow.
    Gone,
}

async fn read_request(
    recv: &mut RecvStream,
    options: &ServerOptions,
) -> Result<(RequestHeader, Bytes), ReadFailure> {
    let failure = |id| {
        move |error| match error {
            StreamError::Rejected(Rejection { id, error }) => ReadFailure::Answer(id, error.into()),
            StreamError::Protocol(error) => ReadFailure::Answer(id, error),
            StreamError::Lost(_) | StreamError::Stopped(_) | StreamError::TooEarly => ReadFailure::Gone,
        }
    };
    let header = timeout(options.header_timeout, stream::read_header::<RequestHeader>(recv));
    let header = header.await.map_err(|_| ReadFailure::Gone)?.map_err(failure(0))?;
    // Early data could be somebody's recording of it.
    if recv.is_0rtt() && !header.request.is_read() {
        return Err(ReadFailure::Answer(header.id, ProtocolError::TooEarly));
    }
    let body = timeout(options.body_timeout, stream::read_body(recv, header.body_len));
    let body = body.await.map_err(|_| ReadFailure::Gone)?.map_err(failure(header.id))?;
    Ok((header, body))
}

async fn serve_request(
    shared: Arc<Shared>,
    slot: OwnedSemaphorePermit,
    peer: NodeId,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let (id, response, body) = match read_request(&mut recv, &shared.options).await {
        Ok((header, body)) => {
            let (response, body) = tokio::select! {
                answer = shared.service.serve(peer, header.request, body) => answer,
                // The peer stopped waiting: so does the work.
                _ = send.stopped() => return,
            };
            (header.id, response, body)
        }
        Err(ReadFailure::Answer(id, error)) => {
            debug!(%peer, %error, "request refused unread");
            let _ = recv.stop(ANSWERED);
            (id, Response::error(error.code(), error.to_string()), Bytes::new())
        }
        Err(ReadFailure::Gone) => {
            let _ = send.reset(ANSWERED);
            return;
        }
    };
    if timeout(shared.options.response_timeout, respond(&mut send, id, response, body)).await.is_err() {
        debug!(%peer, "peer did not take the answer in time");
        let _ = send.reset(ANSWERED);
    }
    drop(slot);
}

async fn respond(send: &mut SendStream, id: u64, response: Response, body: Bytes) {
    let announced = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let header = ResponseHeader { id, body_len: announced, response };
    let (frame, body) = match header.to_frame() {
        Ok(frame) => (frame, body),
        Err(error) => {
            warn!(%error, "an answer of this node is over the caps of the protocol");
            let response = Response::error(ErrorCode::Unavailable, "answer too long");
            match (ResponseHeader { id, body_len: 0, response }).to_frame() {
                Ok(frame) => (frame, Bytes::new()),
                Err(_) => return,
            }
        }
    };
    if stream::send(send, frame.into(), body).await.is_ok() {
        // Shutdown waits for this task: the answer must have arrived by then.
        let _ = send.stopped().await;
    }
}
