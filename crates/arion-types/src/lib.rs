//! Types that cross a boundary: between processes, between chain and daemons, between memory and disk.
//!
//! Anything that is signed or stored on chain is defined here and nowhere else, so that the pallets, the
//! daemons and a stranger's verifier hash and sign the same bytes.
//!
//! # Invariants
//! - `no_std`; no clock, no randomness, no IO.
//! - Every signed message starts with a domain tag and the genesis hash of its chain ([`domain`]).
//! - Every encoding is SCALE; byte layouts are frozen by tests in this crate.
//!
//! # Not here
//! Wire requests (`arion-protocol`), placement (`crush`), challenge trees (`arion-proofs`).

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod attestation;
pub mod domain;
pub mod exhibit;
pub mod ids;
pub mod map;
pub mod quality;
pub mod receipt;
pub mod registration;
#[cfg(feature = "sign")]
pub mod signing;
pub mod snapshot;
pub mod statement;
pub mod stripe;
pub mod units;

pub use attestation::{AttestationCommitment, AttestationRecord, AttestationResult};
pub use exhibit::{Exhibit, ShownAttestation};
pub use ids::{Epoch, GenesisHash, NodeId, PgId, ShardHash, Signature, StripeId, Uid};
pub use map::{CrushParams, MinerRecord};
pub use quality::{MinerStatsUpdate, NetworkTotals, NodeQuality};
pub use receipt::{Receipt, SignedReceipt};
pub use registration::{Lane, NodeType};
pub use snapshot::Snapshot;
pub use statement::{ObjectStatement, StatedPart, StatedStripe};
