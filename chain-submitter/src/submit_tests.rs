//! The submitter against a chain with the rules of the pallet.

use super::*;
use std::{collections::BTreeMap, sync::Mutex};

use arion_chain::{Registry, Snapshot};
use arion_types::{NodeId, signing::node_id};

use crate::batch::tests::{GENESIS, record, warden};

#[derive(Default)]
struct FakeChain {
    buckets: Mutex<BTreeMap<u32, Vec<AttestationRecord>>>,
    /// Shards the chain refuses although they pass the screening, with the error.
    poisoned: Mutex<BTreeMap<u8, &'static str>>,
    /// The next submissions are carried out, but their outcome is lost.
    lost_answers: Mutex<u32>,
    calls: Mutex<Vec<usize>>,
}

#[async_trait]
impl AttestationChain for FakeChain {
    async fn stored(&self, bucket: u32) -> Result<Vec<AttestationRecord>, SubmitFault> {
        Ok(self.buckets.lock().unwrap().get(&bucket).cloned().unwrap_or_default())
    }

    async fn submit(&self, bucket: u32, batch: &[AttestationRecord]) -> Result<(), SubmitFault> {
        self.calls.lock().unwrap().push(batch.len());
        let poisoned = self.poisoned.lock().unwrap();
        if let Some(error) = batch.iter().find_map(|record| poisoned.get(&record.shard_hash[0])) {
            return Err(SubmitFault::Refused((*error).to_owned()));
        }
        let mut buckets = self.buckets.lock().unwrap();
        let stored = buckets.entry(bucket).or_default();
        for record in batch {
            assert!(!stored.contains(record), "an attestation came twice");
            stored.push(record.clone());
        }
        let mut lost = self.lost_answers.lock().unwrap();
        if *lost > 0 {
            *lost -= 1;
            return Err(SubmitFault::Other("connection lost".into()));
        }
        Ok(())
    }
}

struct Bench {
    _directory: tempfile::TempDir,
    chain: Arc<FakeChain>,
    submitter: Submitter,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(FakeChain::default());
    let submitter = submitter(directory.path(), chain.clone());
    Bench { _directory: directory, chain, submitter }
}

fn submitter(directory: &std::path::Path, chain: Arc<FakeChain>) -> Submitter {
    let mut registry = Registry::default();
    registry.wardens.insert(node_id(&warden()));
    let snapshot = Snapshot { registry: Arc::new(registry), ..Snapshot::default() };
    let (view, _) = ChainView::manual(GENESIS, snapshot);
    Submitter {
        queue: Arc::new(Queue::open(directory, GENESIS, 1_000).unwrap()),
        chain,
        view,
        rules: Rules { genesis: GENESIS, bucket_blocks: 100, bucket_max: 1_000 },
        batch: BatchSize { max: 16, age: Duration::ZERO },
        health: Health::new("test", "0"),
        metrics: Metrics::default(),
    }
}

fn shards(records: &[AttestationRecord]) -> Vec<u8> {
    let mut shards: Vec<u8> = records.iter().map(|record| record.shard_hash[0]).collect();
    shards.sort_unstable();
    shards
}

#[tokio::test]
async fn batches_go_by_bucket_and_size_and_leave_the_queue() {
    let bench = bench();
    let records: Vec<_> = (0..40).map(|n| record(n, if n < 30 { 5 } else { 105 })).collect();
    bench.submitter.queue.push(&records, 100).unwrap();
    bench.submitter.round(&mut None).await.unwrap();
    assert_eq!(*bench.chain.calls.lock().unwrap(), [16, 14, 10]);
    assert_eq!(shards(&bench.chain.stored(0).await.unwrap()), (0..30).collect::<Vec<u8>>());
    assert_eq!(shards(&bench.chain.stored(1).await.unwrap()), (30..40).collect::<Vec<u8>>());
    assert!(bench.submitter.queue.is_empty().unwrap());
    assert_eq!(bench.submitter.metrics.finalized.get(), 40);
}

#[tokio::test]
async fn a_batch_waits_for_its_age() {
    let mut bench = bench();
    bench.submitter.batch.age = Duration::from_secs(3_600);
    bench.submitter.queue.push(&[record(1, 5)], 100).unwrap();
    let mut since = None;
    bench.submitter.round(&mut since).await.unwrap();
    assert!(since.is_some() && bench.chain.calls.lock().unwrap().is_empty());
    let more: Vec<_> = (2..18).map(|n| record(n, 5)).collect();
    bench.submitter.queue.push(&more, 100).unwrap();
    bench.submitter.round(&mut since).await.unwrap();
    assert_eq!(*bench.chain.calls.lock().unwrap(), [16, 1]);
}

#[tokio::test]
async fn only_the_bad_one_of_a_batch_is_dropped() {
    let bench = bench();
    bench.chain.poisoned.lock().unwrap().insert(6, "Arion.InvalidAttestationSignature");
    let records: Vec<_> = (0..16).map(|n| record(n, 5)).collect();
    bench.submitter.queue.push(&records, 100).unwrap();
    bench.submitter.round(&mut None).await.unwrap();
    let stored = shards(&bench.chain.stored(0).await.unwrap());
    assert_eq!(stored, (0..16).filter(|n| *n != 6).collect::<Vec<u8>>());
    let rejected = bench.submitter.queue.rejected(10).unwrap();
    assert_eq!(rejected, [(record(6, 5), "Arion.InvalidAttestationSignature".to_owned())]);
    assert_eq!(bench.submitter.metrics.rejected.get(), 1);
    assert!(bench.submitter.queue.is_empty().unwrap());
}

#[tokio::test]
async fn an_old_bucket_is_dropped_as_a_whole() {
    let bench = bench();
    bench.chain.poisoned.lock().unwrap().insert(0, "Arion.AttestationBucketTooOld");
    bench.submitter.queue.push(&[record(0, 5), record(1, 5)], 100).unwrap();
    bench.submitter.round(&mut None).await.unwrap();
    assert_eq!(bench.submitter.queue.rejected(10).unwrap().len(), 2);
    assert_eq!(*bench.chain.calls.lock().unwrap(), [2]);
}

#[tokio::test]
async fn nothing_is_dropped_when_the_sender_is_to_blame() {
    let bench = bench();
    bench.chain.poisoned.lock().unwrap().insert(0, "BadOrigin");
    bench.submitter.queue.push(&[record(0, 5), record(1, 5)], 100).unwrap();
    let fault = bench.submitter.round(&mut None).await.unwrap_err();
    assert_eq!(fault, SubmitFault::Refused("BadOrigin".into()));
    assert_eq!(bench.submitter.queue.len().unwrap(), 2);
}

#[tokio::test]
async fn a_crash_between_chain_and_queue_neither_loses_nor_doubles() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(FakeChain::default());
    *chain.lost_answers.lock().unwrap() = 1;
    {
        let submitter = submitter(directory.path(), chain.clone());
        submitter.queue.push(&[record(0, 5), record(1, 5)], 100).unwrap();
        assert!(submitter.round(&mut None).await.is_err());
        assert_eq!(submitter.queue.len().unwrap(), 2);
    }
    // A new process finds them on chain and submits only the new one.
    let submitter = submitter(directory.path(), chain.clone());
    submitter.queue.push(&[record(0, 5), record(2, 5)], 100).unwrap();
    submitter.round(&mut None).await.unwrap();
    assert!(submitter.queue.is_empty().unwrap());
    assert_eq!(*chain.calls.lock().unwrap(), [2, 1]);
    assert_eq!(shards(&chain.stored(0).await.unwrap()), [0, 1, 2]);
}

#[tokio::test]
async fn an_attestation_of_a_warden_that_left_is_dropped() {
    let mut bench = bench();
    let (view, _) = ChainView::manual(GENESIS, Snapshot::default());
    bench.submitter.view = view;
    bench.submitter.queue.push(&[record(0, 5)], 100).unwrap();
    bench.submitter.round(&mut None).await.unwrap();
    let rejected = bench.submitter.queue.rejected(10).unwrap();
    assert_eq!(rejected[0].1, "Arion.UnregisteredWarden");
    assert_eq!(NodeId(rejected[0].0.warden_pubkey), node_id(&warden()));
}
