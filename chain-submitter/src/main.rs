//! The chain-submitter: carries signed attestations of wardens to the chain.

use clap::Parser;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    arion_submitter::cli::Cli::parse().run().await
}
