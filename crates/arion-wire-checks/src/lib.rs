//! For tests and fuzzers only: what must hold of the wire protocol and of bundles whatever the bytes, and a peer that keeps no rules.
//!
//! Each function of [`CHECKS`] takes bytes and panics where the protocol does not hold for them. libFuzzer calls them with what it
//! makes up (`fuzz/`, `./scripts/fuzz`), `tests/seeds.rs` with the golden messages and fixed seeds of mutations of them.
//! [`raw`] speaks QUIC and TLS like a node but says what it is told to: forged keys, other versions, any bytes on a stream.

#![allow(clippy::unwrap_used, reason = "a check fails where it unwraps")]

pub mod bundle;
pub mod memory;
pub mod messages;
pub mod proofs;
pub mod raw;
pub mod relay;
pub mod signed;
pub mod stream;

/// A check: panics where the protocol does not hold for these bytes. Returns whether they were good for something, that is, got
/// behind the first refusal.
pub type Check = fn(&[u8]) -> bool;

/// Every check under the name of its fuzz target.
pub const CHECKS: [(&str, Check); 13] = [
    ("request", messages::request),
    ("response", messages::response),
    ("ledger", messages::ledger),
    ("spki", messages::spki),
    ("command", signed::command),
    ("heartbeat", signed::heartbeat),
    ("receipt", signed::receipt),
    ("attestation", signed::attestation),
    ("range-proof", proofs::range),
    ("challenge-proof", proofs::challenge),
    ("relay", relay::relay),
    ("stream", stream::feed),
    ("bundle", bundle::bundle),
];
