//! The gateway's metadata: buckets, objects, uploads, stripes, the ledger and the queues, in one redb file or in PostgreSQL
//! (`store`).
//!
//! One thread owns writing and commits everything that waits in one transaction (one fsync for many callers).
//! Readers see the last commit.
//!
//! # Invariants
//! - A change returns only after it is on disk, here or at the server.
//! - An operation checks before it changes: one that returns a logical error has changed nothing.
//! - Every stripe in `STRIPES` is referenced by a manifest or part (`refs` > 0) or listed in `INFLIGHT`.
//! - Every place of a stripe that was stored has a line in the ledger, or is in `MISSING` or `UNCONFIRMED`.
//! - The ledger is never rewritten, and has no gaps but where lines were dropped that nothing needs (`compaction`).
//! - `OBJECTS` has the newest version of a key if that is an object; `VERSIONS` has all others, the newest first.
//! - `USAGE` has what the rows of versions and uploads come to; `OCCUPIED` what of the ledger's live bytes they refer to.
//! - `NULLS` names the null version of a key if it is in `VERSIONS`.
//! - `EQUALS` refers to stripes in `STRIPES` only.
//! - What a bucket's rules tell of is in `EVENTS` with the change itself.
//!
//! # Not here
//! What rows of objects look like ([`crate::object`], [`crate::manifest`]); who sends what to miners.

mod amend;
mod batch;
mod bucket_keys;
mod buckets;
mod commitments;
mod compaction;
mod complete;
mod condition;
mod copy;
mod delete;
#[cfg(test)]
#[path = "../tests/gateway/engine.rs"]
mod engine;
mod equal;
mod error;
mod events;
mod expiry;
mod export;
mod ledger;
mod moved;
mod objects;
mod occupancy;
mod packs;
mod place;
mod queues;
mod receipts;
mod replicas;
mod sealed;
mod served;
mod snapshots;
mod store;
mod stripes;
mod subresources;
mod surplus;
mod unconfirmed;
mod unreadable;
mod uploads;
mod usage;
mod versions;

pub use bucket_keys::{BucketKeyName, BucketKeyRow, deduplication_name};
pub use buckets::BucketInfo;
pub use commitments::{Commitment, Commitments, LedgerCut, Notice};
pub use compaction::{BaseRow, Compaction};
pub use complete::{Completed, Completion};
pub use condition::{Condition, DeleteCondition, EtagMatch};
pub use delete::{DeleteRequest, Deletion};
pub use equal::Equal;
pub use error::{DiskFailed, MetaError, OpenError};
pub use events::Left;
pub use expiry::Expiring;
pub(crate) use export::MAPS_NUMBER;
pub use export::{Exported, File};
pub use moved::Release;
pub use objects::{Found, NewCopy, NewObject, ObjectPage, Source};
pub use occupancy::Occupied;
pub use packs::{Holed, Moved};
pub use place::{ClaimError, MetadataPlace};
pub(crate) use queues::backoff_ms;
pub use queues::{DeleteRow, MissingRow, ShardPlace};
pub use replicas::LeftBehind;
pub use sealed::{Sealed, SealedCursor, SealedRow};
pub use snapshots::{SnapshotRow, Snapshots};
pub use store::{Postgres, PostgresError, Role};
pub use subresources::{BucketRows, Subresource};
pub use surplus::{MovedCursor, Spread, Surplus};
pub use unconfirmed::UnconfirmedCursor;
pub use uploads::{PartInfo, UploadInfo, UploadKey, UploadMarker, UploadPage, WalkedUpload};
pub use usage::{Allowance, Quota, QuotaExceeded, Recount, Resource, Usage};
pub use versions::{VersionMarker, VersionPage, WalkedTo, WalkedVersion};

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arion_daemon::work;
use batch::{Job, Operation, Writer};
use redb::Database;
pub(crate) use store::{ReadTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use store::{Server, Store};
use tokio::sync::{mpsc, oneshot, watch};
use unreadable::Unreadable;

/// Layout of the file; raised when rows change in a way that their own versions do not tell.
pub const SCHEMA: u32 = 5;
/// Operations that may wait for the writing thread.
const QUEUE_MAX: usize = 1_024;
/// Bytes of the file that redb may keep in memory.
const CACHE_BYTES: usize = 64 << 20;

pub(crate) type Hash = [u8; 32];
/// Longest look that is not waited out.
const LOOK_MAX: Duration = Duration::from_millis(1);

/// Address and position of a shard.
pub(crate) type PlaceKey = (Hash, u8);
pub(crate) const SETTINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("settings");
pub(crate) const BUCKETS: TableDefinition<&str, &[u8]> = TableDefinition::new("buckets");
pub(crate) const OBJECTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("objects");
pub(crate) const VERSIONS: TableDefinition<(&str, &str, u64), &[u8]> = TableDefinition::new("versions");
pub(crate) const NULLS: TableDefinition<(&str, &str), u64> = TableDefinition::new("nulls");
pub(crate) const MANIFESTS: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("manifests");
pub(crate) const SUBRESOURCES: TableDefinition<(&str, u8), &[u8]> = TableDefinition::new("subresources");
pub(crate) const UPLOADS: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("uploads");
pub(crate) const PARTS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("parts");
pub(crate) const STRIPES: TableDefinition<Hash, &[u8]> = TableDefinition::new("stripes");
pub(crate) const INFLIGHT: TableDefinition<Hash, ()> = TableDefinition::new("inflight");
pub(crate) const MISSING: TableDefinition<PlaceKey, &[u8]> = TableDefinition::new("missing");
pub(crate) const DELETES: TableDefinition<PlaceKey, &[u8]> = TableDefinition::new("deletes");
pub(crate) const LEDGER: TableDefinition<u64, &[u8]> = TableDefinition::new("ledger");
pub(crate) const MAPS: TableDefinition<u64, &[u8]> = TableDefinition::new("maps");

tokio::task_local! {
    /// The term in which work is done that only the leader does.
    static TERM: u64;
}

/// Handle to the metadata; clones share it.
#[derive(Clone)]
pub struct Meta {
    store: Store,
    jobs: mpsc::Sender<Box<dyn Job>>,
    /// What the writing thread does, where there is to be none.
    inline: Option<Arc<Mutex<Writer>>>,
    failure: watch::Sender<Option<DiskFailed>>,
    unreadable: Unreadable,
    /// From when on rows are looked up where they are asked for.
    looks_from: Arc<Mutex<Option<Instant>>>,
}

impl Meta {
    /// Opens or makes the file and starts the writing thread, which ends with the last handle.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source: MetaError| OpenError::Open { path: path.to_owned(), source };
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| failed(error.into()))?;
        let store = Store::Redb(Arc::new(db));
        match prepare(&store).map_err(failed)? {
            SCHEMA => {}
            found => return Err(OpenError::Schema { place: path.display().to_string(), found }),
        }
        Self::start(store).map_err(failed)
    }

    /// Opens or makes metadata in a redb file that lies on something else than a file system.
    pub fn open_on(backend: impl redb::StorageBackend) -> Result<Self, OpenError> {
        let failed = |source: MetaError| OpenError::Open { path: PathBuf::from("memory"), source };
        let db = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend);
        let store = Store::Redb(Arc::new(db.map_err(|error| failed(error.into()))?));
        match prepare(&store).map_err(failed)? {
            SCHEMA => Self::start(store).map_err(failed),
            found => Err(OpenError::Schema { place: "memory".into(), found }),
        }
    }

    /// Opens metadata in PostgreSQL, which are made where there are none.
    pub fn connect(postgres: Postgres, role: Role) -> Result<Self, OpenError> {
        let place = postgres.to_string();
        let failed = |source| match source {
            MetaError::Unavailable(source) => PostgresError::Server { place: place.clone(), source }.into(),
            source => OpenError::Open { path: PathBuf::from(&place), source },
        };
        let store = Store::Postgres(Arc::new(Server::connect(postgres, role)?));
        match store::outside(|| prepare(&store)).unwrap_or(Err(MetaError::Closed)).map_err(failed)? {
            SCHEMA => {}
            found => return Err(OpenError::Schema { place, found }),
        }
        Self::start(store).map_err(failed)
    }

    fn start(store: Store) -> Result<Self, MetaError> {
        let (jobs, waiting) = mpsc::channel(QUEUE_MAX);
        let failure = watch::Sender::new(None);
        let mut writer = Writer::new(store.clone(), waiting, failure.clone());
        let mut inline = None;
        if work::is_inline() {
            inline = Some(Arc::new(Mutex::new(writer)));
        } else {
            std::thread::Builder::new()
                .name("metadata".into())
                .spawn(move || writer.run())
                .map_err(|error| MetaError::Storage(Arc::new(redb::Error::Io(error))))?;
        }
        Ok(Self {
            store,
            jobs,
            inline,
            failure,
            unreadable: Unreadable::default(),
            looks_from: Arc::default(),
        })
    }

    /// Returns once the disk has failed: from then on everything is refused.
    pub async fn failed(&self) -> DiskFailed {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(failed) = failure.borrow_and_update().clone() {
                return failed;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Does what only one replica may do, whenever this one leads, until it is done. What the work itself writes is refused once
    /// another one leads ([`MetaError::Deposed`]); tasks that it spawns are not bound.
    pub async fn while_leading<F: Future<Output = ()>>(&self, work: impl Fn() -> F) {
        let Some(mut leads) = self.store.leads() else { return work().await };
        loop {
            let term = leads.wait_for(Option::is_some).await.ok().and_then(|term| *term);
            let Some(term) = term else { return };
            tokio::select! {
                () = TERM.scope(term, work()) => return,
                _ = leads.wait_for(|now| *now != Some(term)) => {}
            }
        }
    }

    /// Whether work of the leader may have effects outside the metadata: not when it was stopped for so long that another replica
    /// may lead.
    pub fn may_act(&self) -> bool {
        TERM.try_with(|term| self.store.is_fresh(*term)).unwrap_or(true)
    }

    /// The number of this replica, and whether it leads; `None` where there is only one gateway.
    pub fn replica(&self) -> Option<(u32, bool)> {
        self.store.replica().zip(self.store.leads().map(|leads| leads.borrow().is_some()))
    }

    /// Whether other replicas may be running on these metadata.
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Ends the session that says that this replica runs, as a lost connection does; it comes back by itself.
    pub fn cut_presence(&self) {
        self.store.cut_presence();
    }

    /// Runs `operation` in a transaction shared with other callers and returns once it is on disk.
    ///
    /// Once it is queued it is carried out even if the caller goes away; more than once if the operation of another caller
    /// undoes the transaction.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&WriteTransaction) -> Result<T, MetaError> + Clone + Send + 'static,
    ) -> Result<T, MetaError> {
        let term = TERM.try_with(|term| *term).ok();
        let operation = move |transaction: &WriteTransaction| {
            replicas::require_term(transaction, term)?;
            operation(transaction)
        };
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Operation::new(operation, reply));
        self.jobs.send(job).await.map_err(|_| MetaError::Closed)?;
        if let Some(writer) = self.inline.clone() {
            let write = move || writer.lock().unwrap_or_else(PoisonError::into_inner).write_waiting();
            work::blocking(write).await.map_err(|_| MetaError::Closed)?;
        }
        answer.await.map_err(|_| MetaError::Closed)?
    }

    /// Runs `operation` on the last commit, off the async threads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, MetaError> + Send + 'static,
    ) -> Result<T, MetaError> {
        let (store, failure) = (self.store.clone(), self.failure.clone());
        let turn = store.turn().await;
        let read = work::blocking(move || {
            let outcome = store.read(operation);
            drop(turn);
            outcome.inspect_err(|error| note(&store, error, &failure))
        });
        read.await.unwrap_or(Err(MetaError::Closed))
    }

    /// [`Meta::read`] of a few rows. Those of a file are mostly in memory, and read before another thread is found. One that took
    /// long all the same has others leave the async threads for ten times as long.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, MetaError> + Send + 'static,
    ) -> Result<T, MetaError> {
        let begun = Instant::now();
        let rests = || {
            self.looks_from.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|from| begun < from)
        };
        if self.store.is_shared() || work::is_inline() || rests() {
            return self.read(operation).await;
        }
        let outcome = self.store.read(operation);
        let took = begun.elapsed();
        if took > LOOK_MAX {
            let from = begun + took * 10;
            *self.looks_from.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
        }
        outcome.inspect_err(|error| note(&self.store, error, &self.failure))
    }
}

/// Makes all tables, so that readers find them, and returns their layout.
fn prepare(store: &Store) -> Result<u32, MetaError> {
    let transaction = store.begin_write(&mut None)?;
    let found = {
        let mut settings = transaction.open_table(SETTINGS)?;
        let found = settings.get("schema")?.map(|row| <[u8; 4]>::try_from(row.value()));
        match found {
            Some(bytes) => u32::from_le_bytes(bytes.map_err(|_| MetaError::Row("settings"))?),
            None => {
                settings.insert("schema", SCHEMA.to_le_bytes().as_slice())?;
                SCHEMA
            }
        }
    };
    transaction.open_table(BUCKETS)?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(VERSIONS)?;
    transaction.open_table(NULLS)?;
    transaction.open_table(MANIFESTS)?;
    transaction.open_table(SUBRESOURCES)?;
    transaction.open_table(UPLOADS)?;
    transaction.open_table(PARTS)?;
    transaction.open_table(STRIPES)?;
    transaction.open_table(INFLIGHT)?;
    transaction.open_table(MISSING)?;
    transaction.open_table(DELETES)?;
    transaction.open_table(LEDGER)?;
    transaction.open_table(MAPS)?;
    transaction.open_table(bucket_keys::BUCKET_KEYS)?;
    transaction.open_table(bucket_keys::BUCKET_ENCRYPTION)?;
    transaction.open_table(packs::PACKED)?;
    transaction.open_table(packs::HOLED)?;
    transaction.open_table(stripes::PINNED)?;
    transaction.open_table(equal::EQUALS)?;
    transaction.open_table(equal::EQUAL_AT)?;
    transaction.open_table(events::EVENTS)?;
    transaction.open_table(receipts::RECEIPTS)?;
    transaction.open_table(moved::MOVED)?;
    transaction.open_table(moved::RELEASES)?;
    transaction.open_table(unconfirmed::UNCONFIRMED)?;
    usage::prepare(&transaction)?;
    occupancy::prepare(&transaction)?;
    commitments::prepare(&transaction)?;
    transaction.open_table(served::SERVED)?;
    transaction.open_table(snapshots::SNAPSHOT_NODES)?;
    transaction.open_table(snapshots::SNAPSHOT_STRIPES)?;
    transaction.open_table(snapshots::SNAPSHOTS)?;
    transaction.commit()?;
    Ok(found)
}

/// Says that the disk has failed, if that is what the error is: redb refuses everything from then on. PostgreSQL may come back.
fn note(store: &Store, error: &MetaError, failure: &watch::Sender<Option<DiskFailed>>) {
    if let (MetaError::Storage(error), Store::Redb(db)) = (error, store)
        && db.begin_write().is_err()
    {
        failure.send_replace(Some(DiskFailed(error.clone())));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) use super::engine::{Engine, on_each};

    /// Makes a bucket of an account.
    pub(crate) async fn bucket_of(meta: &Meta, name: &str, account: &str) {
        meta.create_bucket(name.into(), BucketInfo::new(account.into(), 1)).await.unwrap();
    }
    use arion_stranger::SmallDisk;

    /// After the first failed write the store refuses everything, also when there is room again. The gateway used to go
    /// on, healthy as far as /health knew, and the requests that came then were never answered.
    #[tokio::test]
    async fn a_full_disk_acknowledges_nothing_and_is_told() {
        let disk = SmallDisk::default();
        let db = Database::builder().create_with_backend(disk.clone()).unwrap();
        let store = Store::Redb(Arc::new(db));
        prepare(&store).unwrap();
        let meta = Meta::start(store).unwrap();
        let bucket = || BucketInfo::new("a".into(), 1);
        meta.create_bucket("first".into(), bucket()).await.unwrap();
        let mut failed = std::pin::pin!(meta.failed());
        let waits = tokio::time::timeout(std::time::Duration::from_millis(50), &mut failed).await;
        assert!(waits.is_err(), "a disk with room has failed");
        disk.fill();
        let refused = meta.create_bucket("second".into(), bucket()).await.unwrap_err();
        assert!(matches!(refused, MetaError::Storage(_)), "{refused}");
        let said = failed.await.to_string();
        assert!(said.contains("make room"), "{said}");
        disk.clear();
        assert!(meta.create_bucket("third".into(), bucket()).await.is_err());
    }
}
