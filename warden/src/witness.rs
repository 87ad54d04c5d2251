//! Reads from the finalised chain which wardens are at work, and what they found.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_chain::{ChainClient, ChainError, ChainView};
use arion_types::AttestationRecord;
use async_trait::async_trait;

use crate::docket::Docket;

/// Pause between looks at whether the chain has moved.
const TICK: Duration = Duration::from_secs(1);
/// Attestations are read again after so many blocks.
const BLOCKS: u32 = 4;

/// Where attestations are read.
#[async_trait]
pub trait Attestations: Send + Sync {
    /// Those of a bucket, at the finalised head.
    async fn of_bucket(&self, bucket: u32) -> Result<Vec<AttestationRecord>, ChainError>;
}

#[async_trait]
impl Attestations for ChainClient {
    async fn of_bucket(&self, bucket: u32) -> Result<Vec<AttestationRecord>, ChainError> {
        self.attestations(bucket).await
    }
}

/// Keeps the docket informed.
pub struct Witness {
    /// Where attestations are read.
    pub attestations: Arc<dyn Attestations>,
    /// The finalised chain.
    pub view: ChainView,
    /// Who is told.
    pub docket: Arc<Mutex<Docket>>,
    /// Blocks of a bucket.
    pub bucket_blocks: u32,
    /// Blocks without an attestation after which a warden's shards are taken over.
    pub silence: u32,
}

impl Witness {
    /// Reads for ever.
    pub async fn run(self) {
        let mut read: Option<u32> = None;
        loop {
            let head = self.view.snapshot().block.number;
            if read.is_none_or(|at| head >= at.saturating_add(BLOCKS)) {
                match self.look(read).await {
                    Ok(head) => read = Some(head),
                    Err(error) => tracing::warn!(%error, "the other wardens' attestations cannot be read"),
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Reads the buckets that may have changed since block `since`, at first all within the silence. Returns the block
    /// up to which it read.
    pub async fn look(&self, since: Option<u32>) -> Result<u32, ChainError> {
        let snapshot = self.view.snapshot();
        let head = snapshot.block.number;
        let bucket_blocks = self.bucket_blocks.max(1);
        // What was said about a block comes to the chain later: the bucket before the last look still grows.
        let from = since.map_or(head.saturating_sub(self.silence), |at| at.saturating_sub(bucket_blocks));
        let mut records = Vec::new();
        for bucket in from / bucket_blocks..=head / bucket_blocks {
            records.extend(self.attestations.of_bucket(bucket).await?);
        }
        let mut docket = self.docket.lock().unwrap_or_else(PoisonError::into_inner);
        docket.chain(&snapshot);
        let registered: &BTreeSet<_> = &snapshot.registry.wardens;
        docket.witnessed(registered, &records, self.silence);
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{challenge::Patience, docket::Pace, duty::Duty, sampler::Sampler, samples::record};
    use arion_chain::{BlockRef, Registry, Snapshot};
    use arion_types::NodeId;

    const ME: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);

    /// A chain on which the other warden has attested about block 400.
    #[derive(Default)]
    struct Fake {
        asked: Mutex<Vec<u32>>,
        is_down: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl Attestations for Fake {
        async fn of_bucket(&self, bucket: u32) -> Result<Vec<AttestationRecord>, ChainError> {
            self.asked.lock().unwrap().push(bucket);
            if self.is_down.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(ChainError::OtherChain);
            }
            let record = record(OTHER, 400);
            Ok(if bucket == 4 { vec![record] } else { Vec::new() })
        }
    }

    fn snapshot(number: u32) -> Snapshot {
        let mut registry = Registry::default();
        registry.wardens.extend([ME, OTHER]);
        let block = BlockRef { number, hash: [0; 32] };
        Snapshot { block, registry: Arc::new(registry), ..Snapshot::default() }
    }

    #[tokio::test]
    async fn buckets_are_read_as_far_back_as_they_matter() {
        let (view, source) = ChainView::manual([0; 32], snapshot(430));
        let second = Duration::from_secs(1);
        let pace = Pace { pause: second, round_min: second, round_max: second, parallel: 1 };
        let patience = Patience { deadline: second, retries: 0, pause: second };
        let docket = Docket::new(ME, Sampler::new(1, Duty::alone(ME)), pace, patience);
        let docket = Arc::new(Mutex::new(docket));
        let fake = Arc::new(Fake::default());
        let witness = Witness {
            attestations: fake.clone(),
            view,
            docket: docket.clone(),
            bucket_blocks: 100,
            silence: 150,
        };
        let present = || docket.lock().unwrap().sampler().duty().present().clone();
        assert_eq!(witness.look(None).await.unwrap(), 430);
        assert_eq!(*fake.asked.lock().unwrap(), [2, 3, 4]);
        assert_eq!(present(), [ME, OTHER].into());
        fake.asked.lock().unwrap().clear();
        source.set(snapshot(605));
        assert_eq!(witness.look(Some(430)).await.unwrap(), 605);
        assert_eq!(*fake.asked.lock().unwrap(), [3, 4, 5, 6]);
        // Known since 430, silent since: 605 - 150 is later.
        assert_eq!(present(), [ME].into());
        // What cannot be read changes nothing.
        fake.is_down.store(true, std::sync::atomic::Ordering::Relaxed);
        source.set(snapshot(606));
        assert!(witness.look(Some(605)).await.is_err());
        assert_eq!(present(), [ME].into());
    }
}
