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
//! - For one node there is one question at a time.
//!
//! # Not here
//! Who is asked, and what counts (`witnesses`); whose a shard is (`store::Owner`).

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use arion_daemon::work::same_host;
use arion_protocol::limits::UNNAMED_SHARDS_MAX;
use arion_types::{NodeId, ShardHash};
use tokio::{sync::oneshot, time::Instant};

use crate::witnesses::{NoAnswer, Witnesses};

/// A line of a ledger is read by all services, or they are silent, when a shard is as old as this: twice what a service allows itself, and as
/// much for a gateway to enter it.
pub const SETTLED_MS: u64 = 300_000;
/// Time for an answer of one service; and for all of it: gateways take a miner that answers nothing for gone.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_IN_ALL: Duration = Duration::from_secs(4);
/// Questions of this time are put as one.
const GATHER: Duration = Duration::from_millis(20);
/// Whose orders were mostly for what others want is not asked for again for so long, nor so soon where nothing could be said: nobody is to make all
/// miners ask all services all the time.
const PAUSE_NAMED: Duration = Duration::from_secs(30);
const PAUSE_UNKNOWN: Duration = Duration::from_secs(2);
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

/// Whose ledger does not matter; for `None` all do.
type But = Option<NodeId>;

#[derive(Default)]
struct State {
    waiting: HashMap<But, Vec<(ShardHash, oneshot::Sender<Verdict>)>>,
    /// For whom somebody asks.
    asking: HashSet<But>,
    /// For whom nobody asks before that time.
    pauses: HashMap<But, Instant>,
    /// Shards that are to be deleted when it is known, by the orders for it.
    doomed: HashMap<ShardHash, HashSet<u64>>,
    /// Orders so far.
    orders: u64,
}

/// Asks.
#[derive(Default)]
pub struct Consent {
    witnesses: OnceLock<Arc<Witnesses>>,
    state: Mutex<State>,
}

impl Consent {
    /// From now on there is somebody to ask.
    pub fn set(&self, witnesses: Arc<Witnesses>) {
        let _ = self.witnesses.set(witnesses);
    }

    /// Somebody orders a shard to be stored or restored.
    pub(crate) fn wanted(&self, shard: &ShardHash) {
        self.state().doomed.remove(shard);
    }

    /// An order to delete a shard, from before it is asked about.
    pub(crate) fn doom(self: &Arc<Self>, shard: ShardHash) -> Doom {
        let mut state = self.state();
        state.orders += 1;
        let order = state.orders;
        state.doomed.entry(shard).or_default().insert(order);
        Doom { consent: self.clone(), shard, order }
    }

    /// Whether anybody but this gateway would miss a shard.
    pub(crate) async fn of(self: &Arc<Self>, shard: ShardHash, but: But) -> Verdict {
        let Some(witnesses) = self.witnesses.get() else { return Verdict::Unknown(None) };
        let (reply, verdict) = oneshot::channel();
        let is_first = {
            let mut state = self.state();
            state.pauses.retain(|_, until| Instant::now() < *until);
            let waiting = state.waiting.values().map(Vec::len).sum::<usize>();
            if waiting >= WAITING_MAX || state.pauses.contains_key(&but) {
                return Verdict::Unknown(None);
            }
            state.waiting.entry(but).or_default().push((shard, reply));
            state.asking.insert(but)
        };
        if is_first {
            let (consent, witnesses) = (self.clone(), witnesses.clone());
            tokio::spawn(same_host(async move {
                tokio::time::sleep(GATHER).await;
                while let Some(questions) = consent.next(but) {
                    consent.ask(&witnesses, questions, but).await;
                }
            }));
        }
        let verdict = tokio::time::timeout(PATIENCE_IN_ALL, verdict).await;
        verdict.ok().and_then(Result::ok).unwrap_or(Verdict::Unknown(None))
    }

    /// The questions that came meanwhile; without any nobody asks any more.
    fn next(&self, but: But) -> Option<Vec<(ShardHash, oneshot::Sender<Verdict>)>> {
        let mut state = self.state();
        let questions = state.waiting.remove(&but);
        if questions.is_none() {
            state.asking.remove(&but);
        }
        questions
    }

    /// Puts questions.
    async fn ask(
        &self,
        witnesses: &Witnesses,
        questions: Vec<(ShardHash, oneshot::Sender<Verdict>)>,
        but: But,
    ) {
        let mut hearing = witnesses.hear(PATIENCE).await;
        let mut questions = questions.into_iter();
        loop {
            let page: Vec<_> = questions.by_ref().take(UNNAMED_SHARDS_MAX).collect();
            if page.is_empty() {
                return;
            }
            // Each once, whoever asks twice.
            let shards: HashSet<ShardHash> = page.iter().map(|(shard, _)| *shard).collect();
            let count = shards.len();
            let unnamed = match &mut hearing {
                Ok(hearing) => hearing.unnamed(shards.into_iter().collect(), but).await,
                Err(error) => Err(error.clone()),
            };
            let unnamed = unnamed.map(HashSet::<ShardHash>::from_iter);
            let pause = match &unnamed {
                Ok(unnamed) if unnamed.len() * 2 >= count => None,
                Ok(_) => Some(PAUSE_NAMED),
                Err(_) => Some(PAUSE_UNKNOWN),
            };
            if let Some(pause) = pause {
                self.state().pauses.insert(but, Instant::now() + pause);
            }
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An order to delete a shard that holds until somebody orders the shard to be kept.
pub(crate) struct Doom {
    consent: Arc<Consent>,
    shard: ShardHash,
    order: u64,
}

impl Doom {
    /// Whether nobody has ordered the shard to be kept since. To be called while nobody can.
    pub(crate) fn holds(&self) -> bool {
        self.consent.state().doomed.get(&self.shard).is_some_and(|orders| orders.contains(&self.order))
    }
}

impl Drop for Doom {
    fn drop(&mut self) {
        let mut state = self.consent.state();
        if let Entry::Occupied(mut orders) = state.doomed.entry(self.shard) {
            orders.get_mut().remove(&self.order);
            if orders.get().is_empty() {
                orders.remove();
            }
        }
    }
}
