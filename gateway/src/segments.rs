//! The ledger as objects: its full segments in a bucket that anybody can read.
//!
//! An object is a segment byte for byte (`arion_ledger::segment`), under the gateway's node id and the segment's number. Its own
//! receipts are lines of a later segment: some 30 for 4,096, so it comes to rest when nobody else writes.
//!
//! # Invariants
//! - What is stored is known by the objects alone: there is no note beside them that a crash could leave behind.
//! - An object that is there is never written over. It is left where it is the segment, and else told.
//! - Memory is bounded by one segment.
//!
//! # Not here
//! What a segment is, and how one is checked (`arion-ledger`). Lines behind the last full segment: they are asked for over QUIC.

use std::time::Duration;

use arion_daemon::{Health, Shutdown};
use arion_ledger::segment::{self, SEGMENT_LINES};
use md5::{Digest, Md5};
use s3s::{S3Error, S3ErrorCode};
use tokio::time::Instant;

use crate::{
    listing::Query,
    meta::MetaError,
    s3::{self, Store},
};

/// Between two looks at the ledger.
const POLL: Duration = Duration::from_secs(5);
/// Least and longest pause after a failure.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// For so long others may be the cause that mends itself: miners, the chain, a quota.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Names of objects read at once.
const NAMES: usize = 1_000;
/// What the objects are.
const CONTENT_TYPE: &str = "application/octet-stream";

/// Why a segment is no object yet.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The name is taken.
    #[error(
        "the bucket {bucket} does not belong to the account {account}: name another bucket or account in [ledger]"
    )]
    Taken {
        /// The bucket.
        bucket: String,
        /// The account.
        account: String,
    },
    /// Somebody put something else there, or the ledger is another one.
    #[error(
        "the object {key} in the bucket {bucket} is not this segment of the ledger, and is not written over: somebody else put it there, or the metadata are an old copy; if they are not, delete the object"
    )]
    Other {
        /// The bucket.
        bucket: String,
        /// The object.
        key: String,
    },
    /// Lines are missing.
    #[error("the ledger has not all lines of its segment {0}")]
    Gap(u32),
    /// The metadata cannot be used.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// As a client would be told.
    #[error("segment {number} cannot be stored: {}", s3::told(reason))]
    Refused {
        /// The segment.
        number: u32,
        /// Why.
        reason: S3Error,
    },
}

impl SegmentError {
    /// Whether somebody has to do something about it.
    fn stays(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::Other { .. } | Self::Gap(_))
    }
}

/// Puts segments into a bucket, and takes them out.
pub struct Segments {
    /// Where objects are put.
    pub store: Store,
    /// The bucket.
    pub bucket: String,
    /// The account that it belongs to.
    pub account: String,
    /// Where failures are told that last.
    pub health: Health,
}

impl Segments {
    /// Works until the shutdown: one replica for all.
    pub async fn run(&self, stop: Shutdown) {
        let mut stored = None;
        let mut failures = 0u32;
        let mut failing_since = None;
        loop {
            let pause = match self.catch_up(&mut stored).await {
                Ok(()) => {
                    (failures, failing_since) = (0, None);
                    self.health.ok("segments");
                    POLL
                }
                Err(error) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    match error.stays() {
                        true => tracing::error!(%error, "segments of the ledger cannot be stored"),
                        false => {
                            tracing::warn!(%error, "a segment of the ledger is not stored; trying again")
                        }
                    }
                    if error.stays() || since.elapsed() >= PATIENCE {
                        self.health.failing("segments", error.to_string());
                    }
                    failures = failures.saturating_add(1);
                    BACK_OFF.0.saturating_mul(1 << (failures - 1).min(10)).min(BACK_OFF.1)
                }
            };
            if tokio::time::timeout(pause, stop.wait()).await.is_ok() {
                return;
            }
        }
    }

    /// Stores what is full and not stored. `stored` is how many segments are, as far as it is known.
    pub async fn catch_up(&self, stored: &mut Option<u32>) -> Result<(), SegmentError> {
        let meta = &self.store.grid.meta;
        if self.make_bucket().await? {
            *stored = None;
        }
        let full = meta.ledger_len().await? / u64::from(SEGMENT_LINES);
        let full = u32::try_from(full).unwrap_or(u32::MAX);
        let mut next = match *stored {
            Some(next) => next,
            None => self.first_absent(full).await?,
        };
        loop {
            *stored = Some(next);
            self.tell(next, full);
            if next >= full {
                return Ok(());
            }
            self.store(next).await?;
            next += 1;
        }
    }

    /// Deletes the object of a segment. What is not there is no error.
    pub async fn delete(&self, number: u32) -> Result<(), SegmentError> {
        let deleted = self.store.delete_own((&self.bucket, &self.account), self.key(number)).await;
        deleted.map_err(|reason| SegmentError::Refused { number, reason })
    }

    fn tell(&self, stored: u32, full: u32) {
        let metrics = &self.store.grid.metrics;
        metrics.ledger_segments_stored.set(stored.into());
        metrics.ledger_segments_behind.set(full.saturating_sub(stored).into());
    }

    fn key(&self, number: u32) -> String {
        segment::object_name(&self.store.grid.node_id(), number)
    }

    /// Whether the bucket had to be made.
    async fn make_bucket(&self) -> Result<bool, SegmentError> {
        let Self { store, bucket, account, .. } = self;
        let taken = || SegmentError::Taken { bucket: bucket.clone(), account: account.clone() };
        match store.grid.meta.bucket(bucket.clone()).await? {
            Some(info) if info.account == *account => return Ok(false),
            Some(_) => return Err(taken()),
            None => {}
        }
        match store.make_own_bucket(bucket, account).await {
            Err(MetaError::BucketTaken) => Err(taken()),
            made => Ok(made.map(|()| true)?),
        }
    }

    /// The first segment without an object, of those that are full. The one before it has to be of this ledger.
    async fn first_absent(&self, full: u32) -> Result<u32, SegmentError> {
        let prefix = format!("{}/", self.store.grid.node_id());
        // Of a ledger that was compacted the first segments cannot be made any more.
        let (base, _) = self.store.grid.meta.compactions().await?;
        let first = base.map_or(0, |row| row.base.until) / u64::from(SEGMENT_LINES);
        let first = u32::try_from(first).unwrap_or(u32::MAX);
        let mut number = first;
        let mut after = first.checked_sub(1).map_or_else(String::new, |last| self.key(last));
        'pages: loop {
            let query = Query { prefix: prefix.clone(), after, max: NAMES, ..Query::default() };
            let page = self.store.grid.meta.list_objects(self.bucket.clone(), query).await?;
            for (key, _) in page.keys {
                let wanted = self.key(number);
                if key > wanted {
                    break 'pages;
                }
                number += u32::from(key == wanted);
            }
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        match number.checked_sub(1).filter(|last| *last >= first) {
            // Others than full ones are never stored.
            Some(last) if last >= full => Err(self.other(last)),
            Some(last) => match self.is_stored(last, &self.segment(last).await?).await? {
                true => Ok(number),
                false => Ok(last),
            },
            None => Ok(first),
        }
    }

    fn other(&self, number: u32) -> SegmentError {
        SegmentError::Other { bucket: self.bucket.clone(), key: self.key(number) }
    }

    /// The bytes of a segment that is full.
    async fn segment(&self, number: u32) -> Result<Vec<u8>, SegmentError> {
        let grid = &self.store.grid;
        let after = u64::from(number) * u64::from(SEGMENT_LINES);
        let limit = u16::try_from(SEGMENT_LINES).unwrap_or(u16::MAX);
        let page = grid.meta.ledger_page(after, limit).await?;
        let is_whole = page.len() == SEGMENT_LINES as usize;
        if !is_whole || !page.iter().zip(after + 1..).all(|(entry, line)| entry.sequence == line) {
            return Err(SegmentError::Gap(number));
        }
        let lines = page.into_iter().map(|entry| entry.record).collect();
        Ok(segment::write(grid.genesis(), grid.node_id(), number, lines))
    }

    /// Whether a segment is an object; an error where another one has its name.
    async fn is_stored(&self, number: u32, bytes: &[u8]) -> Result<bool, SegmentError> {
        let found = self.store.grid.meta.object(self.bucket.clone(), self.key(number), None).await;
        match found {
            Ok(found) => {
                let is_it = found.info.size == bytes.len() as u64
                    && found.info.etag == hex::encode(Md5::digest(bytes));
                is_it.then_some(true).ok_or_else(|| self.other(number))
            }
            Err(MetaError::NoSuchKey | MetaError::Deleted(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn store(&self, number: u32) -> Result<(), SegmentError> {
        let bytes = self.segment(number).await?;
        if self.is_stored(number, &bytes).await? {
            return Ok(());
        }
        let (place, key) = ((self.bucket.as_str(), self.account.as_str()), self.key(number));
        let put = self.store.put_own(place, key, CONTENT_TYPE, bytes.clone().into()).await;
        match put {
            Ok(()) => {
                tracing::debug!(number, "a segment of the ledger is an object");
                Ok(())
            }
            // Somebody was faster.
            Err(reason) if *reason.code() == S3ErrorCode::PreconditionFailed => {
                match self.is_stored(number, &bytes).await? {
                    true => Ok(()),
                    false => Err(SegmentError::Refused { number, reason }),
                }
            }
            Err(reason) => Err(SegmentError::Refused { number, reason }),
        }
    }
}
