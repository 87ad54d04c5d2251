//! The validator service: knows which miners live, and votes for the map of the next epoch.
//!
//! # Invariants
//! - A map follows from the finalised chain and from what miners say in signed heartbeats, nothing else: services
//!   that have heard the same miners vote for the same bytes ([`proposal`]).
//! - A miner that falls silent stays in the map; only deregistration takes it out.
//! - A number (uid) stays with its node id and is not given to another one while the chain keeps a map with it.
//!
//! # Not here
//! Repair, weights from quality, taking silent miners out (later); when a vote becomes a map (`pallet-arion`).

pub mod config;
pub mod daemon;
pub mod liveness;
mod metrics;
pub mod proposal;
pub mod publisher;
pub mod service;

#[cfg(test)]
mod loopback_tests;
