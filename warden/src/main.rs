//! The warden: audits what miners have signed for.

use clap::Parser;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    arion_warden::cli::Cli::parse().run().await
}
