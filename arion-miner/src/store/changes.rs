//! What each kind of change appends to the log, and what it makes of the index once that is durable.
//!
//! # Invariants
//! - Every put that is not the shard's current one has a deletion of its own in the log: behind its successor, in a later
//!   batch, so that it is never durable without it; and before the deletion of its successor.
//! - Shards are refused before anything is written for them; trash yields before shards are refused.

use std::{io, sync::atomic::Ordering};

use arion_protocol::ShardPlacement;
use arion_types::ShardHash;

use super::{
    ReadError, Stored, WriteError,
    files::is_busy,
    index::Entry,
    record::{Owner, RECORD_BYTES, RecordKind, State, Victim, payload_len},
    writer::{Batch, Unsaid, Writer, is_full},
};

/// Trash that one shard may push out.
const PUSHED_OUT_MAX: usize = 1_024;

impl Writer {
    pub(super) fn known(&self, batch: &Batch, shard: &ShardHash) -> Option<Entry> {
        let in_flight = self.in_flight.as_ref().and_then(|in_flight| in_flight.batch.changes.get(shard));
        match batch.changes.get(shard).or(in_flight) {
            Some(change) => *change,
            None => self.shared.index().get(shard),
        }
    }

    pub(super) fn put(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        placement: ShardPlacement,
        body: &[u8],
        checksum: u32,
        owner: Owner,
    ) -> Result<Stored, WriteError> {
        self.check_alive()?;
        let known = self.known(batch, &shard);
        let kept = known.filter(|known| !matches!(known.state, State::Trashed { .. }));
        if let Some(known) = kept {
            let (old, new) = (known.placement, placement);
            // Who had it stored for another position keeps nobody else's out.
            let is_elsewhere = (old.stripe, old.index, old.size) != (new.stripe, new.index, new.size);
            if is_elsewhere && known.owner == owner {
                return Err(WriteError::Conflict);
            }
            if known.is_live() {
                match self.shared.read_at(&shard, &known) {
                    Ok(copy) if copy == body => {
                        self.enter_owner(batch, shard, known, owner)?;
                        return Ok(Stored { stored_at: known.stored_at, new: false });
                    }
                    Err(ReadError::Io(error)) if is_busy(&error) => return Err(WriteError::Busy),
                    _ => {}
                }
            }
            tracing::warn!(%shard, "damaged shard is written anew");
        }
        let (summed, stored_at) = (true, (self.options.clock)());
        let owner = if kept.is_none_or(|known| known.owner == owner) { owner } else { Owner::NONE };
        let needed = RECORD_BYTES + payload_len(placement.size, summed);
        self.make_room(batch, needed, known.map_or(0, |known| known.disk_bytes()))?;
        let kind = RecordKind::Put { placement, stored_at, summed, owner };
        let payload = [body, &checksum.to_le_bytes()];
        let mut appended = self.append_put(batch, shard, kind, payload, needed);
        if appended.as_ref().is_err_and(is_full) && self.shared.give_back_now(needed) {
            appended = self.append_put(batch, shard, kind, payload, needed);
        }
        if let Err(error) = appended {
            if is_full(&error) {
                // Trash yields to shards; its blocks are free for the next one.
                self.push_out(batch, needed);
            }
            return Err(self.write_error(error));
        }
        let (segment, sequence) = (self.position.segment, self.position.sequence - 1);
        let offset = self.position.offset - needed;
        let state = State::Live;
        let entry = Entry { placement, stored_at, segment, offset, sequence, state, summed, owner };
        batch.changes.insert(shard, Some(entry));
        batch.grown_bytes += needed as i64;
        if let Some(known) = known {
            batch.grown_bytes -= known.disk_bytes() as i64;
            batch.replaced.push((shard, known));
        }
        Ok(Stored { stored_at, new: true })
    }

    fn append_put(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        kind: RecordKind,
        payload: [&[u8]; 2],
        needed: u64,
    ) -> io::Result<()> {
        self.roll_if_full(batch, needed)?;
        self.append(batch, shard, kind, payload)
    }

    /// Refuses what is over capacity, and gives up trash where that helps. `replaced` bytes go away anyway.
    fn make_room(&mut self, batch: &mut Batch, needed: u64, replaced: u64) -> Result<(), WriteError> {
        let capacity = self.options.capacity_bytes;
        let (kept, trash) = {
            let index = self.shared.index();
            (index.used_bytes(), index.trash_bytes())
        };
        let in_flight = self.in_flight.as_ref().map_or(0, |in_flight| in_flight.batch.grown_bytes);
        let after = |stored: u64, batch: &Batch| {
            let grown = i128::from(batch.grown_bytes) + i128::from(in_flight);
            (i128::from(stored) + grown + i128::from(needed) - i128::from(replaced)).max(0)
        };
        if after(kept, batch) > i128::from(capacity) {
            return Err(WriteError::NoSpace);
        }
        let over = after(kept + trash, batch) - i128::from(capacity);
        if over > 0 {
            self.push_out(batch, u64::try_from(over).unwrap_or(u64::MAX));
            if after(kept + trash, batch) > i128::from(capacity) {
                return Err(WriteError::NoSpace);
            }
        }
        Ok(())
    }

    /// Deletes the oldest trash for good until so many bytes are free.
    fn push_out(&mut self, batch: &mut Batch, bytes: u64) {
        let oldest: Vec<ShardHash> =
            self.shared.index().trash().iter().take(PUSHED_OUT_MAX).map(|(_, shard)| *shard).collect();
        let mut freed = 0;
        for shard in oldest {
            if freed >= bytes {
                return;
            }
            let Some(known) = self.known(batch, &shard) else { continue };
            if matches!(known.state, State::Trashed { .. })
                && self.delete_for_good(batch, shard, known).is_ok()
            {
                self.shared.counters.pushed_out.fetch_add(1, Ordering::Relaxed);
                freed += known.disk_bytes();
            }
        }
    }

    fn delete_for_good(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        known: Entry,
    ) -> Result<(), WriteError> {
        // First what it replaced, or that would be back.
        let mut before: Vec<Entry> = taken(&mut batch.replaced, &shard);
        if let Some(in_flight) = &mut self.in_flight {
            before.extend(taken(&mut in_flight.batch.replaced, &shard));
        }
        while let Some(entry) = before.pop() {
            if let Err(error) = self.append_small(batch, shard, dead(&entry)) {
                batch.replaced.extend(before.into_iter().chain([entry]).map(|entry| (shard, entry)));
                return Err(self.write_error(error));
            }
            batch.dead.push(entry);
        }
        if self.unsaid.iter().any(|unsaid| unsaid.shard == shard) {
            // Full to the last byte: nothing was said in this batch.
            return Err(WriteError::NoSpace);
        }
        self.append_small(batch, shard, dead(&known)).map_err(|error| self.write_error(error))?;
        batch.changes.insert(shard, None);
        batch.grown_bytes -= known.disk_bytes() as i64;
        batch.dead.push(known);
        Ok(())
    }

    pub(super) fn delete(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        owed_since: Option<u64>,
        only: Option<Owner>,
    ) -> Result<bool, WriteError> {
        self.check_alive()?;
        let Some(known) = self.known(batch, &shard) else { return Ok(false) };
        match known.state {
            State::Trashed { .. } => Ok(false),
            _ if only.is_some_and(|owner| owner != known.owner) => Err(WriteError::Shared),
            State::Live if !self.options.trash_retention.is_zero() => {
                let at = owed_since.unwrap_or_else(|| (self.options.clock)());
                self.mark(batch, shard, known, State::Trashed { at }, known.owner)?;
                Ok(true)
            }
            State::Live | State::Quarantined => self.delete_for_good(batch, shard, known).map(|()| true),
        }
    }

    pub(super) fn share(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        owner: Owner,
    ) -> Result<bool, WriteError> {
        self.check_alive()?;
        match self.known(batch, &shard).filter(Entry::is_live) {
            Some(known) => self.enter_owner(batch, shard, known, owner).map(|()| true),
            None => Ok(false),
        }
    }

    /// Somebody counts on what is served: it has another owner, and so none alone.
    fn enter_owner(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        known: Entry,
        owner: Owner,
    ) -> Result<(), WriteError> {
        match known.owner == Owner::NONE || known.owner == owner {
            true => Ok(()),
            false => self.mark(batch, shard, known, State::Live, Owner::NONE),
        }
    }

    pub(super) fn restore(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        owner: Owner,
    ) -> Result<bool, WriteError> {
        self.check_alive()?;
        match self.known(batch, &shard) {
            Some(known) if known.is_live() => self.enter_owner(batch, shard, known, owner).map(|()| true),
            Some(known) if matches!(known.state, State::Trashed { .. }) => {
                let owner = if known.owner == owner { owner } else { Owner::NONE };
                self.mark(batch, shard, known, State::Live, owner)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn purge(&mut self, batch: &mut Batch, before_ms: u64, max: usize) -> Result<u64, WriteError> {
        self.check_alive()?;
        let old: Vec<ShardHash> = {
            let index = self.shared.index();
            index
                .trash()
                .iter()
                .take_while(|(at, _)| *at < before_ms)
                .take(max)
                .map(|(_, shard)| *shard)
                .collect()
        };
        let mut purged = 0;
        for shard in old {
            let trash = |known: &Entry| matches!(known.state, State::Trashed { at } if at < before_ms);
            if let Some(known) = self.known(batch, &shard).filter(trash) {
                self.delete_for_good(batch, shard, known)?;
                purged += 1;
            }
        }
        Ok(purged)
    }

    pub(super) fn judge(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        sequence: u64,
        good: bool,
    ) -> Result<bool, WriteError> {
        self.check_alive()?;
        let (from, to) = match good {
            true => (State::Quarantined, State::Live),
            false => (State::Live, State::Quarantined),
        };
        match self.known(batch, &shard) {
            Some(known) if known.sequence == sequence && known.state == from => {
                self.mark(batch, shard, known, to, known.owner)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn mark(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        known: Entry,
        state: State,
        owner: Owner,
    ) -> Result<(), WriteError> {
        let kind = RecordKind::Mark { victim: known.sequence, state, owner };
        self.append_small(batch, shard, kind).map_err(|error| self.write_error(error))?;
        batch.changes.insert(shard, Some(Entry { state, owner, ..known }));
        Ok(())
    }

    /// Repeats in the log what start-up found out.
    pub(super) fn amend(&mut self, amends: Vec<(ShardHash, RecordKind)>) {
        let mut batch = Batch::default();
        for (shard, kind) in amends {
            let known = self.known(&batch, &shard);
            let change = match (kind, known) {
                (RecordKind::Delete(victim), Some(known)) if known.sequence == victim.sequence => None,
                (RecordKind::Mark { victim, state, owner }, Some(known)) if known.sequence == victim => {
                    Some(Entry { state, owner, ..known })
                }
                (_, known) => known,
            };
            self.unsaid.push(Unsaid { shard, kind, dead: None });
            if change != known {
                batch.changes.insert(shard, change);
            }
        }
        self.say(&mut batch);
        let _ = batch.appended && self.sync().is_ok();
        self.show(&batch);
        self.batch = self.batch.wrapping_add(1);
    }

    /// Writes down what the log does not say yet. Where that fails it holds all the same, and is tried again.
    pub(super) fn say(&mut self, batch: &mut Batch) {
        if self.unsaid.is_empty() || self.check_alive().is_err() {
            return;
        }
        let mut unsaid = std::mem::take(&mut self.unsaid).into_iter();
        while let Some(next) = unsaid.next() {
            if let Err(error) = self.append_small(batch, next.shard, next.kind) {
                tracing::warn!(%error, "the log could not be amended");
                self.write_error(error);
                self.unsaid.push(next);
                self.unsaid.extend(unsaid);
                return;
            }
            batch.dead.extend(next.dead);
        }
    }

    /// The same, durably; whether nothing is left.
    pub(super) fn say_all(&mut self) -> bool {
        if !self.unsaid.is_empty() {
            let mut batch = Batch::default();
            self.say(&mut batch);
            self.commit(batch);
            self.settle();
        }
        self.unsaid.is_empty() && self.check_alive().is_ok()
    }
}

/// Takes the entries of one shard out.
fn taken(replaced: &mut Vec<(ShardHash, Entry)>, shard: &ShardHash) -> Vec<Entry> {
    replaced.extract_if(.., |(other, _)| other == shard).map(|(_, entry)| entry).collect()
}

pub(super) fn dead(entry: &Entry) -> RecordKind {
    RecordKind::Delete(Victim { sequence: entry.sequence, segment: entry.segment })
}
