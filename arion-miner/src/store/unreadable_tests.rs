//! Sectors that the disk refuses to read: they cost the shards in them, not the disk.

use super::{
    crash_tests::quiet,
    keeper_tests::Bench,
    memory::MemoryDisk,
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

/// A file of which nothing can be read, the last one or another.
#[test]
fn a_file_that_cannot_be_read_costs_what_is_in_it() {
    for first in [FIRST, "segments/00000002.seg", "segments/00000003.seg"] {
        let disk = MemoryDisk::default();
        let options = || StoreOptions { segment_bytes: 3_300, ..quiet() };
        let mut bench = Bench::on(Arc::new(disk.clone()), options());
        let shards: Vec<ShardHash> = (0..6).map(|number| bench.put(number, 1_500)).collect();
        assert_eq!(bench.parts.store.shared.files().spans().len(), 3);
        drop(bench);
        disk.set_unreadable(first, 0..u64::MAX);
        let mut bench = Bench::on(Arc::new(disk.clone()), options());
        let read = shards.iter().filter(|shard| bench.parts.store.read_blocking(shard).is_ok()).count();
        assert_eq!(read, 4, "{first}");
        let newer = bench.put(77, 900);
        drop(bench);
        disk.set_readable();
        let bench = Bench::on(Arc::new(disk.clone()), options());
        for shard in shards.iter().chain([&newer]) {
            assert!(bench.parts.store.read_blocking(shard).is_ok(), "{first}");
        }
    }
}
