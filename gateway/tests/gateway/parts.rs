//! Where little of a shard is wanted, little is fetched, and it is as good as the whole.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use arion_gateway::{
    grid::{Grid, GridOptions},
    manifest::PartManifest,
};
use arion_protocol::LedgerRecord;

use crate::network::{MINERS, Mood, Network, eventually, read, sample, write};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Nobody is asked besides because the machine is busy.
fn patient() -> GridOptions {
    let long = Duration::from_secs(60);
    GridOptions { patience: (long, long), fetch_timeout: long, ..Network::options() }
}

/// 9 MiB in a stripe of ten shards, each of a bit over 900 KiB.
struct Stored {
    network: Network,
    grid: Arc<Grid>,
    plain: Vec<u8>,
    part: PartManifest,
    _directory: tempfile::TempDir,
}

impl Stored {
    async fn new(options: GridOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let network = Network::new();
        let grid = network.grid_with(directory.path(), options);
        let plain = sample(9 * MIB);
        let part = write(&grid, &plain).await.unwrap();
        assert_eq!(part.stripes.len(), 1);
        eventually("all shards are stored", async || grid.meta.backlog().await.unwrap() == (0, 0)).await;
        Self { network, grid, plain, part, _directory: directory }
    }

    fn shard_len(&self) -> usize {
        self.part.stripes[0].shard_len as usize
    }

    /// The miner that has a shard of the stripe, by number.
    fn home(&self, index: usize) -> usize {
        let map = self.network.map(1);
        let home = map.place(&self.part.stripes[0].id())[index].unwrap().node_id;
        self.network.miners.iter().position(|miner| miner.node_id().0 == home).unwrap()
    }

    fn fetched_bytes(&self) -> usize {
        self.network.miners.iter().map(|miner| miner.fetched_bytes.load(SeqCst)).sum()
    }

    /// Reads a range, which has to be what was written; what miners answered for it.
    async fn reads(&self, from: usize, len: usize) -> usize {
        let before = self.fetched_bytes();
        let found = read(&self.grid, &self.part, from as u64..(from + len) as u64).await.unwrap();
        assert!(found == self.plain[from..from + len], "{from}, {len}");
        self.fetched_bytes() - before
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn little_is_fetched_where_little_is_wanted() {
    let stored = Stored::new(patient()).await;
    // Within a shard: two segments at most, with the groups around them and the proof.
    for from in [0, 300 * KIB, 9 * MIB - 4 * KIB] {
        let fetched = stored.reads(from, 4 * KIB).await;
        assert!(fetched <= 180 * KIB, "{fetched} at {from}");
    }
    // Across two of them: as much of each as it takes.
    let fetched = stored.reads(stored.shard_len() - 400 * KIB, 800 * KIB).await;
    assert!((800 * KIB..1_100 * KIB).contains(&fetched), "{fetched}");
    // Nearly all of one is all of it: a proof costs the miner more than it saves.
    let metrics = &stored.grid.metrics;
    let parts = metrics.parts_fetched.get();
    assert_eq!(stored.reads(0, stored.shard_len() - 100 * KIB).await, stored.shard_len());
    assert_eq!((metrics.parts_fetched.get(), metrics.stripes_decoded.get()), (parts, 0));
    assert_eq!(metrics.fetched_bytes.get(), stored.fetched_bytes() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_share_a_stripe_are_fetched_without_their_neighbours() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    let options = GridOptions { pack_delay: Duration::from_millis(200), ..patient() };
    let grid = network.grid_with(directory.path(), options);
    let plain = sample(MIB);
    let writes = (0..8).map(|_| {
        let (grid, plain) = (grid.clone(), plain.clone());
        tokio::spawn(async move { write(&grid, &plain).await.unwrap() })
    });
    let mut shared = 0;
    for written in writes.collect::<Vec<_>>() {
        let part = written.await.unwrap();
        let before: usize = network.miners.iter().map(|miner| miner.fetched_bytes.load(SeqCst)).sum();
        assert!(read(&grid, &part, 0..MIB as u64).await.unwrap() == plain);
        let after: usize = network.miners.iter().map(|miner| miner.fetched_bytes.load(SeqCst)).sum();
        // At most one of its shards is needed nearly whole; of the others, the groups at the ends.
        assert!(after - before <= MIB + MIB / 3 + 64 * KIB, "{} bytes", after - before);
        shared += usize::from(part.stripes[0].len as usize > 2 * MIB);
    }
    assert!(shared >= 6, "{shared} of 8 shared a stripe with many");
}

/// Who reads on, a little at a time, is served from memory after the second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_wanted_again_is_fetched_whole_and_kept() {
    let stored = Stored::new(GridOptions { cache_bytes: 32 << 20, ..patient() }).await;
    let mut fetched = Vec::new();
    for at in 0..7 {
        fetched.push(stored.reads(at * 100 * KIB, 100 * KIB).await);
    }
    assert!(fetched[0] < 300 * KIB, "{fetched:?}");
    assert_eq!(fetched[1..], [stored.shard_len(), 0, 0, 0, 0, 0]);
    stored.network.disconnect(0..MINERS);
    assert_eq!(stored.reads(10, 20).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_wrong_silent_or_gone_is_made_of_other_shards() {
    for mood in [Some(Mood::Corrupt), Some(Mood::Hanging), None] {
        let hangs = mood == Some(Mood::Hanging);
        let stored = Stored::new(if hangs { Network::options() } else { patient() }).await;
        let metrics = &stored.grid.metrics;
        // The end of shard 2 and the beginning of shard 3, which is where it goes wrong.
        let (from, len) = (stored.shard_len() * 3 - 300 * KIB, 500 * KIB);
        let bad = &stored.network.miners[stored.home(3)];
        match mood {
            Some(mood) => bad.set(mood),
            None => bad.lose(&stored.part.stripes[0].hashes[3]),
        }
        let began = Instant::now();
        stored.reads(from, len).await;
        assert!(began.elapsed() < Duration::from_secs(10), "{mood:?}: {:?}", began.elapsed());
        assert_eq!(metrics.stripes_decoded.get(), 1, "{mood:?}");
        assert_eq!(metrics.shards_corrupt.get(), u64::from(mood == Some(Mood::Corrupt)), "{mood:?}");
        assert_eq!(metrics.hedges.get() > 0, hangs, "{mood:?}");
    }
}

/// Whose part arrived has the whole shard too: with it there are just the ten that it takes.
#[tokio::test(flavor = "multi_thread")]
async fn who_gave_a_part_gives_the_whole_where_no_other_is_left() {
    let stored = Stored::new(patient()).await;
    let left: Vec<usize> = [2, 5, 7, 11, 13, 17, 19, 21, 25, 29].map(|index| stored.home(index)).into();
    stored.network.disconnect((0..MINERS).filter(|miner| !left.contains(miner)));
    let (from, len) = (stored.shard_len() * 3 - 300 * KIB, 500 * KIB);
    stored.reads(from, len).await;
    assert_eq!(stored.grid.metrics.stripes_decoded.get(), 1);
}

/// A part counts for what it is: nobody is paid for more than was fetched.
#[tokio::test(flavor = "multi_thread")]
async fn a_miner_is_said_to_have_served_what_was_fetched_of_it() {
    let options = GridOptions { statement_interval: Duration::from_secs(1), ..patient() };
    let stored = Stored::new(options).await;
    stored.reads(200 * KIB, 4 * KIB).await;
    let stop = arion_daemon::Shutdown::new();
    let counting = tokio::spawn(stored.grid.clone().count_served(stop.clone()));
    let stating = tokio::spawn(stored.grid.clone().state_served(stop.clone()));
    let served = async || {
        let lines = stored.grid.meta.ledger_page(0, 1_000).await.unwrap();
        let bytes = lines.iter().map(|line| match &line.record {
            LedgerRecord::Served(served) => served.bytes,
            _ => 0,
        });
        bytes.sum::<u64>()
    };
    eventually("the ledger says what was served", async || served().await > 0).await;
    let sealed = 64 * KIB as u64 + 16;
    assert!([sealed, 2 * sealed].contains(&served().await), "{}", served().await);
    stop.trigger();
    counting.await.unwrap();
    stating.await.unwrap();
}
