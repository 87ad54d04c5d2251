//! Shards on miners that no ledger names: what a gateway that crashed, or one that is gone, left behind.
//!
//! They are counted here, for who operates the service, with the copies that a gateway has released and their miner still has. Miners
//! delete what no ledger names; that they ask for, of several services and for long (`crate::unnamed`).
//!
//! # Invariants
//! - Nothing is said while a registered gateway's ledger is not followed to its end.
//! - A shard is young for [`super::RepairOptions::orphan_age`]: its line may be on its way.

use std::time::Duration;

use arion_daemon::now_ms;
use arion_ledger::Reach;
use arion_net::PeerAddr;
use arion_protocol::{ListedShard, limits::LIST_SHARDS_MAX};
use arion_types::{NodeId, ShardHash};

use super::{Repair, map::CurrentMap, miners::ShardError};

/// Pause between two pages of a miner.
const PAGE_PAUSE: Duration = Duration::from_millis(20);

/// Shards that no ledger names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Orphans {
    /// How many.
    pub(crate) shards: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Miners that did not say what they have.
    pub(crate) silent: u64,
}

impl Repair {
    /// Whether every registered gateway's ledger is followed, and was read to its end.
    fn all_ledgers_are_known(&self) -> bool {
        let snapshot = self.view.snapshot();
        let is_followed =
            |gateway: &NodeId| self.followers.iter().any(|follower| follower.gateway() == *gateway);
        !self.followers.is_empty()
            && snapshot.registry.gateways.iter().all(is_followed)
            && self.followers.iter().all(|follower| follower.reach() == Reach::Complete)
    }

    /// Asks all miners of a map what they have; `None` where it cannot be said what of it is wanted.
    pub(super) async fn orphans(&self, map: &CurrentMap) -> Option<Orphans> {
        if !self.all_ledgers_are_known() {
            return None;
        }
        let mut found = Orphans::default();
        for peer in map.members() {
            match self.orphans_of(peer).await {
                Ok((0, _)) => {}
                Ok((shards, bytes)) => {
                    tracing::info!(miner = %peer.node_id, shards, bytes, "no ledger names shards of a miner");
                    found.shards += shards;
                    found.bytes += bytes;
                }
                Err(error) => {
                    tracing::debug!(miner = %peer.node_id, %error, "a miner does not list what it has");
                    found.silent += 1;
                }
            }
        }
        Some(found)
    }

    async fn orphans_of(&self, peer: &PeerAddr) -> Result<(u64, u64), ShardError> {
        let age_ms = u64::try_from(self.options.orphan_age.as_millis()).unwrap_or(u64::MAX);
        let (mut shards, mut bytes) = (0, 0);
        let mut after: Option<ShardHash> = None;
        loop {
            let page = self.miners.list(peer, after).await?;
            let is_last = page.len() < usize::from(LIST_SHARDS_MAX);
            // In order, so that a miner cannot keep us here.
            let last = page.last().map(|listed| listed.shard);
            if !page.is_sorted_by_key(|listed| listed.shard) || last.is_some_and(|last| Some(last) <= after) {
                return Err(ShardError::Wrong("a listing in order"));
            }
            let before = now_ms().saturating_sub(age_ms);
            let old: Vec<&ListedShard> =
                page.iter().filter(|listed| listed.stat.stored_at <= before).collect();
            let wanted = self.holdings.signed_by(&peer.node_id, old.iter().map(|listed| listed.shard));
            let Ok(wanted) = wanted else { return Err(ShardError::Nowhere) };
            for listed in old.into_iter().filter(|listed| !wanted.contains(&listed.shard)) {
                shards += 1;
                bytes += u64::from(listed.stat.placement.size);
            }
            if is_last {
                return Ok((shards, bytes));
            }
            after = last;
            tokio::time::sleep(PAGE_PAUSE).await;
        }
    }
}
