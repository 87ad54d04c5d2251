//! Hosts whose operators cheat.

use std::time::Duration;

use anyhow::ensure;

use super::Scenario;
use crate::{
    host::{Place, Role},
    miner::Manner,
    world::{Plan, World},
};

pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "lying-miner",
        about: "one miner signs for shards and throws them away, one answers with other bytes",
        plan: Plan { pause: Duration::from_secs(150), ..Plan::USUAL },
        faults: |world| {
            Box::pin(async move {
                let cheats = world.dice.some(2, world.plan.miners);
                for (number, manner) in cheats.into_iter().zip([Manner::Forgetful, Manner::Flipping]) {
                    let place = Place { role: Role::Miner, number };
                    world.crash(place, false);
                    world.miners[number].set_manner(manner);
                    world.note_away();
                    world.restart(place).await?;
                }
                world.wait(900).await;
                // The bound within which they must be caught.
                tokio::time::sleep(Duration::from_secs(1_800)).await;
                Ok(())
            })
        },
        verdict: caught,
    }]
}

/// Every cheat has a verdict against it.
fn caught(world: &World) -> anyhow::Result<()> {
    let convicted = world.convicted();
    for miner in world.miners.iter().filter(|miner| miner.manner() != Manner::Honest) {
        let number = miner.place.number;
        ensure!(convicted.contains_key(&number), "miner-{number} is {:?} and was not caught", miner.manner());
    }
    Ok(())
}
