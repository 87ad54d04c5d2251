//! The validator service: takes heartbeats of miners and votes for placement maps.

use clap::Parser;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    arion_validator::cli::Cli::parse().run().await
}
