//! Walks over all live stripes: which of them are not as the current map says.
//!
//! A walk by receipts asks nobody and takes it that miners of the map have what they signed for: it tells at once what a new
//! map moves. A census asks the miners, too.

use std::{collections::BTreeMap, sync::Arc};

use super::durability::Spread;
use super::{
    Repair,
    aside::Reason,
    duty,
    map::CurrentMap,
    miners::Questions,
    plan::{Answer, Condition, Plan, plan},
    telling::with_pending,
    work::ask_for,
};
use crate::holdings::{Holdings, PendingReceipts, StoreError, Stripe, StripeRef};
use arion_daemon::now_ms;

/// Stripes looked at in one step: what is asked about them fits into memory, and few requests carry it.
const PAGE: usize = 256;

/// Stripes beyond repair that a census names in the log; all are counted.
const NAMED_MAX: u64 = 20;

/// What a walk found. A stripe that several ledgers have counts once, by the best that is so.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Stripes by what is missing of them; 0 are whole.
    pub(crate) missing: BTreeMap<u8, u64>,
    /// Stripes of which fewer than k shards are left.
    pub(crate) unrecoverable: u64,
    /// Stripes whose receipts contradict each other or what their shards make, or that cannot be read in the store.
    pub(crate) bad: u64,
    /// The same stripes, by what they can bear; of a walk that does not ask, as if everybody had what it signed for.
    pub(crate) spread: Spread,
}

impl Tally {
    fn add(&mut self, map: &CurrentMap, stripe: &Stripe, plan: &Plan) {
        self.spread.add(map, stripe, plan);
        match plan.condition {
            Condition::Whole => *self.missing.entry(0).or_default() += 1,
            Condition::Degraded { missing } => *self.missing.entry(missing).or_default() += 1,
            Condition::Unrecoverable => self.unrecoverable += 1,
            Condition::Contradicted => self.bad += 1,
        }
    }

    /// Stripes that repair can do nothing for.
    fn beyond_repair(&self) -> u64 {
        self.unrecoverable.saturating_add(self.bad)
    }

    /// Stripes that are whole.
    pub(crate) fn whole(&self) -> u64 {
        self.missing.get(&0).copied().unwrap_or(0)
    }

    /// Stripes that lack shards.
    pub(crate) fn degraded(&self) -> u64 {
        self.missing.iter().filter(|(missing, _)| **missing > 0).map(|(_, count)| count).sum()
    }
}

impl Repair {
    /// Looks at all stripes of gateways whose ledgers are known, and queues those that are not whole.
    pub(super) async fn walk(self: &Arc<Self>, map: &CurrentMap, asks: bool) -> Result<Tally, StoreError> {
        let (mut tally, mut best) = (Tally::default(), None::<(Stripe, Plan)>);
        let mut after = None;
        let read = self.read_ledgers();
        loop {
            let holdings = self.holdings.clone();
            let Ok(page) = arion_daemon::work::blocking(move || page_of(&holdings, after)).await else {
                return Ok(tally);
            };
            let (mut page, pending) = page?;
            let is_last = page.len() < PAGE;
            after = page.last().map(Stripe::key);
            page.retain(|stripe| read.contains(&stripe.gateway));
            for stripe in &mut page {
                with_pending(stripe, pending.get(&stripe.key()).map_or(&[], Vec::as_slice));
            }
            let (readable, unreadable): (Vec<Stripe>, Vec<Stripe>) =
                page.into_iter().partition(|stripe| !stripe.places.is_empty());
            for stripe in &unreadable {
                tracing::warn!(stripe = %stripe.id, gateway = %stripe.gateway, "a stripe cannot be read in the store; it is passed over");
            }
            tally.bad += unreadable.len() as u64;
            let plans = match asks {
                true => self.asked(map, &readable).await,
                false => readable.iter().map(|stripe| by_receipts(map, stripe)).collect(),
            };
            for (stripe, mut plan) in readable.into_iter().zip(plans) {
                if plan.condition == Condition::Whole {
                    self.aside().is_whole(&stripe.key());
                }
                let left_alone = self.aside().of(&stripe, now_ms());
                if left_alone == Some(Reason::OtherStripe) {
                    plan.contradict();
                }
                if left_alone.is_none() {
                    self.note(map, &stripe, &plan, asks, pending.contains_key(&stripe.key()));
                }
                if asks && tally.beyond_repair() < NAMED_MAX {
                    name(&stripe.key(), &plan);
                }
                if plan.condition == Condition::Contradicted {
                    tally.add(map, &stripe, &plan);
                    continue;
                }
                match &mut best {
                    Some((known, so_far)) if known.id == stripe.id => {
                        if plan.condition < so_far.condition {
                            (*known, *so_far) = (stripe, plan);
                        }
                    }
                    before => {
                        if let Some((stripe, plan)) = before.replace((stripe, plan)) {
                            tally.add(map, &stripe, &plan);
                        }
                    }
                }
            }
            self.metrics.repair.queued.set(self.queue().len() as i64);
            // A new map is a reason to begin again.
            if is_last || self.view.snapshot().epoch() != map.epoch {
                if let Some((stripe, plan)) = &best {
                    tally.add(map, stripe, plan);
                }
                return Ok(tally);
            }
        }
    }

    async fn asked(&self, map: &CurrentMap, stripes: &[Stripe]) -> Vec<Plan> {
        let mut questions = Questions::new();
        for stripe in stripes {
            ask_for(&mut questions, stripe, map, &map.named(&stripe.id));
        }
        let answers = self.miners.ask(map, questions).await;
        let answer = |stripe: &Stripe| {
            plan(stripe, map.shape, &map.named(&stripe.id), |node, shard| answers.of(node, shard))
        };
        stripes.iter().map(answer).collect()
    }

    /// Queues a stripe about which something can be done, or of which its gateway is to be told again.
    fn note(&self, map: &CurrentMap, stripe: &Stripe, plan: &Plan, asks: bool, is_pending: bool) {
        let can_be_done = match plan.condition {
            Condition::Degraded { .. } => !plan.jobs.is_empty(),
            // Of what was deleted, miners may take back.
            Condition::Unrecoverable => asks,
            Condition::Whole | Condition::Contradicted => false,
        };
        let is_due = can_be_done || is_pending && self.told().is_due(&stripe.key(), now_ms());
        let services = &self.view.snapshot().registry.validators;
        let rank = duty::rank(services, &self.me, map.group(&stripe.id));
        if let (true, Some(rank)) = (is_due, rank) {
            let wait_ms = duty::wait_ms(rank, self.options.delay, self.options.takeover);
            self.queue().insert(stripe.key(), plan.present, wait_ms, now_ms());
            self.wake.notify_one();
        }
    }
}

/// The next stripes, and the receipts of theirs that no ledger has brought back.
fn page_of(
    holdings: &Holdings,
    after: Option<StripeRef>,
) -> Result<(Vec<Stripe>, PendingReceipts), StoreError> {
    let page = holdings.stripes(after, PAGE)?;
    let pending = match (page.first(), page.last()) {
        (Some(first), Some(last)) => holdings.pending(first.key()..=last.key())?,
        _ => PendingReceipts::new(),
    };
    Ok((page, pending))
}

/// Tells of a stripe that repair can do nothing for.
fn name(StripeRef { id: stripe, gateway }: &StripeRef, plan: &Plan) {
    let (present, needed) = (plan.present, plan.shape.data);
    match plan.condition {
        Condition::Unrecoverable => {
            tracing::error!(%stripe, %gateway, present, needed, "a stripe is lost unless miners come back");
        }
        Condition::Contradicted => {
            tracing::error!(%stripe, %gateway, "the receipts of a stripe are not of the shards that its id stands for");
        }
        Condition::Whole | Condition::Degraded { .. } => {}
    }
}

/// As if every miner of the map had what it signed for, and nobody else could be asked.
fn by_receipts(map: &CurrentMap, stripe: &Stripe) -> Plan {
    plan(stripe, map.shape, &map.named(&stripe.id), |node, shard| {
        let signed = stripe.places.iter().any(|place| (&place.node, &place.shard) == (node, shard));
        match (signed, map.has(node)) {
            (true, true) => Answer::Held,
            (true, false) => Answer::Silent,
            (false, _) => Answer::Absent,
        }
    })
}
