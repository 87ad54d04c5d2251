//! What the chain says of audits: how they ended, and which wardens contradicted themselves.

mod day;

use std::collections::BTreeMap;

use arion_types::{NodeId, NodeQuality};
use codec::{Decode, Encode};
pub use day::{Audit, AuditDay, AuditReader, MinerAudits, ObjectAudits};

use crate::{
    account::AccountId,
    client::{ChainClient, ChainError},
    records::BlockRef,
};

const PALLET: &str = "Arion";
/// Failures of integrity, agreed on by wardens, from which on a miner is kept out of maps. The chain adds at most 25 in a weight bucket
/// and forgets an eighth of them.
pub const BANNED_FROM: u32 = 40;
/// Who is in no map is let in with fewer than this.
pub const BANNED_UNTIL: u32 = 10;

/// Whether validator services keep a miner out of the next map for what its audits found.
pub fn is_banned(quality: &NodeQuality, in_map: bool) -> bool {
    quality.integrity_fails >= if in_map { BANNED_FROM } else { BANNED_UNTIL }
}

/// `Arion::AuditCountsByChild`: how the audits of a miner ended since it was registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
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

/// `Arion::WardenConflicts`: how it was shown that a warden contradicted itself.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WardenConflict {
    /// Who showed it.
    pub reporter: AccountId,
    /// When.
    pub reported_at: u32,
    /// Shard of the challenge with two verdicts.
    pub shard_hash: [u8; 32],
    /// Number of its miner.
    pub miner_uid: u32,
    /// Block of its seed.
    pub block_number: u64,
}

impl ChainClient {
    /// How audits of active children ended, by child, at the finalised head. Of children never audited there is nothing.
    pub async fn audit_counts(&self) -> Result<Vec<(AccountId, AuditCounts)>, ChainError> {
        self.head().await?.entries(PALLET, "AuditCountsByChild").await
    }

    /// What validators and wardens agreed on last about active children, by child, as of a block. Of children nobody spoke of
    /// there is nothing.
    pub async fn node_qualities(
        &self,
        at: &BlockRef,
    ) -> Result<BTreeMap<AccountId, NodeQuality>, ChainError> {
        Ok(self.state(at.hash).entries(PALLET, "NodeQualityByChild").await?.into_iter().collect())
    }

    /// Wardens that contradicted themselves, at the finalised head.
    pub async fn warden_conflicts(&self) -> Result<Vec<(NodeId, WardenConflict)>, ChainError> {
        let conflicts = self.head().await?.entries(PALLET, "WardenConflicts").await?;
        Ok(conflicts.into_iter().map(|(warden, conflict)| (NodeId(warden), conflict)).collect())
    }

    /// Milliseconds between blocks, as the runtime means them to be.
    pub fn block_time_ms(&self) -> Result<u64, ChainError> {
        self.constant("Babe", "ExpectedBlockTime")
    }
}
