//! Votes for the next map.
//!
//! [`Ballot`] decides and has no IO; [`publish`] asks it all the time and carries its decisions to the chain.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arion_chain::{Account, AccountId, BlockRef, Call, ChainClient, ChainView, EpochMap, Wait};
use arion_daemon::{Health, now_ms};
use arion_protocol::MinerState;
use arion_types::{CrushParams, Epoch};
use async_trait::async_trait;

use crate::{
    announcement::Announcements,
    liveness::Liveness,
    metrics::Metrics,
    movement::Movement,
    proposal::{NotReady, next_map},
    standing::{Standings, Transition},
    weight::Merits,
};

/// How often miners are looked at, outside simulations.
pub const TICK: Duration = Duration::from_secs(1);
/// A vote is looked up again after this long without a new map.
const RECHECK_MS: u64 = 30_000;
/// Blocks after which what the chain says of miners is read again, besides with every new map: it changes once for a weight bucket.
const MERITS_BLOCKS: u32 = 10;
const BACKOFF_MS_MIN: u64 = 2_000;
const BACKOFF_MS_MAX: u64 = 60_000;

/// The chain as far as votes need it.
#[async_trait]
pub trait VoteChain: Send + Sync {
    /// Epoch and root this validator voted for; `None` before it votes and once a map is published.
    async fn vote(&self) -> anyhow::Result<Option<(Epoch, [u8; 32])>>;
    /// What the chain says of miners as of a finalised block.
    async fn merits(&self, at: &BlockRef) -> anyhow::Result<Merits>;
    /// Votes.
    async fn submit(&self, map: &EpochMap) -> anyhow::Result<()>;
}

/// The real chain.
#[derive(Debug)]
pub struct LiveChain {
    /// Connection.
    pub client: ChainClient,
    /// The validator's account.
    pub account: Account,
}

#[async_trait]
impl VoteChain for LiveChain {
    async fn vote(&self) -> anyhow::Result<Option<(Epoch, [u8; 32])>> {
        let id: AccountId = self.account.id();
        Ok(self.client.map_vote(&id).await?)
    }

    async fn merits(&self, at: &BlockRef) -> anyhow::Result<Merits> {
        let qualities = self.client.node_qualities(at).await?;
        let starts = self.client.epoch_starts(at).await?;
        Ok(Merits { qualities, map_since: starts.last().map(|(_, since)| *since) })
    }

    async fn submit(&self, map: &EpochMap) -> anyhow::Result<()> {
        let call = Call::submit_crush_map(map.epoch, &map.params, &map.miners);
        self.client.submit(&self.account, &call, Wait::InBlock).await?;
        Ok(())
    }
}

/// When to vote for which map.
#[derive(Debug)]
pub struct Ballot {
    settle_ms: u64,
    candidate: Option<(Epoch, [u8; 32], u64)>,
    cast: Option<(Epoch, [u8; 32], u64)>,
    failures: u32,
    not_before: u64,
}

impl Ballot {
    /// A vote is cast for a map that has been the right one for `settle`.
    pub fn new(settle: Duration) -> Self {
        let settle_ms = u64::try_from(settle.as_millis()).unwrap_or(u64::MAX);
        Self { settle_ms, candidate: None, cast: None, failures: 0, not_before: 0 }
    }

    /// Whether to vote for the map that is right at `now_ms`.
    pub fn should_vote(&mut self, map: &EpochMap, now_ms: u64) -> bool {
        let since = match self.candidate {
            Some((epoch, root, since)) if (epoch, root) == (map.epoch, map.root) => since,
            _ => {
                self.candidate = Some((map.epoch, map.root, now_ms));
                now_ms
            }
        };
        let is_settled = now_ms.saturating_sub(since) >= self.settle_ms;
        let is_cast = self.cast.is_some_and(|(epoch, root, at)| {
            (epoch, root) == (map.epoch, map.root) && now_ms.saturating_sub(at) < RECHECK_MS
        });
        is_settled && !is_cast && now_ms >= self.not_before
    }

    /// No map is due.
    pub fn rest(&mut self) {
        self.candidate = None;
    }

    /// The vote stands on chain.
    pub fn voted(&mut self, map: &EpochMap, now_ms: u64) {
        self.cast = Some((map.epoch, map.root, now_ms));
        self.failures = 0;
    }

    /// The vote failed; it is tried again later, less and less often.
    pub fn failed(&mut self, now_ms: u64) {
        let pause = BACKOFF_MS_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MS_MAX);
        self.failures += 1;
        self.not_before = now_ms + pause;
    }
}

/// What [`publish`] works with.
pub struct Publisher {
    /// The finalised chain.
    pub view: ChainView,
    /// Where votes go.
    pub chain: Arc<dyn VoteChain>,
    /// Heartbeats.
    pub liveness: Arc<Mutex<Liveness>>,
    /// What is made of them; looked at anew every [`Publisher::tick`].
    pub standings: Arc<Mutex<Standings>>,
    /// Parameters of maps.
    pub params: CrushParams,
    /// Least number of miners in the first map.
    pub min_miners: usize,
    /// Between looks: [`TICK`].
    pub tick: Duration,
    /// See [`Ballot::new`].
    pub settle: Duration,
    /// Where the next map is told.
    pub announcements: Arc<Announcements>,
    /// What /health says.
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
}

/// Votes whenever a map is due, for ever.
pub async fn publish(publisher: Publisher) {
    let mut ballot = Ballot::new(publisher.settle);
    let mut waiting_for = String::new();
    let mut known = Known::default();
    loop {
        tokio::time::sleep(publisher.tick).await;
        publisher.look_at_miners(&mut known).await;
        let next = publisher.proposal(&known.merits);
        // Who is banned has to be known.
        match if known.read_at.is_some() { next } else { Err(NotReady::MinersUnknown) } {
            Ok(map) => {
                let is_told = publisher.announce(&map);
                if ballot.should_vote(&map, now_ms()) && is_told {
                    publisher.vote(&mut ballot, &map).await;
                }
            }
            Err(reason) => {
                ballot.rest();
                publisher.announcements.rest();
                let text = reason.to_string();
                if text != waiting_for {
                    tracing::info!(%reason, "no vote is due");
                    waiting_for = text;
                }
            }
        }
    }
}

/// What the chain said of miners, and when.
#[derive(Debug, Default)]
struct Known {
    merits: Merits,
    read_at: Option<(Epoch, u32)>,
}

impl Publisher {
    /// Reads what the chain says of miners where that may have changed. What cannot be read stays as it was.
    async fn look_at_miners(&self, known: &mut Known) {
        let snapshot = self.view.snapshot();
        let (epoch, block) = (snapshot.epoch(), snapshot.block.number);
        let is_new = |(of, at): (Epoch, u32)| of != epoch || block.saturating_sub(at) >= MERITS_BLOCKS;
        if !known.read_at.is_none_or(is_new) {
            return;
        }
        match self.chain.merits(&snapshot.block).await {
            Ok(merits) => *known = Known { merits, read_at: Some((epoch, block)) },
            Err(error) => tracing::debug!(%error, "what the chain says of miners cannot be read"),
        }
    }

    fn proposal(&self, merits: &Merits) -> Result<EpochMap, NotReady> {
        let snapshot = self.view.snapshot();
        let now_ms = now_ms();
        let mut liveness = self.liveness.lock().unwrap_or_else(PoisonError::into_inner);
        liveness.retain_registered(&snapshot.registry);
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let current = snapshot.current.as_deref();
        for change in standings.update(&snapshot.registry, current, &liveness, merits, now_ms) {
            self.metrics.transition(change.to.state, change.to.reason);
            log(&change);
        }
        for state in MinerState::ALL {
            self.metrics.state(state, standings.count(state));
        }
        let next = next_map(&snapshot, &liveness, &standings, merits, &self.params, self.min_miners);
        self.metrics.banned.set(standings.banned() as i64);
        let online = liveness.online(now_ms);
        self.metrics.online.set(online as i64);
        self.metrics.registered.set(snapshot.registry.miners.len() as i64);
        self.metrics.epoch.set(snapshot.epoch() as i64);
        self.health.detail("miners_registered", snapshot.registry.miners.len());
        self.health.detail("miners_online", online);
        arion_daemon::chain::report(&self.view, &self.health);
        next
    }

    async fn vote(&self, ballot: &mut Ballot, map: &EpochMap) {
        match self.cast(map).await {
            Ok(is_new) => {
                ballot.voted(map, now_ms());
                self.health.ok("vote");
                if is_new {
                    self.metrics.votes.inc();
                    self.tell(map);
                }
            }
            Err(error) => {
                ballot.failed(now_ms());
                self.metrics.vote_failures.inc();
                self.health.failing("vote", error.to_string());
                tracing::warn!(epoch = map.epoch, %error, "the vote for a map failed; it is tried again");
            }
        }
    }

    /// Tells of the map that is to come; whether it was told for long enough.
    fn announce(&self, map: &EpochMap) -> bool {
        let snapshot = self.view.snapshot();
        self.health.detail("next_epoch", map.epoch);
        self.announcements.tell(map, snapshot.block.number, snapshot.current.is_none())
    }

    /// Says what a map that was voted for means for the data.
    fn tell(&self, map: &EpochMap) {
        let (epoch, miners) = (map.epoch, map.miners.len());
        let snapshot = self.view.snapshot();
        match snapshot.current.as_deref().and_then(|current| Movement::between(current, map)) {
            Some(movement) => {
                self.metrics.plan(&movement);
                let Movement { positions, moved, least } = movement;
                tracing::info!(epoch, miners, positions, moved, least, "voted for a map");
            }
            None => tracing::info!(epoch, miners, "voted for a map"),
        }
    }

    /// Returns whether the vote is new.
    async fn cast(&self, map: &EpochMap) -> anyhow::Result<bool> {
        if self.chain.vote().await? == Some((map.epoch, map.root)) {
            return Ok(false);
        }
        self.chain.submit(map).await?;
        Ok(true)
    }
}

/// What an operator wants to know of without asking.
fn log(change: &Transition) {
    let Transition { node, from, to } = change;
    let (state, reason) = (to.state, to.reason);
    match (from, state) {
        (None, MinerState::Joining | MinerState::Online)
        | (Some(MinerState::Suspect), MinerState::Online) => {
            tracing::debug!(%node, %state, %reason, "a miner");
        }
        (_, MinerState::Suspect) => tracing::debug!(%node, %state, %reason, "a miner"),
        (_, MinerState::Out | MinerState::Offline) => tracing::warn!(%node, %state, %reason, "a miner"),
        _ => tracing::info!(%node, %state, %reason, "a miner"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(epoch: Epoch, pg_count: u32) -> EpochMap {
        EpochMap::new(epoch, CrushParams { pg_count, ..CrushParams::STANDARD }, Vec::new())
    }

    #[test]
    fn a_vote_waits_until_the_map_has_settled_and_is_cast_once() {
        let mut ballot = Ballot::new(Duration::from_secs(5));
        assert!(!ballot.should_vote(&map(1, 1), 0));
        assert!(!ballot.should_vote(&map(1, 2), 4_000));
        assert!(!ballot.should_vote(&map(1, 2), 8_999));
        assert!(ballot.should_vote(&map(1, 2), 9_000));
        ballot.voted(&map(1, 2), 9_000);
        assert!(!ballot.should_vote(&map(1, 2), 9_001));
        assert!(ballot.should_vote(&map(1, 2), 9_000 + RECHECK_MS));
        assert!(!ballot.should_vote(&map(2, 2), 50_000));
        assert!(ballot.should_vote(&map(2, 2), 55_000));
    }

    #[test]
    fn failures_back_off_up_to_a_minute() {
        let mut ballot = Ballot::new(Duration::ZERO);
        assert!(ballot.should_vote(&map(1, 1), 0));
        ballot.failed(0);
        assert!(!ballot.should_vote(&map(1, 1), BACKOFF_MS_MIN - 1));
        assert!(ballot.should_vote(&map(1, 1), BACKOFF_MS_MIN));
        for _ in 0..20 {
            ballot.failed(0);
        }
        assert!(ballot.should_vote(&map(1, 1), BACKOFF_MS_MAX));
    }
}
