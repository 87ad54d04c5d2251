//! What is done to the network, and undone again.

use std::{
    collections::BTreeSet,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    delay::{Delay, Delays},
    network::Network,
    ports::PROXIES_MAX,
};

/// Miners that are in trouble at once, at most: with 36 of them every stripe finds more than its quorum.
pub(super) const IMPAIRED_MAX: usize = 8;
/// Miners that ever lose what they stored, at most: an acknowledged stripe has 20 shards and is read from 10.
pub(super) const DAMAGED_MAX: usize = 8;
/// Bytes that are flipped at once.
const FLIPPED: usize = 3;
/// How late packets are, each way, and how much more at random.
const DELAY_MS: std::ops::Range<u64> = 20..300;
const JITTER_MS: std::ops::Range<u64> = 5..200;
/// Size of the disk that is filled.
const SMALL_DISK: &str = "size=1g";
/// Set by `scripts/chaos` where it made namespaces of network and mounts for this process.
const NAMESPACES: &str = "ARION_CHAOS_NAMESPACES";

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub(super) enum Kind {
    /// Miners are killed with SIGKILL and started again.
    Kill,
    /// Miners are stopped with SIGSTOP and go on.
    Pause,
    /// A miner's store is deleted while it is down.
    Wipe,
    /// Bytes of a miner's store are flipped while it is down.
    Flip,
    /// The disk of a miner is full for a while.
    FullDisk,
    /// Packets to and from miners are dropped at random.
    Loss,
    /// Packets to miners and their answers are late and overtake each other.
    Delay,
    /// No packet gets to miners, or from them.
    Partition,
    /// The gateway is killed and started again.
    Gateway,
    /// The gateway is stopped and goes on.
    GatewayPause,
    /// The chain node is killed and started again.
    Node,
    /// A warden is killed and started again.
    Warden,
    /// The chain-submitter is killed and started again.
    Submitter,
    /// The validator service is killed and started again.
    Validator,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Kill,
        Self::Pause,
        Self::Wipe,
        Self::Flip,
        Self::FullDisk,
        Self::Loss,
        Self::Delay,
        Self::Partition,
        Self::Gateway,
        Self::GatewayPause,
        Self::Node,
        Self::Warden,
        Self::Submitter,
        Self::Validator,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Wipe => "wipe",
            Self::Flip => "flip",
            Self::FullDisk => "full disk",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Partition => "partition",
            Self::Gateway => "gateway",
            Self::GatewayPause => "gateway pause",
            Self::Node => "node",
            Self::Warden => "warden",
            Self::Submitter => "submitter",
            Self::Validator => "validator",
        }
    }

    fn needs_namespaces(self) -> bool {
        matches!(self, Self::FullDisk | Self::Loss | Self::Partition)
    }

    /// How often, relative to the others.
    fn share(self) -> u32 {
        match self {
            Self::Kill | Self::Pause => 5,
            Self::Loss | Self::Delay | Self::Partition | Self::Gateway => 3,
            Self::Wipe | Self::Flip | Self::FullDisk | Self::Node => 2,
            Self::GatewayPause | Self::Warden | Self::Submitter | Self::Validator => 1,
        }
    }

    /// Shortest and longest time, in ms.
    fn lasts(self) -> (u64, u64) {
        match self {
            Self::Kill => (1_000, 20_000),
            Self::Pause => (500, 12_000),
            Self::Wipe | Self::Flip => (500, 8_000),
            Self::FullDisk | Self::Loss | Self::Delay | Self::Partition => (5_000, 20_000),
            Self::Gateway => (100, 2_000),
            Self::GatewayPause => (300, 3_000),
            Self::Node | Self::Warden | Self::Submitter | Self::Validator => (500, 10_000),
        }
    }

    /// Miners that it takes at once.
    fn miners_max(self) -> usize {
        match self {
            Self::Kill | Self::Pause => 3,
            Self::Loss | Self::Delay | Self::Partition => 4,
            Self::Wipe | Self::Flip | Self::FullDisk => 1,
            _ => 0,
        }
    }

    fn is_damage(self) -> bool {
        matches!(self, Self::Wipe | Self::Flip)
    }
}

/// One that is under way.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub kind: Kind,
    /// For people.
    pub text: String,
    pub began: Instant,
    ends: Instant,
    /// The processes it is about.
    names: Vec<String>,
    /// Ports of those whose packets are dropped, and how many of a hundred.
    dropped: Option<(Vec<u16>, u32)>,
}

/// All of them.
pub(super) struct Faults {
    kinds: Vec<Kind>,
    miners: u16,
    dice: StdRng,
    active: Vec<Fault>,
    /// Miners that lost something.
    damaged: BTreeSet<String>,
    /// Where packets are delayed: before the first miners.
    delays: Option<Delays>,
}

impl Faults {
    /// Of these kinds, or of all that this machine allows.
    pub(super) fn new(only: &[Kind], miners: u16, dice: StdRng) -> anyhow::Result<Self> {
        let allowed = std::env::var_os(NAMESPACES).is_some();
        if let Some(kind) = only.iter().find(|kind| kind.needs_namespaces() && !allowed) {
            bail!(
                "`{}` needs namespaces: run scripts/chaos as root, where unshare and nft work",
                kind.name()
            );
        }
        let wanted = |kind: &Kind| only.is_empty() || only.contains(kind);
        let possible = |kind: &Kind| allowed || !kind.needs_namespaces();
        let kinds = Kind::ALL.into_iter().filter(|kind| wanted(kind) && possible(kind)).collect();
        Ok(Self { kinds, miners, dice, active: Vec::new(), damaged: BTreeSet::new(), delays: None })
    }

    /// Says what there will be, and what not.
    pub(super) fn names(&self) -> String {
        let (there, absent): (Vec<Kind>, Vec<Kind>) =
            Kind::ALL.into_iter().partition(|kind| self.kinds.contains(kind));
        let list = |kinds: &[Kind]| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        match absent.is_empty() {
            true => list(&there),
            false => format!("{}; not: {}", list(&there), list(&absent)),
        }
    }

    /// Miners that lost something.
    pub(super) fn damaged(&self) -> usize {
        self.damaged.len()
    }

    /// What has to be there before the network forms.
    pub(super) async fn prepare(&mut self, network: &mut Network) -> anyhow::Result<()> {
        if self.kinds.contains(&Kind::Delay) {
            network.put_behind_proxies(PROXIES_MAX);
            self.delays = Some(network.delays()?);
        }
        if self.kinds.contains(&Kind::FullDisk) {
            let directory = network.directory(&self.small_disk());
            std::fs::create_dir_all(&directory)?;
            run("mount", &["-t", "tmpfs", "-o", SMALL_DISK, "chaos", &directory.to_string_lossy()])?;
        }
        if self.kinds.iter().any(|kind| matches!(kind, Kind::Loss | Kind::Partition)) {
            run(
                "nft",
                &["add table inet chaos; add chain inet chaos input { type filter hook input priority 0; }"],
            )?;
        }
        Ok(())
    }

    /// The miner whose disk can be filled.
    fn small_disk(&self) -> String {
        Network::miner_name(self.miners - 1)
    }

    /// Begins a fault, if one that was drawn can be now.
    pub(super) async fn begin_one(
        &mut self,
        network: &mut Network,
        now: Instant,
    ) -> anyhow::Result<Option<Fault>> {
        // Drawn in any case, so that the order does not depend on what happens meanwhile.
        let kind = *self.kinds.choose_weighted(&mut self.dice, |kind| kind.share())?;
        let (least, most) = kind.lasts();
        let lasts = Duration::from_millis(self.dice.random_range(least..=most));
        let count = self.dice.random_range(1..=kind.miners_max().max(1));
        let percent = if kind == Kind::Loss { self.dice.random_range(2..=30) } else { 100 };
        let delay = Delay {
            least: Duration::from_millis(self.dice.random_range(DELAY_MS)),
            jitter: Duration::from_millis(self.dice.random_range(JITTER_MS)),
        };
        // Only the first are behind proxies.
        let reach = if kind == Kind::Delay { self.miners.min(PROXIES_MAX) } else { self.miners };
        let mut free: Vec<String> = (0..reach).map(Network::miner_name).collect();
        let mut chosen = Vec::new();
        for _ in 0..count {
            chosen.push(free.swap_remove(self.dice.random_range(0..free.len())));
        }
        let names = match kind {
            Kind::FullDisk => vec![self.small_disk()],
            Kind::Gateway | Kind::GatewayPause => vec!["gateway".to_owned()],
            Kind::Node => vec!["node-1".to_owned()],
            Kind::Submitter => vec!["submitter".to_owned()],
            Kind::Warden => vec![Network::warden_name(u16::from(self.dice.random::<bool>()))],
            Kind::Validator => vec![Network::validator_name(0)],
            _ => chosen,
        };
        let is_busy = |name: &String| self.active.iter().any(|fault| fault.names.contains(name));
        let names: Vec<String> = names.into_iter().filter(|name| !is_busy(name)).collect();
        let impaired = self.active.iter().filter(|fault| fault.kind.miners_max() > 0);
        let impaired: usize = impaired.map(|fault| fault.names.len()).sum();
        let too_many = kind.miners_max() > 0 && impaired + names.len() > IMPAIRED_MAX;
        let new_damage = kind.is_damage() && names.iter().any(|name| !self.damaged.contains(name));
        if names.is_empty() || too_many || (new_damage && self.damaged.len() >= DAMAGED_MAX) {
            return Ok(None);
        }
        let mut fault =
            Fault { kind, text: String::new(), began: now, ends: now + lasts, names, dropped: None };
        let what = self.apply(network, &mut fault, percent, delay)?;
        fault.text =
            format!("{}: {} for {:.1} s{what}", kind.name(), fault.names.join(" "), lasts.as_secs_f64());
        self.active.push(fault.clone());
        if fault.dropped.is_some() {
            self.drop_packets()?;
        }
        Ok(Some(fault))
    }

    fn apply(
        &mut self,
        network: &mut Network,
        fault: &mut Fault,
        percent: u32,
        delay: Delay,
    ) -> anyhow::Result<String> {
        match fault.kind {
            Kind::Kill | Kind::Gateway | Kind::Node | Kind::Warden | Kind::Submitter | Kind::Validator => {
                for name in &fault.names {
                    network.kill(name)?;
                }
            }
            Kind::Pause | Kind::GatewayPause => {
                for name in &fault.names {
                    signal(network, name, Signal::SIGSTOP);
                }
            }
            Kind::Wipe | Kind::Flip => {
                let name = &fault.names[0];
                network.kill(name)?;
                self.damaged.insert(name.clone());
                let what = match fault.kind {
                    Kind::Wipe => network.empty_store(name)?,
                    _ => flip(&network.directory(name).join("store/segments"), &mut self.dice)?,
                };
                return Ok(format!(", {what}"));
            }
            Kind::Delay => {
                self.delay(fault, delay)?;
                let (least, most) = (delay.least, delay.least + delay.jitter);
                return Ok(format!(", {} to {} ms each way", least.as_millis(), most.as_millis()));
            }
            Kind::FullDisk => fill(&ballast(network, &fault.names[0]))?,
            Kind::Loss | Kind::Partition => {
                let ports = fault.names.iter().map(|name| quic_port(network, name));
                fault.dropped = Some((ports.collect::<anyhow::Result<_>>()?, percent));
                return Ok(format!(", {percent} % of the packets"));
            }
        }
        Ok(String::new())
    }

    /// Ends the faults whose time is over.
    pub(super) async fn end_due(
        &mut self,
        network: &mut Network,
        now: Instant,
    ) -> anyhow::Result<Vec<Fault>> {
        let (over, active) =
            std::mem::take(&mut self.active).into_iter().partition(|fault| fault.ends <= now);
        self.active = active;
        self.end(network, over)
    }

    /// Ends all.
    pub(super) async fn end_all(&mut self, network: &mut Network) -> anyhow::Result<Vec<Fault>> {
        let over = std::mem::take(&mut self.active);
        self.end(network, over)
    }

    fn end(&mut self, network: &mut Network, over: Vec<Fault>) -> anyhow::Result<Vec<Fault>> {
        for fault in &over {
            match fault.kind {
                Kind::Pause | Kind::GatewayPause => {
                    for name in &fault.names {
                        signal(network, name, Signal::SIGCONT);
                    }
                }
                Kind::FullDisk => std::fs::remove_file(ballast(network, &fault.names[0]))?,
                Kind::Loss | Kind::Partition => {}
                Kind::Delay => self.delay(fault, Delay::default())?,
                _ => {
                    for name in &fault.names {
                        network.start(name)?;
                    }
                }
            }
        }
        if over.iter().any(|fault| fault.dropped.is_some()) {
            self.drop_packets()?;
        }
        Ok(over)
    }

    /// Delays the packets of these miners.
    fn delay(&self, fault: &Fault, delay: Delay) -> anyhow::Result<()> {
        let delays = self.delays.as_ref().context("there are no proxies")?;
        for name in &fault.names {
            delays.set(usize::from(miner(self.miners, name)?), delay)?;
        }
        Ok(())
    }

    /// Makes the rules anew from the faults under way.
    fn drop_packets(&self) -> anyhow::Result<()> {
        let mut rules = String::from("flush chain inet chaos input\n");
        for (ports, percent) in self.active.iter().filter_map(|fault| fault.dropped.as_ref()) {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            let some =
                if *percent < 100 { format!("numgen random mod 100 < {percent} ") } else { String::new() };
            for side in ["dport", "sport"] {
                rules +=
                    &format!("add rule inet chaos input udp {side} {{ {} }} {some}drop\n", ports.join(", "));
            }
        }
        let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("nft has no input")?.write_all(rules.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("nft refused its rules: {status}\n{rules}");
        }
        Ok(())
    }
}

fn signal(network: &mut Network, name: &str, signal: Signal) {
    // One that ended meanwhile is noticed elsewhere.
    if let Some((_, id)) = network.supervisor().running().into_iter().find(|(running, _)| running == name) {
        id.signal_group(signal);
    }
}

fn quic_port(network: &Network, name: &str) -> anyhow::Result<u16> {
    Ok(network.ports().miner_quic(miner(network.options().miners, name)?))
}

fn miner(miners: u16, name: &str) -> anyhow::Result<u16> {
    let found = (0..miners).find(|index| Network::miner_name(*index) == name);
    found.with_context(|| format!("{name} is no miner"))
}

fn ballast(network: &Network, name: &str) -> PathBuf {
    network.directory(name).join("ballast")
}

/// Takes all the room there is.
fn fill(path: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(path)?;
    let block = vec![0_u8; 1 << 20];
    while file.write_all(&block).is_ok() {}
    let block = [0_u8; 4_096];
    while file.write_all(&block).is_ok() {}
    Ok(())
}

/// Flips bits of the largest segment of a store.
fn flip(segments: &Path, dice: &mut StdRng) -> anyhow::Result<String> {
    let mut largest: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(segments).into_iter().flatten() {
        let entry = entry?;
        let (length, path) = (entry.metadata()?.len(), entry.path());
        if largest.as_ref().is_none_or(|(most, _)| length > *most) {
            largest = Some((length, path));
        }
    }
    let Some((length, path)) = largest.filter(|(length, _)| *length > 0) else {
        return Ok("an empty store: no byte to flip".to_owned());
    };
    let file = std::fs::File::options().read(true).write(true).open(&path)?;
    let mut places = Vec::new();
    for _ in 0..FLIPPED {
        let (at, bit) = (dice.random_range(0..length), dice.random_range(0..8));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        byte[0] ^= 1_u8 << bit;
        file.write_all_at(&byte, at)?;
        places.push(at.to_string());
    }
    file.sync_all()?;
    Ok(format!("bytes {} of {} flipped", places.join(", "), path.display()))
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}: install it"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn without_namespaces_faults_that_need_them_are_refused_by_name_and_left_out_of_all() {
        if std::env::var_os(NAMESPACES).is_some() {
            return;
        }
        let dice = || StdRng::seed_from_u64(1);
        let refused = Faults::new(&[Kind::Loss], 36, dice()).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("scripts/chaos"), "{refused}");
        let names = Faults::new(&[], 36, dice()).unwrap().names();
        assert!(
            names.starts_with("kill, pause, wipe") && names.ends_with("not: full disk, loss, partition"),
            "{names}"
        );
    }

    #[test]
    fn flips_change_the_largest_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("small"), [0; 10]).unwrap();
        std::fs::write(directory.path().join("large"), [0; 1_000]).unwrap();
        flip(directory.path(), &mut StdRng::seed_from_u64(1)).unwrap();
        let changed = |name: &str| {
            let bytes = std::fs::read(directory.path().join(name)).unwrap();
            bytes.iter().map(|byte| byte.count_ones()).sum::<u32>()
        };
        assert_eq!((changed("small"), changed("large")), (0, 3));
    }
}
