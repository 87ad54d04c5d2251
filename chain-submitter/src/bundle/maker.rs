//! Makes the bundles of epochs that are over, oldest first.
//!
//! # Invariants
//! - What is bound follows from the chain at one finalised block, from copies of what it had before, and from the exhibits at
//!   hand: who makes it again gets the same parts.
//! - A bundle lacks no bucket: where one was pruned before it was copied, there is none.
//! - Memory is bounded by two parts and some 100 bytes per attestation.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use arion_bundle::{Binder, Block, Bound, Span, ended_spans};
use arion_chain::{BlockRef, ChainError, ChainView};
use arion_daemon::Health;
use arion_types::{AttestationCommitment, AttestationRecord, Epoch, GenesisHash};
use async_trait::async_trait;

use super::{
    archive::{Archive, ArchiveError},
    commit::Committing,
    copies::Keeping,
    shelf::{Shelf, ShelfError, name_of, read_back},
};
use crate::{
    flow::Settlement,
    metrics::Metrics,
    queue::{Queue, QueueError, attestation_id},
};

/// Pause between looks, and the longest one after faults.
const POLL: Duration = Duration::from_secs(3);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Buckets copied between two looks at anything else.
const COPIES_MAX: usize = 64;
/// Buckets after the end of an epoch for which attestations that wait here are waited for.
const PATIENCE_BUCKETS: u32 = 10;
/// Attestations bound together: with their exhibits at most as long as a part.
const BOUND_TOGETHER: usize = 60;

/// Why no bundle is made now.
#[derive(Debug, thiserror::Error)]
pub enum MakeFault {
    /// The chain cannot be read.
    #[error("the chain cannot be read: {0}")]
    Chain(#[from] ChainError),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The store did not take it, or does not give it back.
    #[error("a bundle cannot be stored: {0}")]
    Shelf(#[from] ShelfError),
    /// The process ends.
    #[error("stopping")]
    Stopping,
}

/// The chain as far as bundles need it.
#[async_trait]
pub trait EpochChain: Send + Sync {
    /// Kept epochs with their first blocks, oldest first.
    async fn starts(&self, at: &BlockRef) -> Result<Vec<(Epoch, u32)>, ChainError>;
    /// What is committed to for an epoch at the finalised head.
    async fn committed(&self, epoch: Epoch) -> Result<Option<AttestationCommitment>, ChainError>;
    /// Attestations of a bucket as of a finalised block.
    async fn bucket(&self, bucket: u32, at: &BlockRef) -> Result<Vec<AttestationRecord>, ChainError>;
}

/// Makes bundles.
pub struct Maker {
    /// Hash of block 0.
    pub genesis: GenesisHash,
    /// Where commitments go.
    pub queue: Arc<Queue>,
    /// What bundles are made of.
    pub archive: Arc<Archive>,
    /// What the chain has.
    pub chain: Arc<dyn EpochChain>,
    /// Where bundles are stored.
    pub shelf: Arc<dyn Shelf>,
    /// How far the chain is.
    pub view: ChainView,
    /// How long the chain keeps attestations.
    pub keeping: Keeping,
    /// Epochs for which nothing more is to be done.
    pub over: BTreeSet<Epoch>,
    /// What /health says.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

/// How far an epoch is.
enum Progress {
    /// Nothing more is to be done.
    Over,
    /// Later.
    Waiting,
}

impl Maker {
    /// Works for ever.
    pub async fn run(mut self) {
        let mut pause = POLL;
        loop {
            match self.step().await {
                Ok(()) => {
                    pause = POLL;
                    self.health.ok("bundles");
                }
                Err(fault) => {
                    pause = (pause * 2).min(BACKOFF_MAX);
                    self.health.failing("bundles", fault.to_string());
                    tracing::warn!(%fault, "no bundle is made for now");
                }
            }
            self.report();
            tokio::time::sleep(pause).await;
        }
    }

    /// Does what is due at the newest finalised block.
    pub async fn step(&mut self) -> Result<(), MakeFault> {
        let head = self.view.snapshot().block;
        let starts = self.chain.starts(&head).await?;
        self.over.retain(|epoch| starts.iter().any(|(kept, _)| kept == epoch));
        self.copy(&starts, &head).await?;
        for span in ended_spans(&starts) {
            if self.over.contains(&span.epoch) {
                continue;
            }
            match self.epoch(span, &head).await? {
                Progress::Waiting => break,
                Progress::Over => {
                    self.over.insert(span.epoch);
                    self.archive.forget_before(span.end_block, self.keeping.bucket_blocks)?;
                }
            }
        }
        Ok(())
    }

    /// Copies buckets of epochs that are not over for which it is time.
    async fn copy(&self, starts: &[(Epoch, u32)], head: &BlockRef) -> Result<(), MakeFault> {
        let Some((_, first)) = starts.iter().find(|(epoch, _)| !self.over.contains(epoch)) else {
            return Ok(());
        };
        let first = self.keeping.bucket_of(*first).max(self.keeping.oldest(head.number));
        let mut copied = 0;
        for bucket in first..self.keeping.bucket_of(head.number) {
            if copied == COPIES_MAX {
                break;
            }
            if self.keeping.is_due(bucket, self.archive.copied_at(bucket)?, head.number) {
                let records = self.chain.bucket(bucket, head).await?;
                self.archive.copy(bucket, head.number, &records)?;
                copied += 1;
            }
        }
        Ok(())
    }

    async fn epoch(&self, span: Span, head: &BlockRef) -> Result<Progress, MakeFault> {
        if self.queue.commitments()?.contains_key(&span.epoch) {
            return Ok(Progress::Waiting);
        }
        let blocks = self.keeping.bucket_blocks;
        let buckets = span.buckets(blocks);
        if buckets.is_empty() || self.chain.committed(span.epoch).await?.is_some() {
            return Ok(Progress::Over);
        }
        if head.number < span.closes_at(blocks) {
            return Ok(Progress::Waiting);
        }
        let patience = span.end_block.saturating_add(blocks.saturating_mul(PATIENCE_BUCKETS));
        let waiting = self.queue.buckets()?;
        if head.number < patience && waiting.iter().any(|(bucket, _)| buckets.contains(bucket)) {
            return Ok(Progress::Waiting);
        }
        self.make(span, head).await
    }

    /// Binds, stores and reads back the bundle of an epoch, and writes down that it is to be committed to.
    async fn make(&self, span: Span, read_at: &BlockRef) -> Result<Progress, MakeFault> {
        if let Some(bucket) = self.gather(span, read_at).await? {
            self.metrics.epochs_missed.inc();
            tracing::error!(
                epoch = span.epoch,
                bucket,
                "no bundle of this epoch is made here: the chain pruned a bucket that was not copied before"
            );
            return Ok(Progress::Over);
        }
        let read_at = Block { number: read_at.number, hash: read_at.hash };
        let mut binder = Binder::new(self.genesis, span, read_at);
        for bucket in span.buckets(self.keeping.bucket_blocks) {
            binder = self.bind_bucket(binder, span, bucket).await?;
        }
        let Bound { last_part, index } = binder.finish();
        if index.attestations == 0 {
            return Ok(Progress::Over);
        }
        self.store(last_part).await?;
        let (commitment, bytes) = index.commitment();
        self.shelf.put(&name_of(&commitment.content_hash), bytes).await?;
        read_back(&*self.shelf, &commitment.content_hash).await?;
        for part in &index.parts {
            read_back(&*self.shelf, &part.hash).await?;
        }
        let committing = Some((span.epoch, Some(Committing { commitment, until: None })));
        self.queue.settle(&Settlement { committing, ..Settlement::default() })?;
        self.metrics.bundles.inc();
        tracing::info!(
            epoch = span.epoch,
            bundle = name_of(&commitment.content_hash),
            attestations = index.attestations,
            exhibits = index.exhibits,
            parts = index.parts.len(),
            "the bundle of an epoch is stored"
        );
        Ok(Progress::Waiting)
    }

    /// Copies all buckets of the epoch that the chain has; one that it no longer has and that was not copied.
    async fn gather(&self, span: Span, read_at: &BlockRef) -> Result<Option<u32>, MakeFault> {
        let oldest = self.keeping.oldest(read_at.number);
        for bucket in span.buckets(self.keeping.bucket_blocks) {
            if bucket >= oldest {
                let records = self.chain.bucket(bucket, read_at).await?;
                self.archive.copy(bucket, read_at.number, &records)?;
            } else if self.archive.copied_at(bucket)?.is_none() {
                return Ok(Some(bucket));
            }
        }
        Ok(None)
    }

    async fn bind_bucket(&self, mut binder: Binder, span: Span, bucket: u32) -> Result<Binder, MakeFault> {
        let mut records = self.archive.copied(bucket)?.unwrap_or_default();
        records.retain(|record| span.holds(record.block_number));
        while !records.is_empty() {
            let behind = records.split_off(records.len().min(BOUND_TOGETHER));
            let (archive, genesis) = (self.archive.clone(), self.genesis);
            let bind = move || {
                let parts = bind(&archive, &genesis, &mut binder, &records)?;
                Ok::<_, ArchiveError>((binder, parts))
            };
            let bound = tokio::task::spawn_blocking(bind).await.map_err(|_| MakeFault::Stopping)?;
            let parts;
            (binder, parts) = bound?;
            for part in parts {
                self.store(Some(part)).await?;
            }
            records = behind;
        }
        Ok(binder)
    }

    async fn store(&self, part: Option<Vec<u8>>) -> Result<(), MakeFault> {
        let Some(part) = part else { return Ok(()) };
        let hash: [u8; 32] = blake3::hash(&part).into();
        Ok(self.shelf.put(&name_of(&hash), part).await?)
    }

    fn report(&self) {
        if let Ok(fill) = self.archive.fill() {
            self.metrics.exhibit_bytes.set(i64::try_from(fill.bytes).unwrap_or(i64::MAX));
            self.health.detail("exhibit_bytes", fill.bytes);
            self.health.detail("exhibits_dropped", fill.dropped);
        }
        self.health.detail("bundles_stored", self.metrics.bundles.get());
        self.health.detail("epochs_missed", self.metrics.epochs_missed.get());
    }
}

/// Adds attestations with what is kept for them; parts that became full.
fn bind(
    archive: &Archive,
    genesis: &GenesisHash,
    binder: &mut Binder,
    records: &[AttestationRecord],
) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut parts = Vec::new();
    for record in records {
        let exhibit = archive.exhibit(record.block_number, &attestation_id(record, genesis))?;
        parts.extend(binder.add(record, &exhibit));
    }
    Ok(parts)
}

#[cfg(test)]
#[path = "maker_tests.rs"]
mod tests;
