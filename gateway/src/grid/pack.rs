//! Sharing stripes: what small uploads bring in the same moment goes out as one stripe.
//!
//! A stripe costs a round trip to thirty miners and two commits of metadata, however little is in it. So the ciphertext of a
//! small upload waits a moment for others ([`pack_delay`](super::GridOptions::pack_delay) at most, and not at all
//! when no other upload is under way). While a shared stripe is on its way, the next one fills; once it is full it leaves in
//! any case. A short stripe waits a little for those, too, whom the one before it answered: who writes one object after the other
//! comes back. Up to [`SMALL_OBJECT_BYTES`] are shared among themselves, in short stripes: whoever reads one of them fetches a short shard.
//!
//! # Invariants
//! - Every member has its own key: what shares a stripe shares no secret.
//! - A shared stripe is pinned until every member referred to it or gave it up: deleting or moving what one of them entered does
//!   not take it from those that are still to be entered.
//! - A member that goes away leaves a hole, and never stops the others.
//!
//! # Not here
//! How holes are reclaimed ([`super::compact`]).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arion_daemon::work::same_host;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    time::Instant,
};

use super::{
    Grid,
    give_back::{Owed, Underway},
    write::WriteError,
};
use crate::manifest::StripeRecord;

/// Ciphertext of at most this many bytes shares short stripes.
pub(super) const SMALL_OBJECT_BYTES: usize = 128 << 10;
/// Ciphertext in a short stripe.
const SMALL_STRIPE_BYTES: usize = 1 << 20;
/// A stripe that is not full waits for the one on its way at most this long: that may be held up by miners that it does not need.
const SLOT_PATIENCE: Duration = Duration::from_millis(250);
/// A short stripe whose turn comes waits at most this long for those whom the one before it answered.
const RETURN_PATIENCE: Duration = Duration::from_millis(20);

/// Decides which uploads share a stripe.
pub(super) struct Packer {
    small: Class,
    large: Class,
    /// Uploads under way, small or not.
    uploads: AtomicUsize,
}

/// Uploads that share with each other.
struct Class {
    stripe_bytes: usize,
    open: Mutex<Option<Arc<Pack>>>,
    /// For a stripe that is not full: it carries what came while the one before was on its way.
    slot: Semaphore,
    /// Members that have no answer yet.
    waiting: AtomicUsize,
    /// The most of them at once since the last stripe left.
    peak: AtomicUsize,
    /// How long at most a stripe waits for those whom the one before it answered.
    patience: Duration,
    /// Until when they may come back.
    returning: Mutex<Option<Instant>>,
}

impl Class {
    fn new(stripe_bytes: usize, patience: Duration) -> Self {
        Self {
            stripe_bytes,
            patience,
            open: Mutex::default(),
            slot: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            returning: Mutex::default(),
        }
    }

    fn joined(&self) {
        let waiting = 1 + self.waiting.fetch_add(1, Ordering::Relaxed);
        self.peak.fetch_max(waiting, Ordering::Relaxed);
    }

    fn left(&self) {
        self.peak.store(self.waiting.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Who writes one object after the other comes back soon after an answer. Half of what a stripe takes is little to wait for
    /// that: what comes along need not take part in another.
    fn answered(&self, members: usize, took: Duration) {
        self.waiting.fetch_sub(members, Ordering::Relaxed);
        *self.returning() = Some(Instant::now() + self.patience.min(took / 2));
    }

    fn return_patience(&self) -> Duration {
        self.returning().map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    fn returning(&self) -> MutexGuard<'_, Option<Instant>> {
        self.returning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<Pack>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Packer {
    pub(super) fn new(stripe_bytes: usize) -> Self {
        Self {
            small: Class::new(SMALL_STRIPE_BYTES.min(stripe_bytes), RETURN_PATIENCE),
            // Their bytes cost more than their stripes.
            large: Class::new(stripe_bytes, Duration::ZERO),
            uploads: AtomicUsize::new(0),
        }
    }

    /// Who shares with ciphertext of so many bytes.
    fn class(&self, bytes: usize) -> &Class {
        if bytes <= SMALL_OBJECT_BYTES { &self.small } else { &self.large }
    }

    /// How long a stripe may become in which what is left of one of so many bytes is written anew.
    pub(super) fn stripe_bytes(&self, bytes: usize) -> usize {
        if bytes <= self.small.stripe_bytes { self.small.stripe_bytes } else { self.large.stripe_bytes }
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
    /// Another member is here.
    joined: Notify,
    /// Nothing more fits.
    full: Notify,
}

impl Pack {
    fn filling(&self) -> MutexGuard<'_, Option<Filling>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has enough members, or for so long.
    async fn gather(&self, patience: Duration, is_enough: impl Fn(usize) -> bool) {
        let members = || self.filling().as_ref().map_or(0, |filling| filling.members.len());
        let gathered = async {
            while !is_enough(members()) {
                self.joined.notified().await;
            }
        };
        let _ = tokio::time::timeout(patience, gathered).await;
    }
}

#[derive(Default)]
struct Filling {
    sealed: Vec<u8>,
    members: Vec<oneshot::Sender<Answer>>,
}

/// A stored stripe and those who may refer to it. It is pinned as long as this lives.
struct Shared {
    record: StripeRecord,
    _pinned: Underway,
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
        let bytes = sealed.len();
        let class = self.packer.class(bytes);
        let mut open = class.open();
        if let Some(pack) = open.as_ref() {
            let mut filling = pack.filling();
            if let Some(filling) = filling.as_mut()
                && filling.sealed.len() + bytes <= class.stripe_bytes
            {
                let offset = u32::try_from(filling.sealed.len()).map_err(|_| WriteError::Internal)?;
                // Once, not step by step.
                filling.sealed.reserve_exact(class.stripe_bytes - filling.sealed.len());
                filling.sealed.extend_from_slice(&sealed);
                filling.members.push(sender);
                class.joined();
                pack.joined.notify_one();
                return Ok((offset, answer));
            }
            // Nothing more fits, or it left already: the next one begins.
            pack.full.notify_one();
        }
        let pack = Arc::new(Pack::default());
        *pack.filling() = Some(Filling { sealed, members: vec![sender] });
        class.joined();
        *open = Some(pack.clone());
        drop(open);
        tokio::spawn(same_host(self.clone().send_pack(pack, bytes)));
        Ok((0, answer))
    }

    /// Sends what a first member of so many bytes began.
    async fn send_pack(self: Arc<Self>, pack: Arc<Pack>, first: usize) {
        let class = self.packer.class(first);
        let slot = tokio::select! {
            biased;
            () = pack.full.notified() => None,
            slot = async {
                // Nobody is waited for when everybody is here.
                let uploads = &self.packer.uploads;
                pack.gather(self.options.pack_delay, |members| members >= uploads.load(Ordering::Relaxed)).await;
                // While others are on their way, more may join, and then those who were on their way.
                let slot = tokio::time::timeout(SLOT_PATIENCE, class.slot.acquire()).await.ok()?.ok()?;
                let peak = &class.peak;
                pack.gather(class.return_patience(), |members| members >= peak.load(Ordering::Relaxed)).await;
                Some(slot)
            } => slot,
        };
        let filling = {
            let mut open = class.open();
            if open.as_ref().is_some_and(|other| Arc::ptr_eq(other, &pack)) {
                *open = None;
            }
            pack.filling().take()
        };
        let Some(Filling { sealed, members }) = filling else { return };
        self.metrics.pack_members.inc_by(members.len() as u64);
        self.metrics.packs_stored.inc();
        class.left();
        let sent = Instant::now();
        let stored = self.clone().store_shared_stripe(sealed).await;
        class.answered(members.len(), sent.elapsed());
        drop(slot);
        match stored {
            Ok(record) => {
                let pinned = Underway::new(&self, Owed::Pinned(record.id()));
                let shared = Arc::new(Shared { record, _pinned: pinned });
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(pack: &Pack) {
        let (sender, _answer) = oneshot::channel();
        pack.filling().get_or_insert_default().members.push(sender);
        pack.joined.notify_one();
    }

    #[tokio::test(start_paused = true)]
    async fn members_are_waited_for_until_they_are_enough_or_for_so_long() {
        let pack = Arc::new(Pack::default());
        join(&pack);
        let (began, patience) = (tokio::time::Instant::now(), Duration::from_millis(9));
        pack.gather(patience, |members| members >= 1).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        tokio::spawn({
            let pack = pack.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(4)).await;
                join(&pack);
            }
        });
        pack.gather(patience, |members| members >= 2).await;
        assert_eq!(began.elapsed(), Duration::from_millis(4));
        pack.gather(patience, |members| members >= 3).await;
        assert!(began.elapsed() >= Duration::from_millis(13));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_back_are_counted_and_waited_for_half_a_stripe_at_most() {
        let class = Class::new(1, RETURN_PATIENCE);
        assert_eq!(class.return_patience(), Duration::ZERO);
        (0..5).for_each(|_| class.joined());
        class.left();
        class.answered(3, Duration::from_millis(30));
        assert_eq!(class.return_patience(), Duration::from_millis(15));
        tokio::time::advance(Duration::from_millis(5)).await;
        assert_eq!(class.return_patience(), Duration::from_millis(10));
        let peak = |class: &Class| class.peak.load(Ordering::Relaxed);
        assert_eq!(peak(&class), 5);
        class.joined();
        class.left();
        assert_eq!(peak(&class), 3);
        class.answered(3, Duration::from_secs(9));
        assert_eq!(class.return_patience(), RETURN_PATIENCE);
        tokio::time::advance(RETURN_PATIENCE).await;
        assert_eq!(class.return_patience(), Duration::ZERO);
    }
}
