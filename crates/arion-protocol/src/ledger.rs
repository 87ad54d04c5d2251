//! The ledger of a gateway: which shards it had stored, by the receipts of the miners, in order.

use arion_types::{ShardHash, SignedReceipt};
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
}
