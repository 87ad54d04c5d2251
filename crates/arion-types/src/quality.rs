//! How good miners are: what validators report to the chain, and what it keeps.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::ids::GenesisHash;

/// Availability of a miner that always answered, in [`NodeQuality::uptime_permille`].
pub const UPTIME_PERMILLE_MAX: u16 = 1_000;

/// Quality of a storage miner over one reporting window.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct NodeQuality {
    /// Bytes of shards the miner stores.
    pub shard_data_bytes: u64,
    /// Bytes the miner served in the window.
    pub bandwidth_bytes: u64,
    /// Share of the window in which it was available, 0 to [`UPTIME_PERMILLE_MAX`].
    pub uptime_permille: u16,
    /// Standing timeouts of audits. The chain derives them from attestations; in a report the field has no
    /// meaning and is ignored.
    pub strikes: u32,
    /// Standing failed and invalid proofs. As `strikes`.
    pub integrity_fails: u32,
}

/// What a miner stores, for people to look at. `AccountId` is `AccountId32` on chain and `[u8; 32]` elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct MinerStatsUpdate<AccountId = [u8; 32]> {
    /// The miner's account.
    pub child: AccountId,
    /// Shards it stores.
    pub shard_count: u64,
    /// Bytes of these shards.
    pub shard_data_bytes: u64,
    /// When it was heard of last, milliseconds since the Unix epoch.
    pub last_seen_ms: u64,
}

/// What the whole network stores, for people to look at.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct NetworkTotals {
    /// Miners that are up.
    pub miners: u32,
    /// Shards they store.
    pub shard_count: u64,
    /// Bytes of these shards.
    pub shard_data_bytes: u128,
    /// Bytes they could store in all.
    pub capacity_bytes: u128,
}

/// What a validator service states about miners, for the node beside it to sign and report.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum QualityStatement<AccountId = [u8; 32]> {
    /// Strikes and integrity failures are left at 0.
    #[codec(index = 1)]
    V1 {
        /// Hash of block 0 of the chain.
        genesis: GenesisHash,
        /// Weight bucket.
        bucket: u32,
        /// By account of the child, strictly increasing.
        updates: Vec<(AccountId, NodeQuality)>,
    },
}
