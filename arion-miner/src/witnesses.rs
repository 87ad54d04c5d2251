//! The validator services as witnesses: which shards does no ledger name?
//!
//! # Invariants
//! - An answer rests on two thirds of all registered services, each after reading all ledgers to their ends, and on none that knows a line.
//!
//! # Not here
//! What a service knows (`validator/src/unnamed.rs`); what is made of it (`orphans`, `consent`).
//!
//! Specified in docs/spec/orphans.md.

mod ask;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arion_chain::{ChainError, ChainView};
use arion_net::{PeerAddr, Transport};
use arion_protocol::UnnamedQuestion;
use arion_types::{NodeId, ShardHash};
use tokio::time::Instant;

use crate::chain_facts::Anchors;
use ask::{Doubt, Facts, ask};

/// A service that did not answer is asked last for so long, and only where the others are not enough.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// The chain counts as read when that was no longer ago than this.
const CHAIN_AGE_MAX: Duration = Duration::from_secs(60);

/// Why nothing can be said.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The chain was not reached, or is not read.
    #[error("the chain cannot be read: {0}")]
    Chain(String),
    /// It cannot be asked for what is anchored.
    #[error("the chain does not say what ledgers have anchored: {0}")]
    Anchors(String),
    /// Nobody could ever want anything.
    #[error("no gateway is registered")]
    NoGateway,
    /// `validators` has too few of those who are registered.
    #[error(
        "`validators` names {known} of the {registered} registered validator services; {needed} have to be asked"
    )]
    TooFew {
        /// Configured and registered.
        known: usize,
        /// Registered.
        registered: usize,
        /// Needed.
        needed: usize,
    },
    /// Too few answers count.
    #[error("{answers} of {needed} validator services say what is wanted; the last that does not: {last}")]
    Silent {
        /// Answers that count.
        answers: usize,
        /// Needed.
        needed: usize,
        /// Why the last one does not.
        last: String,
    },
}

impl From<ChainError> for NoAnswer {
    fn from(error: ChainError) -> Self {
        Self::Anchors(error.to_string())
    }
}

/// Who is asked.
pub struct Witnesses {
    me: NodeId,
    view: ChainView,
    anchors: Arc<dyn Anchors>,
    transport: Arc<dyn Transport>,
    services: Vec<PeerAddr>,
    /// Who is asked first: another one every time.
    turn: AtomicUsize,
    /// Who did not answer, and when: asked last for a while.
    silent: Mutex<BTreeMap<NodeId, Instant>>,
}

/// Services of so many that have to say so.
pub(crate) fn quorum(registered: usize) -> usize {
    (registered * 2).div_ceil(3)
}

impl Witnesses {
    /// Of this miner, by the finalised chain and what it has of ledgers: the validator services that the operator trusts to be asked.
    pub fn new(
        me: NodeId,
        view: ChainView,
        anchors: Arc<dyn Anchors>,
        transport: Arc<dyn Transport>,
        services: Vec<PeerAddr>,
    ) -> Arc<Self> {
        let (turn, silent) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { me, view, anchors, transport, services, turn, silent })
    }

    /// A hearing, by what the chain says now; each service has so much time for an answer.
    pub(crate) async fn hear(&self, patience: Duration) -> Result<Hearing<'_>, NoAnswer> {
        let facts = self.facts().await?;
        let (services, needed) = self.services()?;
        Ok(Hearing {
            witnesses: self,
            patience,
            facts,
            services,
            needed,
            silent: BTreeSet::new(),
            last: String::new(),
        })
    }

    async fn facts(&self) -> Result<Facts, NoAnswer> {
        if let Some(error) = self.view.error().filter(|_| self.view.age() > CHAIN_AGE_MAX) {
            return Err(NoAnswer::Chain(error));
        }
        let snapshot = self.view.snapshot();
        if snapshot.registry.gateways.is_empty() {
            return Err(NoAnswer::NoGateway);
        }
        let mut gateways = BTreeMap::new();
        for gateway in &snapshot.registry.gateways {
            gateways.insert(*gateway, self.anchors.lines_of(gateway).await?);
        }
        let (genesis, me) = (self.view.genesis(), self.me);
        Ok(Facts { genesis, me, epoch: snapshot.epoch(), block: snapshot.block.number, gateways })
    }

    /// Who is asked, and how many have to answer.
    fn services(&self) -> Result<(Vec<&PeerAddr>, usize), NoAnswer> {
        let registry = self.view.snapshot().registry.clone();
        let registered = registry.validators.len();
        let mut seen = BTreeSet::new();
        let mut known: Vec<&PeerAddr> = self
            .services
            .iter()
            .filter(|service| registry.validators.contains(&service.node_id) && seen.insert(service.node_id))
            .collect();
        let needed = quorum(registered).max(1);
        if known.len() < needed {
            return Err(NoAnswer::TooFew { known: known.len(), registered, needed });
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % known.len();
        known.rotate_left(turn);
        let mut silent = self.silent();
        silent.retain(|_, since| since.elapsed() < SILENT_FOR);
        known.sort_by_key(|service| silent.contains_key(&service.node_id));
        Ok((known, needed))
    }
}

impl Witnesses {
    fn silent(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Questions one after the other; who did not answer one is not asked the next.
pub(crate) struct Hearing<'a> {
    witnesses: &'a Witnesses,
    patience: Duration,
    facts: Facts,
    services: Vec<&'a PeerAddr>,
    needed: usize,
    silent: BTreeSet<NodeId>,
    last: String,
}

impl Hearing<'_> {
    /// Those of these shards that no ledger names; that of `but`, if any, does not matter. Each service is asked about what none before
    /// has named.
    pub(crate) async fn unnamed(
        &mut self,
        mut shards: Vec<ShardHash>,
        but: Option<NodeId>,
    ) -> Result<Vec<ShardHash>, NoAnswer> {
        let mut answers = 0;
        for service in &self.services {
            if shards.is_empty() {
                break;
            }
            // Who was silent a moment ago is waited for where it takes its word.
            let was_silent = self.witnesses.silent().contains_key(&service.node_id);
            if self.silent.contains(&service.node_id) || was_silent && answers >= self.needed {
                continue;
            }
            let asked = UnnamedQuestion { shards: &shards, but };
            match ask(&*self.witnesses.transport, service, asked, &self.facts, self.patience).await {
                Ok(word) => {
                    answers += 1;
                    let mut at = 0..;
                    shards.retain(|_| at.next().is_some_and(|at| word.shards.has(at)));
                }
                Err(doubt) => {
                    tracing::debug!(service = %service.node_id, %doubt, "what a service says of wanted shards does not count");
                    if matches!(doubt, Doubt::Call(_)) {
                        self.witnesses.silent().insert(service.node_id, Instant::now());
                    }
                    self.last = doubt.to_string();
                    self.silent.insert(service.node_id);
                }
            }
        }
        match shards.is_empty() || answers >= self.needed {
            true => Ok(shards),
            false => Err(NoAnswer::Silent { answers, needed: self.needed, last: self.last.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_of_all_have_to_say_so() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 100].map(quorum), [1, 2, 2, 3, 4, 4, 5, 67]);
    }
}
