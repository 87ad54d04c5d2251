//! Whose shards are, over restarts, checkpoints, compaction and the scrub.

use super::{
    crash_tests::{address, body, placement, quiet},
    keeper_tests::Bench,
    layout::CHECKPOINT,
    memory::MemoryDisk,
    *,
};

const MINE: Order = Order { owner: Owner(7), shares: true };
const YOURS: Order = Order { owner: Owner(8), shares: true };
const REPAIR: Order = Order { owner: Owner(9), shares: false };

fn put(bench: &mut Bench, number: u8, order: Order) -> ShardHash {
    let body = body(number.into(), 300);
    let (shard, placement) = (address(&body), placement(&body, number));
    let checksum = body_checksum(&shard, &body);
    bench.ask(|reply| Change::Put { shard, placement, body, checksum, order, reply }).unwrap();
    shard
}

#[test]
fn who_had_a_shard_stored_is_known_for_as_long_as_it_is_there() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shards = [MINE, YOURS, REPAIR, Order::default()].map(|order| {
        let number = order.owner.0 as u8 + 1;
        put(&mut bench, number, order)
    });
    let owners = |bench: &Bench| shards.map(|shard| bench.parts.store.owner(&shard).unwrap().0);
    assert_eq!(owners(&bench), [7, 8, 9, 0]);
    drop(bench);
    // From the log; then from a checkpoint; then from the log without one, rewritten.
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(owners(&bench), [7, 8, 9, 0]);
    bench.parts.writer.write_checkpoint();
    drop(bench);
    let bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!((owners(&bench), bench.parts.store.report().scanned_records), ([7, 8, 9, 0], 0));
    drop(bench);
    disk.remove(CHECKPOINT).unwrap();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(owners(&bench), [7, 8, 9, 0]);
    assert!(bench.delete(shards[0]));
    assert_eq!(bench.parts.store.owner(&shards[0]), None);
    assert_eq!(bench.parts.store.owner(&ShardHash([1; 32])), None);
}

#[test]
fn what_somebody_else_stores_again_is_nobodys_alone() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shards = [1, 2, 3].map(|number| put(&mut bench, number, MINE));
    put(&mut bench, 1, MINE);
    put(&mut bench, 2, YOURS);
    put(&mut bench, 3, REPAIR);
    let owners = |bench: &Bench| shards.map(|shard| bench.parts.store.owner(&shard).unwrap().0);
    assert_eq!(owners(&bench), [7, 0, 7]);
    put(&mut bench, 2, MINE);
    assert_eq!(owners(&bench), [7, 0, 7], "it is somebody else's still");
    bench.parts.writer.write_checkpoint();
    // The header on disk has the first one's number: that is no damage.
    bench.keep();
    let report = bench.parts.store.scrub_report();
    assert_eq!((report.shards, report.damaged, report.headers_healed), (3, 0, 0));
    drop(bench);
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(owners(&bench), [7, 0, 7]);
    // A copy that is damaged is written anew for those who had it.
    for (number, order, expected) in [(1, REPAIR, 7), (2, YOURS, 0), (3, YOURS, 0)] {
        let (name, offset) = bench.location(&shards[number - 1]);
        disk.edit(&name, |bytes| bytes[(offset + RECORD_BYTES) as usize] ^= 1);
        put(&mut bench, number as u8, order);
        assert_eq!(bench.parts.store.owner(&shards[number - 1]), Some(Owner(expected)));
    }
    // What was deleted is a new shard for whoever stores it.
    assert!(bench.delete(shards[1]));
    put(&mut bench, 2, YOURS);
    assert_eq!(bench.parts.store.owner(&shards[1]), Some(YOURS.owner));
}
