//! Several disks as one: what one of them does to the others, and what it is told when it is back.

use std::path::Path;

use tempfile::TempDir;

use super::{
    crash_tests::{address, body, placement, quiet},
    memory::{Faults, MemoryDisk},
    *,
};

fn disks(count: usize) -> (Vec<MemoryDisk>, Volumes) {
    let disks: Vec<MemoryDisk> = (0..count).map(|_| MemoryDisk::default()).collect();
    let volumes = disks.iter().map(volume).collect();
    (disks, Volumes::new(volumes).unwrap())
}

fn volume(disk: &MemoryDisk) -> Volume {
    let options = StoreOptions { capacity_bytes: 10 * 416, ..quiet() };
    Volume::on(Path::new("disk"), Store::open_on(Arc::new(disk.clone()), options))
}

async fn put(volumes: &Volumes, number: u32) -> Result<ShardHash, WriteError> {
    let body = body(number, 300);
    let shard = address(&body);
    volumes.put(shard, placement(&body, number as u8), body).await.map(|_| shard)
}

#[tokio::test]
async fn shards_go_where_room_is_and_are_listed_once_in_order() {
    let (_, volumes) = disks(3);
    let mut shards = Vec::new();
    for number in 0..30 {
        shards.push(put(&volumes, number).await.unwrap());
        put(&volumes, number).await.unwrap();
    }
    for volume in volumes.volumes() {
        assert_eq!(volume.store().unwrap().usage().shards, 10, "evenly");
    }
    assert_eq!(put(&volumes, 30).await, Err(WriteError::NoSpace));
    shards.sort_unstable();
    let (mut listed, mut after) = (Vec::new(), None);
    while listed.len() < 30 {
        let page = volumes.list(after, 7);
        after = page.last().map(|line| line.shard);
        listed.extend(page.into_iter().map(|line| line.shard));
    }
    assert_eq!(listed, shards);
    assert!(volumes.list(after, 7).is_empty());
    assert!(volumes.delete(shards[3]).await.unwrap());
    assert!(volumes.stat(&shards[3]).is_none());
    assert!(volumes.restore(shards[3], Owner::NONE).await.unwrap());
    assert!(volumes.read_blocking(&shards[3]).is_ok());
    assert_eq!(volumes.usage().shards, 30);
    assert!(!volumes.delete(ShardHash([0; 32])).await.unwrap());
}

#[tokio::test]
async fn one_failed_disk_leaves_the_others_working() {
    let (disks, volumes) = disks(2);
    let mut shards = Vec::new();
    for number in 0..8 {
        shards.push(put(&volumes, number).await.unwrap());
    }
    let from = disks[0].operations();
    disks[0].set_faults(Faults { broken: Some(from..u64::MAX), ..Faults::default() });
    for number in 8..12 {
        shards.push(put(&volumes, number).await.unwrap());
    }
    assert!(volumes.volumes()[0].complaint().unwrap().contains("failed"));
    assert!(volumes.volumes()[1].complaint().is_none());
    assert_eq!(volumes.totals().failed_disks, 1);
    // What is left to store is what the other disk has.
    let usage = volumes.usage();
    assert_eq!(usage.capacity_bytes - usage.used_bytes, 2 * 416);
    let readable = shards.iter().filter(|shard| volumes.read_blocking(shard).is_ok()).count();
    assert_eq!(readable, 8, "the other disk's 4 and the 4 new ones");
    // The disk is gone at the next start.
    drop(volumes);
    let volumes = Volumes::new(vec![Volume::missing(Path::new("away")), volume(&disks[1])]).unwrap();
    assert_eq!(volumes.usage().shards, 8);
    assert!(volumes.volumes()[0].complaint().unwrap().contains("away"));
    let none = Volumes::new(vec![Volume::missing(Path::new("away"))]).map(|_| ()).unwrap_err();
    assert!(matches!(none, LayoutError::NoStore(_)));
}

#[tokio::test]
async fn a_failed_disk_keeps_no_shard_from_being_deleted_on_the_others() {
    let (disks, volumes) = disks(2);
    let shard = put(&volumes, 1).await.unwrap();
    let knows = |at: usize| volumes.volumes()[at].store().unwrap().knows(&shard);
    let holder = usize::from(knows(1));
    let from = disks[holder].operations();
    disks[holder].set_faults(Faults { broken: Some(from..u64::MAX), ..Faults::default() });
    // One that goes wrong, and then the shard again: to the other disk.
    let _ = volumes.volumes()[holder].store().unwrap().delete(shard).await;
    assert!(volumes.volumes()[holder].store().unwrap().is_read_only());
    put(&volumes, 1).await.unwrap();
    assert!(knows(0) && knows(1));
    let _ = volumes.delete(shard).await;
    let other = volumes.volumes()[1 - holder].store().unwrap();
    assert!(other.stat(&shard).is_none(), "still served by the healthy disk");
    let _ = volumes.restore(shard, Owner::NONE).await;
    assert!(other.stat(&shard).is_some(), "not restored on the healthy disk");
}

/// Two disks of one miner, whose data directory is `dir`, while its clock shows `now`.
fn two(dir: &Path, disks: [Option<&MemoryDisk>; 2], now: u64) -> Volumes {
    let clock: Clock = Arc::new(move || now);
    let volumes = disks.into_iter().zip(["a", "b"]).map(|(disk, name)| {
        let opened = match disk {
            Some(disk) => {
                let options = StoreOptions { clock: clock.clone(), ..quiet() };
                Store::open_on(Arc::new(disk.clone()), options)
            }
            None => Err(LayoutError::NoStore(name.into())),
        };
        Volume::on(Path::new(name), opened).owing(dir, clock.clone())
    });
    Volumes::new(volumes.collect()).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

#[test]
fn a_disk_that_comes_back_is_told_what_was_deleted_meanwhile() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (MemoryDisk::default(), MemoryDisk::default());
    let volumes = two(dir.path(), [Some(&a), None], 1);
    let shards: Vec<ShardHash> = (0..4).map(|number| run(put(&volumes, number)).unwrap()).collect();
    drop(volumes);
    // Away: one is deleted, one deleted and restored, one deleted and stored again.
    let volumes = two(dir.path(), [None, Some(&b)], 5);
    for shard in &shards[..3] {
        assert!(!run(volumes.delete(*shard)).unwrap(), "not on a disk that is there");
    }
    assert!(!run(volumes.restore(shards[1], Owner::NONE)).unwrap());
    let again = body(2, 300);
    run(volumes.put(shards[2], placement(&again, 2), again)).unwrap();
    assert_eq!(volumes.owed_deletions(), 2);
    drop(volumes);
    // A restart in between changes nothing.
    assert_eq!(two(dir.path(), [None, Some(&b)], 8).owed_deletions(), 2);
    let volumes = two(dir.path(), [Some(&a), Some(&b)], 9);
    assert_eq!(volumes.owed_deletions(), 0);
    let there: Vec<bool> = shards.iter().map(|shard| volumes.read_blocking(shard).is_ok()).collect();
    assert_eq!(there, [false, true, true, true]);
    assert_eq!(volumes.list(None, 10).len(), 3);
    let state = volumes.volumes()[0].store().unwrap().shared.index().get(&shards[0]).map(|entry| entry.state);
    assert_eq!(state, Some(State::Trashed { at: 5 }), "its retention began when it was deleted");
    assert!(volumes.volumes()[0].store().unwrap().stat(&shards[2]).is_none(), "its old copy is deleted");
    assert!(run(volumes.restore(shards[0], Owner::NONE)).unwrap(), "trash as always");
    drop(volumes);
    // It is told once.
    assert_eq!(two(dir.path(), [Some(&a), Some(&b)], 10).list(None, 10).len(), 4);
}

#[test]
fn a_read_only_disk_serves_nothing_that_was_deleted() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (MemoryDisk::default(), MemoryDisk::default());
    let volumes = two(dir.path(), [Some(&a), None], 1);
    let shards: Vec<ShardHash> = (0..5).map(|number| run(put(&volumes, number)).unwrap()).collect();
    drop(volumes);
    let volumes = two(dir.path(), [Some(&a), Some(&b)], 5);
    // One write fails.
    let from = a.operations();
    a.set_faults(Faults { broken: Some(from..from + 1), ..Faults::default() });
    assert!(run(volumes.delete(shards[0])).unwrap(), "the deletion that finds out");
    assert!(volumes.volumes()[0].store().unwrap().is_read_only());
    assert!(run(volumes.delete(shards[1])).unwrap());
    assert!(!run(volumes.delete(shards[1])).unwrap(), "deleted before");
    let served = |shard: &ShardHash| volumes.read_blocking(shard).is_ok() && volumes.stat(shard).is_some();
    assert_eq!(shards.iter().map(served).collect::<Vec<_>>(), [false, false, true, true, true]);
    let mut listed = Vec::new();
    while let Some(line) = volumes.list(listed.last().copied(), 1).first() {
        listed.push(line.shard);
    }
    assert_eq!(listed.len(), 3);
    assert!(run(volumes.restore(shards[1], Owner::NONE)).unwrap() && served(&shards[1]));
    assert_eq!(volumes.owed_deletions(), 1);
    drop(volumes);
    let volumes = two(dir.path(), [Some(&a), Some(&b)], 5);
    assert_eq!((volumes.owed_deletions(), volumes.list(None, 10).len()), (0, 4));
    assert!(volumes.read_blocking(&shards[0]).is_err());
}
