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
    record::{RECORD_BYTES, RECORD_MAGIC, Record, StoreKey, array},
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
        let found = match self.record()? {
            Some(record) => Some((self.offset, record)),
            None => self.search()?,
        };
        let Some((offset, record)) = found else { return Ok(None) };
        if offset > self.offset {
            tracing::error!(offset = self.offset, next = offset, "damaged region in the log");
            self.skipped += offset - self.offset;
        }
        self.offset = offset + RECORD_BYTES + record.payload_len();
        self.sequence = record.sequence + 1;
        Ok(Some((offset, record)))
    }

    /// The record that should stand here.
    fn record(&self) -> io::Result<Option<Record>> {
        if self.offset + RECORD_BYTES > self.end {
            return Ok(None);
        }
        let mut header = [0; RECORD_BYTES as usize];
        match persist(|| self.file.read_at(&mut header, self.offset)) {
            Ok(()) => Ok(self.decode(&header, self.offset)),
            // The search says how much is refused, and finds the record if it is refused no more.
            Err(error) if is_unreadable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The record with this header at `offset`, if it is whole and not older than the one before.
    fn decode(&self, header: &[u8; RECORD_BYTES as usize], offset: u64) -> Option<Record> {
        let record = Record::decode(header, self.key);
        let fits = |record: &Record| offset + RECORD_BYTES + record.payload_len() <= self.end;
        record.filter(|record| record.sequence >= self.sequence && fits(record))
    }

    /// The first whole record from here on, where none is at once. What was read is not read again: the disk might refuse
    /// it then, and a record would be passed over that is there.
    fn search(&mut self) -> io::Result<Option<(u64, Record)>> {
        let mut start = self.offset;
        while start + RECORD_BYTES <= self.end {
            let length = SEARCH_BYTES.min((self.end - start) as usize);
            let budget = REFUSED_BLOCKS_MAX.saturating_sub(self.refused_blocks);
            let (window, refused) = salvage::read(self.file, start, length, budget)?;
            for (offset, header) in (start..).zip(window.windows(RECORD_BYTES as usize)) {
                if header.starts_with(&RECORD_MAGIC)
                    && let Some(record) = self.decode(&array(header, 0), offset)
                {
                    self.refused(&refused, offset);
                    return Ok(Some((offset, record)));
                }
            }
            self.refused(&refused, self.end);
            // Windows overlap, so that a header across their border is seen.
            start += length as u64 - RECORD_BYTES + 1;
        }
        Ok(None)
    }

    /// Counts what was refused before `end`.
    fn refused(&mut self, refused: &[Range<u64>], end: u64) {
        for refused in refused.iter().filter(|refused| refused.start < end) {
            self.refused_blocks += 1;
            // Windows overlap.
            self.unreadable_bytes += refused.end.saturating_sub(refused.start.max(self.unreadable_end));
            self.unreadable_end = self.unreadable_end.max(refused.end);
        }
    }
}
