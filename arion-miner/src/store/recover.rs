//! Reading the log back: what is live, where it goes on, what was lost.
//!
//! # Invariants
//! - A record that was acknowledged is found again however the process died; only bytes behind the last whole
//!   record are cut off.
//! - A damaged record costs itself alone: the scan goes on at the next header whose keyed checksum holds.
//! - Unsynced bytes exist only in the last segment (a segment is synced before the next is begun), so that only
//!   there bodies are hashed.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
};

use arion_types::ShardHash;

use super::{
    checkpoint::{self, Position},
    index::{Entry, Index},
    layout::{Layout, LayoutError, at},
    record::{
        RECORD_BYTES, RECORD_MAGIC, Record, RecordKind, SEGMENT_HEADER_BYTES, StoreKey, encode_segment,
    },
};

const SEARCH_BYTES: usize = 1 << 20;

/// Whether the store may be changed while it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// This process holds the lock: a torn tail is cut off.
    Repair,
    /// Another process may be writing: nothing is touched and bodies are not judged.
    ReadOnly,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) position: Position,
    pub(crate) report: Report,
}

/// What start-up had to do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Report {
    /// Records behind the checkpoint that were read.
    pub scanned_records: u64,
    /// Bytes of a torn tail that were cut off.
    pub truncated_bytes: u64,
    /// Bytes in the middle of the log that are no records any more.
    pub skipped_bytes: u64,
    /// Records whose shard does not match its address, not served.
    pub damaged_records: u64,
}

#[derive(Clone, Copy)]
struct Found {
    record: Record,
    segment: u32,
    offset: u64,
}

/// Rebuilds the index.
pub(crate) fn recover(layout: &Layout, key: &StoreKey, mode: Mode) -> Result<Recovered, LayoutError> {
    let segments = layout.segments()?;
    let start = Position { segment: segments.first().copied().unwrap_or(1), offset: 0, sequence: 0 };
    let (mut index, start) = match checkpoint::load(layout, key) {
        Some((index, position)) if covers(layout, &segments, position) => (index, position),
        Some(_) => {
            tracing::error!("segments end before the checkpoint: shards were lost; reading the whole log");
            (Index::default(), start)
        }
        None => (Index::default(), start),
    };
    let mut report = Report::default();
    let mut found = Vec::new();
    let mut position = start;
    for &segment in segments.iter().filter(|segment| **segment >= start.segment) {
        let path = layout.segment(segment);
        let file = File::open(&path).map_err(at(&path))?;
        if segment != position.segment {
            position = Position { segment, offset: 0, ..position };
        }
        if position.offset == 0 && !header_holds(&file, segment, key) {
            tracing::error!(segment, "header of a segment is damaged");
        }
        position.offset = position.offset.max(SEGMENT_HEADER_BYTES);
        scan(&file, key, &mut position, &mut found, &mut report).map_err(at(&path))?;
        let length = file.metadata().map_err(at(&path))?.len();
        if segments.last() != Some(&segment) {
            report.skipped_bytes += length.saturating_sub(position.offset);
        }
    }
    report.scanned_records = found.len() as u64;
    if mode == Mode::Repair
        && let Some(&last) = segments.last()
    {
        repair_tail(layout, last, &mut position, &mut found, &mut report)?;
    }
    for item in found {
        apply(&mut index, &item);
    }
    Ok(Recovered { index, position, report })
}

fn header_holds(file: &File, segment: u32, key: &StoreKey) -> bool {
    let mut header = [0; SEGMENT_HEADER_BYTES as usize];
    file.read_exact_at(&mut header, 0).is_ok() && header == encode_segment(segment, key)
}

fn covers(layout: &Layout, segments: &[u32], position: Position) -> bool {
    let length = std::fs::metadata(layout.segment(position.segment)).map_or(0, |meta| meta.len());
    segments.contains(&position.segment) && length >= position.offset
}

fn apply(index: &mut Index, found: &Found) {
    match found.record.kind {
        RecordKind::Put { placement, stored_at } => {
            let entry = Entry { placement, stored_at, segment: found.segment, offset: found.offset };
            index.insert(found.record.shard, entry);
        }
        RecordKind::Delete => {
            index.remove(&found.record.shard);
        }
    }
}

/// Reads the records of one segment from `position`, which ends up behind the last one.
fn scan(
    file: &File,
    key: &StoreKey,
    position: &mut Position,
    found: &mut Vec<Found>,
    report: &mut Report,
) -> io::Result<()> {
    let end = file.metadata()?.len();
    let mut offset = position.offset;
    while offset < end {
        let record = read_record(file, key, offset, end, position.sequence)?;
        let Some(record) = record else {
            match next_record(file, key, offset + 1, end, position.sequence)? {
                Some(next) => {
                    tracing::error!(segment = position.segment, offset, next, "damaged region in the log");
                    report.skipped_bytes += next - offset;
                    offset = next;
                    continue;
                }
                None => return Ok(()),
            }
        };
        found.push(Found { record, segment: position.segment, offset });
        offset += RECORD_BYTES + record.body_len();
        (position.offset, position.sequence) = (offset, record.sequence + 1);
    }
    Ok(())
}

/// The record at `offset`, if it is whole and not older than `sequence`.
fn read_record(
    file: &File,
    key: &StoreKey,
    offset: u64,
    end: u64,
    sequence: u64,
) -> io::Result<Option<Record>> {
    if offset + RECORD_BYTES > end {
        return Ok(None);
    }
    let mut header = [0; RECORD_BYTES as usize];
    file.read_exact_at(&mut header, offset)?;
    let record = Record::decode(&header, key);
    Ok(record
        .filter(|record| record.sequence >= sequence && offset + RECORD_BYTES + record.body_len() <= end))
}

/// Offset of the first whole record at or behind `from`.
fn next_record(file: &File, key: &StoreKey, from: u64, end: u64, sequence: u64) -> io::Result<Option<u64>> {
    let mut window = vec![0; SEARCH_BYTES];
    let mut start = from;
    while start + RECORD_BYTES <= end {
        let length = SEARCH_BYTES.min((end - start) as usize);
        file.read_exact_at(&mut window[..length], start)?;
        for at in 0..=length - RECORD_MAGIC.len() {
            let offset = start + at as u64;
            if window[at..].starts_with(&RECORD_MAGIC)
                && read_record(file, key, offset, end, sequence)?.is_some()
            {
                return Ok(Some(offset));
            }
        }
        // Windows overlap, so that a magic across their border is seen.
        start += (length - RECORD_MAGIC.len() + 1) as u64;
    }
    Ok(None)
}

/// Judges the bodies of the last segment: bad ones at its end are torn and cut off, others are not served.
fn repair_tail(
    layout: &Layout,
    last: u32,
    position: &mut Position,
    found: &mut Vec<Found>,
    report: &mut Report,
) -> Result<(), LayoutError> {
    let path = layout.segment(last);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at(&path))?;
    let live = live_puts(found);
    let mut bad = Vec::new();
    for (number, item) in found.iter().enumerate() {
        if item.segment == last && live.get(&item.record.shard) == Some(&number) && !body_holds(&file, item) {
            bad.push(number);
        }
    }
    while let Some(number) = bad.last().copied()
        && number + 1 == found.len()
    {
        bad.pop();
        if let Some(item) = found.pop() {
            (position.offset, position.sequence) = (item.offset, item.record.sequence);
        }
    }
    report.damaged_records = bad.len() as u64;
    for number in bad.into_iter().rev() {
        let item = found.remove(number);
        tracing::error!(shard = %item.record.shard, "shard in the log does not match its address");
    }
    let length = file.metadata().map_err(at(&path))?.len();
    if length > position.offset && position.segment == last {
        report.truncated_bytes = length - position.offset;
        tracing::warn!(segment = last, bytes = report.truncated_bytes, "torn tail of the log cut off");
        file.set_len(position.offset).and_then(|()| file.sync_all()).map_err(at(&path))?;
    }
    Ok(())
}

/// Number of the record that holds each shard at the end of the log.
fn live_puts(found: &[Found]) -> HashMap<ShardHash, usize> {
    let mut live = HashMap::new();
    for (number, item) in found.iter().enumerate() {
        match item.record.kind {
            RecordKind::Put { .. } => live.insert(item.record.shard, number),
            RecordKind::Delete => live.remove(&item.record.shard),
        };
    }
    live
}

fn body_holds(file: &File, found: &Found) -> bool {
    let mut body = vec![0; found.record.body_len() as usize];
    file.read_exact_at(&mut body, found.offset + RECORD_BYTES).is_ok()
        && *blake3::hash(&body).as_bytes() == found.record.shard.0
}
