//! The stripes that are to be worked on, those closest to being lost first, then the oldest.
//!
//! # Invariants
//! - At most [`QUEUE_MAX`] stripes: what is less urgent than all of them is found again by a later walk.
//! - A stripe is worked on by one worker at a time, and not before its time.

use std::collections::{BTreeMap, HashMap};

use arion_types::StripeId;

/// Stripes queued at once, some 150 bytes each.
const QUEUE_MAX: usize = 200_000;
/// First and longest wait between two attempts.
const BACKOFF_MS: (u64, u64) = (5_000, 600_000);

/// What sorts the queue: shards that are left, then since when.
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

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    order: BTreeMap<Key, ()>,
    entries: HashMap<StripeId, Entry>,
    limit: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { order: BTreeMap::new(), entries: HashMap::new(), limit: QUEUE_MAX }
    }
}

impl Queue {
    /// A stripe of which `present` shards are left has to wait for `wait_ms` from when it was first seen.
    pub(super) fn insert(&mut self, stripe: StripeId, present: u8, wait_ms: u64, now_ms: u64) {
        match self.entries.get_mut(&stripe) {
            Some(entry) => {
                self.order.remove(&entry.key(stripe));
                entry.present = present;
                if entry.attempts == 0 {
                    entry.not_before_ms = entry.since_ms.saturating_add(wait_ms);
                }
                self.order.insert(entry.key(stripe), ());
            }
            None => {
                let not_before_ms = now_ms.saturating_add(wait_ms);
                let entry = Entry { present, since_ms: now_ms, not_before_ms, attempts: 0, under_way: false };
                self.entries.insert(stripe, entry);
                self.order.insert(entry.key(stripe), ());
            }
        }
        while self.entries.len() > self.limit
            && let Some(((_, _, last), ())) = self.order.pop_last()
        {
            self.entries.remove(&last);
        }
    }

    /// The most urgent stripe whose time has come; it is under way from now on.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<StripeId> {
        let is_due = |stripe: &StripeId| {
            self.entries.get(stripe).is_some_and(|entry| !entry.under_way && entry.not_before_ms <= now_ms)
        };
        let (_, _, stripe) = *self.order.keys().find(|(_, _, stripe)| is_due(stripe))?;
        self.entries.get_mut(&stripe)?.under_way = true;
        Some(stripe)
    }

    /// Nothing is left to do about a stripe.
    pub(super) fn done(&mut self, stripe: &StripeId) {
        if let Some(entry) = self.entries.remove(stripe) {
            self.order.remove(&entry.key(*stripe));
        }
    }

    /// It did not work; it is tried again later, less and less often.
    pub(super) fn failed(&mut self, stripe: &StripeId, now_ms: u64) {
        if let Some(entry) = self.entries.get_mut(stripe) {
            let pause = BACKOFF_MS.0.saturating_mul(1 << entry.attempts.min(16)).min(BACKOFF_MS.1);
            entry.attempts = entry.attempts.saturating_add(1);
            entry.not_before_ms = now_ms.saturating_add(pause);
            entry.under_way = false;
        }
    }

    /// Another map: what had to wait for a miner may be done at once.
    pub(super) fn forget_waits(&mut self) {
        for entry in self.entries.values_mut() {
            entry.attempts = 0;
            entry.not_before_ms = entry.not_before_ms.min(entry.since_ms);
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

    fn id(n: u8) -> StripeId {
        StripeId([n; 32])
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
}
