//! Whose shards are, over restarts, checkpoints, compaction and the scrub.

use super::{
    crash_tests::{address, body, placement, quiet},
    keeper_tests::Bench,
    layout::CHECKPOINT,
    memory::MemoryDisk,
    *,
};

const MINE: Owner = Owner(7);
const YOURS: Owner = Owner(8);

fn put(bench: &mut Bench, number: u8, owner: Owner) -> ShardHash {
    let body = body(number.into(), 300);
    let (shard, placement) = (address(&body), placement(&body, number));
    let checksum = body_checksum(&shard, &body);
    bench.ask(|reply| Change::Put { shard, placement, body, checksum, owner, reply }).unwrap();
    shard
}

#[test]
fn who_had_a_shard_stored_is_known_for_as_long_as_it_is_there() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shards = [MINE, YOURS, Owner::NONE].map(|owner| put(&mut bench, owner.0 as u8 + 1, owner));
    let owners = |bench: &Bench| shards.map(|shard| bench.parts.store.owner(&shard).unwrap().0);
    assert_eq!(owners(&bench), [7, 8, 0]);
    drop(bench);
    // From the log; then from a checkpoint; then from the log without one, rewritten.
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(owners(&bench), [7, 8, 0]);
    bench.parts.writer.write_checkpoint();
    drop(bench);
    let bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!((owners(&bench), bench.parts.store.report().scanned_records), ([7, 8, 0], 0));
    drop(bench);
    disk.remove(CHECKPOINT).unwrap();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(owners(&bench), [7, 8, 0]);
    assert!(bench.delete(shards[0]));
    assert_eq!(bench.parts.store.owner(&shards[0]), None);
    assert_eq!(bench.parts.store.owner(&ShardHash([1; 32])), None);
}

#[test]
fn what_somebody_else_counts_on_is_nobodys_alone() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shards = [1, 2, 3, 4].map(|number| put(&mut bench, number, MINE));
    let share = |bench: &mut Bench, shard: ShardHash, owner: Owner| {
        bench.ask(|reply| Change::Share { shard, owner, reply }).unwrap()
    };
    let delete_for = |bench: &mut Bench, shard: ShardHash, owner: Owner| {
        bench.ask(|reply| Change::Delete { shard, owed_since: None, only: Some(owner), reply })
    };
    put(&mut bench, 1, MINE);
    put(&mut bench, 2, YOURS);
    assert!(share(&mut bench, shards[0], MINE) && share(&mut bench, shards[2], YOURS));
    assert!(!share(&mut bench, ShardHash([1; 32]), YOURS), "it is not here");
    for (shard, owner) in [(shards[0], MINE), (shards[3], YOURS)] {
        assert!(bench.delete(shard));
        assert!(!share(&mut bench, shard, YOURS), "it is deleted, and stays so");
        assert!(bench.ask(|reply| Change::Restore { shard, owner, reply }).unwrap());
    }
    let owners = |bench: &Bench| shards.map(|shard| bench.parts.store.owner(&shard).unwrap().0);
    assert_eq!(owners(&bench), [7, 0, 0, 0]);
    put(&mut bench, 2, MINE);
    assert!(share(&mut bench, shards[2], MINE));
    assert_eq!(owners(&bench), [7, 0, 0, 0], "it is somebody else's still");
    // After a crash, too; then from a checkpoint.
    drop(bench);
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(owners(&bench), [7, 0, 0, 0]);
    bench.parts.writer.write_checkpoint();
    // The header on disk has the first one's number: that is no damage.
    bench.keep();
    let report = bench.parts.store.scrub_report();
    assert_eq!((report.shards, report.damaged, report.headers_healed), (4, 0, 0));
    drop(bench);
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(owners(&bench), [7, 0, 0, 0]);
    assert_eq!(delete_for(&mut bench, shards[2], MINE), Err(WriteError::Shared));
    assert_eq!(delete_for(&mut bench, shards[0], YOURS), Err(WriteError::Shared));
    assert_eq!(delete_for(&mut bench, shards[0], MINE), Ok(true));
    assert_eq!(delete_for(&mut bench, shards[0], YOURS), Ok(false), "it is deleted");
    // What was deleted is a new shard for whoever stores it.
    put(&mut bench, 1, YOURS);
    assert_eq!(owners(&bench), [8, 0, 0, 0]);
    // A copy that is damaged is written anew for those who had it.
    for (number, owner, expected) in [(1, YOURS, 8), (1, MINE, 0), (2, YOURS, 0)] {
        let (name, offset) = bench.location(&shards[number - 1]);
        disk.edit(&name, |bytes| bytes[(offset + RECORD_BYTES) as usize] ^= 1);
        put(&mut bench, number as u8, owner);
        assert_eq!(bench.parts.store.owner(&shards[number - 1]), Some(Owner(expected)));
    }
}

#[test]
fn what_is_nobodys_alone_stays_so_while_it_is_damaged() {
    let disk = MemoryDisk::default();
    let options = || StoreOptions { segment_bytes: 400_000, trash_retention: Duration::ZERO, ..quiet() };
    let mut bench = Bench::on(Arc::new(disk.clone()), options());
    let shard = put(&mut bench, 1, MINE);
    bench.ask(|reply| Change::Share { shard, owner: YOURS, reply }).unwrap();
    let (name, offset) = bench.location(&shard);
    disk.edit(&name, |bytes| bytes[(offset + RECORD_BYTES) as usize] ^= 1);
    let sequence = bench.parts.store.shared.index().get(&shard).unwrap().sequence;
    bench.ask(|reply| Change::Judge { shard, sequence, good: false, reply }).unwrap();
    // The file that says so is rewritten.
    let others: Vec<ShardHash> = (10..40).map(|number| bench.put(number, 30_000)).collect();
    for other in others {
        assert!(bench.delete(other));
    }
    bench.keep();
    let spans = bench.parts.store.shared.files().spans();
    assert!(spans[0].span.name() == name && spans[0].compacted > 0, "{spans:?}");
    drop(bench);
    let mut bench = Bench::on(Arc::new(disk.clone()), options());
    assert_eq!(bench.parts.store.owner(&shard), Some(Owner::NONE));
    put(&mut bench, 1, MINE);
    assert_eq!(bench.parts.store.owner(&shard), Some(Owner::NONE));
}
