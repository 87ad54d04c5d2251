//! Rounds of questions to the validator services, and what is deleted behind them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arion_daemon::Health;
use arion_protocol::limits::UNNAMED_SHARDS_MAX;
use arion_types::ShardHash;
use tokio::time::{Instant, sleep};

use super::{Orphans, suspects::SUSPECTS_MAX};
use crate::{
    metrics::Metrics,
    store::Volumes,
    witnesses::{NoAnswer, Witnesses},
};

/// Least time between two rounds at any retention.
const PERIOD_MAX: Duration = Duration::from_secs(6 * 3_600);
/// Rounds in a retention, at least.
const ROUNDS_MIN: u32 = 4;
/// The first round comes so soon after the start.
const FIRST_MAX: Duration = Duration::from_secs(60);
/// Time for an answer to a page.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two pages of what is here.
const PAGE_PAUSE: Duration = Duration::from_millis(20);
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

/// Finds what nobody wants, and deletes it in the end.
pub struct Collector {
    /// What is known.
    pub orphans: Arc<Orphans>,
    /// The miner's shards.
    pub store: Arc<Volumes>,
    /// Who is asked.
    pub witnesses: Arc<Witnesses>,
    /// What the operator says.
    pub options: CollectorOptions,
    /// Counters.
    pub metrics: Metrics,
    /// What /health says.
    pub health: Health,
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
    pub(super) async fn step(&self, passed: Duration) -> Result<(), NoAnswer> {
        let told = self.round().await?;
        self.orphans.round(&told.keys().copied().collect(), passed);
        self.tell(&told);
        if self.options.deletes {
            self.delete(&told).await;
        }
        Ok(())
    }

    /// The shards that no ledger names, by the word of enough services, with their sizes.
    async fn round(&self) -> Result<BTreeMap<ShardHash, u32>, NoAnswer> {
        let mut hearing = self.witnesses.hear(PATIENCE).await?;
        let mut told = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.store.list(after, UNNAMED_SHARDS_MAX);
            let is_last = page.len() < UNNAMED_SHARDS_MAX;
            after = page.last().map(|listed| listed.shard);
            let sizes: BTreeMap<ShardHash, u32> =
                page.iter().map(|listed| (listed.shard, listed.stat.placement.size)).collect();
            let unnamed = hearing.unnamed(sizes.keys().copied().collect(), None).await?;
            told.extend(unnamed.into_iter().filter_map(|shard| Some((shard, *sizes.get(&shard)?))));
            if is_last || told.len() >= SUSPECTS_MAX {
                return Ok(told);
            }
            sleep(PAGE_PAUSE).await;
        }
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
            let alone = self.orphans.alone().await;
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
