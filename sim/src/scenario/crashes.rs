//! Crashes and restarts of every role, in the middle of any message and of any work of its disk.

use super::{Scenario, no_verdict};
use crate::{
    host::{GATEWAY, Place, Role},
    world::Plan,
};

const TIMES: usize = 4;

pub fn scenarios() -> Vec<Scenario> {
    let scenario =
        |name, about, faults| Scenario { name, about, plan: Plan::USUAL, faults, verdict: no_verdict };
    vec![
        scenario("crash-miner", "three miners are killed and started again, each several times", |world| {
            Box::pin(async move {
                let some = world.dice.some(3, world.plan.miners);
                let [first, second, third] =
                    [0, 1, 2].map(|at| world.clone().crash_again_and_again(miner(some[at]), false, TIMES));
                tokio::try_join!(first, second, third).map(|_| ())
            })
        }),
        scenario("crash-gateway", "the gateway is killed and started again several times", |world| {
            Box::pin(world.crash_again_and_again(GATEWAY, false, TIMES))
        }),
        scenario(
            "crash-validator",
            "two validator services of three are killed several times, miners are replaced meanwhile",
            |world| {
                Box::pin(async move {
                    let [first, second] = [0, 1].map(|number| {
                        let place = Place { role: Role::Validator, number };
                        world.clone().crash_again_and_again(place, false, TIMES)
                    });
                    tokio::try_join!(first, second, world.replace_disks(2)).map(|_| ())
                })
            },
        ),
        scenario("crash-warden", "both wardens are killed and started again several times", |world| {
            Box::pin(async move {
                let [first, second] = [0, 1].map(|number| {
                    let place = Place { role: Role::Warden, number };
                    world.clone().crash_again_and_again(place, false, TIMES)
                });
                tokio::try_join!(first, second).map(|_| ())
            })
        }),
        scenario(
            "unsynced",
            "miners, the gateway, a validator service and a warden lose power, and what was not synced with it",
            |world| {
                Box::pin(async move {
                    let some = world.dice.some(2, world.plan.miners);
                    let others = [
                        GATEWAY,
                        Place { role: Role::Validator, number: 0 },
                        Place { role: Role::Warden, number: 0 },
                    ];
                    let [first, second] =
                        [0, 1].map(|at| world.clone().crash_again_and_again(miner(some[at]), true, TIMES));
                    let [third, fourth, fifth] =
                        others.map(|place| world.clone().crash_again_and_again(place, true, TIMES));
                    tokio::try_join!(first, second, third, fourth, fifth).map(|_| ())
                })
            },
        ),
    ]
}

fn miner(number: usize) -> Place {
    Place { role: Role::Miner, number }
}
