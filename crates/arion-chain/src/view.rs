//! The finalised chain as a snapshot that a background task keeps current.
//!
//! Many processes watch one node: per finalised block a view makes four small requests. The registry and maps are
//! read only when a counter, the set of service nodes or the epoch has changed, and every
//! [`ViewConfig::registry_refresh`] besides.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arion_types::{Epoch, GenesisHash};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    client::{ChainClient, ChainError},
    records::{BlockRef, EpochMap, Registry},
};

/// What is known of the finalised chain.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The finalised head it was read at.
    pub block: BlockRef,
    /// The newest map; `None` before the first.
    pub current: Option<Arc<EpochMap>>,
    /// Earlier maps, newest first; at most [`ViewConfig::earlier_maps`].
    pub earlier: Vec<Arc<EpochMap>>,
    /// Who has which role.
    pub registry: Arc<Registry>,
}

impl Snapshot {
    /// Epoch of the newest map; 0 before the first.
    pub fn epoch(&self) -> Epoch {
        self.current.as_ref().map_or(0, |map| map.epoch)
    }

    /// The map of an epoch, if it is among those kept.
    pub fn map(&self, epoch: Epoch) -> Option<&Arc<EpochMap>> {
        self.maps().find(|map| map.epoch == epoch)
    }

    /// All maps kept, newest first.
    pub fn maps(&self) -> impl Iterator<Item = &Arc<EpochMap>> {
        self.current.iter().chain(&self.earlier)
    }
}

/// How a view watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViewConfig {
    /// Pause between looks at the finalised head.
    pub poll: Duration,
    /// The registry is read again at least this often.
    pub registry_refresh: Duration,
    /// Number of maps kept besides the newest.
    pub earlier_maps: usize,
}

impl Default for ViewConfig {
    fn default() -> Self {
        Self { poll: Duration::from_secs(3), registry_refresh: Duration::from_secs(30), earlier_maps: 8 }
    }
}

impl ViewConfig {
    /// The default with another pause between looks.
    pub fn with_poll(poll: Duration) -> Self {
        Self { poll, ..Self::default() }
    }
}

/// Handle on the snapshot; clones share it. The background task ends with the last handle.
#[derive(Clone, Debug)]
pub struct ChainView {
    genesis: GenesisHash,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    status: Arc<Mutex<Status>>,
    _task: Option<Arc<AbortOnDrop>>,
}

#[derive(Debug)]
struct Status {
    read_at: Instant,
    error: Option<String>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Feeds a view by hand: for tests, and for tools that have read a snapshot themselves.
#[derive(Debug)]
pub struct ViewSource {
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl ViewSource {
    /// Replaces the snapshot.
    pub fn set(&self, snapshot: Snapshot) {
        self.snapshots.send_replace(Arc::new(snapshot));
    }
}

impl ChainView {
    /// Reads a first snapshot and keeps it current from here on.
    pub async fn start(client: ChainClient, config: ViewConfig) -> Result<Self, ChainError> {
        let genesis = client.genesis();
        let mut reader = Reader { client, config, marks: None, registry_read: Instant::now() };
        let first = reader.read(&Snapshot::default()).await?.unwrap_or_default();
        let (sender, snapshots) = watch::channel(Arc::new(first));
        let status = Arc::new(Mutex::new(Status { read_at: Instant::now(), error: None }));
        let task = tokio::spawn(reader.run(sender, status.clone()));
        Ok(Self { genesis, snapshots, status, _task: Some(Arc::new(AbortOnDrop(task))) })
    }

    /// A view without a chain behind it.
    pub fn manual(genesis: GenesisHash, first: Snapshot) -> (Self, ViewSource) {
        let (sender, snapshots) = watch::channel(Arc::new(first));
        let status = Arc::new(Mutex::new(Status { read_at: Instant::now(), error: None }));
        (Self { genesis, snapshots, status, _task: None }, ViewSource { snapshots: sender })
    }

    /// Hash of block 0.
    pub fn genesis(&self) -> GenesisHash {
        self.genesis
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Returns with the next snapshot that differs from the one last seen through this handle; never if there
    /// is no other any more.
    pub async fn changed(&mut self) -> Arc<Snapshot> {
        if self.snapshots.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.snapshots.borrow_and_update().clone()
    }

    /// Why the last look at the chain failed; `None` while all is well.
    pub fn error(&self) -> Option<String> {
        self.status().error.clone()
    }

    /// How long ago the chain was last looked at with success.
    pub fn age(&self) -> Duration {
        self.status().read_at.elapsed()
    }

    fn status(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changes when the registry or the maps do.
#[derive(Clone, PartialEq, Eq)]
struct Marks {
    counters: Vec<Option<Vec<u8>>>,
    nodes: Vec<Vec<u8>>,
}

struct Reader {
    client: ChainClient,
    config: ViewConfig,
    marks: Option<Marks>,
    registry_read: Instant,
}

impl Reader {
    async fn run(mut self, snapshots: watch::Sender<Arc<Snapshot>>, status: Arc<Mutex<Status>>) {
        loop {
            tokio::time::sleep(self.config.poll).await;
            let before = snapshots.borrow().clone();
            let mut read = self.read(&before).await;
            if matches!(read, Err(ChainError::Undecodable(_))) {
                // An upgrade of the runtime may have changed storage.
                read = self.read_after_upgrade(&before).await;
            }
            let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
            match read {
                Ok(next) => {
                    if status.error.take().is_some() {
                        tracing::info!("the chain is read again");
                    }
                    status.read_at = Instant::now();
                    if let Some(next) = next {
                        snapshots.send_replace(Arc::new(next));
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if status.error.as_ref() != Some(&text) {
                        tracing::warn!(%error, "the chain cannot be read; keeping the last snapshot");
                    }
                    status.error = Some(text);
                    self.marks = None;
                }
            }
        }
    }

    /// The snapshot behind `before`; `None` if the finalised head is the same.
    async fn read(&mut self, before: &Snapshot) -> Result<Option<Snapshot>, ChainError> {
        let hash = self.client.rpc().finalized_hash().await?;
        if hash == before.block.hash && self.marks.is_some() {
            return Ok(None);
        }
        let block = self.client.rpc().block_ref(hash).await?;
        let is_behind = block.number < before.block.number;
        if (self.marks.is_none() || is_behind)
            && self.client.rpc().block_hash(0).await? != Some(self.client.genesis())
        {
            return Err(ChainError::OtherChain);
        }
        if is_behind {
            return Err(ChainError::Behind);
        }
        let marks = self.read_marks(hash).await?;
        let is_due = self.registry_read.elapsed() >= self.config.registry_refresh;
        if self.marks.as_ref() == Some(&marks) && !is_due {
            return Ok(Some(Snapshot { block, ..before.clone() }));
        }
        let registry = Arc::new(self.client.registry_at(hash).await?);
        let maps = self.read_maps(hash, before).await?;
        let mut maps = maps.into_iter();
        let snapshot = Snapshot { block, current: maps.next(), earlier: maps.collect(), registry };
        self.marks = Some(marks);
        self.registry_read = Instant::now();
        Ok(Some(snapshot))
    }

    async fn read_after_upgrade(&mut self, before: &Snapshot) -> Result<Option<Snapshot>, ChainError> {
        let at = self.client.rpc().finalized_hash().await?;
        self.client.refresh_runtime(at).await?;
        self.read(before).await
    }

    async fn read_marks(&self, at: [u8; 32]) -> Result<Marks, ChainError> {
        let interface = self.client.interface();
        let counters = [
            ("Arion", "CurrentEpoch"),
            ("Arion", "TotalActiveChildren"),
            ("Arion", "CounterForRegisteredWardens"),
            ("Registration", "CounterForOwnerNodes"),
        ];
        let keys: Result<Vec<_>, _> =
            counters.iter().map(|(pallet, item)| interface.prefix(pallet, item)).collect();
        let counters = self.client.rpc().storage(&keys?, at).await?;
        let nodes = self.client.state(at).keys("Registration", "Nodes").await?;
        Ok(Marks { counters, nodes })
    }

    /// Kept maps, newest first; a map once read never changes.
    async fn read_maps(&self, at: [u8; 32], before: &Snapshot) -> Result<Vec<Arc<EpochMap>>, ChainError> {
        let state = self.client.state(at);
        let epochs: Vec<Epoch> = state.value("Arion", "KeptEpochs").await?.unwrap_or_default();
        let mut maps = Vec::new();
        for epoch in epochs.into_iter().rev().take(self.config.earlier_maps + 1) {
            if let Some(known) = before.map(epoch) {
                maps.push(known.clone());
            } else if let Some(map) = self.client.map_at_block(epoch, at).await? {
                maps.push(Arc::new(map));
            }
        }
        Ok(maps)
    }
}
