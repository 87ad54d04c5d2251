//! What gateways are told: who has signed for shards of their stripes.
//!
//! # Invariants
//! - Receipts are on disk before a gateway is told of them, until its ledger has them.
//! - A gateway is told again only of who has the shard and is named for it.

use std::sync::Arc;

use arion_daemon::now_ms;
use arion_ledger::Follower;
use arion_net::CallError;
use arion_protocol::ErrorCode;
use arion_types::{Receipt, SignedReceipt};

use super::{
    Repair,
    aside::Reason,
    map::CurrentMap,
    miners::{Questions, ShardError},
    plan::{Answer, Job},
    work::WorkError,
};
use crate::holdings::{Place, Stripe, StripeRef};

impl Repair {
    /// Brings receipts to the gateway of a stripe; whether it is wanted. If it is not, what was written for it goes.
    pub(super) async fn bring(
        &self,
        map: &CurrentMap,
        stripe: &Stripe,
        stored: &[(Job, SignedReceipt)],
    ) -> Result<bool, WorkError> {
        // The gateway is asked also where it has the receipt already: it knows whether the stripe is still wanted.
        let receipts: Vec<_> = stored.iter().map(|(_, signed)| *signed).collect();
        if receipts.is_empty() {
            return Ok(true);
        }
        self.keep_pending(stripe, receipts.clone()).await?;
        match self.tell(stripe, &receipts).await {
            Ok(true) => {
                self.told().note(&stripe.key(), now_ms());
                Ok(true)
            }
            Ok(false) => {
                self.forget_pending(stripe.key()).await?;
                self.take_back(map, stripe, stored).await;
                self.set_aside(stripe, Reason::Unwanted);
                Ok(false)
            }
            Err(error) => {
                if is_refused_for_good(&error, map, &receipts) {
                    self.set_aside(stripe, Reason::Unwanted);
                }
                Err(error)
            }
        }
    }

    /// What lines say of a stripe is not so: it is left alone for a while, unless its deletion may be under way.
    pub(super) fn set_aside(&self, stripe: &Stripe, reason: Reason) {
        let pause_ms = self.aside().put(stripe, reason, now_ms());
        if pause_ms > 0 {
            let StripeRef { id: stripe, gateway } = stripe.key();
            tracing::error!(%stripe, %gateway, pause_ms, %reason, "a stripe is left alone");
        }
    }

    /// Tells the gateway of a stripe; whether it wants it.
    async fn tell(&self, stripe: &Stripe, receipts: &[SignedReceipt]) -> Result<bool, WorkError> {
        let is_it = |follower: &&Arc<Follower>| follower.gateway() == stripe.gateway;
        let follower = self.followers.iter().find(is_it).ok_or(WorkError::NoGateway)?;
        self.miners.tell(follower.address(), receipts.to_vec()).await.map_err(WorkError::NotTold)
    }

    /// Tells the gateway, if it is time, what it was told before or could not be told, and counts what no ledger has brought back.
    pub(super) async fn tell_again(&self, map: &CurrentMap, stripe: &mut Stripe) -> Result<(), WorkError> {
        let (holdings, id) = (self.holdings.clone(), stripe.key());
        let read = arion_daemon::work::blocking(move || holdings.pending(id..=id));
        let Some(mut pending) = read.await.map_err(|_| WorkError::Stopping)??.remove(&id) else {
            return Ok(());
        };
        if self.told().is_due(&id, now_ms()) {
            let count = pending.len();
            let there = self.still_true(map, &mut pending).await;
            if pending.len() < count {
                self.forget_pending(id).await?;
                self.keep_pending(stripe, pending.clone()).await?;
            }
            let outcome = match there.is_empty() {
                true => Ok(true),
                false => self.tell(stripe, &there).await,
            };
            match outcome {
                Ok(true) => self.told().note(&id, now_ms()),
                Ok(false) => return self.forget_pending(id).await,
                Err(error) if is_refused_for_good(&error, map, &there) => {
                    tracing::debug!(stripe = %stripe.id, %error, "receipts are not told any more");
                    return self.forget_pending(id).await;
                }
                Err(error) => return Err(error),
            }
        }
        with_pending(stripe, &pending);
        Ok(())
    }

    /// Those of these receipts whose miner has the shard and is named for it: one that was released since, and told to delete it, must not be
    /// entered again. Of the others only those stay whose miner does not answer.
    async fn still_true(&self, map: &CurrentMap, pending: &mut Vec<SignedReceipt>) -> Vec<SignedReceipt> {
        let mut questions = Questions::new();
        for Receipt { node_id, shard, .. } in pending.iter().map(|signed| signed.receipt) {
            questions.entry(node_id).or_default().push(shard);
        }
        let answers = self.miners.ask(map, questions).await;
        let is_named = |receipt: &Receipt| {
            let named = map.named(&receipt.stripe).get(usize::from(receipt.index)).copied();
            named.flatten() == Some(receipt.node_id)
        };
        let answer = |Receipt { node_id, shard, .. }: &Receipt| answers.of(node_id, shard);
        pending.retain(|signed| is_named(&signed.receipt) && answer(&signed.receipt) != Answer::Absent);
        pending.iter().copied().filter(|signed| answer(&signed.receipt) == Answer::Held).collect()
    }

    async fn keep_pending(&self, stripe: &Stripe, receipts: Vec<SignedReceipt>) -> Result<(), WorkError> {
        let (holdings, gateway) = (self.holdings.clone(), stripe.gateway);
        let kept = arion_daemon::work::blocking(move || holdings.keep_pending(&gateway, &receipts));
        Ok(kept.await.map_err(|_| WorkError::Stopping)??)
    }

    async fn forget_pending(&self, id: StripeRef) -> Result<(), WorkError> {
        self.told().done(&id);
        let holdings = self.holdings.clone();
        let forgotten = arion_daemon::work::blocking(move || holdings.forget_pending(&id));
        Ok(forgotten.await.map_err(|_| WorkError::Stopping)??)
    }

    /// The stripe was deleted meanwhile: what was written for it goes, too. If another gateway has the stripe as well, it may be wanted there.
    async fn take_back(&self, map: &CurrentMap, stripe: &Stripe, stored: &[(Job, SignedReceipt)]) {
        let (holdings, id) = (self.holdings.clone(), stripe.key());
        let is_shared = arion_daemon::work::blocking(move || holdings.is_shared(&id)).await;
        if !matches!(is_shared, Ok(Ok(false))) {
            return;
        }
        for (job, signed) in stored.iter().filter(|(job, _)| !job.from.contains(&job.to)) {
            let shard = signed.receipt.shard;
            if let Err(error) = self.miners.delete(map, &job.to, shard).await {
                tracing::warn!(%shard, miner = %job.to, %error, "a shard that nobody wants any more was not deleted");
            }
        }
    }
}

/// Whether a gateway will never take these receipts: it refuses them, and not because it does not know the current map yet.
fn is_refused_for_good(error: &WorkError, map: &CurrentMap, receipts: &[SignedReceipt]) -> bool {
    let WorkError::NotTold(ShardError::Call(CallError::Refused { code, .. })) = error else { return false };
    match code {
        ErrorCode::Malformed | ErrorCode::Misplaced | ErrorCode::BadSignature => true,
        ErrorCode::Unavailable => receipts.iter().any(|signed| signed.receipt.epoch < map.epoch),
        _ => false,
    }
}

/// Counts receipts as if a ledger had brought them, as far as nothing in it speaks against them.
pub(super) fn with_pending(stripe: &mut Stripe, pending: &[SignedReceipt]) {
    // One that cannot be read.
    if stripe.places.is_empty() {
        return;
    }
    for Receipt { index, shard, size, node_id: node, epoch, .. } in
        pending.iter().map(|signed| signed.receipt)
    {
        let is_known = stripe.holders(index).any(|place| place.node == node);
        let is_other = stripe.size != size || stripe.shard(index).is_some_and(|known| known != shard);
        if !is_known && !is_other {
            let at = stripe.places.partition_point(|place| place.index <= index);
            stripe.places.insert(at, Place { index, shard, node, epoch });
        }
    }
}
