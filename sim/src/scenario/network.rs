//! Messages that are lost, late, or do not get through; clocks and views of the chain that are off.

use std::time::Duration;

use super::{Scenario, no_verdict};
use crate::{host::GATEWAY, network::Weather, world::Plan};

/// Miners that may be gone at once without anything being refused.
const AWAY_MAX: usize = 10;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "upload-loss",
            about: "one message in five is lost and sent again, latencies of up to two seconds reorder all",
            plan: Plan::USUAL,
            faults: |world| {
                Box::pin(async move {
                    let latency = (Duration::from_millis(1), Duration::from_secs(2));
                    world.network.set_weather(Weather { latency, loss_percent: 20 });
                    world.wait(400).await;
                    Ok(())
                })
            },
            verdict: no_verdict,
        },
        Scenario {
            name: "partition-heal",
            about: "up to ten miners, or a validator service, or the gateway are cut off for some minutes, again and again",
            plan: Plan::USUAL,
            faults: |world| {
                Box::pin(async move {
                    for _ in 0..4 {
                        world.wait(60).await;
                        match world.dice.below(4) {
                            0 => world.network.cut_off([GATEWAY.name()]),
                            1 => world.network.cut_off([world.validators[0].place.name()]),
                            _ => {
                                let count = 1 + world.dice.index(AWAY_MAX);
                                let cut = world.dice.some(count, world.plan.miners);
                                world.network.cut_off(cut.iter().map(|at| world.miners[*at].place.name()));
                            }
                        }
                        world.note_away();
                        world.wait(180).await;
                        world.network.heal();
                    }
                    Ok(())
                })
            },
            verdict: no_verdict,
        },
        Scenario {
            name: "clock-skew",
            about: "the clocks of a third of the miners and of the gateway are up to 45 s off, those of two miners, a validator service and a warden \
                    by minutes, that of the gateway for a while, too",
            plan: Plan::USUAL,
            faults: |world| {
                Box::pin(async move {
                    let (gateway, dice) = (world.gateway.place(), world.dice.clone());
                    let little = || dice.below(90_000) as i64 - 45_000;
                    let much = || if dice.percent(50) { 240_000 } else { -240_000 };
                    for at in dice.some(world.plan.miners / 3, world.plan.miners) {
                        world.set_clock(world.miners[at].place, little());
                    }
                    for at in dice.some(2, world.plan.miners) {
                        world.set_clock(world.miners[at].place, much());
                    }
                    world.set_clock(gateway, little());
                    world.set_clock(world.validators[dice.index(world.plan.validators)].place, 2 * much());
                    world.set_clock(world.wardens[dice.index(world.plan.wardens)].place, 2 * much());
                    world.wait(120).await;
                    // Its orders are refused everywhere, what there is can be read.
                    world.set_clock(gateway, 2 * much());
                    world.wait(120).await;
                    world.set_clock(gateway, little());
                    world.wait(150).await;
                    Ok(())
                })
            },
            verdict: no_verdict,
        },
        Scenario {
            name: "chain-lag",
            about: "a third of all hosts see the chain up to 200 s late, while a miner leaves and comes back",
            plan: Plan { pause: Duration::from_secs(60), ..Plan::USUAL },
            faults: |world| {
                Box::pin(async move {
                    let hosts = world.hosts();
                    for at in world.dice.some(hosts.len() / 3, hosts.len()) {
                        let lag = world.dice.between(Duration::ZERO, Duration::from_secs(200));
                        world.chain.set_lag(&hosts[at], lag);
                    }
                    world.lose_one().await;
                    Ok(())
                })
            },
            verdict: no_verdict,
        },
        Scenario {
            name: "chain-stall",
            about: "no block comes for minutes, while a miner leaves",
            plan: Plan { pause: Duration::from_secs(60), ..Plan::USUAL },
            faults: |world| {
                Box::pin(async move {
                    world.wait(60).await;
                    world.crash(world.any_miner(), false);
                    for _ in 0..2 {
                        world.wait(200).await;
                        world.chain.stall(true);
                        world.wait(400).await;
                        world.chain.stall(false);
                    }
                    Ok(())
                })
            },
            verdict: no_verdict,
        },
        Scenario {
            name: "reorg",
            about: "blocks with votes are given up again and again before they are final, while a miner leaves and comes back",
            plan: Plan { pause: Duration::from_secs(60), ..Plan::USUAL },
            faults: |world| {
                Box::pin(async move {
                    let other = world.clone();
                    let reorganise = async move {
                        for _ in 0..40 {
                            other.wait(30).await;
                            other.chain.reorganise();
                        }
                    };
                    tokio::join!(reorganise, world.lose_one());
                    Ok(())
                })
            },
            verdict: no_verdict,
        },
    ]
}
