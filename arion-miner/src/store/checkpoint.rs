//! Checkpoints: the whole index as it stood at one position of the log.
//!
//! Layout, little-endian: magic 8, version 4, segment 4, offset 8, next sequence 8, entries 8, then per entry
//! shard 32, stripe 32, pg 4, size 4, epoch 8, stored_at 8, offset 8, segment 4, index 1; keyed checksum 8 over
//! all before it.

use std::fs;

use arion_protocol::ShardPlacement;
use arion_types::{ShardHash, StripeId};

use super::{
    index::{Entry, Index},
    layout::{Layout, LayoutError, at, replace},
    record::{StoreKey, array},
};

const MAGIC: [u8; 8] = *b"ARIONCKP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 40;
const ENTRY_BYTES: usize = 101;
const CHECKSUM_BYTES: usize = 8;

/// Where the log continues behind a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// Number of the segment file.
    pub segment: u32,
    /// Offset of the next record in it.
    pub offset: u64,
    /// Sequence number of the next record.
    pub sequence: u64,
}

/// The bytes of a checkpoint.
pub(crate) fn encode(index: &Index, position: Position, key: &StoreKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + index.len() * ENTRY_BYTES + CHECKSUM_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&position.segment.to_le_bytes());
    bytes.extend_from_slice(&position.offset.to_le_bytes());
    bytes.extend_from_slice(&position.sequence.to_le_bytes());
    bytes.extend_from_slice(&(index.len() as u64).to_le_bytes());
    for (shard, entry) in index.after(None) {
        bytes.extend_from_slice(&shard.0);
        bytes.extend_from_slice(&entry.placement.stripe.0);
        bytes.extend_from_slice(&entry.placement.pg.to_le_bytes());
        bytes.extend_from_slice(&entry.placement.size.to_le_bytes());
        bytes.extend_from_slice(&entry.placement.epoch.to_le_bytes());
        bytes.extend_from_slice(&entry.stored_at.to_le_bytes());
        bytes.extend_from_slice(&entry.offset.to_le_bytes());
        bytes.extend_from_slice(&entry.segment.to_le_bytes());
        bytes.push(entry.placement.index);
    }
    let sum = key.checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn decode(bytes: &[u8], key: &StoreKey) -> Option<(Index, Position)> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
    if content.len() < HEADER_BYTES || sum != key.checksum(content) {
        return None;
    }
    if content[..8] != MAGIC || content[8..12] != VERSION.to_le_bytes() {
        return None;
    }
    let position = Position {
        segment: u32::from_le_bytes(array(content, 12)),
        offset: u64::from_le_bytes(array(content, 16)),
        sequence: u64::from_le_bytes(array(content, 24)),
    };
    let count = usize::try_from(u64::from_le_bytes(array(content, 32))).ok()?;
    let entries = &content[HEADER_BYTES..];
    if entries.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    let mut index = Index::default();
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let placement = ShardPlacement {
            stripe: StripeId(array(entry, 32)),
            pg: u32::from_le_bytes(array(entry, 64)),
            index: entry[100],
            epoch: u64::from_le_bytes(array(entry, 72)),
            size: u32::from_le_bytes(array(entry, 68)),
        };
        index.insert(
            ShardHash(array(entry, 0)),
            Entry {
                placement,
                stored_at: u64::from_le_bytes(array(entry, 80)),
                segment: u32::from_le_bytes(array(entry, 96)),
                offset: u64::from_le_bytes(array(entry, 88)),
            },
        );
    }
    Some((index, position))
}

/// Writes a checkpoint durably in place of the one before.
pub(crate) fn write(layout: &Layout, bytes: &[u8]) -> Result<(), LayoutError> {
    let path = layout.checkpoint();
    replace(&path, bytes).map_err(at(&path))
}

/// The last checkpoint, if there is one that can be trusted: the log holds everything a lost one said.
pub(crate) fn load(layout: &Layout, key: &StoreKey) -> Option<(Index, Position)> {
    let bytes = fs::read(layout.checkpoint()).ok()?;
    let loaded = decode(&bytes, key);
    if loaded.is_none() {
        tracing::warn!("checkpoint is damaged: reading the whole log");
    }
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_round_trips_and_no_flipped_byte_passes() {
        let key = StoreKey([1; 32]);
        let mut index = Index::default();
        for number in 1..4u8 {
            let placement = ShardPlacement {
                stripe: StripeId([number; 32]),
                pg: 2,
                index: number,
                epoch: 4,
                size: u32::from(number),
            };
            let entry = Entry { placement, stored_at: 6, segment: 7, offset: 8 };
            index.insert(ShardHash([number ^ 0xff; 32]), entry);
        }
        let position = Position { segment: 3, offset: 99, sequence: 1 << 40 };
        let good = encode(&index, position, &key);
        assert_eq!(decode(&good, &key), Some((index, position)));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_eq!(decode(&bad, &key), None, "byte {at}");
            assert_eq!(decode(&good[..at], &key), None, "length {at}");
        }
    }
}
