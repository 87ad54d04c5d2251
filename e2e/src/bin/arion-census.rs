//! Are the shards of an object where anybody computes that they must be, and nowhere else?
//!
//! Reads the finalised maps over RPC, runs `crush`, asks every miner of the maps. Needs no key and no role.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use arion_chain::ChainClient;
use arion_e2e::census;
use arion_net::QuicTransport;
use clap::Parser;
use ed25519_dalek::SigningKey;

/// Compares where the shards of an object are with where CRUSH says they must be.
///
/// Prints what it found as JSON. Exit code 0: every shard is on the miner that CRUSH names, on no other, and no
/// family has more of a stripe than the map allows.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// WebSocket URL of a chain node.
    #[arg(long, value_name = "URL")]
    node: String,
    /// The gateway's answer to /v1/locate for the object: a JSON file, `-` for standard input.
    stripes: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let text = if arguments.stripes.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(&arguments.stripes)
            .with_context(|| format!("cannot read {}", arguments.stripes.display()))?
    };
    let stripes = census::read_stripes(&serde_json::from_str(&text).context("the stripes are no JSON")?)?;
    let chain = ChainClient::connect(&arguments.node, None).await?;
    let mut maps = BTreeMap::new();
    for epoch in stripes.iter().map(|stripe| stripe.epoch).collect::<BTreeSet<_>>() {
        let map = chain.map_at(epoch).await?;
        maps.insert(epoch, map.with_context(|| format!("the chain has no map of epoch {epoch}"))?);
    }
    // Whoever is in the current map could have a shard too much.
    if let Some(current) = chain.current_map().await? {
        maps.insert(current.epoch, current);
    }
    let transport = Arc::new(QuicTransport::new(&SigningKey::from_bytes(&rand::random()))?);
    let census = census::take(&maps, transport, &stripes).await?;
    println!("{}", serde_json::to_string_pretty(&census)?);
    Ok(census.holds)
}
