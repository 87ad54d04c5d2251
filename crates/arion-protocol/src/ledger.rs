//! The ledger of a gateway: which shards it had stored, by the receipts of the miners, in order.

use arion_types::{NodeId, ShardHash, SignedReceipt};
use codec::{Decode, Encode};

/// One line of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LedgerEntry {
    /// Position in the ledger, from 1, without gaps.
    pub sequence: u64,
    /// What happened.
    pub record: LedgerRecord,
}

/// What a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum LedgerRecord {
    /// A miner made a shard durable.
    #[codec(index = 0)]
    Stored(SignedReceipt),
    /// The shard is no longer wanted: it may vanish and is not audited any more.
    #[codec(index = 1)]
    Deleted {
        /// The shard.
        shard: ShardHash,
    },
    /// A miner need not keep the shard any more: others have it. The shard lives on. Only in answers to
    /// [`Request::LedgerSince`](crate::Request::LedgerSince).
    #[codec(index = 2)]
    Released {
        /// The shard.
        shard: ShardHash,
        /// The miner.
        miner: NodeId,
    },
}

impl LedgerRecord {
    /// Whether nodes know it that ask by `LedgerPage`.
    pub fn is_of_first_version(&self) -> bool {
        match self {
            Self::Stored(_) | Self::Deleted { .. } => true,
            Self::Released { .. } => false,
        }
    }
}
