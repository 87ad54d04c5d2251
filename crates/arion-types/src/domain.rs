//! Domain separation of signed messages.
//!
//! A message is `tag || genesis || SCALE(fields)`: the tag says what is being signed, the genesis hash on
//! which chain, so that no signature means anything in another place.

use alloc::vec::Vec;
use codec::Encode;

use crate::ids::GenesisHash;

/// A storage miner joins a family: [`crate::registration::registration_message`].
pub const REGISTRATION: &[u8] = b"arion/registration/v1";
/// A service node joins an owner: [`crate::registration::node_message`].
pub const NODE: &[u8] = b"arion/node/v1";
/// A warden states an audit result: [`crate::attestation::AttestationRecord::message`].
pub const ATTESTATION: &[u8] = b"arion/attestation/v1";
/// A miner states that a shard is durable: [`crate::receipt::Receipt::message`].
pub const RECEIPT: &[u8] = b"arion/receipt/v1";
/// A command to a node (`arion-protocol`).
pub const COMMAND: &[u8] = b"arion/command/v1";
/// A heartbeat (`arion-protocol`).
pub const HEARTBEAT: &[u8] = b"arion/heartbeat/v1";
/// A validator service states which shards no ledger names (`arion-protocol`).
pub const UNNAMED: &[u8] = b"arion/unnamed/v1";
/// A validator service states which shards no ledger but that of one gateway names (`arion-protocol`).
pub const UNNAMED_BY_OTHERS: &[u8] = b"arion/unnamed-by-others/v1";

/// A validator's node reports the quality of miners (`pallet-arion`).
pub const QUALITY: &[u8] = b"arion/quality/v1";

/// Where the newest snapshot of a gateway's metadata is: [`crate::snapshot::snapshot_message`].
pub const SNAPSHOT: &[u8] = b"arion/snapshot/v1";
/// There is none any more: [`crate::snapshot::removal_message`].
pub const SNAPSHOT_END: &[u8] = b"arion/no-snapshot/v1";

/// What a gateway states of an object: [`crate::statement::ObjectStatement::message`].
pub const STATEMENT: &[u8] = b"arion/object-statement/v1";

/// Every tag there is. None begins with another: what follows a tag could otherwise make it the longer one.
pub const ALL: [&[u8]; 12] = [
    REGISTRATION,
    NODE,
    ATTESTATION,
    RECEIPT,
    COMMAND,
    HEARTBEAT,
    UNNAMED,
    UNNAMED_BY_OTHERS,
    QUALITY,
    SNAPSHOT,
    SNAPSHOT_END,
    STATEMENT,
];

/// `tag || genesis || SCALE(fields)`.
pub fn message(tag: &[u8], genesis: &GenesisHash, fields: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tag.len() + genesis.len() + fields.encoded_size());
    bytes.extend_from_slice(tag);
    bytes.extend_from_slice(genesis);
    fields.encode_to(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_begins_with_another() {
        for (i, tag) in ALL.iter().enumerate() {
            for (j, other) in ALL.iter().enumerate() {
                let (name, other_name) = (tag.escape_ascii(), other.escape_ascii());
                assert!(i == j || !tag.starts_with(other), "{name} begins with {other_name}");
            }
        }
    }

    #[test]
    fn all_tags_are_listed() {
        let declared =
            include_str!("domain.rs").lines().filter(|line| line.contains(": &[u8] = b\"")).count();
        assert_eq!(ALL.len(), declared);
    }
}
