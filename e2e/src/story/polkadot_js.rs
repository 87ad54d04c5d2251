//! A polkadot.js client on a lone development node.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};

use crate::{
    layout,
    network::{Network, Options},
    progress::Progress,
    story::{begin, client, within},
};

/// The client: what is run, and what it imports or runs.
const SCRIPTS: [&str; 11] = [
    "polkadot-js/client.mjs",
    "polkadot-js/wire.mjs",
    "polkadot-js/calls.mjs",
    "polkadot-js/answers.mjs",
    "polkadot-js/registration.mjs",
    "polkadot-js/marketplace.mjs",
    "polkadot-js/dapp-run.mjs",
    "polkadot-js/interface.mjs",
    "polkadot-js/wallet.mjs",
    "../examples/dapp/dapp.mjs",
    "../crush/vectors/chain.json",
];
const DEADLINE: Duration = Duration::from_secs(450);

/// Where the node runs.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that are reserved.
    #[arg(long, value_name = "P", default_value_t = 22_400)]
    base_port: u16,
}

/// Tells the story. The client counts and prints the last line.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (mut network, _lock) =
        begin("polkadot-js", arguments.base_port, Options { miners: 0, validators: 1 })?;
    let told = within(DEADLINE, tell(&mut network, &progress)).await;
    network.stop().await?;
    let (output, holds) = told?;
    // The node is gone: what the client said comes last.
    print!("{output}");
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn tell(network: &mut Network, progress: &Progress) -> anyhow::Result<(String, bool)> {
    network.start_chain(progress).await?;
    let program = client::beside_modules(&SCRIPTS)?;
    let (hash, built) = metadata_hash().await?;
    let output = tokio::process::Command::new("node")
        .arg(program)
        .arg(network.ws())
        .arg(hash)
        .arg(if built { "built" } else { "unbuilt" })
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .context("cannot run node")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.trim().is_empty() {
        bail!("the client said nothing: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((text, output.status.success()))
}

/// The hash of the node's metadata, and whether its runtime was built with it: that is for releases only.
async fn metadata_hash() -> anyhow::Result<(String, bool)> {
    let output = tokio::process::Command::new(layout::program("arion-node")?)
        .args(["metadata-hash", "--check"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run arion-node")?;
    let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if hash.is_empty() {
        bail!("arion-node metadata-hash: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok((format!("0x{hash}"), output.status.success()))
}
