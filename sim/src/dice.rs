//! The only source of chance of a simulation's own parts.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_miner::store::memory::Chance;

/// A sequence of numbers that follows from a seed; clones share it.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<Chance>>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Chance(seed))))
    }

    /// Another sequence, which is not disturbed by who uses this one.
    pub fn fork(&self) -> Self {
        Self::new(self.number())
    }

    pub fn chance(&self) -> Chance {
        Chance(self.number())
    }

    pub fn number(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).number()
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// An index of something that has so many items.
    pub fn index(&self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    pub fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// At least the first, less than the second, in whole milliseconds.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        let (least, most) = (least.as_millis() as u64, most.as_millis() as u64);
        Duration::from_millis(least + self.below(most.saturating_sub(least)))
    }

    /// So many different numbers below `end`, in any order.
    pub fn some(&self, count: usize, end: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..end).collect();
        for at in 0..count.min(end) {
            all.swap(at, at + self.index(end - at));
        }
        all.truncate(count);
        all
    }
}
