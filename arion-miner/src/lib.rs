//! A storage miner: keeps shards durable on its disk, serves them and proves them over QUIC.
//!
//! # Invariants
//! - A receipt is signed only for a shard that survives a power cut.
//! - A shard is stored only where the finalised map places it, on the order of a key with the role to give it.
//! - What was stored goes only by order, or when for long nobody has wanted it ([`orphans`]).
//! - Bytes that do not hash to their address never leave the node.
//!
//! # Not here
//! Placement (`crush`), proofs (`arion-proofs`), the chain (`arion-chain`).
//!
//! Operated as docs/operate/miner.md says.

pub mod chain_facts;
pub mod cli;
pub mod config;
pub mod consent;
pub mod daemon;
pub mod disks;
pub mod heartbeat;
pub mod kept_chain;
pub mod metrics;
mod open_files;
pub mod orphans;
pub mod register;
pub mod replay;
pub mod service;
mod small_file;
pub mod store;
pub mod witnesses;
