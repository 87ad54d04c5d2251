//! A validator service: the real liveness, votes and repair.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use arion_daemon::Health;
use arion_ledger::{Follower, ReceiptChecker};
use arion_validator::{
    Metrics,
    announcement::Announcements,
    holdings::{Holdings, HoldingsBook},
    liveness::Liveness,
    publisher::{Publisher, publish},
    repair::{LastCensus, Parts, Repair, RepairOptions, custody::Custody},
    service::ValidatorService,
    standing::{Patience, Standings},
    unnamed::Ledgers,
};

use crate::{
    chain::GENESIS,
    disk::Drive,
    host::{PARAMS, Place, Role, Setting, lock},
    life::Life,
    miner::HEARTBEAT,
    trace::trace,
};

/// A miner may be silent for this long.
pub const OUT_AFTER: Duration = Duration::from_secs(200);
const IN_AFTER: Duration = Duration::from_secs(60);
/// Between looks at how miners stand: more often would bring nothing but work.
const LOOK: Duration = Duration::from_secs(8);
const SETTLE: Duration = Duration::from_secs(6);
const LEDGER_POLL: Duration = Duration::from_secs(10);
const REPAIR: RepairOptions = RepairOptions {
    bytes_per_second: 8 << 20,
    workers: 2,
    // All shorter than in the product: what heals by them is waited for.
    census_interval: Duration::from_secs(120),
    delay: Duration::from_secs(30),
    takeover: Duration::from_secs(60),
    orphan_age: Duration::from_secs(24 * 3_600),
};

struct Running {
    life: Life,
    repair: Arc<Repair>,
}

/// A service over its lives.
pub struct Validator {
    pub place: Place,
    setting: Setting,
    drive: Mutex<Drive>,
    running: Mutex<Option<Running>>,
}

impl Validator {
    pub fn new(number: usize, setting: Setting) -> Self {
        let place = Place { role: Role::Validator, number };
        Self { place, setting, drive: Mutex::default(), running: Mutex::default() }
    }

    pub fn is_up(&self) -> bool {
        lock(&self.running).is_some()
    }

    /// Bytes on its disk.
    pub fn disk_bytes(&self) -> usize {
        lock(&self.drive).bytes()
    }

    /// Stripes queued for repair.
    pub fn queued(&self) -> usize {
        lock(&self.running).as_ref().map_or(0, |running| running.repair.queued())
    }

    /// Bytes of shards that its repair has moved in this life.
    pub fn moved_bytes(&self) -> u64 {
        lock(&self.running).as_ref().map_or(0, |running| running.repair.moved_bytes())
    }

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
        let file = lock(&self.drive).database()?;
        let database = redb::Database::builder().set_cache_size(8 << 20).create_with_backend(file);
        let holdings = Holdings::on(database.with_context(|| format!("{name} does not start"))?)?;
        let holdings = Arc::new(holdings);
        let view = self.setting.chain.view(&name, &life);
        let transport = self.setting.network.transport(&name, self.place.node(), &life);
        let (metrics, health) = (Metrics::default(), Health::new("sim", "0"));
        let liveness = Arc::new(Mutex::new(Liveness::new(GENESIS, HEARTBEAT)));
        let patience = Patience { out_after: OUT_AFTER, in_after: IN_AFTER };
        let standings = Arc::new(Mutex::new(Standings::new(patience)));
        let follower = Arc::new(Follower::new(
            self.setting.followed().peer(),
            transport.clone(),
            Arc::new(HoldingsBook(holdings.clone())),
            Arc::new(tokio::sync::Mutex::new(ReceiptChecker::new(view.clone()))),
            Default::default(),
        ));
        let custody = Custody::new(
            view.clone(),
            holdings.clone(),
            vec![follower.clone()],
            standings.clone(),
            metrics.clone(),
        );
        let ledgers = Arc::new(Ledgers {
            key: key.clone(),
            view: view.clone(),
            holdings: holdings.clone(),
            followers: vec![follower.clone()],
        });
        let last_census = LastCensus::default();
        let service = ValidatorService {
            view: view.clone(),
            liveness: liveness.clone(),
            standings: standings.clone(),
            custody: custody.clone(),
            ledgers,
            last_census: last_census.clone(),
            metrics: metrics.clone(),
        };
        let repair = Repair::new(Parts {
            key,
            view: view.clone(),
            transport,
            holdings,
            followers: vec![follower.clone()],
            liveness: liveness.clone(),
            health: health.clone(),
            metrics: metrics.clone(),
            last_census,
            options: REPAIR,
        });
        self.setting.network.listen(&name, self.place.node(), &life, Arc::new(service));
        life.spawn(follower.run(LEDGER_POLL));
        life.spawn(repair.clone().run());
        life.spawn(custody.watch());
        life.spawn(publish(Publisher {
            view,
            chain: self.setting.chain.ballot(self.place.node(), &life),
            liveness,
            standings,
            params: PARAMS,
            min_miners: 30,
            tick: LOOK,
            settle: SETTLE,
            announcements: Arc::new(Announcements::new(0)),
            health,
            metrics,
        }));
        *lock(&self.running) = Some(Running { life, repair });
        Ok(())
    }
}
