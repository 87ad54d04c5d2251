//! What was read lately is read again without any miner.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use arion_gateway::grid::GridOptions;

use crate::network::{MINERS, Mood, Network, eventually, read, sample, write};

const MIB: usize = 1 << 20;

fn options() -> GridOptions {
    // Nobody is impatient: what is decoded from parity is kept as parity.
    let patience = (Duration::from_secs(60), Duration::from_secs(60));
    GridOptions {
        cache_bytes: 32 << 20,
        patience,
        fetch_timeout: Duration::from_secs(60),
        ..Network::options()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_read_again_when_all_miners_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), options());
    let plain = sample(11 * MIB);
    let manifest = write(&grid, &plain).await.unwrap();
    // Nothing is kept of what was only written: somebody has to want it first.
    assert_eq!(grid.metrics.cache_bytes.get(), 0);
    let whole = 0..plain.len() as u64;
    assert_eq!(read(&grid, &manifest, whole.clone()).await.unwrap(), plain);
    assert_eq!((grid.metrics.cache_hits.get(), grid.metrics.cache_misses.get()), (0, 20));
    let asked = || network.miners.iter().map(|miner| miner.fetches.load(SeqCst)).sum::<usize>();
    let before = asked();
    network.disconnect(0..MINERS);
    assert_eq!(read(&grid, &manifest, whole).await.unwrap(), plain);
    let range = 5_000_000..5_100_000;
    let found = read(&grid, &manifest, range.start as u64..range.end as u64).await.unwrap();
    assert_eq!(found, plain[range]);
    assert_eq!(asked(), before);
    assert!(grid.metrics.cache_hits.get() >= 21);
    assert_eq!(grid.metrics.cache_misses.get(), 20);
}

/// Shards that are there, data or parity, count among the k that decode the rest.
#[tokio::test(flavor = "multi_thread")]
async fn shards_that_are_there_help_to_decode_those_that_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), options());
    let plain = sample(9 * MIB);
    let manifest = write(&grid, &plain).await.unwrap();
    // The first data shard: who comes back for more of it gets it whole.
    for _ in 0..2 {
        read(&grid, &manifest, 0..1_000).await.unwrap();
    }
    let record = &manifest.stripes[0];
    let map = network.map(1);
    let homes = map.place(&record.id());
    let holder = |index: usize| arion_types::NodeId(homes[index].unwrap().node_id);
    // One that has no data shard of ours, and eight others that have: nine of the ten that it takes.
    let left: Vec<_> = (1..9).chain([20]).map(holder).collect();
    for (n, miner) in network.miners.iter().enumerate() {
        if !left.contains(&miner.node_id()) {
            network.disconnect(n..n + 1);
        }
    }
    assert_eq!(read(&grid, &manifest, 0..plain.len() as u64).await.unwrap(), plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let grid = network.grid_with(directory.path(), options());
    let plain = sample(5 * MIB);
    let manifest = write(&grid, &plain).await.unwrap();
    // The last of them come after the acknowledgement.
    eventually("every miner has its shard", async || {
        network.miners.iter().all(|miner| miner.shard_count() == 1)
    })
    .await;
    network.miners[..20].iter().for_each(|miner| miner.set(Mood::Corrupt));
    for _ in 0..2 {
        assert_eq!(read(&grid, &manifest, 0..plain.len() as u64).await.unwrap(), plain);
    }
    let kept = grid.metrics.cache_bytes.get() as usize;
    let shard = manifest.stripes[0].shard_len as usize;
    assert!(kept / shard <= 10, "{kept} bytes are kept of ten honest answers of {shard} bytes");
}
