//! Requests and responses, one variant per kind. Who may send what is said at each variant; `public` needs no
//! registered key.

use arion_types::{Epoch, NodeId, PgId, Receipt, ShardHash, SignedReceipt, StripeId, map::Endpoint};
use codec::{Decode, Encode};

use crate::{
    command::SignedCommand,
    custody::{MinerCustody, NetworkDurability},
    error::ErrorCode,
    frame::ListLimit,
    heartbeat::SignedHeartbeat,
    ledger::{LedgerBase, LedgerEntry},
    limits::{
        ERROR_DETAIL_BYTES_MAX, LEDGER_ENTRIES_MAX, LEDGER_PEAKS_MAX, LEDGERS_MAX, LIST_SHARDS_MAX,
        MINERS_MAX, RELOCATED_RECEIPTS_MAX, STAT_SHARDS_MAX, STRIPE_KINDS_MAX, TRANSITIONS_MAX,
        UNNAMED_SHARDS_MAX,
    },
    standing::MinerTransition,
    unnamed::{SignedUnnamed, Unnamed},
};

/// Where a shard belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ShardPlacement {
    /// The stripe.
    pub stripe: StripeId,
    /// Placement group of the stripe in the map of `epoch`.
    pub pg: PgId,
    /// Position in the stripe.
    pub index: u8,
    /// Epoch of the map that placed it.
    pub epoch: Epoch,
    /// Length of the shard in bytes.
    pub size: u32,
}

impl ShardPlacement {
    /// Whether a receipt is the answer of `node` to the order to store `shard` here; its signature is not looked at.
    pub fn is_met_by(&self, receipt: &Receipt, shard: &ShardHash, node: &NodeId) -> bool {
        let Self { stripe, pg, index, epoch, size } = *self;
        let stored_at = receipt.stored_at;
        *receipt == Receipt { shard: *shard, size, stripe, pg, index, epoch, node_id: *node, stored_at }
    }
}

/// A question to a node.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Request {
    /// Is anybody there? Public. Answer: [`Response::Pong`].
    #[codec(index = 0)]
    Ping,
    /// Store the shard in the body. Signed by a gateway or validator; `Action::Store`. Answer:
    /// [`Response::Stored`] once the shard is durable. Repeating it is harmless. Without a body: sign again for what is stored.
    #[codec(index = 1)]
    Store(SignedCommand),
    /// The whole shard. Registered peers. Answer: [`Response::Shard`], shard in the body.
    #[codec(index = 2)]
    Fetch {
        /// Its address.
        shard: ShardHash,
    },
    /// A byte range with the proof that it belongs to the shard. Registered peers. Answer:
    /// [`Response::Shard`], range proof of `arion-proofs` in the body.
    #[codec(index = 3)]
    FetchRange {
        /// Address of the shard.
        shard: ShardHash,
        /// First byte.
        offset: u32,
        /// Number of bytes, at least 1.
        length: u32,
    },
    /// Which of these shards are stored? Public, at most `STAT_SHARDS_MAX`. Answer: [`Response::Stats`].
    #[codec(index = 4)]
    Stat {
        /// Their addresses.
        shards: Vec<ShardHash>,
    },
    /// Shards in order of address. Validators, wardens, gateways. Answer: [`Response::Listing`].
    #[codec(index = 5)]
    List {
        /// Start behind this address.
        after: Option<ShardHash>,
        /// At most this many, at most `LIST_SHARDS_MAX`.
        limit: u16,
    },
    /// Delete a shard. Signed by a gateway or validator; `Action::Delete`. Answer: [`Response::Deleted`].
    #[codec(index = 6)]
    Delete(SignedCommand),
    /// Prove the chunk groups that the seed picks. Wardens. Answer: [`Response::Proof`], proof in the body.
    #[codec(index = 7)]
    Challenge {
        /// The shard.
        shard: ShardHash,
        /// `arion_types::attestation::challenge_seed`.
        seed: [u8; 32],
    },
    /// A miner reports to a validator service. Registered miners. Answer: [`Response::HeartbeatAccepted`].
    #[codec(index = 8)]
    Heartbeat(SignedHeartbeat),
    /// A page of a gateway's ledger. Public. Answer: [`Response::Ledger`], without lines that release miners: a ledger is
    /// read to the first of them by this, and then refused.
    #[codec(index = 9)]
    LedgerPage {
        /// Start behind this sequence number; 0 for the beginning.
        after: u64,
        /// At most this many, at most `LEDGER_ENTRIES_MAX`.
        limit: u16,
    },
    /// What a validator service knows of the miners. Public. Answer: [`Response::Miners`].
    #[codec(index = 10)]
    Miners {
        /// Start behind this node id.
        after: Option<NodeId>,
        /// At most this many, at most `MINERS_MAX`.
        limit: u16,
    },
    /// A warden hands over signed attestations to a chain-submitter. Registered wardens; SCALE
    /// `Vec<AttestationRecord>` in the body. Answer: [`Response::AttestationsQueued`] once they are durable.
    #[codec(index = 11)]
    Attest,
    /// Take a deletion back while the miner keeps the shard. Signed by a gateway or validator; `Action::Restore`.
    /// Answer: [`Response::Restored`]. Repeating it is harmless.
    #[codec(index = 12)]
    Restore(SignedCommand),
    /// A validator service tells a gateway which miners hold shards of one of its stripes now. Registered
    /// validators. Answer: [`Response::Relocated`]. Repeating it is harmless.
    #[codec(index = 13)]
    Relocated {
        /// The miners' receipts, all of the same stripe; at least one, at most `RELOCATED_RECEIPTS_MAX`.
        receipts: Vec<SignedReceipt>,
    },
    /// [`Request::Attest`] with what each attestation rests on. Registered wardens; SCALE `Vec<ShownAttestation>` in the
    /// body. Answer: [`Response::AttestationsKept`] once they are durable.
    #[codec(index = 14)]
    AttestShown,
    /// [`Request::LedgerPage`] with lines that release miners, too: of the second version. Public. Answer:
    /// [`Response::LedgerLines`].
    #[codec(index = 15)]
    LedgerSince {
        /// Start behind this sequence number; 0 for the beginning.
        after: u64,
        /// At most this many, at most `LEDGER_ENTRIES_MAX`.
        limit: u16,
    },
    /// What the ledgers say that miners hold, and how far those are that are being emptied, as a validator service sees
    /// it. Public. Answer: [`Response::Custody`].
    #[codec(index = 16)]
    Custody {
        /// Start behind this node id.
        after: Option<NodeId>,
        /// At most this many, at most `MINERS_MAX`.
        limit: u16,
    },
    /// What the newest census of a validator service found. Public. Answer: [`Response::Durability`].
    #[codec(index = 17)]
    Durability,
    /// [`Request::LedgerPage`] with lines up to those of a version. Public. Answer: [`Response::LedgerLines`].
    #[codec(index = 18)]
    LedgerFrom {
        /// Start behind this sequence number; 0 for the beginning.
        after: u64,
        /// At most this many, at most `LEDGER_ENTRIES_MAX`.
        limit: u16,
        /// The newest kind of line that the asker knows ([`LedgerRecord::version`](crate::LedgerRecord::version)).
        version: u8,
    },
    /// Which of these shards, all of which the asker has, does no ledger name? Registered miners, of a validator service. Answer:
    /// [`Response::Unnamed`].
    #[codec(index = 19)]
    Unnamed {
        /// Their addresses, at least one, at most `UNNAMED_SHARDS_MAX`.
        shards: Vec<ShardHash>,
    },
    /// What changed about the miners lately, and why. Public, of a validator service. Answer: [`Response::Transitions`].
    #[codec(index = 20)]
    Transitions {
        /// Start behind this node id.
        after: Option<NodeId>,
        /// At most this many lines, at least `newest`, at most `TRANSITIONS_MAX`.
        limit: u16,
        /// The newest so many of each miner, 1 to `TRANSITIONS_OF_MINER_MAX`: 1 for how it stands now.
        newest: u8,
    },
    /// From where on does the ledger have all of its lines? Public, of a gateway. Answer: [`Response::LedgerBase`].
    #[codec(index = 21)]
    LedgerBase,
    /// [`Request::Unnamed`], as if there were no ledger of this gateway: may it have them deleted? Answer: [`Response::Unnamed`].
    #[codec(index = 22)]
    UnnamedByOthers {
        /// The gateway.
        gateway: NodeId,
        /// Addresses, at least one, at most `UNNAMED_SHARDS_MAX`.
        shards: Vec<ShardHash>,
    },
}

impl Request {
    /// Kinds are numbered below this, without gaps: new ones are appended.
    pub const KINDS: u8 = 23;

    /// Whether the request only reads: it may come as early data (0-RTT), where it could be a replay.
    pub fn is_read(&self) -> bool {
        match self {
            Self::Ping
            | Self::Fetch { .. }
            | Self::FetchRange { .. }
            | Self::Stat { .. }
            | Self::List { .. }
            | Self::Challenge { .. }
            | Self::LedgerPage { .. }
            | Self::LedgerSince { .. }
            | Self::LedgerFrom { .. }
            | Self::Miners { .. }
            | Self::Custody { .. }
            | Self::Durability
            | Self::Unnamed { .. }
            | Self::UnnamedByOthers { .. }
            | Self::Transitions { .. }
            | Self::LedgerBase => true,
            Self::Store(_)
            | Self::Delete(_)
            | Self::Restore(_)
            | Self::Heartbeat(_)
            | Self::Attest
            | Self::AttestShown
            | Self::Relocated { .. } => false,
        }
    }

    /// The list in the fields of `kind`, where it has one.
    pub(crate) fn list_limit(kind: u8) -> Option<ListLimit> {
        let (offset, max) = match kind {
            4 => (0, STAT_SHARDS_MAX as u32),
            13 => (0, u32::from(RELOCATED_RECEIPTS_MAX)),
            19 => (0, UNNAMED_SHARDS_MAX as u32),
            22 => (32, UNNAMED_SHARDS_MAX as u32),
            _ => return None,
        };
        Some(ListLimit { offset, max })
    }
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Response {
    /// Refused.
    #[codec(index = 0)]
    Error {
        /// Why, for programs.
        code: ErrorCode,
        /// Why and what to do, for people; at most `ERROR_DETAIL_BYTES_MAX`.
        detail: String,
    },
    /// To [`Request::Ping`].
    #[codec(index = 1)]
    Pong {
        /// The node's clock, milliseconds since the Unix epoch.
        now: u64,
    },
    /// To [`Request::Store`]: durable, and the miner's word for it.
    #[codec(index = 2)]
    Stored(SignedReceipt),
    /// To [`Request::Fetch`] and [`Request::FetchRange`].
    #[codec(index = 3)]
    Shard {
        /// Length of the whole shard.
        size: u32,
    },
    /// To [`Request::Stat`]: one entry per address asked for, in that order.
    #[codec(index = 4)]
    Stats(Vec<Option<ShardStat>>),
    /// To [`Request::List`]. Fewer than asked for means the end.
    #[codec(index = 5)]
    Listing(Vec<ListedShard>),
    /// To [`Request::Delete`].
    #[codec(index = 6)]
    Deleted {
        /// Whether the shard was there.
        existed: bool,
    },
    /// To [`Request::Challenge`].
    #[codec(index = 7)]
    Proof {
        /// Length of the whole shard.
        size: u32,
    },
    /// To [`Request::Heartbeat`].
    #[codec(index = 8)]
    HeartbeatAccepted {
        /// Epoch of the current map, as this validator service sees it.
        epoch: Epoch,
    },
    /// To [`Request::LedgerPage`]. Fewer than asked for means the end.
    #[codec(index = 9)]
    Ledger(Vec<LedgerEntry>),
    /// To [`Request::Miners`]. Fewer than asked for means the end.
    #[codec(index = 10)]
    Miners(Vec<MinerStatus>),
    /// To [`Request::Attest`].
    #[codec(index = 11)]
    AttestationsQueued {
        /// How many were new; the others were queued or on chain already.
        new: u32,
    },
    /// To [`Request::Restore`].
    #[codec(index = 12)]
    Restored {
        /// Whether the shard is there now.
        exists: bool,
    },
    /// To [`Request::AttestShown`].
    #[codec(index = 14)]
    AttestationsKept {
        /// How many attestations were new; the others were queued or on chain already.
        new: u32,
        /// How many answers of miners are kept for the bundle; the others do not fit their attestation, or there is no room.
        exhibits: u32,
    },
    /// To [`Request::Relocated`].
    #[codec(index = 13)]
    Relocated {
        /// Whether the gateway wants the stripe: then the receipts are in its ledger, and else nothing was entered.
        wanted: bool,
    },
    /// To [`Request::LedgerSince`] and [`Request::LedgerFrom`]. Fewer than asked for means the end.
    #[codec(index = 15)]
    LedgerLines(Vec<LedgerEntry>),
    /// To [`Request::Custody`]. Fewer than asked for means the end.
    #[codec(index = 16)]
    Custody(Vec<MinerCustody>),
    /// To [`Request::Durability`].
    #[codec(index = 17)]
    Durability(NetworkDurability),
    /// To [`Request::Unnamed`] and [`Request::UnnamedByOthers`].
    #[codec(index = 18)]
    Unnamed(Box<SignedUnnamed>),
    /// To [`Request::Transitions`]: in order of miners, those of one in order of time, all of a miner or none. None at all means
    /// the end.
    #[codec(index = 19)]
    Transitions(Vec<MinerTransition>),
    /// To [`Request::LedgerBase`].
    #[codec(index = 20)]
    LedgerBase(LedgerBase),
}

impl Response {
    /// Kinds are numbered below this, without gaps: new ones are appended.
    pub const KINDS: u8 = 21;

    /// The list (of `Error`: the text, behind the code) in the fields of `kind`, where it has one.
    pub(crate) fn list_limit(kind: u8) -> Option<ListLimit> {
        let (offset, max) = match kind {
            0 => (1, ERROR_DETAIL_BYTES_MAX as u32),
            4 => (0, STAT_SHARDS_MAX as u32),
            5 => (0, u32::from(LIST_SHARDS_MAX)),
            9 | 15 => (0, u32::from(LEDGER_ENTRIES_MAX)),
            10 | 16 => (0, u32::from(MINERS_MAX)),
            17 => (NetworkDurability::KINDS_AT, u32::from(STRIPE_KINDS_MAX)),
            18 => (Unnamed::LEDGERS_AT, u32::from(LEDGERS_MAX)),
            19 => (0, u32::from(TRANSITIONS_MAX)),
            20 => (0, u32::from(LEDGER_PEAKS_MAX)),
            _ => return None,
        };
        Some(ListLimit { offset, max })
    }
}

/// What a miner knows of a shard without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ShardStat {
    /// Where it belongs.
    pub placement: ShardPlacement,
    /// When it became durable, milliseconds since the Unix epoch.
    pub stored_at: u64,
}

/// A line of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ListedShard {
    /// Its address.
    pub shard: ShardHash,
    /// What is known of it.
    pub stat: ShardStat,
}

/// What a validator service makes of a miner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub enum MinerState {
    /// In the map and silent.
    #[codec(index = 0)]
    Offline,
    /// Heard.
    #[codec(index = 1)]
    Online,
    /// Registered, not in the map, and not heard for long enough yet.
    #[codec(index = 2)]
    Joining,
    /// In the map; a heartbeat is overdue.
    #[codec(index = 3)]
    Suspect,
    /// It asked to be emptied: the next map is without it.
    #[codec(index = 4)]
    Draining,
    /// Silent for so long that the next map is without it.
    #[codec(index = 5)]
    Out,
}

impl MinerState {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Offline, Self::Online, Self::Joining, Self::Suspect, Self::Draining, Self::Out];

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Joining => "joining",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Out => "out",
        }
    }

    /// Whether the next map has it.
    pub fn is_wanted(self) -> bool {
        matches!(self, Self::Online | Self::Suspect | Self::Offline)
    }

    /// Whether heartbeats come.
    pub fn is_heard(self) -> bool {
        matches!(self, Self::Online | Self::Suspect | Self::Draining)
    }
}

impl std::fmt::Display for MinerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a validator service knows of a miner.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MinerStatus {
    /// The miner.
    pub node_id: NodeId,
    /// What the service makes of it.
    pub state: MinerState,
    /// When the last heartbeat came, milliseconds since the Unix epoch.
    pub last_seen: u64,
    /// Where it says it is reached.
    pub endpoint: Endpoint,
    /// Bytes it offers.
    pub capacity_bytes: u64,
    /// Bytes it holds.
    pub used_bytes: u64,
    /// Shards it holds.
    pub shard_count: u64,
}
