//! Small uploads share stripes: few stripes for many of them, each read back alone, holes reclaimed, nothing lost.

use std::{sync::Arc, time::Duration};

use arion_daemon::{Shutdown, now_ms};
use arion_gateway::{
    grid::{Grid, GridOptions, write::Upload},
    manifest::{Manifest, PartManifest},
    meta::{Allowance, BucketInfo, Condition, DeleteRequest, NewObject},
    object::ObjectInfo,
};

use crate::network::{self, MINERS, Mood, Network, eventually, read, sample, write};

const KIB: usize = 1_024;

/// Small uploads wait for each other long enough to share a stripe.
fn sharing() -> GridOptions {
    GridOptions { pack_delay: Duration::from_millis(200), ..Network::options() }
}

/// The same, and holes are reclaimed as soon as they are seen.
fn reclaiming() -> GridOptions {
    GridOptions { compact_bytes_per_second: 1 << 30, ..sharing() }
}

/// Writes all at once.
async fn write_all(grid: &Arc<Grid>, plains: Vec<Vec<u8>>) -> Vec<PartManifest> {
    let tasks: Vec<_> = plains
        .into_iter()
        .map(|plain| {
            let grid = grid.clone();
            tokio::spawn(async move { write(&grid, &plain).await.unwrap() })
        })
        .collect();
    let mut parts = Vec::new();
    for task in tasks {
        parts.push(task.await.unwrap());
    }
    parts
}

/// Writes into one stripe: nobody ends before all have begun.
async fn write_together(grid: &Arc<Grid>, plains: Vec<Vec<u8>>) -> Vec<PartManifest> {
    let mut uploads = Vec::new();
    for plain in plains {
        let mut upload = Upload::new(grid.clone());
        upload.push(&plain).await.unwrap();
        uploads.push(upload);
    }
    let ended = uploads.iter_mut().map(Upload::finish);
    let ended = futures_util::future::try_join_all(ended).await.unwrap();
    uploads.into_iter().for_each(|upload| std::mem::forget(upload.keep()));
    ended.into_iter().map(|(sealed, key)| sealed.with_key(network::wrapped(&key))).collect()
}

fn plains(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| sample(KIB + number)).collect()
}

fn stripes_of(parts: &[PartManifest]) -> usize {
    let mut ids: Vec<_> = parts.iter().flat_map(|part| &part.stripes).map(|stripe| stripe.id()).collect();
    ids.sort();
    ids.dedup();
    ids.len()
}

async fn bucket(grid: &Grid) {
    let info = BucketInfo::new("a".into(), 1);
    grid.meta.create_bucket("b".into(), info).await.unwrap();
}

async fn enter(grid: &Grid, key: &str, part: PartManifest) {
    let info = ObjectInfo { manifest: rand::random(), size: part.plain_len, ..Default::default() };
    let (bucket, key, manifest) = ("b".to_owned(), key.to_owned(), Manifest::whole(part));
    let object = NewObject {
        bucket,
        key,
        info,
        manifest,
        condition: Condition::default(),
        allowance: Allowance::NONE,
        origin: Default::default(),
    };
    grid.meta.put_object(object, 1).await.unwrap();
}

/// Two uploads that are stored in one stripe and not entered yet.
async fn two_members(grid: &Arc<Grid>) -> [(Upload, PartManifest); 2] {
    let (mut one, mut two) = (Upload::new(grid.clone()), Upload::new(grid.clone()));
    one.push(&sample(500)).await.unwrap();
    two.push(&sample(600)).await.unwrap();
    let (first, second) = tokio::join!(one.finish(), two.finish());
    let [first, second] = [first, second].map(|ended| {
        let (sealed, key) = ended.unwrap();
        sealed.with_key(network::wrapped(&key))
    });
    assert_eq!(first.stripes, second.stripes);
    [(one, first), (two, second)]
}

async fn enter_and_read(grid: &Arc<Grid>, key: &str, part: PartManifest) {
    let len = part.plain_len;
    enter(grid, key, part).await;
    let kept = part_of(grid, key).await;
    assert_eq!(read(grid, &kept, 0..len).await.unwrap(), sample(len as usize), "{key}");
}

async fn part_of(grid: &Grid, key: &str) -> PartManifest {
    let (_, manifest) = grid.meta.object_with_manifest("b".into(), key.into(), None).await.unwrap();
    manifest.parts[0].clone()
}

async fn remove(grid: &Grid, key: &str) {
    let request = DeleteRequest { bucket: "b".into(), key: key.into(), ..Default::default() };
    grid.meta.delete(request, now_ms()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_are_a_few_stripes_and_each_comes_back_alone() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), sharing());
    let parts = write_all(&grid, plains(64)).await;
    assert!(stripes_of(&parts) <= 8, "{} stripes", stripes_of(&parts));
    for (number, (part, plain)) in parts.iter().zip(plains(64)).enumerate() {
        let len = plain.len() as u64;
        assert_eq!(read(&grid, part, 0..len).await.unwrap(), plain, "{number}");
        assert_eq!(read(&grid, part, 100..117).await.unwrap(), plain[100..117], "{number}");
        assert_eq!(read(&grid, part, len - 1..len).await.unwrap(), plain[plain.len() - 1..], "{number}");
    }
    // A little of a large stripe is in one or two shards.
    let fetches = |network: &Network| -> usize {
        network.miners.iter().map(|miner| miner.fetches.load(std::sync::atomic::Ordering::SeqCst)).sum()
    };
    let before = fetches(&network);
    read(&grid, &parts[63], 0..1).await.unwrap();
    assert!((1..=2).contains(&(fetches(&network) - before)));
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_nobody_waits_and_large_ones_share_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let options = GridOptions { pack_delay: Duration::from_secs(60), ..Network::options() };
    let grid = network.grid_with(directory.path(), options);
    let alone = tokio::time::timeout(Duration::from_secs(20), write(&grid, &sample(10))).await;
    assert!(alone.is_ok(), "an upload without company waited for some");
    let large = write_all(&grid, vec![sample(2_048 * KIB), sample(2_049 * KIB)]).await;
    assert!(large.iter().all(|part| part.offset == 0) && stripes_of(&large) == 2);
    let empty = write(&grid, &[]).await.unwrap();
    assert_eq!(read(&grid, &empty, 0..0).await.unwrap(), [] as [u8; 0]);
}

/// What is small is read with a short shard, however much larger ones share with each other.
#[tokio::test(flavor = "multi_thread")]
async fn small_ones_share_with_small_ones_and_larger_ones_with_larger_ones() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), sharing());
    let lens = [1_000, 300 * KIB, 100 * KIB, 1_024 * KIB, 2_000, 2_000 * KIB];
    let plains: Vec<_> = lens.iter().map(|len| sample(*len)).collect();
    let parts = write_together(&grid, plains.clone()).await;
    let stripe = |at: usize| parts[at].stripes[0].clone();
    let (small, larger) = ([0, 2, 4], [1, 3, 5]);
    for class in [small, larger] {
        assert!(class.iter().all(|at| parts[*at].stripes == [stripe(class[0])]), "{class:?}");
    }
    assert_ne!(stripe(0).id(), stripe(1).id());
    assert!(stripe(0).shard_len < 12 << 10, "{}", stripe(0).shard_len);
    for (part, plain) in parts.iter().zip(&plains) {
        assert_eq!(&read(&grid, part, 0..plain.len() as u64).await.unwrap(), plain);
    }
}

/// A stripe that is not full leaves after a while, although the one before it hangs.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_long_for_a_stripe_that_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), Network::options());
    network.miners[..11].iter().for_each(|miner| miner.set(Mood::Stalled));
    let hanging = tokio::spawn({
        let grid = grid.clone();
        async move { write(&grid, &sample(10)).await }
    });
    // Each of them, or it is luck who answers when they are well again.
    eventually("the first waits for all that stall", async || {
        network.miners[..11].iter().all(|miner| miner.stalled.load(std::sync::atomic::Ordering::SeqCst) > 0)
    })
    .await;
    network.miners.iter().for_each(|miner| miner.set(Mood::Honest));
    write(&grid, &sample(20)).await.unwrap();
    assert!(!hanging.is_finished(), "the first did not hang");
    hanging.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_leaves_a_hole_and_the_last_takes_the_stripe_back() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), sharing());
    bucket(&grid).await;
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    let [(one, _), (two, second)] = two_members(&grid).await;
    drop(one);
    enter_and_read(&grid, "two", second).await;
    drop(two.keep());
    remove(&grid, "two").await;
    eventually("the last member's stripe is gone", async || {
        network.miners.iter().all(|miner| miner.shard_count() == 0)
    })
    .await;

    let (mut one, mut two) = (Upload::new(grid.clone()), Upload::new(grid.clone()));
    let (first, second) = tokio::join!(one.finish(), two.finish());
    let id = first.unwrap().0.stripes[0].id();
    assert_eq!(second.unwrap().0.stripes[0].id(), id);
    drop((one, two));
    eventually("nobody kept it", async || grid.meta.stripe(id).await.unwrap().is_none()).await;
    assert_eq!(grid.meta.inflight_stripes().await.unwrap(), []);

    // A crash, of which the next start finds what it left.
    let (mut one, mut two) = (Upload::new(grid.clone()), Upload::new(grid.clone()));
    let (first, second) = tokio::join!(one.finish(), two.finish());
    let ((first, key), id) = (first.unwrap(), second.unwrap().0.stripes[0].id());
    enter(&grid, "one", first.with_key(network::wrapped(&key))).await;
    std::mem::forget((one, two));
    grid.recover().await.unwrap();
    assert_eq!(grid.meta.pinned_stripes().await.unwrap(), []);
    assert!(grid.meta.stripe(id).await.unwrap().is_some());
    remove(&grid, "one").await;
    assert_eq!(grid.meta.stripe(id).await.unwrap(), None);
    stop.trigger();
    work.await.unwrap();
}

/// The stripe was given up with the object that was deleted first, while another upload had been told that it was stored; what
/// that entered then stopped the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_stays_while_a_member_is_still_to_be_entered() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), reclaiming());
    bucket(&grid).await;
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    let [(one, first), (two, second)] = two_members(&grid).await;
    let id = first.stripes[0].id();
    enter_and_read(&grid, "one", first).await;
    drop(one.keep());
    remove(&grid, "one").await;
    eventually("the hole was looked at", async || grid.meta.holed_stripes(9).await.unwrap().is_empty()).await;
    enter_and_read(&grid, "two", second).await;
    drop(two.keep());
    remove(&grid, "two").await;
    eventually("nobody is left", async || grid.meta.stripe(id).await.unwrap().is_none()).await;
    stop.trigger();
    work.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_fails_fails_all_its_members() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), sharing());
    network.miners[..11].iter().for_each(|miner| miner.set(Mood::Forging));
    let (one, two) = (sample(10), sample(11));
    let (one, two) = tokio::join!(write(&grid, &one), write(&grid, &two));
    assert!(one.is_err() && two.is_err());
    assert_eq!(grid.meta.inflight_stripes().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_are_reclaimed_and_what_is_left_stays_readable() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), reclaiming());
    bucket(&grid).await;
    let parts = write_together(&grid, plains(24)).await;
    assert_eq!(stripes_of(&parts), 1);
    let stripes: Vec<_> = parts.iter().map(|part| part.stripes[0].id()).collect();
    let first = parts[0].clone();
    for (number, part) in parts.into_iter().enumerate() {
        // The first is there twice, as a copy within the gateway is: both refer to the same range.
        if number == 0 {
            enter(&grid, "copy", part.clone()).await;
        }
        enter(&grid, &format!("{number:02}"), part).await;
    }
    network::let_go(&grid, &first).await;
    let left = [0usize, 7, 13];
    for number in (0..24).filter(|number| !left.contains(number)) {
        remove(&grid, &format!("{number:02}")).await;
    }
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    eventually("what is left moved together", async || {
        let mut now = Vec::new();
        for number in left {
            now.push(part_of(&grid, &format!("{number:02}")).await);
        }
        stripes_of(&now) == 1 && !stripes.contains(&now[0].stripes[0].id())
    })
    .await;
    for (key, number) in [("00", 0), ("07", 7), ("13", 13), ("copy", 0)] {
        let part = part_of(&grid, key).await;
        let plain = sample(KIB + number);
        assert_eq!(read(&grid, &part, 0..plain.len() as u64).await.unwrap(), plain, "{key}");
        assert_eq!(read(&grid, &part, 1_000..1_010).await.unwrap(), plain[1_000..1_010], "{key}");
    }
    assert_eq!(part_of(&grid, "copy").await.stripes, part_of(&grid, "00").await.stripes);
    // The old ones are given up, their deletion is queued for when nobody reads them any more.
    for id in stripes {
        assert_eq!(grid.meta.stripe(id).await.unwrap(), None);
    }
    assert!(grid.meta.backlog().await.unwrap().1 >= MINERS as u64);
    assert_eq!(grid.meta.inflight_stripes().await.unwrap(), []);
    // What moved is compact: it is not written again and again.
    let compacted = grid.metrics.objects_compacted.get();
    assert_eq!(compacted, 4);
    for key in ["00", "07", "13", "copy"] {
        remove(&grid, key).await;
    }
    eventually("nothing is left", async || grid.meta.holed_stripes(9).await.unwrap().is_empty()).await;
    stop.trigger();
    work.await.unwrap();
}

/// Whoever leads the replicas is interrupted when another one does. The new stripe stayed until the gateway was started again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_interrupted_while_holes_are_reclaimed_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), reclaiming());
    bucket(&grid).await;
    let parts = write_together(&grid, plains(4)).await;
    let first = parts[0].clone();
    for (number, part) in parts.into_iter().enumerate() {
        enter(&grid, &number.to_string(), part).await;
    }
    network::let_go(&grid, &first).await;
    for number in 1..4 {
        remove(&grid, &number.to_string()).await;
    }
    let under_way = async || !grid.meta.inflight_stripes().await.unwrap().is_empty();
    assert!(!under_way().await);
    network.miners.iter().for_each(|miner| miner.set(Mood::Stalled));
    let work = tokio::spawn(grid.clone().upkeep(Shutdown::new()));
    eventually("a stripe is sent", under_way).await;
    work.abort();
    eventually("it is given back", async || !under_way().await).await;
    assert_eq!(part_of(&grid, "0").await, first);
}

/// The ledger, audits and deletions know a shard by its address: what is done to one stripe would be done to the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_of_what_moved_shares_no_shard_with_those_it_came_from() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), reclaiming());
    bucket(&grid).await;
    // So short that all stripes have shards of the same length. What is left is at the front of it, as it is of what it came from.
    let parts = write_together(&grid, vec![sample(150), sample(160), sample(170)]).await;
    assert_eq!(stripes_of(&parts), 1);
    let mut before = vec![parts[0].stripes[0].clone()];
    let front = parts.iter().position(|part| part.offset == 0).unwrap();
    let plain = sample(150 + 10 * front);
    for (number, part) in parts.iter().enumerate() {
        enter(&grid, &number.to_string(), part.clone()).await;
    }
    network::let_go(&grid, &parts[0]).await;
    let behind: Vec<_> = (0..3).filter(|number| *number != front).collect();
    for number in behind {
        remove(&grid, &number.to_string()).await;
    }
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    eventually("what is left moved", async || {
        part_of(&grid, &front.to_string()).await.stripes != [before[0].clone()]
    })
    .await;
    let part = part_of(&grid, &front.to_string()).await;
    assert_eq!(read(&grid, &part, 0..plain.len() as u64).await.unwrap(), plain);
    before.extend(part.stripes);
    let shards: std::collections::HashSet<_> = before.iter().flat_map(|stripe| &stripe.hashes).collect();
    assert_eq!(shards.len(), 60);
    stop.trigger();
    work.await.unwrap();
}
