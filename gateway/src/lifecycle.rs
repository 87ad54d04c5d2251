//! Lifecycle: objects, versions and uploads in parts that go by themselves, by the rules of their bucket.
//!
//! One walker goes through the buckets that have rules, a page of versions or uploads at a time. What is due is decided by
//! [`Rules`] on what was read, and done only if the version that was looked at is still what is there.
//!
//! # Invariants
//! - A turn looks at no more than [`ROWS`] rows of one bucket.
//! - The walker keeps nothing that is worth keeping: after a restart it begins again.
//! - A row that does not decode stops nothing: its key is left as it is, with all versions of the page, and the walk goes on
//!   behind it.
//!
//! # Not here
//! Documents of rules (`s3`); what removing a version means ([`crate::meta`]).

mod rules;

pub use rules::{DAY_MS, Day, Due, Rules, Seen, check};

use std::time::Duration;

use arion_daemon::{Shutdown, now_ms};
use futures_util::{TryStreamExt, stream};

use crate::{
    meta::{Expiring, Meta, MetaError, Subresource, UploadKey, WalkedTo},
    metrics::Metrics,
    object::Version,
    s3,
};

/// Rows that a turn looks at.
pub const ROWS: usize = 512;
/// Steps of a turn that are under way at once: they share commits.
const AT_ONCE: usize = 32;
/// Pause between two turns of a round.
const TURN_PAUSE: Duration = Duration::from_millis(20);
/// Stripes of an upload in parts that one step releases.
const STRIPES_RELEASED: usize = 256;

/// How often and how fast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LifecycleOptions {
    /// How long a day is.
    pub day: Day,
    /// Pause between two rounds through all buckets.
    pub pause: Duration,
}

impl Default for LifecycleOptions {
    fn default() -> Self {
        Self { day: Day(DAY_MS), pause: Duration::from_secs(600) }
    }
}

/// Where in a bucket the walker is.
#[derive(Clone, Debug)]
enum Place {
    /// Behind this version; so many noncurrent versions of its key came before.
    Versions(Option<WalkedTo>, usize),
    /// Behind this upload.
    Uploads(Option<UploadKey>),
}

/// A bucket that is walked through.
struct Walked {
    name: String,
    rules: Rules,
    /// The row that the rules are of.
    row: Vec<u8>,
}

/// Carries out lifecycle rules.
pub struct Lifecycle {
    meta: Meta,
    metrics: Metrics,
    day: Day,
    /// The bucket that is walked through.
    bucket: Option<(Walked, Place)>,
    /// Behind which bucket the next one with rules is looked for.
    behind: Option<String>,
    /// Buckets with rules that were found and not walked through yet.
    waiting: Vec<(String, Vec<u8>)>,
    /// Whether the buckets have been looked through to the end.
    last: bool,
}

impl Lifecycle {
    /// At the beginning of a round.
    pub fn new(meta: Meta, metrics: Metrics, day: Day) -> Self {
        Self { meta, metrics, day, bucket: None, behind: None, waiting: Vec::new(), last: false }
    }

    /// Does one step at a time. Whether there is more to do in this round.
    pub async fn turn(&mut self, now_ms: u64) -> Result<bool, MetaError> {
        match self.bucket.take() {
            Some((bucket, place)) => {
                match self.walk(&bucket, place, now_ms).await {
                    Ok(next) => self.bucket = next.map(|place| (bucket, place)),
                    // It was deleted meanwhile.
                    Err(MetaError::NoSuchBucket) => {}
                    // Of the bucket itself: there are others.
                    Err(error) => drop(self.meta.readable(Err::<(), _>(error), &bucket.name)?),
                }
                Ok(true)
            }
            None => self.next_bucket().await,
        }
    }

    async fn next_bucket(&mut self) -> Result<bool, MetaError> {
        if let Some((bucket, row)) = self.waiting.pop() {
            match s3::rules_of(&row) {
                Ok(rules) => {
                    self.bucket = Some((Walked { name: bucket, rules, row }, Place::Versions(None, 0)));
                }
                Err(error) => {
                    tracing::error!(bucket, %error, "lifecycle rules do not parse and are left out")
                }
            }
            return Ok(true);
        }
        if self.last {
            (self.last, self.behind) = (false, None);
            return Ok(false);
        }
        let kind = Subresource::Lifecycle;
        let (found, behind) = self.meta.subresources_of_kind(self.behind.take(), kind, ROWS).await?;
        (self.waiting, self.last, self.behind) = (found, behind.is_none(), behind);
        Ok(true)
    }

    /// One page of a bucket; where to go on. Rules that were changed meanwhile wait for the next round.
    async fn walk(&self, bucket: &Walked, place: Place, now_ms: u64) -> Result<Option<Place>, MetaError> {
        if !self.meta.has_rules(bucket.name.clone(), bucket.row.clone()).await? {
            return Ok(None);
        }
        match place {
            Place::Versions(after, before) => self.walk_versions(bucket, after, before, now_ms).await,
            Place::Uploads(after) => self.walk_uploads(bucket, after, now_ms).await,
        }
    }

    async fn walk_versions(
        &self,
        bucket: &Walked,
        after: Option<WalkedTo>,
        before: usize,
        now_ms: u64,
    ) -> Result<Option<Place>, MetaError> {
        let carried = after.as_ref().map(|to| to.key.clone());
        let (lines, next) = self.meta.walk_versions(bucket.name.clone(), after, ROWS).await?;
        let mut behind = before;
        let mut at = 0;
        let mut work = Vec::new();
        while let Some((key, _)) = lines.get(at) {
            let count = lines[at..].iter().take_while(|(other, _)| other == key).count();
            let versions: Vec<&Version> =
                lines[at..at + count].iter().filter_map(|(_, version)| version.as_ref()).collect();
            // A key whose versions fill more than a page is decided piece by piece.
            let continued = at == 0 && carried.as_deref() == Some(key.as_str());
            at += count;
            let newer = if continued { before } else { 0 };
            let all = !continued && (at < lines.len() || next.is_none());
            let seen: Vec<Seen> = versions.iter().map(|version| self.seen(version, now_ms)).collect();
            behind = newer + seen.iter().filter(|seen| seen.superseded_ms.is_some()).count();
            if versions.len() < count {
                continue;
            }
            let due = bucket.rules.due(key, &seen, (newer, all), now_ms, self.day);
            for (version, due) in versions.into_iter().zip(due) {
                if let Some(due) = due {
                    work.push((key, version, due));
                }
            }
        }
        let work = stream::iter(work.into_iter().map(Ok));
        let steps = work.try_for_each_concurrent(AT_ONCE, |(key, version, due)| {
            self.carry_out(bucket, key, version, due, now_ms)
        });
        steps.await?;
        Ok(match next {
            Some(next) => Some(Place::Versions(Some(next), behind)),
            None => bucket.rules.aborts().then_some(Place::Uploads(None)),
        })
    }

    fn seen(&self, version: &Version, now_ms: u64) -> Seen {
        let object = version.object();
        Seen {
            object: object.map(|info| (info.size, info.properties.tags.clone())),
            modified_ms: version.modified_ms(),
            superseded_ms: version.superseded_ms,
            locked: object.is_some_and(|info| info.properties.is_locked(false, now_ms)),
        }
    }

    async fn carry_out(
        &self,
        bucket: &Walked,
        key: &str,
        version: &Version,
        due: Due,
        now_ms: u64,
    ) -> Result<(), MetaError> {
        let expiring = Expiring {
            bucket: bucket.name.clone(),
            key: key.to_owned(),
            version: version.clone(),
            rules: bucket.row.clone(),
        };
        let done = match due {
            Due::Expire => self.meta.expire_current(expiring, now_ms).await,
            Due::Remove if version.is_latest() => self.meta.expire_marker(expiring, now_ms).await,
            Due::Remove => self.meta.expire_noncurrent(expiring, now_ms).await,
        };
        if self.meta.readable(done, format!("{}/{key}", bucket.name))? == Some(true) {
            self.metrics.versions_expired.inc();
        }
        Ok(())
    }

    async fn walk_uploads(
        &self,
        bucket: &Walked,
        after: Option<UploadKey>,
        now_ms: u64,
    ) -> Result<Option<Place>, MetaError> {
        let (uploads, next) = self.meta.walk_uploads(bucket.name.clone(), after, ROWS).await?;
        for (upload, info) in &uploads {
            let Some(info) = info else { continue };
            if bucket.rules.abort_due(&upload.key, info.created_ms, now_ms, self.day) {
                let given_up = self.give_up(upload, now_ms).await;
                self.meta.readable(given_up, upload)?;
            }
        }
        Ok(next.map(|next| Place::Uploads(Some(next))))
    }

    async fn give_up(&self, upload: &UploadKey, now_ms: u64) -> Result<(), MetaError> {
        while !self.meta.give_up_upload(upload.clone(), STRIPES_RELEASED, now_ms).await? {}
        self.metrics.uploads_expired.inc();
        Ok(())
    }
}

/// Goes round until the shutdown.
pub async fn run(meta: Meta, metrics: Metrics, options: LifecycleOptions, shutdown: Shutdown) {
    let rounds = async {
        let mut walker = Lifecycle::new(meta.clone(), metrics.clone(), options.day);
        loop {
            let pause = match walker.turn(now_ms()).await {
                Ok(true) => TURN_PAUSE,
                Ok(false) => options.pause,
                Err(error) => {
                    tracing::warn!(%error, "lifecycle rules could not be carried out and are tried again");
                    options.pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        () = shutdown.wait() => {}
    }
}
