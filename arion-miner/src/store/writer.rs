//! What the writing thread does with a batch of changes: appends them, syncs once, makes them visible, answers.
//!
//! # Invariants
//! - Nobody is answered, and the index does not change, before the sync that covers the change has returned.
//! - After a failed sync or write nothing more is written: what is on disk is unknown until the log is read again.
//! - What a put replaces is given up in the log only when that put is durable.
//! - A deletion needs no free space: it may use the reserve and overrun the size of a segment.
//!
//! # Not here
//! What each change does (`changes`); what makes a batch, and the order of syncs (`pipeline`).

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arion_protocol::ShardPlacement;
use arion_types::ShardHash;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    Owner, Shared, StoreOptions, Stored, WriteError,
    changes::dead,
    checkpoint::{self, Head, KnownSpan, Position},
    compact::Rewritten,
    disk::DiskFile,
    files::is_busy,
    index::Entry,
    layout::Span,
    pipeline::{InFlight, Syncer},
    record::{RECORD_BYTES, Record, RecordKind, SEGMENT_HEADER_BYTES, StoreKey},
};

/// The disk is told to write after so many bytes.
const WRITE_OUT_BYTES: u64 = 1 << 20;

/// A change that waits for the thread; the permit bounds how many there are.
pub(super) struct Queued {
    pub(super) change: Change,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Queued {
    /// A change of somebody who waits for each before the next.
    pub(super) fn alone(change: Change) -> Self {
        Self { change, permit: None }
    }
}

pub(super) enum Change {
    Put {
        shard: ShardHash,
        placement: ShardPlacement,
        body: Bytes,
        /// Of the body, by [`body_checksum`](super::record::body_checksum).
        checksum: u32,
        /// Whose it is.
        owner: Owner,
        reply: Reply<Stored>,
    },
    Delete {
        shard: ShardHash,
        /// When it was deleted, by the same clock, if the disk could not be told then.
        owed_since: Option<u64>,
        /// Only while it is that one's alone.
        only: Option<Owner>,
        reply: Reply<bool>,
    },
    /// Somebody counts on what is served; answers whether it is.
    Share {
        shard: ShardHash,
        owner: Owner,
        reply: Reply<bool>,
    },
    Restore {
        shard: ShardHash,
        owner: Owner,
        reply: Reply<bool>,
    },
    /// Ends the retention of trash from before a time, a bounded number at once; answers how many.
    Purge {
        before_ms: u64,
        max: usize,
        reply: Reply<u64>,
    },
    /// The record with that sequence turned out to be damaged, or to be good after all.
    Judge {
        shard: ShardHash,
        sequence: u64,
        good: bool,
        reply: Reply<bool>,
    },
    /// A compaction has rewritten files.
    Rewritten {
        rewritten: Rewritten,
        reply: Reply<()>,
    },
    /// What is dead, trash or quarantined here and now, and durably so.
    Snapshot {
        reply: oneshot::Sender<Head>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

impl Change {
    /// What weighs in it.
    fn body_bytes(&self) -> usize {
        match self {
            Self::Put { body, .. } => body.len(),
            _ => 0,
        }
    }
}

type Reply<T> = oneshot::Sender<Result<T, WriteError>>;
/// Says to whom it may concern whether the batch is durable.
type Answer = Box<dyn FnOnce(bool) + Send>;

/// What a batch changes; `None` is a deletion.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) changes: HashMap<ShardHash, Option<Entry>>,
    /// Bytes by which stored shards grow; negative where they shrink.
    pub(super) grown_bytes: i64,
    answers: Vec<Answer>,
    /// Entries that nobody will read again.
    pub(super) dead: Vec<Entry>,
    /// Entries that puts of this batch replace: dead when it is durable.
    pub(super) replaced: Vec<(ShardHash, Entry)>,
    /// Whether anything was appended.
    pub(super) appended: bool,
    /// Bytes at the end of the log that the disk has not been told to write yet.
    unwritten_bytes: u64,
    /// Changes in it.
    pub(super) count: usize,
    /// Bytes of their bodies.
    pub(super) body_bytes: usize,
}

/// What the log does not say yet although it holds.
#[derive(Clone, Copy)]
pub(super) struct Unsaid {
    pub(super) shard: ShardHash,
    pub(super) kind: RecordKind,
    /// The put that is dead with it, where that is known.
    pub(super) dead: Option<Entry>,
}

pub(super) struct Writer {
    pub(super) key: StoreKey,
    pub(super) options: StoreOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) file: Arc<dyn DiskFile>,
    /// The file that is appended to.
    pub(super) span: Span,
    pub(super) position: Position,
    pub(super) batch: u16,
    pub(super) appended_bytes: u64,
    pub(super) checkpoint_at: Instant,
    pub(super) checkpointing: Option<JoinHandle<()>>,
    /// Who waits for the disk.
    pub(super) syncer: Syncer,
    /// What is being made durable.
    pub(super) in_flight: Option<InFlight>,
    /// What the next batch says first.
    pub(super) unsaid: Vec<Unsaid>,
    /// Changes that shared the last sync.
    pub(super) last_batch: usize,
    /// What it took.
    pub(super) last_sync: Duration,
}

impl Writer {
    /// Takes a change into a batch; false when the store was closed.
    pub(super) fn take(&mut self, batch: &mut Batch, Queued { change, permit: _permit }: Queued) -> bool {
        self.look();
        match change {
            Change::Close { reply } => {
                self.commit(std::mem::take(batch));
                self.write_checkpoint();
                self.join_checkpoint();
                let _ = reply.send(());
                return false;
            }
            // Both are about what is durable and visible.
            Change::Rewritten { .. } | Change::Snapshot { .. } => {
                self.commit(std::mem::take(batch));
                self.settle();
            }
            _ => self.say(batch),
        }
        batch.count += 1;
        batch.body_bytes += change.body_bytes();
        self.change(batch, change);
        true
    }

    /// Carries out changes as one batch; false when the store was closed.
    pub(super) fn process(&mut self, queued: impl Iterator<Item = Queued>) -> bool {
        let mut batch = Batch::default();
        for queued in queued {
            if !self.take(&mut batch, queued) {
                return false;
            }
        }
        self.commit(batch);
        self.checkpoint_if_due();
        true
    }

    fn change(&mut self, batch: &mut Batch, change: Change) {
        match change {
            Change::Put { shard, placement, body, checksum, owner, reply } => {
                let outcome = self.put(batch, shard, placement, &body, checksum, owner);
                answer(batch, reply, outcome);
            }
            Change::Delete { shard, owed_since, only, reply } => {
                let outcome = self.delete(batch, shard, owed_since, only);
                answer(batch, reply, outcome);
            }
            Change::Share { shard, owner, reply } => {
                let outcome = self.share(batch, shard, owner);
                answer(batch, reply, outcome);
            }
            Change::Restore { shard, owner, reply } => {
                let outcome = self.restore(batch, shard, owner);
                answer(batch, reply, outcome);
            }
            Change::Purge { before_ms, max, reply } => {
                let outcome = self.purge(batch, before_ms, max);
                answer(batch, reply, outcome);
            }
            Change::Judge { shard, sequence, good, reply } => {
                let outcome = self.judge(batch, shard, sequence, good);
                answer(batch, reply, outcome);
            }
            Change::Rewritten { rewritten, reply } => {
                // Not a matter of the log: durable at once or not at all.
                let _ = reply.send(self.check_alive().and_then(|()| self.adopt(&rewritten)));
            }
            Change::Snapshot { reply } => drop(reply.send(self.head())),
            Change::Close { reply } => drop(reply.send(())),
        }
    }

    /// Appends a record without body, on a full disk too.
    pub(super) fn append_small(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        kind: RecordKind,
    ) -> io::Result<()> {
        let mut appended = self.append(batch, shard, kind, [&[], &[]]);
        if appended.as_ref().is_err_and(is_full) && self.shared.layout.release_reserve() {
            tracing::warn!("disk is full: deleting with the space kept aside");
            self.shared.was_full.store(true, Ordering::Relaxed);
            appended = self.append(batch, shard, kind, [&[], &[]]);
        }
        appended
    }

    pub(super) fn append(
        &mut self,
        batch: &mut Batch,
        shard: ShardHash,
        kind: RecordKind,
        payload: [&[u8]; 2],
    ) -> io::Result<()> {
        let record = Record { sequence: self.position.sequence, batch: self.batch, shard, kind };
        let offset = self.position.offset;
        let [body, checksum] = payload;
        if let Err(error) = self.file.write_at(&[&record.encode(&self.key), body, checksum], offset) {
            // Where this fails too, the next record overwrites what is left.
            let _ = self.file.set_length(offset);
            return Err(error);
        }
        let length = RECORD_BYTES + (body.len() + checksum.len()) as u64;
        self.position.offset += length;
        self.position.sequence += 1;
        self.appended_bytes += length;
        batch.appended = true;
        batch.unwritten_bytes += length;
        if batch.unwritten_bytes >= WRITE_OUT_BYTES {
            // The disk works while the rest of the batch is still being copied.
            self.file.start_writing(self.position.offset - batch.unwritten_bytes, batch.unwritten_bytes);
            batch.unwritten_bytes = 0;
        }
        Ok(())
    }

    /// Begins the next segment where `length` more bytes would overrun this one.
    pub(super) fn roll_if_full(&mut self, batch: &mut Batch, length: u64) -> io::Result<()> {
        let fresh = self.position.offset <= SEGMENT_HEADER_BYTES;
        if fresh || self.position.offset + length <= self.options.segment_bytes {
            return Ok(());
        }
        // Only the last segment may hold unsynced bytes.
        if !self.settle() {
            return Err(io::Error::other("an earlier batch was lost"));
        }
        self.sync()?;
        batch.unwritten_bytes = 0;
        let number = self.span.last + 1;
        self.file = self.shared.with_a_descriptor(|| self.shared.layout.create_segment(number, &self.key))?;
        self.span = Span::single(number);
        self.shared.files().add(KnownSpan { span: self.span, compacted: 0 });
        self.position.segment = number;
        self.position.offset = SEGMENT_HEADER_BYTES;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let synced = self.file.sync();
        self.last_sync = begun.elapsed();
        if let Err(error) = &synced {
            self.shared.fail(error, "sync failed");
        }
        synced
    }

    pub(super) fn check_alive(&self) -> Result<(), WriteError> {
        match self.shared.counters.failed.load(Ordering::SeqCst) {
            true => Err(WriteError::Failed),
            false => Ok(()),
        }
    }

    /// A full disk is nothing unusual, nor is a lack of descriptors; after any other error the store is read-only.
    pub(super) fn write_error(&self, error: io::Error) -> WriteError {
        if is_full(&error) {
            self.shared.was_full.store(true, Ordering::Relaxed);
            return WriteError::NoSpace;
        }
        if is_busy(&error) {
            return WriteError::Busy;
        }
        self.shared.fail(&error, "writing failed");
        WriteError::Failed
    }

    /// Makes a batch that is durable visible, and answers.
    pub(super) fn conclude(&mut self, batch: Batch, durable: bool) {
        if durable {
            self.show(&batch);
        }
        for answer in batch.answers {
            answer(durable);
        }
        if durable {
            let replaced = batch.replaced.into_iter();
            self.unsaid.extend(replaced.map(|(shard, entry)| Unsaid {
                shard,
                kind: dead(&entry),
                dead: Some(entry),
            }));
            if !batch.dead.is_empty() {
                self.shared.give_back_later(&batch.dead);
            }
        }
    }

    pub(super) fn show(&self, batch: &Batch) {
        let mut index = self.shared.index_mut();
        for (shard, change) in &batch.changes {
            match change {
                Some(entry) => index.insert(*shard, *entry),
                None => index.remove(shard),
            };
        }
    }

    /// Where the log stands, and in which files.
    fn head(&self) -> Head {
        Head { position: self.position, spans: self.shared.files().spans() }
    }

    pub(super) fn checkpoint_if_due(&mut self) {
        let due = self.appended_bytes >= self.options.checkpoint_bytes
            || (self.appended_bytes > 0 && self.checkpoint_at.elapsed() >= self.options.checkpoint_interval);
        let running = self.checkpointing.as_ref().is_some_and(|thread| !thread.is_finished());
        if due && !running && self.check_alive().is_ok() {
            self.write_checkpoint();
        }
    }

    /// Writes a checkpoint of the present state beside the changes that follow.
    pub(super) fn write_checkpoint(&mut self) {
        self.join_checkpoint();
        // The index has to know what the log says.
        self.settle();
        if self.check_alive().is_err() || !self.say_all() {
            return;
        }
        let (head, snapshot, key) = (self.head(), self.shared.index().snapshot(), self.key);
        let least = self.options.reserve_bytes;
        (self.appended_bytes, self.checkpoint_at) = (0, Instant::now());
        let shared = self.shared.clone();
        let write = move || {
            let reserve = least + checkpoint::length(snapshot.len, head.spans.len());
            let mut written = checkpoint::write(&shared.layout, &key, &head, &snapshot);
            if written.as_ref().is_err_and(is_full) && shared.layout.release_reserve() {
                written = checkpoint::write(&shared.layout, &key, &head, &snapshot);
            }
            if let Err(error) = written {
                tracing::warn!(%error, "no checkpoint written: the next start reads more of the log");
            }
            if !shared.layout.hold_reserve(reserve) {
                tracing::warn!("no space to keep aside for deletions");
            }
        };
        if !self.options.background {
            return write();
        }
        match std::thread::Builder::new().name("store-checkpoint".into()).spawn(write) {
            Ok(thread) => self.checkpointing = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "no checkpoint written: the next start reads more of the log")
            }
        }
    }

    pub(super) fn join_checkpoint(&mut self) {
        if let Some(thread) = self.checkpointing.take() {
            let _ = thread.join();
        }
    }
}

/// Keeps an outcome back until the batch is durable. A caller that went away does not matter: the change stands.
fn answer<T: Send + 'static>(batch: &mut Batch, reply: Reply<T>, outcome: Result<T, WriteError>) {
    batch.answers.push(Box::new(move |durable| {
        let judged = if durable { outcome } else { outcome.and(Err(WriteError::Failed)) };
        drop(reply.send(judged));
    }));
}

/// Whether an error says that the disk has no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
