//! The ledger of a gateway: which shards it had stored, by the receipts of the miners, in order.

use arion_types::{NodeId, ShardHash, SignedReceipt};
use codec::{Decode, Encode};

/// One line of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LedgerEntry {
    /// Position in the ledger, from 1; without gaps but for those that [`LedgerBase`] tells of.
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
    /// What of the lines before has to be kept. Only in answers to [`Request::LedgerFrom`](crate::Request::LedgerFrom) of the
    /// fourth version.
    #[codec(index = 4)]
    Compacted(Compacted),
}

/// The gateway's word for what is left of the first lines of its ledger, as long as anybody can see whether that is true: once the
/// line is long final on chain, the other lines may be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Compacted {
    /// Of the lines up to here: a multiple of the lines in a segment.
    pub until: u64,
    /// Root over the hashes of the lines that are kept, in order.
    pub root: [u8; 32],
    /// How many are kept.
    pub lines: u64,
}

/// From where on a ledger has all of its lines.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct LedgerBase {
    /// What the roots over the lines up to `until`, and over more than them, follow from; at most `LEDGER_PEAKS_MAX`.
    pub peaks: Vec<[u8; 32]>,
    /// Of the lines up to here there are those that were kept; 0 where all lines are there.
    pub until: u64,
    /// The line that says which ones ([`Compacted`]).
    pub line: u64,
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
    pub const VERSION: u8 = 4;

    /// The first version of ledgers that has such lines.
    pub fn version(&self) -> u8 {
        match self {
            Self::Stored(_) | Self::Deleted { .. } => 1,
            Self::Released { .. } => 2,
            Self::Served(_) => 3,
            Self::Compacted(_) => 4,
        }
    }
}
