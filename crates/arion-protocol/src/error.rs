//! Error codes on the wire. Internal detail never leaves the process: a code and one line for people.

use codec::{Decode, Encode, EncodeLike, Input, Output};

/// Why a request was refused. Numbers are fixed; those of later versions are read as [`ErrorCode::Unknown`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ErrorCode {
    /// The message does not decode or breaks a cap.
    #[error("malformed request")]
    Malformed,
    /// This node does not serve this kind of request, or does not know one of its fields.
    #[error("request not served by this node")]
    Unsupported,
    /// The peer, or the signer of the command, has no role on the finalised chain that allows this.
    #[error("not allowed for this key")]
    Unauthorized,
    /// The peer's node id is not registered on the finalised chain.
    #[error("node id is not registered on the chain")]
    NotRegistered,
    /// A signature does not verify.
    #[error("bad signature")]
    BadSignature,
    /// The command has expired, or its expiry lies too far ahead.
    #[error("command expired or expiry too far ahead")]
    Expired,
    /// The nonce was seen before.
    #[error("command replayed")]
    Replayed,
    /// The command names another node or another chain.
    #[error("command is meant for another node or chain")]
    Misdirected,
    /// The shard is not stored here.
    #[error("shard not found")]
    NotFound,
    /// The shard is on disk but its bytes no longer match its address.
    #[error("shard is damaged on disk")]
    Damaged,
    /// The body does not hash to the address it was sent under, or has another size.
    #[error("body does not match the shard hash or size")]
    HashMismatch,
    /// No space: over quota, or the disk is full.
    #[error("no space left for shards")]
    NoSpace,
    /// Too many requests at once; try again later.
    #[error("busy, try again later")]
    Busy,
    /// The node cannot answer now (starting, chain unreachable, disk error).
    #[error("temporarily unavailable")]
    Unavailable,
    /// The shard is stored already for another stripe or position.
    #[error("shard is stored already for another position")]
    Conflict,
    /// The map of the named epoch does not place this shard on this miner.
    #[error("the map does not place this shard here")]
    Misplaced,
    /// The request came as early data (0-RTT), which is for reads; send it when the handshake is done.
    #[error("not a read, but sent before the handshake was done")]
    TooEarly,
    /// A code of a later version: as final as a refusal can be.
    #[error("refused with {0}")]
    Unknown(UnknownCode),
}

/// A code that this version has no name for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("code {0} of a later version")]
pub struct UnknownCode(u8);

impl ErrorCode {
    /// Codes with a name, in order: the first has number 1.
    pub const NAMED: [Self; 17] = [
        Self::Malformed,
        Self::Unsupported,
        Self::Unauthorized,
        Self::NotRegistered,
        Self::BadSignature,
        Self::Expired,
        Self::Replayed,
        Self::Misdirected,
        Self::NotFound,
        Self::Damaged,
        Self::HashMismatch,
        Self::NoSpace,
        Self::Busy,
        Self::Unavailable,
        Self::Conflict,
        Self::Misplaced,
        Self::TooEarly,
    ];

    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::Unsupported => 2,
            Self::Unauthorized => 3,
            Self::NotRegistered => 4,
            Self::BadSignature => 5,
            Self::Expired => 6,
            Self::Replayed => 7,
            Self::Misdirected => 8,
            Self::NotFound => 9,
            Self::Damaged => 10,
            Self::HashMismatch => 11,
            Self::NoSpace => 12,
            Self::Busy => 13,
            Self::Unavailable => 14,
            Self::Conflict => 15,
            Self::Misplaced => 16,
            Self::TooEarly => 17,
            Self::Unknown(UnknownCode(number)) => number,
        }
    }

    /// The code with this number.
    pub fn from_number(number: u8) -> Self {
        let named = usize::from(number).checked_sub(1).and_then(|at| Self::NAMED.get(at));
        named.copied().unwrap_or(Self::Unknown(UnknownCode(number)))
    }
}

impl Encode for ErrorCode {
    fn size_hint(&self) -> usize {
        1
    }

    fn encode_to<O: Output + ?Sized>(&self, output: &mut O) {
        output.push_byte(self.number());
    }
}

impl EncodeLike for ErrorCode {}

impl Decode for ErrorCode {
    fn decode<I: Input>(input: &mut I) -> Result<Self, codec::Error> {
        input.read_byte().map(Self::from_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_code_and_comes_back() {
        for number in 0..=u8::MAX {
            let code = ErrorCode::from_number(number);
            assert_eq!(code.number(), number);
            assert_eq!(code.encode(), [number]);
            let unnamed = number == 0 || usize::from(number) > ErrorCode::NAMED.len();
            assert_eq!(matches!(code, ErrorCode::Unknown(_)), unnamed, "{number}");
        }
    }

    #[test]
    fn a_code_of_a_later_version_tells_its_number() {
        assert_eq!(ErrorCode::from_number(99).to_string(), "refused with code 99 of a later version");
    }
}
