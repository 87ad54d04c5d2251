//! What the gateway remembers of miners: who is down, who was slow, how long an answer takes.
//!
//! Without it 20 dead miners would cost a timeout per shard; with it they cost one per half minute.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arion_types::NodeId;
use tokio::time::Instant;

/// A miner that did not answer is left alone for this long; doubled with every further failure.
const DOWN_FIRST: Duration = Duration::from_secs(4);
/// A miner that was silent is not asked again at all for this long.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// Longest time a miner is left alone.
const DOWN_MAX: Duration = Duration::from_secs(30);
/// A miner that was slow is asked last for this long.
const SLOW_FOR: Duration = Duration::from_secs(10);
/// Miners remembered.
const PEERS_MAX: usize = 65_536;
/// An answer that takes this many times the usual is slow.
const SLOW_FACTOR: u32 = 4;

/// How much is expected of a miner, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// Nothing is known against it.
    Good,
    /// It was slow a moment ago.
    Slow,
    /// It did not answer a moment ago.
    Down,
}

#[derive(Default)]
struct Peer {
    failures: u32,
    failed_at: Option<Instant>,
    down_until: Option<Instant>,
    slow_until: Option<Instant>,
}

#[derive(Default)]
struct State {
    peers: HashMap<NodeId, Peer>,
    /// Moving average of the time a whole shard takes.
    usual: Option<Duration>,
}

/// The memory, shared by readers, writers and background work.
#[derive(Default)]
pub struct Peers {
    state: Mutex<State>,
}

impl Peers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is expected of a miner now.
    pub fn standing(&self, node: &NodeId) -> Standing {
        self.standing_at(node, Instant::now())
    }

    fn standing_at(&self, node: &NodeId, now: Instant) -> Standing {
        let state = self.state();
        let Some(peer) = state.peers.get(node) else { return Standing::Good };
        match peer {
            Peer { down_until: Some(until), .. } if *until > now => Standing::Down,
            Peer { slow_until: Some(until), .. } if *until > now => Standing::Slow,
            _ => Standing::Good,
        }
    }

    /// It could not be reached or did not answer in time.
    pub fn failed(&self, node: &NodeId) {
        self.failed_at(node, Instant::now());
    }

    fn failed_at(&self, node: &NodeId, now: Instant) {
        let mut state = self.state();
        if state.peers.len() >= PEERS_MAX {
            state.peers.clear();
        }
        let peer = state.peers.entry(*node).or_default();
        let pause = DOWN_FIRST.saturating_mul(1 << peer.failures.min(8)).min(DOWN_MAX);
        peer.failures += 1;
        peer.failed_at = Some(now);
        peer.down_until = Some(now + pause);
    }

    /// Whether it was silent a moment ago, so that asking again is a waste of time.
    pub fn failed_lately(&self, node: &NodeId) -> bool {
        self.failed_lately_at(node, Instant::now())
    }

    fn failed_lately_at(&self, node: &NodeId, now: Instant) -> bool {
        let failed_at = self.state().peers.get(node).and_then(|peer| peer.failed_at);
        failed_at.is_some_and(|at| now.saturating_duration_since(at) < SILENT_FOR)
    }

    /// It keeps others waiting.
    pub fn slow(&self, node: &NodeId) {
        self.state().peers.entry(*node).or_default().slow_until = Some(Instant::now() + SLOW_FOR);
    }

    /// It answered.
    pub fn answered(&self, node: &NodeId) {
        if let Some(peer) = self.state().peers.get_mut(node) {
            *peer = Peer::default();
        }
    }

    /// A shard arrived after this time.
    pub fn took(&self, elapsed: Duration) {
        let mut state = self.state();
        state.usual = Some(state.usual.map_or(elapsed, |usual| (usual * 7 + elapsed) / 8));
    }

    /// How long to wait for shards before others are asked too: several times the usual, within the bounds.
    pub fn patience(&self, least: Duration, most: Duration) -> Duration {
        let usual = self.state().usual.unwrap_or(least);
        (usual * SLOW_FACTOR).clamp(least, most.max(least))
    }

    /// Number of miners that are down.
    pub fn down_count(&self) -> usize {
        let now = Instant::now();
        self.state().peers.values().filter(|peer| peer.down_until.is_some_and(|until| until > now)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_remembered_longer_each_time_and_forgotten_with_an_answer() {
        let peers = Peers::default();
        let node = NodeId([1; 32]);
        let mut now = Instant::now();
        assert_eq!(peers.standing_at(&node, now), Standing::Good);
        for pause in [4, 8, 16, 30, 30] {
            peers.failed_at(&node, now);
            now += Duration::from_secs(pause) - Duration::from_millis(1);
            assert_eq!(peers.standing_at(&node, now), Standing::Down);
            now += Duration::from_millis(2);
            assert_eq!(peers.standing_at(&node, now), Standing::Good);
        }
        peers.failed_at(&node, now);
        assert!(peers.failed_lately_at(&node, now + SILENT_FOR - Duration::from_millis(1)));
        assert!(!peers.failed_lately_at(&node, now + SILENT_FOR));
        peers.answered(&node);
        assert!(!peers.failed_lately_at(&node, now));
        assert_eq!(peers.standing(&node), Standing::Good);
        peers.slow(&node);
        assert_eq!(peers.standing(&node), Standing::Slow);
        peers.answered(&node);
        peers.failed_at(&node, now);
        assert_eq!(peers.standing_at(&node, now + Duration::from_secs(5)), Standing::Good);
    }

    #[test]
    fn patience_follows_what_is_usual_within_bounds() {
        let peers = Peers::default();
        let (least, most) = (Duration::from_millis(300), Duration::from_secs(2));
        assert_eq!(peers.patience(least, most), Duration::from_millis(1_200));
        for _ in 0..100 {
            peers.took(Duration::from_millis(10));
        }
        assert_eq!(peers.patience(least, most), least);
        for _ in 0..100 {
            peers.took(Duration::from_secs(3));
        }
        assert_eq!(peers.patience(least, most), most);
    }
}
