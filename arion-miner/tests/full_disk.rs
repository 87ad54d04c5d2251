//! A file system that is really full: deletions, the index and the next start work all the same. Needs root for the
//! tmpfs; without it the simulated full disk of `store::crash_tests` is what there is.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{path::Path, process::Command, time::Duration};

use arion_miner::store::{Store, StoreOptions, WriteError};
use arion_protocol::ShardPlacement;
use arion_types::{ShardHash, StripeId};
use bytes::Bytes;
use tempfile::TempDir;

struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount() -> Option<Self> {
        let root = TempDir::new().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=24m", "none"];
        let mounted = Command::new("mount").args(options).arg(root.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(root))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn options(retention: Duration) -> StoreOptions {
    StoreOptions {
        trash_retention: retention,
        segment_bytes: 4 << 20,
        background: false,
        ..StoreOptions::default()
    }
}

async fn put(store: &Store, number: u32, length: usize) -> Result<ShardHash, WriteError> {
    let mut body = vec![0; length];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
    let shard = ShardHash(*blake3::hash(&body).as_bytes());
    let size = length as u32;
    let placement = ShardPlacement { stripe: StripeId([1; 32]), pg: 1, index: 1, epoch: 1, size };
    store.put(shard, placement, Bytes::from(body)).await.map(|_| shard)
}

/// Stores until nothing fits, large shards and then small ones.
async fn fill(store: &Store, from: u32) -> Vec<ShardHash> {
    let (mut shards, mut number) = (Vec::new(), from);
    for length in [1 << 20, 10_000, 1] {
        loop {
            number += 1;
            match put(store, number, length + number as usize % 7).await {
                Ok(shard) => shards.push(shard),
                Err(error) => {
                    assert_eq!(error, WriteError::NoSpace);
                    break;
                }
            }
        }
    }
    shards
}

#[tokio::test]
async fn deletions_the_index_and_the_start_work_on_a_full_disk() {
    let Some(disk) = Tmpfs::mount() else {
        println!("not root: no file system to fill");
        return;
    };
    for retention in [Duration::ZERO, Duration::from_secs(3_600)] {
        let root = disk.path().join(format!("store-{}", retention.as_secs()));
        let store = Store::open(&root, options(retention)).unwrap();
        let shards = fill(&store, 0).await;
        assert!(shards.len() > 15, "{}", shards.len());
        // The index on a full disk.
        store.close().await;
        drop(store);
        let store = Store::open(&root, options(retention)).unwrap();
        assert_eq!(store.report().scanned_records, 0, "no checkpoint was written");
        assert_eq!(put(&store, 999_999, 1 << 20).await, Err(WriteError::NoSpace));
        for shard in &shards {
            store.read_blocking(shard).unwrap();
            assert!(store.delete(*shard).await.unwrap());
        }
        assert!(!store.is_read_only());
        assert_eq!(store.usage().shards, 0);
        // Trash yields: what is refused once fits the next time.
        let mut stored = 0;
        for number in 0..60 {
            stored += usize::from(put(&store, 1_000_000 + number, 100_000).await.is_ok());
        }
        assert!(stored > 20, "{stored} of 60 stored where {} were deleted", shards.len());
        store.close().await;
        drop(store);
        let store = Store::open(&root, options(retention)).unwrap();
        assert_eq!(store.usage().shards, stored as u64);
        drop(store);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
