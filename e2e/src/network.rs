//! One network: which processes it has, and what they are told.
//!
//! How it comes to life on chain is in `form`.

pub mod behind_nat;
pub mod chain_nodes;
mod cheats;
mod environment;
mod form;
mod gateways;
mod keys;
mod plan;
pub mod registration;
mod shards;
mod submitters;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};

use crate::{
    delay::Delays,
    layout::{DirectoryLock, Layout},
    ports::{PROXIES_MAX, Ports},
    process::ProcessId,
    state::{Phase, S3Access, State},
    supervisor::Supervisor,
};

/// How large a network is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Storage miners; two share a family where nothing else is said.
    pub miners: u16,
    /// Chain nodes that produce blocks, each with a validator service.
    pub validators: u16,
}

/// Wardens of every network.
pub const WARDENS: u16 = 2;
/// Memory of the gateway for shards read lately: what is read comes from the miners.
pub const READ_CACHE: &str = "0B";
/// A miner may be silent for this long before the map goes on without it: longer than a story lets one be.
pub const OUT_AFTER: &str = "10m";
/// How long validator services leave what they find alone: stories that lose shards on purpose look at them first.
pub const REPAIR_DELAY: &str = "30m";
/// Miners of a family.
pub const FAMILY: u16 = 2;
/// How long a process may take until its health page answers.
const HEALTHY_DEADLINE: Duration = Duration::from_secs(60);

/// A network of this process.
pub struct Network {
    layout: Layout,
    ports: Ports,
    options: Options,
    supervisor: Supervisor,
    phase: Phase,
    specification: Option<PathBuf>,
    genesis: Option<String>,
    s3: Option<S3Access>,
    behind_nat: Option<behind_nat::BehindNat>,
    takes_snapshots: bool,
    bills_every: Option<String>,
    drops_dead_after: Option<String>,
    makes_bundles: bool,
    read_cache: String,
    out_after: String,
    repair_delay: String,
    surplus_after: Option<String>,
    orphan_retention: Option<String>,
    family: u16,
    repair_rate: Option<String>,
    proxies: u16,
    replicas: Option<gateways::Replicas>,
    puts_ledger_into_bucket: bool,
}

impl Network {
    /// A network that is not running yet.
    pub fn new(layout: Layout, ports: Ports, options: Options) -> Self {
        let supervisor = Supervisor::default();
        Self {
            layout,
            ports,
            options,
            supervisor,
            phase: Phase::Forming,
            specification: None,
            genesis: None,
            s3: None,
            behind_nat: None,
            takes_snapshots: false,
            bills_every: None,
            drops_dead_after: None,
            makes_bundles: false,
            read_cache: READ_CACHE.to_owned(),
            out_after: OUT_AFTER.to_owned(),
            repair_delay: REPAIR_DELAY.to_owned(),
            surplus_after: None,
            orphan_retention: None,
            family: FAMILY,
            repair_rate: None,
            proxies: 0,
            replicas: None,
            puts_ledger_into_bucket: true,
        }
    }

    /// Has validator services repair at once what they find.
    pub fn repair_at_once(&mut self) {
        self.repair_after("0s".to_owned());
    }

    /// Has validator services leave what they find alone for this long.
    pub fn repair_after(&mut self, delay: String) {
        self.repair_delay = delay;
    }

    /// Puts so many miners into each family; the last may have fewer.
    pub fn group_miners_by(&mut self, family: u16) {
        self.family = family.max(1);
    }

    /// The family of a miner, both counted from 0.
    pub fn family_of(&self, miner: u16) -> u16 {
        miner / self.family
    }

    /// Families.
    pub fn families(&self) -> u16 {
        self.options.miners.div_ceil(self.family)
    }

    /// Has the gateway give up copies that a map does not name when it has been in force for this long.
    pub fn give_up_surplus_after(&mut self, time: String) {
        self.surplus_after = Some(time);
    }

    /// Has miners delete what no ledger has named for this long.
    pub fn collect_orphans_after(&mut self, time: String) {
        self.orphan_retention = Some(time);
    }

    /// Has each validator service read and write so many bytes of shards a second at most, not its default.
    pub fn repair_at_rate(&mut self, rate: String) {
        self.repair_rate = Some(rate);
    }

    /// Has others reach the first miners through proxies, which [`Network::delays`] makes.
    pub fn put_behind_proxies(&mut self, miners: u16) {
        self.proxies = miners.min(PROXIES_MAX);
    }

    /// The proxies before the first miners.
    pub fn delays(&self) -> anyhow::Result<Delays> {
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let pair = |index| (address(self.ports.proxy(index)), address(self.ports.miner_quic(index)));
        Delays::before(&(0..self.proxies).map(pair).collect::<Vec<_>>())
    }

    /// Lets the gateway keep as much of what was read lately.
    pub fn cache_reads(&mut self, bytes: String) {
        self.read_cache = bytes;
    }

    /// Has the map go on without a miner that is silent for this long.
    pub fn leave_out_after(&mut self, silence: String) {
        self.out_after = silence;
    }

    /// Has the gateway make snapshots of its metadata, which its owner pays for.
    pub fn take_snapshots(&mut self) {
        self.takes_snapshots = true;
    }

    /// Has the gateway commit to its ledger and bill what accounts of the chain store, which its owner pays for.
    pub fn bill(&mut self, interval: &str) {
        self.bills_every = Some(interval.to_owned());
        self.put_ledger_into_no_bucket();
    }

    /// Has the gateway store nothing but what its users do: for stories that account for every byte.
    pub fn put_ledger_into_no_bucket(&mut self) {
        self.puts_ledger_into_bucket = false;
    }

    /// Has the gateway commit to its ledger, and drop lines that nothing needs when the chain has known it for so long.
    pub fn drop_dead_lines_after(&mut self, time: &str) {
        self.drops_dead_after = Some(time.to_owned());
    }

    /// Has the chain-submitter make bundles of epochs that are over and store them with the gateway.
    pub fn make_bundles(&mut self) {
        self.makes_bundles = true;
    }

    /// Begins the chain with the genesis of a specification, not with the one of the node's binary.
    pub fn begin_with(&mut self, specification: PathBuf) {
        self.specification = Some(specification);
    }

    /// Takes directory and ports for this network, or says who has them.
    pub fn take(&mut self, fresh: bool) -> anyhow::Result<DirectoryLock> {
        let lock = self.layout.take(fresh)?;
        let taken = self.ports.taken();
        if let Some(first) = taken.first() {
            let ports: Vec<String> = taken.iter().map(u16::to_string).collect();
            bail!(
                "the network needs the ports {} to {}, and of these something uses {}: find out what with \
                 `ss -lntup 'sport = :{first}'`, or choose another block with --base-port",
                self.ports.base(),
                self.ports.base() + (crate::ports::BLOCK - 1),
                ports.join(", ")
            );
        }
        Ok(lock)
    }

    /// Where its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// How large it is.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Its processes.
    pub fn supervisor(&mut self) -> &mut Supervisor {
        &mut self.supervisor
    }

    /// Access to its S3 endpoint, once it has formed.
    pub fn s3(&self) -> anyhow::Result<&S3Access> {
        self.s3.as_ref().context("the network has no S3 key yet")
    }

    /// WebSocket URL of the first chain node.
    pub fn ws(&self) -> String {
        format!("ws://{}", self.node_rpc(0))
    }

    /// `host:port` of a chain node's JSON-RPC.
    pub fn node_rpc(&self, index: u16) -> String {
        local(self.ports.node_rpc(index))
    }

    /// Name of a miner, counted from 0.
    pub fn miner_name(index: u16) -> String {
        format!("miner-{:02}", index + 1)
    }

    /// Name of a miner's family, counted from 0.
    pub fn family_name(family: u16) -> String {
        format!("family-{:02}", family + 1)
    }

    /// Name of a validator service, counted from 0.
    pub fn validator_name(index: u16) -> String {
        format!("validator-{}", index + 1)
    }

    /// Name of a warden, counted from 0.
    pub fn warden_name(index: u16) -> String {
        format!("warden-{}", index + 1)
    }

    /// Directory of a process.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.layout.of(name)
    }

    /// Starts a process that is not running.
    pub fn start(&mut self, name: &str) -> anyhow::Result<ProcessId> {
        let id = self.supervisor.start(name)?;
        self.save()?;
        Ok(id)
    }

    /// Starts processes and waits until all of them are healthy.
    pub async fn start_healthy(&mut self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            self.supervisor.start(name)?;
        }
        self.save()?;
        for name in names {
            self.supervisor.wait_healthy(name, HEALTHY_DEADLINE).await?;
        }
        Ok(())
    }

    /// Kills a process with SIGKILL.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        self.supervisor.kill(name)?;
        self.save()
    }

    /// Stops a process; an error says that it had to be killed.
    pub async fn stop_one(&mut self, name: &str) -> anyhow::Result<Duration> {
        let took = self.supervisor.stop(name).await;
        self.save()?;
        took
    }

    /// Stops everything. Returns the names of processes that had to be killed.
    pub async fn stop(&mut self) -> anyhow::Result<Vec<String>> {
        let late = self.supervisor.stop_all().await?;
        self.phase = Phase::Stopped;
        self.save()?;
        Ok(late)
    }

    /// Processes that ended by themselves since the last call, with how they ended.
    pub fn ended(&mut self) -> anyhow::Result<Vec<(String, String)>> {
        let ended = self.supervisor.reap();
        if !ended.is_empty() {
            self.save()?;
        }
        Ok(ended)
    }

    /// How many lines of the log of a process contain a text.
    pub fn lines_of(&self, name: &str, text: &str) -> anyhow::Result<usize> {
        let path = self.layout.log(name);
        let log = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&log).lines().filter(|line| line.contains(text)).count())
    }

    /// What `status` shows.
    pub fn state(&mut self) -> State {
        State {
            phase: self.phase,
            base_port: self.ports.base(),
            supervisor: ProcessId::current(),
            ws: self.ws(),
            genesis: self.genesis.clone(),
            s3: self.s3.clone(),
            directory: self.layout.root().to_owned(),
            logs: self.layout.logs(),
            environment: self.s3.as_ref().map(|_| self.environment_file()),
            processes: self.supervisor.states(),
        }
    }

    fn save(&mut self) -> anyhow::Result<()> {
        self.state().save()
    }
}

/// `127.0.0.1:port`.
pub fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
