//! A chain of an earlier runtime takes the runtime of this build, live, and goes on.
//!
//! Three chain nodes of this build run a chain whose genesis has the earlier code; a polkadot.js client tells the rest.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{
    layout,
    network::{Network, Options},
    progress::Progress,
    story::{begin, client, within},
};

/// The client: what is run, and what it imports.
const SCRIPTS: [&str; 4] =
    ["polkadot-js/upgrade.mjs", "polkadot-js/calls.mjs", "polkadot-js/answers.mjs", "polkadot-js/wire.mjs"];
const VALIDATORS: u16 = 3;
const DEADLINE: Duration = Duration::from_secs(20 * 60);
/// What the genesis of the first version knows: pallets, and kinds of session keys.
const FIRST_PALLETS: [&str; 4] = ["babe", "balances", "session", "sudo"];
const FIRST_KEYS: [&str; 2] = ["babe", "grandpa"];

/// Where the nodes run, and what they begin with.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Runtime of the first version, wasm; `scripts/nightly chain_upgrade` builds it from the history of the repository.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// First of the 300 ports that are reserved.
    #[arg(long, value_name = "P", default_value_t = 23_600)]
    base_port: u16,
}

/// Tells the story. The client counts and prints the last line.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (mut network, _lock) =
        begin("upgrade", arguments.base_port, Options { miners: 0, validators: VALIDATORS })?;
    let told = within(DEADLINE, tell(&mut network, &progress, &arguments.from)).await;
    network.stop().await?;
    let (output, holds) = told?;
    // The nodes are gone: what the client said comes last.
    print!("{output}");
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn tell(network: &mut Network, progress: &Progress, from: &Path) -> anyhow::Result<(String, bool)> {
    let code = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let plain = first_genesis(
        &node(&["export-chain-spec", "--chain", &format!("local:{VALIDATORS}")]).await?,
        &code,
    )?;
    let directory = network.layout().root().to_owned();
    let (first, new) = (directory.join("first.json"), directory.join("new.wasm"));
    std::fs::write(&first, plain).with_context(|| format!("cannot write {}", first.display()))?;
    let exported = node(&["export-runtime", "--output", &new.to_string_lossy()]).await?;
    progress.say(format!("new runtime: {}", String::from_utf8_lossy(&exported).trim()));
    network.begin_with(first);
    network.start_chain(progress).await?;

    let program = client::beside_modules(&SCRIPTS)?;
    let output = tokio::process::Command::new("node")
        .arg(program)
        .arg(network.ws())
        .arg(new)
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .context("cannot run node")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.trim().is_empty() {
        bail!("the client said nothing: {}", String::from_utf8_lossy(&output.stderr));
    }
    if let Some((name, ending)) = network.ended()?.first() {
        bail!("{name} {ending}; the client said:\n{text}");
    }
    Ok((text, output.status.success()))
}

/// What a command of the node prints.
async fn node(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = tokio::process::Command::new(layout::program("arion-node")?)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run arion-node")?;
    if !output.status.success() {
        bail!("arion-node {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// The same chain as the first version would have begun it: its code, its pallets, its keys.
fn first_genesis(spec: &[u8], code: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut spec: Value = serde_json::from_slice(spec).context("arion-node wrote no JSON")?;
    spec["id"] = "arion-upgrade".into();
    let genesis = &mut spec["genesis"]["runtimeGenesis"];
    genesis["code"] = format!("0x{}", hex::encode(code)).into();
    let patch = genesis["patch"].as_object_mut().context("the specification has no patch")?;
    patch.retain(|pallet, _| FIRST_PALLETS.contains(&pallet.as_str()));
    let all = patch["session"]["keys"].as_array_mut().context("the specification has no session keys")?;
    for keys in all {
        let kinds = keys[2].as_object_mut().context("session keys are no object")?;
        kinds.retain(|kind, _| FIRST_KEYS.contains(&kind.as_str()));
    }
    Ok(serde_json::to_vec(&spec)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_genesis_has_only_what_the_first_version_knew() {
        let spec = r#"{"id":"x","genesis":{"runtimeGenesis":{"code":"0x00","patch":{
            "babe":{"c":1},"staking":{},"session":{"keys":[["a","a",{"babe":"b","grandpa":"g","reporter":"r"}]]}}}}}"#;
        let first: Value = serde_json::from_slice(&first_genesis(spec.as_bytes(), &[1, 2]).unwrap()).unwrap();
        assert_eq!(
            first["genesis"]["runtimeGenesis"],
            serde_json::json!({"code": "0x0102", "patch": {
                "babe": {"c": 1}, "session": {"keys": [["a", "a", {"babe": "b", "grandpa": "g"}]]}}})
        );
        assert!(first_genesis(b"{}", &[]).is_err());
    }
}
