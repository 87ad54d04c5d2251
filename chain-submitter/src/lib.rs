//! The chain-submitter: a durable queue in front of the chain.
//!
//! Wardens hand over signed attestations; they are on disk before they are acknowledged, go to the chain in batches
//! of one bucket, and leave the queue only when they are found in the finalised chain or the chain has a reason
//! never to take them. When an epoch is over, everything that was attested about it is stored as a bundle and committed to.
//!
//! # Invariants
//! - An attestation is known by the hash of what its warden signed: handing it over twice, or a crash at any
//!   point, never brings it to the chain twice and never loses it.
//! - What is decided is decided without IO ([`flow`]): the same answers of the chain lead to the same batches.
//! - One bad attestation costs nobody else's: it is singled out, kept with its reason, and counted.
//!
//! - An epoch is committed to once, by the first submitter, and only to a bundle that everybody can read ([`bundle`]).
//!
//! # Not here
//! What a bundle is (`arion-bundle`); making attestations (`warden`); verifying them for good (`pallet-arion`).

pub mod batch;
pub mod bundle;
pub mod config;
pub mod conflicts;
pub mod daemon;
pub mod flow;
mod metrics;
pub mod queue;
pub mod service;
pub mod spending;
pub mod submit;
