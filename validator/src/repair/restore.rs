//! A stripe that was lost to deletions: miners keep for a while what they deleted, and take the deletions back.
//!
//! Fewer than k of its shards are left, and its gateway's ledger names them all the same. So who may have them deleted has not ordered it:
//! what ordered it was a fault, or a lie that two thirds of the services told.
//!
//! # Invariants
//! - Nothing is taken back unless the ledger was read to its end after the miners were asked: a gateway enters a deletion before it orders it.

use arion_types::{NodeId, ShardHash};
use futures_util::future::join_all;

use super::{Repair, map::CurrentMap, plan::Plan, work::WorkError};
use crate::holdings::{Stripe, StripeRef};

impl Repair {
    /// Has miners take back that they deleted shards of a stripe, of which too few are left by this plan. The stripe as its ledger has it now;
    /// `None` if that has it no more.
    pub(super) async fn restore(
        &self,
        map: &CurrentMap,
        id: &StripeRef,
        plan: &Plan,
    ) -> Result<Option<Stripe>, WorkError> {
        let follower = self.followers.iter().find(|follower| follower.gateway() == id.gateway);
        let follower = follower.ok_or(WorkError::NoGateway)?;
        let is_read = follower.sync().await.is_ok();
        let Some(stripe) = self.stripe(*id).await? else {
            self.told().done(id);
            return Ok(None);
        };
        if !is_read {
            return Ok(Some(stripe));
        }
        let is_there = |node: &NodeId, shard: &ShardHash| {
            plan.sources.iter().any(|source| source.shard == *shard && source.nodes.contains(node))
        };
        let absent = stripe.places.iter().filter(|place| !is_there(&place.node, &place.shard));
        let asked = absent.map(|place| self.miners.restore(map, &place.node, place.shard));
        let restored = join_all(asked).await.into_iter().filter(|answer| matches!(answer, Ok(true))).count();
        if restored > 0 {
            self.metrics.repair.restored.inc_by(restored as u64);
            tracing::error!(
                stripe = %id.id, gateway = %id.gateway, restored,
                "miners had deleted shards of a stripe that its ledger names, and have taken that back"
            );
        }
        Ok(Some(stripe))
    }
}
