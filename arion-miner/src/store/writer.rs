//! The writing thread: takes what is queued as one batch, appends it, syncs once, then answers.
//!
//! # Invariants
//! - Nobody is answered, and the index does not change, before the sync that covers the change has returned.
//! - After a failed sync nothing more is written: what is on disk is unknown until the log is read again.
//! - A deletion needs no free space: it may use the reserve and overrun the size of a segment.

use std::{
    collections::HashMap,
    fs::File,
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Instant,
};

use arion_protocol::ShardPlacement;
use arion_types::ShardHash;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Shared, StoreOptions, Stored, WriteError,
    checkpoint::{self, Position},
    disk::Disk,
    index::Entry,
    layout::Layout,
    record::{RECORD_BYTES, Record, RecordKind, SEGMENT_HEADER_BYTES, StoreKey},
};

/// A change that waits for the thread; the permit bounds how many there are.
pub(super) struct Queued {
    pub(super) change: Change,
    pub(super) _permit: OwnedSemaphorePermit,
}

pub(super) enum Change {
    Put { shard: ShardHash, placement: ShardPlacement, body: Bytes, now_ms: u64, reply: Reply<Stored> },
    Delete { shard: ShardHash, reply: Reply<bool> },
    Close { reply: oneshot::Sender<()> },
}

type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

/// What to tell whom once the batch is durable.
enum Answer {
    Put(Reply<Stored>, Result<Stored, WriteError>),
    Delete(Reply<bool>, Result<bool, WriteError>),
}

/// What a batch changes; `None` is a deletion.
#[derive(Default)]
struct Batch {
    changes: HashMap<ShardHash, Option<Entry>>,
    /// Bytes by which the live shards grow.
    grown_bytes: u64,
    answers: Vec<Answer>,
    /// Entries that nobody will read again.
    dead: Vec<Entry>,
}

pub(super) struct Writer {
    pub(super) layout: Layout,
    pub(super) key: StoreKey,
    pub(super) options: StoreOptions,
    pub(super) disk: Disk,
    pub(super) shared: Arc<Shared>,
    pub(super) file: File,
    pub(super) position: Position,
    pub(super) appended_bytes: u64,
    pub(super) checkpoint_at: Instant,
}

impl Writer {
    /// Runs until the store is closed or dropped. Only closing writes a checkpoint.
    pub(super) fn run(mut self, queue: &Receiver<Queued>) {
        loop {
            let first = match queue.recv_timeout(self.options.checkpoint_interval) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.checkpoint_if_due();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut batch = Batch::default();
            let mut next = Some(first);
            let mut closing = None;
            while let Some(Queued { change, _permit }) = next {
                match change {
                    Change::Put { shard, placement, body, now_ms, reply } => {
                        let outcome = self.put(&mut batch, shard, placement, &body, now_ms);
                        batch.answers.push(Answer::Put(reply, outcome));
                    }
                    Change::Delete { shard, reply } => {
                        let outcome = self.delete(&mut batch, shard);
                        batch.answers.push(Answer::Delete(reply, outcome));
                    }
                    Change::Close { reply } => {
                        closing = Some(reply);
                        break;
                    }
                }
                next =
                    (batch.answers.len() < self.options.batch_max).then(|| queue.try_recv().ok()).flatten();
            }
            self.commit(batch);
            if let Some(reply) = closing {
                self.write_checkpoint();
                let _ = reply.send(());
                return;
            }
            self.checkpoint_if_due();
        }
    }

    fn known(&self, batch: &Batch, shard: &ShardHash) -> Option<Entry> {
        match batch.changes.get(shard) {
            Some(change) => *change,
            None => self.shared.index().get(shard).copied(),
        }
    }

    fn put(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        placement: ShardPlacement,
        body: &[u8],
        now_ms: u64,
    ) -> Result<Stored, WriteError> {
        self.check_alive()?;
        let known = self.known(batch, &shard);
        if let Some(known) = known {
            let (old, new) = (known.placement, placement);
            if (old.stripe, old.index, old.size) != (new.stripe, new.index, new.size) {
                return Err(WriteError::Conflict);
            }
            if self.shared.read_at(&shard, &known).is_ok() {
                return Ok(Stored { stored_at: known.stored_at, new: false });
            }
            tracing::warn!(%shard, "damaged shard is written anew");
        }
        let needed = RECORD_BYTES + body.len() as u64;
        let used = self.shared.index().used_bytes() + batch.grown_bytes;
        if known.is_none() && used + needed > self.options.capacity_bytes {
            return Err(WriteError::NoSpace);
        }
        let kind = RecordKind::Put { placement, stored_at: now_ms };
        self.roll_if_full(needed).and_then(|()| self.append(shard, kind, body)).map_err(write_error)?;
        let (segment, offset) = (self.position.segment, self.position.offset - needed);
        let entry = Entry { placement, stored_at: now_ms, segment, offset };
        batch.changes.insert(shard, Some(entry));
        match known {
            Some(known) => batch.dead.push(known),
            None => batch.grown_bytes += needed,
        }
        Ok(Stored { stored_at: now_ms, new: true })
    }

    fn delete(&mut self, batch: &mut Batch, shard: ShardHash) -> Result<bool, WriteError> {
        self.check_alive()?;
        let Some(known) = self.known(batch, &shard) else { return Ok(false) };
        let mut appended = self.append(shard, RecordKind::Delete, &[]);
        if appended.as_ref().is_err_and(is_full) && self.release_reserve() {
            tracing::warn!("disk is full: deleting with the space kept aside");
            appended = self.append(shard, RecordKind::Delete, &[]);
        }
        appended.map_err(write_error)?;
        batch.changes.insert(shard, None);
        batch.dead.push(known);
        Ok(true)
    }

    fn release_reserve(&self) -> bool {
        #[cfg(test)]
        if let Some(free) = &self.disk.free_bytes {
            free.fetch_add(4 << 20, Ordering::SeqCst);
        }
        self.layout.release_reserve()
    }

    fn append(&mut self, shard: ShardHash, kind: RecordKind, body: &[u8]) -> io::Result<()> {
        let header = Record { sequence: self.position.sequence, shard, kind }.encode(&self.key);
        self.disk.append(&self.file, self.position.offset, &[&header, body])?;
        let length = RECORD_BYTES + body.len() as u64;
        self.position.offset += length;
        self.position.sequence += 1;
        self.appended_bytes += length;
        Ok(())
    }

    /// Begins the next segment where `length` more bytes would overrun this one.
    fn roll_if_full(&mut self, length: u64) -> io::Result<()> {
        let fresh = self.position.offset <= SEGMENT_HEADER_BYTES;
        if fresh || self.position.offset + length <= self.options.segment_bytes {
            return Ok(());
        }
        // Only the last segment may hold unsynced bytes.
        self.sync()?;
        let number = self.position.segment + 1;
        self.file = self.disk.create_segment(&self.layout, number, &self.key)?;
        self.position.segment = number;
        self.position.offset = SEGMENT_HEADER_BYTES;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        let synced = self.disk.sync(&self.file);
        if let Err(error) = &synced {
            self.shared.counters.failed.store(true, Ordering::SeqCst);
            tracing::error!(%error, "sync failed: the store takes no more writes until it is restarted");
        }
        synced
    }

    fn check_alive(&self) -> Result<(), WriteError> {
        match self.shared.counters.failed.load(Ordering::SeqCst) {
            true => Err(WriteError::Failed),
            false => Ok(()),
        }
    }

    /// Makes the batch durable, then visible, then answers.
    fn commit(&mut self, batch: Batch) {
        // Nothing changed: there is nothing to wait for, and no answer claims a change.
        let durable = batch.changes.is_empty() || (self.check_alive().is_ok() && self.sync().is_ok());
        if durable {
            let mut index = self.shared.index_mut();
            for (shard, change) in &batch.changes {
                match change {
                    Some(entry) => index.insert(*shard, *entry),
                    None => index.remove(shard),
                };
            }
        }
        for answer in batch.answers {
            // A caller that went away does not matter: the change stands.
            match answer {
                Answer::Put(reply, outcome) => drop(reply.send(judged(outcome, durable))),
                Answer::Delete(reply, outcome) => drop(reply.send(judged(outcome, durable))),
            }
        }
        if durable {
            for entry in batch.dead {
                self.punch(&entry);
            }
        }
    }

    fn punch(&self, dead: &Entry) {
        if let Ok(path) = std::fs::OpenOptions::new().write(true).open(self.layout.segment(dead.segment)) {
            self.disk.punch(&path, dead.body_offset(), u64::from(dead.placement.size));
        }
    }

    fn checkpoint_if_due(&mut self) {
        let due = self.appended_bytes >= self.options.checkpoint_bytes
            || (self.appended_bytes > 0 && self.checkpoint_at.elapsed() >= self.options.checkpoint_interval);
        if due && self.check_alive().is_ok() {
            self.write_checkpoint();
        }
    }

    fn write_checkpoint(&mut self) {
        if self.check_alive().is_err() {
            return;
        }
        let bytes = checkpoint::encode(&self.shared.index(), self.position, &self.key);
        match checkpoint::write(&self.layout, &bytes) {
            Ok(()) => self.appended_bytes = 0,
            Err(error) => {
                tracing::warn!(%error, "no checkpoint written: the next start reads more of the log")
            }
        }
        self.checkpoint_at = Instant::now();
        if !self.layout.hold_reserve() {
            tracing::warn!("no space to keep aside for deletions");
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn write_error(error: io::Error) -> WriteError {
    if is_full(&error) {
        return WriteError::NoSpace;
    }
    tracing::error!(%error, "writing to the store failed");
    WriteError::Failed
}

fn judged<T>(outcome: Result<T, WriteError>, durable: bool) -> Result<T, WriteError> {
    if durable { outcome } else { outcome.and(Err(WriteError::Failed)) }
}
