//! Calling through relays: one connection to each, shared by all who are called through it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_protocol::{
    ErrorCode,
    relay::{RelayAnswer, RelayRequest},
};
use arion_types::NodeId;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, VarInt};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    CARRIER_LOST, RelayAddr, RelayError, inner_transport, link::Link, relay_client_config, stream::ask,
};
use crate::{
    client::{SERVER_NAME, resolve},
    tls::TlsIdentity,
    transport::DialError,
};

/// Relays that a client keeps connections to.
pub(super) const RELAYS_MAX: usize = 64;
/// After a failed connection to a relay further ones fail at once for this long.
const BACKOFF: Duration = Duration::from_millis(500);
/// A relayed connection on which no request ran for so long is closed, and its channel with it.
const UNUSED: Duration = Duration::from_secs(120);
/// Time for peers to be told that the client stops.
const LINGER: Duration = Duration::from_millis(200);

/// The relays of one client.
pub(crate) struct Relays {
    tls: TlsIdentity,
    endpoint: Endpoint,
    links: Mutex<HashMap<RelayAddr, Shared>>,
}

type Shared = Arc<tokio::sync::Mutex<State>>;

/// What is known of one relay.
#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    failed: Option<(Instant, DialError)>,
}

/// A connection through a relay.
#[derive(Clone)]
pub(crate) struct Relayed {
    pub(crate) connection: Connection,
    link: Arc<Link>,
    channel: u32,
}

impl Relays {
    /// Relays are reached from `endpoint`: the address they see is the one that direct paths start from.
    pub(crate) fn new(tls: TlsIdentity, endpoint: Endpoint) -> Self {
        Self { tls, endpoint, links: Mutex::default() }
    }

    /// Connects to a node through a relay, with the settings of a direct connection but for the size of packets.
    pub(crate) async fn connect(
        &self,
        relay: &RelayAddr,
        target: NodeId,
        mut config: ClientConfig,
    ) -> Result<Relayed, DialError> {
        let link = self.link(relay).await?;
        // Goes on where the caller gives up, so that the channel is closed again.
        let opened = tokio::spawn(open(link, target)).await.map_err(|_| RelayError::Protocol)??;
        config.transport_config(inner_transport(0));
        let channel = opened.channel;
        let address = super::channels::address(channel);
        let connecting = opened.link.inner.connect_with(config, address, SERVER_NAME)?;
        let connection = tokio::select! {
            connection = connecting => connection?,
            () = opened.gone.cancelled() => return Err(RelayError::Refused(ErrorCode::NotFound).into()),
        };
        let relayed = Relayed { connection: connection.clone(), link: opened.link.clone(), channel };
        tokio::spawn(tend(connection, opened));
        Ok(relayed)
    }

    async fn link(&self, relay: &RelayAddr) -> Result<Arc<Link>, DialError> {
        let asked = Instant::now();
        let shared = self.shared(relay)?;
        let mut state = shared.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| link.stands()) {
            return Ok(link.clone());
        }
        if let Some((_, error)) =
            state.failed.as_ref().filter(|(at, _)| *at >= asked || at.elapsed() < BACKOFF)
        {
            return Err(error.clone());
        }
        let outcome = connect_relay(&self.tls, &self.endpoint, relay)
            .await
            .and_then(|connection| Ok(Arc::new(Link::new(connection, EndpointConfig::default(), None)?)));
        match &outcome {
            Ok(link) => (state.link, state.failed) = (Some(link.clone()), None),
            Err(error) => (state.link, state.failed) = (None, Some((Instant::now(), error.clone()))),
        }
        outcome
    }

    /// Closes the connections through relays while what carries them still stands, and lets the peers be told.
    pub(crate) async fn close(&self, code: VarInt, reason: &[u8]) {
        let known: Vec<Shared> = self.links().values().cloned().collect();
        let links: Vec<_> = known.iter().filter_map(|known| known.try_lock().ok()?.link.clone()).collect();
        for link in &links {
            link.inner.close(code, reason);
        }
        let end = Instant::now() + LINGER;
        for link in links {
            let _ = timeout_at(end, link.inner.wait_idle()).await;
        }
    }

    /// What is known of a relay. Room is made by forgetting relays whose connection does not stand.
    fn shared(&self, relay: &RelayAddr) -> Result<Shared, DialError> {
        let mut links = self.links();
        if !links.contains_key(relay) && links.len() >= RELAYS_MAX {
            links.retain(|_, shared| {
                shared.try_lock().map_or(true, |state| state.link.as_ref().is_some_and(|link| link.stands()))
            });
            if links.len() >= RELAYS_MAX {
                return Err(RelayError::TooManyRelays.into());
            }
        }
        Ok(links.entry(relay.clone()).or_default().clone())
    }

    fn links(&self) -> MutexGuard<'_, HashMap<RelayAddr, Shared>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel of ours; the relay is told when it is needed no more.
struct Opened {
    link: Arc<Link>,
    channel: u32,
    gone: CancellationToken,
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.link.channels.forget(self.channel) || !self.link.stands() {
            return;
        }
        let (link, channel) = (self.link.clone(), self.channel);
        // Ends with the connection at the latest. Not answered: the relay frees the channel with the connection.
        tokio::spawn(async move { ask(&link.relay, &RelayRequest::Close { channel }).await });
    }
}

async fn open(link: Arc<Link>, target: NodeId) -> Result<Opened, DialError> {
    match ask(&link.relay, &RelayRequest::Reach { target }).await? {
        RelayAnswer::Reached { channel } => Ok(Opened { gone: link.channels.add(channel), link, channel }),
        _ => Err(RelayError::Protocol.into()),
    }
}

/// Ends a relayed connection whose channel is gone or that nobody uses, and frees the channel of one that has ended.
async fn tend(connection: Connection, opened: Opened) {
    let mut seen = streams(&connection);
    loop {
        tokio::select! {
            _ = connection.closed() => return,
            () = opened.gone.cancelled() => {
                return connection.close(CARRIER_LOST, b"channel closed by the relay");
            }
            () = tokio::time::sleep(UNUSED) => {}
        }
        let now = streams(&connection);
        if now == seen {
            return connection.close(0u32.into(), b"not used any more");
        }
        seen = now;
    }
}

/// Grows with every request and answer.
fn streams(connection: &Connection) -> u64 {
    let stats = connection.stats();
    stats.frame_tx.stream + stats.frame_rx.stream
}

impl Relayed {
    /// Where the node may be reached directly, now that its NAT has been opened towards us.
    pub(super) async fn direct_address(&self) -> Result<SocketAddr, DialError> {
        let request = RelayRequest::Direct { channel: self.channel };
        match ask(&self.link.relay, &request).await? {
            RelayAnswer::Direct { address } => Ok(address.usable().ok_or(RelayError::Protocol)?),
            _ => Err(RelayError::Protocol.into()),
        }
    }
}

/// A connection to a relay that has proven its key.
pub(super) async fn connect_relay(
    tls: &TlsIdentity,
    endpoint: &Endpoint,
    relay: &RelayAddr,
) -> Result<Connection, DialError> {
    let address = resolve(relay.host_port()).await?;
    let check = tls.peer_check(relay.node_id);
    let config = relay_client_config(tls, check.clone()).map_err(|_| RelayError::Protocol)?;
    let connected = endpoint.connect_with(config, address, SERVER_NAME)?.await;
    connected.map_err(|error| match check.impostor() {
        Some(_) => RelayError::WrongIdentity.into(),
        None => DialError::Lost(error),
    })
}
