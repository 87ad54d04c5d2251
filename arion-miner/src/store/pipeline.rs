//! The order of batches and syncs: while the disk makes one large batch durable the next is being written.
//!
//! # Invariants
//! - Batches become durable, visible and answered in their order; one is in flight at most.
//! - So the log ends in two batches that may not be whole, and no more.
//! - Small batches are synced at once by the writing thread: what they would gain another thread would cost.
//!
//! # Not here
//! What a batch does to log and index (`writer`, `changes`).

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, select, unbounded};

use super::{
    disk::DiskFile,
    writer::{Batch, Queued, Writer},
};

/// Bodies that share a sync: as much as keeps the disk busy while others are prepared.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Less is synced by the writing thread itself.
const IN_FLIGHT_BYTES_MIN: usize = 1 << 20;
/// Longest wait for changes that are expected.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// A batch whose sync is under way.
pub(super) struct InFlight {
    pub(super) batch: Batch,
    begun: Instant,
}

/// Who waits for the disk.
pub(super) enum Syncer {
    /// The writing thread: one batch after the other.
    Own,
    /// A thread: takes a file, answers whether it is synced.
    Thread { ask: Sender<Arc<dyn DiskFile>>, synced: Receiver<io::Result<()>> },
    /// Nobody, and chance decides in the middle of which change a sync happens: for simulations.
    #[cfg(test)]
    Chance(super::memory::Chance),
}

impl Syncer {
    /// Starts the thread, which ends when the result is dropped.
    pub(super) fn spawn() -> io::Result<Self> {
        let (ask, files) = unbounded::<Arc<dyn DiskFile>>();
        let (answer, synced) = unbounded();
        std::thread::Builder::new().name("store-syncer".into()).spawn(move || {
            for file in files {
                if answer.send(file.sync()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Thread { ask, synced })
    }
}

/// What the writing thread does next.
enum Next {
    Take(Queued),
    Commit,
    Idle,
    End,
}

impl Writer {
    /// Runs until the store is closed or dropped. Only closing writes a checkpoint.
    pub(super) fn run(mut self, queue: &Receiver<Queued>) {
        let mut batch = Batch::default();
        let mut begun = Instant::now();
        loop {
            match self.next(&batch, begun, queue) {
                Next::Take(queued) => {
                    if batch.count == 0 {
                        begun = Instant::now();
                    }
                    if !self.take(&mut batch, queued) {
                        break;
                    }
                }
                Next::Commit => {
                    self.commit(std::mem::take(&mut batch));
                    self.checkpoint_if_due();
                }
                Next::Idle => self.checkpoint_if_due(),
                Next::End => break,
            }
        }
        self.settle();
        self.join_checkpoint();
    }

    /// A batch is open as long as the one before is in flight. After that it waits, as long as it is smaller than the
    /// one before, for half of what the sync will take anyway: those who were answered together come back together,
    /// and without the wait a sync would begin for the first while all others wait for the one after.
    fn next(&mut self, batch: &Batch, begun: Instant, queue: &Receiver<Queued>) -> Next {
        loop {
            self.look();
            if batch.count >= self.options.batch_max || batch.body_bytes >= BATCH_BYTES_MAX {
                return Next::Commit;
            }
            match queue.try_recv() {
                Ok(queued) => return Next::Take(queued),
                Err(TryRecvError::Disconnected) if batch.count == 0 => return Next::End,
                Err(TryRecvError::Disconnected) => return Next::Commit,
                Err(TryRecvError::Empty) => {}
            }
            if self.in_flight.is_some() {
                if let Some(queued) = self.await_either(queue) {
                    return Next::Take(queued);
                }
                continue;
            }
            let (wait, then) = if batch.count > 0 {
                let left = (self.last_sync / 2).min(GATHER_MAX).saturating_sub(begun.elapsed());
                let expected = self.last_batch.min(self.options.batch_max);
                (if batch.count < expected { left } else { Duration::ZERO }, Next::Commit)
            } else {
                (self.options.checkpoint_interval, Next::Idle)
            };
            match queue.recv_timeout(wait) {
                Ok(queued) => return Next::Take(queued),
                Err(RecvTimeoutError::Timeout) => return then,
                // A queue that is gone is noticed above.
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    /// The next change, if it comes before the end of the sync under way.
    fn await_either(&mut self, queue: &Receiver<Queued>) -> Option<Queued> {
        let Syncer::Thread { synced, .. } = &self.syncer else { return queue.try_recv().ok() };
        let synced = select! {
            recv(synced) -> synced => synced.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())),
            recv(queue) -> queued => return queued.ok(),
        };
        self.landed(&synced);
        None
    }

    /// Makes the batch durable, then visible, then answers; a large one later. The one before comes first.
    pub(super) fn commit(&mut self, batch: Batch) {
        let settled = self.settle();
        if batch.count > 0 {
            self.last_batch = batch.count;
        }
        if !batch.appended {
            // Nothing to wait for but what it looked at.
            return self.conclude(batch, settled);
        }
        self.batch = self.batch.wrapping_add(1);
        let large = batch.body_bytes >= IN_FLIGHT_BYTES_MIN;
        let asked = self.check_alive().is_ok()
            && match &self.syncer {
                Syncer::Own => false,
                Syncer::Thread { ask, .. } => large && ask.send(self.file.clone()).is_ok(),
                #[cfg(test)]
                Syncer::Chance(_) => true,
            };
        if asked {
            self.in_flight = Some(InFlight { batch, begun: Instant::now() });
            return;
        }
        let durable = self.check_alive().is_ok() && self.sync().is_ok();
        self.conclude(batch, durable);
    }

    /// Concludes the batch in flight if the disk is done with it.
    pub(super) fn look(&mut self) {
        if self.in_flight.is_none() {
            return;
        }
        let synced = match &mut self.syncer {
            Syncer::Own => Some(Ok(())),
            Syncer::Thread { synced, .. } => match synced.try_recv() {
                Ok(synced) => Some(synced),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err(io::ErrorKind::BrokenPipe.into())),
            },
            #[cfg(test)]
            Syncer::Chance(chance) => chance.percent(40).then(|| self.file.sync()),
        };
        if let Some(synced) = synced {
            self.landed(&synced);
        }
    }

    /// Waits for the batch in flight; whether it is durable, or there was none.
    pub(super) fn settle(&mut self) -> bool {
        if self.in_flight.is_none() {
            return true;
        }
        let synced = match &self.syncer {
            Syncer::Own => Ok(()),
            Syncer::Thread { synced, .. } => {
                synced.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
            }
            #[cfg(test)]
            Syncer::Chance(_) => self.file.sync(),
        };
        self.landed(&synced)
    }

    fn landed(&mut self, synced: &io::Result<()>) -> bool {
        let Some(InFlight { batch, begun }) = self.in_flight.take() else { return true };
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.last_sync = begun.elapsed();
        if let Err(error) = synced {
            self.shared.fail(error, "sync failed");
        }
        self.conclude(batch, synced.is_ok());
        synced.is_ok()
    }
}
