//! Whose turn it is to have bytes in memory: who comes when the room is taken waits, in order of arrival.
//!
//! A client that is slow may have its room for [`PATIENCE`] while others wait; then they go on without it. So the bound holds for
//! any number of clients that keep up, and nobody stops the others by sending or reading a byte a minute.
//!
//! # Invariants
//! - What is granted to those who have not had it for [`PATIENCE`] is never more than the room.
//! - Nobody waits for ever: whoever is in front of the queue waits for [`PATIENCE`] at most.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// How long somebody may keep others waiting.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Room is counted in pieces of this many bytes.
const PIECE: usize = 64 << 10;

/// A room of so many bytes.
pub(super) struct Turns {
    pieces: usize,
    free: Arc<Semaphore>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    next: u64,
    turns: BTreeMap<u64, (Instant, OwnedSemaphorePermit)>,
}

/// Room that was granted; it is free again when this is dropped.
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Turns {
    pub(super) fn new(bytes: usize) -> Self {
        let pieces = bytes.div_ceil(PIECE).clamp(1, Semaphore::MAX_PERMITS);
        Self { pieces, free: Arc::new(Semaphore::new(pieces)), held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room. More than there is in all counts as all of it.
    pub(super) async fn take(self: &Arc<Self>, bytes: usize) -> Turn {
        let pieces = u32::try_from(bytes.div_ceil(PIECE).clamp(1, self.pieces)).unwrap_or(u32::MAX);
        let granted = self.free.clone().acquire_many_owned(pieces);
        tokio::pin!(granted);
        let permit = loop {
            let oldest = self.held().turns.values().next().map(|(since, _)| *since);
            // Whoever gave room back in this moment wakes this one by itself.
            let given_up = oldest.unwrap_or_else(Instant::now) + PATIENCE;
            tokio::select! {
                biased;
                granted = &mut granted => break granted,
                () = sleep_until(given_up) => self.give_up(),
            }
        };
        let mut held = self.held();
        let number = held.next;
        held.next += 1;
        // The semaphore is never closed.
        if let Ok(permit) = permit {
            held.turns.insert(number, (Instant::now(), permit));
        }
        Turn { turns: self.clone(), number }
    }

    /// Takes room back from those who have had it for too long.
    fn give_up(&self) {
        let now = Instant::now();
        self.held().turns.retain(|_, (since, _)| now.saturating_duration_since(*since) < PATIENCE);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let turn = self.turns.held().turns.remove(&self.number);
        drop(turn);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn turns(pieces: usize) -> Arc<Turns> {
        Arc::new(Turns::new(pieces * PIECE))
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_late_waits_until_there_is_room_and_gets_it_in_order() {
        let turns = turns(4);
        let first = turns.take(3 * PIECE).await;
        let begun = Instant::now();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for (name, pieces) in [("large", 4), ("small", 1)] {
            let (turns, order) = (turns.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let turn = turns.take(pieces * PIECE).await;
                order.lock().unwrap().push((name, Instant::now()));
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(turn);
            }));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(order.lock().unwrap().is_empty(), "a small one must not overtake");
        drop(first);
        for waiting in waiting {
            waiting.await.unwrap();
        }
        let order = order.lock().unwrap();
        assert_eq!((order[0].0, order[1].0), ("large", "small"));
        assert!(order[1].1 - order[0].1 >= Duration::from_secs(1), "{:?}", order[1].1 - begun);
        assert_eq!(turns.free.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_keeps_others_waiting_for_a_while_only() {
        let turns = turns(2);
        let slow = [turns.take(PIECE).await, turns.take(PIECE).await];
        let begun = Instant::now();
        let others = [turns.take(PIECE).await, turns.take(PIECE).await];
        assert_eq!(begun.elapsed(), PATIENCE);
        assert_eq!(turns.free.available_permits(), 0);
        // Giving back what was taken back changes nothing.
        drop(slow);
        assert_eq!(turns.free.available_permits(), 0);
        drop(others);
        assert_eq!(turns.free.available_permits(), 2);
        assert!(turns.held().turns.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_more_than_there_is_gets_all_of_it_and_who_stops_waiting_leaves_nothing() {
        let turns = turns(2);
        let all = turns.take(1 << 40).await;
        let impatient = tokio::time::timeout(Duration::from_secs(1), turns.take(PIECE)).await;
        assert!(impatient.is_err());
        drop(all);
        assert_eq!(turns.free.available_permits(), 2);
    }
}
