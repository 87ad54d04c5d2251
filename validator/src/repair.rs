//! Repair: brings every shard of every live stripe to the miner that the current map names.
//!
//! Walks over what the ledgers say find the stripes (`walk`), a queue orders them (`queue`), workers make them whole
//! (`work`), and the gateway enters the new receipts in its ledger, which closes the circle. All of it follows from the ledgers,
//! the chain and the answers of miners: after a restart it is found again.
//!
//! # Invariants
//! - Needs no key of an object: shards are copied, or computed from any k others, and compared with their addresses.
//! - Takes nothing from a miner that another may need: the only deletion is that of what was just written, when its gateway says
//!   that the stripe was deleted meanwhile. Surplus copies are its gateway's to release.
//! - One stripe that cannot be repaired does not keep others waiting, nor do the stripes of one gateway those of another (`queue`), nor a
//!   ledger that is not read to its end the stripes of others (`walk`).
//! - What lines say that are not so makes no work without end: what was found out is remembered (`aside`), and a receipt that was given once
//!   is told again, not asked for again (`told`).
//!
//! # Not here
//! Which miners are in a map (`crate::proposal`); releasing copies that a map no longer names (`gateway/src/grid/surplus.rs`).

mod aside;
pub mod custody;
mod durability;
mod duty;
mod map;
mod miners;
mod orphans;
mod plan;
mod queue;
mod rate;
mod rebuild;
mod restore;
mod telling;
mod told;
mod walk;
mod work;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arion_chain::ChainView;
use arion_daemon::{Health, now_ms, work::same_host};
use arion_ledger::{Follower, Reach};
use arion_net::Transport;
use arion_protocol::NetworkDurability;
use arion_types::{NodeId, signing};
use ed25519_dalek::SigningKey;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    holdings::{Holdings, StripeRef},
    liveness::Liveness,
    metrics::Metrics,
};
use aside::Aside;
use map::CurrentMap;
use miners::Miners;
use queue::Queue;
use rate::Rate;
use told::Told;
use work::WorkError;

pub(crate) use orphans::Orphans;
pub(crate) use walk::Tally;

/// Pause between looks at the chain, at who is online and at the queue.
const TICK: Duration = Duration::from_secs(1);

/// Pause between two looks at everything that miners have.
const ORPHANS_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// How repair goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RepairOptions {
    /// Bytes of shards per second, read and written together.
    pub bytes_per_second: u64,
    /// Stripes worked on at once.
    pub workers: usize,
    /// Time between two censuses.
    pub census_interval: Duration,
    /// A stripe is left to its gateway, and to whoever may come back, for this long after it was first seen.
    pub delay: Duration,
    /// The service of the next rank waits for this much longer.
    pub takeover: Duration,
    /// Shards that no ledger names are told when they are older than this.
    pub orphan_age: Duration,
}

/// What the newest census found; clones share it.
pub type LastCensus = Arc<Mutex<Option<NetworkDurability>>>;

/// What repair works with.
pub struct Parts {
    /// The service's key.
    pub key: SigningKey,
    /// The finalised chain.
    pub view: ChainView,
    /// Carries the calls.
    pub transport: Arc<dyn Transport>,
    /// What the ledgers say.
    pub holdings: Arc<Holdings>,
    /// Who reads them.
    pub followers: Vec<Arc<Follower>>,
    /// Who is online.
    pub liveness: Arc<Mutex<Liveness>>,
    /// What /health says.
    pub health: Health,
    /// Where what a census found goes.
    pub last_census: LastCensus,
    /// Counters.
    pub metrics: Metrics,
    /// Bounds.
    pub options: RepairOptions,
}

/// Repair.
pub struct Repair {
    me: NodeId,
    view: ChainView,
    miners: Arc<Miners>,
    holdings: Arc<Holdings>,
    followers: Vec<Arc<Follower>>,
    liveness: Arc<Mutex<Liveness>>,
    health: Health,
    last_census: LastCensus,
    metrics: Metrics,
    options: RepairOptions,
    queue: Mutex<Queue>,
    wake: Notify,
    map: Mutex<Option<Arc<CurrentMap>>>,
    /// Stripes that are left alone.
    aside: Mutex<Aside>,
    /// When gateways were told of receipts that are not in their ledgers.
    told: Mutex<Told>,
}

impl Repair {
    /// Of these parts; nothing runs yet.
    pub fn new(parts: Parts) -> Arc<Self> {
        let me = signing::node_id(&parts.key);
        let miners = Miners {
            transport: parts.transport,
            genesis: parts.view.genesis(),
            key: parts.key,
            rate: Rate::new(parts.options.bytes_per_second),
            metrics: parts.metrics.clone(),
            silent: Mutex::default(),
        };
        Arc::new(Self {
            me,
            view: parts.view,
            miners: Arc::new(miners),
            holdings: parts.holdings,
            followers: parts.followers,
            liveness: parts.liveness,
            health: parts.health,
            last_census: parts.last_census,
            metrics: parts.metrics,
            options: parts.options,
            queue: Mutex::default(),
            wake: Notify::new(),
            map: Mutex::default(),
            aside: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// Walks and works for ever.
    pub async fn run(self: Arc<Self>) {
        let mut workers = JoinSet::new();
        for _ in 0..self.options.workers.max(1) {
            let repair = self.clone();
            workers.spawn(same_host(async move { repair.work_on_the_queue().await }));
        }
        self.watch().await;
    }

    /// Stripes queued.
    pub fn queued(&self) -> usize {
        self.queue().len()
    }

    /// Bytes of shards read and written since it was made.
    pub fn moved_bytes(&self) -> u64 {
        self.metrics.repair.read_bytes.get().saturating_add(self.metrics.repair.written_bytes.get())
    }

    /// Walks when there is a reason to.
    async fn watch(self: &Arc<Self>) {
        let (mut epoch, mut census_at, mut online) = (0, Instant::now(), None::<BTreeSet<NodeId>>);
        let (mut orphans_at, mut read) = (Instant::now(), BTreeSet::new());
        loop {
            let now_online = self.online();
            // At first nobody was heard yet: that is no return.
            let returned = online.replace(now_online).is_some_and(|before| {
                !before.is_empty() && online.as_ref().is_some_and(|now| !now.is_subset(&before))
            });
            let now_read = self.read_ledgers();
            if let Some(map) = self.map().filter(|_| !now_read.is_empty()) {
                let is_new_map = map.epoch != epoch;
                if is_new_map || !now_read.is_subset(&read) {
                    (epoch, read) = (map.epoch, now_read);
                    if is_new_map {
                        self.queue().forget_waits();
                    }
                    self.census(&map, false).await;
                    census_at = Instant::now();
                }
                if returned || Instant::now() >= census_at {
                    self.census(&map, true).await;
                    census_at = Instant::now() + self.options.census_interval;
                }
                if Instant::now() >= orphans_at {
                    orphans_at = Instant::now() + ORPHANS_EVERY.max(self.options.census_interval);
                    let repair = self.clone();
                    tokio::spawn(same_host(async move { repair.look_for_orphans(&map).await }));
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// A walk, and what is told of it.
    async fn census(self: &Arc<Self>, map: &CurrentMap, asks: bool) {
        match self.walk(map, asks).await {
            Ok(tally) => {
                if asks {
                    self.metrics.repair.tally(&tally);
                    self.keep(map, &tally);
                }
                let (whole, degraded) = (tally.whole(), tally.degraded());
                let Tally { unrecoverable, bad, .. } = tally;
                let queued = self.queue().len();
                self.health.detail("stripes_whole", whole);
                self.health.detail("stripes_degraded", degraded);
                self.health.detail("stripes_unrecoverable", unrecoverable + bad);
                self.health.detail("stripes_queued", queued);
                let (set_aside, told) = {
                    let mut aside = self.aside();
                    aside.forget_old(now_ms());
                    (aside.len(), aside.told())
                };
                self.metrics.repair.aside.set(set_aside as i64);
                self.health.detail("stripes_set_aside", set_aside);
                self.health.detail("set_aside", told);
                let epoch = map.epoch;
                tracing::info!(epoch, asks, whole, degraded, unrecoverable, bad, queued, "stripes looked at");
            }
            Err(error) => tracing::warn!(%error, "stripes cannot be looked at"),
        }
    }

    /// Keeps what a census found for whoever asks.
    fn keep(&self, map: &CurrentMap, tally: &Tally) {
        let silent = self.followers.iter().filter(|follower| follower.reach() != Reach::Complete).count();
        let silent = u32::try_from(silent).unwrap_or(u32::MAX);
        let told = tally.spread.tell(map.epoch, now_ms(), silent, tally.bad);
        *self.last_census.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    /// Looks for shards that no ledger names, and tells.
    async fn look_for_orphans(&self, map: &CurrentMap) {
        match self.orphans(map).await {
            Some(found) => {
                self.metrics.repair.orphans(&found);
                let Orphans { shards, bytes, silent } = found;
                self.health.detail("orphan_shards", shards);
                self.health.detail("orphan_bytes", bytes);
                tracing::info!(shards, bytes, silent, "looked for shards that no ledger names");
            }
            None => tracing::debug!("not every registered gateway's ledger is known: nothing is an orphan"),
        }
    }

    async fn work_on_the_queue(self: Arc<Self>) {
        loop {
            let next = self.queue().take(now_ms());
            let Some(stripe) = next else {
                let _ = tokio::time::timeout(TICK, self.wake.notified()).await;
                continue;
            };
            let outcome = self.work(stripe).await;
            self.finish(&stripe, outcome, now_ms());
            self.metrics.repair.queued.set(self.queue().len() as i64);
        }
    }

    /// An attempt at a stripe is over.
    fn finish(&self, stripe: &StripeRef, outcome: Result<(), WorkError>, now_ms: u64) {
        let StripeRef { id, gateway } = stripe;
        match outcome {
            Ok(()) => {
                self.queue().done(stripe);
                self.metrics.repair.stripes.inc();
            }
            Err(error @ WorkError::Waiting { .. }) => {
                tracing::debug!(stripe = %id, %gateway, %error, "a stripe has to wait");
                self.queue().failed(stripe, now_ms);
            }
            // The next census asks its miners again.
            Err(error @ WorkError::Unrecoverable { .. }) => {
                tracing::warn!(stripe = %id, %gateway, %error, "a stripe is not repaired");
                self.queue().done(stripe);
                self.metrics.repair.failures.inc();
            }
            // That it is tried again soon would change nothing.
            Err(_) if self.aside().has(stripe, now_ms) => {
                self.queue().done(stripe);
                self.metrics.repair.failures.inc();
            }
            Err(error) => {
                self.metrics.repair.failures.inc();
                tracing::warn!(stripe = %id, %gateway, %error, "a stripe is not repaired; it is tried again later");
                self.queue().failed(stripe, now_ms);
            }
        }
    }

    /// Gateways whose ledger was read to its end, or that give nothing now: half of one would make its stripes look damaged.
    fn read_ledgers(&self) -> BTreeSet<NodeId> {
        let is_read = |follower: &&Arc<Follower>| matches!(follower.reach(), Reach::Complete | Reach::Silent);
        self.followers.iter().filter(is_read).map(|follower| follower.gateway()).collect()
    }

    fn online(&self) -> BTreeSet<NodeId> {
        let (snapshot, now_ms) = (self.view.snapshot(), now_ms());
        let liveness = self.liveness.lock().unwrap_or_else(PoisonError::into_inner);
        let miners = snapshot.registry.miners.keys();
        miners.filter(|node| liveness.is_online(node, now_ms)).copied().collect()
    }

    /// The current map.
    fn map(&self) -> Option<Arc<CurrentMap>> {
        let snapshot = self.view.snapshot();
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if map.as_ref().is_none_or(|map| map.epoch != snapshot.epoch()) {
            *map = CurrentMap::of(&snapshot).map(Arc::new);
        }
        map.clone()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn aside(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod loopback_tests;
