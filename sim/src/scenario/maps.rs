//! Maps that change under everything else: miners leave, join, drain, and come back.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;

use super::{Scenario, no_verdict};
use crate::{
    host::{Place, Role},
    miner::FAMILY_SIZE,
    validator::OUT_AFTER,
    world::{Plan, World},
};

const LONG: Plan = Plan { pause: Duration::from_secs(60), ..Plan::USUAL };

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "map-change",
            about: "miners drain, fall silent, join and come back while clients write, read and delete",
            plan: Plan { reserve: 4, ..LONG },
            faults: |world| {
                Box::pin(async move {
                    let (first, second) = (world.plan.miners, world.plan.miners + FAMILY_SIZE);
                    for number in first..second {
                        world.join(number)?;
                    }
                    let draining = world.any_miner();
                    world.crash(draining, false);
                    world.miners[draining.number].set_draining(true);
                    world.restart(draining).await?;
                    world.wait(150).await;
                    world.lose_one().await;
                    for number in second..second + FAMILY_SIZE {
                        world.join(number)?;
                    }
                    world.miners[draining.number].set_draining(false);
                    world.crash(draining, false);
                    world.restart(draining).await?;
                    world.wait(150).await;
                    Ok(())
                })
            },
            verdict: changed,
        },
        Scenario {
            name: "join-100",
            about: "a hundred miners join at once",
            plan: Plan { reserve: 100, operations: 5, ..LONG },
            faults: |world| {
                Box::pin(async move {
                    world.wait(150).await;
                    for number in world.plan.miners..world.plan.miners + world.plan.reserve {
                        world.join(number)?;
                    }
                    world.wait(150).await;
                    world.until(Duration::from_secs(600), changed).await;
                    Ok(())
                })
            },
            verdict: changed,
        },
        Scenario {
            name: "lose-family",
            about: "all miners of a family are gone with their disks for good",
            plan: LONG,
            faults: |world| {
                Box::pin(async move {
                    world.wait(200).await;
                    let family = world.dice.index(world.plan.miners / FAMILY_SIZE);
                    for number in family * FAMILY_SIZE..(family + 1) * FAMILY_SIZE {
                        world.crash(Place { role: Role::Miner, number }, false);
                        world.miners[number].replace_disk();
                        // What is registered is started again when everything heals.
                        let node = world.miners[number].place.node();
                        world.chain.register(|registry| {
                            registry.miners.remove(&node);
                        });
                    }
                    world.wait(400).await;
                    world.until(Duration::from_secs(600), changed).await;
                    Ok(())
                })
            },
            verdict: changed,
        },
        Scenario {
            name: "lose-disks",
            about: "three miners come back with empty disks, one after the other",
            plan: LONG,
            faults: |world| Box::pin(async move { world.replace_disks(3).await }),
            verdict: no_verdict,
        },
    ]
}

fn changed(world: &World) -> anyhow::Result<()> {
    ensure!(world.chain.snapshot().epoch() > 1, "the map has not changed");
    Ok(())
}

impl World {
    pub(super) fn any_miner(&self) -> Place {
        Place { role: Role::Miner, number: self.dice.index(self.plan.miners) }
    }

    /// A miner is silent for so long that the map goes on without it, then comes back.
    pub(super) async fn lose_one(self: &Arc<Self>) {
        let place = self.any_miner();
        self.wait(60).await;
        self.crash_at_event(place, false).await;
        tokio::time::sleep(OUT_AFTER).await;
        self.wait(200).await;
        if let Err(error) = self.restart(place).await {
            crate::trace::trace!("{} does not start again: {error:#}", place.name());
        }
    }

    /// Miners lose their disks and start again at once.
    pub(super) async fn replace_disks(self: &Arc<Self>, count: usize) -> anyhow::Result<()> {
        for number in self.dice.some(count, self.plan.miners) {
            self.wait(200).await;
            let place = Place { role: Role::Miner, number };
            self.crash_at_event(place, true).await;
            self.miners[number].replace_disk();
            self.note_away();
            self.wait(60).await;
            self.restart(place).await?;
        }
        Ok(())
    }
}
