//! Audit results, signed by wardens and verified on chain.

use alloc::vec::Vec;
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{domain, ids::GenesisHash};

/// Longest [`AttestationRecord::warden_id`], in bytes.
pub const WARDEN_ID_BYTES_MAX: u32 = 64;

/// What a challenge showed.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum AttestationResult {
    /// The challenged chunks came back with an exact proof against the shard hash.
    #[codec(index = 0)]
    Passed,
    /// The miner answered that it does not have the shard, or no longer has it whole.
    #[codec(index = 1)]
    Failed,
    /// No answer before the deadline, retries included.
    #[codec(index = 2)]
    Timeout,
    /// An answer came that does not prove the challenged chunks.
    #[codec(index = 3)]
    InvalidProof,
}

/// What a warden has one verdict about: itself, the shard, the miner's number, the block of the seed.
pub type Challenge = ([u8; 32], [u8; 32], u32, u64);

/// One audit, as it is stored on chain.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct AttestationRecord {
    /// BLAKE3 of the challenged shard.
    pub shard_hash: [u8; 32],
    /// Number of the challenged miner in the map of the current epoch.
    pub miner_uid: u32,
    /// Outcome.
    pub result: AttestationResult,
    /// Seed of the challenge: [`challenge_seed`] of the finalised block `block_number`.
    pub challenge_seed: [u8; 32],
    /// Finalised block whose hash went into the seed.
    pub block_number: u64,
    /// When the warden reached the verdict, milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// Ed25519 public key of the warden: the authority of this record.
    pub warden_pubkey: [u8; 32],
    /// Ed25519 signature by `warden_pubkey` over [`AttestationRecord::message`].
    pub signature: [u8; 64],
    /// BLAKE3 over the miner's answer as it came, so that a stored proof can be tied to this record; BLAKE3 of
    /// nothing where no answer came.
    pub merkle_proof_sig_hash: [u8; 32],
    /// A name for people; carries no authority.
    pub warden_id: BoundedVec<u8, ConstU32<WARDEN_ID_BYTES_MAX>>,
}

impl AttestationRecord {
    /// What the record is a verdict on: two of one warden on the same contradict each other where they differ.
    pub fn challenge(&self) -> Challenge {
        (self.warden_pubkey, self.shard_hash, self.miner_uid, self.block_number)
    }

    /// The bytes the warden signs: every field but the signature, in order, under
    /// [`domain::ATTESTATION`].
    pub fn message(&self, genesis: &GenesisHash) -> Vec<u8> {
        domain::message(
            domain::ATTESTATION,
            genesis,
            &(
                self.shard_hash,
                self.miner_uid,
                self.result,
                self.challenge_seed,
                self.block_number,
                self.timestamp,
                self.warden_pubkey,
                self.merkle_proof_sig_hash,
                &self.warden_id,
            ),
        )
    }
}

/// What the chain is told of the bundle of an epoch (`submit_attestation_commitment`, docs/spec/bundle.md).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AttestationCommitment {
    /// BLAKE3 of the bundle's index.
    pub content_hash: [u8; 32],
    /// Root over the attestations in the bundle.
    pub attestation_root: [u8; 32],
    /// Root over the keys of the wardens that signed them.
    pub warden_root: [u8; 32],
    /// Number of attestations in the bundle.
    pub count: u32,
}

/// Seed of a challenge: BLAKE3 keyed-derivation over `block_hash || warden || miner node id || shard hash`.
///
/// Nobody can choose or foresee it, anyone can check it.
pub fn challenge_seed(
    block_hash: &[u8; 32],
    warden: &[u8; 32],
    miner: &[u8; 32],
    shard: &[u8; 32],
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("arion 2026-11 challenge seed v1");
    for part in [block_hash, warden, miner, shard] {
        hasher.update(part);
    }
    hasher.finalize().into()
}
