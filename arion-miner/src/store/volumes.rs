//! Several disks as one store: each with its own log, lock and capacity, failing alone.
//!
//! # Invariants
//! - A disk that fails, is missing or does not open takes nothing from the others with it.
//! - A deleted shard is served by no disk, those included that are read-only or were away when it was deleted.
//! - A shard is on one disk; where a disk that was away comes back it may be on two, and both are good.
//!
//! # Not here
//! What happens on one disk (`store`).

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use arion_protocol::{ListedShard, ShardPlacement, ShardStat};
use arion_types::ShardHash;
use bytes::Bytes;

use super::{
    Clock, Entry, LayoutError, Owner, ReadError, ScrubReport, Store, StoreOptions, Stored, Usage, WriteError,
    owed::{Owed, OwedError},
};

/// A disk of a miner.
pub struct Volume {
    root: PathBuf,
    store: Result<Arc<Store>, LayoutError>,
    /// Deletions that it was not told of; nowhere to write them down for a store that has no disk of its own.
    owed: Option<Arc<Mutex<Owed>>>,
}

impl Volume {
    /// Opens a store; what is wrong with it is kept for the report. Blocks.
    pub fn open(root: &Path, options: StoreOptions) -> Self {
        let store = Store::open(root, options).map(Arc::new);
        if let Err(error) = &store {
            tracing::error!(%error, disk = %root.display(), "a disk cannot be used: its shards are missing until it is back");
        }
        Self { root: root.to_owned(), store, owed: None }
    }

    /// A store that was opened, or why it was not.
    #[cfg(test)]
    pub(super) fn on(root: &Path, store: Result<Store, LayoutError>) -> Self {
        Self { root: root.to_owned(), store: store.map(Arc::new), owed: None }
    }

    /// A disk that is known to be away.
    pub fn missing(root: &Path) -> Self {
        Self { root: root.to_owned(), store: Err(LayoutError::NoStore(root.to_owned())), owed: None }
    }

    /// Writes deletions that the disk cannot be told of down in `data_dir`, with the time by `clock`, that of the store,
    /// and tells it those from before. Blocks.
    pub fn owing(mut self, data_dir: &Path, clock: Clock) -> Self {
        let owed = Owed::open(data_dir, &self.root, clock);
        match owed.map_err(OwedError::from).and_then(|owed| self.settle(owed)) {
            Ok(owed) => self.owed = Some(Arc::new(Mutex::new(owed))),
            Err(error) => {
                let disk = self.root.display();
                tracing::error!(%error, %disk, "deletions from while a disk was away were not carried out: it is not used");
                self.store = Err(LayoutError::Io { path: self.root.clone(), error: io::Error::other(error) });
            }
        }
        self
    }

    fn settle(&self, mut owed: Owed) -> Result<Owed, OwedError> {
        if let Ok(store) = &self.store
            && self.is_writable()
            && owed.len() > 0
        {
            let deleted = owed.settle(store)?;
            tracing::info!(deleted, disk = %self.root.display(), "a disk was told of deletions from while it was away");
        }
        Ok(owed)
    }

    fn owed(&self) -> Option<MutexGuard<'_, Owed>> {
        self.owed.as_ref().map(|owed| owed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the disk takes changes: then it is owed nothing.
    fn is_writable(&self) -> bool {
        self.store.as_ref().is_ok_and(|store| !store.is_read_only())
    }

    /// Whether the shard is deleted although the store says otherwise.
    fn hides(&self, shard: &ShardHash) -> bool {
        !self.is_writable() && self.owed().is_some_and(|owed| owed.holds(shard))
    }

    /// The store, if it may serve the shard.
    fn serves(&self, shard: &ShardHash) -> Option<&Arc<Store>> {
        self.store.as_ref().ok().filter(|store| store.knows(shard) && !self.hides(shard))
    }

    /// Changes what is owed, off the async threads.
    async fn owe<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Owed) -> io::Result<T> + Send + 'static,
    ) -> Result<T, WriteError> {
        let owed = self.owed.clone().ok_or(WriteError::Failed)?;
        let change = move || change(&mut owed.lock().unwrap_or_else(PoisonError::into_inner));
        match arion_daemon::work::blocking(change).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let disk = self.root.display();
                tracing::error!(%error, %disk, "what a disk cannot be told of could not be written down");
                Err(WriteError::Failed)
            }
            Err(_) => Err(WriteError::Closed),
        }
    }

    async fn delete(&self, shard: ShardHash, only: Option<Owner>) -> Result<bool, WriteError> {
        let there = match &self.store {
            Ok(store) if !store.knows(&shard) => return Ok(false),
            Ok(store) => {
                let there = store.stat(&shard).is_some() && !self.hides(&shard);
                let told = match only {
                    Some(owner) => store.delete_for(shard, owner).await,
                    None => store.delete(shard).await,
                };
                match told {
                    Err(WriteError::Failed) => there,
                    told => return told,
                }
            }
            // Nobody knows what is on it.
            Err(_) if self.owed.is_none() => return Ok(false),
            Err(_) => false,
        };
        self.owe(move |owed| owed.delete(shard)).await.map(|()| there)
    }

    async fn restore(&self, shard: ShardHash, owner: Owner) -> Result<bool, WriteError> {
        let taken_back = self.hides(&shard) && self.owe(move |owed| owed.restore(shard)).await?;
        match &self.store {
            Ok(store) if taken_back && store.stat(&shard).is_some() => Ok(true),
            Ok(store) if store.knows(&shard) => store.restore(shard, owner).await,
            _ => Ok(false),
        }
    }

    /// [`Store::list`] without what is deleted.
    fn list(&self, mut after: Option<ShardHash>, limit: usize) -> Vec<ListedShard> {
        let Ok(store) = &self.store else { return Vec::new() };
        let mut listed = Vec::new();
        loop {
            let page = store.list(after, limit);
            after = page.last().map(|line| line.shard);
            let whole = page.len() == limit;
            match self.owed().filter(|_| !self.is_writable()) {
                Some(owed) => listed.extend(page.into_iter().filter(|line| !owed.holds(&line.shard))),
                None => listed.extend(page),
            }
            if !whole || listed.len() >= limit {
                listed.truncate(limit);
                return listed;
            }
        }
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
        Self { volumes: vec![Volume { root: PathBuf::new(), store: Ok(Arc::new(store)), owed: None }] }
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
    ) -> Result<Stored, WriteError> {
        self.put_for(shard, placement, body, Owner::NONE).await
    }

    /// [`Store::put_for`], where the shard is known, else where most room is, else on the next disk that takes it.
    pub async fn put_for(
        &self,
        shard: ShardHash,
        placement: ShardPlacement,
        body: Bytes,
        owner: Owner,
    ) -> Result<Stored, WriteError> {
        let mut outcome = Err(WriteError::Failed);
        for store in self.places(&shard) {
            let tried = store.put_for(shard, placement, body.clone(), owner).await;
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

    /// [`Store::delete`], wherever it is: on every disk that can, even where another cannot. A disk that is away or
    /// read-only is told when it is back; until then it does not serve the shard.
    pub async fn delete(&self, shard: ShardHash) -> Result<bool, WriteError> {
        self.delete_only(shard, None).await
    }

    /// [`Store::delete_for`], wherever it is.
    pub async fn delete_for(&self, shard: ShardHash, owner: Owner) -> Result<bool, WriteError> {
        self.delete_only(shard, Some(owner)).await
    }

    async fn delete_only(&self, shard: ShardHash, only: Option<Owner>) -> Result<bool, WriteError> {
        let (mut existed, mut refused) = (false, None);
        for volume in &self.volumes {
            match volume.delete(shard, only).await {
                Ok(there) => existed |= there,
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(existed), Err)
    }

    /// [`Store::share`], wherever it is served.
    pub async fn share(&self, shard: ShardHash, owner: Owner) -> Result<bool, WriteError> {
        let mut is_served = false;
        for store in self.volumes.iter().filter_map(|volume| volume.serves(&shard)) {
            // A disk that is only read serves as well, where nothing has to be written.
            is_served |= match store.owner(&shard) {
                Some(Owner::NONE) => store.stat(&shard).is_some(),
                Some(known) if known == owner => store.stat(&shard).is_some(),
                _ => store.share(shard, owner).await?,
            };
        }
        Ok(is_served)
    }

    /// [`Store::restore`], on every disk that can.
    pub async fn restore(&self, shard: ShardHash, owner: Owner) -> Result<bool, WriteError> {
        let (mut restored, mut refused) = (false, None);
        for volume in &self.volumes {
            match volume.restore(shard, owner).await {
                Ok(there) => restored |= there,
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if !restored => Err(error),
            _ => Ok(restored),
        }
    }

    /// Deletions that disks are still to be told of.
    pub fn owed_deletions(&self) -> u64 {
        self.volumes.iter().filter_map(Volume::owed).map(|owed| owed.len() as u64).sum()
    }

    /// [`Store::read_blocking`], from another disk where one has it damaged.
    pub fn read_blocking(&self, shard: &ShardHash) -> Result<(Entry, Bytes), ReadError> {
        let mut outcome = Err(ReadError::NotFound);
        for store in self.volumes.iter().filter_map(|volume| volume.serves(shard)) {
            match store.read_blocking(shard) {
                Ok(read) => return Ok(read),
                Err(ReadError::NotFound) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// [`Volumes::read_blocking`] off the async threads, unless that takes longer than the read.
    pub async fn read(self: &Arc<Self>, shard: ShardHash) -> Result<(Entry, Bytes), ReadError> {
        let serving = self.volumes.iter().filter_map(|volume| volume.serves(&shard));
        if let Some(read) = serving.filter_map(|store| store.read_cached(&shard)).next() {
            return Ok(read);
        }
        let volumes = self.clone();
        let read = arion_daemon::work::blocking(move || volumes.read_blocking(&shard));
        read.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }

    /// [`Store::stat`].
    pub fn stat(&self, shard: &ShardHash) -> Option<ShardStat> {
        self.volumes.iter().filter_map(|volume| volume.serves(shard)).find_map(|store| store.stat(shard))
    }

    /// [`Store::owner`]: nobody alone where two disks have it on the order of two.
    pub fn owner(&self, shard: &ShardHash) -> Option<Owner> {
        let served = self.volumes.iter().filter_map(|volume| volume.serves(shard));
        let owners = served.filter_map(|store| store.owner(shard));
        owners.reduce(|one, other| if one == other { one } else { Owner::NONE })
    }

    /// Whether a disk is away: it cannot be said what is on it, and what it is to delete is written down for it.
    pub fn has_disk_away(&self) -> bool {
        self.volumes.iter().any(|volume| volume.store.is_err())
    }

    /// At most `limit` shards in order of address behind `after`, each once.
    pub fn list(&self, after: Option<ShardHash>, limit: usize) -> Vec<ListedShard> {
        if let [volume] = &self.volumes[..] {
            return volume.list(after, limit);
        }
        // The first of all are among the first of each.
        let pages = self.volumes.iter().flat_map(|volume| volume.list(after, limit));
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
