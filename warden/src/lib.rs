//! The warden: samples shards from the ledgers of gateways, challenges the miners that signed for them, and signs
//! what it saw.
//!
//! # Invariants
//! - A shard is audited only on the word of its miner: a receipt with a signature that holds, for the place that
//!   the map of its epoch gives (`arion-ledger`).
//! - In a round every live shard is challenged once, by the warden whose it is ([`duty`]), drawn by its bytes in an order
//!   nobody can foresee ([`sampler`]).
//! - The seed of a challenge follows from a finalised block; a retry takes a newer one ([`docket`]).
//! - What one warden found, others see for themselves ([`opinions`]).
//! - What is decided is decided without IO ([`docket`]): with the same clock, dice and answers the same happens.
//! - A signed attestation is on disk before anybody else sees it, and stays until the chain-submitter has it on its
//!   own disk ([`store`], [`handover`]).
//!
//! # Not here
//! What proves a shard (`arion-proofs`); what attestations lead to (`pallet-arion`).

pub mod auditor;
pub mod book;
pub mod challenge;
pub mod config;
pub mod coverage;
pub mod daemon;
pub mod docket;
pub mod duty;
pub mod evidence;
pub mod handover;
mod metrics;
pub mod opinions;
pub mod paths;
pub mod sampler;
pub mod store;
pub mod witness;

pub use metrics::Metrics;

#[cfg(test)]
mod cheating_tests;
#[cfg(test)]
mod loopback_tests;
#[cfg(test)]
mod samples;
