//! Several disks as one store: each with its own log, lock and capacity, failing alone.
//!
//! # Invariants
//! - A disk that fails, is missing or does not open takes nothing from the others with it.
//! - A shard is on one disk; where a disk that was away comes back it may be on two, and both are good.
//!
//! # Not here
//! What happens on one disk (`store`).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use arion_protocol::{ListedShard, ShardPlacement, ShardStat};
use arion_types::ShardHash;
use bytes::Bytes;

use super::{Entry, LayoutError, ReadError, ScrubReport, Store, StoreOptions, Stored, Usage, WriteError};

/// A disk of a miner.
pub struct Volume {
    root: PathBuf,
    store: Result<Arc<Store>, LayoutError>,
}

impl Volume {
    /// Opens a store; what is wrong with it is kept for the report. Blocks.
    pub fn open(root: &Path, options: StoreOptions) -> Self {
        let store = Store::open(root, options).map(Arc::new);
        if let Err(error) = &store {
            tracing::error!(%error, disk = %root.display(), "a disk cannot be used: its shards are missing until it is back");
        }
        Self { root: root.to_owned(), store }
    }

    /// A disk that is known to be away.
    pub fn missing(root: &Path) -> Self {
        Self { root: root.to_owned(), store: Err(LayoutError::NoStore(root.to_owned())) }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store, or why there is none.
    pub fn store(&self) -> Result<&Arc<Store>, &LayoutError> {
        self.store.as_ref()
    }

    /// What is wrong with it, in words for people.
    pub fn complaint(&self) -> Option<String> {
        match &self.store {
            Err(error) => Some(error.to_string()),
            Ok(store) if store.is_read_only() => Some(format!(
                "the disk of {} failed: its shards are read but none is written",
                self.root.display()
            )),
            Ok(_) => None,
        }
    }
}

/// Counts over all disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Syncs since start.
    pub syncs: u64,
    /// Reads that found a shard damaged since start.
    pub damaged_reads: u64,
    /// Reads that a disk refused since start.
    pub read_errors: u64,
    /// Segment files compacted since start.
    pub compacted_files: u64,
    /// Disks that are away or read-only.
    pub failed_disks: u64,
}

/// All disks of a miner.
pub struct Volumes {
    volumes: Vec<Volume>,
}

impl From<Store> for Volumes {
    fn from(store: Store) -> Self {
        Self { volumes: vec![Volume { root: PathBuf::new(), store: Ok(Arc::new(store)) }] }
    }
}

impl Volumes {
    /// These disks; refused with what is wrong with the first if none of them can be used.
    pub fn new(mut volumes: Vec<Volume>) -> Result<Self, LayoutError> {
        if volumes.iter().all(|volume| volume.store.is_err()) && !volumes.is_empty() {
            return volumes.remove(0).store.map(|_| Self { volumes });
        }
        Ok(Self { volumes })
    }

    /// Each disk.
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    fn stores(&self) -> impl Iterator<Item = &Arc<Store>> {
        self.volumes.iter().filter_map(|volume| volume.store.as_ref().ok())
    }

    /// Those that know the shard first, then those with the most room; read-only ones last.
    fn places(&self, shard: &ShardHash) -> Vec<&Arc<Store>> {
        let mut stores: Vec<_> = self.stores().collect();
        let room = |store: &Store| {
            let usage = store.usage();
            usage.capacity_bytes.saturating_sub(usage.used_bytes)
        };
        stores
            .sort_by_cached_key(|store| (store.is_read_only(), !store.knows(shard), u64::MAX - room(store)));
        stores
    }

    /// [`Store::put`], on the next disk where one is full or failed.
    pub async fn put(
        &self,
        shard: ShardHash,
        placement: ShardPlacement,
        body: Bytes,
        now_ms: u64,
    ) -> Result<Stored, WriteError> {
        let mut outcome = Err(WriteError::Failed);
        for store in self.places(&shard) {
            let tried = store.put(shard, placement, body.clone(), now_ms).await;
            if !matches!(tried, Err(WriteError::NoSpace | WriteError::Failed)) {
                return tried;
            }
            // Full is the better news.
            if outcome != Err(WriteError::NoSpace) {
                outcome = tried;
            }
        }
        outcome
    }

    /// [`Store::delete`], wherever it is.
    pub async fn delete(&self, shard: ShardHash, now_ms: u64) -> Result<bool, WriteError> {
        let mut existed = false;
        for store in self.stores().filter(|store| store.knows(&shard)) {
            existed |= store.delete(shard, now_ms).await?;
        }
        Ok(existed)
    }

    /// [`Store::restore`].
    pub async fn restore(&self, shard: ShardHash) -> Result<bool, WriteError> {
        for store in self.stores().filter(|store| store.knows(&shard)) {
            if store.restore(shard).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// [`Store::read_blocking`], from another disk where one has it damaged.
    pub fn read_blocking(&self, shard: &ShardHash) -> Result<(Entry, Bytes), ReadError> {
        let mut outcome = Err(ReadError::NotFound);
        for store in self.stores().filter(|store| store.knows(shard)) {
            match store.read_blocking(shard) {
                Ok(read) => return Ok(read),
                Err(ReadError::NotFound) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// [`Volumes::read_blocking`] off the async threads.
    pub async fn read(self: &Arc<Self>, shard: ShardHash) -> Result<(Entry, Bytes), ReadError> {
        let volumes = self.clone();
        let read = tokio::task::spawn_blocking(move || volumes.read_blocking(&shard));
        read.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }

    /// [`Store::stat`].
    pub fn stat(&self, shard: &ShardHash) -> Option<ShardStat> {
        self.stores().find_map(|store| store.stat(shard))
    }

    /// At most `limit` shards in order of address behind `after`, each once.
    pub fn list(&self, after: Option<ShardHash>, limit: usize) -> Vec<ListedShard> {
        let mut stores = self.stores();
        let (first, second) = (stores.next(), stores.next());
        if let (Some(store), None) = (first, second) {
            return store.list(after, limit);
        }
        // The first of all are among the first of each.
        let pages = self.stores().flat_map(|store| store.list(after, limit));
        let merged: BTreeMap<ShardHash, ListedShard> = pages.map(|line| (line.shard, line)).collect();
        merged.into_values().take(limit).collect()
    }

    /// How full all are together; disks that are away or read-only offer nothing that is free.
    pub fn usage(&self) -> Usage {
        self.stores().fold(Usage::default(), |sum, store| {
            let usage = store.usage();
            let capacity = if store.is_read_only() { usage.used_bytes } else { usage.capacity_bytes };
            Usage {
                shards: sum.shards + usage.shards,
                used_bytes: sum.used_bytes.saturating_add(usage.used_bytes),
                capacity_bytes: sum.capacity_bytes.saturating_add(capacity),
                trash_shards: sum.trash_shards + usage.trash_shards,
                trash_bytes: sum.trash_bytes.saturating_add(usage.trash_bytes),
                quarantined: sum.quarantined + usage.quarantined,
            }
        })
    }

    /// The scrub over all disks: the oldest end of a round, sums of what was found.
    pub fn scrub_report(&self) -> ScrubReport {
        let reports = self.stores().map(|store| store.scrub_report());
        let sum = reports.reduce(|sum, report| ScrubReport {
            started_at: sum.started_at.max(report.started_at),
            finished_at: sum.finished_at.min(report.finished_at),
            next_segment: 0,
            shards: sum.shards + report.shards,
            bytes: sum.bytes + report.bytes,
            damaged: sum.damaged + report.damaged,
            headers_healed: sum.headers_healed + report.headers_healed,
        });
        sum.unwrap_or_default()
    }

    /// Counts over all disks.
    pub fn totals(&self) -> Totals {
        let failed_disks = self.volumes.iter().filter(|volume| volume.complaint().is_some()).count() as u64;
        self.stores().fold(Totals { failed_disks, ..Totals::default() }, |sum, store| {
            let counters = store.counters();
            Totals {
                syncs: sum.syncs + counters.syncs.load(Ordering::Relaxed),
                damaged_reads: sum.damaged_reads + counters.damaged_reads.load(Ordering::Relaxed),
                read_errors: sum.read_errors + counters.read_errors.load(Ordering::Relaxed),
                compacted_files: sum.compacted_files + counters.compacted_files.load(Ordering::Relaxed),
                failed_disks,
            }
        })
    }

    /// [`Store::close`] on all.
    pub async fn close(&self) {
        for store in self.stores() {
            store.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        crash_tests::{address, body, placement, quiet},
        memory::{Faults, MemoryDisk},
    };

    fn disks(count: usize) -> (Vec<MemoryDisk>, Volumes) {
        let disks: Vec<MemoryDisk> = (0..count).map(|_| MemoryDisk::default()).collect();
        let volumes = disks.iter().map(volume).collect();
        (disks, Volumes::new(volumes).unwrap())
    }

    fn volume(disk: &MemoryDisk) -> Volume {
        let options = StoreOptions { capacity_bytes: 10 * 416, ..quiet() };
        Volume { root: "disk".into(), store: Store::open_on(Arc::new(disk.clone()), options).map(Arc::new) }
    }

    async fn put(volumes: &Volumes, number: u32) -> Result<ShardHash, WriteError> {
        let body = body(number, 300);
        let shard = address(&body);
        volumes.put(shard, placement(&body, number as u8), body, 1).await.map(|_| shard)
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
        assert!(volumes.delete(shards[3], 2).await.unwrap());
        assert!(volumes.stat(&shards[3]).is_none());
        assert!(volumes.restore(shards[3]).await.unwrap());
        assert!(volumes.read_blocking(&shards[3]).is_ok());
        assert_eq!(volumes.usage().shards, 30);
        assert!(!volumes.delete(ShardHash([0; 32]), 2).await.unwrap());
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
}
