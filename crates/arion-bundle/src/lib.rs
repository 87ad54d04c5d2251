//! Bundles: everything that was attested about an epoch, with what it rests on, as files that anybody can check.
//!
//! A bundle is an index and parts, each an object named by its BLAKE3. The chain knows the hash of the index and two roots
//! (`submit_attestation_commitment`). [`Binder`] writes one, [`Verifier`] checks one, both a part at a time.
//!
//! # Invariants
//! - Equal attestations with equal exhibits, read at an equal block, give equal bytes.
//! - No byte of a bundle can change without a fault that names its place: the field of the index, or the part and the
//!   attestation.
//! - Memory is bounded by a part and some 150 bytes per attestation.
//!
//! # Not here
//! Where attestations and exhibits come from and where bundles are kept (`arion-submitter`); reading the chain (`arion`).
//!
//! Specified in docs/spec/bundle.md; frozen by vectors/bundle.json.

mod binder;
mod exhibit;
mod fault;
mod format;
mod span;
mod verify;

#[cfg(test)]
mod flip_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod vector_tests;
#[cfg(test)]
mod verify_tests;

pub use binder::{Binder, Bound};
pub use exhibit::{Shown, judge};
pub use fault::{Fault, FaultKind, Place};
pub use format::{Block, INDEX_BYTES_MAX, Index, IndexV1, PART_BYTES_MAX, PartRef, blocks_of};
pub use span::{Span, ended_spans};
pub use verify::{FAULTS_MAX, Facts, MinerVerdict, Report, Verifier};
