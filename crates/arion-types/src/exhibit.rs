//! What an attestation rests on, as far as it can be shown: the miner's answer.
//!
//! Wardens hand it over with the attestation, bundles keep it (docs/spec/bundle.md). What it shows says `arion-bundle`.

use alloc::vec::Vec;
use codec::{Decode, Encode};

use crate::attestation::AttestationRecord;

/// Longest answer that is handed over and kept, in bytes: more than any proof of a challenge has. A longer one proves
/// nothing anyhow.
pub const ANSWER_BYTES_MAX: usize = 128 << 10;

/// What there is to show for an attestation.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Exhibit {
    /// Nothing: no answer came, or it was not kept.
    #[codec(index = 0)]
    Absent,
    /// The bytes with which the miner answered the challenge.
    #[codec(index = 1)]
    Answer {
        /// Length of the shard, from the miner's receipt.
        size: u32,
        /// The answer as it came, at most [`ANSWER_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// The miner refused.
    #[codec(index = 2)]
    Refusal {
        /// Length of the shard, from the miner's receipt.
        size: u32,
        /// Number of the error (docs/spec/wire.md).
        code: u8,
    },
}

/// An attestation with what there is to show for it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ShownAttestation {
    /// The attestation.
    pub record: AttestationRecord,
    /// What it rests on.
    pub exhibit: Exhibit,
}
