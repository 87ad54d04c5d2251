//! Sectors that the disk refuses to read: they cost the shards in them, not the disk.

use super::{
    crash_tests::{address, body, quiet},
    keeper_tests::Bench,
    memory::{Faults, MemoryDisk},
    *,
};

const FIRST: &str = "segments/00000001.seg";

fn stored() -> (MemoryDisk, Vec<ShardHash>) {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shards = (0..6).map(|number| bench.put(number, 1_500)).collect();
    (disk, shards)
}

/// Whole pages, since that is what is read ahead: any sector of the log that no checkpoint covers: the store starts, takes new shards, and serves what is whole; when
/// the disk reads again nothing is lost.
#[test]
fn a_sector_that_cannot_be_read_costs_what_is_in_it() {
    let length = stored().0.content(FIRST).unwrap().len() as u64;
    let record = RECORD_BYTES + 1_500 + TRAILER_BYTES;
    for from in (0..length).step_by(512) {
        let (disk, shards) = stored();
        disk.set_unreadable(FIRST, from..from + 512);
        let bad = from / 4_096 * 4_096..(from / 4_096 + 1) * 4_096;
        let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
        assert!(!bench.parts.store.is_read_only());
        for (number, shard) in shards.iter().enumerate() {
            let begin = SEGMENT_HEADER_BYTES + number as u64 * record;
            let touched = begin < bad.end && bad.start < begin + record;
            let read = bench.parts.store.read_blocking(shard);
            assert!(touched || read.is_ok(), "sector at {from}, shard {number}: {read:?}");
        }
        let newer = bench.put(77, 900);
        drop(bench);
        let bench = Bench::on(Arc::new(disk.clone()), quiet());
        assert!(bench.parts.store.read_blocking(&newer).is_ok(), "sector at {from}");
        drop(bench);
        disk.set_readable();
        let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
        bench.keep();
        for (number, shard) in shards.iter().chain([&newer]).enumerate() {
            let read = bench.parts.store.read_blocking(shard);
            assert!(read.is_ok(), "sector at {from}, shard {number} afterwards: {read:?}");
        }
    }
}

/// The page that the next record would begin in, behind a checkpoint that makes reading it needless: a disk that cannot
/// read it cannot add to it either.
#[test]
fn the_log_goes_on_elsewhere_where_its_end_cannot_be_read() {
    let (disk, shards) = stored();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    bench.parts.writer.write_checkpoint();
    drop(bench);
    let end = disk.content(FIRST).unwrap().len() as u64;
    let page = end / 4_096 * 4_096;
    assert!(page + 512 < end, "the test wants a part of a page at the end");
    disk.set_unreadable(FIRST, page..page + 512);
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let newer = bench.put(77, 900);
    assert!(!bench.parts.store.is_read_only());
    drop(bench);
    // Without the checkpoint all of the log is read.
    disk.edit("checkpoint", |bytes| bytes[0] ^= 1);
    let bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert!(bench.parts.store.read_blocking(&newer).is_ok());
    assert!(bench.parts.store.read_blocking(&shards[0]).is_ok());
    drop(bench);
    disk.set_readable();
    let bench = Bench::on(Arc::new(disk), quiet());
    for shard in shards.iter().chain([&newer]) {
        assert!(bench.parts.store.read_blocking(shard).is_ok());
    }
}

/// A disk that refuses for a moment, at any moment of a start that has to search the log: nothing is passed over unsaid.
#[test]
fn what_is_refused_for_a_moment_is_found_or_counted() {
    let (disk, shards) = stored();
    disk.edit(FIRST, |bytes| bytes[SEGMENT_HEADER_BYTES as usize + 8] ^= 1);
    for at in 0..60 {
        let disk = disk.after_kill();
        disk.set_faults(Faults { broken: Some(at..at + 4), ..Faults::default() });
        let Ok(parts) = Store::assemble(Arc::new(disk.clone()), quiet()) else { continue };
        disk.set_faults(Faults::default());
        let report = parts.store.report();
        let told = report.unreadable_bytes + report.unreadable_files + report.damaged_records > 0;
        let lost = shards[1..].iter().filter(|shard| parts.store.read_blocking(shard).is_err()).count();
        assert!(told || lost == 0, "refused from {at} on: {lost} lost, {report:?}");
    }
}

/// A file of which nothing can be read, or which cannot be opened; the last one or another; in a checkpoint or not.
#[test]
fn a_file_that_cannot_be_read_costs_what_is_in_it() {
    for first in [FIRST, "segments/00000002.seg", "segments/00000003.seg"] {
        for (unreadable, checkpoint) in
            [(0..u64::MAX, false), (0..u64::MAX, true), (0..1 << 40, false), (0..1 << 40, true)]
        {
            let case = format!("{first} {unreadable:?} {checkpoint}");
            let disk = MemoryDisk::default();
            let options = || StoreOptions { segment_bytes: 3_300, ..quiet() };
            let mut bench = Bench::on(Arc::new(disk.clone()), options());
            let shards: Vec<ShardHash> = (0..6).map(|number| bench.put(number, 1_500)).collect();
            assert_eq!(bench.parts.store.shared.files().spans().len(), 3);
            if checkpoint {
                bench.parts.writer.write_checkpoint();
            }
            drop(bench);
            disk.set_unreadable(first, unreadable);
            let mut bench = Bench::on(Arc::new(disk.clone()), options());
            let is_read = |shard: &&ShardHash| bench.parts.store.read_blocking(shard).is_ok();
            assert_eq!(shards.iter().filter(is_read).count(), 4, "{case}");
            let newer = bench.put(77, 900);
            drop(bench);
            disk.set_readable();
            let bench = Bench::on(Arc::new(disk.clone()), options());
            for shard in shards.iter().chain([&newer]) {
                assert!(bench.parts.store.read_blocking(shard).is_ok(), "{case}");
            }
        }
    }
}

/// A store of four files of ten shards: one of the first and three of the second are left, all of the others.
fn half_dead() -> (MemoryDisk, Bench, Vec<(u32, ShardHash)>) {
    let disk = MemoryDisk::default();
    let options = StoreOptions {
        segment_bytes: 150_000,
        trash_retention: Duration::ZERO,
        scrub_period: Duration::ZERO,
        ..quiet()
    };
    let mut bench = Bench::on(Arc::new(disk.clone()), options);
    let mut shards: Vec<(u32, ShardHash)> =
        (0..40).map(|number| (number, bench.put(number, 14_000))).collect();
    shards.retain(|(number, shard)| {
        let keep = *number == 5 || (13..16).contains(number) || *number >= 20;
        assert!(keep || bench.delete(*shard));
        keep
    });
    (disk, bench, shards)
}

#[test]
fn compaction_goes_on_with_other_files_where_one_cannot_be_read() {
    let (disk, mut bench, shards) = half_dead();
    let entry = bench.parts.store.shared.index().get(&shards[0].1).unwrap();
    assert_eq!(entry.segment, 1, "the emptiest file");
    let at = entry.body_offset() + 5_000;
    disk.set_unreadable(FIRST, at..at + 512);
    bench.keep();
    let length = |name: &str| disk.content(name).map_or(0, |content| content.len());
    assert!(length("segments/00000002.seg") < 50_000, "the second is compacted");
    for (number, shard) in &shards[1..] {
        assert_eq!(bench.parts.store.read_blocking(shard).unwrap().1, body(*number, 14_000));
    }
    assert!(bench.parts.store.read_blocking(&shards[0].1).is_err());
    assert_eq!(bench.parts.store.quarantined(9), [shards[0].1], "others are to notice");
    // What is known to be lost is no reason to keep the rest of its file for ever.
    bench.later(Duration::from_secs(3_600));
    bench.keep();
    assert!(length(FIRST) < 50_000, "the first is compacted");
    assert_eq!(bench.parts.store.quarantined(9), [shards[0].1]);
    assert_eq!(bench.put(5, 14_000), shards[0].1);
    assert_eq!(bench.parts.store.read_blocking(&shards[0].1).unwrap().1, body(5, 14_000));
    assert_eq!(address(&body(5, 14_000)), shards[0].1);
}

#[test]
fn compaction_leaves_a_full_disk_alone() {
    let (disk, mut bench, shards) = half_dead();
    disk.set_free_bytes(20_000);
    let made = disk.opened();
    bench.keep();
    for _ in 0..10 {
        bench.later(Duration::from_secs(30));
        bench.keep();
    }
    let length = |name: &str| disk.content(name).map_or(0, |content| content.len());
    assert!(length("segments/00000002.seg") > 140_000, "its rest does not fit");
    assert!(disk.opened() - made < 100, "{} files opened", disk.opened() - made);
    assert!(!bench.parts.store.shared.was_full.load(Ordering::Relaxed));
    disk.set_free_bytes(1 << 30);
    bench.later(Duration::from_secs(2 * 24 * 3_600));
    bench.keep();
    assert!(length("segments/00000002.seg") < 50_000);
    for (_, shard) in &shards {
        assert!(bench.parts.store.read_blocking(shard).is_ok());
    }
}
