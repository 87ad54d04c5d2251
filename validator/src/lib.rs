//! The validator service: knows which miners live, votes for the map of the next epoch, brings shards to the miners that the map
//! names, and tells the node beside it how good miners are.
//!
//! # Invariants
//! - A map follows from the finalised chain and from what miners say in signed heartbeats, nothing else: services
//!   that have heard the same miners vote for the same bytes ([`proposal`], [`weight`]).
//! - A miner that falls silent stays in the map for as long as its operator was promised ([`standing`]).
//! - A number (uid) stays with its node id and is not given to another one while the chain keeps a map with it.
//!
//! # Not here
//! When a vote becomes a map, and the weights that payouts go by (`pallet-arion`).

pub mod announcement;
pub mod config;
pub mod daemon;
pub mod holdings;
pub mod liveness;
mod metrics;
pub mod movement;
pub mod presence;
pub mod proposal;
pub mod publisher;
pub mod quality;
pub mod repair;
pub mod service;
pub mod standing;
pub mod unnamed;
pub mod weight;

pub use metrics::Metrics;

#[cfg(test)]
mod loopback_tests;
#[cfg(test)]
mod quality_tests;
