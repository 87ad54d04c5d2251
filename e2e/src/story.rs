//! Stories: what a user of the network would do, told by real processes, each on a network of its own.

mod audit;
mod billing;
mod books;
mod chain;
mod chaos;
mod cheats;
pub mod client;
pub mod demo;
mod gateway;
mod heal;
mod load;
mod marketplace;
mod payout;
mod picture;
mod polkadot_js;
mod relay;
mod replicas;
mod submitter;
mod upgrade;

use std::{process::ExitCode, time::Duration};

use crate::{
    cli::asked_to_end,
    layout::{DirectoryLock, Layout},
    network::{Network, Options},
    ports::Ports,
    progress::{Progress, show},
    report::Report,
};

/// The stories `scripts/e2e` knows.
#[derive(clap::Subcommand, Debug)]
pub enum Story {
    /// The whole story with a file of 64 MiB.
    Demo(demo::Arguments),
    /// The whole story with a file of 12 MiB.
    DemoShort(demo::Arguments),
    /// Continuous S3 load while processes are killed, stopped, wiped and cut off; `scripts/chaos` calls it.
    Chaos(chaos::Arguments),
    /// Four validators: two are lost and come back, one joins, one cheats; in between the story of the marketplace.
    Chain(chain::Arguments),
    /// Credits are bought, services paid and refunded, revenue settled to the unit.
    Marketplace(marketplace::Arguments),
    /// An account on chain is billed for what it stores, runs out of credits, and pays again; miners are paid for it.
    Billing(billing::Arguments),
    /// Families that store well, slowly, half of the time, not at all, and since lately: paid what a sheet beside the chain says.
    Payout(payout::Arguments),
    /// S3 clients nobody here wrote, the snippets of docs/use, and a gateway that is killed.
    Gateway(gateway::Arguments),
    /// Two replicas of a gateway on one PostgreSQL: each is killed under load, and so is the database.
    Replicas(replicas::Arguments),
    /// A family is lost: its miners leave the map, and every shard is brought to the miner that the next one names.
    Heal(heal::Arguments),
    /// A miner behind a NAT, in network namespaces: through a relay, then directly. Needs root.
    Relay(relay::Arguments),
    /// Miners cheat, each in its way: when wardens find them, and what it costs them.
    Cheats(cheats::Arguments),
    /// An epoch ends, its bundle is committed to, and a stranger checks it.
    Audit(audit::Arguments),
    /// The chain-submitter against a real node: killed, stopped, without funds, with a full bucket, and two of them.
    Submitter(submitter::Arguments),
    /// A polkadot.js client on a lone development node.
    PolkadotJs(polkadot_js::Arguments),
    /// A chain of the first version takes the runtime of this build and goes on.
    Upgrade(upgrade::Arguments),
}

impl Story {
    /// Tells the story; the exit code says whether it held.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Demo(arguments) => demo::run(&arguments, "demo").await,
            Self::DemoShort(arguments) => demo::run(&arguments, "demo-short").await,
            Self::Chain(arguments) => chain::run(&arguments).await,
            Self::Chaos(arguments) => chaos::run(&arguments).await,
            Self::Marketplace(arguments) => marketplace::run(&arguments).await,
            Self::Billing(arguments) => billing::run(&arguments).await,
            Self::Payout(arguments) => payout::run(&arguments).await,
            Self::Gateway(arguments) => gateway::run(&arguments).await,
            Self::Replicas(arguments) => replicas::run(&arguments).await,
            Self::Heal(arguments) => heal::run(&arguments).await,
            Self::Relay(arguments) => relay::run(&arguments).await,
            Self::Audit(arguments) => audit::run(&arguments).await,
            Self::Cheats(arguments) => cheats::run(&arguments).await,
            Self::Submitter(arguments) => submitter::run(&arguments).await,
            Self::PolkadotJs(arguments) => polkadot_js::run(&arguments).await,
            Self::Upgrade(arguments) => upgrade::run(&arguments).await,
        }
    }
}

/// A network of its own for a story, in a directory of its own, which is its as long as the lock lives.
fn begin(name: &str, base_port: u16, options: Options) -> anyhow::Result<(Network, DirectoryLock)> {
    let ports = Ports::new(base_port).map_err(anyhow::Error::msg)?;
    let mut network = Network::new(Layout::of_story(name, base_port)?, ports, options);
    let lock = network.take(true)?;
    show(&format!("{name}: network of its own in {}\n", network.layout().root().display()));
    Ok((network, lock))
}

/// Tells a story, unless it takes longer than that or somebody asks to end.
async fn within<T>(deadline: Duration, story: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        told = tokio::time::timeout(deadline, story) => {
            told.unwrap_or_else(|_| Err(anyhow::anyhow!("not done within {} s", deadline.as_secs())))
        }
        reason = asked_to_end() => Err(anyhow::anyhow!("{}", reason?)),
    }
}

/// Stops the network of a story, which may have ended early, and concludes.
async fn end(
    mut network: Network,
    lock: &DirectoryLock,
    mut report: Report,
    progress: &Progress,
    told: anyhow::Result<()>,
) -> ExitCode {
    if let Err(error) = told {
        report.error("the story ended early", &error);
    }
    let stopped = network.stop().await.map(|late| late.is_empty());
    report.check_result("every process ends when it is told to", stopped);
    conclude(&network, lock, &report, progress)
}

/// Says where the logs are and what held; the exit code says whether all of it did. Whoever looks into what did not hold
/// needs what the processes stored; nobody else does.
fn conclude(network: &Network, lock: &DirectoryLock, report: &Report, progress: &Progress) -> ExitCode {
    if report.holds()
        && let Err(error) = network.layout().keep_logs(lock)
    {
        show(&format!("\nwhat the network stored stays in {}: {error}\n", network.layout().root().display()));
    }
    show(&format!("\nlogs in {}, {:.0} s\n", network.layout().logs().display(), progress.seconds()));
    show(&format!("{}\n", report.summary()));
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
