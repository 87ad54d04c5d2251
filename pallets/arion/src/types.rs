//! Records of children, map votes, wardens and commitments.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::H256;

/// Most placement groups of a map.
pub const PG_COUNT_MAX: u32 = 1 << 16;
/// Most attempts CRUSH may be told to make for one position.
pub const CHOOSE_TRIES_MAX: u16 = 10_000;

/// Where a child stands.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum ChildStatus<BlockNumber> {
    /// Stores shards and may be in maps.
    #[codec(index = 0)]
    Active,
    /// Left; its deposit is held until `end`.
    #[codec(index = 1)]
    Unbonding {
        /// First block in which `claim_unbonded` works.
        end: BlockNumber,
    },
}

/// A storage miner of a family.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ChildRegistration<AccountId, Balance, BlockNumber> {
    /// The family that answers for the miner.
    pub family: AccountId,
    /// Ed25519 public key of the node.
    pub node_id: [u8; 32],
    /// Where the miner stands.
    pub status: ChildStatus<BlockNumber>,
    /// Held on the family's account until `claim_unbonded`; 0 for a free slot or while lockup is off.
    pub deposit: Balance,
    /// Block of the registration.
    pub registered_at: BlockNumber,
}

/// The map a validator wants next.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct MapVote {
    /// Epoch of the map.
    pub epoch: u64,
    /// Its `arion_types::map::map_root`.
    pub root: H256,
}

/// A warden the network listens to.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct WardenInfo<BlockNumber> {
    /// Block of the registration.
    pub registered_at: BlockNumber,
}

/// What anchors the bundle of an epoch's attestations, which itself is stored in Arion.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct EpochAttestationCommitment<AccountId, BlockNumber> {
    /// BLAKE3 of the bundle.
    pub arion_content_hash: [u8; 32],
    /// Root over the attestations in the bundle.
    pub attestation_merkle_root: [u8; 32],
    /// Root over the keys of the wardens that signed them.
    pub warden_pubkey_merkle_root: [u8; 32],
    /// Number of attestations in the bundle.
    pub attestation_count: u32,
    /// Who committed.
    pub submitter: AccountId,
    /// When.
    pub submitted_at: BlockNumber,
}
