//! What a validator service makes of the ledgers: who holds what, how far miners are emptied, what all stripes can bear.

use arion_types::{Epoch, NodeId};
use codec::{Decode, Encode};

/// What the ledgers that a validator service follows say that a miner holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MinerCustody {
    /// The miner.
    pub node_id: NodeId,
    /// Whether the current map has it: then there will be more.
    pub in_map: bool,
    /// Bytes of shards that ledgers name on it. A miner that is being emptied may be switched off when there are none.
    pub held_bytes: u64,
    /// Of these, bytes that the map gives to other miners which have not signed for them: copies of them are still to be made.
    pub waiting_bytes: u64,
    /// Of these, bytes that the miners of the map have signed for: its gateway has not released the miner yet.
    pub surplus_bytes: u64,
    /// When the last two were counted, milliseconds since the Unix epoch; 0: not yet.
    pub counted_at: u64,
    /// How far it is, if it is being emptied.
    pub drain: Option<DrainProgress>,
}

/// How far a miner is that is being emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct DrainProgress {
    /// Since when the service knows of it, milliseconds since the Unix epoch.
    pub since: u64,
    /// Bytes that ledgers named on it then.
    pub begun_bytes: u64,
    /// Bytes that become fewer in a second, lately.
    pub bytes_per_second: u64,
}

/// What a census found: all live stripes of the ledgers that a validator service follows, as miners say.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct NetworkDurability {
    /// When it ended, milliseconds since the Unix epoch.
    pub taken_at: u64,
    /// Epoch of the map that it compared with.
    pub epoch: Epoch,
    /// Gateways whose ledger could not be read: their newest stripes are not in it.
    pub silent_gateways: u32,
    /// Shards that there should be.
    pub shards: u64,
    /// Shards that a miner has.
    pub present: u64,
    /// Bytes of all shards that there should be.
    pub bytes: u64,
    /// Stripes that cannot be judged: their receipts contradict each other.
    pub bad: u64,
    /// All other stripes, by what they can bear.
    pub stripes: Vec<StripesAlike>,
}

impl NetworkDurability {
    /// Bytes in front of the list.
    pub(crate) const KINDS_AT: usize = 8 + 8 + 4 + 8 + 8 + 8 + 8;
}

/// Stripes that can bear the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
pub struct StripesAlike {
    /// The fewest families whose loss takes the stripe; 0 if too few of its shards are left.
    pub fewest: u8,
    /// Families that have shards of it.
    pub families: u8,
    /// Shards that are not on the miner that the map names.
    pub missing: u8,
    /// Number of stripes.
    pub count: u64,
}
