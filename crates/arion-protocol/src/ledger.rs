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
    /// A miner need not keep the shard any more: others have it. The shard lives on. Not in answers to
    /// [`Request::LedgerPage`](crate::Request::LedgerPage).
    #[codec(index = 2)]
    Released {
        /// The shard.
        shard: ShardHash,
        /// The miner.
        miner: NodeId,
    },
    /// What a miner served to the gateway in a while. Only in answers to [`Request::LedgerFrom`](crate::Request::LedgerFrom).
    #[codec(index = 3)]
    Served(Served),
}

/// The gateway's word for what a miner served to it: shards that came whole and were used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Served {
    /// The miner.
    pub miner: NodeId,
    /// Since when, milliseconds since the Unix epoch.
    pub from: u64,
    /// Until before when, likewise.
    pub until: u64,
    /// Bytes of shards.
    pub bytes: u64,
}

impl LedgerRecord {
    /// The version of ledgers that has all kinds of lines there are.
    pub const VERSION: u8 = 3;

    /// The first version of ledgers that has such lines.
    pub fn version(&self) -> u8 {
        match self {
            Self::Stored(_) | Self::Deleted { .. } => 1,
            Self::Released { .. } => 2,
            Self::Served(_) => 3,
        }
    }
}
