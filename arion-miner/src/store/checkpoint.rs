//! Checkpoints: the whole index as it stood at one position of the log.
//!
//! Written and read as a stream, so that neither needs memory beside the index. The layout stands in docs/spec/store.md.

use std::{io, sync::Arc};

use super::{
    disk::DiskFile,
    index::{Index, Snapshot},
    layout::{CHECKPOINT, Layout, Span},
    packed::{PACKED_BYTES, Packed},
    record::{StoreKey, array},
};

const MAGIC: [u8; 8] = *b"ARIONCKP";
const VERSION: u32 = 4;
/// The same without owners, and without marks of entries that a checksum follows the shard.
const VERSION_OLD: u32 = 2;
const HEADER_BYTES: usize = 44;
const SPAN_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;
const BUFFER_BYTES: usize = 1 << 20;

/// Where the log continues behind a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// Number of the segment.
    pub segment: u32,
    /// Offset of the next record in it.
    pub offset: u64,
    /// Sequence number of the next record.
    pub sequence: u64,
}

/// A segment file as a checkpoint knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KnownSpan {
    pub span: Span,
    /// What stands in its header.
    pub compacted: u64,
}

/// A checkpoint without its entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub position: Position,
    pub spans: Vec<KnownSpan>,
}

/// Bytes of a checkpoint of so many shards.
pub(super) fn length(shards: usize, spans: usize) -> u64 {
    (HEADER_BYTES + spans * SPAN_BYTES + shards * PACKED_BYTES + CHECKSUM_BYTES) as u64
}

struct Sink {
    file: Arc<dyn DiskFile>,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    offset: u64,
}

impl Sink {
    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_at(&[&self.buffer], self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() + PACKED_BYTES > BUFFER_BYTES { self.flush() } else { Ok(()) }
    }
}

/// Writes a checkpoint durably in place of the one before.
pub(super) fn write(layout: &Layout, key: &StoreKey, head: &Head, entries: &Snapshot) -> io::Result<()> {
    let new = format!("{CHECKPOINT}.new");
    let file = layout.disk.create(&new)?;
    let written = write_to(file, key, head, entries);
    if let Err(error) = written {
        let _ = layout.disk.remove(&new);
        return Err(error);
    }
    layout.disk.rename(&new, CHECKPOINT)?;
    layout.disk.sync_names()
}

fn write_to(file: Arc<dyn DiskFile>, key: &StoreKey, head: &Head, entries: &Snapshot) -> io::Result<()> {
    let (hasher, buffer) = (blake3::Hasher::new_keyed(&key.0), Vec::with_capacity(BUFFER_BYTES));
    let mut sink = Sink { file, hasher, buffer, offset: 0 };
    sink.buffer.extend_from_slice(&MAGIC);
    sink.buffer.extend_from_slice(&VERSION.to_le_bytes());
    sink.buffer.extend_from_slice(&head.position.segment.to_le_bytes());
    sink.buffer.extend_from_slice(&head.position.offset.to_le_bytes());
    sink.buffer.extend_from_slice(&head.position.sequence.to_le_bytes());
    sink.buffer.extend_from_slice(&(entries.len as u64).to_le_bytes());
    sink.buffer.extend_from_slice(&u32::try_from(head.spans.len()).unwrap_or(u32::MAX).to_le_bytes());
    for known in &head.spans {
        sink.flush_if_full()?;
        sink.buffer.extend_from_slice(&known.span.first.to_le_bytes());
        sink.buffer.extend_from_slice(&known.span.last.to_le_bytes());
        sink.buffer.extend_from_slice(&known.compacted.to_le_bytes());
    }
    for packed in entries.packed() {
        sink.flush_if_full()?;
        sink.buffer.extend_from_slice(packed.bytes());
    }
    sink.flush()?;
    let sum = sink.hasher.finalize();
    sink.file.write_at(&[&sum.as_bytes()[..CHECKSUM_BYTES]], sink.offset)?;
    sink.file.sync()
}

/// Reads a file from its start, and hashes what it reads.
struct Source {
    file: Arc<dyn DiskFile>,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    used: usize,
    offset: u64,
    end: u64,
    /// Whether reading failed or the file ended too soon.
    broken: bool,
}

impl Source {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        if self.buffer.len() - self.used < length {
            self.buffer.drain(..self.used);
            self.used = 0;
            let room = (BUFFER_BYTES as u64).min(self.end - self.offset) as usize;
            let old = self.buffer.len();
            self.buffer.resize(old + room, 0);
            if old + room < length || self.file.read_at(&mut self.buffer[old..], self.offset).is_err() {
                self.broken = true;
                self.buffer.clear();
                return None;
            }
            self.hasher.update(&self.buffer[old..]);
            self.offset += room as u64;
        }
        self.used += length;
        self.buffer.get(self.used - length..self.used)
    }
}

/// The last checkpoint, if there is one that can be trusted: the log holds everything a lost one said.
pub(super) fn load(layout: &Layout, key: &StoreKey) -> Option<(Index, Head)> {
    let file = layout.disk.open(CHECKPOINT).ok()?;
    let loaded = load_from(file, key);
    if loaded.is_none() {
        tracing::warn!("checkpoint is damaged or of an older version: reading the whole log");
    }
    loaded
}

fn load_from(file: Arc<dyn DiskFile>, key: &StoreKey) -> Option<(Index, Head)> {
    let length = file.length().ok()?;
    let end = length.checked_sub(CHECKSUM_BYTES as u64)?;
    let hasher = blake3::Hasher::new_keyed(&key.0);
    let mut source = Source { file, hasher, buffer: Vec::new(), used: 0, offset: 0, end, broken: false };
    let header = source.take(HEADER_BYTES)?;
    let version = u32::from_le_bytes(array(header, 8));
    if header[..8] != MAGIC || !(VERSION_OLD..=VERSION).contains(&version) {
        return None;
    }
    let position = Position {
        segment: u32::from_le_bytes(array(header, 12)),
        offset: u64::from_le_bytes(array(header, 16)),
        sequence: u64::from_le_bytes(array(header, 24)),
    };
    let entries = u64::from_le_bytes(array(header, 32));
    let spans = u64::from(u32::from_le_bytes(array(header, 40)));
    let listed = entries.checked_mul(PACKED_BYTES as u64)?.checked_add(spans * SPAN_BYTES as u64)?;
    if listed.checked_add(HEADER_BYTES as u64)? != end {
        return None;
    }
    let mut head = Head { position, spans: Vec::new() };
    for _ in 0..spans {
        let bytes = source.take(SPAN_BYTES)?;
        let span =
            Span { first: u32::from_le_bytes(array(bytes, 0)), last: u32::from_le_bytes(array(bytes, 4)) };
        head.spans.push(KnownSpan { span, compacted: u64::from_le_bytes(array(bytes, 8)) });
    }
    let packed = (0..entries).map_while(|_| source.take(PACKED_BYTES).and_then(Packed::from_bytes));
    let index = Index::from_sorted(packed);
    let sum = source.file.read(end, CHECKSUM_BYTES).ok()?;
    let whole = !source.broken && source.offset == end && index.total() as u64 == entries;
    (whole && sum == source.hasher.finalize().as_bytes()[..CHECKSUM_BYTES]).then_some((index, head))
}

#[cfg(test)]
mod tests {
    use arion_protocol::ShardPlacement;
    use arion_types::{ShardHash, StripeId};

    use super::*;
    use crate::store::{
        index::Entry,
        memory::MemoryDisk,
        record::{Owner, State},
    };

    fn checkpoint() -> (Index, Head) {
        let mut index = Index::default();
        for number in 1..4u8 {
            let size = u32::from(number);
            let placement =
                ShardPlacement { stripe: StripeId([number; 32]), pg: 2, index: number, epoch: 4, size };
            let state = [State::Live, State::Trashed { at: 5 }, State::Quarantined][usize::from(number) - 1];
            let (summed, owner) = (number.is_multiple_of(2), Owner(u32::from(number) - 1));
            let entry =
                Entry { placement, stored_at: 6, segment: 7, offset: 8, sequence: 9, state, summed, owner };
            index.insert(ShardHash([number ^ 0xff; 32]), entry);
        }
        let position = Position { segment: 3, offset: 99, sequence: 1 << 40 };
        let spans = vec![KnownSpan { span: Span { first: 1, last: 2 }, compacted: 77 }];
        (index, Head { position, spans })
    }

    #[test]
    fn a_checkpoint_round_trips_and_no_flipped_byte_passes() {
        let key = StoreKey([1; 32]);
        let (index, head) = checkpoint();
        let layout = Layout::new(Arc::new(MemoryDisk::default()));
        write(&layout, &key, &head, &index.snapshot()).unwrap();
        assert_eq!(load(&layout, &key), Some((index.clone(), head)));
        let good = layout.read_small(CHECKPOINT, 1 << 20).unwrap().unwrap();
        assert_eq!(good.len() as u64, length(3, 1));
        let load = |bytes: &[u8]| {
            layout.replace(CHECKPOINT, bytes).unwrap();
            load(&layout, &key)
        };
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_eq!(load(&bad), None, "byte {at}");
            assert_eq!(load(&good[..at]), None, "length {at}");
        }
        assert!(load(&good).is_some());
    }

    #[test]
    fn a_long_checkpoint_crosses_buffers() {
        let key = StoreKey([1; 32]);
        let (small, head) = checkpoint();
        let entry = small.get(&ShardHash([0xfe; 32])).unwrap();
        let entries = (0..30_000u64).map(|number| {
            let mut shard = ShardHash([7; 32]);
            shard.0[..8].copy_from_slice(&number.to_be_bytes());
            Packed::new(&shard, &Entry { sequence: number, ..entry })
        });
        let index = Index::from_sorted(entries);
        let layout = Layout::new(Arc::new(MemoryDisk::default()));
        write(&layout, &key, &head, &index.snapshot()).unwrap();
        let (loaded, _) = load(&layout, &key).unwrap();
        assert!(loaded.after(None).eq(index.after(None)));
    }
}
