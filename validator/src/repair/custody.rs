//! What miners hold by the ledgers, and how far those are that are being emptied.
//!
//! # Invariants
//! - Nothing is told before every ledger was read to its end: a miner that looks empty is empty.
//! - Nothing here is a miner's own word, but that it wants to be emptied.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arion_chain::ChainView;
use arion_daemon::now_ms;
use arion_ledger::{Follower, Reach};
use arion_protocol::{DrainProgress, MinerCustody, MinerState};
use arion_types::NodeId;

use super::map::CurrentMap;
use crate::{
    holdings::{Holdings, StoreError, StripeRef},
    metrics::Metrics,
    standing::Standings,
};

/// Pause between looks at who is being emptied.
const TICK: Duration = Duration::from_secs(1);
/// Between two numbers that a rate is taken from, and how many of them are kept.
const SAMPLE_MS: u64 = 5_000;
const SAMPLES_MAX: usize = 60;
/// Stripes read at once.
const PAGE: usize = 1_024;
/// Least pause between two counts of all stripes, and its length in counts.
const COUNT_PAUSE: Duration = Duration::from_secs(5);
const COUNT_SHARE: u32 = 20;

/// Bytes of a miner that the map gives to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Misplaced {
    waiting: u64,
    surplus: u64,
}

#[derive(Debug, Default)]
struct Counted {
    at_ms: u64,
    miners: BTreeMap<NodeId, Misplaced>,
}

/// A miner that is being emptied.
#[derive(Clone, Debug)]
struct Drain {
    since_ms: u64,
    begun_bytes: u64,
    /// Time and bytes held, the oldest first.
    samples: VecDeque<(u64, u64)>,
}

impl Drain {
    fn new(now_ms: u64, bytes: u64) -> Self {
        Self { since_ms: now_ms, begun_bytes: bytes, samples: VecDeque::from([(now_ms, bytes)]) }
    }

    fn sample(&mut self, now_ms: u64, bytes: u64) {
        // What came while the map still had it is to go, too.
        self.begun_bytes = self.begun_bytes.max(bytes);
        if self.samples.back().is_none_or(|(at, _)| now_ms.saturating_sub(*at) >= SAMPLE_MS) {
            self.samples.push_back((now_ms, bytes));
        }
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    fn progress(&self) -> DrainProgress {
        let (first, last) = (self.samples.front(), self.samples.back());
        let bytes_per_second = first.zip(last).map_or(0, |((from_ms, before), (to_ms, after))| {
            let gone = u128::from(before.saturating_sub(*after));
            let ms = u128::from(to_ms.saturating_sub(*from_ms)).max(1);
            u64::try_from(gone * 1_000 / ms).unwrap_or(u64::MAX)
        });
        DrainProgress { since: self.since_ms, begun_bytes: self.begun_bytes, bytes_per_second }
    }
}

/// What it is told from.
pub struct Custody {
    view: ChainView,
    holdings: Arc<Holdings>,
    followers: Vec<Arc<Follower>>,
    standings: Arc<Mutex<Standings>>,
    metrics: Metrics,
    counted: Mutex<Counted>,
    drains: Mutex<BTreeMap<NodeId, Drain>>,
}

/// Why nothing is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoCustody {
    /// What miners hold is known in part.
    #[error("the ledger of gateway {0} has not been read to its end since this service started")]
    LedgerUnread(NodeId),
    /// What miners hold is not known.
    #[error("this service follows no gateways")]
    NoGateways,
}

impl Custody {
    /// Nothing is counted yet.
    pub fn new(
        view: ChainView,
        holdings: Arc<Holdings>,
        followers: Vec<Arc<Follower>>,
        standings: Arc<Mutex<Standings>>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let (counted, drains) = (Mutex::default(), Mutex::default());
        Arc::new(Self { view, holdings, followers, standings, metrics, counted, drains })
    }

    /// Looks who is being emptied, and counts while somebody is, for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut count_again = Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            if self.readiness().is_err() {
                continue;
            }
            self.look(now_ms());
            if self.drains().is_empty() || Instant::now() < count_again {
                continue;
            }
            let begun = Instant::now();
            let custody = self.clone();
            match arion_daemon::work::blocking(move || custody.count(now_ms())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "what miners hold cannot be counted"),
                // Stopping.
                Err(_) => return,
            }
            count_again = Instant::now() + (begun.elapsed() * COUNT_SHARE).max(COUNT_PAUSE);
        }
    }

    /// Whether the ledgers are known.
    fn readiness(&self) -> Result<(), NoCustody> {
        if self.followers.is_empty() {
            return Err(NoCustody::NoGateways);
        }
        match self.followers.iter().find(|follower| follower.reach() != Reach::Complete) {
            Some(follower) => Err(NoCustody::LedgerUnread(follower.gateway())),
            None => Ok(()),
        }
    }

    /// Takes over who is being emptied, and how much they hold.
    pub(crate) fn look(&self, now_ms: u64) {
        let snapshot = self.view.snapshot();
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut drains = self.drains();
        for node in snapshot.registry.miners.keys() {
            let bytes = self.holdings.bytes_of(node);
            match standings.of(node).map(|standing| standing.state) {
                Some(MinerState::Draining) => {
                    drains.entry(*node).or_insert_with(|| Drain::new(now_ms, bytes));
                }
                // It may have been switched off; what it held goes on being brought elsewhere.
                Some(MinerState::Out | MinerState::Offline) => {}
                _ => drop(drains.remove(node)),
            }
            if let Some(drain) = drains.get_mut(node) {
                drain.sample(now_ms, bytes);
            }
        }
        drains.retain(|node, _| snapshot.registry.miners.contains_key(node));
        let held = drains.keys().map(|node| self.holdings.bytes_of(node)).sum();
        let counted = self.counted();
        let of = |node: &NodeId| counted.miners.get(node).copied().unwrap_or_default();
        let (waiting, surplus) = drains
            .keys()
            .map(of)
            .fold((0, 0), |(waiting, surplus), found| (waiting + found.waiting, surplus + found.surplus));
        self.metrics.drains(held, waiting, surplus);
    }

    /// Counts what the map gives to others than those who hold it.
    pub(crate) fn count(&self, now_ms: u64) -> Result<(), StoreError> {
        let Some(map) = CurrentMap::of(&self.view.snapshot()) else { return Ok(()) };
        let mut miners: BTreeMap<NodeId, Misplaced> = BTreeMap::new();
        let (mut after, mut counted) = (None::<StripeRef>, BTreeSet::new());
        loop {
            let page = self.holdings.stripes(after, PAGE)?;
            for stripe in &page {
                if after.replace(stripe.key()).is_some_and(|before| before.id != stripe.id) {
                    counted.clear();
                }
                let named = map.named(&stripe.id);
                let has_signed = |index: u8| {
                    let node = named.get(usize::from(index)).copied().flatten();
                    node.is_some_and(|node| stripe.holders(index).any(|place| place.node == node))
                };
                for place in &stripe.places {
                    let is_in_place =
                        named.get(usize::from(place.index)).copied().flatten() == Some(place.node);
                    // What several ledgers have is there once.
                    if is_in_place || !counted.insert((place.node, place.shard)) {
                        continue;
                    }
                    let found = miners.entry(place.node).or_default();
                    match has_signed(place.index) {
                        true => found.surplus += u64::from(stripe.size),
                        false => found.waiting += u64::from(stripe.size),
                    }
                }
            }
            if page.len() < PAGE {
                break;
            }
        }
        *self.counted() = Counted { at_ms: now_ms, miners };
        Ok(())
    }

    /// A page of what registered miners hold, in order of node id.
    pub fn page(&self, after: Option<NodeId>, limit: usize) -> Result<Vec<MinerCustody>, NoCustody> {
        self.readiness()?;
        let snapshot = self.view.snapshot();
        let (counted, drains) = (self.counted(), self.drains());
        let from = after.map_or(Unbounded, Excluded);
        let of = |node: &NodeId| {
            let Misplaced { waiting, surplus } = counted.miners.get(node).copied().unwrap_or_default();
            let held_bytes = self.holdings.bytes_of(node);
            MinerCustody {
                node_id: *node,
                in_map: snapshot.current.as_ref().is_some_and(|map| map.miner_by_node(node).is_some()),
                held_bytes,
                // Counted a moment ago: some may be gone since.
                waiting_bytes: waiting.min(held_bytes),
                surplus_bytes: surplus.min(held_bytes.saturating_sub(waiting)),
                counted_at: counted.at_ms,
                drain: drains.get(node).map(Drain::progress),
            }
        };
        let miners = snapshot.registry.miners.range((from, Unbounded));
        Ok(miners.take(limit).map(|(node, _)| of(node)).collect())
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drains(&self) -> MutexGuard<'_, BTreeMap<NodeId, Drain>> {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minutes() {
        let mut drain = Drain::new(0, 1_000_000);
        assert_eq!(drain.progress(), DrainProgress { since: 0, begun_bytes: 1_000_000, bytes_per_second: 0 });
        for second in 1..=1_000u64 {
            drain.sample(second * 1_000, 1_500_000 - 1_000 * second);
        }
        let DrainProgress { since, begun_bytes, bytes_per_second } = drain.progress();
        assert_eq!((since, begun_bytes, bytes_per_second), (0, 1_499_000, 1_000));
        assert_eq!(drain.samples.len(), SAMPLES_MAX);
    }
}
