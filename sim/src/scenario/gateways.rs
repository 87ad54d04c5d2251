//! Gateways that are lost: one that is made again from its snapshot and the chain, one of which nobody knows any more.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use arion_types::ShardHash;
use tokio::time::{Instant, sleep, timeout};

use super::{Scenario, no_verdict};
use crate::{
    gateway::Gateway,
    host::{Place, Role, lock},
    miner::Miner,
    outside::BEGIN_SECONDS,
    trace::trace,
    world::{Plan, World},
};

/// How long nobody has to want a shard. Miners ask four times in it.
const RETENTION: Duration = Duration::from_secs(100);
/// Within which all that nobody wants has to be gone.
const COLLECTED_WITHIN: Duration = Duration::from_secs(900);
/// Between snapshots: some changes are in none.
const SNAPSHOTS: Duration = Duration::from_secs(45);
/// Until registrations are known everywhere.
pub(super) const KNOWN_WITHIN: Duration = Duration::from_secs(20);

pub fn scenarios() -> Vec<Scenario> {
    let plan = Plan { orphan_retention: Some(RETENTION), ..Plan::USUAL };
    vec![
        Scenario {
            name: "orphans",
            about: "a gateway that no service follows stores something and is gone; it goes when two thirds of the services say so, and not before",
            plan,
            faults: |world| Box::pin(async move { world.leave_orphans().await }),
            verdict: no_verdict,
        },
        Scenario {
            name: "recover",
            about: "the gateway is lost with its disk, and made again as another one from the chain and a snapshot; what only the lost one knew is collected",
            plan: Plan { snapshots: Some(SNAPSHOTS), ..plan },
            faults: |world| Box::pin(async move { world.lose_gateway().await }),
            verdict: no_verdict,
        },
    ]
}

impl World {
    /// So many of these shards are on miners.
    fn count(&self, shards: &BTreeSet<ShardHash>) -> usize {
        self.miners.iter().flat_map(Miner::shards).filter(|shard| shards.contains(shard)).count()
    }

    async fn leave_orphans(self: &Arc<Self>) -> anyhow::Result<()> {
        let place = Place { role: Role::Gateway, number: 1 };
        self.chain.register(|registry| {
            registry.gateways.insert(place.node());
        });
        sleep(KNOWN_WITHIN).await;
        let stranger = Gateway::new(place, self.setting.clone());
        stranger.start().await?;
        let running = stranger.running().context("a gateway that has started runs")?;
        let mut left = BTreeSet::new();
        for number in 0..2 + self.dice.below(3) {
            let (key, length) = (format!("lost/{number}"), self.dice.below(self.plan.object_bytes_max) + 1);
            let plain: Vec<u8> = (0..length).map(|at| (at * (number + 3)) as u8).collect();
            running.put(&key, &plain).await?;
            left.extend(running.stripes(&key).await?.into_iter().flat_map(|stripe| stripe.hashes));
        }
        let begun = Instant::now();
        while running.grid.meta.backlog().await?.0 > 0 {
            ensure!(begun.elapsed() < COLLECTED_WITHIN, "shards of another gateway are not sent");
            sleep(Duration::from_secs(2)).await;
        }
        drop(running);
        stranger.crash(false);
        let there = self.count(&left);
        trace!("{there} shards of a gateway that is gone");
        ensure!(there >= left.len(), "of {} shards {there} are there", left.len());

        // It may come back: it is registered, and no service reads its ledger.
        sleep(RETENTION * 2).await;
        let count = self.count(&left);
        ensure!(count == there, "{count} of {there} shards are left although their gateway is registered");
        for validator in &self.validators[1..] {
            validator.crash(false);
        }
        self.chain.register(|registry| {
            registry.gateways.remove(&place.node());
        });
        sleep(RETENTION * 2).await;
        let count = self.count(&left);
        ensure!(count == there, "{count} of {there} shards are left although one service of three was asked");
        for validator in &self.validators {
            validator.start()?;
        }
        // One more may be away.
        let last = &self.validators[self.dice.index(self.validators.len())];
        last.crash(false);
        let begun = Instant::now();
        while self.count(&left) > 0 {
            let count = self.count(&left);
            ensure!(begun.elapsed() < COLLECTED_WITHIN, "{count} shards that nobody wants are still there");
            sleep(Duration::from_secs(10)).await;
        }
        ensure!(begun.elapsed() >= RETENTION, "they are gone after {} s", begun.elapsed().as_secs());
        trace!("what nobody wants is gone");
        last.start()
    }

    async fn lose_gateway(self: &Arc<Self>) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.chain.snapshots() == 0 {
            ensure!(begun.elapsed() < COLLECTED_WITHIN, "there is no snapshot");
            sleep(Duration::from_secs(5)).await;
        }
        self.wait(90).await;
        let lost = self.gateway.place();
        self.crash_at_event(lost, true).await;
        self.gateway.replace();
        let place = self.gateway.place();
        self.wait(60).await;
        self.chain.register(|registry| {
            registry.gateways.insert(place.node());
        });
        if self.dice.percent(50) {
            let patience = self.dice.between(Duration::ZERO, Duration::from_secs(12));
            if timeout(patience, self.gateway.recover()).await.is_err() {
                trace!("the recovery was cut off");
            }
        }
        let recovered = self.gateway.recover().await?;
        let made = Duration::from_millis(recovered.made_ms.saturating_sub(BEGIN_SECONDS as u64 * 1_000));
        let unknown = lock(&self.oracle).forget_since(made);
        trace!("recovered as of {} s, {unknown} keys may have changed since", made.as_secs());
        *lock(&self.setting.followed) = place;
        self.gateway.start().await?;
        self.note_away();
        let services = self.validators.iter().map(|validator| validator.place);
        for place in services.chain(self.wardens.iter().map(|warden| warden.place)) {
            self.wait(20).await;
            self.crash(place, false);
            self.wait(5).await;
            self.restart(place).await?;
        }
        self.chain.register(|registry| {
            registry.gateways.remove(&lost.node());
        });
        self.wait(60).await;
        Ok(())
    }
}
