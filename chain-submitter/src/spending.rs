//! What batches cost, and the limits of that.
//!
//! # Invariants
//! - A batch counts from before it leaves: who dies before it hears what it paid has paid all the same.
//! - What is counted is written down together with the batch that it is about ([`CostChange`]), and counts after a restart.
//! - At most as many costs are kept as transactions may be sent in a day.

use std::{collections::BTreeMap, time::Duration};

use crate::flow::Limits;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Where no fee is known a batch counts as this part of the day's limit.
const UNKNOWN_SHARE: u128 = 24;

/// What a batch cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// When it left, or its fee was told, since the Unix epoch.
    pub at: Duration,
    /// In the token's smallest unit; `None` while or where nobody can tell.
    pub fee: Option<u128>,
}

/// Number of a cost, and what it is from now on; `None` where it counts no more.
pub type CostChange = (u64, Option<Cost>);

/// The costs of a day.
#[derive(Clone, Debug)]
pub(crate) struct Spending {
    transactions_per_hour: usize,
    fees_per_day: u128,
    costs: BTreeMap<u64, Cost>,
}

impl Spending {
    /// With the costs that processes before this one wrote down.
    pub(crate) fn new(limits: &Limits, mut costs: BTreeMap<u64, Cost>, now: Duration) -> Self {
        for cost in costs.values_mut() {
            // The clock was put back: they count from now on.
            cost.at = cost.at.min(now);
        }
        Self { transactions_per_hour: limits.transactions_per_hour, fees_per_day: limits.fees_per_day, costs }
    }

    /// Why nothing may leave.
    pub(crate) fn limit_reached(&self, now: Duration) -> Option<&'static str> {
        let within = |span: Duration| {
            self.costs.values().rev().take_while(move |cost| cost.at.saturating_add(span) > now)
        };
        let dearest = within(DAY).filter_map(|cost| cost.fee).max();
        let unknown = dearest.unwrap_or(self.fees_per_day / UNKNOWN_SHARE).max(1);
        let fees = within(DAY).fold(0u128, |sum, cost| sum.saturating_add(cost.fee.unwrap_or(unknown)));
        if within(HOUR).count() >= self.transactions_per_hour {
            Some("the limit of transactions in an hour is reached")
        } else if fees >= self.fees_per_day {
            Some("the limit of fees in 24 hours is reached")
        } else {
            None
        }
    }

    /// A batch is about to leave; its number, and what is to be written down with it.
    pub(crate) fn begin(&mut self, now: Duration) -> (u64, Vec<CostChange>) {
        let is_old = |cost: &Cost| cost.at.saturating_add(DAY) <= now;
        let mut changes = Vec::new();
        while let Some(old) = self.costs.first_entry().filter(|first| is_old(first.get())) {
            changes.push((*old.key(), None));
            old.remove();
        }
        let number = self.costs.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        changes.extend(self.put(number, Cost { at: now, fee: None }));
        (number, changes)
    }

    /// The batch is in a block; its fee, if that can be told.
    pub(crate) fn end(&mut self, number: u64, now: Duration, fee: Option<u128>) -> Option<CostChange> {
        self.put(number, Cost { at: now, fee })
    }

    /// The batch is in no block and never will be.
    pub(crate) fn cancel(&mut self, number: u64) -> Option<CostChange> {
        self.costs.remove(&number).map(|_| (number, None))
    }

    fn put(&mut self, number: u64, cost: Cost) -> Option<CostChange> {
        self.costs.insert(number, cost);
        Some((number, Some(cost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spending(fees_per_day: u128, costs: BTreeMap<u64, Cost>, now: Duration) -> Spending {
        let limits =
            Limits { batch_max: 1, batch_age: Duration::ZERO, transactions_per_hour: 1_000, fees_per_day };
        Spending::new(&limits, costs, now)
    }

    /// Nobody ever hears what a batch cost.
    fn unheard(spending: &mut Spending, now: Duration) -> usize {
        let mut count = 0;
        while spending.limit_reached(now).is_none() {
            spending.begin(now);
            count += 1;
            assert!(count <= 10_000, "without bound");
        }
        count
    }

    #[test]
    fn fees_that_nobody_can_tell_count_as_the_dearest_or_as_a_part_of_the_limit() {
        let now = DAY * 20_000;
        assert_eq!(unheard(&mut spending(2_400, BTreeMap::new(), now), now), 24);
        assert_eq!(unheard(&mut spending(7, BTreeMap::new(), now), now), 7);
        assert_eq!(unheard(&mut spending(0, BTreeMap::new(), now), now), 0);
        let mut spending = spending(100, BTreeMap::new(), now);
        for fee in [3, 10, 7] {
            let (number, _) = spending.begin(now);
            assert_eq!(
                spending.end(number, now, Some(fee)),
                Some((number, Some(Cost { at: now, fee: Some(fee) })))
            );
        }
        assert_eq!(unheard(&mut spending, now), 8, "80 left, 10 each");
        assert!(spending.limit_reached(now + DAY).is_none());
        let (number, changes) = spending.begin(now + DAY);
        let mut left: Vec<CostChange> = (0..11).map(|number| (number, None)).collect();
        left.push((number, Some(Cost { at: now + DAY, fee: None })));
        assert_eq!(changes, left, "what is older than a day is forgotten");
        assert_eq!(spending.cancel(number), Some((number, None)));
        assert!(spending.costs.is_empty());
    }

    #[test]
    fn a_clock_that_was_put_back_holds_nothing_up_for_more_than_a_day() {
        let (now, ahead) = (DAY * 20_000, DAY * 30_000);
        let costs = BTreeMap::from([(4, Cost { at: ahead, fee: Some(100) })]);
        let mut spending = spending(100, costs, now);
        assert!(spending.limit_reached(now + DAY - HOUR).is_some());
        assert!(spending.limit_reached(now + DAY).is_none());
        assert_eq!(spending.begin(now + DAY).1[0], (4, None));
    }
}
