//! The background thread of a store: ends retention, gives blocks back, compacts, scrubs, under one bandwidth limit. The
//! first two go on while a file is compacted or scrubbed.
//!
//! # Not here
//! What it does is `scrub`, `compact` and `writer`; this is when and how fast.

use std::{
    cell::RefCell,
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{
    Shared, StoreOptions, WriteError,
    compact::{CompactError, Planner, rewrite},
    record::StoreKey,
    writer::{Change, Queued},
};

/// Pause between looks for work.
const LOOK: Duration = Duration::from_secs(30);
/// Trash that is deleted for good in one change.
const PURGED_MAX: usize = 256;
/// What a hole counts for under the bandwidth limit.
const HOLE_BYTES: u64 = 256 << 10;
/// Holes made between two looks at other work.
const HOLES_AT_ONCE: usize = 64;

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(arion_daemon::now_ms)
}

/// Told to end, from outside.
#[derive(Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits, at most so long; whether to end.
    fn wait(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, time, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Keeps to so many bytes per second.
struct Pace<'a> {
    stop: &'a Stop,
    bytes_per_second: u64,
    /// When what was taken so far is paid for.
    free_at: Instant,
}

impl Pace<'_> {
    /// Takes bytes and waits until they are paid for; whether to go on.
    fn take(&mut self, bytes: u64) -> bool {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        let now = Instant::now();
        self.free_at = self.free_at.max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        !self.stop.wait(self.free_at - now)
    }
}

/// Sends a change to the writer and waits for its answer.
pub(super) type Submit<'a> = dyn FnMut(Change) -> Result<(), WriteError> + 'a;

/// The work of the thread, step by step.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) key: StoreKey,
    pub(super) options: StoreOptions,
    pub(super) planner: Planner,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn spawn(self, queue: Sender<Queued>, stop: Arc<Stop>) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("store-keeper".into()).spawn(move || self.run(&queue, &stop))
    }

    fn run(mut self, queue: &Sender<Queued>, stop: &Stop) {
        // One at a time: the queue stays bounded.
        let mut submit = |change: Change| queue.send(Queued::alone(change)).map_err(|_| WriteError::Closed);
        let bytes_per_second = self.options.background_bytes_per_second;
        let mut pace = Pace { stop, bytes_per_second, free_at: Instant::now() };
        loop {
            let more = self.step(&mut submit, &mut |bytes| pace.take(bytes));
            if stop.wait(if more { Duration::ZERO } else { LOOK }) {
                return;
            }
        }
    }

    /// One piece of work; whether there may be more at once.
    pub(super) fn step(&mut self, submit: &mut Submit<'_>, pace: &mut dyn FnMut(u64) -> bool) -> bool {
        if self.shared.counters.failed.load(Ordering::SeqCst) {
            // Read-only: reading on tells what else is lost, but nothing can be written down.
            return false;
        }
        let tended = self.tend(submit, pace);
        let compacted = self.compact(submit, pace);
        let scrubbed = self.scrub(submit, pace);
        tended || compacted || scrubbed
    }

    /// What does not wait until a file is compacted or scrubbed: ends retention and gives blocks back, a bounded number
    /// at once; whether there may be more.
    fn tend(&self, submit: &mut Submit<'_>, pace: &mut dyn FnMut(u64) -> bool) -> bool {
        let purged = self.purge(submit);
        for given_back in 0..HOLES_AT_ONCE {
            if self.shared.give_back().is_none() {
                return purged || given_back > 0;
            }
            if !pace(HOLE_BYTES) {
                return false;
            }
        }
        true
    }

    fn purge(&self, submit: &mut Submit<'_>) -> bool {
        let retention = u64::try_from(self.options.trash_retention.as_millis()).unwrap_or(u64::MAX);
        let before_ms = (self.options.clock)().saturating_sub(retention);
        let due = self.shared.index().trash().first().is_some_and(|(at, _)| *at < before_ms);
        let purge = |reply| Change::Purge { before_ms, max: PURGED_MAX, reply };
        due && ask(submit, purge).is_ok_and(|purged| purged.is_ok_and(|purged| purged > 0))
    }

    fn compact(&mut self, submit: &mut Submit<'_>, pace: &mut dyn FnMut(u64) -> bool) -> bool {
        let (ratio, segment_bytes) = (self.options.compact_below_percent, self.options.segment_bytes);
        let now_ms = (self.options.clock)();
        let Some(old) = self.planner.plan(&self.shared, ratio, segment_bytes, now_ms) else { return false };
        let Ok(head) = ask(submit, |reply| Change::Snapshot { reply }) else { return false };
        let mut tend_and_pace = |bytes| {
            self.tend(submit, pace);
            pace(bytes)
        };
        let sequence = head.position.sequence;
        let rewritten = match rewrite(&self.shared, &self.key, &old, sequence, &mut tend_and_pace) {
            Ok(rewritten) => rewritten,
            Err(CompactError::Stopped) => return false,
            Err(error) => {
                tracing::warn!(%error, segment = ?old.first().map(|known| known.span.first), "compaction leaves a file alone for now");
                self.planner.failed(&old, &error, now_ms);
                if let CompactError::Unreadable(shards) = error {
                    for (shard, sequence) in shards {
                        let _ = ask(submit, |reply| Change::Judge { shard, sequence, good: false, reply });
                    }
                }
                // There may be others.
                return true;
            }
        };
        self.planner.done(&rewritten);
        let (files, bytes) = (rewritten.old.len() as u64, rewritten.bytes);
        let adopted = ask(submit, |reply| Change::Rewritten { rewritten, reply });
        let done = matches!(adopted, Ok(Ok(())));
        if done {
            let counters = &self.shared.counters;
            counters.compacted_files.fetch_add(files, Ordering::Relaxed);
            counters.compacted_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        done
    }

    fn scrub(&mut self, submit: &mut Submit<'_>, pace: &mut dyn FnMut(u64) -> bool) -> bool {
        let now_ms = (self.options.clock)();
        let period = u64::try_from(self.options.scrub_period.as_millis()).unwrap_or(u64::MAX);
        let mut report = self.shared.scrub_report();
        if self.options.scrub_period.is_zero() || !report.is_due(now_ms, period) {
            return false;
        }
        let submit = RefCell::new(submit);
        let mut judge = |shard, sequence, good| {
            let asked =
                ask(&mut **submit.borrow_mut(), |reply| Change::Judge { shard, sequence, good, reply });
            matches!(asked, Ok(Ok(_)))
        };
        let mut tend_and_pace = |bytes| {
            self.tend(&mut **submit.borrow_mut(), pace);
            pace(bytes)
        };
        let done = report.step(&self.shared, &self.key, now_ms, &mut tend_and_pace, &mut judge);
        self.shared.set_scrub_report(report);
        if let Err(error) = report.save(&self.shared.layout, &self.key) {
            tracing::warn!(%error, "how far the scrub is could not be written down");
        }
        done && report.started_at != 0
    }
}

/// Sends a change and waits for the answer; an error when the store is closed.
fn ask<T>(
    submit: &mut Submit<'_>,
    change: impl FnOnce(oneshot::Sender<T>) -> Change,
) -> Result<T, WriteError> {
    let (reply, mut answer) = oneshot::channel();
    submit(change(reply))?;
    match answer.try_recv() {
        // Carried out already, where there are no threads.
        Ok(answer) => Ok(answer),
        Err(TryRecvError::Closed) => Err(WriteError::Closed),
        Err(TryRecvError::Empty) => answer.blocking_recv().map_err(|_| WriteError::Closed),
    }
}
