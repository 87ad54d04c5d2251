//! What goes wrong, by name.

mod crashes;
mod disks;
mod maps;
mod network;
mod people;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::bail;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    host::{Place, Role},
    trace,
    world::{Plan, World},
};

type Faults = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

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
    let mut all = vec![calm, repeated];
    all.extend(network::scenarios());
    all.extend(crashes::scenarios());
    all.extend(disks::scenarios());
    all.extend(maps::scenarios());
    all.extend(people::scenarios());
    all
}

/// What is meant to be there and is not.
pub const ABSENT: &[(&str, &str)] = &[
    ("rolling-upgrade", "there is one version of the wire protocol so far"),
    ("expire", "rules about the age of objects are not run here"),
];

/// The scenario of a name.
pub fn find(name: &str) -> anyhow::Result<Scenario> {
    if let Some((_, why)) = ABSENT.iter().find(|(absent, _)| *absent == name) {
        bail!("the scenario {name} is not there: {why}");
    }
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

    /// Crashes a host in the middle of some event, one of so many.
    async fn crash_at_event(self: &Arc<Self>, place: Place, power: bool, events: u64) {
        let (done, crashed) = oneshot::channel();
        let world = self.clone();
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
            self.crash_at_event(place, power, 1_500).await;
            self.wait(60).await;
            self.restart(place).await?;
        }
        Ok(())
    }
}
