//! Clients, and an oracle that remembers what they were told.
//!
//! # Invariants
//! - A key belongs to one client, which does one thing at a time: what a read may return is known exactly, but for what was cut off by
//!   a crash and may have happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use anyhow::{bail, ensure};
use tokio::time::sleep;

use crate::{
    dice::Dice,
    trace::{self, trace},
    world::World,
};

/// Between looks at whether the gateway is back.
const LOOK: Duration = Duration::from_secs(1);
/// Miners that may be away while every object has to be readable: as many shards of a stripe may not have been sent yet.
const AWAY_MAX: usize = 10;

/// Content of an object: its bytes follow from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    seed: u64,
    bytes: u64,
    /// When it was begun to be written.
    begun: Duration,
}

impl Content {
    fn random(dice: &Dice, bytes_max: u64) -> Self {
        // As many small ones as large ones.
        let most = bytes_max >> dice.below(8);
        Self { seed: dice.number(), bytes: dice.below(most + 1), begun: trace::now() }
    }

    fn plain(self) -> Vec<u8> {
        let mut plain = vec![0; usize::try_from(self.bytes).unwrap_or(0)];
        blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof().fill(&mut plain);
        plain
    }
}

/// Whether the rules of the bucket are about a key ([`crate::gateway`] sets them).
pub fn expires(key: &str) -> bool {
    !key.starts_with("client-0/")
}

/// What each key may be found as; `None` is nothing.
#[derive(Default)]
pub struct Oracle {
    possible: BTreeMap<String, Vec<Option<Content>>>,
    /// When something that may have changed a key was last under way.
    touched: BTreeMap<String, Duration>,
    /// Keys that are as they were at some time, or cannot be read.
    unknown: BTreeSet<String>,
    /// All that was ever put.
    put: BTreeMap<String, Vec<Content>>,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Reads that were answered.
    pub reads: u64,
}

impl Oracle {
    pub fn keys(&self) -> Vec<String> {
        self.possible.keys().cloned().collect()
    }

    fn begun(&mut self, key: &str, outcome: Option<Content>) {
        self.touch(key);
        self.put.entry(key.to_owned()).or_default().extend(outcome);
        self.possible.entry(key.to_owned()).or_insert_with(|| vec![None]).push(outcome);
    }

    pub fn acknowledge(&mut self, key: &str, outcome: Option<Content>) {
        self.acknowledged += 1;
        self.touch(key);
        self.unknown.remove(key);
        self.possible.insert(key.to_owned(), vec![outcome]);
    }

    fn touch(&mut self, key: &str) {
        self.touched.insert(key.to_owned(), trace::now());
    }

    /// All is as it was at a time: of keys that have changed since, or may have, nothing is known. How many those are.
    pub fn forget_since(&mut self, time: Duration) -> usize {
        for (key, possible) in &self.possible {
            if possible.len() > 1 || self.touched.get(key).is_some_and(|touched| *touched >= time) {
                self.unknown.insert(key.clone());
            }
        }
        self.unknown.len()
    }

    /// Keys of which nothing is known.
    pub fn unknown(&self) -> BTreeSet<String> {
        self.unknown.clone()
    }

    /// Whether a key may be found like that; from now on it must be. What the rules of the bucket let go after `day` may be gone
    /// from then on.
    pub fn check(&mut self, key: &str, found: Option<&[u8]>, day: Option<Duration>) -> anyhow::Result<()> {
        self.reads += 1;
        if self.unknown.contains(key) {
            let mut put = self.put.get(key).into_iter().flatten();
            let is_known = found.is_none_or(|found| put.any(|content| content.plain() == found));
            ensure!(is_known, "{key} is found as what was never put");
            return Ok(());
        }
        let possible = self.possible.entry(key.to_owned()).or_insert_with(|| vec![None]);
        if let Some(day) = day.filter(|_| expires(key)) {
            let is_old =
                |content: &Option<Content>| content.is_some_and(|old| trace::now() >= old.begun + day);
            if possible.iter().any(is_old) {
                possible.insert(0, None);
            }
        }
        let fits = |content: &Option<Content>| content.map(Content::plain).as_deref() == found;
        let Some(content) = possible.iter().rev().copied().find(fits) else {
            let found = found.map_or("nothing".into(), |plain| format!("{} other bytes", plain.len()));
            bail!("{key} is found as {found}, where it should be one of {possible:?}");
        };
        *possible = vec![content];
        Ok(())
    }
}

/// One client: puts, overwrites, reads and deletes.
pub async fn client(world: Arc<World>, number: usize, dice: Dice) -> anyhow::Result<()> {
    let plan = world.plan;
    for _ in 0..plan.operations {
        sleep(dice.between(Duration::ZERO, plan.pause)).await;
        let key = format!("client-{number}/{}", dice.below(plan.keys as u64));
        match dice.below(20) {
            0..10 => {
                let parts = if dice.percent(20) { 1 + dice.index(3) } else { 0 };
                put(&world, &key, Content::random(&dice, plan.object_bytes_max), parts).await;
            }
            10..13 => delete(&world, &key).await,
            _ => read(&world, &key).await?,
        }
    }
    Ok(())
}

async fn gateway(world: &World) -> crate::gateway::Running {
    loop {
        match world.gateway.running() {
            Some(running) => return running,
            None => sleep(LOOK).await,
        }
    }
}

fn with_oracle<T>(world: &World, change: impl FnOnce(&mut Oracle) -> T) -> T {
    change(&mut world.oracle.lock().unwrap_or_else(PoisonError::into_inner))
}

/// In so many parts, or in one piece.
async fn put(world: &World, key: &str, content: Content, parts: usize) {
    let gateway = gateway(world).await;
    trace!("put {key} {content:?} in parts: {parts}");
    world.begun.send_modify(|begun| *begun += 1);
    with_oracle(world, |oracle| oracle.begun(key, Some(content)));
    let plain = content.plain();
    let outcome = match parts {
        0 => gateway.life.unless_over(gateway.put(key, &plain)).await,
        _ => gateway.life.unless_over(gateway.put_in_parts(key, &plain, parts)).await,
    };
    told(world, "put", key, Some(content), outcome);
}

async fn delete(world: &World, key: &str) {
    let gateway = gateway(world).await;
    trace!("delete {key}");
    world.begun.send_modify(|begun| *begun += 1);
    with_oracle(world, |oracle| oracle.begun(key, None));
    let outcome = gateway.life.unless_over(gateway.delete(key)).await;
    told(world, "delete", key, None, outcome);
}

fn told(world: &World, what: &str, key: &str, content: Option<Content>, outcome: Option<anyhow::Result<()>>) {
    with_oracle(world, |oracle| oracle.touch(key));
    match outcome {
        Some(Ok(())) => {
            trace!("acknowledged {what} {key}");
            with_oracle(world, |oracle| oracle.acknowledge(key, content));
        }
        // It may have happened.
        Some(Err(error)) => trace!("refused {what} {key}: {error:#}"),
        None => trace!("cut off {what} {key}"),
    }
}

async fn read(world: &World, key: &str) -> anyhow::Result<()> {
    let gateway = gateway(world).await;
    let away = world.watch();
    trace!("get {key}");
    world.begun.send_modify(|begun| *begun += 1);
    match gateway.life.unless_over(gateway.get(key)).await {
        Some(Ok(found)) => {
            trace!("got {key} {:?}", found.as_ref().map(Vec::len));
            with_oracle(world, |oracle| oracle.check(key, found.as_deref(), world.plan.day))?;
        }
        Some(Err(error)) => {
            let away = *away.lock().unwrap_or_else(PoisonError::into_inner);
            trace!("unreadable {key} with {away} miners away: {error:#}");
            let is_unknown = with_oracle(world, |oracle| oracle.unknown.contains(key));
            ensure!(away > AWAY_MAX || is_unknown, "{key} cannot be read with {away} miners away: {error:#}");
        }
        None => trace!("cut off get {key}"),
    }
    Ok(())
}
