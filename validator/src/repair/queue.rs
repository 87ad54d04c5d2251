//! The stripes that are to be worked on. Of each gateway those closest to being lost come first, then the oldest; gateways take turns.
//!
//! How many shards of a stripe are left is what lines of its gateway and miners that it may know say. So nobody is served first for
//! ever by what he says of himself: other gateways have their turn, and of the same one every second turn is for what was never tried.
//!
//! # Invariants
//! - At most [`QUEUE_MAX`] stripes: what is less urgent than all others of the gateway that has most is found again by a later walk.
//! - A stripe is worked on by one worker at a time, and not before its time.
//! - Where G gateways have stripes whose time has come, each is given one of G stripes; half of these were not tried before, if there are any.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Included, Unbounded},
};

use arion_types::{NodeId, StripeId};

use crate::holdings::StripeRef;

/// Stripes queued at once, some 200 bytes each.
const QUEUE_MAX: usize = 200_000;
/// First and longest wait between two attempts.
const BACKOFF_MS: (u64, u64) = (5_000, 600_000);

/// What sorts the stripes of a gateway: shards that are left, then since when.
type Key = (u8, u64, StripeId);

#[derive(Clone, Copy, Debug)]
struct Entry {
    present: u8,
    since_ms: u64,
    not_before_ms: u64,
    attempts: u32,
    under_way: bool,
}

impl Entry {
    fn key(&self, stripe: StripeId) -> Key {
        (self.present, self.since_ms, stripe)
    }
}

/// The stripes of a gateway.
#[derive(Debug, Default)]
struct Lane {
    untried: BTreeSet<Key>,
    failed: BTreeSet<Key>,
    /// Whether the turn is that of one that was tried before.
    failed_next: bool,
}

impl Lane {
    fn of(&mut self, entry: &Entry) -> &mut BTreeSet<Key> {
        if entry.attempts == 0 { &mut self.untried } else { &mut self.failed }
    }

    fn len(&self) -> usize {
        self.untried.len() + self.failed.len()
    }

    /// The least urgent.
    fn pop_last(&mut self) -> Option<Key> {
        let from = if self.failed.len() > self.untried.len() { &mut self.failed } else { &mut self.untried };
        from.pop_last()
    }

    /// The next one that is due, and whether it was tried before.
    fn next(&self, is_due: impl Fn(&Key) -> bool) -> Option<(StripeId, bool)> {
        let first = |of: &BTreeSet<Key>| of.iter().find(|key| is_due(key)).map(|(_, _, stripe)| *stripe);
        let untried = || first(&self.untried).map(|stripe| (stripe, false));
        let failed = || first(&self.failed).map(|stripe| (stripe, true));
        if self.failed_next { failed().or_else(untried) } else { untried().or_else(failed) }
    }
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: BTreeMap<NodeId, Lane>,
    entries: HashMap<StripeRef, Entry>,
    /// The gateway that had its turn last.
    last: NodeId,
    limit: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), entries: HashMap::new(), last: NodeId([0; 32]), limit: QUEUE_MAX }
    }
}

impl Queue {
    /// A stripe, of which `present` shards are left, has to wait for `wait_ms` from when it was first seen.
    pub(super) fn insert(&mut self, stripe: StripeRef, present: u8, wait_ms: u64, now_ms: u64) {
        let not_before_ms = now_ms.saturating_add(wait_ms);
        let first = Entry { present, since_ms: now_ms, not_before_ms, attempts: 0, under_way: false };
        let mut entry = self.remove(&stripe).unwrap_or(first);
        entry.present = present;
        if entry.attempts == 0 {
            entry.not_before_ms = entry.since_ms.saturating_add(wait_ms);
        }
        self.add(stripe, entry);
        while self.entries.len() > self.limit
            && let Some((gateway, longest)) = self.lanes.iter_mut().max_by_key(|(_, lane)| lane.len())
            && let Some((_, _, id)) = longest.pop_last()
        {
            self.entries.remove(&StripeRef { id, gateway: *gateway });
        }
    }

    fn add(&mut self, stripe: StripeRef, entry: Entry) {
        self.lanes.entry(stripe.gateway).or_default().of(&entry).insert(entry.key(stripe.id));
        self.entries.insert(stripe, entry);
    }

    fn remove(&mut self, stripe: &StripeRef) -> Option<Entry> {
        let entry = self.entries.remove(stripe)?;
        if let Some(lane) = self.lanes.get_mut(&stripe.gateway) {
            lane.of(&entry).remove(&entry.key(stripe.id));
            if lane.len() == 0 {
                self.lanes.remove(&stripe.gateway);
            }
        }
        Some(entry)
    }

    /// The most urgent stripe, whose time has come, of the gateway whose turn it is; it is under way from now on.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<StripeRef> {
        let is_due = |stripe: &StripeRef| {
            self.entries.get(stripe).is_some_and(|entry| !entry.under_way && entry.not_before_ms <= now_ms)
        };
        let behind = self.lanes.range((Excluded(self.last), Unbounded));
        let mut in_turn = behind.chain(self.lanes.range((Unbounded, Included(self.last))));
        let (stripe, was_tried) = in_turn.find_map(|(gateway, lane)| {
            let of = |id| StripeRef { id, gateway: *gateway };
            let (id, was_tried) = lane.next(|(_, _, id)| is_due(&of(*id)))?;
            Some((of(id), was_tried))
        })?;
        self.last = stripe.gateway;
        self.lanes.get_mut(&stripe.gateway)?.failed_next = !was_tried;
        self.entries.get_mut(&stripe)?.under_way = true;
        Some(stripe)
    }

    /// Nothing is left to do about a stripe.
    pub(super) fn done(&mut self, stripe: &StripeRef) {
        self.remove(stripe);
    }

    /// It did not work; it is tried again later, less and less often.
    pub(super) fn failed(&mut self, stripe: &StripeRef, now_ms: u64) {
        if let Some(mut entry) = self.remove(stripe) {
            let pause = BACKOFF_MS.0.saturating_mul(1 << entry.attempts.min(16)).min(BACKOFF_MS.1);
            entry.attempts = entry.attempts.saturating_add(1);
            entry.not_before_ms = now_ms.saturating_add(pause);
            entry.under_way = false;
            self.add(*stripe, entry);
        }
    }

    /// Another map: what had to wait for a miner may be done at once.
    pub(super) fn forget_waits(&mut self) {
        for entry in self.entries.values_mut() {
            entry.attempts = 0;
            entry.not_before_ms = entry.not_before_ms.min(entry.since_ms);
        }
        for lane in self.lanes.values_mut() {
            lane.untried.append(&mut lane.failed);
        }
    }

    /// Stripes queued.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);

    fn id(n: u8) -> StripeRef {
        of(ONE, n)
    }

    fn of(gateway: NodeId, n: u8) -> StripeRef {
        StripeRef { id: StripeId([n; 32]), gateway }
    }

    #[test]
    fn the_most_urgent_comes_first_then_the_oldest_each_to_one_worker() {
        let mut queue = Queue::default();
        queue.insert(id(1), 29, 0, 10);
        queue.insert(id(2), 12, 0, 12);
        queue.insert(id(3), 12, 0, 11);
        assert_eq!(queue.take(12), Some(id(3)));
        queue.insert(id(1), 11, 0, 13);
        assert_eq!(queue.take(12), Some(id(1)));
        assert_eq!(queue.take(12), Some(id(2)));
        assert_eq!(queue.take(12), None);
        queue.done(&id(2));
        queue.done(&id(2));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_failure_is_tried_again_later_and_nobody_waits_for_it() {
        let mut queue = Queue::default();
        queue.insert(id(1), 10, 100, 0);
        queue.insert(id(2), 20, 0, 0);
        assert_eq!(queue.take(99), Some(id(2)));
        assert_eq!(queue.take(100), Some(id(1)));
        let mut now = 100;
        for pause in [5_000, 10_000, 20_000] {
            queue.failed(&id(1), now);
            // Walks find it again and again meanwhile.
            queue.insert(id(1), 10, 100, now);
            assert_eq!(queue.take(now + pause - 1), None);
            now += pause;
            assert_eq!(queue.take(now), Some(id(1)));
        }
        queue.failed(&id(1), now);
        queue.forget_waits();
        assert_eq!(queue.take(now), Some(id(1)));
    }

    #[test]
    fn what_is_least_urgent_gives_way() {
        let mut queue = Queue { limit: 2, ..Queue::default() };
        queue.insert(id(1), 29, 0, 0);
        queue.insert(id(2), 20, 0, 0);
        queue.insert(id(3), 10, 0, 0);
        queue.insert(id(4), 30, 0, 0);
        assert_eq!(
            (queue.len(), queue.take(0), queue.take(0), queue.take(0)),
            (2, Some(id(3)), Some(id(2)), None)
        );
    }

    /// A gateway with forged stripes that look as if they were close to being lost, as many and as often as it likes.
    #[test]
    fn what_fails_for_ever_keeps_nobody_waiting() {
        let forged = |n: u16| {
            let id = StripeId([[1; 2], n.to_le_bytes()].concat().repeat(8).try_into().unwrap());
            StripeRef { id, gateway: ONE }
        };
        let mut queue = Queue::default();
        (0..1_000).for_each(|n| queue.insert(forged(n), 10, 0, 0));
        (10..15).for_each(|n| queue.insert(of(OTHER, n), 29, 0, 0));
        // Of the same gateway, and everything else of it was tried already.
        let mut now = 0;
        let mut taken = Vec::new();
        for _ in 0..10 {
            taken.extend(queue.take(now));
            queue.failed(taken.last().unwrap(), now);
        }
        assert_eq!(taken.iter().filter(|stripe| stripe.id.0[0] >= 10).count(), 5, "turn by turn");
        while let Some(stripe) = queue.take(now) {
            queue.failed(&stripe, now);
        }
        queue.insert(id(20), 29, 0, now);
        queue.insert(id(21), 28, 0, now);
        now += 2 * BACKOFF_MS.1;
        let next: Vec<_> = (0..8).filter_map(|_| queue.take(now)).collect();
        let at = |stripe| next.iter().position(|taken| *taken == stripe);
        assert!(at(id(21)).is_some() && at(id(21)) < at(id(20)), "{next:?}");
        // What was tried has its turn, too.
        assert!(next.iter().any(|stripe| stripe.id.0[0] == 1));
        assert_eq!(queue.len(), 1_007);
    }

    #[test]
    fn what_two_gateways_call_the_same_stripe_is_two() {
        let mut queue = Queue::default();
        queue.insert(of(ONE, 1), 29, 0, 0);
        queue.insert(of(OTHER, 1), 10, 0, 0);
        assert_eq!(
            (queue.take(0), queue.take(0), queue.take(0)),
            (Some(of(ONE, 1)), Some(of(OTHER, 1)), None)
        );
        queue.done(&of(OTHER, 1));
        queue.failed(&of(ONE, 1), 0);
        assert_eq!((queue.len(), queue.take(BACKOFF_MS.0)), (1, Some(of(ONE, 1))));
    }

    #[test]
    fn who_has_most_gives_way_first() {
        let mut queue = Queue { limit: 4, ..Queue::default() };
        (1..=4).for_each(|n| queue.insert(id(n), 10, 0, n.into()));
        queue.insert(of(OTHER, 9), 29, 0, 9);
        assert_eq!(queue.len(), 4);
        let taken: BTreeSet<_> = std::iter::from_fn(|| queue.take(9)).collect();
        assert_eq!(taken, [id(1), id(2), id(3), of(OTHER, 9)].into());
        taken.iter().for_each(|stripe| queue.done(stripe));
        assert!(queue.lanes.is_empty() && queue.len() == 0);
    }
}
