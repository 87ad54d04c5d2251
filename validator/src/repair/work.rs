//! Work on one stripe: look, fetch, compute, store, check, tell its gateway.
//!
//! # Invariants
//! - Miners are asked first: what another service has done meanwhile is not done again.
//! - No shard is sent to a miner that has it: it signs again without, unless it is of an earlier version.
//! - Nothing is written before everything that is to be written was checked.
//! - In memory are at most the k + m shards of the stripe.

use std::{collections::BTreeMap, sync::Arc};

use arion_protocol::ShardPlacement;
use arion_types::{NodeId, ShardHash, SignedReceipt};
use bytes::Bytes;
use futures_util::future::join_all;
use rand::seq::SliceRandom;

use super::{
    Repair,
    aside::Reason,
    map::CurrentMap,
    miners::{Questions, ShardError},
    plan::{Condition, Job, Plan, Source, plan, shards},
    rebuild::{RebuildError, rebuild},
};
use crate::holdings::{StoreError, Stripe, StripeRef};

/// Why a stripe is not whole yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no map to work by.
    #[error("no finalised map says where shards belong")]
    NoMap,
    /// Fewer than k shards are left.
    #[error(
        "only {present} of the {needed} shards that are needed are left: what is lost cannot be computed"
    )]
    Unrecoverable {
        /// Shards left.
        present: u8,
        /// k.
        needed: u8,
    },
    /// Its receipts are not of the shards that its id stands for.
    #[error("its receipts are not of the shards that its id stands for")]
    Contradicted,
    /// The miners that the map names do not answer.
    #[error("{waiting} shards wait for miners that do not answer")]
    Waiting {
        /// Shards.
        waiting: u8,
    },
    /// Too few shards could be fetched.
    #[error("{found} of the {needed} shards that are needed could be fetched")]
    TooFew {
        /// Fetched.
        found: usize,
        /// k.
        needed: u8,
    },
    /// The missing shards cannot be computed.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// A miner did not take its shard.
    #[error("{failed} shards were not stored; the last: {last}")]
    NotStored {
        /// Shards.
        failed: usize,
        /// Why the last was not.
        last: ShardError,
    },
    /// Its gateway did not take the receipts.
    #[error("its gateway does not take the receipts: {0}")]
    NotTold(ShardError),
    /// No gateway of the configuration has it.
    #[error("it is in the ledger of no gateway that is configured")]
    NoGateway,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

/// A shard as it is to be stored.
struct Ready {
    job: Job,
    shard: ShardHash,
    bytes: Bytes,
    /// Whether no line said what it is: its miner may have it.
    is_found: bool,
}

/// What miners have signed for, and why the last of the others did not.
type Signed = (Vec<(Job, SignedReceipt)>, Option<ShardError>);

impl Repair {
    /// Makes a stripe whole.
    pub(super) async fn work(self: &Arc<Self>, id: StripeRef) -> Result<(), WorkError> {
        let Some(mut stripe) = self.stripe(id).await? else {
            self.told().done(&id);
            return Ok(());
        };
        let map = self.map().ok_or(WorkError::NoMap)?;
        self.tell_again(&map, &mut stripe).await?;
        let mut plan = self.look(&map, &stripe).await;
        if plan.condition == Condition::Unrecoverable {
            let Some(now) = self.restore(&map, &id, &plan).await? else { return Ok(()) };
            stripe = now;
            plan = self.look(&map, &stripe).await;
        }
        let waiting = match plan.condition {
            Condition::Whole => return Ok(()),
            Condition::Unrecoverable => {
                return Err(WorkError::Unrecoverable { present: plan.present, needed: plan.shape.data });
            }
            Condition::Contradicted => return Err(WorkError::Contradicted),
            Condition::Degraded { .. } => plan.waiting,
        };
        let mut stored = self.sign_again(&map, &stripe, &mut plan).await;
        let gathered = match plan.jobs.is_empty() {
            true => Ok(Vec::new()),
            false => self.gather(&map, &stripe, &plan).await,
        };
        let (ready, lack) = match gathered {
            Ok(ready) => (ready, None),
            Err(lack) => (Vec::new(), Some(lack)),
        };
        let jobs = ready.len();
        let (sent, failure) = self.store_all(&map, &stripe, ready).await;
        let failed = jobs - sent.len();
        stored.extend(sent);
        if !self.bring(&map, &stripe, &stored).await? {
            return Ok(());
        }
        if let Some(WorkError::Rebuild(RebuildError::OtherStripe)) = lack {
            self.set_aside(&stripe, Reason::OtherStripe);
        }
        match (lack, failure) {
            (Some(lack), _) => Err(lack),
            (None, Some(last)) => Err(WorkError::NotStored { failed, last }),
            (None, None) if jobs < plan.jobs.len() => {
                Err(WorkError::TooFew { found: usize::from(plan.present), needed: plan.shape.data })
            }
            (None, None) if waiting > 0 => Err(WorkError::Waiting { waiting }),
            (None, None) => Ok(()),
        }
    }

    /// Has miners sign again that have their shard; what is left to do is left in the plan.
    async fn sign_again(
        &self,
        map: &CurrentMap,
        stripe: &Stripe,
        plan: &mut Plan,
    ) -> Vec<(Job, SignedReceipt)> {
        let (_, known) = &shards(stripe, map.shape);
        let there = plan.jobs.extract_if(.., |job| job.from.contains(&job.to)).collect::<Vec<_>>();
        let asked = there.into_iter().map(|job| async move {
            let shard = known.get(usize::from(job.index)).copied().flatten();
            let signed = match shard {
                Some(shard) => self.signed_again(map, stripe, &job, shard).await,
                None => None,
            };
            (job, signed)
        });
        let mut stored = Vec::new();
        for (job, signed) in join_all(asked).await {
            match signed {
                Some(signed) => stored.push((job, signed)),
                None => plan.jobs.push(job),
            }
        }
        plan.jobs.sort_by_key(|job| job.index);
        stored
    }

    /// The receipt of a miner for a shard that it has.
    async fn signed_again(
        &self,
        map: &CurrentMap,
        stripe: &Stripe,
        job: &Job,
        shard: ShardHash,
    ) -> Option<SignedReceipt> {
        let placement = placement(map, stripe, job);
        match self.miners.store(map, &job.to, shard, placement, Bytes::new()).await {
            Ok(signed) => {
                self.metrics.repair.signed_again.inc();
                Some(signed)
            }
            Err(error) => {
                tracing::debug!(stripe = %stripe.id, index = job.index, miner = %job.to, %error, "a miner does not sign again");
                None
            }
        }
    }

    pub(super) async fn stripe(&self, id: StripeRef) -> Result<Option<Stripe>, WorkError> {
        let holdings = self.holdings.clone();
        let read = arion_daemon::work::blocking(move || holdings.stripe(&id));
        Ok(read.await.map_err(|_| WorkError::Stopping)??)
    }

    /// Asks the miners of a stripe.
    async fn look(&self, map: &CurrentMap, stripe: &Stripe) -> Plan {
        let named = map.named(&stripe.id);
        let mut questions = Questions::new();
        ask_for(&mut questions, stripe, map, &named);
        let answers = self.miners.ask(map, questions).await;
        plan(stripe, map.shape, &named, |node, shard| answers.of(node, shard))
    }

    /// Fetches what can be copied, and computes the rest from as few shards as that takes.
    async fn gather(&self, map: &CurrentMap, stripe: &Stripe, plan: &Plan) -> Result<Vec<Ready>, WorkError> {
        let data = usize::from(plan.shape.data);
        let mut sources: Vec<&Source> = plan.sources.iter().collect();
        sources.shuffle(&mut rand::rng());
        let is_wanted = |source: &&Source| plan.jobs.iter().any(|job| job.index == source.index);
        sources.sort_by_key(|source| !is_wanted(source));
        let copies = sources.iter().copied().filter(is_wanted).count();
        let mut have: BTreeMap<u8, Bytes> = BTreeMap::new();
        let mut sources = sources.into_iter();
        // As many as there are to copy, but no more than make all others.
        let mut next: Vec<&Source> = sources.by_ref().take(copies.min(data)).collect();
        loop {
            let fetches = next.iter().map(|source| async {
                let body = self.miners.fetch(map, &source.nodes, source.shard, stripe.size).await;
                (source.index, body)
            });
            for (index, fetched) in join_all(fetches).await {
                match fetched {
                    Ok(bytes) => drop(have.insert(index, bytes)),
                    Err(error) => {
                        tracing::debug!(stripe = %stripe.id, index, %error, "a shard was not fetched")
                    }
                }
            }
            let is_enough = have.len() >= data || plan.jobs.iter().all(|job| have.contains_key(&job.index));
            if is_enough {
                break;
            }
            next = sources.by_ref().take(data - have.len()).collect();
            if next.is_empty() {
                break;
            }
        }
        let (_, known) = shards(stripe, map.shape);
        let missing: Vec<u8> =
            plan.jobs.iter().map(|job| job.index).filter(|index| !have.contains_key(index)).collect();
        let mut made = Vec::new();
        if !missing.is_empty() && have.len() >= data {
            let (id, shape, known, have) = (stripe.id, plan.shape, known.clone(), have.clone());
            let computed = arion_daemon::work::blocking(move || rebuild(&id, shape, &known, &have, &missing));
            made = computed.await.map_err(|_| WorkError::Stopping)??;
        }
        let copied = have.into_iter().filter_map(|(index, bytes)| {
            Some((index, known.get(usize::from(index)).copied().flatten()?, bytes))
        });
        let there: BTreeMap<u8, (ShardHash, Bytes)> =
            copied.chain(made).map(|(index, shard, bytes)| (index, (shard, bytes))).collect();
        let ready: Vec<Ready> = plan
            .jobs
            .iter()
            .filter_map(|job| {
                let is_found = known.get(usize::from(job.index)).copied().flatten().is_none();
                let (shard, bytes) = there.get(&job.index)?;
                Some(Ready { job: job.clone(), shard: *shard, bytes: bytes.clone(), is_found })
            })
            .collect();
        match ready.is_empty() {
            true => Err(WorkError::TooFew { found: there.len(), needed: plan.shape.data }),
            false => Ok(ready),
        }
    }

    /// Stores shards, all at once.
    async fn store_all(&self, map: &CurrentMap, stripe: &Stripe, ready: Vec<Ready>) -> Signed {
        let stores = ready.into_iter().map(|Ready { mut job, shard, bytes, is_found }| async move {
            if is_found && let Some(signed) = self.signed_again(map, stripe, &job, shard).await {
                job.from = vec![job.to];
                return (job, Ok(signed));
            }
            let placement = placement(map, stripe, &job);
            let outcome = self.miners.store(map, &job.to, shard, placement, bytes).await;
            if outcome.is_ok() {
                self.metrics.repair.shards.inc();
            }
            (job, outcome)
        });
        let (mut stored, mut failure) = (Vec::new(), None);
        for (job, outcome) in join_all(stores).await {
            match outcome {
                Ok(signed) => stored.push((job, signed)),
                Err(error) => {
                    let (stripe, index, miner) = (stripe.id, job.index, job.to);
                    tracing::debug!(%stripe, index, %miner, %error, "a shard was not stored");
                    failure = Some(error);
                }
            }
        }
        (stored, failure)
    }
}

fn placement(map: &CurrentMap, stripe: &Stripe, job: &Job) -> ShardPlacement {
    let (pg, epoch) = (map.group(&stripe.id), map.epoch);
    ShardPlacement { stripe: stripe.id, pg, index: job.index, epoch, size: stripe.size }
}

/// Adds what has to be asked about a stripe: everybody who signed for a shard, and who the map names for it.
pub(super) fn ask_for(
    questions: &mut Questions,
    stripe: &Stripe,
    map: &CurrentMap,
    named: &[Option<NodeId>],
) {
    for place in &stripe.places {
        questions.entry(place.node).or_default().push(place.shard);
    }
    let (_, known) = shards(stripe, map.shape);
    for ((index, shard), node) in (0u8..).zip(known).zip(named) {
        let Some(node) = node else { continue };
        let asked = questions.entry(*node).or_default();
        if let Some(shard) = shard
            && stripe.holders(index).all(|place| place.node != *node)
        {
            asked.push(shard);
        }
    }
}
