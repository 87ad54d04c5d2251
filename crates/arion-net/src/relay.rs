//! Reaching nodes that cannot be reached: through a relay, end to end encrypted, and directly as soon as that works.
//!
//! A node behind a NAT keeps one QUIC connection to a relay ([`QuicServer::attach`]). Whoever calls it finds the relay in its
//! endpoint ([`RelayAddr`]), connects there too, and gets a channel. The packets of an ordinary `arion/1` connection
//! then travel as DATAGRAM frames over both connections. Meanwhile the caller asks for a direct path: the relay says
//! where it sees either side, the node opens its NAT towards the caller, and the caller dials; later calls take that
//! connection.
//!
//! # Invariants
//! - A relay forwards packets that it can neither read nor forge: the inner connection proves both keys, as any other.
//! - One connection to a relay is one inner endpoint: when it ends, all that ran through it ends with it.
//! - Nothing waits in a queue without a bound. What does not fit is dropped, as a router drops it.
//!
//! # Not here
//! Who may use a relay ([`Admission`], answered by `arion-relay` from the finalised chain); the messages (`arion-protocol`).
//!
//! Specified in docs/spec/relay.md.
//!
//! [`QuicServer::attach`]: crate::QuicServer::attach

mod address;
mod attach;
mod channels;
mod dial;
mod direct;
mod link;
#[cfg(test)]
mod lying_tests;
mod meter;
mod server;
mod socket;
mod stream;

pub use address::{RelayAddr, RelayAddrError};
pub use attach::{Attachment, AttachmentState};
pub use server::{Admission, RelayOptions, RelayServer, RelayStats};

pub(crate) use attach::{Attached, InnerEndpoints};
pub(crate) use dial::{Relayed, Relays};
pub(crate) use direct::prefer_direct;

use std::sync::Arc;

use arion_protocol::{
    ALPN_RELAY, ErrorCode,
    relay::{CHANNEL_BYTES, PACKET_BYTES_MAX},
};
use quinn::{
    ClientConfig, EndpointConfig, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

use crate::{
    config,
    congestion::Congestion,
    tls::{PeerCheck, TlsIdentity},
};

/// Bytes of UDP payload that the path to a relay must carry: a whole inner packet, its channel, and what QUIC puts
/// around a datagram (frame header 9, short header 1 + 8, packet number 4, tag 16).
const OUTER_MTU: u16 = (PACKET_BYTES_MAX + CHANNEL_BYTES + 38) as u16;
/// Datagrams that wait to be sent on one connection to a relay, and to be read; beyond it they are dropped.
const DATAGRAM_BUFFER_BYTES: usize = 1 << 20;
/// Requests that either side of a connection to a relay may have open at once.
const STREAMS_MAX: u32 = 16;

/// Connection code: the relay does not let this node in (any more).
const NOT_ADMITTED: VarInt = VarInt::from_u32(2);
/// Connection code: the same node has attached anew.
const REPLACED: VarInt = VarInt::from_u32(3);
/// Connection code, within a process: what carried this connection is gone.
const CARRIER_LOST: VarInt = VarInt::from_u32(4);

/// Why a relay did not help.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RelayError {
    /// The relay has another key than the endpoint says.
    #[error("the relay proved another key than the endpoint names")]
    WrongIdentity,
    /// The relay refused: `NotFound` means that the node is not attached to it now.
    #[error("the relay refused: {}", refusal(*.0))]
    Refused(ErrorCode),
    /// The relay does not speak the protocol.
    #[error("the relay broke the protocol")]
    Protocol,
    /// The relay takes no datagrams, or the path to it carries too short ones.
    #[error("the path to the relay does not carry packets of {PACKET_BYTES_MAX} bytes")]
    NoDatagrams,
    /// More relays are in use than a client keeps connections to.
    #[error("too many relays in use")]
    TooManyRelays,
}

fn refusal(code: ErrorCode) -> String {
    match code {
        ErrorCode::NotFound => "the node is not attached to it".to_owned(),
        code => code.to_string(),
    }
}

/// Settings of a connection to a relay, at both ends.
fn outer_transport() -> Arc<TransportConfig> {
    let mut config = config::transport(STREAMS_MAX, Congestion::Cubic);
    config
        .min_mtu(OUTER_MTU)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    Arc::new(config)
}

/// Settings of a connection through a relay, at both ends.
fn inner_transport(streams_max: u32) -> Arc<TransportConfig> {
    let mut config = config::transport(streams_max, Congestion::Cubic);
    config.initial_mtu(PACKET_BYTES_MAX as u16).min_mtu(PACKET_BYTES_MAX as u16).mtu_discovery_config(None);
    Arc::new(config)
}

/// Bounds the packets that others send to an inner endpoint, and the memory it reads them into.
fn inner_endpoint(mut config: EndpointConfig) -> EndpointConfig {
    config.max_udp_payload_size(PACKET_BYTES_MAX as u16).expect("QUIC allows 1200 and more");
    config
}

fn relay_client_config(tls: &TlsIdentity, check: Arc<PeerCheck>) -> Result<ClientConfig, rustls::Error> {
    let mut tls = tls.client_config(check)?;
    tls.alpn_protocols = vec![ALPN_RELAY.to_vec()];
    let tls = QuicClientConfig::try_from(tls).map_err(|_| no_initial_suite())?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(outer_transport());
    Ok(config)
}

fn relay_server_config(tls: &TlsIdentity) -> Result<ServerConfig, rustls::Error> {
    let mut tls = tls.server_config()?;
    tls.alpn_protocols = vec![ALPN_RELAY.to_vec()];
    // Nobody takes up a session with a relay.
    tls.send_tls13_tickets = 0;
    let tls = QuicServerConfig::try_from(tls).map_err(|_| no_initial_suite())?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(outer_transport());
    Ok(config)
}

fn no_initial_suite() -> rustls::Error {
    rustls::Error::General("no initial cipher suite".into())
}
