//! What goes wrong, by name.

mod crashes;
mod disks;
mod gateways;
mod hostile;
mod maps;
mod network;
mod people;
mod releases;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    host::{GATEWAY, Place, Role},
    trace,
    world::{Plan, World},
};

type Faults = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// A crash is within so many events, or within those of one operation of a client and what follows it.
const EVENTS: u64 = 1_500;
const EVENTS_OF_OPERATION: u64 = 250;
/// Time for an operation to begin.
const OPERATION_WITHIN: Duration = Duration::from_secs(120);

/// A kind of trouble.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub plan: Plan,
    /// What happens beside the clients.
    pub faults: fn(Arc<World>) -> Faults,
    /// What must have come of it, besides what must hold in any case.
    pub verdict: fn(&World) -> anyhow::Result<()>,
}

/// Nothing more is asked.
fn no_verdict(_: &World) -> anyhow::Result<()> {
    Ok(())
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    let calm = Scenario {
        name: "calm",
        about: "nothing goes wrong",
        plan: Plan::USUAL,
        faults: |_| Box::pin(async { Ok(()) }),
        verdict: no_verdict,
    };
    let repeated = Scenario {
        name: "repeated-write",
        about: "two keys are overwritten and deleted again and again, without a pause",
        plan: Plan {
            keys: 2,
            operations: 40,
            pause: Duration::from_secs(2),
            object_bytes_max: 20_000,
            ..Plan::USUAL
        },
        faults: |_| Box::pin(async { Ok(()) }),
        verdict: no_verdict,
    };
    let expire = Scenario {
        name: "expire",
        about: "the rules of the bucket let objects of two clients of three go after a day of a minute, the gateway is killed meanwhile",
        plan: Plan { day: Some(Duration::from_secs(60)), operations: 16, ..Plan::USUAL },
        faults: |world| Box::pin(world.crash_again_and_again(GATEWAY, false, 3)),
        verdict: no_verdict,
    };
    let mut all = vec![calm, repeated, expire];
    all.extend(network::scenarios());
    all.extend(crashes::scenarios());
    all.extend(disks::scenarios());
    all.extend(gateways::scenarios());
    all.extend(hostile::scenarios());
    all.extend(maps::scenarios());
    all.extend(people::scenarios());
    all.extend(releases::scenarios());
    all
}

/// The scenario of a name.
pub fn find(name: &str) -> anyhow::Result<Scenario> {
    let found = all().into_iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no scenario {name}; `sim list` names those there are"))
}

impl World {
    pub fn crash(&self, place: Place, power: bool) {
        match place.role {
            Role::Miner => self.miners[place.number].crash(power),
            Role::Gateway => self.gateway.crash(power),
            Role::Validator => self.validators[place.number].crash(power),
            Role::Warden => self.wardens[place.number].crash(power),
            Role::Submitter => {}
        }
        self.note_away();
    }

    pub async fn restart(&self, place: Place) -> anyhow::Result<()> {
        match place.role {
            Role::Miner => self.miners[place.number].start(),
            Role::Gateway => self.gateway.start().await,
            Role::Validator => self.validators[place.number].start(),
            Role::Warden => self.wardens[place.number].start(),
            Role::Submitter => Ok(()),
        }
    }

    /// Waits for a random time up to so many seconds.
    async fn wait(&self, seconds: u64) {
        sleep(self.dice.between(Duration::ZERO, Duration::from_secs(seconds))).await;
    }

    /// Waits until it holds, looking once in a while, for so long at most.
    async fn until(&self, most: Duration, holds: fn(&World) -> anyhow::Result<()>) {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < most && holds(self).is_err() {
            sleep(Duration::from_secs(10)).await;
        }
    }

    /// Crashes a host in the middle of some event, mostly of what a client has just begun.
    async fn crash_at_event(self: &Arc<Self>, place: Place, power: bool) {
        let (done, crashed) = oneshot::channel();
        let world = self.clone();
        let mut events = EVENTS;
        if self.dice.percent(75) {
            // The last client may be done.
            if timeout(OPERATION_WITHIN, self.begun.subscribe().changed()).await.is_ok() {
                events = EVENTS_OF_OPERATION;
            }
        }
        trace::at_event(self.dice.below(events), move || {
            world.crash(place, power);
            // Who does not wait any more knows anyway.
            let _ = done.send(());
        });
        let _ = timeout(Duration::from_secs(300), crashed).await;
    }

    /// Crashes a host and starts it again, several times.
    async fn crash_again_and_again(
        self: Arc<Self>,
        place: Place,
        power: bool,
        times: usize,
    ) -> anyhow::Result<()> {
        for _ in 0..times {
            self.wait(30).await;
            self.crash_at_event(place, power).await;
            self.wait(60).await;
            self.restart(place).await?;
        }
        Ok(())
    }
}
