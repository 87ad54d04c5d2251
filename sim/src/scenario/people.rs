//! Hosts whose operators cheat.

use std::time::Duration;

use anyhow::ensure;
use arion_types::{AttestationResult, ShardHash};

use super::{Scenario, no_verdict};
use crate::{
    host::{Place, Role},
    miner::Manner,
    network::short,
    world::{Plan, World},
};

/// Short: it is audits that find cheats.
const AUDIT_ROUND: Duration = Duration::from_secs(60);

/// Some censuses, and the turns of all services.
const REPAIRED_WITHIN: Duration = Duration::from_secs(900);

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "lying-miner",
            about: "one miner signs for shards and throws them away, one answers with other bytes",
            plan: Plan { audit_round: AUDIT_ROUND, ..Plan::USUAL },
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
                    world.wait(200).await;
                    // The bound within which they must be caught, for `verdict` to say.
                    world.until(Duration::from_secs(1_200), caught).await;
                    Ok(())
                })
            },
            verdict: caught,
        },
        Scenario {
            name: "lying-gateway",
            about: "every third receipt in the ledger of the gateway is forged for some minutes; repair comes to rest by itself",
            plan: Plan { rests: Some(REPAIRED_WITHIN), ..Plan::USUAL },
            faults: |world| {
                Box::pin(async move {
                    world.wait(60).await;
                    world.gateway.set_lying(true);
                    world.wait(300).await;
                    world.gateway.set_lying(false);
                    Ok(())
                })
            },
            verdict: no_verdict,
        },
        Scenario {
            name: "lying-warden",
            about: "one warden of three says of every shard that its miner does not have it",
            plan: Plan { wardens: 3, audit_round: AUDIT_ROUND, ..Plan::USUAL },
            faults: |world| {
                Box::pin(async move {
                    let liar = Place { role: Role::Warden, number: 0 };
                    world.crash(liar, false);
                    world.wardens[0].lie();
                    world.restart(liar).await?;
                    world.wait(300).await;
                    world.until(Duration::from_secs(600), accused).await;
                    world.crash(liar, false);
                    // The others look at what it found.
                    world.until(Duration::from_secs(900), contradicted).await;
                    // Who is convicted is a warden no longer: it would start to lie again as everything heals.
                    world.chain.register(|registry| {
                        registry.wardens.remove(&liar.node());
                    });
                    Ok(())
                })
            },
            verdict: contradicted,
        },
    ]
}

/// The lying warden has accused somebody.
fn accused(world: &World) -> anyhow::Result<()> {
    let liar = world.wardens[0].place.node().0;
    let has_lied = world.chain.attestations().iter().any(|record| record.warden_pubkey == liar);
    ensure!(has_lied, "the lying warden has accused nobody");
    Ok(())
}

/// Other wardens have seen for themselves what the lying one says they do not have, of what is still there.
fn contradicted(world: &World) -> anyhow::Result<()> {
    let records = world.chain.attestations();
    let liar = world.wardens[0].place.node().0;
    let (lies, others): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.warden_pubkey == liar);
    ensure!(!lies.is_empty(), "the lying warden has accused nobody");
    for lie in lies {
        let Some(miner) = world.miner_of(lie.miner_uid) else { continue };
        let shard = ShardHash(lie.shard_hash);
        let is_seen = others.iter().any(|other| {
            (other.shard_hash, other.miner_uid, other.result)
                == (lie.shard_hash, lie.miner_uid, AttestationResult::Passed)
        });
        ensure!(
            is_seen || !miner.holds(&shard),
            "nobody contradicts what the lying warden says of {} on {}",
            short(&shard),
            miner.place.name()
        );
    }
    Ok(())
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
