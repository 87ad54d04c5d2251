//! The shard store: an append-only log of shards with an index in memory.
//!
//! Writers are queued to one thread that appends a batch, syncs once and answers all; readers go to the files
//! directly and check every shard against its checksum. A second thread scrubs, compacts and empties the trash.
//!
//! # Invariants
//! - What was acknowledged survives `kill -9` and power loss at any moment.
//! - One process has a store open at a time.
//! - Deleting works on a full disk.
//! - No shard is returned that changed on the disk: every read compares its checksum, the scrub its address. Whoever
//!   asked compares the address again.
//! - After an error of the disk nothing is written any more; what can be read is still read.
//!
//! # Not here
//! Who may store what (`service`); several disks (`volumes`).
//!
//! Specified in docs/spec/store.md.

mod changes;
mod checkpoint;
#[cfg(any(test, feature = "simulation"))]
pub mod checks;
mod compact;
pub mod disk;
mod files;
mod holes;
mod index;
mod inline;
mod inspect;
mod keeper;
mod last;
mod layout;
#[cfg(any(test, feature = "simulation"))]
pub mod memory;
mod owed;
mod packed;
mod pipeline;
mod record;
mod records;
mod recover;
mod salvage;
mod scrub;
mod shared;
mod volumes;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod keeper_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod owner_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod replace_tests;
#[cfg(test)]
mod restore_tests;
#[cfg(test)]
mod unreadable_tests;
#[cfg(test)]
mod volumes_tests;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arion_daemon::work;
use arion_protocol::{ListedShard, ShardPlacement, ShardStat};
use arion_types::{
    ShardHash,
    units::{GIB, MIB},
};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::{Semaphore, oneshot};

pub use index::Entry;
pub use inspect::{CheckReport, Inspector, Located, RepairReport, repair};
pub use keeper::{Clock, system_clock};
pub use layout::LayoutError;
pub use record::{Owner, RECORD_BYTES, State, TRAILER_BYTES};
pub use recover::Report;
pub use scrub::ScrubReport;
pub use shared::Counters;
pub use volumes::{Totals, Volume, Volumes};

use compact::Planner;
use disk::{DirDisk, Disk, DiskLock};
use inline::Inline;
use keeper::{Keeper, Stop};
use last::{LastFile, open_last};
use layout::Layout;
use pipeline::Syncer;
#[cfg(test)]
use record::SEGMENT_HEADER_BYTES;
#[cfg(test)]
use record::StoreKey;
use record::body_checksum;
use recover::{Mode, recover};
use shared::Shared;
use writer::{Change, Queued, Writer};

/// Longest shard that is read on an async thread where it is in memory: finding another thread takes longer.
const CACHED_BYTES_MAX: u32 = 64 << 10;

/// Settings of a store.
#[derive(Clone)]
pub struct StoreOptions {
    /// Bytes that stored shards may take, record headers included.
    pub capacity_bytes: u64,
    /// A segment file is closed at about this length.
    pub segment_bytes: u64,
    /// A checkpoint is written after so many bytes...
    pub checkpoint_bytes: u64,
    /// ... or after this time, if anything changed.
    pub checkpoint_interval: Duration,
    /// Changes that share one sync.
    pub batch_max: usize,
    /// Changes that may wait, each with up to 1 MiB of body.
    pub queue_max: usize,
    /// How long a deleted shard can be restored, unless its room is needed; zero deletes for good at once.
    pub trash_retention: Duration,
    /// Every shard is read once in this time; zero for never.
    pub scrub_period: Duration,
    /// Kept aside on disk for deletions and, besides its own length, for the next checkpoint.
    pub reserve_bytes: u64,
    /// A segment file of which less is needed is written anew.
    pub compact_below_percent: u64,
    /// Segment files kept open for reading.
    pub open_files_max: usize,
    /// What scrub and compaction may read and write together.
    pub background_bytes_per_second: u64,
    /// Whether there are background threads; without them nothing but what is asked for happens.
    pub background: bool,
    /// The only time there is in a store: when shards are stored and deleted, retention, scrub.
    pub clock: Clock,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            capacity_bytes: 100 * GIB,
            segment_bytes: GIB,
            checkpoint_bytes: GIB / 4,
            checkpoint_interval: Duration::from_secs(60),
            batch_max: 64,
            queue_max: 64,
            trash_retention: Duration::from_secs(24 * 3_600),
            scrub_period: Duration::from_secs(30 * 24 * 3_600),
            reserve_bytes: 4 * MIB,
            compact_below_percent: 50,
            open_files_max: 512,
            background_bytes_per_second: 20 * MIB,
            background: true,
            clock: system_clock(),
        }
    }
}

/// A shard that is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// When it was first written, milliseconds since the Unix epoch.
    pub stored_at: u64,
    /// Whether this call wrote it.
    pub new: bool,
}

/// Why a change was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// Over capacity, or the disk is full.
    #[error("no space left for shards")]
    NoSpace,
    /// The same owner has the same bytes stored for another stripe or position.
    #[error("shard is stored already for another position")]
    Conflict,
    /// Others have it stored, too.
    #[error("shard is not the owner's alone")]
    Shared,
    /// The body does not hash to the address, or is not as long as the placement says.
    #[error("body does not match the shard hash or size")]
    HashMismatch,
    /// The process has no file descriptor or memory left; nothing is wrong with the disk. Try again; raise the limit of
    /// open files where it happens often.
    #[error("too many open files, or no memory: try again")]
    Busy,
    /// The disk failed; nothing is written any more. Restart once it is repaired.
    #[error("the disk failed: the store is read-only until it is opened again")]
    Failed,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a shard was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not stored here.
    #[error("shard not found")]
    NotFound,
    /// Its bytes no longer match its address.
    #[error("shard is damaged on disk")]
    Damaged,
    /// The disk failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// How full a store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Live shards.
    pub shards: u64,
    /// Bytes they take, record headers included.
    pub used_bytes: u64,
    /// Bytes they may take.
    pub capacity_bytes: u64,
    /// Deleted shards that can be restored.
    pub trash_shards: u64,
    /// Bytes they take; given up when shards need the room.
    pub trash_bytes: u64,
    /// Shards found damaged, not served; their bytes count as used.
    pub quarantined: u64,
}

/// An open store. Dropping it leaves the log as it is; [`Store::close`] also writes a checkpoint.
pub struct Store {
    shared: Arc<Shared>,
    queue: Mutex<Option<Sender<Queued>>>,
    places: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<Stop>,
    /// In place of the threads.
    inline: Option<Arc<Mutex<Inline>>>,
    capacity_bytes: u64,
    report: Report,
    _lock: DiskLock,
}

/// A store without its threads.
struct Parts {
    store: Store,
    writer: Writer,
    changes: Receiver<Queued>,
    keeper: Keeper,
}

impl Store {
    /// Opens the store in `root`, which is made if it does not exist, and reads what is behind the last
    /// checkpoint. Blocks.
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self, LayoutError> {
        Self::open_on(Arc::new(DirDisk::new(root)), options)
    }

    /// [`Store::open`] on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<Self, LayoutError> {
        let root = disk.path("");
        let at = layout::at(&root);
        let Parts { mut store, mut writer, changes, keeper } = Self::assemble(disk, options)?;
        if work::is_inline() {
            store.inline = Some(Arc::new(Mutex::new(Inline::new(writer, changes, keeper))));
            return Ok(store);
        }
        writer.syncer = Syncer::spawn().map_err(layout::at(&root))?;
        let background = writer.options.background;
        let thread = std::thread::Builder::new().name("store-writer".into());
        let thread = thread.spawn(move || writer.run(&changes)).map_err(at)?;
        *store.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        let queue = store.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(queue) = queue.filter(|_| background) {
            let thread = keeper.spawn(queue, store.stop.clone()).map_err(layout::at(&root))?;
            *store.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        }
        Ok(store)
    }

    fn assemble(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<Parts, LayoutError> {
        let layout = Layout::new(disk);
        let lock = layout.lock()?;
        let key = layout.read_or_make_key()?;
        let mut recovered = recover(&layout, &key, Mode::Repair)?;
        let report = recovered.report;
        if !layout.hold_reserve(options.reserve_bytes) {
            tracing::warn!("no space to keep aside for deletions");
        }
        let LastFile { file, span, failed } = open_last(&layout, &key, &mut recovered)?;
        let failed = recovered.failed.take().or(failed);
        let failed = match failed {
            // Neither read nor written: no disk to serve anything from.
            Some(error) if report.unreadable_bytes + report.unreadable_files > 0 => {
                return Err(layout.error("segments", error));
            }
            failed => failed,
        };
        let scrub = ScrubReport::load(&layout, &key);
        let shared =
            Arc::new(Shared::new(layout, recovered.index, recovered.spans, scrub, options.open_files_max));
        let mut writer = Writer {
            key,
            options: options.clone(),
            shared: shared.clone(),
            file,
            span,
            position: recovered.position,
            batch: recovered.batch.wrapping_add(1),
            appended_bytes: report.scanned_records * RECORD_BYTES,
            checkpoint_at: Instant::now(),
            checkpointing: None,
            syncer: Syncer::Own,
            in_flight: None,
            unsaid: Vec::new(),
            last_batch: 0,
            last_sync: Duration::ZERO,
        };
        if let Some(error) = failed {
            shared.fail(&error, "the log cannot go on");
        }
        if !recovered.amends.is_empty() {
            writer.amend(recovered.amends);
        }
        let (sender, changes) = unbounded();
        let store = Self {
            shared: shared.clone(),
            queue: Mutex::new(Some(sender)),
            places: Arc::new(Semaphore::new(options.queue_max)),
            writer: Mutex::default(),
            keeper: Mutex::default(),
            stop: Arc::default(),
            inline: None,
            capacity_bytes: options.capacity_bytes,
            report,
            _lock: lock,
        };
        let keeper = Keeper { shared, key, options, planner: Planner::default() };
        Ok(Parts { store, writer, changes, keeper })
    }

    /// What start-up had to do.
    pub fn report(&self) -> Report {
        self.report
    }

    /// Stores a shard; returns once it is durable. Storing the same again is harmless and heals a damaged copy.
    pub async fn put(
        &self,
        shard: ShardHash,
        placement: ShardPlacement,
        body: Bytes,
    ) -> Result<Stored, WriteError> {
        self.put_for(shard, placement, body, Owner::NONE).await
    }

    /// [`Store::put`] on the order of somebody. What is here on the order of somebody else is nobody's alone from then on.
    pub async fn put_for(
        &self,
        shard: ShardHash,
        placement: ShardPlacement,
        body: Bytes,
        owner: Owner,
    ) -> Result<Stored, WriteError> {
        if body.len() as u64 != u64::from(placement.size) || *blake3::hash(&body).as_bytes() != shard.0 {
            return Err(WriteError::HashMismatch);
        }
        let checksum = body_checksum(&shard, &body);
        self.change(|reply| Change::Put { shard, placement, body, checksum, owner, reply }).await?
    }

    /// Deletes a shard; returns whether it was there, once that is durable. Within the retention it can be
    /// restored.
    pub async fn delete(&self, shard: ShardHash) -> Result<bool, WriteError> {
        self.change(|reply| Change::Delete { shard, owed_since: None, only: None, reply }).await?
    }

    /// The same, while it is that one's alone.
    pub async fn delete_for(&self, shard: ShardHash, owner: Owner) -> Result<bool, WriteError> {
        self.change(|reply| Change::Delete { shard, owed_since: None, only: Some(owner), reply }).await?
    }

    /// Somebody counts on a shard that is served: unless it is that one's alone it is nobody's alone from then on, durably. Returns whether it is
    /// served.
    pub async fn share(&self, shard: ShardHash, owner: Owner) -> Result<bool, WriteError> {
        self.change(|reply| Change::Share { shard, owner, reply }).await?
    }

    /// Takes a deletion back; returns whether the shard is there now, once that is durable. Where somebody else does than who had it stored, it
    /// is nobody's alone from then on.
    pub async fn restore(&self, shard: ShardHash, owner: Owner) -> Result<bool, WriteError> {
        self.change(|reply| Change::Restore { shard, owner, reply }).await?
    }

    async fn change<T>(&self, change: impl FnOnce(oneshot::Sender<T>) -> Change) -> Result<T, WriteError> {
        let permit = self.places.clone().acquire_owned().await.map_err(|_| WriteError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let queued = Queued { change: change(reply), permit: Some(permit) };
        let sender = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.and_then(|sender| sender.send(queued).ok()).ok_or(WriteError::Closed)?;
        if let Some(inline) = self.inline.clone() {
            let write = move || locked(&inline).write_waiting();
            work::blocking(write).await.map_err(|_| WriteError::Closed)?;
        }
        answer.await.map_err(|_| WriteError::Closed)
    }

    /// The shard and its entry. Blocks. What is found damaged is quarantined.
    pub fn read_blocking(&self, shard: &ShardHash) -> Result<(Entry, Bytes), ReadError> {
        loop {
            let entry = self.shared.index().get(shard).ok_or(ReadError::NotFound)?;
            match entry.state {
                State::Live => {}
                State::Trashed { .. } => return Err(ReadError::NotFound),
                State::Quarantined => return Err(ReadError::Damaged),
            }
            match self.shared.read_at(shard, &entry) {
                // Deleted, rewritten or moved while it was read: look again.
                Err(ReadError::Damaged) if self.shared.index().get(shard) != Some(entry) => {}
                Err(ReadError::Damaged) => {
                    self.shared.counters.damaged_reads.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%shard, segment = entry.segment, offset = entry.offset, "damaged shard");
                    self.quarantine(*shard, entry.sequence);
                    return Err(ReadError::Damaged);
                }
                Err(error) => {
                    self.shared.counters.read_errors.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
                Ok(body) => return Ok((entry, body)),
            }
        }
    }

    /// Has it written down that a shard is damaged. Where there is no place in the queue the next reader or the
    /// scrub does it.
    fn quarantine(&self, shard: ShardHash, sequence: u64) {
        let Ok(permit) = self.places.clone().try_acquire_owned() else { return };
        let (reply, _) = oneshot::channel();
        let change = Change::Judge { shard, sequence, good: false, reply };
        if let Some(queue) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = queue.send(Queued { change, permit: Some(permit) });
        }
        if let Some(inline) = &self.inline {
            locked(inline).write_waiting();
        }
    }

    /// One piece of background work of a store without threads, see [`work::is_inline`]; whether there may be more at once.
    /// A store with threads does it by itself.
    pub fn keep_blocking(&self) -> bool {
        self.inline.as_ref().is_some_and(|inline| locked(inline).keep())
    }

    /// A short shard whose bytes are in memory, read without waiting for the disk; `None` says nothing.
    pub fn read_cached(&self, shard: &ShardHash) -> Option<(Entry, Bytes)> {
        let entry = self.shared.index().get(shard).filter(Entry::is_live)?;
        let is_short = entry.placement.size <= CACHED_BYTES_MAX;
        let body = is_short.then(|| self.shared.read_cached(shard, &entry)).flatten()?;
        Some((entry, body))
    }

    /// [`Store::read_blocking`] off the async threads.
    pub async fn read(self: &Arc<Self>, shard: ShardHash) -> Result<(Entry, Bytes), ReadError> {
        let store = self.clone();
        let read = work::blocking(move || store.read_blocking(&shard));
        read.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    /// What is known of a shard without reading it; nothing of those that are not served.
    pub fn stat(&self, shard: &ShardHash) -> Option<ShardStat> {
        self.shared.index().get(shard).filter(Entry::is_live).map(|entry| stat(&entry))
    }

    /// At most `limit` shards in order of address behind `after`.
    pub fn list(&self, after: Option<ShardHash>, limit: usize) -> Vec<ListedShard> {
        let index = self.shared.index();
        let page = index.after(after).filter(|(_, entry)| entry.is_live()).take(limit);
        page.map(|(shard, entry)| ListedShard { shard, stat: stat(&entry) }).collect()
    }

    /// On whose order a shard is here that is not deleted.
    pub fn owner(&self, shard: &ShardHash) -> Option<Owner> {
        let entry = self.shared.index().get(shard)?;
        (!matches!(entry.state, State::Trashed { .. })).then_some(entry.owner)
    }

    /// Whether the shard is here, served or not.
    pub fn knows(&self, shard: &ShardHash) -> bool {
        self.shared.index().get(shard).is_some()
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        let index = self.shared.index();
        Usage {
            shards: index.live() as u64,
            used_bytes: index.used_bytes(),
            capacity_bytes: self.capacity_bytes,
            trash_shards: index.trash().len() as u64,
            trash_bytes: index.trash_bytes(),
            quarantined: index.quarantined().len() as u64,
        }
    }

    /// At most `limit` shards that were found damaged, in order of address.
    pub fn quarantined(&self, limit: usize) -> Vec<ShardHash> {
        self.shared.index().quarantined().iter().take(limit).copied().collect()
    }

    /// How far the scrub is, and what it found.
    pub fn scrub_report(&self) -> ScrubReport {
        self.shared.scrub_report()
    }

    /// Whether the disk failed and nothing is written any more.
    pub fn is_read_only(&self) -> bool {
        self.shared.counters.failed.load(Ordering::SeqCst)
    }

    /// Counts since start.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Finishes what is queued, writes a checkpoint and stops; later changes fail with [`WriteError::Closed`].
    pub async fn close(&self) {
        self.stop.stop();
        let (reply, closed) = oneshot::channel();
        let sender = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.places.close();
        // Closing needs no place: the queue is closed to others.
        if let Some(sender) = sender
            && sender.send(Queued::alone(Change::Close { reply })).is_ok()
        {
            if let Some(inline) = &self.inline {
                locked(inline).write_waiting();
            }
            let _ = closed.await;
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The keeper first: it may wait for the writer.
        self.stop.stop();
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = keeper.join();
        }
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

fn locked(inline: &Mutex<Inline>) -> MutexGuard<'_, Inline> {
    inline.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stat(entry: &Entry) -> ShardStat {
    ShardStat { placement: entry.placement, stored_at: entry.stored_at }
}
