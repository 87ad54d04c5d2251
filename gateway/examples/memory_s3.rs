//! S3 on thirty miners in memory: for trying S3 clients without a network. Prints the endpoint and an access key, then serves
//! until it is stopped. Nothing is kept.
//!
//! `--port N` chooses the port (default 0: a free one), `MEMORY_S3_ACCESS_KEY` and `MEMORY_S3_SECRET_KEY` the key (default: a new
//! one). Rules of buckets can name a webhook `audit`; nothing is told to it.

#![allow(clippy::unwrap_used)]

#[path = "../tests/gateway/network.rs"]
mod network;

use std::{path::Path, sync::Arc, time::Duration};

use arion_daemon::{Shutdown, secret_file};
use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    notify::{WebhookConfig, Webhooks},
    s3::{self, Store},
};

fn webhooks(directory: &Path) -> Webhooks {
    let path = directory.join("audit.secret");
    secret_file::replace(&path, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let (name, url) = ("audit".to_owned(), "http://127.0.0.1:1/".to_owned());
    Webhooks::load(&[WebhookConfig { name, url, secret_file: path, accounts: Vec::new() }]).unwrap()
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let network = network::Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let given = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let key = (given("MEMORY_S3_ACCESS_KEY"), given("MEMORY_S3_SECRET_KEY"));
    let (access, secret) =
        keys.add("default", key.0, key.1).expect("the access key of the environment can be used");
    let shutdown = Shutdown::on_signals().unwrap();
    tokio::spawn(grid.clone().upkeep(shutdown.clone()));
    let region = "us-east-1".to_owned();
    let keyring = network::keyring(&grid.meta);
    let part_bytes_min = s3::PART_BYTES_MIN;
    let webhooks = Arc::new(webhooks(directory.path()));
    let store = Store { grid, keyring, keys, region, part_bytes_min, webhooks };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port: u16 = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => 0,
        ["--port", port] => port.parse().expect("--port takes a number"),
        _ => panic!("usage: memory_s3 [--port N]"),
    };
    let address = ([127, 0, 0, 1], port).into();
    let server = S3Server::bind(address, s3::service(store, s3::Domains::default()), Duration::from_secs(1))
        .await
        .unwrap();
    println!("http://{} {access} {secret}", server.local_addr());
    shutdown.wait().await;
    server.shutdown().await;
}
