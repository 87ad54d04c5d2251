//! Identifiers. All are 32 bytes or plain integers; [`core::fmt::Display`] is lower-case hex.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::fmt;
use scale_info::TypeInfo;

/// Version of the CRUSH map, strictly increasing; 0 means "no map yet".
pub type Epoch = u64;
/// Placement group, `0..CrushParams::pg_count`.
pub type PgId = u32;
/// Number of a miner in CRUSH maps: stable over epochs, never reused for another node id.
pub type Uid = u32;
/// Ed25519 signature (RFC 8032), 64 bytes.
pub type Signature = [u8; 64];
/// Hash of block 0: tells chains apart inside signed messages.
pub type GenesisHash = [u8; 32];

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, DecodeWithMemTracking,
            MaxEncodedLen, TypeInfo,
        )]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl From<$name> for [u8; 32] {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl core::str::FromStr for $name {
            type Err = ParseIdError;

            /// Reads 64 hex digits, with or without a leading `0x`.
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex32(text).map(Self)
            }
        }
    };
}

bytes32! {
    /// Ed25519 public key of a node: miner, gateway, validator service or warden.
    NodeId
}
bytes32! {
    /// BLAKE3 of a shard's bytes: its address, the root of its range proofs and of its audit proofs.
    ShardHash
}
bytes32! {
    /// Identity of a stripe, see [`crate::stripe::stripe_id`].
    StripeId
}

/// Text that is not 32 bytes in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 64 hexadecimal digits, with or without a leading 0x")
    }
}

impl core::error::Error for ParseIdError {}

fn parse_hex32(text: &str) -> Result<[u8; 32], ParseIdError> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if digits.len() != 64 {
        return Err(ParseIdError);
    }
    let mut bytes = [0u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| (digit as char).to_digit(16).ok_or(ParseIdError);
        *byte = (nibble(pair[0])? * 16 + nibble(pair[1])?) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn hex_round_trip_with_and_without_prefix() {
        let id = NodeId(core::array::from_fn(|i| i as u8 * 7));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(alloc::format!("0x{id}").parse(), Ok(id));
    }

    #[test]
    fn wrong_length_and_wrong_digits_are_refused() {
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(text.parse::<NodeId>(), Err(ParseIdError), "{text}");
        }
    }
}
