//! What the chain says of audits: how they ended, and which wardens contradicted themselves.

mod day;

pub use day::{Audit, AuditDay, AuditReader, MinerAudits, ObjectAudits};

use arion_types::NodeId;
use codec::{Decode, Encode};

use crate::{
    account::AccountId,
    client::{ChainClient, ChainError},
};

const PALLET: &str = "Arion";

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
