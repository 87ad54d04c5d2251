//! The relay daemon: miners that nobody can dial are reached through it.
//!
//! # Invariants
//! - Only miners that are registered on the finalised chain are served, and only those with a role there reach them.
//! - It holds no key but its own, and no state that outlives it.
//!
//! # Not here
//! Carrying packets, and the bounds on that (`arion-net`).

pub mod admission;
pub mod config;
pub mod daemon;
mod metrics;
