//! Software that is replaced under way.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;

use super::Scenario;
use crate::{
    host::Place,
    network::Release,
    world::{Plan, World},
};

/// Before requests of kind 13 and later: nobody tells of shards that were moved, attestations come without what shows them, ledgers are
/// read without what is in no page.
const EARLIER: Release = Release { versions: (1, 1), kinds: 13 };
/// Speaks a second version, too.
const BOTH: Release = Release { versions: (1, 2), ..Release::PRESENT };
/// Speaks the first no more.
const NEXT: Release = Release { versions: (2, 2), ..Release::PRESENT };

pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "rolling-upgrade",
        about: "every daemon is replaced twice, one after the other: by one that speaks the next version of the protocol as well as its \
                own, then by one that does not speak the old one any more",
        plan: Plan { operations: 16, ..Plan::USUAL },
        faults: |world| {
            Box::pin(async move {
                let everybody = world.daemons();
                for place in &everybody {
                    world.network.install(&place.name(), EARLIER);
                }
                world.wait(60).await;
                world.replace_all(&everybody, BOTH).await?;
                world.wait(60).await;
                world.replace_all(&everybody, NEXT).await?;
                // One that was forgotten understands nobody until it is replaced.
                let forgotten = world.any_miner();
                world.replace(forgotten, EARLIER).await?;
                tokio::time::sleep(world.dice.between(Duration::from_secs(30), Duration::from_secs(120)))
                    .await;
                world.replace(forgotten, NEXT).await
            })
        },
        verdict: misunderstood,
    }]
}

/// There was something to be refused, or nothing was shown.
fn misunderstood(world: &World) -> anyhow::Result<()> {
    let (unknown, strange) = world.network.misunderstood();
    ensure!(unknown > 0, "no daemon was asked for something that it did not know");
    ensure!(strange > 0, "nobody met the daemon that was forgotten");
    Ok(())
}

impl World {
    /// All of them, in any order.
    async fn replace_all(self: &Arc<Self>, places: &[Place], release: Release) -> anyhow::Result<()> {
        for at in self.dice.some(places.len(), places.len()) {
            self.replace(places[at], release).await?;
            tokio::time::sleep(self.dice.between(Duration::ZERO, Duration::from_secs(6))).await;
        }
        Ok(())
    }

    /// Stops a daemon and starts another release on what it left.
    async fn replace(&self, place: Place, release: Release) -> anyhow::Result<()> {
        self.crash(place, false);
        self.network.install(&place.name(), release);
        self.note_away();
        tokio::time::sleep(self.dice.between(Duration::ZERO, Duration::from_secs(3))).await;
        self.restart(place).await?;
        self.note_away();
        Ok(())
    }
}
