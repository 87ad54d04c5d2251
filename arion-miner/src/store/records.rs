//! The records of a segment file, read one behind the other.
//!
//! # Invariants
//! - A damaged or unreadable header costs its own record: the search goes on to the next whose keyed checksum holds.
//! - What the disk refuses to read ends the reading of nothing else, and is counted.
//!
//! # Not here
//! What the records mean (`recover`, `compact`).

use std::{io, ops::Range, sync::Arc};

use super::{
    disk::DiskFile,
    record::{RECORD_BYTES, RECORD_MAGIC, Record, StoreKey},
    salvage::{self, REFUSED_BLOCKS_MAX, is_unreadable, persist},
};

const SEARCH_BYTES: usize = 1 << 20;

/// The records of a file, one behind the other.
pub(super) struct Records<'a> {
    file: &'a Arc<dyn DiskFile>,
    key: &'a StoreKey,
    end: u64,
    /// Where the next record is; behind the last one at the end.
    pub offset: u64,
    /// Least sequence of the next record.
    pub sequence: u64,
    /// Bytes between records that are no records.
    pub skipped: u64,
    /// Bytes that the disk refused to read.
    pub unreadable_bytes: u64,
    /// Where the last of them ended.
    pub unreadable_end: u64,
    refused_blocks: usize,
}

impl<'a> Records<'a> {
    /// Those between `offset` and `end`, with sequences from `sequence` on.
    pub(super) fn new(
        file: &'a Arc<dyn DiskFile>,
        key: &'a StoreKey,
        end: u64,
        offset: u64,
        sequence: u64,
    ) -> Self {
        let (skipped, unreadable_bytes, unreadable_end, refused_blocks) = (0, 0, 0, 0);
        Self { file, key, end, offset, sequence, skipped, unreadable_bytes, unreadable_end, refused_blocks }
    }

    /// The next record and its offset.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Record)>> {
        let mut record = self.record(self.offset)?;
        if record.is_none() {
            let Some(next) = self.search(self.offset)? else { return Ok(None) };
            tracing::error!(offset = self.offset, next, "damaged region in the log");
            self.skipped += next - self.offset;
            self.offset = next;
            record = self.record(next)?;
        }
        Ok(record.map(|record| {
            let offset = self.offset;
            self.offset += RECORD_BYTES + record.payload_len();
            self.sequence = record.sequence + 1;
            (offset, record)
        }))
    }

    /// The record at `offset`, if it is whole, can be read and is not older than the one before.
    fn record(&self, offset: u64) -> io::Result<Option<Record>> {
        if offset + RECORD_BYTES > self.end {
            return Ok(None);
        }
        let mut header = [0; RECORD_BYTES as usize];
        match persist(|| self.file.read_at(&mut header, offset)) {
            Ok(()) => {}
            // The search says how much is refused.
            Err(error) if is_unreadable(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let record = Record::decode(&header, self.key);
        let fits = |record: &Record| offset + RECORD_BYTES + record.payload_len() <= self.end;
        Ok(record.filter(|record| record.sequence >= self.sequence && fits(record)))
    }

    /// Offset of the first whole record behind `from`, where none is.
    fn search(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut start = from;
        while start + RECORD_BYTES <= self.end {
            let length = SEARCH_BYTES.min((self.end - start) as usize);
            let budget = REFUSED_BLOCKS_MAX.saturating_sub(self.refused_blocks);
            let (window, refused) = salvage::read(self.file, start, length, budget)?;
            for at in usize::from(start == from)..=length - RECORD_MAGIC.len() {
                let offset = start + at as u64;
                if window[at..].starts_with(&RECORD_MAGIC) && self.record(offset)?.is_some() {
                    self.refused(&refused, offset);
                    return Ok(Some(offset));
                }
            }
            self.refused(&refused, self.end);
            // Windows overlap, so that a magic across their border is seen.
            start += (length - RECORD_MAGIC.len() + 1) as u64;
        }
        Ok(None)
    }

    /// Counts what was refused before `end`.
    fn refused(&mut self, refused: &[Range<u64>], end: u64) {
        for refused in refused.iter().filter(|refused| refused.start < end) {
            self.refused_blocks += 1;
            self.unreadable_bytes += refused.end - refused.start;
            self.unreadable_end = refused.end;
        }
    }
}
