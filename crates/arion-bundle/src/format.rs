//! The bytes of a bundle.
//!
//! # Invariants
//! - Index and parts have one form in bytes each: whatever else decodes is refused.
//! - Nothing is taken into memory for a length that the bytes at hand do not have.

use std::collections::BTreeSet;

use arion_proofs::merkle::{self, Hash};
use arion_types::{AttestationCommitment, AttestationRecord, Epoch, Exhibit, GenesisHash};
use codec::{Decode, DecodeAll, Encode};

/// Longest part, in bytes.
pub const PART_BYTES_MAX: usize = 8 << 20;
/// Longest index, in bytes: some 100,000 parts.
pub const INDEX_BYTES_MAX: usize = 4 << 20;
/// Bytes of the check behind an attestation.
const CHECK_BYTES: usize = 8;

/// The index of a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Index {
    /// First version.
    #[codec(index = 1)]
    V1(IndexV1),
}

/// See [`Index::V1`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct IndexV1 {
    /// Hash of block 0 of the chain.
    pub genesis: GenesisHash,
    /// The epoch.
    pub epoch: Epoch,
    /// Block in which its map took effect.
    pub first_block: u32,
    /// Block in which the next map took effect.
    pub end_block: u32,
    /// The finalised block at which the chain's attestations were read.
    pub read_at: Block,
    /// Number of attestations.
    pub attestations: u32,
    /// Number of those with an exhibit.
    pub exhibits: u32,
    /// Root over the attestations.
    pub attestation_root: Hash,
    /// Root over [`IndexV1::wardens`].
    pub warden_root: Hash,
    /// Keys of the wardens that signed, strictly increasing.
    pub wardens: Vec<[u8; 32]>,
    /// The parts in their order.
    pub parts: Vec<PartRef>,
}

/// A block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Block {
    /// Height.
    pub number: u32,
    /// Hash of its header.
    pub hash: [u8; 32],
}

/// A part as the index knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PartRef {
    /// BLAKE3 of the part: its name.
    pub hash: Hash,
    /// Its length in bytes, at most [`PART_BYTES_MAX`].
    pub bytes: u32,
    /// Attestations in it, at least one.
    pub attestations: u32,
}

impl Index {
    /// The index from exactly its bytes.
    pub fn read(bytes: &[u8]) -> Option<IndexV1> {
        if bytes.len() > INDEX_BYTES_MAX {
            return None;
        }
        let Self::V1(index) = Self::decode_all(&mut &bytes[..]).ok()?;
        (Self::V1(index.clone()).encode() == bytes).then_some(index)
    }
}

impl IndexV1 {
    /// What the chain is told, with the bytes of the index.
    pub fn commitment(&self) -> (AttestationCommitment, Vec<u8>) {
        let bytes = Index::V1(self.clone()).encode();
        let commitment = AttestationCommitment {
            content_hash: blake3::hash(&bytes).into(),
            attestation_root: self.attestation_root,
            warden_root: self.warden_root,
            count: self.attestations,
        };
        (commitment, bytes)
    }
}

/// What is at the beginning of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct PartHeader {
    /// 1.
    pub(crate) version: u8,
    pub(crate) genesis: GenesisHash,
    pub(crate) epoch: Epoch,
    /// From 0.
    pub(crate) number: u32,
    /// Number of its first attestation in the bundle.
    pub(crate) first: u32,
}

/// Version of parts.
pub(crate) const PART_VERSION: u8 = 1;

/// Hash of an attestation under the root.
pub(crate) fn attestation_leaf(genesis: &GenesisHash, epoch: Epoch, record: &AttestationRecord) -> Hash {
    merkle::leaf(&(genesis, epoch, record).encode())
}

/// Root over keys of wardens.
pub(crate) fn warden_root<'a>(wardens: impl IntoIterator<Item = &'a [u8; 32]>) -> Hash {
    let leaves: Vec<Hash> = wardens.into_iter().map(|key| merkle::leaf(key)).collect();
    merkle::root(&leaves)
}

/// An attestation with its exhibit, as a part has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) record: AttestationRecord,
    pub(crate) exhibit: Exhibit,
    pub(crate) check_holds: bool,
}

fn check(entry: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::derive_key("arion 2026-11 bundle check v1", entry);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash[..CHECK_BYTES]);
    check
}

impl Entry {
    /// The bytes of an entry.
    pub(crate) fn bytes_of(record: &AttestationRecord, exhibit: &Exhibit) -> Vec<u8> {
        let mut bytes = (record, exhibit).encode();
        bytes.extend_from_slice(&check(&bytes));
        bytes
    }

    /// The entry at the beginning of `bytes`, and what follows.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = bytes;
        let record = AttestationRecord::decode(&mut rest).ok()?;
        let exhibit = Exhibit::decode(&mut rest).ok()?;
        let (stated, behind) = rest.split_at_checked(CHECK_BYTES)?;
        let entry = bytes.get(..bytes.len() - rest.len())?;
        Some((Self { record, exhibit, check_holds: stated == check(entry) }, behind))
    }
}

/// Blocks that the attestations of a part name, as far as it decodes: whoever verifies it needs their hashes.
pub fn blocks_of(part: &[u8]) -> BTreeSet<u64> {
    let mut blocks = BTreeSet::new();
    let mut rest = part;
    if PartHeader::decode(&mut rest).is_ok() {
        while let Some((entry, behind)) = Entry::read(rest) {
            blocks.insert(entry.record.block_number);
            rest = behind;
        }
    }
    blocks
}
