//! What is wrong with a bundle, and where.

use std::fmt;

use serde::Serialize;

/// Where a fault is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "in")]
pub enum Place {
    /// The index.
    Index {
        /// The field.
        field: &'static str,
    },
    /// A part as a whole.
    Part {
        /// Its number, from 0.
        part: u32,
    },
    /// An attestation with its exhibit.
    Attestation {
        /// Its number in the bundle, from 0.
        attestation: u32,
        /// The part it is in.
        part: u32,
        /// Where in the part its bytes begin.
        offset: u64,
        /// How many they are; where they do not decode, all that follow.
        bytes: u64,
    },
    /// A bucket of the chain.
    Bucket {
        /// Its number.
        bucket: u32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { field } => write!(f, "index, {field}"),
            Self::Part { part } => write!(f, "part {part}"),
            Self::Attestation { attestation, part, offset, bytes } => {
                let end = offset.saturating_add(*bytes);
                write!(f, "attestation {attestation}, part {part}, bytes {offset}..{end}")
            }
            Self::Bucket { bucket } => write!(f, "bucket {bucket} of the chain"),
        }
    }
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultKind {
    /// The bytes have another hash than they should.
    #[error("not the bytes that were committed to")]
    Hash,
    /// The bytes are not what they should be.
    #[error("does not decode, or is not written in the one form it has")]
    Malformed,
    /// The field is not what follows from the chain or from the attestations.
    #[error("not what follows from the chain and the attestations")]
    Field,
    /// The object is not there.
    #[error("it is not there, or not for everybody")]
    Missing,
    /// Of another chain, epoch or place in the bundle.
    #[error("of another chain, epoch or place")]
    Misplaced,
    /// More bytes than the attestations it is to have.
    #[error("bytes behind the last attestation")]
    Trailing,
    /// Signature over the record.
    #[error("signature: not the warden's over this record")]
    Signature,
    /// A block of another epoch.
    #[error("block_number: not a block of the epoch")]
    Block,
    /// Not in the order of buckets.
    #[error("block_number: an attestation of a later bucket is before it")]
    Order,
    /// The same challenge twice.
    #[error("the same challenge is there before")]
    Twice,
    /// A miner that is not in the map of the epoch.
    #[error("miner_uid: not in the map of the epoch")]
    Miner,
    /// The seed does not follow from the block.
    #[error("challenge_seed: does not follow from the hash of its block")]
    Seed,
    /// An exhibit that does not go with the result.
    #[error("exhibit: not one of such a result")]
    Exhibit,
    /// Another answer than the record names.
    #[error("answer: not the one that the record names (merkle_proof_sig_hash)")]
    Answer,
    /// A pass without a proof.
    #[error("answer: does not prove the shard")]
    Proof,
    /// The bytes have changed since the bundle was made.
    #[error("check: not the bytes that were bound")]
    Check,
    /// The chain has others.
    #[error("the chain has other attestations there than the bundle")]
    Chain,
}

/// A fault with its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.kind)
    }
}

impl std::error::Error for Fault {}
