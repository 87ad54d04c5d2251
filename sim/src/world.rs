//! A whole network: all hosts, what clients know of their objects, and what must hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, ensure};
use arion_chain::{Child, EpochMap, Registry};
use arion_gateway::placement::Placement;
use arion_types::{AttestationResult, NodeId, ShardHash};
use tokio::{sync::watch, time::sleep};

use crate::{
    chain::Chain,
    dice::Dice,
    gateway::Gateway,
    host::{GATEWAY, PARAMS, Place, Role, SUBMITTER, Setting, lock},
    life::Life,
    load::{Oracle, expires},
    miner::{self, Manner, Miner},
    network::{Network, Weather, short},
    outside,
    trace::trace,
    validator::Validator,
    warden::{Submitter, Warden},
};

/// What kind of network, and what its clients do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Miners of the first map.
    pub miners: usize,
    /// Miners that may join later.
    pub reserve: usize,
    pub validators: usize,
    pub wardens: usize,
    pub clients: usize,
    /// Of each client.
    pub operations: usize,
    /// Longest pause of a client.
    pub pause: Duration,
    /// Of each client.
    pub keys: usize,
    pub object_bytes_max: u64,
    /// Least time in which a warden audits every shard once.
    pub audit_round: Duration,
    /// How long a day of the bucket's rules lasts; objects of all clients but the first expire after one.
    pub day: Option<Duration>,
    /// Between two snapshots of the gateway's metadata, if there are any.
    pub snapshots: Option<Duration>,
    /// For how long nobody has to want a shard until its miner deletes it, if ever.
    pub orphan_retention: Option<Duration>,
    /// How long nothing is to move when everything is whole, after as long a time in which what was not seen before may move.
    pub rests: Option<Duration>,
    /// How long it may take until everything is whole again.
    pub settles_within: Duration,
}

impl Plan {
    pub const USUAL: Self = Self {
        miners: 34,
        reserve: 0,
        validators: 3,
        wardens: 2,
        clients: 3,
        operations: 12,
        pause: Duration::from_secs(25),
        keys: 4,
        object_bytes_max: 150_000,
        audit_round: Duration::from_secs(400),
        day: None,
        snapshots: None,
        orphan_retention: None,
        rests: None,
        settles_within: Duration::from_secs(3 * 3_600),
    };
}

/// Shards of a stripe without which it can be read: all but k.
const LOST_MAX: usize = 20;

/// Bytes that a miner's disk, and the database of another daemon, need at most for what the clients do.
const MINER_BYTES_MAX: usize = 2 << 20;
const DAEMON_BYTES_MAX: usize = 6 << 20;

/// How a census went.
/// Shards that nobody refers to that a census names.
const ORPHANS_TOLD: usize = 3;

#[derive(Debug, Default)]
pub struct Census {
    pub shards: usize,
    /// Positions whose miner does not have its shard.
    pub missing: usize,
    /// Shards on miners that nobody refers to.
    pub orphans: usize,
}

pub struct World {
    pub plan: Plan,
    pub dice: Dice,
    pub network: Network,
    pub chain: Chain,
    pub miners: Vec<Miner>,
    pub gateway: Gateway,
    pub validators: Vec<Validator>,
    pub wardens: Vec<Warden>,
    pub oracle: Mutex<Oracle>,
    /// Operations of clients that have begun.
    pub begun: watch::Sender<u64>,
    pub setting: Setting,
    /// Most miners that were away from the gateway since it was asked last, by who asks.
    watches: Mutex<Vec<Arc<Mutex<usize>>>>,
    /// Of what is not a host.
    _life: Life,
}

/// A miner as the chain has it.
fn child(number: usize) -> (NodeId, Child) {
    let node = Place { role: Role::Miner, number }.node();
    (node, Child { child: node.0, family: miner::family(number) })
}

impl World {
    /// Everybody runs.
    pub async fn start(plan: Plan, dice: Dice, directory: PathBuf) -> anyhow::Result<Arc<Self>> {
        let mut registry = Registry::default();
        registry.miners.extend((0..plan.miners).map(child));
        registry.gateways.insert(GATEWAY.node());
        let places = |role, count| (0..count).map(move |number| Place { role, number }.node());
        registry.validators.extend(places(Role::Validator, plan.validators));
        registry.wardens.extend(places(Role::Warden, plan.wardens));
        let first = EpochMap::new(1, PARAMS, (0..plan.miners).map(miner::record).collect());
        let chain = Chain::new(dice.fork(), registry, first);
        let network = Network::new(dice.fork());
        let setting = Setting {
            network: network.clone(),
            chain: chain.clone(),
            dice: dice.fork(),
            directory,
            validators: plan.validators,
            audit_round: plan.audit_round,
            day: plan.day,
            snapshots: plan.snapshots,
            orphan_retention: plan.orphan_retention,
            followed: Arc::new(Mutex::new(GATEWAY)),
        };
        let life = Life::default();
        life.spawn(chain.clone().run());
        let submitter = Arc::new(Submitter { chain: chain.clone() });
        network.listen(&SUBMITTER.name(), SUBMITTER.node(), &life, submitter);
        let world = Self {
            plan,
            dice,
            network,
            chain,
            miners: (0..plan.miners + plan.reserve).map(|n| Miner::new(n, setting.clone())).collect(),
            gateway: Gateway::new(GATEWAY, setting.clone()),
            validators: (0..plan.validators).map(|n| Validator::new(n, setting.clone())).collect(),
            wardens: (0..plan.wardens).map(|n| Warden::new(n, setting.clone())).collect(),
            oracle: Mutex::default(),
            begun: watch::Sender::new(0),
            setting: setting.clone(),
            watches: Mutex::default(),
            _life: life,
        };
        for miner in &world.miners[..plan.miners] {
            miner.start()?;
        }
        for validator in &world.validators {
            validator.start()?;
        }
        world.gateway.start().await?;
        for warden in &world.wardens {
            warden.start()?;
        }
        Ok(Arc::new(world))
    }

    /// A miner of the reserve registers and starts.
    pub fn join(&self, number: usize) -> anyhow::Result<()> {
        let (node, child) = child(number);
        self.chain.register(|registry| {
            registry.miners.insert(node, child);
        });
        self.miners[number].start()
    }

    /// The hosts of the chain, the clocks, the network and the disks do as they should, and everybody runs.
    pub async fn heal(&self) -> anyhow::Result<()> {
        trace!("everything heals");
        crate::pauses::set_slowness(0);
        self.network.heal();
        self.network.set_weather(Weather::FAIR);
        self.chain.stall(false);
        for host in self.hosts() {
            self.chain.set_lag(&host, Duration::ZERO);
        }
        for place in self.daemons() {
            self.set_clock(place, 0);
        }
        let registry = self.chain.snapshot().registry.clone();
        for miner in self.miners.iter().filter(|miner| registry.miners.contains_key(&miner.place.node())) {
            miner.set_free_bytes(None);
            miner.start()?;
        }
        for validator in &self.validators {
            validator.start()?;
        }
        for warden in &self.wardens {
            warden.start()?;
        }
        self.gateway.start().await
    }

    /// All that see the chain.
    pub fn hosts(&self) -> Vec<String> {
        let miners = self.miners.iter().map(|miner| miner.place.name());
        let validators = self.validators.iter().map(|validator| validator.place.name());
        let wardens = self.wardens.iter().map(|warden| warden.place.name());
        miners.chain(validators).chain(wardens).chain([self.gateway.place().name()]).collect()
    }

    /// All daemons of the first map, and those beside them.
    pub fn daemons(&self) -> Vec<Place> {
        let miners = self.miners[..self.plan.miners].iter().map(|miner| miner.place);
        let validators = self.validators.iter().map(|validator| validator.place);
        let wardens = self.wardens.iter().map(|warden| warden.place);
        miners.chain(validators).chain(wardens).chain([self.gateway.place(), SUBMITTER]).collect()
    }

    /// Sets a clock ahead or back.
    pub fn set_clock(&self, place: Place, ahead_ms: i64) {
        if ahead_ms != 0 {
            trace!("the clock of {} is {ahead_ms} ms ahead", place.name());
        }
        outside::set_ahead(place.clock(), ahead_ms);
    }

    /// Miners of the current map.
    pub fn members(&self) -> Vec<usize> {
        let snapshot = self.chain.snapshot();
        let nodes: BTreeSet<_> =
            snapshot.current.iter().flat_map(|map| &map.miners).map(|miner| NodeId(miner.node_id)).collect();
        (0..self.miners.len()).filter(|number| nodes.contains(&self.miners[*number].place.node())).collect()
    }

    /// Miners that do not answer the gateway, or answer wrongly.
    fn away(&self) -> usize {
        let gateway = self.gateway.place().name();
        let is_away = |number: &usize| {
            let miner = &self.miners[*number];
            !miner.is_blameless()
                || !miner.is_up()
                || !self.network.reaches(&gateway, &miner.place.name())
                || !self.network.share_version(&gateway, &miner.place.name())
        };
        self.members().iter().filter(|number| is_away(number)).count()
    }

    /// Tells from now on how many miners were away at most.
    pub fn watch(&self) -> Arc<Mutex<usize>> {
        let watch = Arc::new(Mutex::new(self.away()));
        lock(&self.watches).push(watch.clone());
        watch
    }

    /// To be called whenever a miner may have gone away.
    pub fn note_away(&self) {
        let away = self.away();
        let mut watches = lock(&self.watches);
        watches.retain(|watch| Arc::strong_count(watch) > 1);
        for watch in watches.iter() {
            let mut most = lock(watch);
            *most = (*most).max(away);
        }
    }

    /// Looks on every honest miner for what the current map says it has.
    pub async fn census(&self) -> anyhow::Result<Census> {
        let mut census = Census::default();
        let Some(gateway) = self.gateway.running() else { anyhow::bail!("the gateway is down") };
        let snapshot = self.chain.snapshot();
        let Some(map) = &snapshot.current else { anyhow::bail!("there is no map") };
        let placement = Placement::new(map.epoch, &map.params, map.miners.clone())?;
        let by_node: BTreeMap<NodeId, &Miner> =
            self.miners.iter().map(|miner| (miner.place.node(), miner)).collect();
        let keys: Vec<String> = lock(&self.oracle).keys();
        // Also of snapshots, which no object has.
        let mut wanted = match self.plan.snapshots {
            Some(_) => gateway.named().await?,
            None => BTreeSet::<ShardHash>::new(),
        };
        for key in keys {
            for stripe in gateway.stripes(&key).await? {
                for (shard, named) in stripe.hashes.iter().zip(placement.place(&stripe.id())) {
                    wanted.insert(*shard);
                    let Some(miner) = named.and_then(|named| by_node.get(&NodeId(named.node_id))) else {
                        continue;
                    };
                    if miner.manner() == Manner::Honest {
                        census.shards += 1;
                        census.missing += usize::from(!miner.holds(shard));
                    }
                }
            }
        }
        for miner in &self.miners {
            for orphan in miner.shards().into_iter().filter(|shard| !wanted.contains(shard)) {
                census.orphans += 1;
                // More are left behind by intent.
                if census.orphans <= ORPHANS_TOLD {
                    trace!("nobody refers to {} on {}", short(&orphan), miner.place.name());
                }
            }
        }
        Ok(census)
    }

    /// Waits until nothing is left to expire, to repair, to send or to delete.
    pub async fn settle(&self) -> anyhow::Result<()> {
        const LOOK: Duration = Duration::from_secs(10);
        if let Some(gateway) = self.gateway.running() {
            gateway.abort_uploads().await?;
            let unknown = lock(&self.oracle).unknown();
            for key in unknown {
                gateway.delete(&key).await?;
                lock(&self.oracle).acknowledge(&key, None);
            }
        }
        if let Some(day) = self.plan.day {
            sleep(2 * day).await;
        }
        let mut waited = Duration::ZERO;
        loop {
            let Some(gateway) = self.gateway.running() else { anyhow::bail!("the gateway is down") };
            let (missing, deletes) = gateway.grid.meta.backlog().await?;
            let inflight = gateway.grid.meta.inflight_stripes().await?.len();
            let unconfirmed = gateway.grid.meta.unconfirmed_len().await?;
            let queued: Vec<usize> = self.validators.iter().map(Validator::queued).collect();
            let cheats = self.miners.iter().any(|miner| miner.manner() != Manner::Honest);
            // Services that remember the ledger of a gateway that is gone remember its stripes.
            let is_another = self.gateway.place() != GATEWAY;
            let is_quiet = inflight == 0
                && deletes == 0
                && unconfirmed == 0
                && (cheats || missing == 0 && (is_another || queued.iter().all(|queued| *queued == 0)));
            // Looking into every shard costs more than all else: only where nothing else is left to wait for, or at the end.
            let is_late = waited >= self.plan.settles_within;
            let census = if is_quiet || is_late { Some(self.census().await?) } else { None };
            // Of stripes that lie elsewhere now copies stay behind (docs/ARCHITECTURE.md).
            let epoch = self.chain.snapshot().epoch();
            let is_collected = self.plan.orphan_retention.is_some();
            let is_whole =
                |census: &Census| census.missing == 0 && (epoch > 1 && !is_collected || census.orphans == 0);
            let is_settled = is_quiet && census.as_ref().is_some_and(is_whole);
            trace!(
                "census {census:?}, to send {missing}, to delete {deletes}, in flight {inflight}, to confirm {unconfirmed}, to repair {queued:?}"
            );
            if is_settled {
                return Ok(());
            }
            ensure!(
                !is_late,
                "not settled {} s after everything healed: {census:?}, to send {missing}, to delete {deletes}, in flight \
                 {inflight}, to confirm {unconfirmed}, to repair {queued:?}",
                waited.as_secs()
            );
            sleep(LOOK).await;
            waited += LOOK;
        }
    }

    /// Waits, and sees that repair has nothing left to do: what it did once it does not do again.
    pub async fn rest(&self) -> anyhow::Result<()> {
        let Some(rests) = self.plan.rests else { return Ok(()) };
        sleep(rests).await;
        let moved = || self.validators.iter().map(Validator::moved_bytes).collect::<Vec<_>>();
        let before = moved();
        sleep(rests).await;
        trace!("repair has moved {before:?} bytes");
        ensure!(
            moved() == before,
            "repair goes on moving shards: {before:?} bytes, {:?} {rests:?} later",
            moved()
        );
        self.settle().await
    }

    /// The miner with a number in maps.
    pub fn miner_of(&self, uid: u32) -> Option<&Miner> {
        let snapshot = self.chain.snapshot();
        let node = snapshot.maps().find_map(|map| map.miner(uid)).map(|record| NodeId(record.node_id))?;
        self.miners.iter().find(|miner| miner.place.node() == node)
    }

    /// Verdicts of honest wardens against miners, by miner.
    pub fn convicted(&self) -> BTreeMap<usize, usize> {
        let mut convicted = BTreeMap::new();
        let liars: Vec<[u8; 32]> = self
            .wardens
            .iter()
            .filter(|warden| warden.is_lying())
            .map(|warden| warden.place.node().0)
            .collect();
        for record in self.chain.attestations() {
            if !liars.contains(&record.warden_pubkey)
                && matches!(record.result, AttestationResult::Failed | AttestationResult::InvalidProof)
                && let Some(miner) = self.miner_of(record.miner_uid)
            {
                *convicted.entry(miner.place.number).or_default() += 1;
            }
        }
        convicted
    }

    /// What must hold at the end, everything being settled.
    pub async fn check(&self) -> anyhow::Result<()> {
        for (number, verdicts) in self.convicted() {
            ensure!(
                !self.miners[number].is_blameless(),
                "{verdicts} verdicts against miner-{number}, which is honest"
            );
        }
        let (open, most) = self.network.open_calls();
        ensure!(open < 2 * self.miners.len() + 100, "{open} calls are open although nothing happens");
        ensure!(most < 200 * self.miners.len(), "{most} calls were open at once");
        self.check_disks()?;
        let Some(gateway) = self.gateway.running() else { anyhow::bail!("the gateway is down") };
        gateway.check_books(self.gateway.place(), &self.chain.snapshot()).await?;
        self.read_all("with every miner there").await?;
        self.cut_twenty_off();
        self.read_all("with twenty miners away").await?;
        self.network.heal();
        Ok(())
    }

    /// Nobody's files grow without bound, whatever has come and gone.
    fn check_disks(&self) -> anyhow::Result<()> {
        let miners = self.miners.iter().map(|miner| (miner.place, miner.disk_bytes(), MINER_BYTES_MAX));
        let daemon = |place, bytes| (place, bytes, DAEMON_BYTES_MAX);
        let validators = self.validators.iter().map(|it| daemon(it.place, it.disk_bytes()));
        let wardens = self.wardens.iter().map(|it| daemon(it.place, it.disk_bytes()));
        let gateway = daemon(self.gateway.place(), self.gateway.disk_bytes());
        let mut most = BTreeMap::new();
        for (place, bytes, bound) in miners.chain(validators).chain(wardens).chain([gateway]) {
            ensure!(bytes <= bound, "{} has {bytes} bytes on its disk", place.name());
            let most = most.entry(place.role).or_insert(0);
            *most = bytes.max(*most);
        }
        trace!("bytes on disks, at most: {most:?}");
        Ok(())
    }

    async fn read_all(&self, how: &str) -> anyhow::Result<()> {
        let Some(gateway) = self.gateway.running() else { anyhow::bail!("the gateway is down") };
        let keys = lock(&self.oracle).keys();
        for key in keys {
            let found = gateway.get(&key).await.with_context(|| format!("{key} cannot be read {how}"))?;
            lock(&self.oracle).check(&key, found.as_deref(), self.plan.day)?;
            let is_over = self.plan.day.is_some() && expires(&key);
            ensure!(!is_over || found.is_none(), "{key} should have expired");
        }
        Ok(())
    }

    /// No stripe has more than twenty shards on twenty miners; those that cheat are among them.
    fn cut_twenty_off(&self) {
        let members = self.members();
        let mut order: Vec<usize> =
            self.dice.some(members.len(), members.len()).into_iter().map(|at| members[at]).collect();
        order.sort_by_key(|number| self.miners[*number].manner() == Manner::Honest);
        self.network.cut_off(order.iter().take(LOST_MAX).map(|number| self.miners[*number].place.name()));
        self.note_away();
    }
}
