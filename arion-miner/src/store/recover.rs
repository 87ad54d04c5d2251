//! Reading the log back: what is stored, where it goes on, what was lost.
//!
//! # Invariants
//! - A record that was acknowledged is found again however the process died; only bytes behind the last whole
//!   record are cut off.
//! - A damaged record costs itself alone: the scan goes on at the next header whose keyed checksum holds.
//! - Unsynced bytes exist only in the last segment (a segment is synced before the next is begun) and only in its
//!   last two batches (a batch is synced before the next but one is written), so that only there bodies tell torn from
//!   rotten.
//!
//! # Not here
//! Repeating in the log what was judged here: the writer does that first (`Recovered::amends`).

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

use arion_types::ShardHash;

use super::{
    checkpoint::{self, Head, KnownSpan, Position},
    disk::DiskFile,
    index::{Entry, Index},
    layout::{Layout, LayoutError, Segments, Span},
    record::{
        RECORD_BYTES, RECORD_MAGIC, Record, RecordKind, SEGMENT_HEADER_BYTES, State, StoreKey, Victim,
        decode_segment,
    },
};

const SEARCH_BYTES: usize = 1 << 20;

/// Whether the store may be changed while it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// This process holds the lock: a torn tail is cut off, what a compaction left behind is removed.
    Repair,
    /// Another process may be writing: nothing is touched and bodies are not judged.
    ReadOnly,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub index: Index,
    pub position: Position,
    pub spans: Vec<KnownSpan>,
    /// Number of the last batch.
    pub batch: u16,
    pub report: Report,
    /// What the log does not say yet: these puts are dead or quarantined.
    pub amends: Vec<(ShardHash, RecordKind)>,
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
pub(super) fn recover(layout: &Layout, key: &StoreKey, mode: Mode) -> Result<Recovered, LayoutError> {
    let Segments { spans, leftovers } = layout.segments()?;
    if mode == Mode::Repair {
        for name in leftovers {
            layout.disk.remove(&name).map_err(|error| layout.error(&name, error))?;
        }
    }
    let mut known = Vec::with_capacity(spans.len());
    for span in &spans {
        known.push(KnownSpan { span: *span, compacted: read_header(layout, *span, key)? });
    }
    let mut scan = Scan::begin(layout, key, known);
    for known in scan.spans.clone() {
        scan.read(known)?;
    }
    scan.forget_what_is_gone();
    if mode == Mode::Repair {
        scan.repair_tail()?;
    }
    scan.finish()
}

/// `compacted` of a segment; 0 where its header is damaged.
fn read_header(layout: &Layout, span: Span, key: &StoreKey) -> Result<u64, LayoutError> {
    let name = span.name();
    let mut header = [0; SEGMENT_HEADER_BYTES as usize];
    let read = layout.disk.open(&name).and_then(|file| file.read_at(&mut header, 0));
    match read {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(layout.error(&name, error)),
    }
    let compacted = decode_segment(&header, span.first, key);
    if compacted.is_none() {
        tracing::warn!(segment = span.first, "header of a segment is damaged or was not finished");
    }
    Ok(compacted.unwrap_or(0))
}

struct Scan<'a> {
    layout: &'a Layout,
    key: &'a StoreKey,
    index: Index,
    spans: Vec<KnownSpan>,
    /// Files that are as the checkpoint knew them.
    unchanged: HashSet<u32>,
    /// Where the checkpoint ends.
    start: Position,
    position: Position,
    batch: u16,
    report: Report,
    /// Records of the last file, not applied yet.
    tail: Vec<Found>,
    /// Puts before the checkpoint in files that were rewritten after it: where they are now.
    moved: HashMap<(ShardHash, u64), (u32, u64)>,
    /// Puts that were replaced and whose deletion was not seen.
    orphans: HashMap<(ShardHash, u64), u32>,
    amends: Vec<(ShardHash, RecordKind)>,
}

impl<'a> Scan<'a> {
    /// From the checkpoint, or from nothing.
    fn begin(layout: &'a Layout, key: &'a StoreKey, spans: Vec<KnownSpan>) -> Self {
        let segment = spans.first().map_or(1, |known| known.span.first);
        let nothing = Position { segment, offset: 0, sequence: 0 };
        let (index, head) = match checkpoint::load(layout, key) {
            Some((index, head)) if covers(layout, &spans, &head) => (index, head),
            Some(_) => {
                tracing::error!(
                    "segments end before the checkpoint: shards were lost; reading the whole log"
                );
                (Index::default(), Head { position: nothing, spans: Vec::new() })
            }
            None => (Index::default(), Head { position: nothing, spans: Vec::new() }),
        };
        let unchanged = spans.iter().filter(|known| head.spans.contains(known));
        Self {
            layout,
            key,
            index,
            unchanged: unchanged.map(|known| known.span.first).collect(),
            spans,
            start: head.position,
            position: head.position,
            batch: 0,
            report: Report::default(),
            tail: Vec::new(),
            moved: HashMap::new(),
            orphans: HashMap::new(),
            amends: Vec::new(),
        }
    }

    /// Reads what of a file is not in the checkpoint.
    fn read(&mut self, known: KnownSpan) -> Result<(), LayoutError> {
        let span = known.span;
        let unchanged = self.unchanged.contains(&span.first);
        if unchanged && span.last < self.start.segment {
            return Ok(());
        }
        let resumes =
            unchanged && span.contains(self.start.segment) && self.start.offset >= SEGMENT_HEADER_BYTES;
        let (from, sequence) =
            if resumes { (self.start.offset, self.start.sequence) } else { (SEGMENT_HEADER_BYTES, 0) };
        let name = span.name();
        let at = |error| self.layout.error(&name, error);
        let file = self.layout.disk.open(&name).map_err(at)?;
        let is_last = self.spans.last() == Some(&known);
        if is_last {
            // After a failed sync memory may hold what the disk does not.
            file.forget_cached();
        }
        let end = file.length().map_err(at)?;
        let mut records = Records { file: &file, key: self.key, end, offset: from, sequence, skipped: 0 };
        while let Some((offset, record)) = records.next().map_err(at)? {
            self.batch = record.batch;
            if record.sequence < self.start.sequence {
                if let RecordKind::Put { .. } = record.kind {
                    self.moved.insert((record.shard, record.sequence), (span.first, offset));
                }
                continue;
            }
            self.report.scanned_records += 1;
            let found = Found { record, segment: span.first, offset };
            match is_last {
                true => self.tail.push(found),
                false => self.apply(&found),
            }
        }
        self.report.skipped_bytes += records.skipped;
        let sequence = self.position.sequence.max(records.sequence);
        self.position = Position { segment: span.first, offset: records.offset, sequence };
        if !is_last {
            self.report.skipped_bytes += end.saturating_sub(records.offset);
        }
        Ok(())
    }

    fn apply(&mut self, found: &Found) {
        let Record { sequence, shard, kind, .. } = found.record;
        match kind {
            RecordKind::Put { placement, stored_at, summed } => {
                let (segment, offset) = (found.segment, found.offset);
                let state = State::Live;
                let entry = Entry { placement, stored_at, segment, offset, sequence, state, summed };
                if let Some(old) = self.index.insert(shard, entry) {
                    self.orphans.insert((shard, old.sequence), old.segment);
                }
            }
            RecordKind::Delete(Victim { sequence: 0, .. }) => {
                self.index.remove(&shard);
                self.orphans.retain(|(orphan, _), _| *orphan != shard);
            }
            RecordKind::Delete(victim) => {
                self.orphans.remove(&(shard, victim.sequence));
                if self.index.get(&shard).is_some_and(|entry| entry.sequence == victim.sequence) {
                    self.index.remove(&shard);
                }
            }
            RecordKind::Mark { victim, state } => {
                if let Some(entry) = self.index.get(&shard).filter(|entry| entry.sequence == victim) {
                    self.index.insert(shard, Entry { state, ..*entry });
                }
            }
        }
    }

    /// Where a file was rewritten after the checkpoint, entries of the checkpoint are found in it or dead.
    fn forget_what_is_gone(&mut self) {
        if self.index.segments().all(|segment| self.unchanged.contains(&segment)) {
            return;
        }
        let before: Vec<(ShardHash, Entry)> = self
            .index
            .after(None)
            .filter(|(_, entry)| entry.sequence < self.start.sequence)
            .filter(|(_, entry)| !self.unchanged.contains(&entry.segment))
            .copied()
            .collect();
        for (shard, entry) in before {
            match self.moved.get(&(shard, entry.sequence)) {
                Some(&(segment, offset)) => {
                    self.index.insert(shard, Entry { segment, offset, ..entry });
                }
                None => {
                    self.index.remove(&shard);
                }
            }
        }
    }

    /// Judges the bodies of the last file: bad ones at its end are torn and cut off, others are not served.
    fn repair_tail(&mut self) -> Result<(), LayoutError> {
        let Some(last) = self.spans.last().copied() else { return Ok(()) };
        let name = last.span.name();
        let at = |error| self.layout.error(&name, error);
        let file = self.layout.disk.open(&name).map_err(at)?;
        while let Some(found) = self.tail.last().copied() {
            if body_holds(&file, &found).map_err(at)? {
                break;
            }
            self.tail.pop();
            (self.position.offset, self.position.sequence) = (found.offset, found.record.sequence);
        }
        let puts = live_puts(&self.tail);
        let batches = || self.tail.iter().rev().map(|found| found.record.batch);
        let last_batch = batches().next();
        let batch_before = batches().find(|batch| Some(*batch) != last_batch);
        for number in 0..self.tail.len() {
            let found = self.tail[number];
            if puts.get(&found.record.shard) != Some(&number) || body_holds(&file, &found).map_err(at)? {
                continue;
            }
            self.report.damaged_records += 1;
            let Record { shard, sequence, .. } = found.record;
            if [last_batch, batch_before].contains(&Some(found.record.batch)) {
                // Torn, and nobody was told that it is stored.
                tracing::warn!(%shard, "a shard was not written to the end");
                let victim = Victim { sequence, segment: found.segment };
                self.amends.push((shard, RecordKind::Delete(victim)));
            } else {
                tracing::error!(%shard, "shard in the log does not match its address");
                self.amends.push((shard, RecordKind::Mark { victim: sequence, state: State::Quarantined }));
            }
        }
        let length = file.length().map_err(at)?;
        if length > self.position.offset {
            self.report.truncated_bytes = length - self.position.offset;
            tracing::warn!(
                segment = last.span.first,
                bytes = self.report.truncated_bytes,
                "torn tail of the log cut off"
            );
            file.set_length(self.position.offset).map_err(at)?;
        }
        // What is believed from here on is durable.
        file.sync().and_then(|()| self.layout.disk.sync_names()).map_err(at)
    }

    fn finish(mut self) -> Result<Recovered, LayoutError> {
        for found in std::mem::take(&mut self.tail) {
            self.apply(&found);
        }
        let dead = self.orphans.iter().map(|((shard, sequence), segment)| {
            (*shard, RecordKind::Delete(Victim { sequence: *sequence, segment: *segment }))
        });
        let mut amends: Vec<_> = dead.collect();
        amends.extend(self.amends);
        let sequence = self.position.sequence.max(1);
        Ok(Recovered {
            index: self.index,
            position: Position { sequence, ..self.position },
            spans: self.spans,
            batch: self.batch,
            report: self.report,
            amends,
        })
    }
}

/// Whether the log reaches the checkpoint.
fn covers(layout: &Layout, spans: &[KnownSpan], head: &Head) -> bool {
    let position = head.position;
    // A file that is gone while later ones are there was emptied by a compaction.
    spans.iter().any(|known| {
        let rewritten = !head.spans.contains(known);
        let length = || layout.disk.open(&known.span.name()).and_then(|file| file.length()).unwrap_or(0);
        known.span.first > position.segment
            || known.span.contains(position.segment) && (rewritten || length() >= position.offset)
    })
}

/// Number of the record that holds each shard at the end of the log.
fn live_puts(found: &[Found]) -> HashMap<ShardHash, usize> {
    let mut live: HashMap<ShardHash, usize> = HashMap::new();
    for (number, item) in found.iter().enumerate() {
        let shard = item.record.shard;
        match item.record.kind {
            RecordKind::Put { .. } => {
                live.insert(shard, number);
            }
            RecordKind::Delete(victim) => {
                let hit = |number: &usize| {
                    victim.sequence == 0 || found[*number].record.sequence == victim.sequence
                };
                if live.get(&shard).is_some_and(hit) {
                    live.remove(&shard);
                }
            }
            RecordKind::Mark { .. } => {}
        }
    }
    live
}

/// Whether a body is whole. An unreadable one is neither: the start fails and nothing is cut off.
fn body_holds(file: &Arc<dyn DiskFile>, found: &Found) -> io::Result<bool> {
    let RecordKind::Put { placement, .. } = found.record.kind else { return Ok(true) };
    let body = file.read(found.offset + RECORD_BYTES, placement.size as usize)?;
    Ok(*blake3::hash(&body).as_bytes() == found.record.shard.0)
}

/// The records of a file, one behind the other.
pub(super) struct Records<'a> {
    pub file: &'a Arc<dyn DiskFile>,
    pub key: &'a StoreKey,
    pub end: u64,
    /// Where the next record is; behind the last one at the end.
    pub offset: u64,
    /// Least sequence of the next record.
    pub sequence: u64,
    /// Bytes between records that are no records.
    pub skipped: u64,
}

impl Records<'_> {
    /// The next record and its offset.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Record)>> {
        let mut record = self.record(self.offset)?;
        if record.is_none() {
            let Some(next) = self.search(self.offset + 1)? else { return Ok(None) };
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

    /// The record at `offset`, if it is whole and not older than the one before.
    fn record(&self, offset: u64) -> io::Result<Option<Record>> {
        if offset + RECORD_BYTES > self.end {
            return Ok(None);
        }
        let mut header = [0; RECORD_BYTES as usize];
        self.file.read_at(&mut header, offset)?;
        let record = Record::decode(&header, self.key);
        let fits = |record: &Record| offset + RECORD_BYTES + record.payload_len() <= self.end;
        Ok(record.filter(|record| record.sequence >= self.sequence && fits(record)))
    }

    /// Offset of the first whole record at or behind `from`.
    fn search(&self, from: u64) -> io::Result<Option<u64>> {
        let mut start = from;
        while start + RECORD_BYTES <= self.end {
            let length = SEARCH_BYTES.min((self.end - start) as usize);
            let window = self.file.read(start, length)?;
            for at in 0..=length - RECORD_MAGIC.len() {
                let offset = start + at as u64;
                if window[at..].starts_with(&RECORD_MAGIC) && self.record(offset)?.is_some() {
                    return Ok(Some(offset));
                }
            }
            // Windows overlap, so that a magic across their border is seen.
            start += (length - RECORD_MAGIC.len() + 1) as u64;
        }
        Ok(None)
    }
}
