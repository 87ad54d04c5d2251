//! Sharing stripes: what small uploads bring in the same moment goes out as one stripe.
//!
//! A stripe costs a round trip to thirty miners and two commits of metadata, however little is in it. So the ciphertext of a
//! small upload waits a moment for others (never longer than [`pack_delay`](super::GridOptions::pack_delay), and not at all
//! when no other upload is under way), and while [`packs_in_flight`](super::GridOptions::packs_in_flight) shared stripes are
//! on their way, the next one fills.
//!
//! # Invariants
//! - Every member has its own key: what shares a stripe shares no secret.
//! - A shared stripe is pinned until every member referred to it or gave it up: deleting or moving what one of them entered does
//!   not take it from those that are still to be entered.
//! - A member that goes away leaves a hole, and never stops the others.
//!
//! # Not here
//! How holes are reclaimed ([`super::compact`]).

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use arion_daemon::now_ms;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{Grid, write::WriteError};
use crate::manifest::StripeRecord;

/// Decides which uploads share a stripe.
pub(super) struct Packer {
    open: Mutex<Option<Arc<Pack>>>,
    slots: Arc<Semaphore>,
    /// Uploads under way, small or not.
    uploads: AtomicUsize,
}

impl Packer {
    pub(super) fn new(in_flight: usize) -> Self {
        Self {
            open: Mutex::default(),
            slots: Arc::new(Semaphore::new(in_flight.max(1))),
            uploads: AtomicUsize::new(0),
        }
    }

    pub(super) fn upload_began(&self) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn upload_ended(&self) {
        self.uploads.fetch_sub(1, Ordering::Relaxed);
    }
}

type Answer = Result<Arc<Shared>, WriteError>;

/// A stripe that is being filled.
#[derive(Default)]
struct Pack {
    filling: Mutex<Option<Filling>>,
    /// Nobody else is expected, or nothing more fits.
    ready: Notify,
}

#[derive(Default)]
struct Filling {
    sealed: Vec<u8>,
    members: Vec<oneshot::Sender<Answer>>,
}

/// A stored stripe and those who may refer to it. It is pinned as long as this lives.
struct Shared {
    grid: Arc<Grid>,
    record: StripeRecord,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (grid, id) = (self.grid.clone(), self.record.id());
        runtime.spawn(async move {
            if let Err(error) = grid.meta.unpin_stripes(vec![id], now_ms()).await {
                tracing::warn!(%error, "a shared stripe could not be let go; the next start does it");
            }
        });
    }
}

/// Where the ciphertext of a member is.
pub(super) struct Place {
    shared: Arc<Shared>,
    offset: u32,
}

impl Place {
    pub(super) fn record(&self) -> &StripeRecord {
        &self.shared.record
    }

    pub(super) fn offset(&self) -> u32 {
        self.offset
    }
}

impl Grid {
    /// Stores ciphertext in a stripe that it may share with others.
    pub(super) async fn pack(self: &Arc<Self>, sealed: Vec<u8>) -> Result<Place, WriteError> {
        let (offset, answer) = self.join_pack(sealed)?;
        let shared = answer.await.unwrap_or(Err(WriteError::Internal))?;
        Ok(Place { shared, offset })
    }

    fn join_pack(self: &Arc<Self>, sealed: Vec<u8>) -> Result<(u32, oneshot::Receiver<Answer>), WriteError> {
        let (sender, answer) = oneshot::channel();
        let mut open = self.packer.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pack) = open.as_ref() {
            let mut filling = pack.filling.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(filling) = filling.as_mut()
                && filling.sealed.len() + sealed.len() <= self.options.pack_stripe_bytes
            {
                let offset = u32::try_from(filling.sealed.len()).map_err(|_| WriteError::Internal)?;
                filling.sealed.extend_from_slice(&sealed);
                filling.members.push(sender);
                self.wake_if_ready(pack, filling);
                return Ok((offset, answer));
            }
            // Nothing more fits, or it left already: the next one begins.
            pack.ready.notify_one();
        }
        let pack = Arc::new(Pack::default());
        {
            let mut filling = pack.filling.lock().unwrap_or_else(PoisonError::into_inner);
            let filling = filling.insert(Filling { sealed, members: vec![sender] });
            self.wake_if_ready(&pack, filling);
        }
        *open = Some(pack.clone());
        drop(open);
        tokio::spawn(self.clone().send_pack(pack));
        Ok((0, answer))
    }

    /// Nobody is waited for when everybody is here.
    fn wake_if_ready(&self, pack: &Pack, filling: &Filling) {
        if filling.members.len() >= self.packer.uploads.load(Ordering::Relaxed) {
            pack.ready.notify_one();
        }
    }

    async fn send_pack(self: Arc<Self>, pack: Arc<Pack>) {
        tokio::select! {
            () = pack.ready.notified() => {}
            () = tokio::time::sleep(self.options.pack_delay) => {}
        }
        // While others are on their way, more may join.
        let Ok(slot) = self.packer.slots.clone().acquire_owned().await else { return };
        let filling = {
            let mut open = self.packer.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.as_ref().is_some_and(|other| Arc::ptr_eq(other, &pack)) {
                *open = None;
            }
            pack.filling.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let Some(Filling { sealed, members }) = filling else { return };
        self.metrics.pack_members.inc_by(members.len() as u64);
        self.metrics.packs_stored.inc();
        let stored = self.clone().store_pinned(sealed).await;
        drop(slot);
        match stored {
            Ok(record) => {
                let shared = Arc::new(Shared { grid: self, record });
                for member in members {
                    // A member that went away drops its share here.
                    let _ = member.send(Ok(shared.clone()));
                }
            }
            Err(error) => {
                for member in members {
                    let _ = member.send(Err(error.for_another()));
                }
            }
        }
    }

    async fn store_pinned(self: Arc<Self>, sealed: Vec<u8>) -> Result<StripeRecord, WriteError> {
        let record = self.clone().store_stripe(sealed, None).await?;
        self.meta.pin_stripe(record.id()).await?;
        Ok(record)
    }
}
