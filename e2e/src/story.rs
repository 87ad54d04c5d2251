//! Stories: what a user of the network would do, told by real processes, each on a network of its own.

mod chain;
pub mod client;
pub mod demo;
mod gateway;
mod marketplace;
mod polkadot_js;
mod relay;
mod upgrade;

use std::process::ExitCode;

/// The stories `scripts/e2e` knows.
#[derive(clap::Subcommand, Debug)]
pub enum Story {
    /// The whole story with a file of 64 MiB.
    Demo(demo::Arguments),
    /// The whole story with a file of 12 MiB.
    DemoShort(demo::Arguments),
    /// Four validators: two are lost and come back, one joins, one cheats; in between the story of the marketplace.
    Chain(chain::Arguments),
    /// Credits are bought, services paid and refunded, revenue settled to the unit.
    Marketplace(marketplace::Arguments),
    /// S3 clients nobody here wrote, the snippets of docs/use, and a gateway that is killed.
    Gateway(gateway::Arguments),
    /// A miner behind a NAT, in network namespaces: through a relay, then directly. Needs root.
    Relay(relay::Arguments),
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
            Self::Marketplace(arguments) => marketplace::run(&arguments).await,
            Self::Gateway(arguments) => gateway::run(&arguments).await,
            Self::Relay(arguments) => relay::run(&arguments).await,
            Self::PolkadotJs(arguments) => polkadot_js::run(&arguments).await,
            Self::Upgrade(arguments) => upgrade::run(&arguments).await,
        }
    }
}
