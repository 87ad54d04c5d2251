//! One connection to a relay, and the QUIC endpoint whose network it is.

use std::sync::Arc;

use arion_protocol::relay::{CHANNEL_BYTES, PACKET_BYTES_MAX, split_datagram};
use bytes::Bytes;
use quinn::{Connection, Endpoint, EndpointConfig, SendDatagramError, ServerConfig};
use tokio::sync::mpsc::{Receiver, Sender, error::TrySendError};
use tracing::trace;

use super::{
    CARRIER_LOST, RelayError,
    channels::Channels,
    inner_endpoint,
    socket::{Incoming, Outgoing, RelaySocket},
};
use crate::server::open_endpoint;

/// A connection to a relay with its inner endpoint. Dropping it closes both.
pub(super) struct Link {
    pub(super) relay: Connection,
    pub(super) inner: Endpoint,
    pub(super) channels: Arc<Channels>,
}

impl Link {
    /// Carries packets over `relay` from now on. With a server configuration others can connect.
    pub(super) fn new(
        relay: Connection,
        config: EndpointConfig,
        server: Option<ServerConfig>,
    ) -> Result<Self, RelayError> {
        let room = relay.max_datagram_size().unwrap_or(0);
        if room < CHANNEL_BYTES + PACKET_BYTES_MAX {
            return Err(RelayError::NoDatagrams);
        }
        let (socket, wires) = RelaySocket::new();
        let (inner, _) = open_endpoint(Arc::new(socket), inner_endpoint(config), server)
            .expect("no system has to agree to a socket in memory");
        let channels = Arc::<Channels>::default();
        tokio::spawn(send(relay.clone(), wires.outgoing));
        tokio::spawn(receive(relay.clone(), inner.clone(), channels.clone(), wires.incoming));
        Ok(Self { relay, inner, channels })
    }

    /// Whether the connection stands.
    pub(super) fn stands(&self) -> bool {
        self.relay.close_reason().is_none()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.inner.close(CARRIER_LOST, b"relay not used any more");
        self.relay.close(0u32.into(), b"relay not used any more");
    }
}

/// Ends with the connection, or when nobody sends any more.
async fn send(relay: Connection, mut outgoing: Receiver<Outgoing>) {
    while let Some(mut datagrams) = outgoing.recv().await {
        while let Some(datagram) = datagrams.next() {
            match relay.send_datagram_wait(datagram).await {
                Ok(()) => {}
                Err(SendDatagramError::ConnectionLost(_)) => return,
                // The path has become too narrow: the packet is lost, as on any path.
                Err(error) => trace!(%error, "packet not sent"),
            }
        }
    }
}

/// Ends with the connection, and ends with it what runs through it.
async fn receive(relay: Connection, inner: Endpoint, channels: Arc<Channels>, incoming: Sender<Incoming>) {
    while let Ok(datagram) = relay.read_datagram().await {
        take(&datagram, &channels, &incoming);
    }
    inner.close(CARRIER_LOST, b"connection to the relay lost");
}

fn take(datagram: &Bytes, channels: &Channels, incoming: &Sender<Incoming>) {
    match split_datagram(datagram) {
        None => trace!("datagram of a wrong length"),
        Some((channel, [])) => channels.gone(channel),
        Some((channel, _)) => {
            let packet = datagram.slice(CHANNEL_BYTES..);
            if let Err(TrySendError::Full(_)) = incoming.try_send(Incoming { channel, packet }) {
                trace!(channel, "packet dropped: too many wait");
            }
        }
    }
}
