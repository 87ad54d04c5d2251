//! What the node beside this service reports of miners: `GET /v1/quality?bucket=N`.
//!
//! The node fetches it once per weight bucket, signs it, and brings it to the chain (`pallets/arion/src/offchain.rs`).
//!
//! # Invariants
//! - Nothing in a report is a miner's own word: uptime is what this service heard, bytes are those of receipts in
//!   the ledgers of gateways that are still wanted, and what these ledgers say was served, up to those.
//! - What is not known is not reported: after a start, while a ledger is being read, or when the chain is not read.
//!
//! # Not here
//! Strikes and integrity failures: the chain has them from wardens.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use arion_chain::ChainView;
use arion_daemon::{Answer, StatusCode, now_ms};
use arion_ledger::{Follower, Reach};
use arion_types::{NodeId, NodeQuality, quality::QualityStatement};
use codec::Encode;

use crate::{holdings::Holdings, liveness::Liveness, metrics::Metrics, presence::Presence};

/// Path of the report.
pub const PATH: &str = "/v1/quality";
/// Pause between looks at who is online.
const TICK: Duration = Duration::from_secs(1);
/// The chain counts as lost when it could not be read for this long.
const CHAIN_SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why there is no report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoReport {
    /// The question is not one.
    #[error("ask for {PATH}?bucket=N, with the number of the open weight bucket")]
    Question,
    /// The service is not ready.
    #[error("the service has not reached the chain yet")]
    Starting,
    /// Who is registered, and which bucket is open, is not known.
    #[error("the chain was not read for {0} s; see /health")]
    ChainLost(u64),
    /// Another bucket is open.
    #[error("the finalised chain is in bucket {open}, not in {asked}")]
    OtherBucket {
        /// Asked for.
        asked: u32,
        /// Open.
        open: u32,
    },
    /// Too little was heard to judge by.
    #[error(
        "miners were heard for {watched} blocks, a report needs {needed}: the service started, or was interrupted, a moment ago"
    )]
    NotHeard {
        /// Blocks.
        watched: u32,
        /// Length of a bucket.
        needed: u32,
    },
    /// What miners store is not known.
    #[error("no gateways are set whose ledgers say what miners store: set `gateways`")]
    NoGateways,
    /// What miners store is known in part.
    #[error("the ledger of gateway {0} is still being read")]
    LedgerUnread(NodeId),
    /// What miners store is not known at all.
    #[error("no gateway has given its ledger yet; see the log")]
    LedgersSilent,
    /// There is nobody to report about.
    #[error("no miner is registered")]
    NoMiners,
}

impl NoReport {
    fn status(&self) -> StatusCode {
        match self {
            Self::Question => StatusCode::BAD_REQUEST,
            Self::Starting | Self::ChainLost(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::NOT_FOUND,
        }
    }
}

/// What reports are made of.
pub struct Observer {
    /// The finalised chain.
    pub view: ChainView,
    /// Heartbeats.
    pub liveness: Arc<Mutex<Liveness>>,
    /// Who was there for how long.
    pub presence: Mutex<Presence>,
    /// What miners store.
    pub holdings: Arc<Holdings>,
    /// The ledgers it is known from.
    pub followers: Vec<Arc<Follower>>,
}

impl Observer {
    /// Looks who is online, for ever.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TICK).await;
            self.look(now_ms());
        }
    }

    pub(crate) fn look(&self, now_ms: u64) {
        let snapshot = self.view.snapshot();
        let liveness = self.liveness.lock().unwrap_or_else(PoisonError::into_inner);
        let online = snapshot.registry.miners.keys().map(|node| (*node, liveness.is_online(node, now_ms)));
        let mut presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        presence.note(snapshot.block.number, now_ms, online);
    }

    /// The report for a bucket, if it is open.
    pub fn statement(&self, asked: u32) -> Result<QualityStatement, NoReport> {
        let silence = self.view.age();
        if self.view.error().is_some() && silence > CHAIN_SILENCE_MAX {
            return Err(NoReport::ChainLost(silence.as_secs()));
        }
        let snapshot = self.view.snapshot();
        let block = snapshot.block.number;
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let open = presence.bucket_of(block);
        if asked != open {
            return Err(NoReport::OtherBucket { asked, open });
        }
        if self.followers.is_empty() {
            return Err(NoReport::NoGateways);
        }
        let unread = |follower: &&Arc<Follower>| matches!(follower.reach(), Reach::Unknown | Reach::Partial);
        if let Some(follower) = self.followers.iter().find(unread) {
            return Err(NoReport::LedgerUnread(follower.gateway()));
        }
        // What an earlier run has read still holds where gateways are down now.
        let is_known = self.followers.iter().any(|follower| follower.reach() == Reach::Complete);
        if !is_known && self.holdings.is_empty() {
            return Err(NoReport::LedgersSilent);
        }
        if !presence.is_whole(block) {
            let watched = presence.watched_blocks(block);
            return Err(NoReport::NotHeard { watched, needed: presence.bucket_blocks() });
        }
        let now_ms = now_ms();
        let mut updates = BTreeMap::new();
        for (node, child) in &snapshot.registry.miners {
            // One that registered a moment ago waits for the next bucket.
            let Some(uptime_permille) = presence.uptime_permille(node) else { continue };
            let shard_data_bytes = self.holdings.bytes_of(node);
            let bandwidth_bytes = self.holdings.served_by(node, now_ms);
            let quality =
                NodeQuality { shard_data_bytes, bandwidth_bytes, uptime_permille, ..NodeQuality::default() };
            updates.insert(child.child, quality);
        }
        if updates.is_empty() {
            return Err(NoReport::NoMiners);
        }
        let updates = updates.into_iter().collect();
        Ok(QualityStatement::V1 { genesis: self.view.genesis(), bucket: asked, updates })
    }
}

/// Answers the node; clones share the observer, which is there once the chain is.
#[derive(Clone, Default)]
pub struct Reports {
    observer: Arc<OnceLock<Arc<Observer>>>,
    metrics: Metrics,
}

impl Reports {
    /// Before the chain is reached.
    pub fn new(metrics: Metrics) -> Self {
        Self { observer: Arc::default(), metrics }
    }

    /// From here on there may be reports.
    pub fn serve(&self, observer: Arc<Observer>) {
        // A service is started once.
        let _ = self.observer.set(observer);
    }

    /// What the endpoint answers to this query: a SCALE [`QualityStatement`], or a line that says why not.
    pub fn answer(&self, query: &str) -> Answer {
        match self.report(query) {
            Ok(statement) => {
                self.metrics.reports.inc();
                Answer::bytes(statement.encode())
            }
            Err(reason) => {
                self.metrics.reports_refused.inc();
                tracing::info!(query, %reason, "no report of quality");
                Answer::text(reason.status(), reason.to_string())
            }
        }
    }

    fn report(&self, query: &str) -> Result<QualityStatement, NoReport> {
        let bucket = query.strip_prefix("bucket=").and_then(|bucket| bucket.parse().ok());
        let bucket = bucket.ok_or(NoReport::Question)?;
        self.observer.get().ok_or(NoReport::Starting)?.statement(bucket)
    }
}
