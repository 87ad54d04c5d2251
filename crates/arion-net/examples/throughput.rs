//! How fast bodies move on loopback: one client, many servers, each in its own place as miners would be.
//!
//! `cargo run --release -p arion-net --example throughput [SERVERS [MIB]]` prints MiB/s towards the servers and back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arion_net::{PeerAddr, QuicServer, QuicTransport, Service, Transport};
use arion_protocol::{Request, Response};
use arion_types::{NodeId, ShardHash, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

const SHARD_BYTES: usize = 1 << 20;

/// Swallows what is sent; answers `Fetch` with a shard.
struct Sink(Bytes);

#[async_trait]
impl Service for Sink {
    async fn serve(&self, _peer: NodeId, request: Request, _body: Bytes) -> (Response, Bytes) {
        match request {
            Request::Fetch { .. } => (Response::Shard { size: SHARD_BYTES as u32 }, self.0.clone()),
            _ => (Response::Pong { now: 0 }, Bytes::new()),
        }
    }
}

async fn round(
    client: &QuicTransport,
    peers: &[PeerAddr],
    shards: usize,
    request: &Request,
    body: &Bytes,
) -> f64 {
    let start = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    let window = peers.len() * 2;
    for number in 0..shards {
        if calls.len() >= window
            && let Some(Ok(Err(error))) = calls.join_next().await
        {
            eprintln!("{error}");
        }
        let (client, peer) = (client.clone(), peers[number % peers.len()].clone());
        let (request, body) = (request.clone(), body.clone());
        calls.spawn(async move { client.call(&peer, request, body, Duration::from_secs(60)).await });
    }
    while let Some(done) = calls.join_next().await {
        if let Ok(Err(error)) = done {
            eprintln!("{error}");
        }
    }
    shards as f64 / start.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: usize| args.next().map_or(Ok(default), |text| text.parse());
    let (servers, shards) = (number(30)?, number(600)?);
    let body = Bytes::from(vec![7; SHARD_BYTES]);
    let mut running = Vec::new();
    for server in 0..servers {
        let key = SigningKey::from_bytes(&[server as u8 + 1; 32]);
        let node_id = signing::node_id(&key);
        let server = QuicServer::bind(([127, 0, 0, 1], 0).into(), &key, Arc::new(Sink(body.clone())))?;
        let endpoint = server.local_addr().to_string();
        running.push((server, PeerAddr { node_id, endpoint }));
    }
    let peers: Vec<PeerAddr> = running.iter().map(|(_, peer)| peer.clone()).collect();
    let client = QuicTransport::new(&SigningKey::from_bytes(&[255; 32]))?;
    round(&client, &peers, servers, &Request::Ping, &Bytes::new()).await;
    for _ in 0..3 {
        let out = round(&client, &peers, shards, &Request::Ping, &body).await;
        let fetch = Request::Fetch { shard: ShardHash([0; 32]) };
        let back = round(&client, &peers, shards, &fetch, &Bytes::new()).await;
        println!("{servers} servers, {shards} shards of 1 MiB: {out:.0} MiB/s out, {back:.0} MiB/s back");
    }
    Ok(())
}
