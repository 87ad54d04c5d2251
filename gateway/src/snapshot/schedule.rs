//! When snapshots are made: at the start, then whenever the interval has passed and something changed, and when asked for.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_daemon::{Health, Shutdown, now_ms};
use tokio::time::Instant;

use super::take::{SnapshotError, Snapshotter, Taken};
use crate::meta::SnapshotRow;

/// Pause between looks at the clock and for a request.
const TICK: Duration = Duration::from_secs(1);
/// Longest pause after an attempt that failed.
const RETRY: Duration = Duration::from_secs(60);
/// The file that asks a running gateway for a snapshot; it goes when the attempt is over.
pub const REQUEST: &str = "snapshot.request";
/// What a request says that may replace a snapshot of other metadata.
pub const REPLACE: &str = "replace";
/// What /health says where there are none.
pub const OFF: &str = "off, for want of [snapshot] account_file: whoever loses this disk loses every object";
/// What it says before the first one.
const NONE: &str = "none is final yet: whoever loses this disk loses every object";

/// Makes snapshots of a running gateway.
pub struct Schedule {
    /// Makes them.
    pub snapshotter: Arc<Snapshotter>,
    /// Between two of them.
    pub interval: Duration,
    /// See [`REQUEST`].
    pub request: PathBuf,
    /// Where it is told.
    pub health: Health,
}

impl Schedule {
    /// Works until the shutdown.
    pub async fn run(&self, stop: Shutdown) {
        let known = self.snapshotter.grid.meta.snapshots().await;
        let newest = Mutex::new(known.ok().and_then(|known| known.last));
        tokio::select! {
            () = self.work(&newest) => {}
            () = self.tell(&newest) => {}
            () = stop.wait() => {}
        }
    }

    async fn work(&self, newest: &Mutex<Option<SnapshotRow>>) {
        let mut next = Instant::now();
        loop {
            let is_asked = self.request.exists();
            // Before the first map nothing can be stored.
            let can = self.snapshotter.grid.maps.current().is_some();
            if can && (is_asked || Instant::now() >= next) {
                let replace = is_asked && fs::read_to_string(&self.request).is_ok_and(|text| text == REPLACE);
                let pause = match self.attempt(replace).await {
                    Ok(row) => {
                        *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(row);
                        self.interval
                    }
                    Err(()) => self.interval.min(RETRY),
                };
                next = Instant::now() + pause;
                if is_asked && let Err(error) = fs::remove_file(&self.request) {
                    tracing::warn!(path = %self.request.display(), %error, "a request for a snapshot stays");
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    async fn attempt(&self, replace: bool) -> Result<SnapshotRow, ()> {
        let metrics = &self.snapshotter.grid.metrics;
        match self.snapshotter.take(replace).await {
            Ok(Taken::Unchanged(row)) => {
                self.health.ok("snapshot");
                Ok(row)
            }
            Ok(Taken::New { row, stored, reused }) => {
                metrics.snapshot_nodes_stored.inc_by(stored);
                metrics.snapshot_nodes_reused.inc_by(reused);
                if let Ok((_, bytes)) = self.snapshotter.grid.meta.snapshot_size().await {
                    metrics.snapshot_bytes.set(bytes as i64);
                }
                self.health.ok("snapshot");
                let sequence = row.anchored.sequence;
                tracing::info!(sequence, stored, reused, rows = row.summary.rows, "a snapshot is final");
                Ok(row)
            }
            Err(error) => {
                metrics.snapshot_failures.inc();
                match error {
                    SnapshotError::Elsewhere { .. } => tracing::error!(%error, "no snapshot is made"),
                    _ => tracing::warn!(%error, "a snapshot was not made and is tried again"),
                }
                self.health.failing("snapshot", error.to_string());
                Err(())
            }
        }
    }

    /// Says how old the newest one is, also while the next is on its way.
    async fn tell(&self, newest: &Mutex<Option<SnapshotRow>>) {
        loop {
            let made = |row: &SnapshotRow| (row.anchored.sequence, row.made_ms);
            let made = newest.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(made);
            match made {
                None => self.health.detail("snapshot", NONE),
                Some((sequence, made_ms)) => {
                    let age = now_ms().saturating_sub(made_ms) / 1_000;
                    self.snapshotter.grid.metrics.snapshot_age_seconds.set(age as i64);
                    self.health.detail("snapshot", sequence);
                    self.health.detail("snapshot_age_seconds", age);
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }
}
