//! The wire protocol between nodes: messages, caps, authentication of commands. Sans-IO.
//!
//! One request is one bidirectional QUIC stream under ALPN [`ALPN`]:
//! `u32 LE header length || SCALE header || raw body`, the same for the response. Headers carry the length of
//! their body; shard bytes are never inside a header.
//!
//! # Invariants
//! - A decoder never allocates more than [`limits`] allows, whatever the peer sends.
//! - Decoding consumes its input exactly; what decodes encodes to the same bytes.
//! - Every header begins with the same [`frame::Envelope`]: what a later version says is answered `Unsupported` under
//!   its id, never misread.
//! - Codec indices of [`Request`] and [`Response`] and numbers of [`ErrorCode`] are never reused.
//!
//! # Not here
//! Sockets and connections (`arion-net`); who has which role (each server, from the finalised chain).
//!
//! Specified in docs/spec/wire.md; every message is frozen by a file in golden/.

pub mod command;
pub mod custody;
pub mod error;
pub mod frame;
pub mod heartbeat;
pub mod ledger;
pub mod limits;
pub mod message;
pub mod relay;
pub mod standing;
pub mod unnamed;

pub use command::{Action, Command, CommandError, SignedCommand};
pub use custody::{DrainProgress, MinerCustody, NetworkDurability, StripesAlike};
pub use error::ErrorCode;
pub use frame::{FrameError, Rejection, RequestHeader, ResponseHeader};
pub use heartbeat::{Heartbeat, SignedHeartbeat};
pub use ledger::{Compacted, LedgerBase, LedgerEntry, LedgerRecord, Served};
pub use message::{ListedShard, MinerState, MinerStatus, Request, Response, ShardPlacement, ShardStat};
pub use relay::{ALPN_RELAY, ObservedAddress, RelayAnswer, RelayOrder, RelayRequest};
pub use standing::{MinerReason, MinerTransition};
pub use unnamed::{LedgerPosition, ShardBits, SignedUnnamed, Unnamed, UnnamedQuestion};

/// Application protocol name in the TLS handshake: the version of everything in this crate.
pub const ALPN: &[u8] = b"arion/1";
/// All versions that this crate speaks, the best first: what clients offer and servers choose from, in their order.
pub const ALPNS: &[&[u8]] = &[ALPN];
