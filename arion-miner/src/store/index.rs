//! What is stored where: an ordered map in memory, rebuilt from the log.

use std::{collections::BTreeMap, ops::Bound};

use arion_protocol::ShardPlacement;
use arion_types::ShardHash;

use super::record::RECORD_BYTES;

/// One live shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where the shard belongs.
    pub placement: ShardPlacement,
    /// When it was written, milliseconds since the Unix epoch.
    pub stored_at: u64,
    /// Number of the segment file.
    pub segment: u32,
    /// Offset of the record header in that file.
    pub offset: u64,
}

impl Entry {
    /// Offset of the shard's bytes.
    pub fn body_offset(&self) -> u64 {
        self.offset + RECORD_BYTES
    }

    /// Bytes on disk, header included.
    pub fn disk_bytes(&self) -> u64 {
        RECORD_BYTES + u64::from(self.placement.size)
    }
}

/// Live shards by address.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Index {
    entries: BTreeMap<ShardHash, Entry>,
    used_bytes: u64,
}

impl Index {
    /// The shard, if it is stored.
    pub(super) fn get(&self, shard: &ShardHash) -> Option<&Entry> {
        self.entries.get(shard)
    }

    /// Adds a shard; returns what it replaces.
    pub(super) fn insert(&mut self, shard: ShardHash, entry: Entry) -> Option<Entry> {
        let old = self.entries.insert(shard, entry);
        self.used_bytes += entry.disk_bytes();
        self.used_bytes -= old.map_or(0, |old| old.disk_bytes());
        old
    }

    /// Removes a shard.
    pub(super) fn remove(&mut self, shard: &ShardHash) -> Option<Entry> {
        let old = self.entries.remove(shard);
        self.used_bytes -= old.map_or(0, |old| old.disk_bytes());
        old
    }

    /// Shards in order of address behind `after`.
    pub(super) fn after(&self, after: Option<ShardHash>) -> impl Iterator<Item = (&ShardHash, &Entry)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((start, Bound::Unbounded))
    }

    /// Number of shards.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is stored.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that live shards take on disk, headers included.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}
