//! The ledger of a recovered gateway names what miners have, and nothing that they deleted for the gateway that was lost.

use std::{collections::HashMap, path::Path, sync::Arc};

use arion_daemon::{Shutdown, now_ms};
use arion_gateway::{
    grid::{Grid, GridOptions},
    manifest::{Manifest, StripeRecord},
    meta::{Allowance, BucketInfo, Condition, DeleteRequest, NewObject},
    object::ObjectInfo,
    snapshot::take::Taken,
};
use arion_protocol::LedgerRecord;
use arion_types::{NodeId, ShardHash, SignedReceipt};
use tokio::task::JoinHandle;

use crate::{
    machine::{Chain, recover, settle, snapshotter},
    network::{MINERS, Network, eventually, heir, open_meta, sample, write},
    rows::BUCKET,
};

const SEED: &[u8] = &[9];
const OBJECTS: usize = 12;

/// A stripe of its own for each object.
fn options() -> GridOptions {
    GridOptions { pack_object_bytes: 0, ..Network::options() }
}

async fn put(grid: &Arc<Grid>, number: usize) -> StripeRecord {
    let part = write(grid, &sample(5_000 + number)).await.unwrap();
    let record = part.stripes[0].clone();
    let info = ObjectInfo { manifest: rand::random(), size: part.plain_len, ..Default::default() };
    let (manifest, condition, allowance) = (Manifest::whole(part), Condition::default(), Allowance::NONE);
    let (bucket, key, origin) = (BUCKET.into(), number.to_string(), Default::default());
    let object = NewObject { bucket, key, info, manifest, condition, allowance, origin };
    grid.meta.put_object(object, 1).await.unwrap();
    record
}

async fn delete(grid: &Grid, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let request = DeleteRequest { bucket: BUCKET.into(), key: number.to_string(), ..Default::default() };
        grid.meta.delete(request, now_ms()).await.unwrap();
    }
}

/// A gateway that made a snapshot, deleted objects since, and is lost.
struct Lost {
    network: Network,
    chain: Arc<Chain>,
    stripes: Vec<StripeRecord>,
}

impl Lost {
    async fn having_deleted(numbers: std::ops::Range<usize>) -> Self {
        let (network, chain) = (Network::new(), Arc::new(Chain::default()));
        let directory = tempfile::tempdir().unwrap();
        let grid = network.grid_with(directory.path(), options());
        grid.meta.create_bucket(BUCKET.into(), BucketInfo::new("a".into(), 1)).await.unwrap();
        let mut stripes = Vec::new();
        for number in 0..OBJECTS {
            stripes.push(put(&grid, number).await);
        }
        settle(&grid).await;
        let snapshots = snapshotter(&grid, &chain, directory.path(), SEED);
        assert!(matches!(snapshots.take(false).await.unwrap(), Taken::New { .. }));
        delete(&grid, numbers).await;
        settle(&grid).await;
        Self { network, chain, stripes }
    }

    async fn recovered(&self, directory: &Path) -> Arc<Grid> {
        let (grid, _) = recover(&self.network, &self.chain, directory, SEED).await.unwrap();
        assert_eq!(grid.recover().await.unwrap(), 0);
        grid
    }

    fn reopened(&self, directory: &Path) -> Arc<Grid> {
        self.network.grid_of(heir(), open_meta(directory), Network::options())
    }

    /// How many miners have shards of stripes.
    fn holders(&self, stripes: &[StripeRecord]) -> usize {
        let shards = stripes.iter().flat_map(|stripe| &stripe.hashes);
        shards.map(|shard| self.network.miners.iter().filter(|miner| miner.holds(shard)).count()).sum()
    }

    /// The lines that say that miners have shards of objects, each said once. Whatever the ledger says that miners have is there.
    async fn lines(&self, grid: &Grid) -> HashMap<(ShardHash, NodeId), u64> {
        let mut lines = HashMap::new();
        for line in grid.meta.ledger_page(0, u16::MAX).await.unwrap() {
            match line.record {
                LedgerRecord::Stored(SignedReceipt { receipt, .. }) => {
                    assert_eq!(lines.insert((receipt.shard, receipt.node_id), line.sequence), None);
                }
                LedgerRecord::Deleted { shard } => lines.retain(|(named, _), _| *named != shard),
                _ => {}
            }
        }
        for ((shard, node), line) in &lines {
            let miner = self.network.miners.iter().find(|miner| miner.node_id() == *node).unwrap();
            assert!(miner.holds(shard), "line {line} accuses {node}");
        }
        let of_objects: Vec<&ShardHash> = self.stripes.iter().flat_map(|stripe| &stripe.hashes).collect();
        lines.retain(|(shard, _), _| of_objects.contains(&shard));
        lines
    }
}

fn upkeep(grid: &Arc<Grid>) -> (Shutdown, JoinHandle<()>) {
    let stop = Shutdown::new();
    (stop.clone(), tokio::spawn(grid.clone().upkeep(stop)))
}

async fn stop((stop, work): (Shutdown, JoinHandle<()>)) {
    stop.trigger();
    work.await.unwrap();
}

async fn until_unconfirmed(grid: &Grid, count: usize) {
    let is_so = async || grid.meta.unconfirmed_len().await.unwrap() == count as u64;
    eventually(&format!("{count} receipts wait"), is_so).await;
}

/// Miners that obeyed the lost gateway were accused by the new one's ledger, for as long as nobody deleted the objects once more.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_lost_gateway_deleted_is_in_no_ledger() {
    const DELETED: usize = 4;
    let lost = Lost::having_deleted(0..DELETED).await;
    let (gone, kept) = lost.stripes.split_at(DELETED);
    assert_eq!((lost.holders(gone), lost.holders(kept)), (0, kept.len() * MINERS));
    let directory = tempfile::tempdir().unwrap();
    let grid = lost.recovered(directory.path()).await;
    assert_eq!(lost.lines(&grid).await.len(), 0);
    assert_eq!(grid.meta.unconfirmed_len().await.unwrap() as usize, OBJECTS * MINERS);
    // Whoever leads: the metrics of a queue say the same everywhere.
    let measuring = tokio::spawn(grid.clone().measure(Shutdown::new()));
    let unconfirmed = || grid.metrics.shards_unconfirmed.get() as usize;
    eventually("the metric says so", async || unconfirmed() == OBJECTS * MINERS).await;
    let work = upkeep(&grid);
    until_unconfirmed(&grid, 0).await;
    assert_eq!(lost.lines(&grid).await.len(), kept.len() * MINERS);
    // What is gone is missing, and cannot be made again; what the snapshot itself takes is found.
    eventually("nothing else is missing", async || {
        grid.meta.backlog().await.unwrap() == ((gone.len() * MINERS) as u64, 0)
    })
    .await;
    eventually("the metric says so", async || unconfirmed() == 0).await;
    assert!(grid.meta.recount_occupied().await.unwrap());
    measuring.abort();
    stop(work).await;
    // Deleted once more: nothing is taken back that no line said.
    let before = grid.meta.ledger_len().await.unwrap();
    delete(&grid, 0..DELETED).await;
    settle(&grid).await;
    assert_eq!(grid.meta.ledger_len().await.unwrap(), before);
    delete(&grid, DELETED..OBJECTS).await;
    settle(&grid).await;
    assert_eq!(lost.holders(&lost.stripes), 0);
    assert_eq!(grid.meta.ledger_len().await.unwrap(), before + (kept.len() * MINERS) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_before_it_is_confirmed_leaves_nothing_behind() {
    let lost = Lost::having_deleted(0..0).await;
    let directory = tempfile::tempdir().unwrap();
    let grid = lost.recovered(directory.path()).await;
    delete(&grid, 0..OBJECTS / 2).await;
    lost.network.disconnect(3..6);
    let work = upkeep(&grid);
    until_unconfirmed(&grid, OBJECTS / 2 * 3).await;
    // While three of its miners are away.
    delete(&grid, OBJECTS / 2..OBJECTS).await;
    until_unconfirmed(&grid, 0).await;
    (3..6).for_each(|number| lost.network.connect(number));
    stop(work).await;
    settle(&grid).await;
    assert_eq!(lost.holders(&lost.stripes), 0);
    let stored = OBJECTS / 2 * (MINERS - 3);
    let deleted = grid.meta.ledger_page(0, u16::MAX).await.unwrap().into_iter();
    let deleted = deleted.filter(|line| matches!(line.record, LedgerRecord::Deleted { .. })).count();
    assert_eq!(deleted, stored, "a tombstone for each line");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_that_was_away_is_confirmed_when_it_is_back() {
    let lost = Lost::having_deleted(0..0).await;
    let directory = tempfile::tempdir().unwrap();
    let grid = lost.recovered(directory.path()).await;
    lost.network.disconnect(3..6);
    let work = upkeep(&grid);
    until_unconfirmed(&grid, OBJECTS * 3).await;
    assert_eq!(lost.lines(&grid).await.len(), OBJECTS * (MINERS - 3));
    stop(work).await;

    // Lost once more in the middle of it: what was confirmed is asked again, what was not is not forgotten.
    let snapshots = snapshotter(&grid, &lost.chain, directory.path(), SEED);
    assert!(matches!(snapshots.take(false).await.unwrap(), Taken::New { .. }));
    drop(snapshots);
    let elsewhere = tempfile::tempdir().unwrap();
    let second = lost.recovered(elsewhere.path()).await;
    assert_eq!(second.meta.unconfirmed_len().await.unwrap() as usize, OBJECTS * MINERS);
    drop((second, elsewhere));

    // A restart goes on. One of them has lost a shard meanwhile: that is sent to it again.
    drop(grid);
    let grid = lost.reopened(directory.path());
    assert_eq!(grid.meta.unconfirmed_len().await.unwrap() as usize, OBJECTS * 3);
    let away = &lost.network.miners[4];
    let shard = *lost.stripes[7].hashes.iter().find(|shard| away.holds(shard)).unwrap();
    away.lose(&shard);
    (3..6).for_each(|number| lost.network.connect(number));
    settle(&grid).await;
    assert!(away.holds(&shard));
    assert_eq!(lost.lines(&grid).await.len(), OBJECTS * MINERS);
    assert!(grid.meta.recount_occupied().await.unwrap());
}
