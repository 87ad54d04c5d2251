//! The queue on disk: nothing is lost, nothing comes back.

use super::*;
use crate::batch::tests::record;

const GENESIS: GenesisHash = [7; 32];

fn open(directory: &Path) -> Queue {
    Queue::open(directory, GENESIS, 100).unwrap()
}

#[test]
fn what_was_pushed_survives_reopening_and_is_taken_once() {
    let directory = tempfile::tempdir().unwrap();
    let records = [record(1, 10), record(2, 10), record(3, 250)];
    {
        let queue = open(directory.path());
        assert_eq!(queue.push(&records, 100).unwrap(), 3);
        assert_eq!(queue.push(&records[..2], 100).unwrap(), 0);
    }
    let queue = open(directory.path());
    assert_eq!(queue.buckets().unwrap(), [(0, 2), (2, 1)]);
    let first: Vec<_> = queue.of_bucket(0, 10).unwrap().into_iter().map(|q| q.record).collect();
    assert_eq!(first, records[..2]);
    // The numbers go on behind the old ones.
    assert_eq!(queue.push(&[record(4, 10)], 100).unwrap(), 1);
    assert_eq!(queue.of_bucket(0, 10).unwrap().len(), 3);
}

#[test]
fn finalised_and_rejected_ones_never_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let queue = open(directory.path());
    queue.push(&[record(1, 10), record(2, 10)], 100).unwrap();
    let waiting = queue.of_bucket(0, 10).unwrap();
    let finalized = Settlement { finalized: vec![waiting[0].id], ..Settlement::default() };
    assert_eq!(queue.settle(&finalized).unwrap(), 1);
    assert_eq!(queue.settle(&finalized).unwrap(), 0);
    let rejected = vec![(waiting[1].clone(), "Arion.DuplicateAttestation".into())];
    queue.settle(&Settlement { rejected, ..Settlement::default() }).unwrap();
    assert!(queue.is_empty().unwrap());
    assert_eq!(queue.push(&[record(1, 10), record(2, 10)], 100).unwrap(), 0);
    let rejected = queue.rejected(10).unwrap();
    assert_eq!(rejected, [(record(2, 10), "Arion.DuplicateAttestation".into())]);
    queue.forget_before(MEMORY_BUCKETS).unwrap();
    assert_eq!(queue.rejected(10).unwrap().len(), 1);
    queue.forget_before(MEMORY_BUCKETS + 1).unwrap();
    assert!(queue.rejected(10).unwrap().is_empty());
}

#[test]
fn a_flight_is_known_after_reopening_until_it_lands() {
    let directory = tempfile::tempdir().unwrap();
    let flight = Flight { ids: vec![[1; 32], [2; 32]], until: 90 };
    let departing = Some((7, flight.clone()));
    open(directory.path()).settle(&Settlement { departing, ..Settlement::default() }).unwrap();
    let queue = open(directory.path());
    assert_eq!(queue.flights().unwrap(), [(7, flight)].into());
    queue.settle(&Settlement { landed: vec![7], ..Settlement::default() }).unwrap();
    assert!(queue.flights().unwrap().is_empty());
}

#[test]
fn a_commitment_is_known_after_reopening_until_it_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let commitment = AttestationCommitment {
        content_hash: [1; 32],
        attestation_root: [2; 32],
        warden_root: [3; 32],
        count: 4,
    };
    let settle = |queue: &Queue, committing| {
        queue.settle(&Settlement { committing: Some((9, committing)), ..Settlement::default() }).unwrap();
    };
    for until in [None, Some(70)] {
        settle(&open(directory.path()), Some(Committing { commitment, until }));
        let known = open(directory.path()).commitments().unwrap();
        assert_eq!(known, [(9, Committing { commitment, until })].into());
    }
    let queue = open(directory.path());
    settle(&queue, None);
    assert!(queue.commitments().unwrap().is_empty());
}

#[test]
fn costs_are_known_after_reopening_until_they_count_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let at = Duration::from_millis(1_800_000_000_123);
    let [open_end, known] = [None, Some(u128::MAX)].map(|fee| Cost { at, fee });
    let costs = vec![(1, Some(open_end)), (2, Some(known)), (3, Some(known))];
    open(directory.path()).settle(&Settlement { costs, ..Settlement::default() }).unwrap();
    let costs = vec![(3, None), (1, Some(known)), (4, Some(open_end))];
    open(directory.path()).settle(&Settlement { costs, ..Settlement::default() }).unwrap();
    let kept = open(directory.path()).costs().unwrap();
    assert_eq!(kept, [(1, known), (2, known), (4, open_end)].into());
}

#[test]
fn a_full_disk_takes_nothing_and_is_noticed() {
    let disk = arion_stranger::SmallDisk::default();
    let database = Database::builder().create_with_backend(disk.clone()).unwrap();
    let queue = Queue::on(database, GENESIS, 10).unwrap();
    queue.push(&[record(1, 1)], 100).unwrap();
    queue.check().unwrap();
    disk.fill();
    assert!(queue.push(&[record(2, 1)], 100).is_err());
    disk.clear();
    let said = queue.check().unwrap_err().to_string();
    assert!(said.contains("make room"), "{said}");
}

#[test]
fn a_full_queue_takes_nothing_of_a_hand_over() {
    let directory = tempfile::tempdir().unwrap();
    let queue = Queue::open(directory.path(), GENESIS, 2).unwrap();
    let three = [record(1, 1), record(2, 1), record(3, 1)];
    assert!(matches!(queue.push(&three, 100), Err(QueueError::Full)));
    assert_eq!(queue.len().unwrap(), 0);
    assert_eq!(queue.push(&three[..2], 100).unwrap(), 2);
}
