//! Being reached through a relay: a server keeps a connection to it and serves what comes out of it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arion_protocol::{
    ErrorCode,
    relay::{RelayAnswer, RelayOrder, RelayRequest},
};
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, VarInt,
    udp::Transmit,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    RelayAddr, RelayError,
    dial::connect_relay,
    inner_transport,
    link::Link,
    meter::Meter,
    stream::{answer, ask, read},
};
use crate::{tls::TlsIdentity, transport::DialError};

/// Time to connect to the relay and to be attached.
const ATTACH: Duration = Duration::from_secs(10);
/// Wait after a failure; doubled up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(30);
/// What is sent to open the way in: nothing that QUIC looks at (the fixed bit is 0).
const PUNCH: &[u8] = &[0; 8];
/// When it is sent, again and again, as one may be lost.
const PUNCH_PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(400)];
/// Bytes of such packets that a relay can have us send in a second, whatever it orders.
const PUNCH_BYTES_PER_SECOND: u64 = 256;
/// Time for the peers to be told that the server stops.
const LINGER: Duration = Duration::from_millis(200);
/// Time for an order of the relay to arrive.
const ORDER: Duration = Duration::from_secs(5);

/// How it stands with the relay of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttachmentState {
    /// Not reached yet.
    Connecting,
    /// Others can reach this server through the relay.
    Attached {
        /// Where the relay sees this server.
        observed: SocketAddr,
    },
    /// Not attached; it is tried again.
    Detached {
        /// What went wrong last.
        reason: String,
    },
}

/// A server's place at a relay. It lasts as long as the server.
#[derive(Clone, Debug)]
pub struct Attachment {
    state: watch::Receiver<AttachmentState>,
}

impl Attachment {
    /// How it stands now.
    pub fn state(&self) -> AttachmentState {
        self.state.borrow().clone()
    }

    /// Returns when others can reach the server through the relay; never, where the server has ended.
    pub async fn attached(&mut self) {
        let holds = |state: &AttachmentState| matches!(state, AttachmentState::Attached { .. });
        if self.state.wait_for(holds).await.is_err() {
            std::future::pending().await
        }
    }
}

/// What a server lends to its attachment.
pub(crate) struct Attached {
    pub(crate) relay: RelayAddr,
    pub(crate) tls: TlsIdentity,
    /// The endpoint it listens on, and its socket.
    pub(crate) endpoint: Endpoint,
    pub(crate) socket: Arc<dyn AsyncUdpSocket>,
    /// Settings of its TLS.
    pub(crate) server: ServerConfig,
    /// Serves an inner endpoint from now on.
    pub(crate) serve: Box<dyn Fn(Endpoint) + Send + Sync>,
    /// Requests that one connection may have open.
    pub(crate) streams_max: u32,
}

impl Attached {
    /// Attaches again and again, until the endpoint is closed.
    pub(crate) fn start(self, stop: tokio_util::sync::CancellationToken) -> Attachment {
        let (tell, state) = watch::channel(AttachmentState::Connecting);
        tokio::spawn(async move {
            let mut backoff = BACKOFF.0;
            while !stop.is_cancelled() {
                let start = Instant::now();
                let error = match self.attach(&tell).await {
                    Ok(link) => self.obey(&link.relay).await,
                    Err(error) => error,
                };
                if stop.is_cancelled() {
                    return;
                }
                warn!(relay = %self.relay, %error, "not reachable through the relay; trying again");
                tell.send_replace(AttachmentState::Detached { reason: error.to_string() });
                backoff = if start.elapsed() >= GOOD { BACKOFF.0 } else { backoff };
                tokio::select! {
                    () = sleep(backoff) => {}
                    () = stop.cancelled() => return,
                }
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        });
        Attachment { state }
    }

    async fn attach(&self, tell: &watch::Sender<AttachmentState>) -> Result<Link, DialError> {
        timeout(ATTACH, async {
            let relay = connect_relay(&self.tls, &self.endpoint, &self.relay).await?;
            let mut server = self.server.clone();
            server.transport_config(inner_transport(self.streams_max));
            let link = Link::new(relay, EndpointConfig::default(), Some(server))?;
            (self.serve)(link.inner.clone());
            let RelayAnswer::Attached { observed } = ask(&link.relay, &RelayRequest::Attach).await? else {
                return Err(RelayError::Protocol.into());
            };
            let observed = observed.usable().ok_or(RelayError::Protocol)?;
            info!(relay = %self.relay, %observed, "reachable through the relay");
            tell.send_replace(AttachmentState::Attached { observed });
            Ok(link)
        })
        .await
        .unwrap_or(Err(DialError::Timeout(ATTACH)))
    }

    /// Does what the relay orders, until the connection ends.
    async fn obey(&self, relay: &Connection) -> DialError {
        let meter =
            Arc::new(Meter::with_burst(PUNCH_BYTES_PER_SECOND, PUNCH_BYTES_PER_SECOND, Instant::now()));
        loop {
            match relay.accept_bi().await {
                Ok((send, recv)) => {
                    tokio::spawn(carry_out(self.socket.clone(), meter.clone(), send, recv));
                }
                Err(error) => return DialError::Lost(error),
            }
        }
    }
}

async fn carry_out(
    socket: Arc<dyn AsyncUdpSocket>,
    meter: Arc<Meter>,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let Ok(order) = timeout(ORDER, read::<RelayOrder>(&mut recv)).await else {
        let _ = send.reset(VarInt::from_u32(0));
        return;
    };
    let refused = |code| RelayAnswer::Refused { code };
    let Some(RelayOrder::Punch { address }) = order else {
        return answer(&mut send, &refused(ErrorCode::Malformed)).await;
    };
    let Some(address) = address.usable() else {
        return answer(&mut send, &refused(ErrorCode::Malformed)).await;
    };
    if !meter.take(PUNCH.len() * PUNCH_PAUSES.len(), Instant::now()) {
        return answer(&mut send, &refused(ErrorCode::Busy)).await;
    }
    for (nth, pause) in PUNCH_PAUSES.into_iter().enumerate() {
        sleep(pause).await;
        punch(&*socket, address);
        if nth == 0 {
            // The way is open: the other side may knock.
            answer(&mut send, &RelayAnswer::Done).await;
        }
    }
}

/// Sends one small packet from the socket that the server listens on.
fn punch(socket: &dyn AsyncUdpSocket, address: SocketAddr) {
    let over_v6 = socket.local_addr().is_ok_and(|local| local.is_ipv6());
    let destination = match address.ip() {
        IpAddr::V4(ip) if over_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        _ => address,
    };
    let transmit = Transmit { destination, ecn: None, contents: PUNCH, segment_size: None, src_ip: None };
    if let Err(error) = socket.try_send(&transmit) {
        debug!(%address, %error, "the way in was not opened");
    }
}

/// The inner endpoints of a server: one for every relay it is attached to now, and those that end.
#[derive(Clone, Default)]
pub(crate) struct InnerEndpoints(Arc<Mutex<Vec<Endpoint>>>);

impl InnerEndpoints {
    /// One more; those that have ended are forgotten.
    pub(crate) fn add(&self, endpoint: Endpoint) {
        let mut all = self.all();
        all.retain(|endpoint| endpoint.open_connections() > 0);
        all.push(endpoint);
    }

    /// Closes all connections, and lets the peers be told, until `end` at the latest.
    pub(crate) async fn close(&self, code: VarInt, end: tokio::time::Instant) {
        let all = self.all().clone();
        for endpoint in &all {
            endpoint.close(code, b"stopping");
        }
        let linger = end.min(tokio::time::Instant::now() + LINGER);
        for endpoint in &all {
            let _ = tokio::time::timeout_at(linger, endpoint.wait_idle()).await;
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Endpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
