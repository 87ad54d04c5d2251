//! What the background thread does, step by step and without the thread: retention, scrub, compaction.

use std::sync::atomic::AtomicU64;

use tempfile::TempDir;

use super::{
    crash_tests::{address, body, placement, quiet},
    memory::MemoryDisk,
    *,
};

/// A store whose changes happen where they are asked for.
pub(super) struct Bench {
    pub(super) parts: Parts,
    pub(super) now: Arc<AtomicU64>,
}

impl Bench {
    pub(super) fn on(disk: Arc<dyn Disk>, options: StoreOptions) -> Self {
        let now = Arc::new(AtomicU64::new(1_800_000_000_000));
        let clock = now.clone();
        let clock: Clock = Arc::new(move || clock.load(Ordering::SeqCst));
        let parts = Store::assemble(disk, StoreOptions { clock, ..options }).unwrap();
        Self { parts, now }
    }

    pub(super) fn ask<T>(&mut self, change: impl FnOnce(oneshot::Sender<T>) -> Change) -> T {
        let (reply, mut answer) = oneshot::channel();
        self.parts.writer.process(std::iter::once(Queued::alone(change(reply))));
        answer.try_recv().unwrap()
    }

    pub(super) fn put(&mut self, number: u32, length: usize) -> ShardHash {
        let body = body(number, length);
        let (shard, placement) = (address(&body), placement(&body, number as u8));
        let checksum = body_checksum(&shard, &body);
        self.ask(|reply| Change::Put { shard, placement, body, checksum, owner: Owner::NONE, reply })
            .unwrap();
        shard
    }

    pub(super) fn delete(&mut self, shard: ShardHash) -> bool {
        self.ask(|reply| Change::Delete { shard, owed_since: None, only: None, reply }).unwrap()
    }

    pub(super) fn restore(&mut self, shard: ShardHash) -> bool {
        self.ask(|reply| Change::Restore { shard, owner: Owner::NONE, reply }).unwrap()
    }

    fn reads(&self, shard: &ShardHash) -> bool {
        self.parts.store.read_blocking(shard).is_ok()
    }

    /// Steps until nothing is left to do.
    pub(super) fn keep(&mut self) {
        let Parts { writer, keeper, .. } = &mut self.parts;
        let mut submit = |change: Change| {
            writer.process(std::iter::once(Queued::alone(change)));
            Ok(())
        };
        for _ in 0..1_000 {
            if !keeper.step(&mut submit, &mut |_| true) {
                return;
            }
        }
        panic!("the background work does not end");
    }

    pub(super) fn later(&self, time: Duration) {
        self.now.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }

    pub(super) fn location(&self, shard: &ShardHash) -> (String, u64) {
        let entry = self.parts.store.shared.index().get(shard).unwrap();
        let spans = self.parts.store.shared.files().spans();
        let span = spans.iter().find(|known| known.span.first == entry.segment).unwrap().span;
        (span.name(), entry.offset)
    }
}

#[test]
fn a_deleted_shard_can_be_restored_until_its_retention_ends() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let [kept, gone] = [bench.put(1, 300), bench.put(2, 300)];
    assert!(bench.delete(kept) && bench.delete(gone));
    assert!(!bench.delete(gone), "deleted before");
    assert!(!bench.reads(&kept) && bench.parts.store.stat(&kept).is_none());
    let usage = bench.parts.store.usage();
    assert_eq!((usage.shards, usage.used_bytes, usage.trash_shards), (0, 0, 2));
    // Over a restart as well.
    drop(bench);
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert!(bench.restore(kept));
    assert!(bench.restore(kept), "restoring again is harmless");
    assert!(bench.reads(&kept));
    bench.later(Duration::from_secs(24 * 3_600 + 1));
    bench.keep();
    assert!(!bench.restore(gone));
    assert_eq!(bench.parts.store.usage().trash_shards, 0);
    assert!(!bench.restore(ShardHash([9; 32])), "never stored");
    assert!(bench.reads(&kept));
}

#[test]
fn trash_yields_when_its_room_is_needed_oldest_first() {
    let options = StoreOptions { capacity_bytes: 3 * (RECORD_BYTES + 300 + TRAILER_BYTES), ..quiet() };
    let mut bench = Bench::on(Arc::new(MemoryDisk::default()), options);
    let shards = [bench.put(1, 300), bench.put(2, 300), bench.put(3, 300)];
    for shard in shards {
        bench.later(Duration::from_secs(1));
        assert!(bench.delete(shard));
    }
    bench.put(4, 300);
    assert!(!bench.restore(shards[0]), "the oldest");
    assert!(bench.restore(shards[1]) && bench.restore(shards[2]));
    assert_eq!(bench.parts.store.counters().pushed_out.load(Ordering::Relaxed), 1);
}

#[test]
fn the_scrub_quarantines_what_is_bad_and_good_bytes_bring_it_back() {
    let disk = MemoryDisk::default();
    let options = StoreOptions { segment_bytes: 1_000, ..quiet() };
    let mut bench = Bench::on(Arc::new(disk.clone()), options);
    let shards: Vec<ShardHash> = (0..6).map(|number| bench.put(number, 300)).collect();
    let (name, offset) = bench.location(&shards[2]);
    disk.edit(&name, |bytes| bytes[offset as usize + 200] ^= 1);
    bench.keep();
    let report = bench.parts.store.scrub_report();
    assert_eq!((report.shards, report.damaged, report.started_at), (6, 1, 0));
    assert_eq!(report.finished_at, bench.now.load(Ordering::SeqCst));
    assert_eq!(bench.parts.store.quarantined(10), [shards[2]]);
    assert!(bench.parts.store.stat(&shards[2]).is_none(), "others see that it is missing");
    assert!(matches!(bench.parts.store.read_blocking(&shards[2]), Err(ReadError::Damaged)));
    assert_eq!(bench.parts.store.list(None, 10).len(), 5);
    // Not again before the period ends; report and quarantine are known after a restart.
    disk.edit(&name, |bytes| bytes[offset as usize + 200] ^= 1);
    drop(bench);
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    bench.keep();
    assert_eq!(bench.parts.store.scrub_report(), report);
    assert_eq!(bench.parts.store.usage().quarantined, 1);
    // The disk gives good bytes again: the next round notices.
    bench.later(Duration::from_secs(30 * 24 * 3_600));
    bench.keep();
    assert_eq!(bench.parts.store.scrub_report().damaged, 0);
    assert!(bench.reads(&shards[2]));
    // Or somebody stores it again.
    let (name, offset) = bench.location(&shards[3]);
    disk.edit(&name, |bytes| bytes[offset as usize + 200] ^= 1);
    bench.later(Duration::from_secs(30 * 24 * 3_600));
    bench.keep();
    assert!(!bench.reads(&shards[3]));
    assert_eq!(bench.put(3, 300), shards[3]);
    assert!(bench.reads(&shards[3]) && bench.parts.store.quarantined(1).is_empty());
}

#[test]
fn the_scrub_writes_a_damaged_header_anew() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shards = [bench.put(1, 300), bench.put(2, 300)];
    let (name, offset) = bench.location(&shards[0]);
    disk.edit(&name, |bytes| bytes[offset as usize + 50] ^= 1);
    bench.keep();
    assert_eq!(bench.parts.store.scrub_report().headers_healed, 1);
    drop(bench);
    // Without a checkpoint: the whole log is read.
    let bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(bench.parts.store.report().skipped_bytes, 0);
    assert!(bench.reads(&shards[0]) && bench.reads(&shards[1]));
}

#[test]
fn the_scrub_goes_on_where_a_restart_stopped_it() {
    let disk = MemoryDisk::default();
    let options = || StoreOptions { segment_bytes: 1_000, ..quiet() };
    let mut bench = Bench::on(Arc::new(disk.clone()), options());
    for number in 0..8 {
        bench.put(number, 300);
    }
    let Parts { writer, keeper, .. } = &mut bench.parts;
    let mut submit = |change: Change| {
        writer.process(std::iter::once(Queued::alone(change)));
        Ok(())
    };
    assert!(keeper.step(&mut submit, &mut |_| true));
    let half = bench.parts.store.scrub_report();
    assert!(half.shards > 0 && half.started_at > 0);
    drop(bench);
    let mut bench = Bench::on(Arc::new(disk.clone()), options());
    assert_eq!(bench.parts.store.scrub_report(), half);
    bench.keep();
    assert_eq!(bench.parts.store.scrub_report().shards, 8);
}

/// Bytes of all segment files.
fn log_bytes(disk: &MemoryDisk) -> u64 {
    let names = disk.names().into_iter().filter(|name| name.ends_with(".seg"));
    names.map(|name| disk.open(&name).unwrap().length().unwrap()).sum()
}

#[test]
fn compaction_leaves_what_is_needed_and_no_trace_of_the_rest() {
    let disk = MemoryDisk::default();
    let options = || StoreOptions {
        segment_bytes: 400_000,
        trash_retention: Duration::ZERO,
        scrub_period: Duration::ZERO,
        ..quiet()
    };
    let mut bench = Bench::on(Arc::new(disk.clone()), options());
    let mut shards: Vec<(u32, ShardHash)> =
        (0..400).map(|number| (number, bench.put(number, 4_000))).collect();
    shards.retain(|(number, shard)| {
        let keep = number % 10 == 3;
        assert!(keep || bench.delete(*shard));
        keep
    });
    // The log goes on, so that the files with the deletions are not written any more.
    for number in 1_000..1_200 {
        let shard = bench.put(number, 4_000);
        bench.delete(shard);
    }
    bench.keep();
    let used = bench.parts.store.usage().used_bytes;
    let left = log_bytes(&disk) - disk.content(&bench.parts.writer.span.name()).unwrap().len() as u64;
    assert!(left < 2 * used, "{left} bytes for {used}");
    let files = bench.parts.store.shared.files().spans();
    assert!(files.len() <= 5, "{files:?}");
    for (number, shard) in &shards {
        assert_eq!(bench.parts.store.read_blocking(shard).unwrap().1, body(*number, 4_000));
    }
    // The log alone says the same: nothing deleted comes back.
    let check = |bench: &Bench| {
        assert_eq!(bench.parts.store.usage().shards, 40);
        for (_, shard) in &shards {
            assert!(bench.reads(shard));
        }
    };
    drop(bench);
    let bench = Bench::on(Arc::new(disk.clone()), options());
    check(&bench);
    drop(bench);
    // With a checkpoint from before the next compaction, too.
    let mut bench = Bench::on(Arc::new(disk.clone()), options());
    bench.parts.writer.write_checkpoint();
    let old = disk.content("checkpoint").unwrap();
    for (number, shard) in shards.iter().filter(|(number, _)| number % 20 == 3) {
        assert!(bench.delete(*shard), "{number}");
    }
    for number in 2_000..2_200 {
        bench.put(number, 4_000);
    }
    bench.keep();
    bench.parts.writer.write_checkpoint();
    let expected = bench.parts.store.list(None, usize::MAX);
    drop(bench);
    disk.edit("checkpoint", |bytes| *bytes = old);
    let bench = Bench::on(Arc::new(disk.clone()), options());
    assert_eq!(bench.parts.store.list(None, usize::MAX), expected);
    for line in expected {
        assert!(bench.reads(&line.shard));
    }
}

#[test]
fn a_store_of_version_1_is_read_and_becomes_one_of_this_version() {
    let disk = MemoryDisk::default();
    disk.create("segments/00000001.seg").unwrap();
    let key = StoreKey([5; 32]);
    let mut identity = b"ARIONSTO".to_vec();
    identity.extend_from_slice(&1u32.to_le_bytes());
    identity.extend_from_slice(&key.0);
    let sum = key.checksum(&identity);
    identity.extend_from_slice(&sum);
    disk.create("STORE").unwrap().write_at(&[&identity], 0).unwrap();
    let mut log = record::encode_segment(1, 0, &key).to_vec();
    let bodies = [body(1, 300), body(2, 300), body(3, 300)];
    let mut append = |sequence: u64, body: &Bytes, put: bool| {
        let kind = match put {
            true => record::RecordKind::Put {
                placement: placement(body, 1),
                stored_at: 7,
                summed: false,
                owner: Owner::NONE,
            },
            false => record::RecordKind::Delete(record::Victim { sequence: 0, segment: 0 }),
        };
        log.extend_from_slice(
            &record::Record { sequence, batch: 0, shard: address(body), kind }.encode(&key),
        );
        log.extend_from_slice(if put { body } else { &[] });
    };
    for (sequence, body) in bodies.iter().enumerate() {
        append(sequence as u64, body, true);
    }
    append(3, &bodies[0], false);
    disk.open("segments/00000001.seg").unwrap().write_at(&[&log], 0).unwrap();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert!(!bench.reads(&address(&bodies[0])));
    assert!(bench.reads(&address(&bodies[1])) && bench.reads(&address(&bodies[2])));
    assert_eq!(disk.content("STORE").unwrap()[8..12], 4u32.to_le_bytes());
    bench.put(4, 10);
    bench.parts.writer.write_checkpoint();
    drop(bench);
    // Its shards have no checksum: there every read compares the address.
    let (name, offset) = ("segments/00000001.seg", record::SEGMENT_HEADER_BYTES as usize + 2 * 412 - 1);
    disk.edit(name, |bytes| bytes[offset] ^= 1);
    let bench = Bench::on(Arc::new(disk.clone()), quiet());
    assert_eq!(bench.parts.store.usage().shards, 3);
    assert!(matches!(bench.parts.store.read_blocking(&address(&bodies[1])), Err(ReadError::Damaged)));
    assert!(bench.reads(&address(&bodies[2])));
}

/// What a later version writes this one would cut off as garbage.
#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    bench.put(1, 300);
    let key = bench.parts.writer.key;
    drop(bench);
    for name in ["STORE", "STORE.copy"] {
        disk.edit(name, |bytes| {
            bytes[8] = 5;
            let sum = key.checksum(&bytes[..44]);
            bytes[44..].copy_from_slice(&sum);
        });
    }
    let before = disk.content("segments/00000001.seg");
    let refused = Store::open_on(Arc::new(disk.clone()), quiet()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, LayoutError::LaterVersion { found: 5, .. }), "{refused}");
    assert_eq!(disk.content("segments/00000001.seg"), before);
}

#[test]
fn a_damaged_checksum_costs_no_shard_and_is_written_anew() {
    let disk = MemoryDisk::default();
    let mut bench = Bench::on(Arc::new(disk.clone()), quiet());
    let shards = [bench.put(1, 300), bench.put(2, 300)];
    let (name, offset) = bench.location(&shards[0]);
    let before = disk.content(&name).unwrap();
    disk.edit(&name, |bytes| bytes[(offset + RECORD_BYTES) as usize + 302] ^= 1);
    assert!(bench.reads(&shards[0]), "its address holds");
    bench.keep();
    let report = bench.parts.store.scrub_report();
    assert_eq!((report.headers_healed, report.damaged), (1, 0));
    assert_eq!(disk.content(&name).unwrap(), before);
}

/// With threads, on a file system: what is asked for meanwhile is answered, and damage is found by itself.
#[tokio::test]
async fn the_background_thread_works_beside_writers_and_stops() {
    let root = TempDir::new().unwrap();
    let options = StoreOptions {
        segment_bytes: 100_000,
        trash_retention: Duration::ZERO,
        background_bytes_per_second: 1 << 30,
        ..StoreOptions::default()
    };
    let store = Arc::new(Store::open(root.path(), options).unwrap());
    let mut shards = Vec::new();
    for number in 0..200 {
        let body = body(number, 3_000);
        let shard = address(&body);
        store.put(shard, placement(&body, 1), body).await.unwrap();
        if number % 4 == 0 {
            shards.push(shard);
        } else {
            store.delete(shard).await.unwrap();
        }
    }
    store.close().await;
    drop(store);
    let store = Arc::new(
        Store::open(
            root.path(),
            StoreOptions {
                background_bytes_per_second: 1 << 30,
                segment_bytes: 100_000,
                ..StoreOptions::default()
            },
        )
        .unwrap(),
    );
    let begun = Instant::now();
    while store.scrub_report().finished_at == 0
        || store.counters().compacted_files.load(Ordering::Relaxed) == 0
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", store.scrub_report());
        tokio::task::yield_now().await;
    }
    for shard in &shards {
        store.read_blocking(shard).unwrap();
    }
    store.close().await;
}

#[test]
fn a_repair_reads_everything_and_leaves_the_store_in_order() {
    let root = TempDir::new().unwrap();
    assert!(matches!(repair(root.path(), quiet()), Err(LayoutError::NoStore(_))));
    let mut bench = Bench::on(Arc::new(DirDisk::new(root.path())), quiet());
    let shards = [bench.put(1, 300), bench.put(2, 300)];
    let (name, offset) = bench.location(&shards[0]);
    assert!(matches!(repair(root.path(), quiet()), Err(LayoutError::Locked(_))));
    bench.parts.writer.write_checkpoint();
    drop(bench);
    let path = root.path().join(&name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[offset as usize + 200] ^= 1;
    bytes.extend_from_slice(b"torn");
    std::fs::write(&path, bytes).unwrap();
    let report = repair(root.path(), quiet()).unwrap();
    assert_eq!(report.truncated_bytes, 4);
    assert_eq!(report.quarantined, [shards[0].to_string()]);
    assert_eq!((report.scrub.shards, report.scrub.damaged), (2, 1));
    let inspector = Inspector::open(root.path()).unwrap();
    assert_eq!(inspector.len(), 1);
    assert_eq!(inspector.scrub_report().damaged, 1);
    assert_eq!(inspector.check().unwrap().quarantined, 1);
}
