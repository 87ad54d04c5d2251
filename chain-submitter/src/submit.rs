//! Carries out what the flow says: reads the chain, writes the queue, sends batches and commitments, one transaction at a time.

mod conflict;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arion_chain::{Account, BlockRef, Call, ChainClient, ChainError, ChainView, TxError, Wait};
use arion_daemon::Health;
use arion_types::{AttestationCommitment, AttestationRecord, Epoch};
use async_trait::async_trait;

use crate::{
    bundle::{
        commit::{Committer, Committing, Decision, Ending, SeenEpoch},
        maker::EpochChain,
    },
    conflicts::{Conflict, ConflictError, Conflicts},
    flow::{Flow, Next, Outcome, Seen, Settlement},
    metrics::Metrics,
    queue::{Queue, QueueError},
};

/// Attestations of one bucket looked at together.
const WAITING_MAX: usize = 4_096;
/// What became of old attestations is forgotten this often.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Pause after a fault; how long the chain is left alone says the flow.
const FAULT_PAUSE: Duration = Duration::from_millis(500);

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum SubmitFault {
    /// The chain cannot be read.
    #[error("the chain cannot be read: {0}")]
    Chain(#[from] ChainError),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// What shows that a warden contradicted itself cannot be kept.
    #[error(transparent)]
    Conflict(#[from] ConflictError),
    /// A batch, or a commitment, is not on chain.
    #[error("{0}")]
    Batch(String),
    /// More may not be spent for now.
    #[error("{0}; attestations wait until the oldest transactions are older than that")]
    Limit(&'static str),
}

/// The chain as far as the submitter needs it.
#[async_trait]
pub trait AttestationChain: Send + Sync {
    /// Attestations of a bucket at the finalised head.
    async fn stored(&self, bucket: u32) -> Result<Vec<AttestationRecord>, ChainError>;
    /// Submits a batch and waits until its fate is known.
    async fn submit(&self, bucket: u32, batch: &[AttestationRecord]) -> Outcome;
    /// What is committed to for an epoch at the finalised head, and whether its map is kept.
    async fn epoch(&self, epoch: Epoch) -> Result<(Option<AttestationCommitment>, bool), ChainError>;
    /// Submits a commitment and waits until its fate is known.
    async fn commit(&self, epoch: Epoch, commitment: &AttestationCommitment) -> Outcome;
    /// Reports that a warden contradicted itself, and waits until the fate of that is known.
    async fn report(&self, conflict: &Conflict) -> Outcome;
}

/// The real chain.
#[derive(Debug)]
pub struct LiveChain {
    /// Connection.
    pub client: ChainClient,
    /// Who pays the fees: a validator, or an account admitted as submitter.
    pub account: Account,
}

impl LiveChain {
    /// What the account has, if the node says.
    async fn balance(&self) -> Option<u128> {
        self.client.free_balance(&self.account.id()).await.ok()
    }

    async fn send(&self, call: &Call) -> Outcome {
        let before = self.balance().await;
        let outcome = self.client.submit(&self.account, call, Wait::Finalized).await;
        let after = self.balance().await;
        // An account with as much as before got something meanwhile.
        let fee =
            before.zip(after).and_then(|(before, after)| before.checked_sub(after)).filter(|fee| *fee > 0);
        match outcome {
            Ok(_) => Outcome::Finalized { fee },
            Err(TxError::Dispatch(failure)) => Outcome::Refused { name: failure.name, fee },
            Err(error @ (TxError::Refused(_) | TxError::Expired | TxError::Build(_) | TxError::Chain(_))) => {
                Outcome::NotTaken(error.to_string())
            }
            Err(error @ TxError::Unknown) => Outcome::Unknown(error.to_string()),
        }
    }
}

#[async_trait]
impl AttestationChain for LiveChain {
    async fn stored(&self, bucket: u32) -> Result<Vec<AttestationRecord>, ChainError> {
        self.client.attestations(bucket).await
    }

    async fn submit(&self, bucket: u32, batch: &[AttestationRecord]) -> Outcome {
        self.send(&Call::submit_attestations(bucket, batch)).await
    }

    async fn epoch(&self, epoch: Epoch) -> Result<(Option<AttestationCommitment>, bool), ChainError> {
        let starts = self.client.epoch_starts(&self.client.finalized().await?).await?;
        let committed = self.committed(epoch).await?;
        Ok((committed, starts.iter().any(|(kept, _)| *kept == epoch)))
    }

    async fn commit(&self, epoch: Epoch, commitment: &AttestationCommitment) -> Outcome {
        self.send(&Call::submit_attestation_commitment(epoch, commitment)).await
    }

    async fn report(&self, conflict: &Conflict) -> Outcome {
        self.send(&Call::report_conflicting_attestations(&conflict.first, &conflict.second)).await
    }
}

#[async_trait]
impl EpochChain for LiveChain {
    async fn starts(&self, at: &BlockRef) -> Result<Vec<(Epoch, u32)>, ChainError> {
        self.client.epoch_starts(at).await
    }

    async fn committed(&self, epoch: Epoch) -> Result<Option<AttestationCommitment>, ChainError> {
        Ok(self.client.committed_epoch(epoch).await?.map(|committed| committed.commitment))
    }

    async fn bucket(&self, bucket: u32, at: &BlockRef) -> Result<Vec<AttestationRecord>, ChainError> {
        self.client.attestations_at(bucket, at).await
    }
}

/// Carries attestations to the chain.
pub struct Submitter {
    /// Attestations that wait.
    pub queue: Arc<Queue>,
    /// Where they go.
    pub chain: Arc<dyn AttestationChain>,
    /// Who is a warden, and how far the chain is.
    pub view: ChainView,
    /// What goes when.
    pub flow: Mutex<Flow>,
    /// What is committed to when.
    pub committer: Mutex<Committer>,
    /// Wardens that contradicted themselves.
    pub conflicts: Conflicts,
    /// Blocks of a bucket.
    pub bucket_blocks: u32,
    /// What /health says.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

impl Submitter {
    /// Works for ever.
    pub async fn run(self) {
        let (started_at, begun) = (Duration::from_millis(arion_daemon::now_ms()), Instant::now());
        let mut forgotten_at = Instant::now();
        loop {
            let until = self.attempt(started_at + begun.elapsed()).await;
            tokio::time::sleep(until.saturating_sub(started_at + begun.elapsed())).await;
            if forgotten_at.elapsed() >= FORGET_EVERY {
                forgotten_at = Instant::now();
                let bucket = self.view.snapshot().block.number / self.bucket_blocks.max(1);
                if let Err(error) = self.queue.forget_before(bucket) {
                    tracing::error!(%error, "old entries are not forgotten");
                }
            }
        }
    }

    /// Does what is due at `now`, and says what went wrong. Returns when to look again.
    async fn attempt(&self, now: Duration) -> Duration {
        match self.step(now).await {
            Ok(until) => until,
            Err(fault) => {
                self.metrics.failures.inc();
                self.health.failing("submission", fault.to_string());
                tracing::warn!(%fault, "attestations are not submitted");
                now + FAULT_PAUSE
            }
        }
    }

    /// Does what is due at `now`. Returns until when there is nothing more.
    async fn step(&self, now: Duration) -> Result<Duration, SubmitFault> {
        self.report();
        if let Some(until) = self.report_conflict(now).await? {
            return Ok(until);
        }
        if let Some(until) = self.commit_what_waits(now).await? {
            return Ok(until);
        }
        let buckets = self.queue.buckets()?;
        if buckets.is_empty() {
            self.health.ok("submission");
        }
        let bucket = match self.flow(|flow| flow.next(now, &buckets)) {
            Next::Look(bucket) => bucket,
            Next::Rest(until) => return Ok(until),
        };
        let settlement = match self.look(now, bucket).await {
            Ok(settlement) => settlement,
            Err(fault) => {
                self.flow(|flow| flow.failed(now));
                return Err(fault);
            }
        };
        self.settle(now, &settlement)?;
        if settlement.departing.is_some()
            && let Some((bucket, records)) = self.flow(|flow| flow.sending())
        {
            return self.send(now, bucket, &records).await;
        }
        match self.flow(|flow| flow.limit_reached(now)) {
            Some(limit) => Err(SubmitFault::Limit(limit)),
            None => Ok(now),
        }
    }

    /// Looks at the oldest epoch that is to be committed to, if it is time. Until when something was done.
    async fn commit_what_waits(&self, now: Duration) -> Result<Option<Duration>, SubmitFault> {
        let waiting = self.queue.commitments()?;
        if waiting.is_empty() {
            self.health.ok("commitment");
        }
        let Some((epoch, committing)) = self.committer(|committer, _| committer.next(now, &waiting)) else {
            return Ok(None);
        };
        let done = self.commit_epoch(now, epoch, committing).await;
        if done.is_err() {
            self.committer(|committer, flow| committer.failed(now, flow));
        }
        done
    }

    async fn commit_epoch(
        &self,
        now: Duration,
        epoch: Epoch,
        committing: Committing,
    ) -> Result<Option<Duration>, SubmitFault> {
        // The head first: what is read of the epoch is of that block or later.
        let head = self.view.snapshot().block.number;
        let (committed, is_kept) = self.chain.epoch(epoch).await?;
        let seen = SeenEpoch { head, committed, is_kept };
        match self.committer(|committer, flow| committer.looked(now, epoch, committing, seen, flow)) {
            Decision::Wait(settlement) => {
                self.settle(now, &settlement)?;
                match self.flow(|flow| flow.limit_reached(now)) {
                    Some(limit) if committing.until.is_none() => {
                        self.fault(format!("the commitment of epoch {epoch} waits: {limit}"))
                    }
                    _ => Ok(None),
                }
            }
            Decision::Over(settlement, ending) => {
                self.settle(now, &settlement)?;
                match ending {
                    Ending::Committed => {
                        self.metrics.epochs_committed.inc();
                        tracing::info!(epoch, "the chain has the commitment of an epoch");
                    }
                    Ending::Other => {
                        tracing::info!(epoch, "another submitter has committed to another bundle")
                    }
                    Ending::Gone => {
                        tracing::warn!(epoch, "the chain keeps the epoch no longer; no commitment")
                    }
                }
                Ok(Some(now))
            }
            Decision::Send(settlement) => {
                self.settle(now, &settlement)?;
                let sent = Instant::now();
                let outcome = self.chain.commit(epoch, &committing.commitment).await;
                let now = now + sent.elapsed();
                let settlement = self.committer(|committer, flow| committer.submitted(now, &outcome, flow));
                self.settle(now, &settlement)?;
                match outcome {
                    Outcome::Finalized { .. } => {
                        self.metrics.transactions.inc();
                        Ok(Some(now))
                    }
                    Outcome::Refused { name, .. } => {
                        self.fault(format!("the chain refused the commitment of epoch {epoch}: {name}"))
                    }
                    Outcome::NotTaken(reason) | Outcome::Unknown(reason) => {
                        self.fault(format!("the commitment of epoch {epoch}: {reason}"))
                    }
                }
            }
        }
    }

    /// Told, and tried again later; attestations go on.
    fn fault(&self, what: String) -> Result<Option<Duration>, SubmitFault> {
        self.metrics.failures.inc();
        self.health.failing("commitment", what.clone());
        tracing::warn!(what, "an epoch is not committed to for now");
        Ok(None)
    }

    async fn look(&self, now: Duration, bucket: u32) -> Result<Settlement, SubmitFault> {
        // The head first: what is read of the bucket is of that block or later.
        let snapshot = self.view.snapshot();
        let waiting = self.queue.of_bucket(bucket, WAITING_MAX)?;
        let on_chain = self.chain.stored(bucket).await?;
        let seen = Seen {
            bucket,
            waiting,
            head: snapshot.block.number,
            on_chain: &on_chain,
            wardens: &snapshot.registry.wardens,
        };
        Ok(self.flow(|flow| flow.looked(now, seen)))
    }

    async fn send(
        &self,
        now: Duration,
        bucket: u32,
        records: &[AttestationRecord],
    ) -> Result<Duration, SubmitFault> {
        let sent = Instant::now();
        let outcome = self.chain.submit(bucket, records).await;
        let now = now + sent.elapsed();
        let settlement = self.flow(|flow| flow.submitted(now, &outcome));
        self.settle(now, &settlement)?;
        match outcome {
            Outcome::Finalized { .. } => {
                self.metrics.transactions.inc();
                self.health.ok("submission");
                tracing::info!(bucket, attestations = records.len(), "a batch is finalised");
                Ok(now)
            }
            Outcome::Refused { name, .. } => {
                Err(SubmitFault::Batch(format!("the chain refused the batch: {name}")))
            }
            Outcome::NotTaken(reason) | Outcome::Unknown(reason) => Err(SubmitFault::Batch(reason)),
        }
    }

    fn settle(&self, now: Duration, settlement: &Settlement) -> Result<(), SubmitFault> {
        if settlement.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.conflicts.keep(&settlement.conflicts) {
            self.flow(|flow| flow.failed(now));
            return Err(error.into());
        }
        self.metrics.conflicts.inc_by(settlement.conflicts.len() as u64);
        match self.queue.settle(settlement) {
            Ok(finalized) => self.metrics.finalized.inc_by(u64::from(finalized)),
            Err(error) => {
                self.flow(|flow| flow.failed(now));
                return Err(error.into());
            }
        };
        self.metrics.rejected.inc_by(settlement.rejected.len() as u64);
        for (queued, reason) in &settlement.rejected {
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

    fn report(&self) {
        if let Ok(length) = self.queue.len() {
            self.metrics.queued.set(i64::try_from(length).unwrap_or(i64::MAX));
            self.health.detail("attestations_queued", length);
        }
        self.health.detail("attestations_finalized", self.metrics.finalized.get());
        self.health.detail("attestations_rejected", self.metrics.rejected.get());
        self.health.detail("conflicts_kept", self.conflicts.len());
        arion_daemon::chain::report(&self.view, &self.health);
    }

    fn committer<R>(&self, with: impl FnOnce(&mut Committer, &mut Flow) -> R) -> R {
        let mut committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        self.flow(|flow| with(&mut committer, flow))
    }

    fn flow<R>(&self, with: impl FnOnce(&mut Flow) -> R) -> R {
        with(&mut self.flow.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
