//! A whole Arion network on one machine, as real processes on loopback, and the stories told on it.
//!
//! `arion-devnet` (`scripts/devnet`) is for people: it starts a network, shows it, breaks it, stops it.
//! `arion-e2e` stories (`scripts/e2e NAME`) use the same network and check what a user would see.
//!
//! # Invariants
//! - Nothing here is linked into a daemon, and no daemon is mocked: processes are started from their binaries and
//!   spoken to over RPC, S3, QUIC and signals. Only who cheats is a program of its own ([`cheat`]), in front of an honest
//!   daemon.
//! - A process is signalled only while its pid still has the start time it was started with ([`process`]).
//! - No process outlives its supervisor, however that ends.
//!
//! # Not here
//! The daemons; tests of one crate (beside the crate).

pub mod census;
pub mod cheat;
pub mod cli;
pub mod control;
pub mod delay;
pub mod http;
pub mod layout;
pub mod network;
pub mod ports;
pub mod process;
pub mod progress;
pub mod report;
pub mod state;
pub mod story;
pub mod supervisor;
pub mod table;
