//! Rounds of questions to the validator services, and what is deleted behind them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arion_chain::{ChainError, ChainView};
use arion_daemon::Health;
use arion_net::{PeerAddr, Transport};
use arion_protocol::{ListedShard, limits::UNNAMED_SHARDS_MAX};
use arion_types::{NodeId, ShardHash};
use tokio::time::{Instant, sleep};

use super::{
    Orphans,
    ask::{Facts, ask},
    suspects::SUSPECTS_MAX,
};
use crate::{chain_facts::Anchors, metrics::Metrics, store::Volumes};

/// Least time between two rounds at any retention.
const PERIOD_MAX: Duration = Duration::from_secs(6 * 3_600);
/// Rounds in a retention, at least.
const ROUNDS_MIN: u32 = 4;
/// The first round comes so soon after the start.
const FIRST_MAX: Duration = Duration::from_secs(60);
/// Between two pages of what is here.
const PAGE_PAUSE: Duration = Duration::from_millis(20);
/// The chain counts as read when that was no longer ago than this.
const CHAIN_AGE_MAX: Duration = Duration::from_secs(60);
/// Between two deletions.
const DELETION_PAUSE: Duration = Duration::from_millis(50);
/// Deletions of a round: so many, or one of so many shards that are here, whichever is more.
const DELETIONS_MAX: usize = 1_024;
const DELETIONS_SHARE: u64 = 100;
/// Where more than so many, and more than one of so many of the shards that are here, would be nobody's, nothing is deleted.
const SUSPICIOUS_MIN: usize = 1_024;
const SUSPICIOUS_SHARE: u64 = 4;

/// What an operator says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CollectorOptions {
    /// Whether anything is deleted; what nobody wants is found and told all the same.
    pub deletes: bool,
    /// For how long nobody has to want a shard.
    pub retention: Duration,
}

impl CollectorOptions {
    /// Time between two rounds.
    pub fn period(&self) -> Duration {
        PERIOD_MAX.min(self.retention / ROUNDS_MIN)
    }
}

/// Why a round says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    /// The chain was not reached, or is not read.
    #[error("the chain cannot be read: {0}")]
    Chain(String),
    /// It cannot be asked for what is anchored.
    #[error("the chain does not say what ledgers have anchored: {0}")]
    Anchors(#[from] ChainError),
    /// Nobody could ever want anything.
    #[error("no gateway is registered")]
    NoGateway,
    /// `validators` has too few of those who are registered.
    #[error(
        "`validators` names {known} of the {registered} registered validator services; {needed} have to be asked"
    )]
    TooFew {
        /// Configured and registered.
        known: usize,
        /// Registered.
        registered: usize,
        /// Needed.
        needed: usize,
    },
    /// Too few answers count.
    #[error("{answers} of {needed} validator services say what is wanted; the last that does not: {last}")]
    Silent {
        /// Answers that count.
        answers: usize,
        /// Needed.
        needed: usize,
        /// Why the last one does not.
        last: String,
    },
}

/// Finds what nobody wants, and deletes it in the end.
pub struct Collector {
    /// What is known.
    pub orphans: Arc<Orphans>,
    /// This miner.
    pub me: NodeId,
    /// Its shards.
    pub store: Arc<Volumes>,
    /// The finalised chain.
    pub view: ChainView,
    /// What it has of ledgers.
    pub anchors: Arc<dyn Anchors>,
    /// Carries the questions.
    pub transport: Arc<dyn Transport>,
    /// The validator services that the operator trusts to be asked.
    pub services: Vec<PeerAddr>,
    /// What the operator says.
    pub options: CollectorOptions,
    /// Counters.
    pub metrics: Metrics,
    /// What /health says.
    pub health: Health,
    /// Who is asked first: another one every round.
    pub turn: AtomicUsize,
}

/// Services of so many that have to say so.
pub(super) fn quorum(registered: usize) -> usize {
    (registered * 2).div_ceil(3)
}

impl Collector {
    /// Asks and deletes for ever.
    pub async fn run(self) {
        let period = self.options.period();
        let mut counted: Option<Instant> = None;
        let mut last_error = String::new();
        sleep(period.min(FIRST_MAX)).await;
        loop {
            let began = Instant::now();
            // A gap in which nobody answered does not count as time in which nobody wanted a shard.
            let passed = counted.map_or(Duration::ZERO, |at| began - at).min(period * 2);
            match self.step(passed).await {
                Ok(()) => {
                    counted = Some(began);
                    last_error.clear();
                }
                Err(error) => {
                    self.metrics.orphan_round("failed");
                    let text = error.to_string();
                    self.health.detail("orphan_round", text.clone());
                    if text != last_error {
                        tracing::warn!(%error, "it cannot be said which shards nobody wants; none is deleted for it");
                        last_error = text;
                    }
                }
            }
            sleep(period.saturating_sub(began.elapsed())).await;
        }
    }

    /// A round, and what is deleted behind it; `passed` is the time that counts since the one before.
    pub(super) async fn step(&self, passed: Duration) -> Result<(), RoundError> {
        let told = self.round().await?;
        self.orphans.round(&told.keys().copied().collect(), passed);
        self.tell(&told);
        if self.options.deletes {
            self.delete(&told).await;
        }
        Ok(())
    }

    /// The shards that no ledger names, by the word of enough services, with their sizes.
    async fn round(&self) -> Result<BTreeMap<ShardHash, u32>, RoundError> {
        let facts = self.facts().await?;
        let (services, needed) = self.services()?;
        let mut told = BTreeMap::new();
        let mut silent = BTreeSet::new();
        let mut last = String::new();
        let mut after = None;
        loop {
            let page = self.store.list(after, UNNAMED_SHARDS_MAX);
            let is_last = page.len() < UNNAMED_SHARDS_MAX;
            after = page.last().map(|listed| listed.shard);
            let mut left: Vec<ListedShard> = page;
            let mut answers = 0;
            for service in &services {
                if left.is_empty() {
                    break;
                }
                if silent.contains(&service.node_id) {
                    continue;
                }
                let shards: Vec<ShardHash> = left.iter().map(|listed| listed.shard).collect();
                match ask(&*self.transport, service, &shards, &facts).await {
                    Ok(word) => {
                        answers += 1;
                        let mut at = 0..;
                        left.retain(|_| at.next().is_some_and(|at| word.shards.has(at)));
                    }
                    Err(doubt) => {
                        tracing::debug!(service = %service.node_id, %doubt, "what a service says of wanted shards does not count");
                        last = doubt.to_string();
                        silent.insert(service.node_id);
                    }
                }
            }
            if !left.is_empty() && answers < needed {
                return Err(RoundError::Silent { answers, needed, last });
            }
            told.extend(left.iter().map(|listed| (listed.shard, listed.stat.placement.size)));
            if is_last || told.len() >= SUSPECTS_MAX {
                return Ok(told);
            }
            sleep(PAGE_PAUSE).await;
        }
    }

    async fn facts(&self) -> Result<Facts, RoundError> {
        if let Some(error) = self.view.error().filter(|_| self.view.age() > CHAIN_AGE_MAX) {
            return Err(RoundError::Chain(error));
        }
        let snapshot = self.view.snapshot();
        if snapshot.registry.gateways.is_empty() {
            return Err(RoundError::NoGateway);
        }
        let mut gateways = BTreeMap::new();
        for gateway in &snapshot.registry.gateways {
            gateways.insert(*gateway, self.anchors.lines_of(gateway).await?);
        }
        let (genesis, me) = (self.view.genesis(), self.me);
        Ok(Facts { genesis, me, epoch: snapshot.epoch(), block: snapshot.block.number, gateways })
    }

    /// Who is asked, and how many have to answer.
    fn services(&self) -> Result<(Vec<&PeerAddr>, usize), RoundError> {
        let registry = self.view.snapshot().registry.clone();
        let registered = registry.validators.len();
        let mut seen = BTreeSet::new();
        let mut known: Vec<&PeerAddr> = self
            .services
            .iter()
            .filter(|service| registry.validators.contains(&service.node_id) && seen.insert(service.node_id))
            .collect();
        let needed = quorum(registered).max(1);
        if known.len() < needed {
            return Err(RoundError::TooFew { known: known.len(), registered, needed });
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % known.len();
        known.rotate_left(turn);
        Ok((known, needed))
    }

    fn tell(&self, told: &BTreeMap<ShardHash, u32>) {
        let bytes: u64 = told.values().map(|size| u64::from(*size)).sum();
        self.metrics.orphan_round("ok");
        self.metrics.orphans(told.len() as u64, bytes);
        self.health.detail("orphan_round", "ok");
        self.health.detail("orphan_shards", told.len());
        self.health.detail("orphan_bytes", bytes);
        tracing::debug!(shards = told.len(), bytes, "asked which shards no ledger names");
    }

    /// Deletes those whose time is over.
    async fn delete(&self, told: &BTreeMap<ShardHash, u32>) {
        let here = self.store.usage().shards;
        if told.len() > SUSPICIOUS_MIN && (told.len() as u64).saturating_mul(SUSPICIOUS_SHARE) > here {
            tracing::warn!(
                shards = told.len(),
                here,
                "so much would be nobody's that it is rather a mistake: nothing of it is deleted; see docs/operate/miner.md"
            );
            return;
        }
        let retention = self.options.retention;
        let due = self.orphans.suspects().older(retention);
        let most = DELETIONS_MAX.max(usize::try_from(here / DELETIONS_SHARE).unwrap_or(usize::MAX));
        let (mut shards, mut bytes) = (0_u64, 0_u64);
        for shard in due.into_iter().take(most) {
            // Nobody stores it from here on until it is gone; who did so meanwhile has had it forgotten.
            let alone = self.orphans.gate.write().await;
            if !self.orphans.suspects().take(&shard, retention) {
                continue;
            }
            let Some(stat) = self.store.stat(&shard) else { continue };
            match self.store.delete(shard).await {
                Ok(_) => {
                    let size = u64::from(stat.placement.size);
                    (shards, bytes) = (shards + 1, bytes + size);
                    self.metrics.orphan_deleted(size);
                    tracing::info!(%shard, stripe = %stat.placement.stripe, size, stat.stored_at, "deleted a shard that no ledger names");
                }
                Err(error) => {
                    tracing::warn!(%shard, %error, "a shard that no ledger names cannot be deleted");
                    break;
                }
            }
            drop(alone);
            sleep(DELETION_PAUSE).await;
        }
        if shards > 0 {
            tracing::info!(
                shards,
                bytes,
                "deleted what no ledger names; it can be restored for as long as the trash is kept"
            );
        }
    }
}
