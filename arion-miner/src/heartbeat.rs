//! Heartbeats: this miner lives, here, and is so full. To every configured validator service, each on its own.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{Heartbeat, Request, Response};
use arion_types::{GenesisHash, NodeId, map::Endpoint, signing};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use crate::{
    metrics::Metrics,
    store::{Clock, Volumes},
};

const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// First wait after a failure; doubled up to the interval.
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// What all heartbeats of a miner say.
pub struct Reporter {
    /// The miner's key.
    pub key: SigningKey,
    /// The chain.
    pub genesis: GenesisHash,
    /// Where the miner is reached.
    pub endpoint: Endpoint,
    /// Whether it is being emptied.
    pub draining: bool,
    /// It is, too, as long as this file is there.
    pub drain_file: PathBuf,
    /// Its shards.
    pub store: Arc<Volumes>,
    /// Carries the heartbeats.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Clock,
    /// Metrics.
    pub metrics: Metrics,
    /// Pause between heartbeats.
    pub interval: Duration,
    /// Time of the last heartbeat: they only grow.
    pub last_sent_at: AtomicU64,
}

impl Reporter {
    /// Reports to one validator service until the task is dropped; the first time at once.
    pub async fn report_to(self: Arc<Self>, peer: PeerAddr) {
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.report(&peer).await {
                Ok(()) => {
                    self.metrics.heartbeat("ok");
                    backoff = BACKOFF_MIN;
                    tokio::time::sleep(self.interval).await;
                }
                Err(error) => {
                    self.metrics.heartbeat("failed");
                    tracing::warn!(validator = %peer.node_id, endpoint = %peer.endpoint, %error, "heartbeat failed");
                    tokio::time::sleep(backoff.min(self.interval)).await;
                    backoff = (backoff * 2).min(self.interval);
                }
            }
        }
    }

    async fn report(&self, peer: &PeerAddr) -> Result<(), CallError> {
        let heartbeat = self.heartbeat().sign(&self.genesis, &self.key);
        let request = Request::Heartbeat(heartbeat);
        let (response, _) = self.transport.call(peer, request, Bytes::new(), CALL_DEADLINE).await?;
        if let Response::HeartbeatAccepted { epoch } = response {
            tracing::debug!(validator = %peer.node_id, epoch, "heartbeat accepted");
        }
        Ok(())
    }

    fn heartbeat(&self) -> Heartbeat {
        let usage = self.store.usage();
        Heartbeat {
            node_id: self.node_id(),
            endpoint: self.endpoint.clone(),
            capacity_bytes: usage.capacity_bytes,
            used_bytes: usage.used_bytes,
            shard_count: usage.shards,
            draining: self.draining || self.drain_file.exists(),
            version: version(),
            sent_at: self.sent_at(),
        }
    }

    fn node_id(&self) -> NodeId {
        signing::node_id(&self.key)
    }

    /// Now, or a millisecond behind the last heartbeat where two fall together.
    fn sent_at(&self) -> u64 {
        let now = (self.clock)();
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.last_sent_at.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        now.max(last.unwrap_or(0) + 1)
    }
}

/// Version of this program: major, minor, patch.
pub fn version() -> (u16, u16, u16) {
    let part = |text: &str| text.parse().unwrap_or(0);
    (
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    )
}
