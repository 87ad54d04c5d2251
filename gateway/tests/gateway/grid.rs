//! The data path against miners in memory: losses, lies, restarts.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use arion_daemon::{Shutdown, now_ms};
use arion_gateway::{
    grid::{GridOptions, read::ReadError, write::WriteError},
    manifest::Manifest,
    meta::{Allowance, BucketInfo, Condition, MetaError, NewObject, PartInfo, UploadInfo, UploadKey},
    object::ObjectInfo,
};

use crate::network::{self, MINERS, Mood, Network, SLOW, eventually, read, sample, write};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn object(manifest: Manifest) -> NewObject {
    let info = ObjectInfo {
        manifest: [1; 16],
        size: manifest.plain_len(),
        etag: "e".into(),
        modified_ms: 1,
        ..Default::default()
    };
    NewObject {
        bucket: "b".into(),
        key: "k".into(),
        info,
        manifest,
        condition: Condition::default(),
        allowance: Allowance::NONE,
        origin: Default::default(),
    }
}

fn bucket() -> BucketInfo {
    BucketInfo::new("a".into(), 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_round_trips_whole_and_in_ranges() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    for len in [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 10 * MIB - 1, 10 * MIB, 10 * MIB + 1, 25 * MIB] {
        let plain = sample(len);
        let manifest = write(&grid, &plain).await.unwrap();
        assert_eq!(manifest.plain_len, len as u64);
        assert_eq!(read(&grid, &manifest, 0..len as u64).await.unwrap(), plain, "{len}");
        for (from, to) in [(0, 1), (len / 2, len / 2 + 70_000), (len.saturating_sub(1), len), (1, len)] {
            let to = to.min(len);
            if from < to {
                let found = read(&grid, &manifest, from as u64..to as u64).await.unwrap();
                assert_eq!(found, plain[from..to], "{len}: {from}..{to}");
            }
        }
    }
    // Every shard on its own miner, each in the ledger once.
    eventually("all shards are confirmed", async || grid.meta.backlog().await.unwrap() == (0, 0)).await;
    let stored: usize = network.miners.iter().map(|miner| miner.shard_count()).sum();
    assert_eq!(grid.meta.ledger_len().await.unwrap(), stored as u64);
    assert_eq!(stored % MINERS, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_asks_only_the_miners_that_hold_it() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    let plain = sample(25 * MIB);
    let manifest = write(&grid, &plain).await.unwrap();
    let from = 12 * MIB as u64;
    assert_eq!(read(&grid, &manifest, from..from + 10).await.unwrap(), plain[12 * MIB..12 * MIB + 10]);
    let fetches: usize = network.miners.iter().map(|miner| miner.fetches.load(SeqCst)).sum();
    assert!((1..=2).contains(&fetches), "{fetches} shards were fetched for ten bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_dead_miners_do_not_stop_a_write_and_get_their_shards_later() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    network.disconnect(0..10);
    let plain = sample(3 * MIB);
    let manifest = write(&grid, &plain).await.unwrap();
    assert_eq!(grid.meta.backlog().await.unwrap(), (10, 0));
    assert_eq!(grid.meta.ledger_len().await.unwrap(), 20);
    assert_eq!(read(&grid, &manifest, 0..plain.len() as u64).await.unwrap(), plain);
    (0..10).for_each(|n| network.connect(n));
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    eventually("the gaps are filled", async || grid.meta.backlog().await.unwrap() == (0, 0)).await;
    assert_eq!(grid.meta.ledger_len().await.unwrap(), 30);
    assert!(network.miners.iter().all(|miner| miner.shard_count() == 1));
    stop.trigger();
    work.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn eleven_dead_miners_refuse_a_write_and_nothing_stays_behind() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    network.disconnect(0..11);
    let error = write(&grid, &sample(100)).await.unwrap_err();
    assert!(matches!(error, WriteError::Quorum { stored: ..20, quorum: 20 }), "{error}");
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    eventually("nothing is left on miners", async || {
        network.miners.iter().all(|miner| miner.shard_count() == 0)
    })
    .await;
    // No receipt was entered: there is nothing to take out of the ledger, and a line that did would be a finding.
    assert_eq!(grid.meta.ledger_page(0, 100).await.unwrap(), []);
    stop.trigger();
    work.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_dead_miners_do_not_stop_a_read_but_twenty_one_do() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    let plain = sample(12 * MIB);
    let manifest = write(&grid, &plain).await.unwrap();
    eventually("all shards are confirmed", async || grid.meta.backlog().await.unwrap() == (0, 0)).await;
    network.disconnect(0..20);
    assert_eq!(read(&grid, &manifest, 0..plain.len() as u64).await.unwrap(), plain);
    assert_eq!(read(&grid, &manifest, 5..6).await.unwrap(), plain[5..6]);
    network.disconnect([20]);
    let error = read(&grid, &manifest, 0..plain.len() as u64).await.unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { found: 9, needed: 10 }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_and_silent_miners_are_read_around() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    let plain = sample(11 * MIB);
    let manifest = write(&grid, &plain).await.unwrap();
    eventually("all shards are confirmed", async || grid.meta.backlog().await.unwrap() == (0, 0)).await;
    network.miners[..10].iter().for_each(|miner| miner.set(Mood::Corrupt));
    network.miners[10..20].iter().for_each(|miner| miner.set(Mood::Hanging));
    let began = Instant::now();
    assert_eq!(read(&grid, &manifest, 0..plain.len() as u64).await.unwrap(), plain);
    // Ten hanging miners cost a few rounds of patience, not a timeout each.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    assert!(grid.metrics.stripes_decoded.get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_receipts_do_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    network.miners[..11].iter().for_each(|miner| miner.set(Mood::Forging));
    let error = write(&grid, &sample(100)).await.unwrap_err();
    assert!(matches!(error, WriteError::Quorum { stored: ..20, quorum: 20 }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_upload_takes_its_stripes_back() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    let mut upload = arion_gateway::grid::write::Upload::new(grid.clone());
    upload.push(&sample(21 * MIB)).await.unwrap();
    drop(upload);
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    eventually("nothing is left", async || {
        network.miners.iter().any(|miner| miner.stores.load(SeqCst) > 0)
            && grid.meta.inflight_stripes().await.unwrap().is_empty()
            && grid.meta.backlog().await.unwrap() == (0, 0)
            && network.miners.iter().all(|miner| miner.shard_count() == 0)
    })
    .await;
    stop.trigger();
    work.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_outlive_the_gateway_and_overwriting_frees_them() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let plain = sample(2 * MIB);
    {
        let alone = GridOptions { pack_object_bytes: 0, ..Network::options() };
        let grid = network.grid_with(directory.path(), alone);
        grid.meta.create_bucket("b".into(), bucket()).await.unwrap();
        let manifest = write(&grid, &plain).await.unwrap();
        grid.meta.put_object(object(Manifest::whole(manifest)), 1).await.unwrap();
        // Sent, never entered: what a crash leaves.
        write(&grid, &sample(500)).await.unwrap();
        eventually("all shards are confirmed", async || grid.meta.backlog().await.unwrap() == (0, 0)).await;
    }
    let grid = network.grid(directory.path());
    assert_eq!(grid.recover().await.unwrap(), 1);
    let (found, manifest) = grid.meta.object_with_manifest("b".into(), "k".into(), None).await.unwrap();
    assert_eq!(found.info.size, plain.len() as u64);
    assert_eq!(read(&grid, &manifest.parts[0], 0..found.info.size).await.unwrap(), plain);
    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    eventually("the orphan is gone", async || network.miners.iter().all(|miner| miner.shard_count() == 1))
        .await;
    let newer = write(&grid, &sample(7)).await.unwrap();
    let mut newer = object(Manifest::whole(newer));
    newer.info.manifest = [2; 16];
    grid.meta.put_object(newer, arion_daemon::now_ms()).await.unwrap();
    eventually("the old version is gone", async || {
        grid.meta.backlog().await.unwrap() == (0, 0)
            && network.miners.iter().all(|miner| miner.shard_count() == 1)
    })
    .await;
    stop.trigger();
    work.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_map_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let transport = Arc::new(network.memory.transport(arion_types::signing::node_id(&network.gateway)));
    let grid = arion_gateway::grid::Grid::new(
        network.gateway.clone(),
        network::GENESIS,
        transport,
        Default::default(),
        network::open_meta(directory.path()),
        Network::options(),
        Default::default(),
    );
    let error = write(&Arc::new(grid), b"x").await.unwrap_err();
    assert!(matches!(error, WriteError::NoMap), "{error}");
}

/// Miners that were killed while their connections looked alive used to be asked three times, each time for the whole
/// store timeout, before a write was refused.
#[tokio::test(flavor = "multi_thread")]
async fn silent_miners_are_asked_once_and_then_left_alone_for_a_moment() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(
        directory.path(),
        GridOptions {
            store_timeout: Duration::from_secs(60),
            stripe_timeout: Duration::from_secs(60),
            ..Network::options()
        },
    );
    let asked = || network.miners[..11].iter().map(|miner| miner.stores.load(SeqCst)).collect::<Vec<_>>();
    network.miners[..11].iter().for_each(|miner| miner.set(Mood::Mute));
    let began = Instant::now();
    let error = write(&grid, &sample(100)).await.unwrap_err();
    assert!(matches!(error, WriteError::Quorum { stored: 19, quorum: 20 }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(asked(), [1; 11]);
    assert_eq!(grid.peers.down_count(), 11);
    // At once again: nobody is asked who was silent just now.
    let error = write(&grid, &sample(100)).await.unwrap_err();
    assert!(matches!(error, WriteError::Quorum { quorum: 20, .. }), "{error}");
    assert_eq!(asked(), [1; 11]);
    // A moment later they are asked, although they still count as down; one is enough.
    network.miners[0].set(Mood::Honest);
    eventually("the write is taken", async || write(&grid, &sample(100)).await.is_ok()).await;
}

/// A miner that is slow but gives signs of life is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_miner_is_not_taken_for_a_dead_one() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    network.disconnect(0..10);
    network.miners[10].set(Mood::Slow);
    let began = Instant::now();
    write(&grid, &sample(100)).await.unwrap();
    assert!(began.elapsed() >= SLOW, "{:?}", began.elapsed());
    assert_eq!(network.miners[10].stores.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_never_completed_is_given_up_step_by_step() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid(directory.path());
    grid.meta.create_bucket("b".into(), bucket()).await.unwrap();
    let upload = |key: &str| UploadKey { bucket: "b".into(), key: key.into(), id: format!("id of {key}") };
    let now = now_ms();
    let old = now - 8 * 24 * 3_600 * 1_000;
    for (key, created_ms) in [("a young", now), ("b old", old), ("c young", now), ("d old", old)] {
        let info = UploadInfo { created_ms, ..Default::default() };
        grid.meta.create_upload(upload(key), info, Allowance::NONE).await.unwrap();
        for number in [1, 2, 3] {
            let manifest = write(&grid, &sample(1_000 + number as usize)).await.unwrap();
            let part = PartInfo {
                md5: [0; 16],
                modified_ms: now,
                manifest: manifest.clone(),
                checksums: Default::default(),
            };
            grid.meta.put_part(upload(key), number, part, Allowance::NONE, now).await.unwrap();
            network::let_go(&grid, &manifest).await;
        }
    }
    eventually("all shards are confirmed", async || grid.meta.backlog().await.unwrap() == (0, 0)).await;
    // A step releases no more than it may, goes on where it was, and the upload ends with its last part.
    let before = now - 7 * 24 * 3_600 * 1_000;
    let (expired, seen) = grid.meta.next_expired(None, 1, before).await.unwrap();
    assert_eq!((expired, seen.clone()), (None, Some(upload("a young"))));
    let (expired, seen) = grid.meta.next_expired(seen, 9, before).await.unwrap();
    assert_eq!((expired.clone(), seen), (Some(upload("b old")), Some(upload("a young"))));
    assert!(!grid.meta.give_up_upload(expired.unwrap(), 2, now).await.unwrap());
    assert_eq!(grid.meta.parts(upload("b old")).await.unwrap().len(), 1);
    assert_eq!(grid.meta.backlog().await.unwrap(), (0, 2 * MINERS as u64));

    let stop = Shutdown::new();
    let work = tokio::spawn(grid.clone().upkeep(stop.clone()));
    eventually("old uploads are gone, with their data", async || {
        let left = grid.meta.uploads_page("b".into(), String::new(), String::new(), None, 9).await.unwrap();
        left.uploads.len() == 2 && network.miners.iter().all(|miner| miner.shard_count() == 6)
    })
    .await;
    for key in ["a young", "c young"] {
        assert_eq!(grid.meta.parts(upload(key)).await.unwrap().len(), 3);
    }
    assert_eq!(grid.metrics.uploads_expired.get(), 2);
    // Those of a bucket that is gone are given up at once, and the name is free again.
    grid.meta.delete_bucket("b".into()).await.unwrap();
    let late = PartInfo {
        md5: [0; 16],
        modified_ms: now,
        manifest: write(&grid, &sample(9)).await.unwrap(),
        checksums: Default::default(),
    };
    let refused = grid.meta.put_part(upload("a young"), 9, late, Allowance::NONE, now).await.unwrap_err();
    assert!(matches!(refused, MetaError::NoSuchBucket), "{refused}");
    eventually("the name is free", async || grid.meta.create_bucket("b".into(), bucket()).await.is_ok())
        .await;
    stop.trigger();
    work.await.unwrap();
}
