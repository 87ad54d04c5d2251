//! Bundles of a chain in memory, in a store in memory, with everything that can go wrong between the two.

use super::*;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use arion_bundle::{Facts, Report, Verifier};
use arion_chain::{Snapshot, ViewSource};
use arion_types::{Exhibit, ShownAttestation};

use crate::{
    batch::tests::{GENESIS, MINER, audited, hash_of},
    bundle::archive::Offered,
};

const BLOCKS: u32 = 100;
const KEEPING: Keeping = Keeping { bucket_blocks: BLOCKS, buckets_kept: 40 };

/// Chain and store; each question to them may be the last one of a process.
#[derive(Default)]
struct World {
    starts: Mutex<Vec<(Epoch, u32)>>,
    /// Attestations in the order in which they came, each with the block in which it did.
    attestations: Mutex<Vec<(u32, AttestationRecord)>>,
    committed: Mutex<BTreeMap<Epoch, AttestationCommitment>>,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    is_down: AtomicBool,
    is_private: AtomicBool,
    is_lossy: AtomicBool,
    /// Questions so far, and the one that gets no answer.
    asked: AtomicU32,
    fails_at: Option<u32>,
}

impl World {
    fn ask(&self) -> bool {
        Some(self.asked.fetch_add(1, Ordering::SeqCst)) == self.fails_at
    }

    fn read(&self) -> Result<(), ChainError> {
        if self.ask() { Err(ChainError::Behind) } else { Ok(()) }
    }

    fn reach(&self) -> Result<(), ShelfError> {
        match self.ask() || self.is_down.load(Ordering::SeqCst) {
            true => Err(ShelfError::Unreachable { endpoint: "s3".into(), reason: "down".into() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl EpochChain for World {
    async fn starts(&self, _: &BlockRef) -> Result<Vec<(Epoch, u32)>, ChainError> {
        self.read()?;
        Ok(self.starts.lock().unwrap().clone())
    }

    async fn committed(&self, epoch: Epoch) -> Result<Option<AttestationCommitment>, ChainError> {
        self.read()?;
        Ok(self.committed.lock().unwrap().get(&epoch).copied())
    }

    async fn bucket(&self, bucket: u32, at: &BlockRef) -> Result<Vec<AttestationRecord>, ChainError> {
        self.read()?;
        assert!(bucket >= KEEPING.oldest(at.number), "a bucket that is pruned");
        let all = self.attestations.lock().unwrap();
        let there = all.iter().filter(|(came, record)| {
            *came <= at.number && record.block_number / u64::from(BLOCKS) == u64::from(bucket)
        });
        Ok(there.map(|(_, record)| record.clone()).collect())
    }
}

#[async_trait]
impl Shelf for World {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ShelfError> {
        self.reach()?;
        let kept = if self.is_lossy.load(Ordering::SeqCst) { bytes[1..].to_vec() } else { bytes };
        self.objects.lock().unwrap().insert(name.to_owned(), kept);
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, ShelfError> {
        self.reach()?;
        if self.is_private.load(Ordering::SeqCst) {
            return Err(ShelfError::Private);
        }
        Ok(self.objects.lock().unwrap()[name].clone())
    }
}

fn block(number: u32) -> BlockRef {
    BlockRef { number, hash: hash_of(number.into()) }
}

fn maker(directory: &Path, world: &Arc<World>, head: u32) -> (Maker, ViewSource) {
    let snapshot = Snapshot { block: block(head), ..Snapshot::default() };
    let (view, source) = ChainView::manual(GENESIS, snapshot);
    let maker = Maker {
        genesis: GENESIS,
        queue: Arc::new(Queue::open(directory, GENESIS, 1_000).unwrap()),
        archive: Arc::new(Archive::open(directory, 1 << 20).unwrap()),
        chain: world.clone(),
        shelf: world.clone(),
        view,
        keeping: KEEPING,
        over: BTreeSet::new(),
        health: Health::new("test", "0"),
        metrics: Metrics::default(),
    };
    (maker, source)
}

/// Epoch 1 from block 110, 2 from 330; attestations about both, each on chain 20 blocks later.
fn world(fails_at: Option<u32>) -> Arc<World> {
    let world = World { fails_at, ..World::default() };
    *world.starts.lock().unwrap() = vec![(1, 110), (2, 330)];
    let stored = audits().into_iter().map(|shown| (shown.record.block_number as u32 + 20, shown.record));
    world.attestations.lock().unwrap().extend(stored);
    Arc::new(world)
}

fn audits() -> Vec<ShownAttestation> {
    [(1, 120), (2, 150), (3, 250), (4, 329), (5, 331)].map(|(n, block)| audited(n, block)).into()
}

fn keep(maker: &Maker, audits: &[ShownAttestation]) {
    let offered: Vec<Offered> = audits
        .iter()
        .map(|ShownAttestation { record, exhibit }| Offered {
            id: attestation_id(record, &GENESIS),
            block: record.block_number,
            result: record.result,
            exhibit: exhibit.clone(),
        })
        .collect();
    maker.archive.keep(&offered).unwrap();
}

/// The bundle that is to be committed to, fetched and verified.
fn verified(maker: &Maker, world: &World, epoch: Epoch) -> Report {
    let commitment = maker.queue.commitments().unwrap()[&epoch].commitment;
    let starts = world.starts.lock().unwrap().clone();
    let span = ended_spans(&starts).into_iter().find(|span| span.epoch == epoch).unwrap();
    let miners = BTreeMap::from([(1, MINER)]);
    let facts = Facts { genesis: GENESIS, span, bucket_blocks: BLOCKS, commitment, miners };
    let objects = world.objects.lock().unwrap();
    let mut verifier = Verifier::new(facts, &objects[&name_of(&commitment.content_hash)]).unwrap();
    for (part, number) in verifier.parts().to_vec().iter().zip(0..) {
        let bytes = objects.get(&name_of(&part.hash));
        verifier.part(number, bytes.map(Vec::as_slice), |block| Some(hash_of(block)));
    }
    let report = verifier.finish(|block| Some(hash_of(block)));
    assert_eq!(report.faults, []);
    report
}

#[tokio::test]
async fn an_epoch_that_is_over_becomes_a_bundle_when_nothing_about_it_waits() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(None);
    let (mut maker, source) = maker(directory.path(), &world, 429);
    keep(&maker, &audits()[..2]);
    maker.step().await.unwrap();
    assert!(maker.queue.commitments().unwrap().is_empty(), "attestations may still come");
    source.set(Snapshot { block: block(430), ..Snapshot::default() });
    maker.queue.push(&[audited(9, 200).record], BLOCKS).unwrap();
    maker.step().await.unwrap();
    assert!(maker.queue.commitments().unwrap().is_empty(), "an attestation waits here");

    let landed = maker.queue.of_bucket(2, 9).unwrap();
    world.attestations.lock().unwrap().push((435, landed[0].record.clone()));
    let finalized = vec![landed[0].id];
    maker.queue.settle(&Settlement { finalized, ..Settlement::default() }).unwrap();
    source.set(Snapshot { block: block(440), ..Snapshot::default() });
    maker.step().await.unwrap();
    let report = verified(&maker, &world, 1);
    assert_eq!((report.attestations, report.exhibits, report.miners[0].shown), (5, 2, 2));
    let (objects, asked) = (world.objects.lock().unwrap().len(), world.asked.load(Ordering::SeqCst));
    maker.step().await.unwrap();
    assert_eq!(world.objects.lock().unwrap().len(), objects, "it is made once");
    assert!(world.asked.load(Ordering::SeqCst) - asked <= 3);

    // Committed to: what was kept for it goes.
    let commitment = maker.queue.commitments().unwrap()[&1].commitment;
    world.committed.lock().unwrap().insert(1, commitment);
    maker.queue.settle(&Settlement { committing: Some((1, None)), ..Settlement::default() }).unwrap();
    maker.step().await.unwrap();
    assert!(maker.over.contains(&1));
    assert_eq!(maker.archive.fill().unwrap().bytes, 0);
    assert_eq!(maker.archive.copied_at(1).unwrap(), None);
}

/// An attestation that never gets to the chain, such as one without fees to pay, does not hold a bundle up for ever.
#[tokio::test]
async fn what_waits_is_waited_for_so_long() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(None);
    let (mut maker, _) = maker(directory.path(), &world, 330 + 10 * BLOCKS);
    maker.queue.push(&[audited(9, 200).record], BLOCKS).unwrap();
    maker.step().await.unwrap();
    assert_eq!(verified(&maker, &world, 1).attestations, 4);
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_one_bundle_that_holds() {
    let mut steps = 0;
    for fails_at in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let world = world(Some(fails_at));
        {
            let (mut dying, _) = maker(directory.path(), &world, 440);
            keep(&dying, &audits());
            if dying.step().await.is_ok() {
                break;
            }
        }
        steps += 1;
        let (mut next, _) = maker(directory.path(), &world, 441);
        next.step().await.unwrap();
        let report = verified(&next, &world, 1);
        assert_eq!((report.attestations, report.exhibits), (4, 4), "died at step {fails_at}");
        let parts = world.objects.lock().unwrap().len();
        assert!(parts <= 3, "{parts} objects: a part and at most two indices");
    }
    // The chain is asked for epochs, two copies, the commitment, three buckets; the store takes and gives back two objects.
    assert_eq!(steps, 7 + 4);
}

#[tokio::test]
async fn a_store_that_is_away_or_private_or_lossy_is_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(None);
    let (mut maker, _) = maker(directory.path(), &world, 440);
    for (fault, expected) in [
        (&world.is_down, "cannot reach"),
        (&world.is_private, "public-read"),
        (&world.is_lossy, "other bytes"),
    ] {
        fault.store(true, Ordering::SeqCst);
        let said = maker.step().await.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
        assert!(maker.queue.commitments().unwrap().is_empty());
        fault.store(false, Ordering::SeqCst);
    }
    maker.step().await.unwrap();
    verified(&maker, &world, 1);
}

#[tokio::test]
async fn an_epoch_that_is_committed_to_or_gone_or_empty_costs_nothing() {
    let other = AttestationCommitment {
        content_hash: [9; 32],
        attestation_root: [9; 32],
        warden_root: [9; 32],
        count: 1,
    };
    for case in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let world = world(None);
        let (mut maker, _) = maker(directory.path(), &world, 440);
        keep(&maker, &audits());
        match case {
            0 => drop(world.committed.lock().unwrap().insert(1, other)),
            1 => drop(world.starts.lock().unwrap().remove(0)),
            _ => world.attestations.lock().unwrap().clear(),
        }
        maker.step().await.unwrap();
        assert!(maker.queue.commitments().unwrap().is_empty() && world.objects.lock().unwrap().is_empty());
        assert_eq!(maker.over.contains(&1), case != 1);
    }
}

#[tokio::test]
async fn what_the_chain_prunes_is_copied_before() {
    // An epoch of 60 buckets, of which the chain keeps 40.
    let long = |head: u32| {
        let world = World::default();
        *world.starts.lock().unwrap() = vec![(1, 0), (2, 6_000)];
        let blocks = [150, 1_050, 3_950, 5_950];
        let stored = blocks.iter().zip(1..).map(|(block, n)| (*block as u32 + 10, audited(n, *block).record));
        world.attestations.lock().unwrap().extend(stored);
        // This one comes long after its block.
        world.attestations.lock().unwrap().push((2_500, audited(9, 160).record));
        (Arc::new(world), head)
    };
    let directory = tempfile::tempdir().unwrap();
    let (world, end) = long(6_100);
    let (mut attentive, source) = maker(directory.path(), &world, 0);
    for head in (0..=end).step_by(50) {
        source.set(Snapshot { block: block(head), ..Snapshot::default() });
        attentive.step().await.unwrap();
    }
    assert_eq!(verified(&attentive, &world, 1).attestations, 5);

    // Who comes when half of it is gone makes no bundle rather than half of one.
    let directory = tempfile::tempdir().unwrap();
    let (world, end) = long(6_100);
    let (mut late, _) = maker(directory.path(), &world, end);
    late.step().await.unwrap();
    assert!(late.queue.commitments().unwrap().is_empty() && world.objects.lock().unwrap().is_empty());
    assert_eq!(late.metrics.epochs_missed.get(), 1);
}

#[tokio::test]
async fn several_submitters_make_the_same_bundle_of_the_same_exhibits() {
    let world = world(None);
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut commitments = Vec::new();
    for (directory, kept) in directories.iter().zip([4, 4, 1]) {
        let (mut maker, _) = maker(directory.path(), &world, 440);
        keep(&maker, &audits()[..kept]);
        maker.step().await.unwrap();
        assert_eq!(verified(&maker, &world, 1).exhibits, kept as u32);
        commitments.push(maker.queue.commitments().unwrap()[&1].commitment);
    }
    assert_eq!(commitments[0], commitments[1]);
    assert_ne!(commitments[0].content_hash, commitments[2].content_hash);
    assert_eq!(commitments[0].attestation_root, commitments[2].attestation_root);
    assert_eq!(
        maker(directories[0].path(), &world, 1).0.archive.exhibit(1, &[0; 32]).unwrap(),
        Exhibit::Absent
    );
}
