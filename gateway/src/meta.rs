//! The gateway's metadata: buckets, objects, uploads, stripes, the ledger and the queues, in one redb file.
//!
//! One thread owns writing and commits everything that waits in one transaction (one fsync for many callers).
//! Readers see the last commit.
//!
//! # Invariants
//! - A change returns only after it is on disk.
//! - An operation checks before it changes: one that returns a logical error has changed nothing.
//! - Every stripe in `STRIPES` is referenced by a manifest or part (`refs` > 0) or listed in `INFLIGHT`.
//! - The ledger has no gaps and is never rewritten.
//! - `OBJECTS` has the newest version of a key if that is an object; `VERSIONS` has all others, the newest first.
//! - `USAGE` has what the rows of versions and uploads come to.
//! - `NULLS` names the null version of a key if it is in `VERSIONS`.
//! - What a bucket's rules tell of is in `EVENTS` with the change itself.
//!
//! # Not here
//! What rows of objects look like ([`crate::object`], [`crate::manifest`]); who sends what to miners.

mod amend;
mod batch;
mod bucket_keys;
mod buckets;
mod complete;
mod condition;
mod delete;
mod events;
mod expiry;
mod export;
mod ledger;
mod objects;
mod packs;
mod queues;
mod receipts;
mod sealed;
mod snapshots;
mod stripes;
mod subresources;
mod unreadable;
mod uploads;
mod usage;
mod versions;

pub use bucket_keys::{BucketKeyName, BucketKeyRow};
pub use buckets::BucketInfo;
pub use complete::{Completed, Completion};
pub use condition::{Condition, DeleteCondition, EtagMatch};
pub use delete::{DeleteRequest, Deletion};
pub use events::Left;
pub use expiry::Expiring;
pub(crate) use export::MAPS_NUMBER;
pub use export::{Exported, File};
pub use objects::{Found, NewCopy, NewObject, ObjectPage, Source};
pub use packs::{Holed, Moved};
pub use queues::{DeleteRow, MissingRow, ShardPlace};
pub use sealed::{Sealed, SealedCursor, SealedRow};
pub use snapshots::{SnapshotRow, Snapshots};
pub use subresources::{BucketRows, Subresource};
pub use uploads::{PartInfo, UploadInfo, UploadKey, UploadMarker, UploadPage, WalkedUpload};
pub use usage::{Allowance, Quota, QuotaExceeded, Recount, Resource, Usage};
pub use versions::{VersionMarker, VersionPage, WalkedTo, WalkedVersion};

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use batch::{Job, Operation};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use tokio::sync::{mpsc, oneshot, watch};
use unreadable::Unreadable;

use crate::object::VersionId;

/// Layout of the file; raised when rows change in a way that their own versions do not tell.
pub const SCHEMA: u32 = 5;
/// Operations that may wait for the writing thread.
const QUEUE_MAX: usize = 1_024;
/// Bytes of the file that redb may keep in memory.
const CACHE_BYTES: usize = 64 << 20;

pub(crate) type Hash = [u8; 32];
/// Address and position of a shard.
pub(crate) type PlaceKey = (Hash, u8);
pub(crate) const SETTINGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("settings");
pub(crate) const BUCKETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("buckets");
pub(crate) const OBJECTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("objects");
pub(crate) const VERSIONS: TableDefinition<'_, (&str, &str, u64), &[u8]> = TableDefinition::new("versions");
pub(crate) const NULLS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("nulls");
pub(crate) const MANIFESTS: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("manifests");
pub(crate) const SUBRESOURCES: TableDefinition<'_, (&str, u8), &[u8]> = TableDefinition::new("subresources");
pub(crate) const UPLOADS: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("uploads");
pub(crate) const PARTS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("parts");
pub(crate) const STRIPES: TableDefinition<'_, Hash, &[u8]> = TableDefinition::new("stripes");
pub(crate) const INFLIGHT: TableDefinition<'_, Hash, ()> = TableDefinition::new("inflight");
pub(crate) const MISSING: TableDefinition<'_, PlaceKey, &[u8]> = TableDefinition::new("missing");
pub(crate) const DELETES: TableDefinition<'_, PlaceKey, &[u8]> = TableDefinition::new("deletes");
pub(crate) const LEDGER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ledger");
pub(crate) const MAPS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("maps");

/// Why metadata cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The bucket does not exist.
    #[error("no such bucket")]
    NoSuchBucket,
    /// The bucket exists and belongs to another account.
    #[error("bucket belongs to another account")]
    BucketTaken,
    /// The bucket exists and is the caller's own.
    #[error("bucket is the caller's already")]
    BucketOwned,
    /// The bucket has objects or versions.
    #[error("bucket is not empty")]
    BucketNotEmpty,
    /// A bucket of this name was deleted just now and its uploads are still being given up: try again in a moment.
    #[error("bucket of this name is still going")]
    BucketGoing,
    /// The object does not exist.
    #[error("no such object")]
    NoSuchKey,
    /// The newest version of the key is this delete marker.
    #[error("the object was deleted: delete marker {0}")]
    Deleted(VersionId),
    /// The key has no such version.
    #[error("no such version")]
    NoSuchVersion,
    /// The version is a delete marker.
    #[error("version {0} is a delete marker")]
    IsMarker(VersionId),
    /// The version is retained or held.
    #[error("the version is locked")]
    Locked,
    /// The bucket has no object lock.
    #[error("the bucket has no object lock")]
    NoObjectLock,
    /// Object lock needs versions: it cannot be set without them, nor versions be suspended with it.
    #[error("object lock needs versioning")]
    LockNeedsVersions,
    /// The upload does not exist.
    #[error("no such upload")]
    NoSuchUpload,
    /// A part that was named at completion does not exist or has another ETag.
    #[error("part {0} does not exist or has another etag")]
    InvalidPart(u32),
    /// Parts were not named in ascending order, or none was named.
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A part before the last one is too small.
    #[error("part {0} is too small")]
    PartTooSmall(u32),
    /// What is entered is wrapped under a key that is not the bucket's any more.
    #[error("the bucket's key was replaced in this moment")]
    KeyReplaced,
    /// An account would store more than it may.
    #[error(transparent)]
    Quota(Box<QuotaExceeded>),
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("precondition failed")]
    PreconditionFailed,
    /// The file or a row in it is broken, or the disk fails.
    #[error("metadata store: {0}")]
    Storage(Arc<redb::Error>),
    /// A row does not decode, or a row that another one refers to is not there.
    #[error("metadata row in `{0}` does not decode")]
    Row(&'static str),
    /// The writing thread is gone.
    #[error("metadata store is closed")]
    Closed,
}

impl<E: Into<redb::Error>> From<E> for MetaError {
    fn from(error: E) -> Self {
        Self::Storage(Arc::new(error.into()))
    }
}

impl MetaError {
    /// Whether the transaction is lost, rather than the one operation refused.
    fn is_fatal(&self) -> bool {
        matches!(self, Self::Storage(_) | Self::Row(_) | Self::Closed)
    }

    /// The same for another caller, of errors that are nobody's own.
    fn copy(&self) -> Self {
        match self {
            Self::Storage(error) => Self::Storage(error.clone()),
            Self::Row(table) => Self::Row(table),
            _ => Self::Closed,
        }
    }
}

/// Why the metadata file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, it is damaged, or the disk fails.
    #[error("cannot open the metadata {}: {source}; is another gateway running on this data directory?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MetaError,
    },
    /// Written by another version.
    #[error(
        "the metadata {} has layout {found}, this gateway reads {SCHEMA}; use the version that wrote it",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
}

impl OpenError {
    /// Whether a running gateway has the file.
    pub fn is_taken(&self) -> bool {
        let Self::Open { source: MetaError::Storage(error), .. } = self else { return false };
        matches!(**error, redb::Error::DatabaseAlreadyOpen)
    }
}

/// The disk failed or is full. What is on it is unknown until the file is opened again.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the metadata cannot be used any more: {0}; nothing that was acknowledged is lost: make room on the disk, or repair it, and start the gateway again"
)]
pub struct DiskFailed(Arc<redb::Error>);

/// Handle to the metadata; clones share it.
#[derive(Clone)]
pub struct Meta {
    db: Arc<Database>,
    jobs: mpsc::Sender<Box<dyn Job>>,
    failure: watch::Sender<Option<DiskFailed>>,
    unreadable: Unreadable,
}

impl Meta {
    /// Opens or makes the file and starts the writing thread, which ends with the last handle.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source: MetaError| OpenError::Open { path: path.to_owned(), source };
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| failed(error.into()))?;
        match prepare(&db).map_err(failed)? {
            SCHEMA => {}
            found => return Err(OpenError::Schema { path: path.to_owned(), found }),
        }
        Self::start(db).map_err(failed)
    }

    fn start(db: Database) -> Result<Self, MetaError> {
        let db = Arc::new(db);
        let (jobs, waiting) = mpsc::channel(QUEUE_MAX);
        let meta = Self { db, jobs, failure: watch::Sender::new(None), unreadable: Unreadable::default() };
        let (db, failure) = (meta.db.clone(), meta.failure.clone());
        std::thread::Builder::new()
            .name("metadata".into())
            .spawn(move || batch::write_loop(&db, waiting, &failure))
            .map_err(|error| MetaError::Storage(Arc::new(redb::Error::Io(error))))?;
        Ok(meta)
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

    /// Runs `operation` in a transaction shared with other callers and returns once it is on disk.
    ///
    /// Once it is queued it is carried out even if the caller goes away; more than once if the operation of another caller
    /// undoes the transaction.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&WriteTransaction) -> Result<T, MetaError> + Clone + Send + 'static,
    ) -> Result<T, MetaError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Operation::new(operation, reply));
        self.jobs.send(job).await.map_err(|_| MetaError::Closed)?;
        answer.await.map_err(|_| MetaError::Closed)?
    }

    /// Runs `operation` on the last commit, off the async threads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, MetaError> + Send + 'static,
    ) -> Result<T, MetaError> {
        let (db, failure) = (self.db.clone(), self.failure.clone());
        let read = tokio::task::spawn_blocking(move || {
            let outcome = db.begin_read().map_err(MetaError::from).and_then(|read| operation(&read));
            outcome.inspect_err(|error| note(&db, error, &failure))
        });
        read.await.unwrap_or(Err(MetaError::Closed))
    }
}

/// Makes all tables, so that readers find them, and returns the layout of the file.
fn prepare(db: &Database) -> Result<u32, MetaError> {
    let transaction = db.begin_write()?;
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
    transaction.open_table(events::EVENTS)?;
    transaction.open_table(receipts::RECEIPTS)?;
    usage::prepare(&transaction)?;
    transaction.open_table(snapshots::SNAPSHOT_NODES)?;
    transaction.open_table(snapshots::SNAPSHOT_STRIPES)?;
    transaction.open_table(snapshots::SNAPSHOTS)?;
    transaction.commit()?;
    Ok(found)
}

/// Says that the disk has failed, if that is what the error is: redb refuses everything from then on.
fn note(db: &Database, error: &MetaError, failure: &watch::Sender<Option<DiskFailed>>) {
    if let MetaError::Storage(error) = error
        && db.begin_write().is_err()
    {
        failure.send_replace(Some(DiskFailed(error.clone())));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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
        prepare(&db).unwrap();
        let meta = Meta::start(db).unwrap();
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
