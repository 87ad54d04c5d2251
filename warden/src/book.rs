//! Where what ledgers say goes: to disk, and to the shards that are audited.

use std::sync::{Arc, Mutex, PoisonError};

use arion_ledger::{Book, BookError, Change};
use arion_types::NodeId;
use async_trait::async_trait;

use crate::{
    docket::Docket,
    store::{Applied, Store, StoreError},
};

/// The shards of all ledgers.
pub struct ShardBook {
    /// On disk.
    pub store: Arc<Store>,
    /// What is audited.
    pub docket: Arc<Mutex<Docket>>,
}

impl ShardBook {
    /// Changes the store, and what is audited accordingly.
    async fn change(
        &self,
        change: impl FnOnce(&Store) -> Result<Applied, StoreError> + Send + 'static,
    ) -> Result<(), BookError> {
        let store = self.store.clone();
        let applied = arion_daemon::work::blocking(move || change(&store)).await;
        let Applied { added, removed, passed } = applied.map_err(BookError::new)?.map_err(BookError::new)?;
        let mut docket = self.docket.lock().unwrap_or_else(PoisonError::into_inner);
        let sampler = docket.sampler_mut();
        // A miner that was released may have signed anew behind that.
        for (node, shard) in removed {
            sampler.remove(&node, &shard);
        }
        for target in added {
            sampler.add(target, 0);
        }
        for target in passed {
            sampler.pass(&target);
        }
        Ok(())
    }
}

#[async_trait]
impl Book for ShardBook {
    async fn cursor(&self, gateway: &NodeId) -> Result<u64, BookError> {
        self.store.cursor(gateway).map_err(BookError::new)
    }

    async fn apply(&self, gateway: &NodeId, changes: Vec<Change>, reached: u64) -> Result<(), BookError> {
        let gateway = *gateway;
        self.change(move |store| store.apply(&gateway, &changes, reached)).await
    }

    async fn begin_anew(&self, gateway: &NodeId) -> Result<(), BookError> {
        let gateway = *gateway;
        self.change(move |store| store.begin_anew(&gateway).map(|()| Applied::default())).await
    }

    async fn apply_anew(&self, gateway: &NodeId, changes: Vec<Change>) -> Result<(), BookError> {
        let gateway = *gateway;
        self.change(move |store| store.apply_anew(&gateway, &changes)).await
    }

    async fn end_anew(&self, gateway: &NodeId, reached: u64) -> Result<(), BookError> {
        let gateway = *gateway;
        self.change(move |store| store.end_anew(&gateway, reached)).await
    }
}
