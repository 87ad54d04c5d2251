//! Reading the log back: what is stored, where it goes on, what was lost.
//!
//! # Invariants
//! - A record that was acknowledged is found again however the process died; only bytes behind the last whole
//!   record are cut off.
//! - A damaged record costs itself alone: the scan goes on at the next header whose keyed checksum holds.
//! - What the disk refuses to read costs the records in it: it is neither cut off nor taken for torn.
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
    layout::{CHECKPOINT, Layout, LayoutError, Segments, Span},
    record::{
        Owner, RECORD_BYTES, Record, RecordKind, SEGMENT_HEADER_BYTES, State, StoreKey, Victim,
        decode_segment,
    },
    records::Records,
    salvage::{is_unreadable, persist},
};

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
    /// Whether the end of the last file cannot be read, and so not added to: the log goes on in another.
    pub blind: bool,
    /// Why nothing may be written, if that is so.
    pub failed: Option<io::Error>,
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
    /// Records whose shard does not match its address, or cannot be read; not served.
    pub damaged_records: u64,
    /// Bytes of the log behind the checkpoint that the disk refused to read.
    pub unreadable_bytes: u64,
    /// Segment files behind the checkpoint that could not be opened.
    pub unreadable_files: u64,
}

/// Numbers left out where the end of the log cannot be read: those of the records that may be there.
const SEQUENCES_LEFT_OUT: u64 = 1 << 32;

/// The unit in which systems read files and write parts of them.
const PAGE_BYTES: u64 = 4 << 10;

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
            if let Err(error) = layout.disk.remove(&name) {
                tracing::warn!(%error, name, "what a compaction left behind cannot be removed");
            }
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
        scan.forget_checkpoint();
    }
    scan.finish()
}

/// `compacted` of a segment; 0 where its header is damaged.
fn read_header(layout: &Layout, span: Span, key: &StoreKey) -> Result<u64, LayoutError> {
    let name = span.name();
    let mut header = [0; SEGMENT_HEADER_BYTES as usize];
    let read = persist(|| layout.disk.open(&name).and_then(|file| file.read_at(&mut header, 0)));
    match read {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || is_unreadable(&error) => {}
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
    /// There is a checkpoint of a log that was longer.
    outlived: bool,
    /// Where the checkpoint ends.
    start: Position,
    position: Position,
    batch: u16,
    report: Report,
    /// Records of the last file, not applied yet.
    tail: Vec<Found>,
    /// Puts before the checkpoint in files that were rewritten after it: where they are now.
    moved: HashMap<(ShardHash, u64), (u32, u64)>,
    /// Puts that were replaced and whose deletion was not seen, oldest first.
    replaced: HashMap<ShardHash, Vec<Entry>>,
    amends: Vec<(ShardHash, RecordKind)>,
    blind: bool,
    failed: Option<io::Error>,
}

impl<'a> Scan<'a> {
    /// From the checkpoint, or from nothing.
    fn begin(layout: &'a Layout, key: &'a StoreKey, spans: Vec<KnownSpan>) -> Self {
        let segment = spans.first().map_or(1, |known| known.span.first);
        let nothing = Position { segment, offset: 0, sequence: 0 };
        let loaded = checkpoint::load(layout, key);
        let outlived = loaded.as_ref().is_some_and(|(_, head)| !covers(layout, &spans, head));
        if outlived {
            tracing::error!("segments end before the checkpoint: shards were lost; reading the whole log");
        }
        let (index, head) = loaded
            .filter(|_| !outlived)
            .unwrap_or_else(|| (Index::default(), Head { position: nothing, spans: Vec::new() }));
        let unchanged = spans.iter().filter(|known| head.spans.contains(known));
        Self {
            layout,
            key,
            index,
            unchanged: unchanged.map(|known| known.span.first).collect(),
            spans,
            outlived,
            start: head.position,
            position: head.position,
            batch: 0,
            report: Report::default(),
            tail: Vec::new(),
            moved: HashMap::new(),
            replaced: HashMap::new(),
            amends: Vec::new(),
            blind: false,
            failed: None,
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
        let is_last = self.spans.last() == Some(&known);
        let opened = persist(|| {
            let file = self.layout.disk.open(&name)?;
            if is_last {
                // After a failed sync memory may hold what the disk does not.
                file.forget_cached();
            }
            Ok((file.length()?, file))
        });
        let (end, file) = match opened {
            Err(error) if is_unreadable(&error) => {
                tracing::error!(%error, name, "a segment cannot be opened: what is in it is not served");
                self.report.unreadable_files += 1;
                self.blind |= is_last;
                self.position.segment = span.first;
                return Ok(());
            }
            opened => opened.map_err(at)?,
        };
        let mut records = Records::new(&file, self.key, end, from, sequence);
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
        self.report.unreadable_bytes += records.unreadable_bytes;
        if records.unreadable_bytes > 0 {
            tracing::error!(
                name,
                bytes = records.unreadable_bytes,
                "the disk refuses to read a part of the log"
            );
        }
        if is_last {
            self.blind |= records.unreadable_end > records.offset;
            self.blind |= !is_writable(&file, records.offset).map_err(at)?;
        }
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
            RecordKind::Put { placement, stored_at, summed, owner } => {
                let (segment, offset) = (found.segment, found.offset);
                let state = State::Live;
                let entry = Entry { placement, stored_at, segment, offset, sequence, state, summed, owner };
                if let Some(old) = self.index.insert(shard, entry) {
                    self.replaced.entry(shard).or_default().push(old);
                }
            }
            RecordKind::Delete(Victim { sequence: 0, .. }) => {
                self.index.remove(&shard);
                self.replaced.remove(&shard);
            }
            RecordKind::Delete(victim) => {
                let replaced = self.replaced.get_mut(&shard);
                if self.index.get(&shard).is_none_or(|entry| entry.sequence != victim.sequence) {
                    if let Some(replaced) = replaced {
                        replaced.retain(|entry| entry.sequence != victim.sequence);
                    }
                    return;
                }
                // What it replaced may never have been given up.
                match replaced.and_then(Vec::pop) {
                    Some(before) => self.index.insert(shard, before),
                    None => self.index.remove(&shard),
                };
            }
            RecordKind::Mark { victim, state, owner } => {
                if let Some(entry) = self.index.get(&shard).filter(|entry| entry.sequence == victim) {
                    self.index.insert(shard, Entry { state, owner, ..entry });
                }
            }
        }
    }

    /// Where a file was rewritten after the checkpoint, entries of the checkpoint are found in it or dead.
    fn forget_what_is_gone(&mut self) {
        let (start, unchanged, moved) = (self.start.sequence, &self.unchanged, &self.moved);
        let is_gone = |entry: &Entry| entry.sequence < start && !unchanged.contains(&entry.segment);
        for (shard, replaced) in &mut self.replaced {
            replaced.retain_mut(|entry| {
                let now = if is_gone(entry) {
                    moved.get(&(*shard, entry.sequence)).copied()
                } else {
                    Some((entry.segment, entry.offset))
                };
                (entry.segment, entry.offset) = now.unwrap_or_default();
                now.is_some()
            });
        }
        if self.index.segments().all(|segment| self.unchanged.contains(&segment)) {
            return;
        }
        let before: Vec<(ShardHash, Entry)> =
            self.index.after(None).filter(|(_, entry)| is_gone(entry)).collect();
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

    /// Removes the checkpoint of a log that was longer: what is written from here on would look as if it were in it, as soon as the log is
    /// as long again.
    fn forget_checkpoint(&mut self) {
        if self.outlived {
            let gone = self.layout.disk.remove(CHECKPOINT).and_then(|()| self.layout.disk.sync_names());
            // Then nothing may be written.
            self.failed = self.failed.take().or(gone.err());
        }
    }

    /// Judges the bodies of the last file: bad ones at its end are torn and cut off, others are not served.
    fn repair_tail(&mut self) -> Result<(), LayoutError> {
        let Some(last) = self.spans.last().copied() else { return Ok(()) };
        let name = last.span.name();
        let at = |error| self.layout.error(&name, error);
        let file = match persist(|| self.layout.disk.open(&name)) {
            Err(error) if is_unreadable(&error) => {
                self.failed = Some(error).filter(|_| !self.blind);
                return Ok(());
            }
            opened => opened.map_err(at)?,
        };
        while let Some(found) = self.tail.last().copied().filter(|_| !self.blind) {
            if body(&file, &found).map_err(at)? != Body::Bad {
                break;
            }
            self.tail.pop();
            (self.position.offset, self.position.sequence) = (found.offset, found.record.sequence);
        }
        self.judge_tail(&file).map_err(at)?;
        let repaired = self.cut(&file, &name).and_then(|()| {
            // What is believed from here on is durable.
            file.sync()?;
            self.layout.disk.sync_names()
        });
        // Else nothing that is found may be acknowledged again.
        self.failed = repaired.err();
        Ok(())
    }

    /// Finds the puts at the end of the log that are torn, or rotten.
    fn judge_tail(&mut self, file: &Arc<dyn DiskFile>) -> io::Result<()> {
        let batches = || self.tail.iter().rev().map(|found| found.record.batch);
        let last_batch = batches().next();
        let batch_before = batches().find(|batch| Some(*batch) != last_batch);
        let (mut judged, mut torn) = (HashSet::new(), HashSet::new());
        loop {
            // Where a put is torn, the one that it was to replace is looked at next.
            let mut puts: Vec<usize> = live_puts(&self.tail, &torn).into_values().collect();
            puts.retain(|number| judged.insert(*number));
            puts.sort_unstable();
            if puts.is_empty() {
                break;
            }
            for number in puts {
                let found = self.tail[number];
                let state = body(file, &found)?;
                if state == Body::Whole {
                    continue;
                }
                self.report.damaged_records += 1;
                let Record { shard, sequence, batch, .. } = found.record;
                let unsynced = !self.blind && [last_batch, batch_before].contains(&Some(batch));
                if state == Body::Bad && unsynced {
                    // Torn, and nobody was told that it is stored.
                    tracing::warn!(%shard, "a shard was not written to the end");
                    let victim = Victim { sequence, segment: found.segment };
                    self.amends.push((shard, RecordKind::Delete(victim)));
                    torn.insert(number);
                } else {
                    tracing::error!(%shard, ?state, "shard in the log does not match its address");
                    let (state, owner) = (State::Quarantined, Owner::NONE);
                    let kind = RecordKind::Mark { victim: sequence, state, owner };
                    self.amends.push((shard, kind));
                }
            }
        }
        // What they were to replace is what there is.
        let mut number = 0;
        self.tail.retain(|_| {
            number += 1;
            !torn.contains(&(number - 1))
        });
        Ok(())
    }

    /// Cuts off what is behind the last record, unless some of it cannot be read.
    fn cut(&mut self, file: &Arc<dyn DiskFile>, name: &str) -> io::Result<()> {
        let length = file.length()?;
        if self.blind || length <= self.position.offset {
            return Ok(());
        }
        self.report.truncated_bytes = length - self.position.offset;
        tracing::warn!(name, bytes = self.report.truncated_bytes, "torn tail of the log cut off");
        file.set_length(self.position.offset)
    }

    fn finish(mut self) -> Result<Recovered, LayoutError> {
        for found in std::mem::take(&mut self.tail) {
            self.apply(&found);
        }
        let dead =
            |entry: &Entry| RecordKind::Delete(Victim { sequence: entry.sequence, segment: entry.segment });
        let replaced = self.replaced.iter();
        let mut amends: Vec<_> =
            replaced.flat_map(|(shard, old)| old.iter().map(|entry| (*shard, dead(entry)))).collect();
        amends.extend(self.amends);
        let left_out = if self.blind { SEQUENCES_LEFT_OUT } else { 0 };
        let sequence = self.position.sequence.max(1).saturating_add(left_out);
        Ok(Recovered {
            index: self.index,
            position: Position { sequence, ..self.position },
            spans: self.spans,
            batch: self.batch,
            report: self.report,
            amends,
            blind: self.blind,
            failed: self.failed,
        })
    }
}

/// Whether the file can be added to at this offset: what stands before it in its page has to be read for that.
fn is_writable(file: &Arc<dyn DiskFile>, offset: u64) -> io::Result<bool> {
    let before = (offset % PAGE_BYTES) as usize;
    match persist(|| file.read(offset - before as u64, before)) {
        Err(error) if is_unreadable(&error) => Ok(false),
        // Nothing of that page was ever written.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
        read => read.map(|_| true),
    }
}

/// Whether the log reaches the checkpoint.
fn covers(layout: &Layout, spans: &[KnownSpan], head: &Head) -> bool {
    let position = head.position;
    // A file that is gone while later ones are there was emptied by a compaction.
    spans.iter().any(|known| {
        let rewritten = !head.spans.contains(known);
        let length = || match persist(|| layout.disk.open(&known.span.name())?.length()) {
            // It is there, whatever its end is.
            Err(error) if is_unreadable(&error) => u64::MAX,
            length => length.unwrap_or(0),
        };
        known.span.first > position.segment
            || known.span.contains(position.segment) && (rewritten || length() >= position.offset)
    })
}

/// Number of the record that holds each shard at the end of the log.
fn live_puts(found: &[Found], torn: &HashSet<usize>) -> HashMap<ShardHash, usize> {
    let mut live: HashMap<ShardHash, usize> = HashMap::new();
    for (number, item) in found.iter().enumerate().filter(|(number, _)| !torn.contains(number)) {
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

/// What is found behind the header of a put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Body {
    Whole,
    Bad,
    Unreadable,
}

fn body(file: &Arc<dyn DiskFile>, found: &Found) -> io::Result<Body> {
    let RecordKind::Put { placement, .. } = found.record.kind else { return Ok(Body::Whole) };
    match persist(|| file.read(found.offset + RECORD_BYTES, placement.size as usize)) {
        Ok(body) if *blake3::hash(&body).as_bytes() == found.record.shard.0 => Ok(Body::Whole),
        Ok(_) => Ok(Body::Bad),
        Err(error) if is_unreadable(&error) => Ok(Body::Unreadable),
        Err(error) => Err(error),
    }
}
