//! The scrub: every shard is read and compared with its address once per period, file by file.
//!
//! # Invariants
//! - A shard found bad is quarantined: not served, not listed, waiting for good bytes.
//! - How far it is survives restarts, so that a period is kept however often the miner is restarted.
//!
//! # Not here
//! When it runs and how fast (`keeper`).

use std::{io, sync::atomic::Ordering};

use arion_types::ShardHash;
use serde::Serialize;

use super::{
    ReadError, Shared,
    index::Entry,
    layout::{Layout, SCRUB},
    record::{Owner, RECORD_BYTES, Record, RecordKind, State, StoreKey, array, body_checksum},
};

const MAGIC: [u8; 8] = *b"ARIONSCR";
const VERSION: u32 = 1;
/// What is read ahead of the shard at hand.
const AHEAD_BYTES: u64 = 2 << 20;
/// How often a shard that the disk refuses is asked for before it counts as bad.
const TRIES: usize = 4;
const STATE_BYTES: usize = 8 + 4 + 4 + 6 * 8 + 8;

/// How far the scrub is, and what it found. Times in milliseconds since the Unix epoch, 0 for never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ScrubReport {
    /// When the present round began; 0 between rounds.
    pub started_at: u64,
    /// When the last whole round ended.
    pub finished_at: u64,
    /// Segments before this number are done in the present round.
    pub next_segment: u32,
    /// Shards read in this round, or in the last one.
    pub shards: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Shards found damaged or unreadable; they are in quarantine.
    pub damaged: u64,
    /// Damaged record headers and checksums that were written anew.
    pub headers_healed: u64,
}

impl ScrubReport {
    fn encode(&self, key: &StoreKey) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STATE_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.next_segment.to_le_bytes());
        let numbers =
            [self.started_at, self.finished_at, self.shards, self.bytes, self.damaged, self.headers_healed];
        bytes.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        let sum = key.checksum(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    fn decode(bytes: &[u8], key: &StoreKey) -> Option<Self> {
        let head = bytes.len() == STATE_BYTES && bytes[..8] == MAGIC && bytes[8..12] == VERSION.to_le_bytes();
        if !head || key.checksum(&bytes[..STATE_BYTES - 8]) != bytes[STATE_BYTES - 8..] {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(array(bytes, 16 + 8 * at));
        Some(Self {
            next_segment: u32::from_le_bytes(array(bytes, 12)),
            started_at: number(0),
            finished_at: number(1),
            shards: number(2),
            bytes: number(3),
            damaged: number(4),
            headers_healed: number(5),
        })
    }

    /// What was kept of the scrub; nothing where it cannot be read: the scrub begins anew.
    pub(super) fn load(layout: &Layout, key: &StoreKey) -> Self {
        let bytes = layout.read_small(SCRUB, STATE_BYTES as u64).ok().flatten();
        bytes.and_then(|bytes| Self::decode(&bytes, key)).unwrap_or_default()
    }

    pub(super) fn save(&self, layout: &Layout, key: &StoreKey) -> io::Result<()> {
        layout.replace(SCRUB, &self.encode(key))
    }

    /// Whether there is something to do at `now_ms`.
    pub(super) fn is_due(&self, now_ms: u64, period_ms: u64) -> bool {
        self.started_at != 0 || now_ms >= self.finished_at.saturating_add(period_ms)
    }

    /// Scrubs the next file, or ends the round. `pace` is told how many bytes were read and says whether to go on;
    /// `judge` is told what is bad and what in quarantine is good. False when it was stopped.
    pub(super) fn step(
        &mut self,
        shared: &Shared,
        key: &StoreKey,
        now_ms: u64,
        pace: &mut dyn FnMut(u64) -> bool,
        judge: &mut dyn FnMut(ShardHash, u64, bool) -> bool,
    ) -> bool {
        if self.started_at == 0 {
            *self = Self { started_at: now_ms.max(1), finished_at: self.finished_at, ..Self::default() };
        }
        let spans = shared.files().spans();
        let Some(span) = spans.iter().map(|known| known.span).find(|span| span.first >= self.next_segment)
        else {
            *self = Self { started_at: 0, finished_at: now_ms.max(1), next_segment: 0, ..*self };
            tracing::info!(
                shards = self.shards,
                bytes = self.bytes,
                damaged = self.damaged,
                "scrub finished"
            );
            return true;
        };
        let mut here: Vec<(ShardHash, Entry)> = {
            let snapshot = shared.index().snapshot();
            let here = snapshot.iter().filter(|(_, entry)| entry.segment == span.first);
            here.collect()
        };
        here.sort_unstable_by_key(|(_, entry)| entry.offset);
        let mut ahead = 0;
        for (shard, entry) in here {
            if entry.offset + entry.disk_bytes() > ahead
                && let Ok(file) = shared.segment(span.first)
            {
                file.prefetch(entry.offset, AHEAD_BYTES);
                ahead = entry.offset + AHEAD_BYTES;
            }
            if !self.read(shared, key, &shard, &entry, judge) || !pace(entry.disk_bytes()) {
                return false;
            }
        }
        self.next_segment = span.last + 1;
        true
    }

    fn read(
        &mut self,
        shared: &Shared,
        key: &StoreKey,
        shard: &ShardHash,
        entry: &Entry,
        judge: &mut dyn FnMut(ShardHash, u64, bool) -> bool,
    ) -> bool {
        let mut read = shared.examine(shard, entry);
        for _ in 1..TRIES {
            if matches!(read, Err(ReadError::Io(_))) {
                shared.counters.read_errors.fetch_add(1, Ordering::Relaxed);
                read = shared.examine(shard, entry);
            }
        }
        // Deleted, rewritten or moved meanwhile: it is read where it is now in the next round.
        if shared.index().get(shard) != Some(*entry) {
            return true;
        }
        self.shards += 1;
        self.bytes += entry.disk_bytes();
        let quarantined = entry.state == State::Quarantined;
        match read {
            Ok(summed) => {
                self.heal_header(shared, key, shard, entry);
                if !summed {
                    self.heal_checksum(shared, shard, entry);
                }
                // The disk was at fault for a while.
                !quarantined || judge(*shard, entry.sequence, true)
            }
            Err(error) => {
                self.damaged += 1;
                if !quarantined {
                    let Entry { segment, offset, .. } = entry;
                    tracing::error!(%shard, segment, offset, %error, "scrub found a bad shard");
                }
                quarantined || judge(*shard, entry.sequence, false)
            }
        }
    }

    /// A header that is lost costs the shard when the log is read from its beginning: write what it was.
    fn heal_header(&mut self, shared: &Shared, key: &StoreKey, shard: &ShardHash, entry: &Entry) {
        let Ok(file) = shared.segment(entry.segment) else { return };
        let mut header = [0; RECORD_BYTES as usize];
        let Entry { placement, stored_at, summed, owner, .. } = *entry;
        let of = |owner| RecordKind::Put { placement, stored_at, summed, owner };
        let kind = of(owner);
        // What somebody else had stored again since has the owner of then in its header.
        let is_kind = |record: &Record| match record.kind {
            RecordKind::Put { owner: then, .. } if owner == Owner::NONE => record.kind == of(then),
            _ => record.kind == kind,
        };
        let holds =
            |record: Record| record.shard == *shard && record.sequence == entry.sequence && is_kind(&record);
        let read = file.read_at(&mut header, entry.offset);
        if read.is_err() || Record::decode(&header, key).is_some_and(holds) {
            return;
        }
        let record = Record { sequence: entry.sequence, batch: 0, shard: *shard, kind };
        match file.write_at(&[&record.encode(key)], entry.offset).and_then(|()| file.sync()) {
            Ok(()) => self.headers_healed += 1,
            Err(error) => {
                tracing::error!(%shard, %error, "a damaged record header could not be written anew")
            }
        }
    }

    /// A checksum that is lost costs every read the price of an address: write what it was.
    fn heal_checksum(&mut self, shared: &Shared, shard: &ShardHash, entry: &Entry) {
        let healed = shared.segment(entry.segment).and_then(|file| {
            let body = file.read(entry.body_offset(), entry.placement.size as usize)?;
            let at = entry.body_offset() + body.len() as u64;
            file.write_at(&[&body_checksum(shard, &body).to_le_bytes()], at)?;
            file.sync()
        });
        match healed {
            Ok(()) => self.headers_healed += 1,
            Err(error) => tracing::error!(%shard, %error, "a damaged checksum could not be written anew"),
        }
    }
}
