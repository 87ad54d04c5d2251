//! From the queue to the chain.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arion_chain::{Account, Call, ChainClient, ChainView, TxError, Wait};
use arion_daemon::Health;
use arion_types::AttestationRecord;
use async_trait::async_trait;

use crate::{
    batch::{Blame, Rules, blame, screen},
    metrics::Metrics,
    queue::{Queue, QueueError, Queued},
};

const TICK: Duration = Duration::from_millis(500);
const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Attestations of one bucket looked at together.
const WAITING_MAX: usize = 4_096;
/// What became of old attestations is forgotten this often.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Why a batch is not on chain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubmitFault {
    /// The call was refused with this dispatch error.
    #[error("the chain refused the batch: {0}")]
    Refused(String),
    /// Something else; it may or may not be on chain.
    #[error("{0}")]
    Other(String),
}

/// The chain as far as the submitter needs it.
#[async_trait]
pub trait AttestationChain: Send + Sync {
    /// Attestations of a bucket at the finalised head.
    async fn stored(&self, bucket: u32) -> Result<Vec<AttestationRecord>, SubmitFault>;
    /// Submits a batch and waits until it is finalised.
    async fn submit(&self, bucket: u32, batch: &[AttestationRecord]) -> Result<(), SubmitFault>;
}

/// The real chain.
#[derive(Debug)]
pub struct LiveChain {
    /// Connection.
    pub client: ChainClient,
    /// Who pays the fees: a validator, or an account admitted as submitter.
    pub account: Account,
}

#[async_trait]
impl AttestationChain for LiveChain {
    async fn stored(&self, bucket: u32) -> Result<Vec<AttestationRecord>, SubmitFault> {
        self.client.attestations(bucket).await.map_err(|error| SubmitFault::Other(error.to_string()))
    }

    async fn submit(&self, bucket: u32, batch: &[AttestationRecord]) -> Result<(), SubmitFault> {
        let call = Call::submit_attestations(bucket, batch);
        match self.client.submit(&self.account, &call, Wait::Finalized).await {
            Ok(_) => Ok(()),
            Err(TxError::Dispatch(failure)) => Err(SubmitFault::Refused(failure.name)),
            Err(error) => Err(SubmitFault::Other(error.to_string())),
        }
    }
}

/// When a bucket's attestations go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchSize {
    /// At once when this many wait, and never more together.
    pub max: usize,
    /// At the latest when some have waited this long.
    pub age: Duration,
}

/// Carries attestations to the chain.
pub struct Submitter {
    /// Attestations that wait.
    pub queue: Arc<Queue>,
    /// Where they go.
    pub chain: Arc<dyn AttestationChain>,
    /// Who is a warden, and how far the chain is.
    pub view: ChainView,
    /// Rules of the runtime.
    pub rules: Rules,
    /// When they go.
    pub batch: BatchSize,
    /// What /health says.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

impl Submitter {
    /// Works for ever.
    pub async fn run(self) {
        let mut waiting_since: Option<Instant> = None;
        let mut backoff = BACKOFF_MIN;
        let mut forgotten_at = Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            match self.round(&mut waiting_since).await {
                Ok(()) => {
                    backoff = BACKOFF_MIN;
                    self.health.ok("submission");
                }
                Err(fault) => {
                    self.metrics.failures.inc();
                    self.health.failing("submission", fault.to_string());
                    tracing::warn!(%fault, retry_in_ms = backoff.as_millis() as u64, "attestations are not submitted");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
            if forgotten_at.elapsed() >= FORGET_EVERY {
                forgotten_at = Instant::now();
                let bucket = self.view.snapshot().block.number / self.rules.bucket_blocks.max(1);
                if let Err(error) = self.queue.forget_before(bucket) {
                    tracing::error!(%error, "old entries are not forgotten");
                }
            }
        }
    }

    /// Submits what is due.
    async fn round(&self, waiting_since: &mut Option<Instant>) -> Result<(), SubmitFault> {
        self.report();
        let buckets = self.queue.buckets()?;
        if buckets.is_empty() {
            *waiting_since = None;
            return Ok(());
        }
        let since = *waiting_since.get_or_insert_with(Instant::now);
        let is_full = buckets.iter().any(|(_, count)| *count >= self.batch.max);
        if !is_full && since.elapsed() < self.batch.age {
            return Ok(());
        }
        *waiting_since = None;
        for (bucket, _) in buckets {
            self.submit_bucket(bucket).await?;
        }
        self.report();
        Ok(())
    }

    fn report(&self) {
        if let Ok(length) = self.queue.len() {
            self.metrics.queued.set(i64::try_from(length).unwrap_or(i64::MAX));
            self.health.detail("attestations_queued", length);
        }
        self.health.detail("attestations_finalized", self.metrics.finalized.get());
        self.health.detail("attestations_rejected", self.metrics.rejected.get());
        arion_daemon::chain::report(&self.view, &self.health);
    }

    /// Submits the waiting attestations of a bucket, until none of those waiting now is left.
    pub async fn submit_bucket(&self, bucket: u32) -> Result<(), SubmitFault> {
        loop {
            let waiting = self.queue.of_bucket(bucket, WAITING_MAX)?;
            if waiting.is_empty() {
                return Ok(());
            }
            let on_chain = self.chain.stored(bucket).await?;
            let snapshot = self.view.snapshot();
            let is_warden = |node: &_| snapshot.registry.wardens.contains(node);
            let screened = screen(&self.rules, bucket, waiting, &on_chain, is_warden, self.batch.max);
            self.finalized(&screened.stored)?;
            self.rejected(&screened.rejected)?;
            if screened.good.is_empty() {
                return Ok(());
            }
            self.submit_halving(bucket, screened.good).await?;
        }
    }

    /// Submits a batch; where the chain blames one of it, halves it until the culprit stands alone.
    async fn submit_halving(&self, bucket: u32, batch: Vec<Queued>) -> Result<(), SubmitFault> {
        let mut batches = vec![batch];
        while let Some(batch) = batches.pop() {
            let records: Vec<_> = batch.iter().map(|queued| queued.record.clone()).collect();
            match self.chain.submit(bucket, &records).await {
                Ok(()) => {
                    self.metrics.transactions.inc();
                    self.confirm(bucket, &batch).await?;
                }
                Err(SubmitFault::Refused(name)) => match blame(&name) {
                    Blame::None => return Err(SubmitFault::Refused(name)),
                    Blame::Some if batch.len() > 1 => {
                        let mut first = batch;
                        let second = first.split_off(first.len() / 2);
                        batches.extend([second, first]);
                    }
                    Blame::Some | Blame::All => {
                        let rejected: Vec<_> =
                            batch.into_iter().map(|queued| (queued, name.clone())).collect();
                        self.rejected(&rejected)?;
                    }
                },
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Takes from the queue what is found in the finalised chain; the rest stays.
    async fn confirm(&self, bucket: u32, batch: &[Queued]) -> Result<(), SubmitFault> {
        let on_chain = self.chain.stored(bucket).await?;
        let is_stored = |queued: &&Queued| on_chain.contains(&queued.record);
        let found: Vec<Queued> = batch.iter().filter(is_stored).cloned().collect();
        self.finalized(&found)?;
        tracing::info!(bucket, attestations = found.len(), "attestations are finalised");
        match found.len() == batch.len() {
            true => Ok(()),
            false => Err(SubmitFault::Other("a finalised batch is not in its bucket yet".into())),
        }
    }

    fn finalized(&self, found: &[Queued]) -> Result<(), QueueError> {
        if found.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = found.iter().map(|queued| queued.id).collect();
        self.metrics.finalized.inc_by(u64::from(self.queue.finalize(&ids)?));
        Ok(())
    }

    fn rejected(&self, rejected: &[(Queued, String)]) -> Result<(), QueueError> {
        if rejected.is_empty() {
            return Ok(());
        }
        self.queue.reject(rejected)?;
        self.metrics.rejected.inc_by(rejected.len() as u64);
        for (queued, reason) in rejected {
            tracing::warn!(
                shard = %arion_types::ShardHash(queued.record.shard_hash),
                miner_uid = queued.record.miner_uid,
                block = queued.record.block_number,
                reason,
                "attestation dropped: the chain will never take it"
            );
        }
        Ok(())
    }
}

impl From<QueueError> for SubmitFault {
    fn from(error: QueueError) -> Self {
        Self::Other(error.to_string())
    }
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
