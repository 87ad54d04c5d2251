//! Whether a deletion harms anybody but the one who orders it.
//!
//! A gateway that had a shard stored may have it deleted. About what somebody else had stored - another gateway, which is lost since, or repair -
//! the validator services are asked whether any ledger but that gateway's own names it. Without this, whoever registers a gateway could
//! have the data of all others deleted.
//!
//! # Invariants
//! - What is not known to be nobody else's stays.
//! - What a gateway stored lately stays: its line may not have been read.
//! - Who orders a shard to be stored or restored meanwhile keeps it.
//!
//! # Not here
//! Who is asked, and what counts (`witnesses`); whose a shard is (`store::Owner`).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use arion_daemon::work::same_host;
use arion_protocol::limits::UNNAMED_SHARDS_MAX;
use arion_types::{NodeId, ShardHash};
use tokio::sync::oneshot;

use crate::witnesses::{NoAnswer, Witnesses};

/// A line of a ledger is read by all services, or they are silent, when a shard is as old as this: twice what a service allows itself, and as
/// much for a gateway to enter it.
pub const SETTLED_MS: u64 = 300_000;
/// Time for an answer of one service; and for all of it: gateways take a miner that answers nothing for gone.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_IN_ALL: Duration = Duration::from_secs(4);
/// Questions of this time are put as one.
const GATHER: Duration = Duration::from_millis(20);
/// Shards asked about at once; more are told to come again.
const WAITING_MAX: usize = 16_384;

/// What is known of a deletion.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nobody else would miss the shard.
    Nobodys,
    /// A ledger of somebody else names it.
    Named,
    /// It cannot be said, or not now.
    Unknown(Option<NoAnswer>),
}

/// The questions that wait for each gateway whose ledger does not matter; for `None` all do.
type Waiting = HashMap<Option<NodeId>, Vec<(ShardHash, oneshot::Sender<Verdict>)>>;

/// Asks.
#[derive(Default)]
pub struct Consent {
    witnesses: OnceLock<Arc<Witnesses>>,
    waiting: Mutex<Waiting>,
    /// Shards that are to be deleted when it is known.
    doomed: Mutex<HashSet<ShardHash>>,
}

impl Consent {
    /// From now on there is somebody to ask.
    pub fn set(&self, witnesses: Arc<Witnesses>) {
        let _ = self.witnesses.set(witnesses);
    }

    /// Somebody orders a shard to be stored or restored.
    pub(crate) fn wanted(&self, shard: &ShardHash) {
        self.doomed().remove(shard);
    }

    /// Whether nobody has ordered the shard to be kept since it was asked about. To be called while nobody can.
    pub(crate) fn holds(&self, shard: &ShardHash) -> bool {
        self.doomed().remove(shard)
    }

    /// Whether anybody but this gateway would miss a shard.
    pub(crate) async fn of(self: &Arc<Self>, shard: ShardHash, but: Option<NodeId>) -> Verdict {
        if self.witnesses.get().is_none() {
            return Verdict::Unknown(None);
        }
        self.doomed().insert(shard);
        let (reply, verdict) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            if waiting.values().map(Vec::len).sum::<usize>() >= WAITING_MAX {
                self.doomed().remove(&shard);
                return Verdict::Unknown(None);
            }
            let questions = waiting.entry(but).or_default();
            questions.push((shard, reply));
            questions.len() == 1
        };
        if is_first {
            let consent = self.clone();
            tokio::spawn(same_host(async move {
                tokio::time::sleep(GATHER).await;
                consent.ask(but).await;
            }));
        }
        let verdict = tokio::time::timeout(PATIENCE_IN_ALL, verdict).await;
        let verdict = verdict.ok().and_then(Result::ok).unwrap_or(Verdict::Unknown(None));
        if !matches!(verdict, Verdict::Nobodys) {
            self.doomed().remove(&shard);
        }
        verdict
    }

    /// Puts the questions that wait.
    async fn ask(&self, but: Option<NodeId>) {
        let questions = self.waiting().remove(&but).unwrap_or_default();
        let Some(witnesses) = self.witnesses.get() else { return };
        let mut hearing = witnesses.hear(PATIENCE).await;
        let mut questions = questions.into_iter();
        loop {
            let page: Vec<_> = questions.by_ref().take(UNNAMED_SHARDS_MAX).collect();
            if page.is_empty() {
                return;
            }
            // Each once, whoever asks twice.
            let shards: HashSet<ShardHash> = page.iter().map(|(shard, _)| *shard).collect();
            let unnamed = match &mut hearing {
                Ok(hearing) => hearing.unnamed(shards.into_iter().collect(), but).await,
                Err(error) => Err(error.clone()),
            };
            let unnamed = unnamed.map(HashSet::<ShardHash>::from_iter);
            for (shard, reply) in page {
                let verdict = match &unnamed {
                    Ok(unnamed) if unnamed.contains(&shard) => Verdict::Nobodys,
                    Ok(_) => Verdict::Named,
                    Err(error) => Verdict::Unknown(Some(error.clone())),
                };
                // Who asked may have gone.
                let _ = reply.send(verdict);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doomed(&self) -> MutexGuard<'_, HashSet<ShardHash>> {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
