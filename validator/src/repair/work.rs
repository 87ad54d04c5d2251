//! Work on one stripe: look, fetch, compute, store, check, tell its gateway.
//!
//! # Invariants
//! - Miners are asked first: what another service has done meanwhile is not done again.
//! - Nothing is written before everything that is to be written was checked.
//! - In memory are at most the k + m shards of the stripe.

use std::{collections::BTreeMap, sync::Arc};

use arion_protocol::ShardPlacement;
use arion_types::{NodeId, Receipt, ShardHash, SignedReceipt, StripeId};
use bytes::Bytes;
use futures_util::future::join_all;
use rand::seq::SliceRandom;

use super::{
    Repair,
    map::CurrentMap,
    miners::{Questions, ShardError},
    plan::{Condition, Job, Plan, Source, plan, shards},
    rebuild::{RebuildError, rebuild},
};
use crate::holdings::{Place, StoreError, Stripe};

/// Stripes whose receipts are kept between attempts; those of others are asked for again.
const ATTEMPTS_MAX: usize = 4_096;

/// What an attempt has stored of a stripe that is not done.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempt {
    receipts: Vec<SignedReceipt>,
    /// Whether its gateway has taken all of them.
    is_told: bool,
}

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
type Ready = (Job, ShardHash, Bytes);

impl Repair {
    /// Makes a stripe whole.
    pub(super) async fn work(self: &Arc<Self>, id: StripeId) -> Result<(), WorkError> {
        let Some(mut stripe) = self.stripe(id).await? else { return Ok(()) };
        self.tell_earlier(&mut stripe).await?;
        let map = self.map().ok_or(WorkError::NoMap)?;
        let plan = self.look(&map, &stripe).await;
        let waiting = match plan.condition {
            Condition::Whole => return Ok(()),
            Condition::Unrecoverable => {
                return Err(WorkError::Unrecoverable { present: plan.present, needed: plan.shape.data });
            }
            Condition::Contradicted => return Err(WorkError::Contradicted),
            Condition::Degraded { .. } => plan.waiting,
        };
        let ready = match plan.jobs.is_empty() {
            true => Vec::new(),
            false => self.gather(&map, &stripe, &plan).await?,
        };
        let jobs = ready.len();
        let (stored, failure) = self.store_all(&map, &stripe, ready).await;
        // The gateway is asked also where it has the receipt already: it knows whether the stripe is still wanted.
        let receipts: Vec<_> = stored.iter().map(|(_, signed)| *signed).collect();
        if !receipts.is_empty() {
            let wanted = self.tell(&stripe, &receipts).await;
            self.remember(id, &receipts, wanted.is_ok());
            if !wanted? {
                self.take_back(&map, &stored).await;
                return Ok(());
            }
        }
        match failure {
            Some(last) => Err(WorkError::NotStored { failed: jobs - stored.len(), last }),
            None if jobs < plan.jobs.len() => {
                Err(WorkError::TooFew { found: usize::from(plan.present), needed: plan.shape.data })
            }
            None if waiting > 0 => Err(WorkError::Waiting { waiting }),
            None => Ok(()),
        }
    }

    async fn stripe(&self, id: StripeId) -> Result<Option<Stripe>, WorkError> {
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
        plan(stripe, map.shape, &named, |node, shard| answers.of(node, shard, &stripe.id))
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
                there.get(&job.index).map(|(shard, bytes)| (job.clone(), *shard, bytes.clone()))
            })
            .collect();
        match ready.is_empty() {
            true => Err(WorkError::TooFew { found: there.len(), needed: plan.shape.data }),
            false => Ok(ready),
        }
    }

    /// Stores shards, all at once; those stored with their receipts, and why the last of the others was not.
    async fn store_all(
        &self,
        map: &CurrentMap,
        stripe: &Stripe,
        ready: Vec<Ready>,
    ) -> (Vec<(Job, SignedReceipt)>, Option<ShardError>) {
        let (pg, epoch) = (map.group(&stripe.id), map.epoch);
        let stores = ready.into_iter().map(|(job, shard, bytes)| async move {
            let placement =
                ShardPlacement { stripe: stripe.id, pg, index: job.index, epoch, size: stripe.size };
            let outcome = self.miners.store(map, &job.to, shard, placement, bytes).await;
            (job, outcome)
        });
        let (mut stored, mut failure) = (Vec::new(), None);
        for (job, outcome) in join_all(stores).await {
            match outcome {
                Ok(signed) => {
                    self.metrics.repair.shards.inc();
                    stored.push((job, signed));
                }
                Err(error) => {
                    let (stripe, index, miner) = (stripe.id, job.index, job.to);
                    tracing::debug!(%stripe, index, %miner, %error, "a shard was not stored");
                    failure = Some(error);
                }
            }
        }
        (stored, failure)
    }

    /// Tells the gateways in whose ledgers a stripe is; whether one of them wants it.
    async fn tell(&self, stripe: &Stripe, receipts: &[SignedReceipt]) -> Result<bool, WorkError> {
        let mut answer = Err(WorkError::NoGateway);
        for gateway in &stripe.gateways {
            let Some(follower) = self.followers.iter().find(|follower| follower.gateway() == *gateway) else {
                continue;
            };
            match self.miners.tell(follower.address(), receipts.to_vec()).await {
                Ok(true) => return Ok(true),
                // Another one may not have been reached.
                Ok(false) if answer.is_ok() || matches!(answer, Err(WorkError::NoGateway)) => {
                    answer = Ok(false)
                }
                Ok(false) => {}
                Err(error) => answer = Err(WorkError::NotTold(error)),
            }
        }
        answer
    }

    /// Keeps the receipts of an attempt until the stripe is done: the ledger may not have come back with them at the next one.
    fn remember(&self, id: StripeId, receipts: &[SignedReceipt], is_told: bool) {
        let mut attempts = self.attempts();
        if attempts.len() < ATTEMPTS_MAX || attempts.contains_key(&id) {
            let attempt = attempts.entry(id).or_default();
            attempt.receipts.extend_from_slice(receipts);
            attempt.is_told = is_told;
        }
    }

    /// Tells the gateway what an earlier attempt could not tell it, and counts what that attempt stored.
    async fn tell_earlier(&self, stripe: &mut Stripe) -> Result<(), WorkError> {
        let earlier = self.attempts().get(&stripe.id).cloned();
        let Some(Attempt { receipts, is_told }) = earlier else { return Ok(()) };
        if !is_told {
            self.tell(stripe, &receipts).await?;
            self.remember(stripe.id, &[], true);
        }
        for Receipt { index, shard, node_id: node, epoch, .. } in receipts.iter().map(|signed| signed.receipt)
        {
            if stripe.holders(index).all(|place| place.node != node) {
                stripe.places.push(Place { index, shard, node, epoch });
            }
        }
        Ok(())
    }

    /// The stripe was deleted meanwhile: what was written for it goes, too.
    async fn take_back(&self, map: &CurrentMap, stored: &[(Job, SignedReceipt)]) {
        for (job, signed) in stored.iter().filter(|(job, _)| !job.from.contains(&job.to)) {
            let shard = signed.receipt.shard;
            if let Err(error) = self.miners.delete(map, &job.to, shard).await {
                tracing::warn!(%shard, miner = %job.to, %error, "a shard that nobody wants any more was not deleted");
            }
        }
    }
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
