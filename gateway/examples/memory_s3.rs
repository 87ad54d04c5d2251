//! S3 on thirty miners in memory: for trying S3 clients without a network. Prints the endpoint and an access key, then serves
//! until it is stopped. Nothing is kept.

#![allow(clippy::unwrap_used)]

#[path = "../tests/network/mod.rs"]
mod network;

use std::{sync::Arc, time::Duration};

use arion_daemon::Shutdown;
use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    s3::{self, Store},
};

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let network = network::Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let (access, secret) = keys.add("default", None, None).unwrap();
    let shutdown = Shutdown::on_signals().unwrap();
    tokio::spawn(grid.clone().upkeep(shutdown.clone()));
    let region = "us-east-1".to_owned();
    let store = Store { grid, accounts: network::accounts(), region, part_bytes_min: s3::PART_BYTES_MIN };
    let address = "127.0.0.1:0".parse().unwrap();
    let server = S3Server::bind(address, s3::service(store, keys), Duration::from_secs(1)).await.unwrap();
    println!("http://{} {access} {secret}", server.local_addr());
    shutdown.wait().await;
    server.shutdown().await;
}
