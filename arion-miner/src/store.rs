//! The shard store: an append-only log of shards with an index in memory.
//!
//! Writers are queued to one thread that appends a batch, syncs once and answers all; readers go to the files
//! directly and check every shard against its address.
//!
//! # Invariants
//! - What was acknowledged survives `kill -9` and power loss at any moment.
//! - One process has a store open at a time.
//! - Deleting works on a full disk.
//! - No shard is ever returned that does not hash to its address.
//!
//! # Not here
//! Who may store what (`service`). Compaction: space of deleted shards is given back by punching holes, record
//! headers and segment files stay.
//!
//! Specified in docs/spec/store.md.

mod checkpoint;
mod disk;
mod index;
mod inspect;
mod layout;
mod record;
mod recover;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod model_tests;

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arion_protocol::{ListedShard, ShardPlacement, ShardStat};
use arion_types::{ShardHash, units::GIB};
use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

pub use index::Entry;
pub use inspect::{CheckReport, Inspector, Located};
pub use layout::LayoutError;
pub use record::RECORD_BYTES;
pub use recover::Report;

use disk::Disk;
use index::Index;
use layout::{Layout, at};
use record::SEGMENT_HEADER_BYTES;
use recover::{Mode, recover};
use writer::{Change, Queued, Writer};

/// Segment files kept open for reading.
const OPEN_SEGMENTS_MAX: usize = 128;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes that live shards may take, record headers included.
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
    /// The same bytes are stored for another stripe or position.
    #[error("shard is stored already for another position")]
    Conflict,
    /// The body does not hash to the address, or is not as long as the placement says.
    #[error("body does not match the shard hash or size")]
    HashMismatch,
    /// The disk failed; restart once it is repaired.
    #[error("the disk failed")]
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
}

/// Counts since start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Syncs; each covers a batch.
    pub syncs: AtomicU64,
    /// Reads that found a shard damaged.
    pub damaged_reads: AtomicU64,
    /// Whether a sync failed: no more writes are taken.
    pub failed: AtomicBool,
}

/// What writer and readers share.
struct Shared {
    layout: Layout,
    index: RwLock<Index>,
    files: Mutex<HashMap<u32, Arc<File>>>,
    counters: Counters,
}

impl Shared {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn segment(&self, number: u32) -> io::Result<Arc<File>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&number) {
            return Ok(file.clone());
        }
        if files.len() >= OPEN_SEGMENTS_MAX {
            files.clear();
        }
        let file = Arc::new(File::open(self.layout.segment(number))?);
        files.insert(number, file.clone());
        Ok(file)
    }

    /// The bytes of an entry, if they hash to `shard`.
    fn read_at(&self, shard: &ShardHash, entry: &Entry) -> Result<Bytes, ReadError> {
        let mut body = vec![0; entry.placement.size as usize];
        let read =
            self.segment(entry.segment).and_then(|file| file.read_exact_at(&mut body, entry.body_offset()));
        match read {
            Ok(()) if *blake3::hash(&body).as_bytes() == shard.0 => Ok(Bytes::from(body)),
            Ok(()) => Err(ReadError::Damaged),
            // The file is gone or shorter than the log said.
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) => {
                Err(ReadError::Damaged)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// An open store. Dropping it leaves the log as it is; [`Store::close`] also writes a checkpoint.
pub struct Store {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Queued>>>,
    places: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
    capacity_bytes: u64,
    report: Report,
    _lock: File,
}

impl Store {
    /// Opens the store in `root`, which is made if it does not exist, and reads what is behind the last
    /// checkpoint. Blocks.
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self, LayoutError> {
        Self::open_on(root, options, Disk::default())
    }

    fn open_on(root: &Path, options: StoreOptions, disk: Disk) -> Result<Self, LayoutError> {
        let layout = Layout::new(root);
        let lock = layout.lock()?;
        let key = layout.read_or_make_key()?;
        let recovered = recover(&layout, &key, Mode::Repair)?;
        let mut position = recovered.position;
        let path = layout.segment(position.segment);
        position.offset = position.offset.max(SEGMENT_HEADER_BYTES);
        let begun = std::fs::metadata(&path).is_ok_and(|meta| meta.len() >= SEGMENT_HEADER_BYTES);
        let file = if begun {
            OpenOptions::new().read(true).write(true).open(&path)
        } else {
            // The file, where there is one, was torn while it was made.
            let _ = std::fs::remove_file(&path);
            disk.create_segment(&layout, position.segment, &key)
        }
        .map_err(at(&path))?;
        if !layout.hold_reserve() {
            tracing::warn!("no space to keep aside for deletions");
        }
        let shared = Arc::new(Shared {
            layout: layout.clone(),
            index: RwLock::new(recovered.index),
            files: Mutex::default(),
            counters: Counters::default(),
        });
        let (capacity_bytes, places) = (options.capacity_bytes, Arc::new(Semaphore::new(options.queue_max)));
        let writer = Writer {
            layout,
            key,
            options,
            disk,
            shared: shared.clone(),
            file,
            position,
            appended_bytes: recovered.report.scanned_records * RECORD_BYTES,
            checkpoint_at: Instant::now(),
        };
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(&receiver))
            .map_err(at(root))?;
        Ok(Self {
            shared,
            queue: Mutex::new(Some(sender)),
            places,
            writer: Mutex::new(Some(thread)),
            capacity_bytes,
            report: recovered.report,
            _lock: lock,
        })
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
        now_ms: u64,
    ) -> Result<Stored, WriteError> {
        if body.len() as u64 != u64::from(placement.size) || *blake3::hash(&body).as_bytes() != shard.0 {
            return Err(WriteError::HashMismatch);
        }
        self.change(|reply| Change::Put { shard, placement, body, now_ms, reply }).await?
    }

    /// Deletes a shard; returns whether it was there, once that is durable.
    pub async fn delete(&self, shard: ShardHash) -> Result<bool, WriteError> {
        self.change(|reply| Change::Delete { shard, reply }).await?
    }

    async fn change<T>(&self, change: impl FnOnce(oneshot::Sender<T>) -> Change) -> Result<T, WriteError> {
        let permit = self.places.clone().acquire_owned().await.map_err(|_| WriteError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let queued = Queued { change: change(reply), _permit: permit };
        let sender = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.and_then(|sender| sender.send(queued).ok()).ok_or(WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)
    }

    /// The shard and its entry. Blocks.
    pub fn read_blocking(&self, shard: &ShardHash) -> Result<(Entry, Bytes), ReadError> {
        loop {
            let entry = self.shared.index().get(shard).copied().ok_or(ReadError::NotFound)?;
            match self.shared.read_at(shard, &entry) {
                // Deleted or rewritten while it was read: look again.
                Err(ReadError::Damaged) if self.shared.index().get(shard) != Some(&entry) => {}
                Err(ReadError::Damaged) => {
                    self.shared.counters.damaged_reads.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%shard, segment = entry.segment, offset = entry.offset, "damaged shard");
                    return Err(ReadError::Damaged);
                }
                other => return other.map(|body| (entry, body)),
            }
        }
    }

    /// [`Store::read_blocking`] off the async threads.
    pub async fn read(self: &Arc<Self>, shard: ShardHash) -> Result<(Entry, Bytes), ReadError> {
        let store = self.clone();
        let read = tokio::task::spawn_blocking(move || store.read_blocking(&shard));
        read.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    /// What is known of a shard without reading it.
    pub fn stat(&self, shard: &ShardHash) -> Option<ShardStat> {
        self.shared.index().get(shard).map(stat)
    }

    /// At most `limit` shards in order of address behind `after`.
    pub fn list(&self, after: Option<ShardHash>, limit: usize) -> Vec<ListedShard> {
        let index = self.shared.index();
        let page = index.after(after).take(limit);
        page.map(|(shard, entry)| ListedShard { shard: *shard, stat: stat(entry) }).collect()
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        let index = self.shared.index();
        Usage {
            shards: index.len() as u64,
            used_bytes: index.used_bytes(),
            capacity_bytes: self.capacity_bytes,
        }
    }

    /// Counts since start.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Finishes what is queued, writes a checkpoint and stops; later changes fail with [`WriteError::Closed`].
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        let sender = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.places.close();
        // Closing needs no place: the queue is closed to others.
        if let Some(sender) = sender
            && let Ok(permit) = Arc::new(Semaphore::new(1)).try_acquire_owned()
            && sender.send(Queued { change: Change::Close { reply }, _permit: permit }).is_ok()
        {
            let _ = closed.await;
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

fn stat(entry: &Entry) -> ShardStat {
    ShardStat { placement: entry.placement, stored_at: entry.stored_at }
}
