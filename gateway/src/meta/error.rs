//! Why metadata cannot be opened, read or changed.

use std::{path::PathBuf, sync::Arc};

use super::{PostgresError, QuotaExceeded, SCHEMA};
use crate::object::VersionId;

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
    /// Stripes of this upload were taken back: this replica was silent for so long that it was taken for gone.
    #[error("the stripes were taken back while this replica was silent")]
    TakenBack,
    /// Another replica leads by now.
    #[error("another replica leads by now")]
    Deposed,
    /// The earlier stream that was to be referred to is not where it was found any more.
    #[error("the equal stream is gone")]
    EqualGone,
    /// An equal stream was entered in the meantime.
    #[error("an equal stream is there by now")]
    EqualThere,
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("precondition failed")]
    PreconditionFailed,
    /// The file or a row in it is broken, or the disk fails.
    #[error("metadata store: {0}")]
    Storage(Arc<redb::Error>),
    /// PostgreSQL does not answer, or does not do what it is asked. What was asked for may have been done all the same.
    #[error("the metadata cannot be reached: {0}")]
    Unavailable(Arc<sqlx::Error>),
    /// A row does not decode, or a row that another one refers to is not there.
    #[error("metadata row in `{0}` does not decode")]
    Row(&'static str),
    /// The roots of the ledger are those of another chain or node key, and the lines to make them anew were dropped.
    #[error(
        "lines of the ledger were dropped that would be needed for another chain or another node key: use those that the ledger was written with"
    )]
    LedgerDropped,
    /// Something else has to come to its end before lines of the ledger are dropped.
    #[error("nothing of the ledger is dropped yet: {0}")]
    NotDroppedYet(&'static str),
    /// What is to be dropped of the ledger is not what was noted, or is needed.
    #[error("nothing of the ledger is dropped: {0}")]
    NotDropped(&'static str),
    /// The writing thread is gone.
    #[error("metadata store is closed")]
    Closed,
}

macro_rules! from_redb {
    ($($error:ident),*) => { $(
        impl From<redb::$error> for MetaError {
            fn from(error: redb::$error) -> Self {
                Self::Storage(Arc::new(error.into()))
            }
        }
    )* };
}

from_redb!(CommitError, DatabaseError, StorageError, TableError, TransactionError);

impl From<Arc<sqlx::Error>> for MetaError {
    fn from(error: Arc<sqlx::Error>) -> Self {
        Self::Unavailable(error)
    }
}

impl MetaError {
    /// Whether the transaction is lost, rather than the one operation refused.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self, Self::Storage(_) | Self::Unavailable(_) | Self::Row(_) | Self::Closed)
    }

    /// The same for another caller, of errors that are nobody's own.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Storage(error) => Self::Storage(error.clone()),
            Self::Unavailable(error) => Self::Unavailable(error.clone()),
            Self::Row(table) => Self::Row(table),
            Self::TakenBack => Self::TakenBack,
            Self::Deposed => Self::Deposed,
            Self::LedgerDropped => Self::LedgerDropped,
            Self::NotDroppedYet(why) => Self::NotDroppedYet(why),
            Self::NotDropped(why) => Self::NotDropped(why),
            _ => Self::Closed,
        }
    }
}

/// Why the metadata cannot be opened.
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
        "the metadata {place} have layout {found}, this gateway reads {SCHEMA}; use the version that wrote them"
    )]
    Schema {
        /// The file or the database.
        place: String,
        /// Its layout.
        found: u32,
    },
    /// The metadata of this data directory are in PostgreSQL, and the configuration does not say so.
    #[error(
        "the metadata of this data directory are in {place}: set metadata.postgres, or remove {} if those are really not wanted",
        mark.display()
    )]
    Elsewhere {
        /// What says so.
        mark: PathBuf,
        /// Where they are.
        place: String,
    },
    /// The data directory has metadata of its own.
    #[error(
        "{} has metadata, and the configuration says that they are in PostgreSQL: to move them there, make a snapshot, move the file away and `recover`; see docs/operate/gateway.md",
        path.display()
    )]
    Embedded {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be noted where the metadata are.
    #[error("cannot write {}: {source}", path.display())]
    Mark {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// PostgreSQL cannot be used.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

impl OpenError {
    /// Whether a running gateway has them.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Open { source: MetaError::Storage(error), .. } => {
                matches!(**error, redb::Error::DatabaseAlreadyOpen)
            }
            Self::Postgres(error) => matches!(error, PostgresError::Running(_)),
            _ => false,
        }
    }
}

/// The disk failed or is full. What is on it is unknown until the file is opened again.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the metadata cannot be used any more: {0}; nothing that was acknowledged is lost: make room on the disk, or repair it, and start the gateway again"
)]
pub struct DiskFailed(pub(super) Arc<redb::Error>);
