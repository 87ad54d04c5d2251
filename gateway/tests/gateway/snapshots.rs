//! Snapshots: what they cost, what a crash leaves, what is refused.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use arion_daemon::{Shutdown, now_ms};
use arion_gateway::{
    grid::Grid,
    meta::{BucketInfo, DeleteRequest, Snapshots},
    snapshot::{
        recover::{Reader, RecoverError, Wanted},
        take::{SnapshotError, Snapshotter, Taken},
    },
};
use arion_types::ShardHash;
use tokio::time::Instant;

use crate::{
    machine::{Chain, Mood, PATIENCE, generations, recover, recover_within, settle, shards, snapshotter},
    network::{MINERS, Network, heir, open_meta, within},
    rows::{self, BUCKET},
};

const SEED: &[u8] = &[9];

async fn bucket(grid: &Grid) {
    grid.meta.create_bucket(BUCKET.into(), BucketInfo::new("a".into(), 1)).await.unwrap();
}

/// Objects of which nothing but rows is there.
async fn enter(grid: &Grid, numbers: std::ops::Range<u32>) {
    let entered = numbers.map(|number| async move {
        let object = rows::new_object(&grid.meta, &format!("{number:06}"), number).await;
        grid.meta.put_object(object, 1).await.unwrap();
    });
    futures_util::future::join_all(entered).await;
}

async fn remove(grid: &Grid, number: u32) {
    let request = DeleteRequest { bucket: BUCKET.into(), key: format!("{number:06}"), ..Default::default() };
    grid.meta.delete(request, now_ms()).await.unwrap();
}

async fn has(grid: &Grid, number: u32) -> bool {
    grid.meta.object_with_manifest(BUCKET.into(), format!("{number:06}"), None).await.is_ok()
}

struct Machine {
    network: Network,
    chain: Arc<Chain>,
    directory: tempfile::TempDir,
    grid: Arc<Grid>,
    snapshotter: Snapshotter,
}

async fn machine() -> Machine {
    let (network, chain, directory) =
        (Network::new(), Arc::new(Chain::default()), tempfile::tempdir().unwrap());
    let grid = network.grid(directory.path());
    bucket(&grid).await;
    let snapshotter = snapshotter(&grid, &chain, directory.path(), SEED);
    Machine { network, chain, directory, grid, snapshotter }
}

fn new(taken: Taken) -> (u64, u64) {
    match taken {
        Taken::New { stored, reused, .. } => (stored, reused),
        Taken::Unchanged(_) => panic!("nothing was taken"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_costs_what_changed_and_gives_back_the_rest() {
    let Machine { network, chain, grid, snapshotter, .. } = machine().await;
    enter(&grid, 0..1_200).await;
    let (stored, reused) = new(snapshotter.take(false).await.unwrap());
    assert!(stored > 100 && reused == 0, "{stored} stored, {reused} reused");
    // Whatever only queues have does not count.
    grid.meta
        .postpone_missing(vec![grid.meta.due_missing(now_ms(), 1).await.unwrap()[0].0], 5)
        .await
        .unwrap();
    assert!(matches!(snapshotter.take(false).await.unwrap(), Taken::Unchanged(_)));
    assert_eq!(chain.commits.load(SeqCst), 1);
    enter(&grid, 5_000..5_001).await;
    let (again, reused) = new(snapshotter.take(false).await.unwrap());
    // Here an object is a row of five tables, and 30 shards that are missing are each a row elsewhere.
    assert!(again < 120 && again * 8 < stored && reused + 120 > stored, "{again} stored, {reused} reused");
    let (nodes, bytes) = grid.meta.snapshot_size().await.unwrap();
    assert!(nodes < stored + 120 && bytes > nodes * 30 * 64);
    let root = ShardHash(chain.newest().unwrap().root);
    assert!(network.miners.iter().all(|miner| miner.holds(&root)), "every miner has the root");
    // The rows of objects here have no shards; what miners have is of snapshots.
    for number in (0..1_200).chain([5_000]) {
        remove(&grid, number).await;
    }
    settle(&grid).await;
    assert_eq!(shards(&network), nodes as usize * MINERS);
    snapshotter.take(false).await.unwrap();
    settle(&grid).await;
    let (left, _) = grid.meta.snapshot_size().await.unwrap();
    assert!(left < 10, "{left} nodes of almost nothing");
    assert_eq!(shards(&network), left as usize * MINERS);
    assert!(network.miners.iter().all(|miner| !miner.holds(&root)), "every miner gave the old root back");
}

/// Whenever a gateway is stopped, what the chain names can be recovered, and the gateway goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_moment_leaves_a_whole_snapshot() {
    let Machine { network, chain, directory, grid, snapshotter } = machine().await;
    enter(&grid, 0..300).await;
    snapshotter.take(false).await.unwrap();
    drop((grid, snapshotter));
    let (mut finished, mut interrupted) = (0, 0);
    for round in 1..=14u32 {
        let grid = network.grid(directory.path());
        grid.recover().await.unwrap();
        let snapshotter = snapshotter_of(&grid, &chain, &directory);
        enter(&grid, 1_000 * round..1_000 * round + 40).await;
        let stopped = Duration::from_micros(300) * 2u32.pow(round);
        match tokio::time::timeout(stopped, snapshotter.take(false)).await {
            Ok(taken) => {
                new(taken.unwrap());
                finished += 1;
            }
            Err(_) => interrupted += 1,
        }
        drop((grid, snapshotter));
        let elsewhere = tempfile::tempdir().unwrap();
        let (recovered, _) = recover(&network, &chain, elsewhere.path(), SEED).await.unwrap();
        assert!(has(&recovered, 299).await, "round {round}");
        assert!(recovered.meta.recount_occupied().await.unwrap(), "round {round}");
    }
    assert!(interrupted > 2, "{finished} finished, {interrupted} interrupted");
    let grid = network.grid(directory.path());
    grid.recover().await.unwrap();
    let snapshotter = snapshotter_of(&grid, &chain, &directory);
    enter(&grid, 90_000..90_001).await;
    new(snapshotter.take(false).await.unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let (recovered, _) = recover(&network, &chain, elsewhere.path(), SEED).await.unwrap();
    for round in 1..=14 {
        assert!(has(&recovered, 1_000 * round + 39).await, "round {round}");
    }
    // Nothing that was stored for nothing stays. (The rows of objects here have no shards, and are missing for ever.)
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    within(PATIENCE, "what was stored for nothing is given back", async || {
        let (nodes, _) = grid.meta.snapshot_size().await.unwrap();
        grid.meta.backlog().await.unwrap().1 == 0 && shards(&network) == nodes as usize * MINERS
    })
    .await;
    stop.trigger();
    work.await.unwrap();
}

fn snapshotter_of(grid: &Arc<Grid>, chain: &Arc<Chain>, directory: &tempfile::TempDir) -> Snapshotter {
    snapshotter(grid, chain, directory.path(), SEED)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_was_told_is_settled_before_anything_else() {
    let Machine { network, chain, directory, grid, snapshotter } = machine().await;
    enter(&grid, 0..50).await;
    new(snapshotter.take(false).await.unwrap());
    // The chain does not take it: it is told again, not replaced.
    enter(&grid, 50..60).await;
    chain.set(Mood::Refusing);
    assert!(matches!(snapshotter.take(false).await, Err(SnapshotError::Anchor(_))));
    let Snapshots { last, pending } = grid.meta.snapshots().await.unwrap();
    assert!(last.unwrap().anchored.sequence < pending.unwrap().anchored.sequence);
    enter(&grid, 60..70).await;
    assert!(matches!(snapshotter.take(false).await, Err(SnapshotError::Anchor(_))));
    let (older, _) = recover(&network, &chain, tempfile::tempdir().unwrap().path(), SEED).await.unwrap();
    assert!(has(&older, 49).await && !has(&older, 50).await);
    chain.set(Mood::Honest);
    new(snapshotter.take(false).await.unwrap());
    assert_eq!(chain.commits.load(SeqCst), 3);
    // The chain took it, and the gateway was not told.
    enter(&grid, 70..80).await;
    chain.set(Mood::Silent);
    assert!(matches!(snapshotter.take(false).await, Err(SnapshotError::Anchor(_))));
    chain.set(Mood::Honest);
    drop((grid, snapshotter));
    let grid = network.grid(directory.path());
    assert_eq!(grid.recover().await.unwrap(), 0, "nothing of it is given up at the start");
    let snapshotter = snapshotter_of(&grid, &chain, &directory);
    let Taken::Unchanged(row) = snapshotter.take(false).await.unwrap() else { panic!("it is final") };
    assert_eq!(Some(row.anchored), chain.newest());
    assert_eq!(chain.commits.load(SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_other_metadata_is_not_replaced_unless_that_is_asked_for() {
    let Machine { network, chain, directory, grid, snapshotter } = machine().await;
    enter(&grid, 0..20).await;
    new(snapshotter.take(false).await.unwrap());
    let copy = tempfile::tempdir().unwrap();
    drop((grid, snapshotter));
    drop(open_meta(directory.path()));
    std::fs::copy(directory.path().join("meta.redb"), copy.path().join("meta.redb")).unwrap();
    let grid = network.grid(directory.path());
    enter(&grid, 20..30).await;
    new(snapshotter_of(&grid, &chain, &directory).take(false).await.unwrap());
    // Metadata from a copy, and metadata from nowhere.
    let empty = tempfile::tempdir().unwrap();
    for other in [&copy, &empty] {
        let grid = network.grid_of(heir(), open_meta(other.path()), Network::options());
        let snapshotter = snapshotter_of(&grid, &chain, other);
        let refused = snapshotter.take(false).await.unwrap_err();
        assert!(matches!(refused, SnapshotError::Elsewhere { .. }), "{refused}");
        assert!(refused.to_string().contains("--replace"));
    }
    let grid = network.grid_of(heir(), open_meta(empty.path()), Network::options());
    new(snapshotter_of(&grid, &chain, &empty).take(true).await.unwrap());
    assert_eq!(chain.commits.load(SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_generation_goes_on_where_the_one_before_ended() {
    let Machine { network, chain, directory, grid, snapshotter } = machine().await;
    enter(&grid, 0..20).await;
    new(snapshotter.take(false).await.unwrap());
    let both = crate::machine::snapshotter(&grid, &chain, directory.path(), &[9, 10]);
    // Nothing but the secret changed.
    let (stored, reused) = new(both.take(false).await.unwrap());
    assert_eq!((stored, chain.commits.load(SeqCst)), (0, 2));
    assert!(reused > 0);
    assert!(matches!(both.take(false).await.unwrap(), Taken::Unchanged(_)));
    for seeds in [&[9, 10][..], &[10]] {
        let elsewhere = tempfile::tempdir().unwrap();
        let (recovered, _) = recover(&network, &chain, elsewhere.path(), seeds).await.unwrap();
        assert!(has(&recovered, 19).await);
    }
    // A snapshot on its way whose secret is gone can be named by nobody: it is forgotten.
    enter(&grid, 20..30).await;
    chain.set(Mood::Refusing);
    assert!(both.take(false).await.is_err());
    chain.set(Mood::Honest);
    let third = crate::machine::snapshotter(&grid, &chain, directory.path(), &[11]);
    assert!(third.take(false).await.is_ok());
    assert!(grid.meta.snapshots().await.unwrap().pending.is_none());
}

fn reader(grid: &Arc<Grid>) -> Reader {
    Reader { grid: grid.clone(), patient_until: Instant::now() }
}

/// Miners learn of a registration one after the other, and the root may be read before ten of them did.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_waits_for_miners_that_do_not_answer_yet() {
    let Machine { network, chain, directory, grid, snapshotter } = machine().await;
    enter(&grid, 0..300).await;
    new(snapshotter.take(false).await.unwrap());
    network.disconnect(5..30);
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = recover(&network, &chain, elsewhere.path(), SEED).await.map(drop).unwrap_err();
    assert!(matches!(refused, RecoverError::NodeLost { .. }), "{refused}");
    let recovery = recover_within(PATIENCE, &network, &chain, elsewhere.path(), SEED);
    let mut recovery = std::pin::pin!(recovery);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut recovery).await;
    assert!(early.is_err(), "five of the ten shards are enough");
    (5..30).for_each(|n| network.connect(n));
    recovery.await.unwrap();
    assert!(has(&network.grid(elsewhere.path()), 299).await);
    drop(directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_its_place_and_leaves_nothing() {
    let Machine { network, chain, directory, grid, snapshotter } = machine().await;
    enter(&grid, 0..300).await;
    new(snapshotter.take(false).await.unwrap());
    // Twenty miners are gone: every stripe is still read, the root from any one of them.
    network.disconnect(10..30);
    let elsewhere = tempfile::tempdir().unwrap();
    recover(&network, &chain, elsewhere.path(), SEED).await.unwrap();
    (10..30).for_each(|n| network.connect(n));
    // There are metadata: nothing is touched.
    let refused = recover(&network, &chain, elsewhere.path(), SEED).await.map(drop).unwrap_err();
    assert!(matches!(refused, RecoverError::Occupied(_)), "{refused}");
    assert!(has(&network.grid(elsewhere.path()), 299).await);
    // A node that nobody has.
    let root = ShardHash(chain.newest().unwrap().root);
    let wanted = generations(SEED);
    let named = arion_gateway::snapshot::take::newest(&*chain, &wanted, &crate::network::GENESIS).await;
    let named = named.unwrap().unwrap();
    let wanted = Wanted { secret: named.secret, locator: named.locator, anchored: named.anchored };
    let top = reader(&grid).root(&wanted).await.unwrap().top;
    for miner in &network.miners {
        top.stripe.hashes.iter().for_each(|shard| miner.lose(shard));
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = recover(&network, &chain, elsewhere.path(), SEED).await.map(drop).unwrap_err();
    assert!(matches!(&refused, RecoverError::NodeLost { .. }), "{refused}");
    assert!(refused.to_string().contains("node top of the snapshot"), "{refused}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    // The root under another secret, and nowhere.
    let stranger = crate::machine::secret(8);
    let other = Wanted { secret: &stranger, ..wanted };
    let refused = reader(&grid).root(&other).await.unwrap_err();
    assert!(matches!(refused, RecoverError::Root { .. }), "{refused}");
    network.miners.iter().for_each(|miner| miner.lose(&root));
    let refused = recover(&network, &chain, elsewhere.path(), SEED).await.map(drop).unwrap_err();
    assert!(matches!(refused, RecoverError::RootLost { .. }), "{refused}");
    drop(directory);
}
