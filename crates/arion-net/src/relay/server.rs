//! The relay: carries packets between nodes that it lets in.
//!
//! # Invariants
//! - Only nodes that [`Admission`] names get further than the handshake, and they are looked at again and again.
//! - Connections, channels and requests are bounded per node and in all; bytes per second per channel and per attached node.
//! - Packets wait nowhere but in the bounded send buffer of a connection: what does not fit is dropped and counted.

mod channel;
mod forward;
mod request;
mod stats;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arion_protocol::ErrorCode;
use arion_types::NodeId;
use ed25519_dalek::SigningKey;
use quinn::{Endpoint, Incoming, VarInt};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use self::channel::Peer;
use self::stats::Counters;
pub use self::stats::RelayStats;
use super::{NOT_ADMITTED, REPLACED, relay_server_config};
use crate::{
    config::server_endpoint_config,
    server::{BindError, open_endpoint, open_socket, peer_of},
    share::PeerSlot,
    tls::TlsIdentity,
};

/// Connection code: the relay stops.
const STOPPING: VarInt = VarInt::from_u32(0);
/// Connection code: too many connections of this node.
const TOO_MANY_CONNECTIONS: VarInt = VarInt::from_u32(1);
/// Time for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who may use a relay. Asked at every connection and request, and about standing connections every
/// [`RelayOptions::recheck`]; `Unavailable` says that it is not known now, and ends nothing that stands.
pub trait Admission: Send + Sync + 'static {
    /// Whether others may reach this node through the relay.
    fn may_attach(&self, node: &NodeId) -> Result<(), ErrorCode>;
    /// Whether this node may reach others through the relay.
    fn may_reach(&self, node: &NodeId) -> Result<(), ErrorCode>;
}

/// Bounds of a relay.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Open connections, over all nodes.
    pub connections_max: usize,
    /// Open connections of one node id.
    pub connections_per_node_max: usize,
    /// Channels that end at one connection.
    pub channels_per_connection_max: usize,
    /// Bytes per second, both directions together, from and to one attached node.
    pub node_bytes_per_second: u64,
    /// Bytes per second, both directions together, on one channel.
    pub channel_bytes_per_second: u64,
    /// Standing connections are admitted anew this often.
    pub recheck: Duration,
    /// Whether callers are helped to find direct paths; without it everything stays with the relay.
    pub direct: bool,
    /// Least pause between two `Direct` requests on one channel.
    pub direct_pause: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_node_max: 8,
            channels_per_connection_max: 1_024,
            node_bytes_per_second: 64 << 20,
            channel_bytes_per_second: 32 << 20,
            recheck: Duration::from_secs(30),
            direct: true,
            direct_pause: Duration::from_secs(5),
        }
    }
}

/// A running relay. Dropping it closes all connections.
pub struct RelayServer {
    endpoint: Endpoint,
    local_addr: SocketAddr,
    state: Arc<State>,
}

/// What all connections share.
struct State {
    admission: Arc<dyn Admission>,
    options: RelayOptions,
    nodes: Arc<Mutex<HashMap<NodeId, usize>>>,
    attached: Mutex<HashMap<NodeId, Arc<Peer>>>,
    next_channel: AtomicU32,
    counters: Counters,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl RelayServer {
    /// Listens on `addr`. Needs a running tokio runtime.
    pub fn bind(
        addr: SocketAddr,
        key: &SigningKey,
        admission: Arc<dyn Admission>,
        options: RelayOptions,
    ) -> Result<Self, BindError> {
        let config = relay_server_config(&TlsIdentity::new(key)?)?;
        let (endpoint, local_addr) =
            open_endpoint(open_socket(addr)?, server_endpoint_config(key), Some(config))?;
        let state = Arc::new(State {
            admission,
            options,
            nodes: Arc::default(),
            attached: Mutex::default(),
            next_channel: AtomicU32::new(1),
            counters: Counters::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        state.tasks.spawn(accept(endpoint.clone(), state.clone()));
        Ok(Self { endpoint, local_addr, state })
    }

    /// The address in use, with the port the system chose where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What is going on, and what went on since the start.
    pub fn stats(&self) -> RelayStats {
        self.state.counters.read(self.endpoint.open_connections(), self.state.attached().len())
    }

    /// Closes all connections; returns when their ends have been told or after `deadline`.
    pub async fn shutdown(self, deadline: Duration) {
        let end = Instant::now() + deadline;
        self.state.stop.cancel();
        self.state.tasks.close();
        self.endpoint.close(STOPPING, b"relay stops");
        let _ = timeout_at(end, self.state.tasks.wait()).await;
        let _ = timeout_at(end, self.endpoint.wait_idle()).await;
    }
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        self.state.stop.cancel();
        self.endpoint.close(STOPPING, b"relay stops");
    }
}

impl State {
    fn attached(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Peer>>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_channel(&self) -> u32 {
        self.next_channel.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a node may be here at all.
    fn admit(&self, node: &NodeId) -> Result<(), ErrorCode> {
        let reach = self.admission.may_reach(node);
        if reach.is_ok() { reach } else { self.admission.may_attach(node) }
    }

    /// Others reach this node over this connection from now on; over an earlier one no more.
    fn attach(&self, peer: &Arc<Peer>) {
        let earlier = self.attached().insert(peer.node, peer.clone());
        if let Some(earlier) = earlier.filter(|earlier| !Arc::ptr_eq(earlier, peer)) {
            info!(node = %peer.node, "attached anew; the earlier connection is closed");
            earlier.connection.close(REPLACED, b"attached anew");
        }
    }

    /// A connection has ended: so has all that ran over it.
    fn leave(&self, peer: &Arc<Peer>) {
        let mut attached = self.attached();
        if attached.get(&peer.node).is_some_and(|standing| Arc::ptr_eq(standing, peer)) {
            attached.remove(&peer.node);
        }
        drop(attached);
        for (number, channel) in peer.end() {
            channel.close_other_end(number);
        }
    }
}

async fn accept(endpoint: Endpoint, state: Arc<State>) {
    loop {
        let incoming = tokio::select! {
            () = state.stop.cancelled() => return,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let open = endpoint.open_connections();
        if open >= state.options.connections_max {
            warn!(open, "connection refused: too many open");
            state.counters.refused();
            incoming.refuse();
        } else if open >= state.options.connections_max / 2 && incoming.may_retry() {
            // Under load an address must prove itself before it costs a handshake.
            let _ = incoming.retry();
        } else {
            state.tasks.spawn(serve(state.clone(), incoming));
        }
    }
}

/// One connection from its handshake to its end.
async fn serve(state: Arc<State>, incoming: Incoming) {
    let remote = incoming.remote_address();
    let connection = match timeout(HANDSHAKE, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%remote, %error, "handshake failed"),
        Err(_) => return debug!(%remote, "handshake timed out"),
    };
    let Some(node) = peer_of(&connection) else { return debug!(%remote, "peer without a key") };
    if let Err(code) = state.admit(&node) {
        state.counters.refused();
        connection.close(NOT_ADMITTED, code.to_string().as_bytes());
        return debug!(%remote, %node, %code, "not admitted");
    }
    let max = state.options.connections_per_node_max;
    let Some(_slot) = PeerSlot::take(&state.nodes, node, max) else {
        state.counters.refused();
        connection.close(TOO_MANY_CONNECTIONS, b"too many connections");
        return debug!(%remote, %node, "node has too many connections");
    };
    debug!(%remote, %node, "connected");
    let peer = Arc::new(Peer::new(node, connection, state.options.node_bytes_per_second));
    state.tasks.spawn(forward::run(state.clone(), peer.clone()));
    stay(&state, &peer).await;
    state.leave(&peer);
    debug!(%remote, %node, reason = ?peer.connection.close_reason(), "disconnected");
}

/// Answers requests until the connection ends or its node is not admitted any more.
async fn stay(state: &Arc<State>, peer: &Arc<Peer>) {
    let mut recheck = interval(state.options.recheck.max(Duration::from_millis(1)));
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return peer.connection.close(STOPPING, b"relay stops"),
            stream = peer.connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    state.tasks.spawn(request::serve(state.clone(), peer.clone(), send, recv));
                }
                Err(_) => return,
            },
            _ = recheck.tick() => {
                let attached = state.attached().get(&peer.node).is_some_and(|standing| Arc::ptr_eq(standing, peer));
                let admitted = if attached { state.admission.may_attach(&peer.node) } else { state.admit(&peer.node) };
                if let Err(code) = admitted && code != ErrorCode::Unavailable {
                    info!(node = %peer.node, %code, "not admitted any more");
                    return peer.connection.close(NOT_ADMITTED, code.to_string().as_bytes());
                }
            }
        }
    }
}
