//! Follows the ledger of a gateway.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_net::{CallError, PeerAddr, Transport};
use arion_protocol::{LedgerEntry, LedgerRecord, Request, Response, limits::LEDGER_ENTRIES_MAX};
use bytes::Bytes;

use crate::{
    ledger::{ReceiptChecker, ReceiptFault},
    metrics::Metrics,
    sampler::{Sampler, Target},
    store::{Applied, Change, Store, StoreError},
};

const PAGE_DEADLINE: Duration = Duration::from_secs(20);

/// Why a ledger is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The gateway gave no page.
    #[error("the gateway gives no page of its ledger: {0}")]
    Call(#[from] CallError),
    /// It answered something else.
    #[error("the gateway answered a question for its ledger with something else")]
    Answer,
    /// A line is missing or doubled.
    #[error("the ledger has a gap: {found} follows {after}; the gateway has lost or rewritten it")]
    Gap {
        /// Sequence number before.
        after: u64,
        /// Sequence number found.
        found: u64,
    },
    /// A receipt of an epoch that this warden has not seen yet; a later look succeeds.
    #[error("the ledger is ahead of the finalised chain")]
    EpochAhead,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is stopping.
    #[error("stopping")]
    Stopping,
}

/// Follows one gateway.
pub struct Follower {
    /// The gateway.
    pub gateway: PeerAddr,
    /// How it is called.
    pub transport: Arc<dyn Transport>,
    /// Where lines go.
    pub store: Arc<Store>,
    /// What is audited.
    pub sampler: Arc<Mutex<Sampler>>,
    /// Which receipts count.
    pub checker: Arc<tokio::sync::Mutex<ReceiptChecker>>,
    /// Counters.
    pub metrics: Metrics,
    /// Held while the ledger is read, so that two reads do not cross.
    pub reading: tokio::sync::Mutex<()>,
}

impl Follower {
    /// Takes over everything the gateway has.
    pub async fn sync(&self) -> Result<(), FollowError> {
        let _reading = self.reading.lock().await;
        let mut cursor = self.store.cursor(&self.gateway.node_id)?;
        loop {
            let page = self.page(cursor).await?;
            let is_last = page.len() < usize::from(LEDGER_ENTRIES_MAX);
            let (changes, reached) = self.read(cursor, page).await?;
            if reached > cursor {
                self.apply(changes, reached).await?;
            } else if !is_last {
                return Err(FollowError::EpochAhead);
            }
            cursor = reached;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn page(&self, after: u64) -> Result<Vec<LedgerEntry>, FollowError> {
        let request = Request::LedgerPage { after, limit: LEDGER_ENTRIES_MAX };
        match self.transport.call(&self.gateway, request, Bytes::new(), PAGE_DEADLINE).await? {
            (Response::Ledger(entries), _) => Ok(entries),
            _ => Err(FollowError::Answer),
        }
    }

    /// What the lines change, up to the first that has to wait.
    async fn read(&self, after: u64, page: Vec<LedgerEntry>) -> Result<(Vec<Change>, u64), FollowError> {
        let mut checker = self.checker.lock().await;
        let mut changes = Vec::with_capacity(page.len());
        let mut reached = after;
        for entry in page {
            if entry.sequence != reached + 1 {
                return Err(FollowError::Gap { after: reached, found: entry.sequence });
            }
            match entry.record {
                LedgerRecord::Deleted { shard } => changes.push(Change::Remove(shard)),
                LedgerRecord::Stored(signed) => match checker.check(&signed) {
                    Ok(()) => changes.push(Change::Add(Target {
                        node: signed.receipt.node_id,
                        shard: signed.receipt.shard,
                        size: signed.receipt.size,
                        gateway: self.gateway.node_id,
                    })),
                    Err(ReceiptFault::EpochAhead) => break,
                    Err(fault) => {
                        self.metrics.receipts_refused.inc();
                        tracing::warn!(
                            gateway = %self.gateway.node_id, sequence = entry.sequence, %fault,
                            "a receipt in the ledger does not count"
                        );
                    }
                },
            }
            reached = entry.sequence;
        }
        Ok((changes, reached))
    }

    async fn apply(&self, changes: Vec<Change>, reached: u64) -> Result<(), FollowError> {
        let (store, gateway) = (self.store.clone(), self.gateway.node_id);
        let applied = tokio::task::spawn_blocking(move || store.apply(&gateway, &changes, reached)).await;
        let Applied { added, removed } = applied.map_err(|_| FollowError::Stopping)??;
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        for target in added {
            sampler.add(target, 0);
        }
        for (node, shard) in removed {
            sampler.remove(&node, &shard);
        }
        Ok(())
    }

    /// Follows for ever, looking every `poll`.
    pub async fn run(self: Arc<Self>, poll: Duration) {
        let mut last_error = String::new();
        loop {
            match self.sync().await {
                Ok(()) => last_error.clear(),
                Err(error) => {
                    self.metrics.ledger_failures.inc();
                    let text = error.to_string();
                    if text != last_error {
                        tracing::warn!(gateway = %self.gateway.node_id, %error, "the ledger is not followed; trying again");
                        last_error = text;
                    }
                }
            }
            tokio::time::sleep(poll).await;
        }
    }
}
