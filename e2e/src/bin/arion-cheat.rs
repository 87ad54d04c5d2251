//! A miner that cheats, for stories: it answers with a miner's key at a miner's address, in front of the honest one.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use arion_chain::ChainClient;
use arion_e2e::{
    cheat::{Cheat, Others, Strategy},
    cli::asked_to_end,
};
use arion_net::{PeerAddr, QuicServer, QuicTransport};
use arion_types::{NodeId, signing};
use clap::Parser;
use ed25519_dalek::SigningKey;

const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// Answers for a miner by a strategy of cheating. For local networks: nothing else has a use for it.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// How it cheats.
    #[arg(long)]
    strategy: Strategy,
    /// File of the miner's node key.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The miner's address in the map.
    #[arg(long)]
    listen: SocketAddr,
    /// Where the honest miner with the same key listens.
    #[arg(long)]
    behind: SocketAddr,
    /// WebSocket URL of a chain node.
    #[arg(long, value_name = "URL")]
    node: String,
    /// Node id of the gateway.
    #[arg(long, value_name = "NODE_ID")]
    gateway_id: NodeId,
    /// QUIC address of the gateway.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { strategy, key_file, listen, behind, node, gateway_id, gateway } = arguments;
    let text =
        std::fs::read_to_string(&key_file).with_context(|| format!("cannot read {}", key_file.display()))?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed)
        .with_context(|| format!("{} holds no key", key_file.display()))?;
    let key = SigningKey::from_bytes(&seed);
    let map = ChainClient::connect(&node, None).await?.current_map().await?;
    let map = map.context("the chain has no map yet")?;
    let others = Others::new(&map, PeerAddr { node_id: gateway_id, endpoint: gateway })?;
    let transport = Arc::new(QuicTransport::new(&key)?);
    let behind = PeerAddr { node_id: signing::node_id(&key), endpoint: behind.to_string() };
    let cheat = Cheat::new(strategy, behind, transport, others);
    let server = QuicServer::bind(listen, &key, Arc::new(cheat))?;
    println!("{} listens on {}", strategy.name(), server.local_addr());
    let reason = asked_to_end().await?;
    println!("{reason}");
    server.shutdown(STOP_DEADLINE).await;
    Ok(())
}
