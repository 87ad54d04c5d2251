//! Hard caps of the wire protocol. A message beyond one of them is refused, not truncated.

/// Longest header, in bytes.
pub const HEADER_BYTES_MAX: u32 = 256 * 1024;
/// Longest body, in bytes: a whole shard, or a range proof of one (tree nodes add less than 1/128).
pub const BODY_BYTES_MAX: u32 = (1 << 20) + (64 << 10);
/// Most shards in one `Stat`.
pub const STAT_SHARDS_MAX: usize = 1_024;
/// Most shards in one `Unnamed`: a page of `List`.
pub const UNNAMED_SHARDS_MAX: usize = 1_024;
/// Most ledgers that an answer to `Unnamed` speaks of.
pub const LEDGERS_MAX: u16 = 1_024;
/// Most shards in one page of `List`.
pub const LIST_SHARDS_MAX: u16 = 1_024;
/// Most entries in one page of the ledger.
pub const LEDGER_ENTRIES_MAX: u16 = 512;
/// Most roots in a `LedgerBase`.
pub const LEDGER_PEAKS_MAX: u8 = 64;
/// Most miners in one page of `Miners`.
pub const MINERS_MAX: u16 = 512;
/// Most lines in one page of `Transitions`, and most of one miner that a service remembers.
pub const TRANSITIONS_MAX: u16 = 1_024;
/// See [`TRANSITIONS_MAX`].
pub const TRANSITIONS_OF_MINER_MAX: u8 = 16;
/// Most kinds of stripes in one `Durability`.
pub const STRIPE_KINDS_MAX: u16 = 4_096;
/// Most receipts in one `Relocated`: those of a whole stripe, however many shards it has.
pub const RELOCATED_RECEIPTS_MAX: u16 = 256;
/// Longest text in an error response, in bytes.
pub const ERROR_DETAIL_BYTES_MAX: usize = 512;
/// How far in the future the expiry of a command may lie, in milliseconds.
pub const COMMAND_LIFETIME_MS_MAX: u64 = 5 * 60 * 1_000;
/// How far a heartbeat's clock may be off, in milliseconds.
pub const HEARTBEAT_SKEW_MS_MAX: u64 = 60 * 1_000;
