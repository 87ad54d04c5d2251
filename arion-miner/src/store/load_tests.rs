//! Many files and many deletions at once: neither may hold up those who store and read.

use std::sync::Barrier;

use super::{
    crash_tests::{address, body, placement, quiet},
    keeper_tests::Bench,
    memory::{Faults, MemoryDisk},
    *,
};

/// More files than are kept open: the one that is read all the time stays open.
#[test]
fn a_file_in_use_stays_open_while_others_come_and_go() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), StoreOptions { segment_bytes: 1_000, ..quiet() });
    let shards: Vec<ShardHash> = (0..1_500).map(|number| bench.put(number, 700)).collect();
    let read = |shard: &ShardHash| assert!(bench.parts.store.read_blocking(shard).is_ok());
    read(&shards[0]);
    let before = disk.opened();
    for shard in &shards[1..] {
        read(shard);
        read(&shards[0]);
    }
    assert_eq!(disk.opened() - before, shards.len() as u64 - 1, "only the others were opened");
}

/// A disk that is slow to open a file holds up nobody who reads from another.
#[test]
fn files_are_opened_without_holding_others_up() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), StoreOptions { segment_bytes: 1_000, ..quiet() });
    let shards: Vec<ShardHash> = (0..3).map(|number| bench.put(number, 700)).collect();
    let shared = bench.parts.store.shared.clone();
    shared.segment(1).unwrap();
    let (entered, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (at, until) = (entered.clone(), leave.clone());
    let during_open: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        at.wait();
        until.wait();
    });
    disk.set_faults(Faults { during_open: Some(during_open), ..Faults::default() });
    let slow = shared.clone();
    let opening = std::thread::spawn(move || slow.segment(2).map(|_| ()));
    entered.wait();
    let (done, was_done) = unbounded();
    let others = shared.clone();
    let other = std::thread::spawn(move || {
        let spans = others.files().spans().len();
        done.send((others.segment(1).is_ok(), spans)).unwrap();
    });
    let answer = was_done.recv_timeout(Duration::from_secs(10));
    leave.wait();
    opening.join().unwrap().unwrap();
    other.join().unwrap();
    assert_eq!(answer, Ok((true, 3)), "held up by the opening of another file");
    assert_eq!(shards.len(), 3);
}

/// A process that may open no more files has no broken disk.
#[test]
fn too_many_open_files_are_no_failure_of_the_disk() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), StoreOptions { segment_bytes: 1_000, ..quiet() });
    let stored = bench.put(1, 700);
    disk.set_faults(Faults { no_more_files: true, ..Faults::default() });
    let mut put = |number: u32| {
        let body = body(number, 700);
        let (shard, placement) = (address(&body), placement(&body, number as u8));
        let checksum = body_checksum(&shard, &body);
        bench.ask(|reply| Change::Put { shard, placement, body, checksum, owner: Owner::NONE, reply })
    };
    assert!(put(2).is_err());
    disk.set_faults(Faults::default());
    assert!(put(2).is_ok(), "read-only for want of a file descriptor");
    assert!(!bench.parts.store.is_read_only());
    assert!(bench.parts.store.read_blocking(&stored).is_ok());
}

fn large_trash(count: u32) -> (MemoryDisk, Bench, Vec<ShardHash>) {
    let disk = MemoryDisk::default();
    let options = StoreOptions {
        segment_bytes: 4 << 20,
        scrub_period: Duration::ZERO,
        compact_below_percent: 0,
        ..quiet()
    };
    let mut bench = Bench::on(Arc::new(disk.clone()), options);
    let shards: Vec<ShardHash> = (0..count).map(|number| bench.put(number, 256 << 10)).collect();
    for shard in &shards {
        assert!(bench.delete(*shard));
    }
    bench.later(Duration::from_secs(24 * 3_600 + 1));
    (disk, bench, shards)
}

/// Holes take some file systems milliseconds: whoever stores does not wait for them, and they cost bandwidth.
#[test]
fn the_end_of_retention_makes_no_holes_on_the_writing_thread() {
    let (disk, mut bench, shards) = large_trash(40);
    let purged = bench.ask(|reply| Change::Purge { before_ms: u64::MAX, max: 256, reply }).unwrap();
    assert_eq!((purged, disk.punched()), (40, 0), "before the answer");
    let mut paced = 0;
    let Parts { writer, keeper, .. } = &mut bench.parts;
    let mut submit = |change: Change| {
        writer.process(std::iter::once(Queued::alone(change)));
        Ok(())
    };
    let mut pace = |bytes: u64| {
        paced += bytes;
        true
    };
    for _ in 0..10 {
        keeper.step(&mut submit, &mut pace);
    }
    assert_eq!(disk.punched(), 40);
    assert!(paced > 0, "under the limit of the background work");
    assert!(shards.iter().all(|shard| !bench.parts.store.knows(shard)));
}

/// Compaction and scrub of a file take minutes: retention ends meanwhile.
#[test]
fn retention_ends_while_a_file_is_compacted_or_scrubbed() {
    let disk = MemoryDisk::default();
    let options = StoreOptions { segment_bytes: 1 << 20, ..quiet() };
    let mut bench = Bench::on(Arc::new(disk.clone()), options);
    for number in 0..1_200 {
        let shard = bench.put(number, 4_000);
        if number % 2 == 0 {
            assert!(bench.delete(shard));
        }
    }
    assert_eq!(bench.parts.store.usage().trash_shards, 600);
    bench.later(Duration::from_secs(24 * 3_600 + 1));
    let shared = bench.parts.store.shared.clone();
    let Parts { writer, keeper, .. } = &mut bench.parts;
    let mut submit = |change: Change| {
        writer.process(std::iter::once(Queued::alone(change)));
        Ok(())
    };
    let mut steps = 0;
    // One file, at one shard after the other.
    keeper.step(&mut submit, &mut |_| {
        steps += 1;
        true
    });
    assert!(steps > 10);
    assert_eq!(shared.index().trash().len(), 0, "the rest waits for the file to be done");
}
