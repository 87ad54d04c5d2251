//! Shards through a relay beside shards over a direct path: one process, loopback, no target.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made ends here")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arion_net::{
    Admission, PeerAddr, QuicServer, QuicTransport, RelayAddr, RelayOptions, RelayServer, Service, Transport,
};
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{NodeId, ShardHash, signing};
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tokio::task::JoinSet;

const SHARD_BYTES: usize = 1 << 20;
const RUN: Duration = Duration::from_secs(5);
const CALL: Duration = Duration::from_secs(30);

struct Everybody;

impl Admission for Everybody {
    fn may_attach(&self, _: &NodeId) -> Result<(), ErrorCode> {
        Ok(())
    }

    fn may_reach(&self, _: &NodeId) -> Result<(), ErrorCode> {
        Ok(())
    }
}

/// Takes shards and gives one.
struct Shelf(Bytes);

#[async_trait]
impl Service for Shelf {
    async fn serve(&self, _: NodeId, request: Request, body: Bytes) -> (Response, Bytes) {
        match request {
            Request::Fetch { .. } => (Response::Shard { size: self.0.len() as u32 }, self.0.clone()),
            _ => (Response::Pong { now: body.len() as u64 }, Bytes::new()),
        }
    }
}

/// Bytes of a second, in MiB, with so many calls at once.
async fn rate(client: &QuicTransport, peer: &PeerAddr, store: bool, at_once: usize) -> f64 {
    let shard = Bytes::from(vec![7; SHARD_BYTES]);
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let (client, peer, shard) = (client.clone(), peer.clone(), shard.clone());
        callers.spawn(async move {
            let mut shards = 0;
            while start.elapsed() < RUN {
                let (request, body) = match store {
                    true => (Request::Attest, shard.clone()),
                    false => (Request::Fetch { shard: ShardHash([1; 32]) }, Bytes::new()),
                };
                client.call(&peer, request, body, CALL).await.unwrap();
                shards += 1;
            }
            shards
        });
    }
    let shards: usize = callers.join_all().await.into_iter().sum();
    shards as f64 / start.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    // What cargo passes to every bench, and to tests of benches.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let key = |seed| SigningKey::from_bytes(&[seed; 32]);
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    let unlimited = RelayOptions {
        node_bytes_per_second: u64::MAX,
        channel_bytes_per_second: u64::MAX,
        direct: false,
        ..RelayOptions::default()
    };
    let relay = RelayServer::bind(loopback, &key(1), Arc::new(Everybody), unlimited).unwrap();
    let shelf = Arc::new(Shelf(vec![7; SHARD_BYTES].into()));
    let miner = QuicServer::bind(loopback, &key(2), shelf).unwrap();
    let at = RelayAddr::new(signing::node_id(&key(1)), &relay.local_addr().to_string()).unwrap();
    miner.attach(at.clone()).unwrap().attached().await;
    let client = QuicTransport::new(&key(3)).unwrap();
    let node_id = signing::node_id(&key(2));
    let direct = PeerAddr { node_id, endpoint: miner.local_addr().to_string() };
    let relayed = PeerAddr { node_id, endpoint: at.to_string() };
    println!("shards of 1 MiB, {} s each, caller, relay and miner in one process", RUN.as_secs());
    println!("{:<28} {:>14} {:>14} {:>7}", "", "direct MiB/s", "relayed MiB/s", "ratio");
    for (store, name) in [(true, "store"), (false, "fetch")] {
        for at_once in [1, 8] {
            let direct = rate(&client, &direct, store, at_once).await;
            let relayed = rate(&client, &relayed, store, at_once).await;
            let what = format!("{name}, {at_once} at once");
            println!("{what:<28} {direct:>14.0} {relayed:>14.0} {:>7.2}", relayed / direct);
        }
    }
    let stats = relay.stats();
    println!(
        "relay: {} datagrams carried, dropped: {} full, {} rate",
        stats.forwarded_datagrams, stats.dropped_full, stats.dropped_rate
    );
    println!("bench relay: 0 of 0 targets met");
}
