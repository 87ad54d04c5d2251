//! What the writer, the readers and the keeper of a store share: the index, the open files, counts.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arion_types::ShardHash;
use bytes::Bytes;

use super::{
    ReadError, ScrubReport,
    checkpoint::KnownSpan,
    files::Files,
    holes::Holes,
    index::{Entry, Index},
    layout::Layout,
    record::body_checksum,
};

/// Counts since start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Syncs; each covers a batch.
    pub syncs: AtomicU64,
    /// Reads that found a shard damaged.
    pub damaged_reads: AtomicU64,
    /// Reads that the disk refused.
    pub read_errors: AtomicU64,
    /// Segment files that were compacted.
    pub compacted_files: AtomicU64,
    /// Bytes that were written for it.
    pub compacted_bytes: AtomicU64,
    /// Deleted shards given up before their retention ended, because their room was needed.
    pub pushed_out: AtomicU64,
    /// Whether the disk failed: no more writes are taken.
    pub failed: AtomicBool,
}

pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) counters: Counters,
    /// Whether the disk had no room once: every block counts from then on.
    pub(super) was_full: AtomicBool,
    /// Blocks to be given back.
    pub(super) holes: Holes,
    index: RwLock<Index>,
    files: Mutex<Files>,
    scrub: Mutex<ScrubReport>,
}

impl Shared {
    /// At most `open_files_max` segment files are kept open.
    pub(super) fn new(
        layout: Layout,
        index: Index,
        spans: Vec<KnownSpan>,
        scrub: ScrubReport,
        open_files_max: usize,
    ) -> Self {
        Self {
            layout,
            counters: Counters::default(),
            was_full: AtomicBool::new(false),
            holes: Holes::default(),
            index: RwLock::new(index),
            files: Mutex::new(Files::new(spans, open_files_max)),
            scrub: Mutex::new(scrub),
        }
    }

    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn scrub_report(&self) -> ScrubReport {
        *self.scrub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_scrub_report(&self, report: ScrubReport) {
        *self.scrub.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// The disk failed: from here on the store is read-only.
    pub(super) fn fail(&self, error: &io::Error, what: &str) {
        if !self.counters.failed.swap(true, Ordering::SeqCst) {
            tracing::error!(%error, "{what}: the store is read-only until the miner is restarted");
        }
    }

    /// The bytes of an entry, if they are what was stored: their checksum holds or, where it does not or there is none,
    /// they hash to `shard`.
    pub(super) fn read_at(&self, shard: &ShardHash, entry: &Entry) -> Result<Bytes, ReadError> {
        let (body, sum) = self.read_payload(entry)?;
        match sum == Some(body_checksum(shard, &body)) || has_address(shard, &body) {
            true => Ok(Bytes::from(body)),
            false => Err(ReadError::Damaged),
        }
    }

    /// The bytes of an entry if they are in memory and their checksum holds.
    pub(super) fn read_cached(&self, shard: &ShardHash, entry: &Entry) -> Option<Bytes> {
        let length = entry.payload_len() as usize;
        let body = self.segment(entry.segment).ok()?.read_cached(entry.body_offset(), length)?;
        let (body, sum) = split_payload(body, entry);
        (sum == Some(body_checksum(shard, &body))).then(|| Bytes::from(body))
    }

    /// Whether an entry needs no repair of its checksum; an error if its bytes do not hash to `shard`.
    pub(super) fn examine(&self, shard: &ShardHash, entry: &Entry) -> Result<bool, ReadError> {
        let (body, sum) = self.read_payload(entry)?;
        match has_address(shard, &body) {
            true => Ok(!entry.summed || sum == Some(body_checksum(shard, &body))),
            false => Err(ReadError::Damaged),
        }
    }

    /// A body as it is on the disk, and the checksum behind it.
    fn read_payload(&self, entry: &Entry) -> Result<(Vec<u8>, Option<u32>), ReadError> {
        let length = entry.payload_len() as usize;
        match self.segment(entry.segment).and_then(|file| file.read(entry.body_offset(), length)) {
            Ok(payload) => Ok(split_payload(payload, entry)),
            // The file is gone or shorter than the log said.
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) => {
                Err(ReadError::Damaged)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A body, and the checksum behind it if there is one.
fn split_payload(mut payload: Vec<u8>, entry: &Entry) -> (Vec<u8>, Option<u32>) {
    let sum = payload.get(entry.placement.size as usize..).and_then(|sum| sum.try_into().ok());
    payload.truncate(entry.placement.size as usize);
    (payload, sum.map(u32::from_le_bytes))
}

fn has_address(shard: &ShardHash, body: &[u8]) -> bool {
    *blake3::hash(body).as_bytes() == shard.0
}
