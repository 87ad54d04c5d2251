//! A miner: the real service and store on a simulated disk, honest or not.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context;
use arion_chain::ChainError;
use arion_daemon::{Health, now_ms, work};
use arion_miner::{
    chain_facts::{Anchors, LiveChain},
    heartbeat::Reporter,
    metrics::Metrics,
    orphans::collector::{Collector, CollectorOptions},
    replay::ReplayGuard,
    service::{Budgets, MinerService, Parts},
    store::{Clock, Store, StoreOptions, Volumes, memory::Faults},
    witnesses::Witnesses,
};
use arion_net::Service;
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{MinerRecord, NodeId, ShardHash, map::WEIGHT_ONE};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::sleep;

use crate::{
    chain::GENESIS,
    disk::Drive,
    host::{Place, Role, Setting, lock},
    life::Life,
    network::endpoint,
    trace::trace,
};

/// Weight 1.0.
const CAPACITY_BYTES: u64 = 1 << 40;
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// Between looks of the store at its background work, and pieces of it at once.
const KEEP: Duration = Duration::from_secs(30);
const PIECES: usize = 16;
/// Miners of a family.
pub const FAMILY_SIZE: usize = 2;

/// How a miner behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Honest,
    /// Signs for shards and throws them away.
    Forgetful,
    /// Answers with other bytes than it was asked for.
    Flipping,
}

/// What is open in one life.
struct Running {
    life: Life,
    store: Arc<Volumes>,
}

/// A miner over its lives.
pub struct Miner {
    pub place: Place,
    setting: Setting,
    drive: Mutex<Drive>,
    running: Mutex<Option<Running>>,
    manner: Mutex<Manner>,
    draining: Mutex<bool>,
    /// Whether it may have lost what it signed for, through no fault of its software.
    is_spoilt: Mutex<bool>,
}

/// The family of a miner.
pub fn family(number: usize) -> [u8; 32] {
    *blake3::hash(format!("family-{}", number / FAMILY_SIZE).as_bytes()).as_bytes()
}

/// A miner as the first map has it.
pub fn record(number: usize) -> MinerRecord {
    let place = Place { role: Role::Miner, number };
    MinerRecord {
        uid: number as u32 + 1,
        node_id: place.node().0,
        family: family(number),
        weight: WEIGHT_ONE,
        endpoint: endpoint(&place.name()).into_bytes().try_into().unwrap_or_default(),
    }
}

impl Miner {
    pub fn new(number: usize, setting: Setting) -> Self {
        Self {
            place: Place { role: Role::Miner, number },
            setting,
            drive: Mutex::default(),
            running: Mutex::default(),
            manner: Mutex::new(Manner::Honest),
            draining: Mutex::default(),
            is_spoilt: Mutex::default(),
        }
    }

    pub fn is_up(&self) -> bool {
        lock(&self.running).is_some()
    }

    pub fn manner(&self) -> Manner {
        *lock(&self.manner)
    }

    pub fn set_manner(&self, manner: Manner) {
        trace!("{} is {manner:?}", self.place.name());
        *lock(&self.manner) = manner;
    }

    /// From its next start on.
    pub fn set_draining(&self, draining: bool) {
        *lock(&self.draining) = draining;
    }

    pub fn is_blameless(&self) -> bool {
        self.manner() == Manner::Honest && !*lock(&self.is_spoilt)
    }

    /// The disk is about to lose or change something by itself.
    pub fn spoil(&self) {
        *lock(&self.is_spoilt) = true;
    }

    /// Flips a bit of a segment; whether there was one.
    pub fn flip_bit(&self) -> bool {
        self.spoil();
        let drive = lock(&self.drive);
        let names = drive.disk().names();
        let segments: Vec<_> = names.iter().filter(|name| name.starts_with("segments/")).collect();
        if segments.is_empty() {
            return false;
        }
        let name = segments[self.setting.dice.index(segments.len())];
        let mut is_flipped = false;
        drive.disk().edit(name, |bytes| {
            let at = self.setting.dice.index(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << self.setting.dice.below(8);
                is_flipped = true;
                trace!("bit of {} flipped in {name} at {at}", self.place.name());
            }
        });
        is_flipped
    }

    /// A fault has it delete all that it has.
    pub async fn delete_all(&self) -> anyhow::Result<()> {
        self.spoil();
        let store = lock(&self.running).as_ref().map(|running| running.store.clone());
        let Some(store) = store else { return Ok(()) };
        let shards = self.shards();
        trace!("{} deletes {} shards", self.place.name(), shards.len());
        for shard in shards {
            store.delete(shard).await?;
        }
        Ok(())
    }

    /// So many bytes still fit; all there are for `None`.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        trace!("{} has {bytes:?} bytes left", self.place.name());
        lock(&self.drive).disk().set_faults(Faults { free_bytes: bytes, ..Faults::default() });
    }

    /// A new disk in place of the old one; only while it is down.
    pub fn replace_disk(&self) {
        self.spoil();
        *lock(&self.drive) = Drive::empty();
    }

    /// The process is gone, with `power` also what was not synced.
    pub fn crash(&self, power: bool) {
        let Some(running) = lock(&self.running).take() else { return };
        trace!("{} crashes, power cut {power}", self.place.name());
        running.life.end();
        let mut chance = self.setting.dice.chance();
        lock(&self.drive).crash(power.then_some(&mut chance));
    }

    pub fn start(&self) -> anyhow::Result<()> {
        if self.is_up() {
            return Ok(());
        }
        let (name, key, life) = (self.place.name(), self.place.key(), Life::of(self.place));
        trace!("{name} starts");
        let clock: Clock = Arc::new(now_ms);
        let options = StoreOptions {
            capacity_bytes: CAPACITY_BYTES,
            segment_bytes: 256 << 10,
            reserve_bytes: 256 << 10,
            checkpoint_bytes: 512 << 10,
            trash_retention: Duration::from_secs(600),
            scrub_period: Duration::from_secs(600),
            background: false,
            clock: clock.clone(),
            ..StoreOptions::default()
        };
        let disk = Arc::new(lock(&self.drive).disk().clone());
        let store = Store::open_on(disk, options).with_context(|| format!("{name} does not start"))?;
        let store = Arc::new(Volumes::from(store));
        let view = self.setting.chain.view(&name, &life);
        let chain = Arc::new(LiveChain::default());
        chain.set(view.clone());
        let metrics = Metrics::new(&mut Default::default());
        let nonces = self.setting.directory.join(&name);
        let service = MinerService::new(Parts {
            key: key.clone(),
            store: store.clone(),
            chain,
            replays: ReplayGuard::open(&nonces, clock())?,
            clock: clock.clone(),
            budgets: Budgets { transfers_max: 64, audits_max: 16 },
            metrics: metrics.clone(),
        });
        let transport = self.setting.network.transport(&name, self.place.node(), &life);
        let reporter = Arc::new(Reporter {
            key,
            genesis: GENESIS,
            endpoint: record(self.place.number).endpoint,
            draining: *lock(&self.draining),
            // Nobody makes it.
            drain_file: nonces.join("draining"),
            store: store.clone(),
            transport: transport.clone(),
            clock,
            metrics: metrics.clone(),
            interval: HEARTBEAT,
            last_sent_at: AtomicU64::new(0),
        });
        for validator in self.setting.validators() {
            life.spawn(reporter.clone().report_to(validator.peer()));
        }
        life.spawn(keep(store.clone()));
        let services = self.setting.validators().map(Place::peer).collect();
        let witnesses = Witnesses::new(self.place.node(), view, Arc::new(NoAnchors), transport, services);
        service.consent().set(witnesses.clone());
        if let Some(retention) = self.setting.orphan_retention {
            let collector = Collector {
                orphans: service.orphans().clone(),
                store: store.clone(),
                witnesses,
                options: CollectorOptions { deletes: true, retention },
                metrics,
                health: Health::new("sim", "0"),
            };
            life.spawn(collector.run());
        }
        let answering = Answering { service, store: store.clone(), manner: self.manner() };
        self.setting.network.listen(&name, self.place.node(), &life, Arc::new(answering));
        *lock(&self.running) = Some(Running { life, store });
        Ok(())
    }

    /// Bytes on its disk.
    pub fn disk_bytes(&self) -> usize {
        lock(&self.drive).bytes()
    }

    /// Whether it has a shard as it should be.
    pub fn holds(&self, shard: &ShardHash) -> bool {
        let store = lock(&self.running).as_ref().map(|running| running.store.clone());
        store.is_some_and(|store| {
            store.read_blocking(shard).is_ok_and(|(_, body)| *blake3::hash(&body).as_bytes() == shard.0)
        })
    }

    /// Shards that it has.
    pub fn shards(&self) -> Vec<ShardHash> {
        let store = lock(&self.running).as_ref().map(|running| running.store.clone());
        store
            .map(|store| store.list(None, usize::MAX).into_iter().map(|line| line.shard).collect())
            .unwrap_or_default()
    }
}

/// Nobody has anchored anything: the model of the chain has no ledgers.
struct NoAnchors;

#[async_trait]
impl Anchors for NoAnchors {
    async fn lines_of(&self, _: &NodeId) -> Result<u64, ChainError> {
        Ok(0)
    }
}

/// What the store's own thread does.
async fn keep(store: Arc<Volumes>) {
    loop {
        sleep(KEEP).await;
        for volume in store.volumes() {
            let Ok(store) = volume.store() else { continue };
            for _ in 0..PIECES {
                let store = store.clone();
                if !work::blocking(move || store.keep_blocking()).await.unwrap_or(false) {
                    break;
                }
            }
        }
    }
}

/// The real service, or what a cheat makes of it.
struct Answering {
    service: MinerService,
    store: Arc<Volumes>,
    manner: Manner,
}

#[async_trait]
impl Service for Answering {
    fn knows(&self, peer: &NodeId) -> bool {
        self.service.knows(peer)
    }

    async fn serve(&self, peer: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        let shard = match &request {
            Request::Store(signed) => Some(signed.command.shard),
            _ => None,
        };
        let (response, body) = self.service.serve(peer, request, body).await;
        match self.manner {
            Manner::Honest => (response, body),
            Manner::Forgetful => {
                if let (Some(shard), Response::Stored(_)) = (shard, &response)
                    && self.store.delete(shard).await.is_err()
                {
                    return (Response::error(ErrorCode::Unavailable, "this cheat failed"), Bytes::new());
                }
                (response, body)
            }
            Manner::Flipping => match body.split_last() {
                Some((last, rest)) => (response, [rest, &[last ^ 1]].concat().into()),
                None => (response, body),
            },
        }
    }
}
