//! Error codes on the wire. Internal detail never leaves the process: a code and one line for people.

use codec::{Decode, Encode};

/// Why a request was refused. Numbers are fixed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum ErrorCode {
    /// The message does not decode or breaks a cap.
    #[codec(index = 1)]
    #[error("malformed request")]
    Malformed,
    /// This node does not serve this kind of request.
    #[codec(index = 2)]
    #[error("request not served by this node")]
    Unsupported,
    /// The peer, or the signer of the command, has no role on the finalised chain that allows this.
    #[codec(index = 3)]
    #[error("not allowed for this key")]
    Unauthorized,
    /// The peer's node id is not registered on the finalised chain.
    #[codec(index = 4)]
    #[error("node id is not registered on the chain")]
    NotRegistered,
    /// A signature does not verify.
    #[codec(index = 5)]
    #[error("bad signature")]
    BadSignature,
    /// The command has expired, or its expiry lies too far ahead.
    #[codec(index = 6)]
    #[error("command expired or expiry too far ahead")]
    Expired,
    /// The nonce was seen before.
    #[codec(index = 7)]
    #[error("command replayed")]
    Replayed,
    /// The command names another node or another chain.
    #[codec(index = 8)]
    #[error("command is meant for another node or chain")]
    Misdirected,
    /// The shard is not stored here.
    #[codec(index = 9)]
    #[error("shard not found")]
    NotFound,
    /// The shard is on disk but its bytes no longer match its address.
    #[codec(index = 10)]
    #[error("shard is damaged on disk")]
    Damaged,
    /// The body does not hash to the address it was sent under, or has another size.
    #[codec(index = 11)]
    #[error("body does not match the shard hash or size")]
    HashMismatch,
    /// No space: over quota, or the disk is full.
    #[codec(index = 12)]
    #[error("no space left for shards")]
    NoSpace,
    /// Too many requests at once; try again later.
    #[codec(index = 13)]
    #[error("busy, try again later")]
    Busy,
    /// The node cannot answer now (starting, chain unreachable, disk error).
    #[codec(index = 14)]
    #[error("temporarily unavailable")]
    Unavailable,
    /// The shard is stored already for another stripe or position.
    #[codec(index = 15)]
    #[error("shard is stored already for another position")]
    Conflict,
    /// The map of the named epoch does not place this shard on this miner.
    #[codec(index = 16)]
    #[error("the map does not place this shard here")]
    Misplaced,
}
