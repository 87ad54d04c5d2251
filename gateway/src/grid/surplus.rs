//! Copies that the current map does not name: their miners are released in the ledger, and then told to delete them.
//!
//! # Invariants
//! - A miner is released only if the miners that the current map names have signed for all shards of the stripe
//!   ([`crate::meta::Spread::surplus`]), and say now that they have them.
//! - A miner that the current map names is not told to delete.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use arion_daemon::now_ms;
use arion_net::PeerAddr;
use arion_protocol::{Request, Response, ShardStat, limits::STAT_SHARDS_MAX};
use arion_types::{NodeId, ShardHash, StripeId};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{Grid, upkeep::DELETE_GIVEN_UP_MS};
use crate::{
    meta::{MetaError, MovedCursor, Release, Spread},
    peers::Standing,
    placement::Placement,
};

/// Rows that one step looks at.
const ROWS_MAX: usize = 512;
/// Calls under way at once.
const CALLS_AT_ONCE: usize = 32;
/// Longest pause between two looks at everything.
const PASS_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Shortest.
const PASS_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Time for a miner to say what it has.
const STAT_TIMEOUT: Duration = Duration::from_secs(5);

/// How far it came.
#[derive(Default)]
pub(super) struct Pace {
    moved: MovedCursor,
    look_again: Option<Instant>,
    released: Option<Release>,
    tell_again: Option<Instant>,
}

/// The miners that a map names for a stripe.
fn named(map: &Placement, stripe: &StripeId) -> Vec<Option<NodeId>> {
    map.place(stripe).into_iter().map(|miner| miner.map(|miner| NodeId(miner.node_id))).collect()
}

impl Grid {
    /// One step of both.
    pub(super) async fn clear_surplus(self: &Arc<Self>, pace: &mut Pace) -> Result<(), MetaError> {
        self.release_surplus(pace).await?;
        self.delete_released(pace).await
    }

    async fn release_surplus(&self, pace: &mut Pace) -> Result<(), MetaError> {
        let Some(map) = self.maps.settled(self.options.surplus_after) else {
            pace.moved = None;
            return Ok(());
        };
        if pace.look_again.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let (spreads, next) = self.meta.spreads(pace.moved.take(), ROWS_MAX).await?;
        pace.moved = next;
        pace.look_again = next.is_none().then(|| Instant::now() + self.pass_pause());
        let of = |spread: Spread| {
            let id = spread.record.id();
            let named = named(&map, &id);
            (!spread.surplus(&named).is_empty()).then_some((id, spread, named))
        };
        let found: Vec<_> = spreads.into_iter().filter_map(of).collect();
        if found.is_empty() {
            return Ok(());
        }
        let mut questions: BTreeMap<NodeId, Vec<ShardHash>> = BTreeMap::new();
        for (_, spread, named) in &found {
            for (shard, node) in spread.record.hashes.iter().zip(named) {
                if let Some(node) = node {
                    questions.entry(*node).or_default().push(*shard);
                }
            }
        }
        let there = self.ask(&map, questions).await;
        let is_there = |(_, spread, named): &(StripeId, Spread, Vec<Option<NodeId>>)| {
            let mut places = spread.record.hashes.iter().zip(named);
            places.all(|(shard, node)| node.is_some_and(|node| there.contains(&(node, *shard))))
        };
        let safe: Vec<_> = found.into_iter().filter(is_there).map(|(id, _, named)| (id, named)).collect();
        if safe.is_empty() {
            return Ok(());
        }
        let count = self.meta.release(safe, now_ms()).await?;
        self.metrics.shards_released.inc_by(count);
        // They are told at once.
        pace.tell_again = None;
        Ok(())
    }

    fn pass_pause(&self) -> Duration {
        self.options.surplus_after.clamp(PASS_PAUSE_MIN, PASS_PAUSE_MAX)
    }

    /// What miners say that they have. Who does not answer has nothing.
    async fn ask(
        &self,
        map: &Placement,
        questions: BTreeMap<NodeId, Vec<ShardHash>>,
    ) -> HashSet<(NodeId, ShardHash)> {
        let pages = questions.into_iter().flat_map(|(node, shards)| {
            let peer = map.miner(&node).map(|miner| self.maps.address(miner));
            let pages: Vec<Vec<ShardHash>> = shards.chunks(STAT_SHARDS_MAX).map(<[_]>::to_vec).collect();
            pages.into_iter().filter_map(move |page| Some((peer.clone()?, page)))
        });
        let pages: Vec<(PeerAddr, Vec<ShardHash>)> = pages.collect();
        let answers = stream::iter(pages)
            .map(|(peer, page)| async move {
                let stats = self.stats(&peer, page.clone()).await.unwrap_or_default();
                let held = page.into_iter().zip(stats);
                let held = held.filter_map(|(shard, stat)| stat.map(|_| (peer.node_id, shard)));
                held.collect::<Vec<_>>()
            })
            .buffer_unordered(CALLS_AT_ONCE);
        answers.flat_map(stream::iter).collect().await
    }

    /// What a miner says of these shards, at most [`STAT_SHARDS_MAX`]; `None` if it says nothing.
    pub(super) async fn stats(
        &self,
        peer: &PeerAddr,
        shards: Vec<ShardHash>,
    ) -> Option<Vec<Option<ShardStat>>> {
        let count = shards.len();
        match self.call(peer, Request::Stat { shards }, Bytes::new(), STAT_TIMEOUT).await {
            Ok((Response::Stats(stats), _)) if stats.len() == count => Some(stats),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(miner = %peer.node_id, %error, "a miner does not say what it has");
                None
            }
        }
    }

    /// Tells miners that were released to delete what they have; who is away is told when it is back.
    async fn delete_released(&self, pace: &mut Pace) -> Result<(), MetaError> {
        if pace.tell_again.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let page = self.meta.releases(pace.released.take(), ROWS_MAX).await?;
        pace.released = page.last().copied().filter(|_| page.len() == ROWS_MAX);
        pace.tell_again = pace.released.is_none().then(|| Instant::now() + self.pass_pause());
        let mut stripes = HashMap::new();
        for release in &page {
            if let Entry::Vacant(unknown) = stripes.entry(release.stripe) {
                unknown.insert(self.meta.stripe(release.stripe).await?);
            }
        }
        let map = self.maps.current();
        let is_named = |release: &Release| {
            let Some(map) = &map else { return true };
            let Some(Some(record)) = stripes.get(&release.stripe) else { return false };
            let named = named(map, &release.stripe);
            let mut places = record.hashes.iter().zip(named);
            places.any(|(shard, node)| *shard == release.shard && node == Some(release.node))
        };
        let due: Vec<Release> = page.into_iter().filter(|release| !is_named(release)).collect();
        let done: Vec<Release> = stream::iter(due)
            .map(|release| async move { self.delete_one(&release).await.then_some(release) })
            .buffer_unordered(CALLS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        match done.is_empty() {
            true => Ok(()),
            false => self.meta.releases_done(done).await,
        }
    }

    /// Whether nothing is left to do.
    async fn delete_one(&self, release: &Release) -> bool {
        let (shard, miner) = (release.shard, release.node);
        if now_ms().saturating_sub(release.queued_ms) > DELETE_GIVEN_UP_MS {
            tracing::warn!(%shard, %miner, "a surplus copy was given up: its miner has not answered for two weeks");
            return true;
        }
        let Some(peer) = self.maps.find(&miner) else { return false };
        if self.peers.standing(&miner) == Standing::Down {
            return false;
        }
        match self.delete_shard(&peer, shard).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%shard, %miner, %error, "a surplus copy was not deleted");
                false
            }
        }
    }
}
