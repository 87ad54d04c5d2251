//! How much each miner serves: counted where a shard was of use, kept every few seconds, stated in the ledger at an interval.
//!
//! # Invariants
//! - A shard, or the part of it that was asked for, counts for its miner if it was not there already: not for who was overtaken.
//! - What is counted and not kept yet is lost with the process: at most [`KEEP_INTERVAL`] of it, to nobody's gain.
//!
//! # Not here
//! What of it counts (`arion_ledger::served`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_daemon::{Shutdown, now_ms};
use arion_types::NodeId;

use super::Grid;

/// Between two times that counts are written down.
const KEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes that miners served and that are not written down yet.
#[derive(Debug, Default)]
pub(super) struct Serving {
    bytes: Mutex<HashMap<NodeId, u64>>,
}

impl Serving {
    /// A miner served a shard.
    pub(super) fn count(&self, miner: NodeId, bytes: usize) {
        let mut counted = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = counted.entry(miner).or_default();
        *sum = sum.saturating_add(bytes as u64);
    }

    fn take(&self) -> Vec<(NodeId, u64)> {
        let mut counted = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *counted).into_iter().collect()
    }
}

impl Grid {
    /// Writes down what miners served; what could not be written is tried again.
    pub(super) async fn keep_served(&self) {
        let counted = self.serving.take();
        if counted.is_empty() {
            return;
        }
        if let Err(error) = self.meta.add_served(counted.clone()).await {
            tracing::warn!(%error, "what miners served cannot be written down; trying again");
            for (miner, bytes) in counted {
                self.serving.count(miner, usize::try_from(bytes).unwrap_or(usize::MAX));
            }
        }
    }

    /// Writes down what miners served, until the shutdown.
    pub async fn count_served(self: Arc<Self>, stop: Shutdown) {
        let pause = KEEP_INTERVAL.min(self.options.statement_interval);
        while !stops_within(&stop, pause).await {
            self.keep_served().await;
        }
    }

    /// States in the ledger what miners served, at the interval that is set, until the shutdown: one replica for all.
    pub async fn state_served(self: Arc<Self>, stop: Shutdown) {
        let interval = self.options.statement_interval;
        loop {
            let pause = match self.meta.served_until().await {
                // The first period begins now.
                Ok(None) => Duration::ZERO,
                Ok(Some(until)) => {
                    interval.saturating_sub(Duration::from_millis(now_ms().saturating_sub(until)))
                }
                Err(_) => interval,
            };
            if stops_within(&stop, pause).await {
                return;
            }
            self.keep_served().await;
            let stated = self.meta.state_served(now_ms()).await;
            match &stated {
                Ok(0) => {}
                Ok(lines) => tracing::debug!(lines, "the ledger says what miners served"),
                Err(error) => tracing::warn!(%error, "what miners served cannot be stated; trying again"),
            }
            // A clock that went back, or a failure: not at once again.
            if stops_within(&stop, KEEP_INTERVAL.min(interval)).await {
                return;
            }
        }
    }
}

async fn stops_within(stop: &Shutdown, pause: Duration) -> bool {
    tokio::time::timeout(pause, stop.wait()).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_are_taken_once() {
        let serving = Serving::default();
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        serving.count(a, 5);
        serving.count(b, 1);
        serving.count(a, 7);
        let mut taken = serving.take();
        taken.sort_unstable_by_key(|(miner, _)| miner.0);
        assert_eq!(taken, [(a, 12), (b, 1)]);
        assert!(serving.take().is_empty());
    }
}
