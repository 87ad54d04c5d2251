//! Carrying requests between nodes: QUIC with raw Ed25519 keys, and an in-memory stand-in for tests.
//!
//! Who calls whom is decided by [`Transport`] (client side) and [`Service`] (server side); daemons know only
//! these two traits. [`QuicTransport`] and [`QuicServer`] are the real thing, [`MemoryNetwork`] the stand-in. Nodes that
//! nobody can reach are reached through a relay ([`QuicServer::attach`], [`RelayServer`]); callers see no difference.
//!
//! # Invariants
//! - Both ends of a connection have proven an Ed25519 key (RFC 7250 raw public key, TLS 1.3), in its handshake or in that
//!   of the session it takes up; that key *is* the node id. A dialled peer with another key gets nothing, not even our own key.
//! - Nothing is allocated for a message before its announced length is within the caps of `arion-protocol` and
//!   a slot of the server's request budget is held.
//! - Before a handshake is done only reads are sent and served (0-RTT), and no session is taken up twice.
//! - A request is sent again by itself only when that cannot change the outcome ([`is_repeatable`]).
//!
//! # Not here
//! What messages mean (`arion-protocol`); who may send which (each service, from the finalised chain).
//!
//! Specified in docs/spec/wire.md and docs/spec/relay.md.

mod client;
mod config;
mod congestion;
#[cfg(test)]
mod early_tests;
mod identity;
mod keys;
mod memory;
mod notice;
#[cfg(test)]
mod packet_tests;
mod pool;
mod relay;
mod resume;
mod server;
mod share;
mod stream;
mod tls;
mod transport;

pub use client::{ClientOptions, QuicTransport};
pub use congestion::Congestion;
pub use identity::{SpkiError, node_id_from_spki, spki};
pub use keys::KeyLifetime;
pub use memory::{MemoryNetwork, MemoryTransport};
pub use relay::{
    Admission, Attachment, AttachmentState, RelayAddr, RelayAddrError, RelayError, RelayOptions, RelayServer,
    RelayStats,
};
pub use server::{BindError, QuicServer, ServerOptions};
pub use transport::{CallError, DialError, PeerAddr, ProtocolError, Service, Transport, is_repeatable};
