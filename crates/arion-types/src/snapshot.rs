//! Where the newest snapshot of a gateway's metadata is: what its key signs for the chain to keep.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{
    domain,
    ids::{Epoch, GenesisHash},
};

/// A snapshot, as far as everybody may know it: enough to fetch its root from the miners, nothing of what is in it.
///
/// The root is a stripe of which every shard is the same, so that its address and the map of its epoch say who has it.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Snapshot {
    /// Grows with every snapshot of a key: when it was made, milliseconds since the Unix epoch.
    pub sequence: u64,
    /// Address of the root: BLAKE3 of each of its shards.
    pub root: [u8; 32],
    /// Length of each of its shards, bytes.
    pub root_len: u32,
    /// Epoch of the map that placed it.
    pub epoch: Epoch,
}

/// What a locator's key signs to make `snapshot` its newest.
///
/// `domain::SNAPSHOT || genesis || locator (32) || sequence (u64 LE) || root (32) || root_len (u32 LE) || epoch (u64 LE)`.
pub fn snapshot_message(genesis: &GenesisHash, locator: &[u8; 32], snapshot: &Snapshot) -> Vec<u8> {
    domain::message(domain::SNAPSHOT, genesis, &(locator, snapshot))
}

/// What a locator's key signs to have its record removed; `sequence` is larger than that of the record.
///
/// `domain::SNAPSHOT_END || genesis || locator (32) || sequence (u64 LE)`.
pub fn removal_message(genesis: &GenesisHash, locator: &[u8; 32], sequence: u64) -> Vec<u8> {
    domain::message(domain::SNAPSHOT_END, genesis, &(locator, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bytes() {
        let snapshot = Snapshot { sequence: 0x0102, root: [3; 32], root_len: 4, epoch: 5 };
        let expected: Vec<u8> = [
            &b"arion/snapshot/v1"[..],
            &[1; 32],
            &[2; 32],
            &[2, 1, 0, 0, 0, 0, 0, 0],
            &[3; 32],
            &[4, 0, 0, 0],
            &[5, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(snapshot_message(&[1; 32], &[2; 32], &snapshot), expected);
        let expected: Vec<u8> =
            [&b"arion/no-snapshot/v1"[..], &[1; 32], &[2; 32], &[2, 1, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(removal_message(&[1; 32], &[2; 32], 0x0102), expected);
    }
}
