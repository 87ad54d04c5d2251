//! Compaction: files of which little is needed are written anew without the rest, small neighbours become one.
//!
//! Records keep their order and their sequence, so that the log means the same before and after. A deletion goes when
//! the file that held its put has been rewritten since.
//!
//! # Invariants
//! - A file is replaced by a whole, synced one in one rename; a crash leaves one or the other.
//! - What the index knows is copied even where its header is damaged on disk.
//! - A file that cannot be rewritten keeps no other from it, and is tried again after growing pauses.
//! - A copy is begun only where the disk has room for twice as much.
//! - A shard the disk does not give back is quarantined first; only then its place is filled with zeros, so that it stays
//!   quarantined and the rest of its file can be rewritten.
//!
//! # Not here
//! When it runs (`keeper`). Holes of deleted bodies (`writer`): they give back large shards at once; compaction is
//! for headers, small shards and the files themselves.

use std::{collections::HashMap, io, sync::Arc};

use arion_types::ShardHash;

use super::{
    Shared, WriteError,
    checkpoint::KnownSpan,
    disk::DiskFile,
    index::Entry,
    layout::Span,
    record::{RECORD_BYTES, Record, RecordKind, SEGMENT_HEADER_BYTES, StoreKey, Victim, encode_segment},
    records::Records,
    salvage::{self, REFUSED_BLOCKS_MAX},
    writer::Writer,
};

/// Fewest neighbours that are merged.
const MERGED_MIN: usize = 4;
/// Less than this is not worth a rewrite.
const GAIN_BYTES_MIN: u64 = 64 << 10;
const BUFFER_BYTES: usize = 1 << 20;
/// Pause after the first failure with a file; each further one doubles it.
const PAUSE_MS: u64 = 60_000;
/// Longest pause.
const PAUSE_MS_MAX: u64 = 24 * 3_600_000;

/// Files written anew, waiting to be taken over.
pub(super) struct Rewritten {
    /// The files as they were, neighbours in the log.
    pub old: Vec<Span>,
    /// Name of the new file; `None` where nothing is left.
    pub new: Option<String>,
    pub compacted: u64,
    /// Where puts are in it.
    moved: Vec<(ShardHash, u64, u64)>,
    /// Length of the new file.
    pub bytes: u64,
    /// Bytes of shards in it, headers included.
    put_bytes: u64,
    /// Live shards that the disk refused to read.
    unreadable: Vec<(ShardHash, u64)>,
}

/// Why a compaction ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompactError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("stopped")]
    Stopped,
    /// Shards and sequences of live records.
    #[error("{} shards cannot be read", .0.len())]
    Unreadable(Vec<(ShardHash, u64)>),
    #[error("the disk has no room for a copy")]
    NoRoom,
}

/// A file that could not be rewritten.
#[derive(Clone, Copy, Default)]
struct Failure {
    times: u32,
    again_at_ms: u64,
}

/// Which files to rewrite next.
#[derive(Default)]
pub(super) struct Planner {
    /// Bytes of deletions and marks that the last rewrite of a file could not leave out.
    floors: HashMap<Span, u64>,
    /// What is left alone for now.
    failures: HashMap<Span, Failure>,
}

impl Planner {
    /// A file of which less than `ratio_percent` is needed, or neighbours that fit into one file; at `now_ms` not those
    /// that failed a short while ago.
    pub(super) fn plan(
        &mut self,
        shared: &Shared,
        ratio_percent: u64,
        segment_bytes: u64,
        now_ms: u64,
    ) -> Option<Vec<KnownSpan>> {
        let mut sealed = shared.files().spans();
        sealed.pop();
        self.floors.retain(|span, _| sealed.iter().any(|known| known.span == *span));
        self.failures.retain(|span, _| sealed.iter().any(|known| known.span == *span));
        let failures = &self.failures;
        let waits =
            |known: &KnownSpan| failures.get(&known.span).is_some_and(|failure| now_ms < failure.again_at_ms);
        let needed: Vec<u64> = {
            let index = shared.index();
            let needed = |known: &KnownSpan| {
                let floor = self.floors.get(&known.span).copied().unwrap_or(0);
                SEGMENT_HEADER_BYTES + index.segment(known.span.first).bytes + floor
            };
            sealed.iter().map(needed).collect()
        };
        let mut best: Option<(u64, KnownSpan)> = None;
        for (known, needed) in sealed.iter().zip(&needed).filter(|(known, _)| !waits(known)) {
            let Ok(file) = shared.segment(known.span.first) else { continue };
            let (Ok(allocated), Ok(length)) = (file.allocated(), file.length()) else { continue };
            let taken = allocated.min(length);
            let gain = taken.saturating_sub(*needed);
            let empty = *needed == SEGMENT_HEADER_BYTES && length > SEGMENT_HEADER_BYTES;
            let worth =
                needed.saturating_mul(100) < taken.saturating_mul(ratio_percent) && gain >= GAIN_BYTES_MIN;
            if (worth || empty) && best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, *known));
            }
        }
        match best {
            Some((_, known)) => Some(vec![known]),
            None => merge(&sealed, &needed, segment_bytes, waits),
        }
    }

    /// Leaves files alone for a while.
    pub(super) fn failed(&mut self, old: &[KnownSpan], error: &CompactError, now_ms: u64) {
        for known in old {
            let failure = self.failures.entry(known.span).or_default();
            let pause_ms = PAUSE_MS.saturating_mul(1 << failure.times.min(20)).min(PAUSE_MS_MAX);
            failure.again_at_ms = now_ms.saturating_add(pause_ms);
            // Room may be there at any time.
            failure.times += u32::from(!matches!(error, CompactError::NoRoom));
        }
    }

    /// Remembers what could not be left out.
    pub(super) fn done(&mut self, rewritten: &Rewritten) {
        for span in &rewritten.old {
            self.failures.remove(span);
        }
        if let (Some(first), Some(last)) = (rewritten.old.first(), rewritten.old.last()) {
            let span = Span { first: first.first, last: last.last };
            let puts = SEGMENT_HEADER_BYTES + rewritten.put_bytes;
            self.floors.insert(span, rewritten.bytes.saturating_sub(puts));
        }
    }
}

/// The first run of small neighbours.
fn merge(
    sealed: &[KnownSpan],
    needed: &[u64],
    segment_bytes: u64,
    waits: impl Fn(&KnownSpan) -> bool,
) -> Option<Vec<KnownSpan>> {
    let mut begin = 0;
    for (at, bytes) in needed.iter().enumerate() {
        if *bytes > segment_bytes / MERGED_MIN as u64 || waits(&sealed[at]) {
            begin = at + 1;
        } else if at + 1 - begin >= MERGED_MIN {
            return Some(sealed[begin..=at].to_vec());
        }
    }
    None
}

/// A record that stays.
struct Kept {
    record: Record,
    file: usize,
    offset: u64,
}

/// Writes `old` anew. `sequence` is where the log stood, durably, before; `pace` is told how many bytes were moved
/// and says whether to go on.
pub(super) fn rewrite(
    shared: &Shared,
    key: &StoreKey,
    old: &[KnownSpan],
    sequence: u64,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<Rewritten, CompactError> {
    let put_bytes: u64 = {
        let index = shared.index();
        old.iter().map(|known| index.segment(known.span.first).bytes).sum()
    };
    let room = shared.layout.disk.free_bytes().unwrap_or(u64::MAX);
    if put_bytes > 0 && room / 2 < put_bytes {
        return Err(CompactError::NoRoom);
    }
    let files: Vec<Arc<dyn DiskFile>> =
        old.iter().map(|known| shared.layout.disk.open(&known.span.name())).collect::<io::Result<_>>()?;
    let kept = choose(shared, key, old, &files, sequence)?;
    let mut rewritten = Rewritten {
        old: old.iter().map(|known| known.span).collect(),
        new: None,
        compacted: sequence,
        moved: Vec::new(),
        bytes: 0,
        put_bytes: 0,
        unreadable: Vec::new(),
    };
    let Some(first) = old.first().map(|known| known.span.first).filter(|_| !kept.is_empty()) else {
        return Ok(rewritten);
    };
    let name = format!("segments/{first:08}.new");
    let mut copied = copy(shared, key, &name, first, &files, &kept, &mut rewritten, pace);
    if copied.is_ok() && !rewritten.unreadable.is_empty() {
        copied = Err(CompactError::Unreadable(std::mem::take(&mut rewritten.unreadable)));
    }
    if copied.is_err() {
        let _ = shared.layout.disk.remove(&name);
    }
    copied?;
    rewritten.new = Some(name);
    Ok(rewritten)
}

/// What stays of the files, in order.
fn choose(
    shared: &Shared,
    key: &StoreKey,
    old: &[KnownSpan],
    files: &[Arc<dyn DiskFile>],
    sequence: u64,
) -> Result<Vec<Kept>, CompactError> {
    let spans = shared.files().spans();
    let starts_the_log = spans.first().map(|known| known.span) == old.first().map(|known| known.span);
    // Whether the put of a deletion may still be in some file.
    let haunted = |victim: Victim, deletion: u64| match victim.segment {
        0 => !starts_the_log,
        segment => spans.iter().any(|known| {
            let rewritten = if old.contains(known) { sequence } else { known.compacted };
            known.span.contains(segment) && rewritten <= deletion
        }),
    };
    let mut missing: HashMap<u64, (ShardHash, Entry)> = HashMap::new();
    for (shard, entry) in shared.index().snapshot().iter() {
        if old.iter().any(|known| known.span.first == entry.segment) {
            missing.insert(entry.sequence, (shard, entry));
        }
    }
    let mut kept = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let end = file.length()?;
        let mut records = Records::new(file, key, end, SEGMENT_HEADER_BYTES, 0);
        while let Some((offset, record)) = records.next()? {
            let keep = match record.kind {
                RecordKind::Put { .. } => missing.remove(&record.sequence).is_some(),
                RecordKind::Delete(victim) => haunted(victim, record.sequence),
                RecordKind::Mark { victim, state, .. } => shared
                    .index()
                    .get(&record.shard)
                    .is_some_and(|entry| entry.sequence == victim && entry.state == state),
            };
            if keep {
                kept.push(Kept { record, file: number, offset });
            }
        }
    }
    for (shard, entry) in missing.into_values() {
        tracing::warn!(%shard, "header of a shard was damaged on disk and is written anew");
        let Entry { placement, stored_at, summed, owner, .. } = entry;
        let kind = RecordKind::Put { placement, stored_at, summed, owner };
        let file = old.iter().position(|known| known.span.first == entry.segment).unwrap_or(0);
        let record = Record { sequence: entry.sequence, batch: 0, shard, kind };
        kept.push(Kept { record, file, offset: entry.offset });
    }
    kept.sort_unstable_by_key(|kept| kept.record.sequence);
    Ok(kept)
}

#[expect(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
fn copy(
    shared: &Shared,
    key: &StoreKey,
    name: &str,
    number: u32,
    files: &[Arc<dyn DiskFile>],
    kept: &[Kept],
    rewritten: &mut Rewritten,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<(), CompactError> {
    let file = shared.layout.disk.create(name)?;
    let mut buffer = encode_segment(number, rewritten.compacted, key).to_vec();
    let mut written = 0;
    for Kept { record, file: from, offset } in kept {
        if let RecordKind::Put { .. } = record.kind {
            rewritten.moved.push((record.shard, record.sequence, written + buffer.len() as u64));
            rewritten.put_bytes += RECORD_BYTES + record.payload_len();
        }
        buffer.extend_from_slice(&record.encode(key));
        let length = record.payload_len() as usize;
        let (payload, refused) =
            salvage::read(&files[*from], offset + RECORD_BYTES, length, REFUSED_BLOCKS_MAX)?;
        let lives = |entry: Entry| entry.is_live() && entry.sequence == record.sequence;
        if !refused.is_empty() && shared.index().get(&record.shard).is_some_and(lives) {
            rewritten.unreadable.push((record.shard, record.sequence));
        }
        buffer.extend_from_slice(&payload);
        if buffer.len() >= BUFFER_BYTES {
            // Else it is read on to find all that cannot be read.
            if rewritten.unreadable.is_empty() {
                file.write_at(&[&buffer], written)?;
            }
            written += buffer.len() as u64;
            if !pace(2 * buffer.len() as u64) {
                return Err(CompactError::Stopped);
            }
            buffer.clear();
        }
    }
    file.write_at(&[&buffer], written)?;
    rewritten.bytes = written + buffer.len() as u64;
    file.sync()?;
    Ok(())
}

impl Writer {
    /// Puts the new file in place of the old ones, and the index right.
    pub(super) fn adopt(&mut self, rewritten: &Rewritten) -> Result<(), WriteError> {
        let (Some(first), Some(last)) = (rewritten.old.first(), rewritten.old.last()) else { return Ok(()) };
        let span = Span { first: first.first, last: last.last };
        for old in &rewritten.old {
            // Else a reader might open the new file where the index means the old one.
            if let Ok(file) = self.shared.segment(old.first) {
                self.shared.files().hold(old.first, file);
            }
        }
        let disk = &self.shared.layout.disk;
        let remove_all = || rewritten.old.iter().try_for_each(|old| disk.remove(&old.name()));
        let placed = match &rewritten.new {
            Some(new) => disk.rename(new, &span.name()),
            None => remove_all(),
        };
        if let Err(error) = placed {
            self.shared.fail(&error, "a compacted file could not be put in place");
            return Err(WriteError::Failed);
        }
        let synced = disk.sync_names();
        if let Err(error) = &synced {
            // After a power cut it may be the old file again; until then the new one is read.
            self.shared.fail(error, "a compacted file could not be put in place");
        }
        {
            // Readers find both changed or none.
            let mut index = self.shared.index_mut();
            let known = rewritten.new.as_ref().map(|_| KnownSpan { span, compacted: rewritten.compacted });
            self.shared.files().replace(&rewritten.old, known);
            self.shared.holes.forget(&rewritten.old);
            for (shard, sequence, offset) in &rewritten.moved {
                if let Some(entry) = index.get(shard).filter(|entry| entry.sequence == *sequence) {
                    index.insert(*shard, Entry { segment: span.first, offset: *offset, ..entry });
                }
            }
        }
        if synced.is_err() {
            return Err(WriteError::Failed);
        }
        for old in rewritten.old.iter().filter(|old| rewritten.new.is_some() && **old != span) {
            // What stays is covered by the new file and removed at the next start.
            if let Err(error) = disk.remove(&old.name()) {
                tracing::warn!(%error, "an old segment file stays until the next start");
            }
        }
        Ok(())
    }
}
