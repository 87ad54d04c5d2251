//! What goes to the chain when, and what follows from its answers. No IO, no clock of its own.
//!
//! # Invariants
//! - An attestation leaves the queue only when the finalised chain has it, or for a reason for which the chain will never
//!   take it.
//! - No attestation is in two transactions that could both be included: a batch whose fate is unknown is noted before it
//!   leaves ([`Flight`]), survives a crash, and holds its bucket up until the chain has it or its transaction has expired.
//! - One batch at a time; at most so many transactions an hour and so much in fees a day ([`Limits`]), restarts or not.
//! - A refused batch is compared with the chain again, and halved only if the chain does not explain the refusal.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use arion_types::{AttestationRecord, Epoch, NodeId};

use crate::{
    batch::{Blame, Rules, Screened, blame, screen},
    bundle::commit::Committing,
    conflicts::Conflict,
    queue::{AttestationId, Queued, attestation_id},
    spending::{Cost, CostChange, Spending},
};

const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Pause between looks at a bucket whose last batch may still be included.
const HELD_PAUSE: Duration = Duration::from_secs(6);
/// Longest pause between looks at the queue.
const IDLE: Duration = Duration::from_millis(500);

/// When attestations go, and how much that may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// A bucket's attestations go at once when this many wait, and never more together.
    pub batch_max: usize,
    /// At the latest when some have waited this long.
    pub batch_age: Duration,
    /// Transactions in any hour.
    pub transactions_per_hour: usize,
    /// Fees in any 24 hours, in the token's smallest unit.
    pub fees_per_day: u128,
}

/// A batch that may be on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flight {
    /// What is in it.
    pub ids: Vec<AttestationId>,
    /// Behind this finalised block it cannot be included any more.
    pub until: u32,
}

/// What became of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was carried out, in a finalised block.
    Finalized {
        /// What it cost, where that can be told.
        fee: Option<u128>,
    },
    /// The call failed, in a finalised block.
    Refused {
        /// Name of the dispatch error.
        name: String,
        /// What it cost nevertheless, where that can be told.
        fee: Option<u128>,
    },
    /// It is not on chain and never will be: the node did not take it, or it has expired.
    NotTaken(String),
    /// It may be on chain, or come to be.
    Unknown(String),
}

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Read this bucket, then [`Flow::looked`] or [`Flow::failed`].
    Look(u32),
    /// Nothing before this time.
    Rest(Duration),
}

/// What a look at a bucket brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen<'a> {
    /// The bucket.
    pub bucket: u32,
    /// What waits, in the order in which it came.
    pub waiting: Vec<Queued>,
    /// A finalised block.
    pub head: u32,
    /// What the chain had in the bucket at that block or later.
    pub on_chain: &'a [AttestationRecord],
    /// Wardens registered at that block.
    pub wardens: &'a BTreeSet<NodeId>,
}

/// What is to be written down, all at once, before anything else is done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settlement {
    /// Found in the finalised chain.
    pub finalized: Vec<AttestationId>,
    /// Never to be taken, with the reason.
    pub rejected: Vec<(Queued, String)>,
    /// Registered wardens that contradicted themselves: kept before what is rejected leaves the queue.
    pub conflicts: Vec<Conflict>,
    /// Buckets whose flight is over.
    pub landed: Vec<u32>,
    /// A batch that is about to leave, with its bucket.
    pub departing: Option<(u32, Flight)>,
    /// The commitment of an epoch as it stands from now on; `None` if it is over.
    pub committing: Option<(Epoch, Option<Committing>)>,
    /// What transactions cost.
    pub costs: Vec<CostChange>,
}

impl Settlement {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Carries attestations from a queue to a chain.
#[derive(Clone, Debug)]
pub struct Flow {
    rules: Rules,
    limits: Limits,
    /// Since when something waits in a bucket that was not sent yet.
    since: BTreeMap<u32, Duration>,
    /// Buckets not to be looked at before.
    held: BTreeMap<u32, Duration>,
    flights: BTreeMap<u32, Flight>,
    /// To be looked at next, whatever waits.
    again: Option<u32>,
    sending: Option<Sending>,
    refused: Option<Refused>,
    not_before: Duration,
    failures: u32,
    spending: Spending,
}

/// The batch that is being sent.
#[derive(Clone, Debug)]
struct Sending {
    bucket: u32,
    batch: Vec<Queued>,
    /// Number of its cost.
    cost: u64,
}

/// The batch refused last, for a reason that lies in one of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Refused {
    bucket: u32,
    ids: Vec<AttestationId>,
    name: String,
    /// The next batch of the bucket is at most this long.
    most: usize,
}

impl Flow {
    /// With the flights and costs that processes before this one left behind; `now` is since the Unix epoch.
    pub fn new(
        rules: Rules,
        limits: Limits,
        flights: BTreeMap<u32, Flight>,
        costs: BTreeMap<u64, Cost>,
        now: Duration,
    ) -> Self {
        Self {
            rules,
            limits,
            since: BTreeMap::new(),
            held: BTreeMap::new(),
            flights,
            again: None,
            sending: None,
            refused: None,
            not_before: Duration::ZERO,
            failures: 0,
            spending: Spending::new(&limits, costs, now),
        }
    }

    /// What is to be done at `now`, since the Unix epoch on a clock that never goes back, while this waits in the buckets.
    pub fn next(&mut self, now: Duration, buckets: &[(u32, usize)]) -> Next {
        self.since.retain(|bucket, _| buckets.iter().any(|(waiting, _)| waiting == bucket));
        for (bucket, _) in buckets {
            self.since.entry(*bucket).or_insert(now);
        }
        self.held.retain(|_, until| *until > now);
        if self.sending.is_some() || now < self.not_before {
            return Next::Rest(self.not_before.max(now).min(now + IDLE).max(now + Duration::from_millis(1)));
        }
        if let Some(bucket) = self.again.take() {
            return Next::Look(bucket);
        }
        let is_due = |(bucket, count): &(u32, usize)| {
            let is_old = self.since.get(bucket).is_some_and(|since| now >= *since + self.limits.batch_age);
            !self.held.contains_key(bucket) && (is_old || *count >= self.limits.batch_max)
        };
        // A flight left behind is over only when its bucket has been looked at.
        let stale = self.flights.keys().map(|bucket| (*bucket, usize::MAX));
        let due = buckets.iter().copied().chain(stale).filter(is_due).map(|(bucket, _)| bucket).min();
        due.map_or(Next::Rest(now + IDLE), Next::Look)
    }

    /// A bucket could not be read, or the settlement not be written.
    pub fn failed(&mut self, now: Duration) {
        if let Some(Sending { bucket, cost, .. }) = self.sending.take() {
            self.flights.remove(&bucket);
            self.spending.cancel(cost);
        }
        self.back_off(now);
    }

    fn back_off(&mut self, now: Duration) {
        let pause = BACKOFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(pause);
    }

    /// Why nothing goes out although something waits.
    pub fn limit_reached(&self, now: Duration) -> Option<&'static str> {
        self.spending.limit_reached(now)
    }

    /// Counts a transaction that is not a batch and is about to leave: its number, and what is to be written down.
    pub(crate) fn begin_cost(&mut self, now: Duration) -> (u64, Vec<CostChange>) {
        self.spending.begin(now)
    }

    /// That transaction is in a block.
    pub(crate) fn end_cost(&mut self, number: u64, now: Duration, fee: Option<u128>) -> Option<CostChange> {
        self.spending.end(number, now, fee)
    }

    /// That transaction is in no block and never will be.
    pub(crate) fn cancel_cost(&mut self, number: u64) -> Option<CostChange> {
        self.spending.cancel(number)
    }

    /// Behind so many blocks a transaction cannot be included any more.
    pub(crate) fn flight_blocks(&self) -> u32 {
        self.rules.flight_blocks
    }

    /// Takes in what a bucket looks like. Write down the settlement; if it has a batch departing, send
    /// [`Flow::sending`] then.
    pub fn looked(&mut self, now: Duration, seen: Seen<'_>) -> Settlement {
        let bucket = seen.bucket;
        let mut settlement = Settlement::default();
        if let Some(flight) = self.flights.get(&bucket) {
            let stored: HashSet<AttestationId> =
                seen.on_chain.iter().map(|record| attestation_id(record, &self.rules.genesis)).collect();
            let (found, missing): (Vec<_>, Vec<_>) =
                seen.waiting.iter().map(|queued| queued.id).partition(|id| stored.contains(id));
            if seen.head <= flight.until && flight.ids.iter().any(|id| missing.contains(id)) {
                self.held.insert(bucket, now + HELD_PAUSE);
                settlement.finalized = found;
                return settlement;
            }
            self.flights.remove(&bucket);
            settlement.landed.push(bucket);
        }
        let is_warden = |node: &NodeId| seen.wardens.contains(node);
        let screened = screen(&self.rules, bucket, seen.waiting, seen.on_chain, seen.head, is_warden);
        let Screened { good, stored, rejected, conflicts } = screened;
        settlement.finalized = stored.iter().map(|queued| queued.id).collect();
        settlement.rejected = rejected;
        settlement.conflicts = conflicts;
        let Some((batch, is_all)) = self.batch_of(bucket, good, &mut settlement) else { return settlement };
        if !self.is_due(now, bucket, batch.len()) {
            self.failures = 0;
            return settlement;
        }
        if self.limit_reached(now).is_some() {
            self.held.insert(bucket, now + HELD_PAUSE);
            return settlement;
        }
        if is_all {
            // What comes from now on waits for company anew.
            self.since.remove(&bucket);
        }
        let ids = batch.iter().map(|queued| queued.id).collect();
        let flight = Flight { ids, until: seen.head.saturating_add(self.rules.flight_blocks) };
        self.flights.insert(bucket, flight.clone());
        settlement.departing = Some((bucket, flight));
        let (cost, changes) = self.spending.begin(now);
        settlement.costs = changes;
        self.sending = Some(Sending { bucket, batch, cost });
        settlement
    }

    /// The batch that may leave, and whether that is all there is; what was refused alone and without an explanation is
    /// given up.
    fn batch_of(
        &mut self,
        bucket: u32,
        mut good: Vec<Queued>,
        settlement: &mut Settlement,
    ) -> Option<(Vec<Queued>, bool)> {
        let mut most = self.limits.batch_max.max(1);
        if let Some(refused) = self.refused.take_if(|refused| refused.bucket == bucket) {
            most = refused.most.clamp(1, most);
            let is_same = |batch: &[Queued]| batch.iter().map(|queued| &queued.id).eq(&refused.ids);
            let length = good.len().min(most);
            match good.get(..length).filter(|batch| is_same(batch)) {
                Some([_]) => {
                    settlement.rejected.push((good.remove(0), refused.name.clone()));
                    most = most.saturating_mul(2);
                }
                Some(batch) => most = batch.len() / 2,
                None => {}
            }
            self.refused = Some(Refused { most, ids: Vec::new(), ..refused });
        }
        if good.is_empty() {
            self.refused.take_if(|refused| refused.bucket == bucket);
            self.since.remove(&bucket);
            return None;
        }
        let is_all = good.len() <= most;
        good.truncate(most);
        Some((good, is_all))
    }

    fn is_due(&self, now: Duration, bucket: u32, length: usize) -> bool {
        let is_old = self.since.get(&bucket).is_none_or(|since| now >= *since + self.limits.batch_age);
        let is_refused = self.refused.as_ref().is_some_and(|refused| refused.bucket == bucket);
        is_old || length >= self.limits.batch_max || is_refused
    }

    /// The batch to be sent, once the settlement with its departure is on disk.
    pub fn sending(&self) -> Option<(u32, Vec<AttestationRecord>)> {
        let Sending { bucket, batch, .. } = self.sending.as_ref()?;
        Some((*bucket, batch.iter().map(|queued| queued.record.clone()).collect()))
    }

    /// What became of the batch. Write down the settlement.
    pub fn submitted(&mut self, now: Duration, outcome: &Outcome) -> Settlement {
        let mut settlement = Settlement::default();
        let Some(Sending { bucket, batch, cost }) = self.sending.take() else { return settlement };
        let ids: Vec<AttestationId> = batch.iter().map(|queued| queued.id).collect();
        if !matches!(outcome, Outcome::Unknown(_)) {
            self.flights.remove(&bucket);
            settlement.landed.push(bucket);
        }
        match outcome {
            Outcome::Finalized { fee } => {
                settlement.costs.extend(self.spending.end(cost, now, *fee));
                self.failures = 0;
                // The chain is asked whether it really has them.
                self.again = Some(bucket);
                if let Some(refused) = self.refused.as_mut().filter(|refused| refused.bucket == bucket) {
                    refused.most = refused.most.saturating_mul(2).min(self.limits.batch_max);
                }
            }
            Outcome::Refused { name, fee } => {
                settlement.costs.extend(self.spending.end(cost, now, *fee));
                match blame(name) {
                    Blame::All => {
                        settlement.rejected =
                            batch.into_iter().map(|queued| (queued, name.clone())).collect();
                    }
                    Blame::Some => {
                        let (name, most) = (name.clone(), ids.len());
                        self.refused = Some(Refused { bucket, ids, name, most });
                        self.again = Some(bucket);
                    }
                    Blame::None => self.back_off(now),
                }
            }
            Outcome::NotTaken(_) => {
                settlement.costs.extend(self.spending.cancel(cost));
                self.back_off(now);
            }
            Outcome::Unknown(_) => {
                self.held.insert(bucket, now + HELD_PAUSE);
                self.back_off(now);
            }
        }
        settlement
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
