//! The submitter against a chain with the rules of the pallet.

use super::*;
use std::collections::BTreeMap;

use arion_chain::{BlockRef, Registry, Snapshot};
use arion_types::{AttestationResult, NodeId, signing::node_id};

use crate::{
    batch::tests::{GENESIS, record, result, rules, warden},
    flow::Limits,
};

#[derive(Default)]
struct FakeChain {
    buckets: Mutex<BTreeMap<u32, Vec<AttestationRecord>>>,
    /// Shards the chain refuses although they pass the screening, with the error.
    poisoned: Mutex<BTreeMap<u8, &'static str>>,
    /// The next submissions are carried out, but their outcome is lost.
    lost_answers: Mutex<u32>,
    calls: Mutex<Vec<usize>>,
    is_down: Mutex<bool>,
    epochs: Mutex<BTreeMap<Epoch, Option<AttestationCommitment>>>,
    commits: Mutex<usize>,
    reports: Mutex<Vec<Conflict>>,
}

#[async_trait]
impl AttestationChain for FakeChain {
    async fn stored(&self, bucket: u32) -> Result<Vec<AttestationRecord>, ChainError> {
        match *self.is_down.lock().unwrap() {
            true => Err(ChainError::Behind),
            false => Ok(self.buckets.lock().unwrap().get(&bucket).cloned().unwrap_or_default()),
        }
    }

    async fn submit(&self, bucket: u32, batch: &[AttestationRecord]) -> Outcome {
        self.calls.lock().unwrap().push(batch.len());
        let poisoned = self.poisoned.lock().unwrap();
        if let Some(error) = batch.iter().find_map(|record| poisoned.get(&record.shard_hash[0])) {
            return Outcome::Refused { name: (*error).to_owned(), fee: Some(1) };
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
            return Outcome::Unknown("connection lost".into());
        }
        Outcome::Finalized { fee: Some(1) }
    }

    async fn epoch(&self, epoch: Epoch) -> Result<(Option<AttestationCommitment>, bool), ChainError> {
        match (*self.is_down.lock().unwrap(), self.epochs.lock().unwrap().get(&epoch)) {
            (true, _) => Err(ChainError::Behind),
            (false, committed) => Ok((committed.copied().flatten(), committed.is_some())),
        }
    }

    async fn commit(&self, epoch: Epoch, commitment: &AttestationCommitment) -> Outcome {
        *self.commits.lock().unwrap() += 1;
        let mut epochs = self.epochs.lock().unwrap();
        let refused = |name: &str| Outcome::Refused { name: name.to_owned(), fee: Some(1) };
        match epochs.get_mut(&epoch) {
            None => return refused("Arion.UnknownEpoch"),
            Some(Some(_)) => return refused("Arion.CommitmentAlreadyExists"),
            Some(committed) => *committed = Some(*commitment),
        }
        let mut lost = self.lost_answers.lock().unwrap();
        if *lost > 0 {
            *lost -= 1;
            return Outcome::Unknown("connection lost".into());
        }
        Outcome::Finalized { fee: Some(1) }
    }

    async fn report(&self, conflict: &Conflict) -> Outcome {
        self.reports.lock().unwrap().push(conflict.clone());
        Outcome::Finalized { fee: None }
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
    let submitter = submitter(directory.path(), chain.clone(), limits(), Duration::ZERO);
    Bench { _directory: directory, chain, submitter }
}

fn limits() -> Limits {
    Limits { batch_max: 16, batch_age: Duration::ZERO, transactions_per_hour: 1_000, fees_per_day: 1_000_000 }
}

fn submitter(directory: &std::path::Path, chain: Arc<FakeChain>, limits: Limits, now: Duration) -> Submitter {
    let mut registry = Registry::default();
    registry.wardens.insert(node_id(&warden()));
    let block = BlockRef { number: 150, hash: [0; 32] };
    let snapshot = Snapshot { block, registry: Arc::new(registry), ..Snapshot::default() };
    let (view, _) = ChainView::manual(GENESIS, snapshot);
    let queue = Arc::new(Queue::open(directory, GENESIS, 1_000).unwrap());
    let flow =
        Mutex::new(Flow::new(rules(1_000), limits, queue.flights().unwrap(), queue.costs().unwrap(), now));
    let (health, metrics) = (Health::new("test", "0"), Metrics::default());
    let (committer, conflicts) = (Default::default(), Conflicts::open(directory, true).unwrap());
    Submitter { queue, chain, view, flow, committer, conflicts, bucket_blocks: 100, health, metrics }
}

impl Submitter {
    /// Works through `hours` of its clock, or until the queue is empty. Returns how often something went wrong.
    async fn work(&self, hours: u64) -> u64 {
        let mut now = Duration::ZERO;
        let is_idle = || self.queue.is_empty().unwrap() && self.queue.commitments().unwrap().is_empty();
        while now < Duration::from_secs(hours * 3_600) && !is_idle() {
            now = self.attempt(now).await.max(now + Duration::from_millis(1));
        }
        self.metrics.failures.get()
    }

    fn said(&self) -> String {
        self.health.to_json()["checks"]["submission"].as_str().unwrap_or_default().to_owned()
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
    assert_eq!(bench.submitter.work(1).await, 0);
    assert_eq!(*bench.chain.calls.lock().unwrap(), [16, 14, 10]);
    assert_eq!(shards(&bench.chain.stored(0).await.unwrap()), (0..30).collect::<Vec<u8>>());
    assert_eq!(shards(&bench.chain.stored(1).await.unwrap()), (30..40).collect::<Vec<u8>>());
    assert_eq!(bench.submitter.metrics.finalized.get(), 40);
    assert!(bench.submitter.queue.flights().unwrap().is_empty());
}

#[tokio::test]
async fn only_the_bad_one_of_a_batch_is_dropped() {
    let bench = bench();
    bench.chain.poisoned.lock().unwrap().insert(6, "Arion.InvalidAttestationSignature");
    let records: Vec<_> = (0..16).map(|n| record(n, 5)).collect();
    bench.submitter.queue.push(&records, 100).unwrap();
    bench.submitter.work(1).await;
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
    assert_eq!(bench.submitter.work(1).await, 1);
    assert_eq!(bench.submitter.said(), "the chain refused the batch: Arion.AttestationBucketTooOld");
    assert_eq!(bench.submitter.queue.rejected(10).unwrap().len(), 2);
    assert_eq!(*bench.chain.calls.lock().unwrap(), [2]);
}

#[tokio::test]
async fn nothing_is_dropped_when_the_sender_is_to_blame() {
    let bench = bench();
    bench.chain.poisoned.lock().unwrap().insert(0, "BadOrigin");
    bench.submitter.queue.push(&[record(0, 5), record(1, 5)], 100).unwrap();
    let faults = bench.submitter.work(1).await;
    assert!((50..80).contains(&faults), "{faults} attempts in an hour");
    assert_eq!(bench.submitter.said(), "the chain refused the batch: BadOrigin");
    assert_eq!(bench.submitter.queue.len().unwrap(), 2);
    bench.chain.poisoned.lock().unwrap().clear();
    bench.submitter.work(2).await;
    assert_eq!(bench.submitter.said(), "ok");
}

#[tokio::test]
async fn a_chain_that_cannot_be_read_is_left_alone_for_a_while() {
    let bench = bench();
    *bench.chain.is_down.lock().unwrap() = true;
    bench.submitter.queue.push(&[record(0, 5)], 100).unwrap();
    let faults = bench.submitter.work(1).await;
    assert!((50..80).contains(&faults), "{faults} attempts in an hour");
    assert!(bench.chain.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_crash_between_chain_and_queue_neither_loses_nor_doubles() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(FakeChain::default());
    *chain.lost_answers.lock().unwrap() = 1;
    {
        let submitter = submitter(directory.path(), chain.clone(), limits(), Duration::ZERO);
        submitter.queue.push(&[record(0, 5), record(1, 5)], 100).unwrap();
        while chain.calls.lock().unwrap().is_empty() {
            let _ = submitter.step(Duration::ZERO).await;
        }
        assert_eq!(submitter.queue.len().unwrap(), 2);
        assert_eq!(submitter.queue.flights().unwrap()[&0].until, 150 + 80);
    }
    // A new process finds them on chain and submits only the new one.
    let submitter = submitter(directory.path(), chain.clone(), limits(), Duration::ZERO);
    submitter.queue.push(&[record(0, 5), record(2, 5)], 100).unwrap();
    assert_eq!(submitter.work(1).await, 0);
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
    bench.submitter.work(1).await;
    let rejected = bench.submitter.queue.rejected(10).unwrap();
    assert_eq!(rejected[0].1, "Arion.UnregisteredWarden");
    assert_eq!(NodeId(rejected[0].0.warden_pubkey), node_id(&warden()));
}

#[tokio::test]
async fn a_warden_that_contradicts_itself_is_reported_once_whatever_it_says_later() {
    let bench = bench();
    bench.submitter.queue.push(&[record(0, 5), record(1, 5)], 100).unwrap();
    bench.submitter.work(1).await;
    // One verdict is on chain; another is handed over, and later one more.
    let other = result(0, 5, AttestationResult::Failed);
    bench.submitter.queue.push(std::slice::from_ref(&other), 100).unwrap();
    bench.submitter.work(1).await;
    bench.submitter.queue.push(&[result(1, 5, AttestationResult::Timeout)], 100).unwrap();
    bench.submitter.work(1).await;
    for _ in 0..3 {
        bench.submitter.attempt(Duration::from_secs(3_600)).await;
    }
    assert_eq!(*bench.chain.reports.lock().unwrap(), [Conflict { first: record(0, 5), second: other }]);
    assert_eq!(shards(&bench.chain.stored(0).await.unwrap()), [0, 1]);
    assert_eq!(bench.submitter.metrics.rejected.get(), 2);
}

/// Processes that live for a second each, one after another, in the same hour.
async fn crash_loop(directory: &std::path::Path, chain: &Arc<FakeChain>, limits: Limits) -> String {
    let mut said = String::new();
    for life in 0..20 {
        let begun = Duration::from_secs(1_000_000 + life);
        let submitter = submitter(directory, chain.clone(), limits, begun);
        let mut now = begun;
        while now < begun + Duration::from_secs(1) {
            now = submitter.attempt(now).await.max(now + Duration::from_millis(1));
        }
        said = submitter.said();
    }
    said
}

#[tokio::test]
async fn a_restart_does_not_renew_the_limits() {
    for (is_lost, limits) in [
        (false, Limits { fees_per_day: 3, batch_max: 1, ..limits() }),
        (true, Limits { fees_per_day: 3, batch_max: 1, ..limits() }),
        (false, Limits { transactions_per_hour: 3, batch_max: 1, ..limits() }),
        (true, Limits { transactions_per_hour: 3, batch_max: 1, ..limits() }),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let chain = Arc::new(FakeChain::default());
        // A process that dies in the middle never hears what it paid.
        *chain.lost_answers.lock().unwrap() = if is_lost { u32::MAX } else { 0 };
        let records: Vec<_> = (0..10).map(|n| record(n, 5)).collect();
        Queue::open(directory.path(), GENESIS, 1_000).unwrap().push(&records, 100).unwrap();
        let said = crash_loop(directory.path(), &chain, limits).await;
        assert_eq!(chain.calls.lock().unwrap().len(), 3, "{limits:?}, answers lost: {is_lost}");
        assert!(said.contains("limit"), "{said}");
    }
}

fn bundle(n: u8) -> AttestationCommitment {
    AttestationCommitment { content_hash: [n; 32], attestation_root: [2; 32], warden_root: [3; 32], count: 4 }
}

fn decide(queue: &Queue, epoch: Epoch, commitment: AttestationCommitment) {
    let committing = Some((epoch, Some(Committing { commitment, until: None })));
    queue.settle(&Settlement { committing, ..Settlement::default() }).unwrap();
}

#[tokio::test]
async fn epochs_are_committed_to_between_batches_each_once() {
    let bench = bench();
    bench.chain.epochs.lock().unwrap().extend([(3, None), (4, Some(bundle(9))), (6, None)]);
    for epoch in [3, 4, 5, 6] {
        decide(&bench.submitter.queue, epoch, bundle(epoch as u8));
    }
    bench.submitter.queue.push(&[record(0, 5)], 100).unwrap();
    assert_eq!(bench.submitter.work(1).await, 0);
    let expected = [(3, Some(bundle(3))), (4, Some(bundle(9))), (6, Some(bundle(6)))];
    assert_eq!(*bench.chain.epochs.lock().unwrap(), expected.into());
    assert_eq!(
        (*bench.chain.commits.lock().unwrap(), bench.submitter.metrics.epochs_committed.get()),
        (2, 2)
    );
    assert_eq!(*bench.chain.calls.lock().unwrap(), [1]);
    assert_eq!(bench.submitter.queue.costs().unwrap().len(), 3);
}

#[tokio::test]
async fn a_commitment_whose_answer_was_lost_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(FakeChain::default());
    chain.epochs.lock().unwrap().insert(3, None);
    *chain.lost_answers.lock().unwrap() = 1;
    {
        let submitter = submitter(directory.path(), chain.clone(), limits(), Duration::ZERO);
        decide(&submitter.queue, 3, bundle(3));
        while *chain.commits.lock().unwrap() == 0 {
            let _ = submitter.step(Duration::ZERO).await;
        }
        assert_eq!(submitter.queue.commitments().unwrap()[&3].until, Some(150 + 80));
    }
    let submitter = submitter(directory.path(), chain.clone(), limits(), Duration::ZERO);
    submitter.work(1).await;
    assert!(submitter.queue.commitments().unwrap().is_empty());
    assert_eq!(*chain.commits.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_chain_that_cannot_be_read_holds_commitments_up() {
    let bench = bench();
    *bench.chain.is_down.lock().unwrap() = true;
    decide(&bench.submitter.queue, 3, bundle(3));
    let faults = bench.submitter.work(1).await;
    assert!((50..80).contains(&faults), "{faults} attempts in an hour");
    assert_eq!(*bench.chain.commits.lock().unwrap(), 0);
}
