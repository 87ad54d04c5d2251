//! The whole story: a file goes in, 20 of the 30 miners of a stripe die, it comes back, cheaters are found, strangers refused.
//!
//! Every check looks at what a user or a third party can see: S3 answers, the finalised chain over RPC, miners'
//! public answers, `/proc` and ports. The story cleans up after itself, however it ends.

mod audit;
mod formation;
mod loss;
mod objects;
mod refusals;
mod weights;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    layout::Layout,
    network::{Network, Options},
    ports::{MINERS_MAX, Ports},
    process::ProcessId,
    progress::{Progress, show},
    report::Report,
    story::{conclude, within},
};

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(25 * 60);
const MIB: u64 = 1 << 20;

/// What the story is told with.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// File to store [default: 64 MiB (12 MiB in the short story) made from a fixed seed].
    file: Option<PathBuf>,
    /// Size of the generated file in MiB.
    #[arg(long, value_name = "N", conflicts_with = "file")]
    size_mib: Option<u64>,
    /// Storage miners, two per family.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(30..=MINERS_MAX as i64))]
    miners: u16,
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 22_000)]
    base_port: u16,
    /// Directory of the network of the story; whatever a network left there is deleted.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seed of the random choices (which miners die) [default: another one each time].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// What the steps share.
struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
    dice: StdRng,
    file: PathBuf,
}

/// Tells the story under this name. The exit code says whether every check held.
pub async fn run(arguments: &Arguments, name: &str) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let ports = Ports::new(arguments.base_port).map_err(anyhow::Error::msg)?;
    let layout = match &arguments.data {
        Some(path) => Layout::new(Some(path), arguments.base_port)?,
        None => Layout::of_story(name, arguments.base_port)?,
    };
    let options = Options { miners: arguments.miners, validators: 1 };
    let mut network = Network::new(layout, ports, options);
    let lock = network.take(true)?;

    if let Some(file) = &arguments.file {
        std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    show(&format!(
        "{name}: network of its own in {}, seed of random choices {seed}\n",
        network.layout().root().display()
    ));
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => {
            let size = arguments.size_mib.unwrap_or(if name == "demo-short" { 12 } else { 64 });
            objects::generate(&network.layout().of("files"), size * MIB)?
        }
    };
    let report = Report::new(name);
    let mut stage = Stage { network, report, progress, dice: StdRng::seed_from_u64(seed), file };

    let told = within(DEADLINE, tell(&mut stage)).await;
    if let Err(error) = told {
        stage.report.error("the story ended early", &error);
    }
    stop(&mut stage).await;
    let Stage { report, progress, network, .. } = stage;
    Ok(conclude(&network, &lock, &report, &progress))
}

async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let chain = formation::step(stage).await?;
    let objects = objects::step(stage).await?;
    loss::census_step(stage, &objects).await?;
    loss::step(stage, &chain, &objects).await?;
    audit::step(stage, &chain, &objects).await?;
    refusals::step(stage, &chain).await?;
    weights::step(stage, &chain).await
}

async fn stop(stage: &mut Stage) {
    stage.report.step(8, "stop: no process is left, no port is open");
    let processes: Vec<(String, ProcessId)> = stage.network.supervisor().running();
    match stage.network.stop().await {
        Ok(late) => {
            stage.report.observed(format!("{} processes were asked to stop with SIGTERM", processes.len()));
            stage.report.check(format!("all ended by themselves{}", listed(&late)), late.is_empty());
        }
        Err(error) => stage.report.error("stopping", &error),
    }
    let left: Vec<String> =
        processes.iter().filter(|(_, id)| id.is_alive()).map(|(name, _)| name.clone()).collect();
    stage.report.check(format!("no process is left{}", listed(&left)), left.is_empty());
    let open: Vec<String> = stage.network.ports().taken().iter().map(u16::to_string).collect();
    stage.report.check(format!("no port is open{}", listed(&open)), open.is_empty());
}

/// `: a, b` for a check's line; nothing when there is nothing.
fn listed(items: &[String]) -> String {
    const SHOWN: usize = 6;
    match items.len() {
        0 => String::new(),
        n if n <= SHOWN => format!(": {}", items.join(", ")),
        n => format!(": {}, and {} more", items[..SHOWN].join(", "), n - SHOWN),
    }
}

/// The miner of the network with a node id.
fn miner_named(network: &Network, node_id: &[u8; 32]) -> anyhow::Result<String> {
    for index in 0..network.options().miners {
        let name = Network::miner_name(index);
        if network.node_id(&name)?.0 == *node_id {
            return Ok(name);
        }
    }
    anyhow::bail!("no miner of this network has the node id {}", hex::encode(node_id))
}
