//! What a crash, a bad disk or a full one may do to a store. A crash is a copy of the directory as it stands
//! while the store is open, changed as torn writes would change it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use arion_types::StripeId;
use tempfile::TempDir;

use super::{
    memory::{Faults, MemoryDisk},
    *,
};

pub(super) fn body(number: u32, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    Bytes::from(bytes)
}

pub(super) fn address(body: &[u8]) -> ShardHash {
    ShardHash(*blake3::hash(body).as_bytes())
}

pub(super) fn placement(body: &[u8], index: u8) -> ShardPlacement {
    ShardPlacement { stripe: StripeId([7; 32]), pg: 1, index, epoch: 1, size: body.len() as u32 }
}

async fn put(store: &Store, number: u32, length: usize) -> ShardHash {
    let body = body(number, length);
    let shard = address(&body);
    let stored = store.put(shard, placement(&body, number as u8), body).await.unwrap();
    assert!(stored.new);
    shard
}

/// No background work: what happens is what the test does.
pub(super) fn quiet() -> StoreOptions {
    StoreOptions { background: false, ..StoreOptions::default() }
}

fn open(root: &Path) -> Store {
    Store::open(root, quiet()).unwrap()
}

/// The directory as a killed process leaves it.
fn crashed_copy(root: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::create_dir(copy.path().join("segments")).unwrap();
    for part in ["STORE", "STORE.copy", "checkpoint"] {
        if root.join(part).exists() {
            fs::copy(root.join(part), copy.path().join(part)).unwrap();
        }
    }
    for file in fs::read_dir(root.join("segments")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join("segments").join(file.file_name())).unwrap();
    }
    copy
}

fn segment(root: &Path) -> PathBuf {
    root.join("segments/00000001.seg")
}

fn edit(root: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(segment(root)).unwrap();
    change(&mut bytes);
    fs::write(segment(root), bytes).unwrap();
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_loses_only_the_record_that_was_being_written() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let first = put(&store, 1, 300).await;
    let before = fs::metadata(segment(root.path())).unwrap().len() as usize;
    let last = put(&store, 2, 200).await;
    let crashed = crashed_copy(root.path());
    let whole = fs::read(segment(crashed.path())).unwrap();
    assert_eq!(whole.len(), before + (RECORD_BYTES + 200 + TRAILER_BYTES) as usize);
    for length in before..whole.len() {
        // Cut short; and cut short with the length of the file already extended.
        for zeros in [0, whole.len() - length] {
            let torn = [&whole[..length], &vec![0; zeros]].concat();
            fs::write(segment(crashed.path()), &torn).unwrap();
            let store = open(crashed.path());
            assert_eq!(store.read_blocking(&first).unwrap().1, body(1, 300), "{length} {zeros}");
            if zeros > 0 && length >= whole.len() - TRAILER_BYTES as usize {
                // Only its checksum is torn: its address says that all of it is there.
                assert_eq!(store.read_blocking(&last).unwrap().1, body(2, 200));
                assert_eq!(store.report().truncated_bytes, 0);
                continue;
            }
            assert!(matches!(store.read_blocking(&last), Err(ReadError::NotFound)), "{length} {zeros}");
            assert_eq!(store.report().truncated_bytes, (torn.len() - before) as u64);
            if length % 50 == 0 {
                put(&store, 2, 200).await;
                drop(store);
                let store = open(crashed.path());
                assert_eq!(store.read_blocking(&last).unwrap().1, body(2, 200));
            }
        }
    }
}

#[tokio::test]
async fn a_torn_deletion_leaves_the_shard() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let shard = put(&store, 1, 300).await;
    // Before the deletion gives the blocks back.
    let crashed = crashed_copy(root.path());
    let before = fs::metadata(segment(root.path())).unwrap().len() as usize;
    assert!(store.delete(shard).await.unwrap());
    let whole = fs::read(segment(root.path())).unwrap();
    for length in before..=whole.len() {
        edit(crashed.path(), |bytes| {
            bytes.truncate(before);
            bytes.extend_from_slice(&whole[before..length]);
        });
        let store = open(crashed.path());
        assert_eq!(store.read_blocking(&shard).is_ok(), length < whole.len(), "{length}");
    }
}

#[tokio::test]
async fn garbage_behind_the_log_is_cut_off() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let shard = put(&store, 1, 300).await;
    for garbage in [vec![0; 5_000], vec![0xff; 77], b"ASR1".repeat(999), body(9, 3 << 20).to_vec()] {
        let crashed = crashed_copy(root.path());
        edit(crashed.path(), |bytes| bytes.extend_from_slice(&garbage));
        let store = open(crashed.path());
        assert_eq!(store.report().truncated_bytes, garbage.len() as u64);
        assert_eq!(store.read_blocking(&shard).unwrap().1, body(1, 300));
    }
}

#[tokio::test]
async fn a_flipped_header_costs_that_shard_alone_and_is_reported() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let shards = [put(&store, 1, 300).await, put(&store, 2, 2 << 20 >> 1).await, put(&store, 3, 40).await];
    let second = (SEGMENT_HEADER_BYTES + RECORD_BYTES + 300 + TRAILER_BYTES) as usize;
    for at in (0..RECORD_BYTES as usize).step_by(7) {
        let crashed = crashed_copy(root.path());
        edit(crashed.path(), |bytes| bytes[second + at] ^= 0x10);
        let complaint = Inspector::open(crashed.path()).unwrap().check().unwrap().complaint().unwrap();
        assert!(complaint.contains("1048692 bytes of the log are lost"), "{complaint}");
        let store = open(crashed.path());
        assert!(store.read_blocking(&shards[0]).is_ok());
        assert!(matches!(store.read_blocking(&shards[1]), Err(ReadError::NotFound)));
        assert!(store.read_blocking(&shards[2]).is_ok());
        assert_eq!(store.report().skipped_bytes, RECORD_BYTES + (1 << 20) + TRAILER_BYTES);
        assert_eq!(store.report().truncated_bytes, 0);
    }
}

/// A shard may hold what looks like a record; when its own header is damaged the search must not believe it.
#[tokio::test]
async fn a_record_inside_a_shard_is_not_believed() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let victim = put(&store, 1, 300).await;
    let kind = record::RecordKind::Delete(record::Victim { sequence: 0, segment: 0 });
    let forged = record::Record { sequence: 1 << 30, batch: 0, shard: victim, kind };
    let evil = Bytes::copy_from_slice(&forged.encode(&record::StoreKey([0; 32])));
    store.put(address(&evil), placement(&evil, 9), evil.clone()).await.unwrap();
    let last = put(&store, 3, 40).await;
    let crashed = crashed_copy(root.path());
    let header = (SEGMENT_HEADER_BYTES + RECORD_BYTES + 300 + TRAILER_BYTES) as usize;
    edit(crashed.path(), |bytes| bytes[header] ^= 1);
    let store = open(crashed.path());
    assert!(store.read_blocking(&victim).is_ok());
    assert!(store.read_blocking(&last).is_ok());
}

/// Not every file system can say whether a read would wait for the disk; what is read without waiting is right.
#[tokio::test]
async fn what_is_in_memory_is_read_as_from_the_disk_or_not_at_all() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let (short, long) = (put(&store, 1, 300).await, put(&store, 2, 70_000).await);
    let read = store.read_blocking(&short).unwrap();
    assert!(store.read_cached(&short).is_none_or(|cached| cached == read));
    assert_eq!(store.read_cached(&long), None);
    assert!(store.delete(short).await.unwrap());
    assert_eq!(store.read_cached(&short), None);
}

#[tokio::test]
async fn a_flipped_byte_is_damage_and_storing_again_heals_it() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let shard = put(&store, 1, 300).await;
    store.close().await;
    drop(store);
    let located = Inspector::open(root.path()).unwrap().locate(&shard).unwrap();
    assert_eq!(located.length, 300);
    let mut bytes = fs::read(&located.path).unwrap();
    bytes[located.offset as usize + 250] ^= 1;
    fs::write(&located.path, bytes).unwrap();

    let store = open(root.path());
    assert!(store.read_cached(&shard).is_none());
    assert!(matches!(store.read_blocking(&shard), Err(ReadError::Damaged)));
    assert_eq!(store.counters().damaged_reads.load(Ordering::Relaxed), 1);
    let report = Inspector::open(root.path()).unwrap().check().unwrap();
    assert_eq!(report.damaged, [shard.to_string()]);
    assert_eq!(report.complaint().unwrap(), "1 damaged shards");
    let used = store.usage().used_bytes;
    let good = body(1, 300);
    assert!(store.put(shard, placement(&good, 1), good.clone()).await.unwrap().new);
    assert_eq!(store.read_blocking(&shard).unwrap().1, good);
    assert_eq!(store.usage().used_bytes, used);
    assert!(!store.put(shard, placement(&good, 1), good).await.unwrap().new);
}

#[tokio::test]
async fn a_checkpoint_shortens_the_next_start_and_a_damaged_one_is_done_without() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let shards = [put(&store, 1, 300).await, put(&store, 2, 200).await];
    store.close().await;
    drop(store);
    let store = open(root.path());
    assert_eq!(store.report(), Report::default());
    let third = put(&store, 3, 100).await;
    let crashed = crashed_copy(root.path());
    drop(store);
    assert_eq!(open(crashed.path()).report().scanned_records, 1);
    let checkpoint = crashed.path().join("checkpoint");
    let mut bytes = fs::read(&checkpoint).unwrap();
    bytes[50] ^= 1;
    fs::write(&checkpoint, bytes).unwrap();
    let store = open(crashed.path());
    assert_eq!(store.report().scanned_records, 3);
    for shard in shards.iter().chain([&third]) {
        store.read_blocking(shard).unwrap();
    }
}

#[tokio::test]
async fn segments_roll_and_all_are_read_back() {
    let root = TempDir::new().unwrap();
    let options = || StoreOptions { segment_bytes: 1_000, ..quiet() };
    let store = Store::open(root.path(), options()).unwrap();
    let mut shards = Vec::new();
    for number in 0..20 {
        shards.push(put(&store, number, 300).await);
    }
    let crashed = crashed_copy(root.path());
    let store = Store::open(crashed.path(), options()).unwrap();
    assert_eq!(Inspector::open(crashed.path()).unwrap().segments().unwrap().0, 10);
    for shard in &shards {
        store.read_blocking(shard).unwrap();
    }
    // A torn new segment: its name is there, its header is not.
    fs::write(crashed.path().join("segments/00000011.seg"), [0; 5]).unwrap();
    drop(store);
    let store = Store::open(crashed.path(), options()).unwrap();
    shards.push(put(&store, 99, 300).await);
    drop(store);
    let store = Store::open(crashed.path(), options()).unwrap();
    for shard in &shards {
        store.read_blocking(shard).unwrap();
    }
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_is_done() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let refused = Store::open(root.path(), StoreOptions::default()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, LayoutError::Locked(_)), "{refused}");
    drop(store);
    open(root.path());
}

#[tokio::test]
async fn the_quota_is_kept_and_freed_by_deletion() {
    let root = TempDir::new().unwrap();
    let options = StoreOptions { capacity_bytes: 2 * (RECORD_BYTES + 300 + TRAILER_BYTES), ..quiet() };
    let store = Store::open(root.path(), options).unwrap();
    let first = put(&store, 1, 300).await;
    put(&store, 2, 300).await;
    let third = body(3, 300);
    let again = || store.put(address(&third), placement(&third, 3), third.clone());
    assert_eq!(again().await, Err(WriteError::NoSpace));
    assert!(store.delete(first).await.unwrap());
    assert!(!store.delete(first).await.unwrap());
    assert!(again().await.unwrap().new);
}

#[tokio::test]
async fn a_full_disk_refuses_shards_and_still_deletes() {
    let disk = MemoryDisk::default();
    let store = Store::open_on(Arc::new(disk.clone()), quiet()).unwrap();
    let shard = put(&store, 1, 300).await;
    // The header fits, the body does not: nothing of it may stay.
    disk.set_free_bytes(RECORD_BYTES + 10);
    let second = body(2, 300);
    let refused = store.put(address(&second), placement(&second, 2), second).await;
    assert_eq!(refused, Err(WriteError::NoSpace));
    disk.set_free_bytes(0);
    assert!(store.delete(shard).await.unwrap());
    assert!(matches!(store.read_blocking(&shard), Err(ReadError::NotFound)));
    assert!(store.restore(shard, Owner::NONE).await.unwrap());
    assert!(store.delete(shard).await.unwrap());
    drop(store);
    let store = Store::open_on(Arc::new(disk.clone()), quiet()).unwrap();
    assert_eq!(store.report().truncated_bytes, 0);
    assert_eq!(store.usage().shards, 0);
    disk.set_free_bytes(1 << 20);
    put(&store, 3, 300).await;
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_and_reads_go_on() {
    let disk = MemoryDisk::default();
    let store = Store::open_on(Arc::new(disk.clone()), quiet()).unwrap();
    let shard = put(&store, 1, 300).await;
    // The write, then the sync.
    let sync = disk.operations() + 1;
    disk.set_faults(Faults { broken: Some(sync..sync + 1), ..Faults::default() });
    let second = body(2, 300);
    let again = || store.put(address(&second), placement(&second, 2), second.clone());
    assert_eq!(again().await, Err(WriteError::Failed));
    assert!(store.is_read_only());
    assert_eq!(again().await, Err(WriteError::Failed));
    assert_eq!(store.delete(shard).await, Err(WriteError::Failed));
    assert!(store.read_blocking(&shard).is_ok());
    assert!(store.stat(&address(&second)).is_none());
    drop(store);
    // Memory still has what the disk lost: it must not be believed.
    let store = Store::open_on(Arc::new(disk.after_kill()), quiet()).unwrap();
    assert!(store.stat(&address(&second)).is_none());
    assert!(store.read_blocking(&shard).is_ok());
}

#[tokio::test]
async fn another_position_for_the_same_bytes_conflicts() {
    let root = TempDir::new().unwrap();
    let store = open(root.path());
    let shard = put(&store, 1, 300).await;
    let bytes = body(1, 300);
    let elsewhere = store.put(shard, placement(&bytes, 2), bytes.clone()).await;
    assert_eq!(elsewhere, Err(WriteError::Conflict));
    let wrong = store.put(ShardHash([0; 32]), placement(&bytes, 2), bytes.clone()).await;
    assert_eq!(wrong, Err(WriteError::HashMismatch));
    let longer = ShardPlacement { size: 301, ..placement(&bytes, 1) };
    assert_eq!(store.put(shard, longer, bytes).await, Err(WriteError::HashMismatch));
}

#[tokio::test]
async fn many_writers_share_syncs() {
    let root = TempDir::new().unwrap();
    let store = Arc::new(open(root.path()));
    let writers = (0..100).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, number, 5_000).await })
    });
    let mut shards = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        shards.push(writer.await.unwrap());
    }
    let syncs = store.counters().syncs.load(Ordering::Relaxed);
    assert!(syncs < 100, "{syncs} syncs for 100 shards written at once");
    let crashed = crashed_copy(root.path());
    let store = open(crashed.path());
    for shard in &shards {
        store.read_blocking(shard).unwrap();
    }
    store.close().await;
    let late = body(1_000, 10);
    assert_eq!(store.put(address(&late), placement(&late, 1), late).await, Err(WriteError::Closed));
}

#[test]
fn a_directory_that_is_no_store_is_named() {
    let root = TempDir::new().unwrap();
    assert!(matches!(Inspector::open(root.path()), Err(LayoutError::NoStore(_))));
    fs::create_dir(root.path().join("segments")).unwrap();
    fs::write(segment(root.path()), b"old").unwrap();
    let refused = Store::open(root.path(), StoreOptions::default()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, LayoutError::NoStore(_)), "segments without identity: {refused}");
    fs::write(root.path().join("STORE"), [0; 52]).unwrap();
    let refused = Store::open(root.path(), StoreOptions::default()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, LayoutError::BadIdentity(_)), "{refused}");
}
