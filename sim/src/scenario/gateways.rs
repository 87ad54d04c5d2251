//! Gateways that are lost: one that is made again from its snapshot and the chain, one of which nobody knows any more.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use arion_daemon::now_ms;
use arion_protocol::{Action, Command, Request, Response};
use arion_types::ShardHash;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{Scenario, no_verdict};
use crate::{
    chain::GENESIS,
    gateway::Gateway,
    host::{Place, Role, lock},
    life::Life,
    miner::Miner,
    network::short,
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
/// For how long a stranger orders deletions: longer than shards are young.
const HOSTILE: Duration = Duration::from_secs(480);
const ORDERS_AT_ONCE: usize = 4;
const ORDER_WITHIN: Duration = Duration::from_secs(5);
/// Until registrations are known everywhere.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

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
        Scenario {
            name: "hostile-gateway",
            about: "somebody registers a gateway and orders miners to delete what others stored, while one of them is lost and repaired",
            plan: Plan::USUAL,
            faults: |world| Box::pin(async move { world.order_deletions().await }),
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

    async fn order_deletions(self: &Arc<Self>) -> anyhow::Result<()> {
        let place = Place { role: Role::Gateway, number: 1 };
        self.chain.register(|registry| {
            registry.gateways.insert(place.node());
        });
        sleep(KNOWN_WITHIN).await;
        let lost = Place { role: Role::Miner, number: self.dice.index(self.plan.miners) };
        self.crash(lost, true);
        self.note_away();
        let life = Life::of(place);
        let transport = self.setting.network.transport(&place.name(), place.node(), &life);
        let (begun, mut ordered, mut restarted) = (Instant::now(), 0_u64, false);
        while begun.elapsed() < HOSTILE {
            for miner in &self.miners {
                let shards = miner.shards();
                for _ in 0..shards.len().min(ORDERS_AT_ONCE) {
                    let (shard, target) = (shards[self.dice.index(shards.len())], miner.place.node());
                    ordered += 1;
                    let mut nonce = [0; 16];
                    nonce[..8].copy_from_slice(&ordered.to_le_bytes());
                    let expires_at = now_ms() + 60_000;
                    let command = Command { action: Action::Delete, shard, target, nonce, expires_at };
                    let request = Request::Delete(command.sign(&GENESIS, &place.key()));
                    let answer =
                        transport.call(&miner.place.peer(), request, Bytes::new(), ORDER_WITHIN).await;
                    // It may have gone meanwhile, on the order of who had it stored.
                    let is_obeyed = matches!(answer, Ok((Response::Deleted { existed: true }, _)));
                    ensure!(
                        !is_obeyed,
                        "{} deleted {} on the order of a stranger",
                        miner.place.name(),
                        short(&shard)
                    );
                }
            }
            if !restarted && begun.elapsed() > HOSTILE / 2 {
                self.restart(lost).await?;
                restarted = true;
            }
            sleep(Duration::from_secs(20)).await;
        }
        trace!("{ordered} deletions were ordered by somebody else");
        self.chain.register(|registry| {
            registry.gateways.remove(&place.node());
        });
        Ok(())
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
