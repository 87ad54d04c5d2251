//! Records of children, map votes, wardens, commitments, quality and the sweep.

use arion_types::NetworkTotals;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, traits::ConstU32};
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

/// How it was shown that a warden contradicted itself.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct WardenConflict<AccountId, BlockNumber> {
    /// Who showed it.
    pub reporter: AccountId,
    /// When.
    pub reported_at: BlockNumber,
    /// Shard of the challenge with two verdicts.
    pub shard_hash: [u8; 32],
    /// Number of its miner.
    pub miner_uid: u32,
    /// Block of its seed.
    pub block_number: u64,
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

/// What one validator said about a miner in a bucket.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct QualityReport {
    /// Position of the validator in `WeightReporters` of the bucket.
    pub reporter: u16,
    /// Bytes of shards the miner stores.
    pub shard_data_bytes: u64,
    /// Bytes it served in the bucket.
    pub bandwidth_bytes: u64,
    /// Share of the bucket in which it was available, 0 to 1,000.
    pub uptime_permille: u16,
}

/// What one warden saw of a miner in a bucket. An entry without failures says that it audited the miner.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct AuditTally {
    /// The warden.
    pub warden: [u8; 32],
    /// Its verdicts `Timeout`.
    pub timeouts: u16,
    /// Its verdicts `Failed` and `InvalidProof`.
    pub integrity_fails: u16,
}

/// Timeouts of a miner that one warden alone saw in a bucket.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct UnconfirmedTimeouts {
    /// The bucket.
    pub bucket: u32,
    /// The warden.
    pub warden: [u8; 32],
    /// How many.
    pub timeouts: u16,
}

/// Blocks in which a miner is away as announced.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Maintenance<BlockNumber> {
    /// The first.
    pub from: BlockNumber,
    /// The first in which it is back.
    pub until: BlockNumber,
    /// First block of the period that what was announced is counted in.
    pub period_start: BlockNumber,
    /// Blocks announced in this period, these included.
    pub announced: BlockNumber,
}

impl<BlockNumber: PartialOrd> Maintenance<BlockNumber> {
    /// Whether the miner is away in a block.
    pub fn covers(&self, block: &BlockNumber) -> bool {
        (&self.from..&self.until).contains(&block)
    }
}

/// How the audits of a miner ended since it was registered, by the verdicts that count. Numbers stop at their
/// largest value.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct AuditCounts {
    /// Verdicts `Passed`.
    pub passed: u32,
    /// Verdicts `Failed`.
    pub failed: u32,
    /// Verdicts `Timeout`.
    pub timeouts: u32,
    /// Verdicts `InvalidProof`.
    pub invalid_proofs: u32,
    /// Newest block of their challenges.
    pub last_block: u64,
}

/// Weights of a closed bucket on the way.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct WeightRound<AccountId> {
    /// The bucket.
    pub bucket: u32,
    /// Votes of all validators when it closed.
    pub total_votes: u128,
    /// The family done last; the next is the one after it in the order of `FamilyChildren`.
    pub cursor: Option<AccountId>,
    /// Nodes weighed so far.
    pub nodes: u32,
    /// Families weighed so far.
    pub families: u32,
}

/// What a validator last said about a miner, for people to look at.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct MinerStatsRecord {
    /// Bucket in which it was said.
    pub bucket: u32,
    /// Shards the miner stores.
    pub shard_count: u64,
    /// Bytes of these shards.
    pub shard_data_bytes: u64,
    /// When it was heard of last, milliseconds since the Unix epoch.
    pub last_seen_ms: u64,
}

/// What a validator last said about the network, for people to look at.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct NetworkStatsRecord {
    /// Bucket in which it was said.
    pub bucket: u32,
    /// The totals.
    pub totals: NetworkTotals,
}

/// Storage that is looked through for what has had its time, in this order, over and over.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum SweptItem {
    /// Map votes of former validators and for epochs that are over.
    #[default]
    #[codec(index = 0)]
    MapVotes,
    /// Cooldowns of accounts that are over.
    #[codec(index = 1)]
    ChildCooldowns,
    /// Cooldowns of node ids that are over.
    #[codec(index = 2)]
    NodeIdCooldowns,
    /// Attestations past their retention.
    #[codec(index = 3)]
    Attestations,
    /// Quality reports of buckets that are done.
    #[codec(index = 4)]
    QualityReports,
    /// Audit tallies of buckets that are done.
    #[codec(index = 5)]
    AuditTallies,
    /// Children that left, for which nothing is held, once unbonding and cooldown are over.
    #[codec(index = 6)]
    FreeUnbonding,
}

impl SweptItem {
    /// What comes next.
    pub fn next(self) -> Self {
        match self {
            Self::MapVotes => Self::ChildCooldowns,
            Self::ChildCooldowns => Self::NodeIdCooldowns,
            Self::NodeIdCooldowns => Self::Attestations,
            Self::Attestations => Self::QualityReports,
            Self::QualityReports => Self::AuditTallies,
            Self::AuditTallies => Self::FreeUnbonding,
            Self::FreeUnbonding => Self::MapVotes,
        }
    }
}

/// Longest storage key of a [`SweptItem`], bytes.
pub const SWEPT_KEY_BYTES_MAX: u32 = 128;
// Pallet's and item's hashes, a bucket with its hash, an account with its.
const _: () = assert!(SWEPT_KEY_BYTES_MAX >= 32 + (8 + 4) + (16 + 32));

/// Where the search for what has had its time goes on.
#[derive(
    Clone, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Sweep {
    /// In this item,
    pub item: SweptItem,
    /// after this storage key; from the start where it is empty.
    pub after: BoundedVec<u8, ConstU32<SWEPT_KEY_BYTES_MAX>>,
}

/// Why the miners of a placement group cannot be named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlacementRefusal {
    /// There is no map yet.
    NoMap,
    /// The map has fewer placement groups.
    NoSuchGroup,
    /// The map has too few miners or families for one stripe.
    TooFewMiners,
}
