//! A shard that is stored again: what it replaces is given up when the new bytes are durable, and not before.

use super::{
    crash_tests::{address, body, placement, quiet},
    keeper_tests::Bench,
    memory::{Chance, Faults, MemoryDisk},
    *,
};

const LENGTH: usize = 3_000;

/// Stores the shard again on a disk that dies after so many operations; whether it died before the answer.
fn put_and_die(bench: &mut Bench, disk: &MemoryDisk, operations: u64) -> bool {
    let body = body(1, LENGTH);
    let (shard, placement) = (address(&body), placement(&body, 1));
    let checksum = body_checksum(&shard, &body);
    let dies_at = Some(disk.operations() + operations);
    disk.set_faults(Faults { dies_at, ..Faults::default() });
    let put = bench.ask(|reply| Change::Put { shard, placement, body, checksum, owner: Owner::NONE, reply });
    put == Err(WriteError::Failed)
}

/// What is left of the shard after many power cuts, at each start of two.
fn after_power_cuts(disk: &MemoryDisk, check: impl Fn(Bench, u64)) {
    for seed in 0..300 {
        let disk = disk.after_power_cut(&mut Chance(seed));
        disk.set_readable();
        for _ in 0..2 {
            check(Bench::on(Arc::new(disk.clone()), quiet()), seed);
        }
    }
}

#[test]
fn trash_outlives_a_put_that_nobody_was_told_of() {
    let mut deaths = 0;
    for operations in 0..8 {
        let disk = MemoryDisk::default();
        let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
        let shard = bench.put(1, LENGTH);
        assert!(bench.delete(shard));
        if !put_and_die(&mut bench, &disk, operations) {
            continue;
        }
        deaths += 1;
        drop(bench);
        after_power_cuts(&disk, |mut bench, seed| {
            assert!(bench.restore(shard), "{operations} operations, seed {seed}: the trash is gone");
            assert_eq!(bench.parts.store.read_blocking(&shard).unwrap().1, body(1, LENGTH));
        });
    }
    assert!(deaths >= 2, "before and in the sync");
}

/// A disk that cannot be read for a while makes the store write a shard anew that is good.
#[test]
fn an_acknowledged_shard_outlives_a_put_that_nobody_was_told_of() {
    let mut deaths = 0;
    for operations in 0..12 {
        let disk = MemoryDisk::default();
        let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
        let shard = bench.put(1, LENGTH);
        disk.set_unreadable("segments/00000001.seg", 200..1_000);
        if !put_and_die(&mut bench, &disk, operations) {
            continue;
        }
        deaths += 1;
        drop(bench);
        after_power_cuts(&disk, |bench, seed| {
            let read = bench.parts.store.read_blocking(&shard);
            assert!(read.is_ok(), "{operations} operations, seed {seed}: {read:?}");
        });
    }
    assert!(deaths >= 3);
}

/// Each put has its own deletion in the log in the end, and none that is alive: the log alone says the same.
#[test]
fn what_was_replaced_is_dead_in_the_log_too() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shard = bench.put(1, LENGTH);
    for _ in 0..3 {
        assert!(bench.delete(shard));
        bench.put(1, LENGTH);
    }
    let other = bench.put(2, 100);
    assert!(bench.delete(shard));
    drop(bench);
    let mut bench =
        Bench::on(Arc::new(disk.clone()), StoreOptions { trash_retention: Duration::ZERO, ..quiet() });
    assert_eq!(bench.parts.store.usage().trash_shards, 1);
    assert!(bench.delete(other));
    bench.later(Duration::from_secs(2 * 24 * 3_600));
    bench.keep();
    drop(bench);
    // From the first record on, whatever a checkpoint says.
    let _ = disk.remove("checkpoint");
    let bench = Bench::on(Arc::new(disk.clone()), quiet());
    let usage = bench.parts.store.usage();
    assert_eq!((usage.shards, usage.trash_shards), (0, 0));
}

/// A replaced put whose deletion is not written yet must not come back when its successor is deleted.
#[test]
fn a_deletion_right_behind_a_replacement_deletes_both() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shard = bench.put(1, LENGTH);
    assert!(bench.delete(shard));
    drop(bench);
    let options = StoreOptions { trash_retention: Duration::ZERO, ..quiet() };
    let mut bench = Bench::on(Arc::new(disk.clone()), options);
    let body = body(1, LENGTH);
    let (placement, checksum) = (placement(&body, 1), body_checksum(&shard, &body));
    let (stored, mut was_stored) = oneshot::channel();
    let (deleted, mut was_deleted) = oneshot::channel();
    let changes = [
        Change::Put { shard, placement, body, checksum, owner: Owner::NONE, reply: stored },
        Change::Delete { shard, owed_since: None, only: None, reply: deleted },
    ];
    bench.parts.writer.process(changes.into_iter().map(Queued::alone));
    assert!(was_stored.try_recv().unwrap().unwrap().new);
    assert!(was_deleted.try_recv().unwrap().unwrap());
    drop(bench);
    let bench = Bench::on(Arc::new(disk.clone()), quiet());
    let usage = bench.parts.store.usage();
    assert_eq!((usage.shards, usage.trash_shards), (0, 0));
}
