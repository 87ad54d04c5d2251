//! Proofs that bytes belong to a shard: range reads and audit challenges; and that an entry belongs to a list ([`merkle`]).
//!
//! A shard's address is the root of its BLAKE3 tree, so the address, the range proof and the audit proof are one
//! tree. A proof is the tree nodes on the way to the proven chunk groups and the bytes of those groups, in the
//! pre-order that `bao-tree` defines for chunk groups of [`GROUP_BYTES`].
//!
//! # Invariants
//! - Verification is exact: the verifier derives from the shard's length and the asked ranges which nodes and
//!   bytes must come, in which order; anything missing, other or trailing is an error.
//! - The verifier brings the shard's length (from a receipt or manifest); the prover's word for it is not used.
//!
//! # Not here
//! The challenge seed (`arion_types::attestation`), deadlines and verdicts (`arion-warden`).
//!
//! Specified in docs/spec/proofs.md; frozen by vectors/challenge.json.

pub mod challenge;
pub mod detection;
pub mod merkle;
pub mod range;

use bao_tree::BlockSize;

/// Bytes of a chunk group: the unit of proofs. 16 BLAKE3 chunks of 1 KiB.
pub const GROUP_BYTES: u32 = 16 * 1024;

/// Chunk groups of 2^4 chunks.
pub(crate) const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log(4);

pub use challenge::{CHUNKS_MAX, Groups, derive, prove, verify};
pub use detection::{PPM, detection_ppm};
pub use range::{ProveError, VerifyError, prove_range, verify_range};
