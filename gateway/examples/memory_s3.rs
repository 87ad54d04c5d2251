//! S3 on thirty miners in memory: for trying S3 clients without a network. Prints the endpoint and an access key, then serves
//! until it is stopped. Nothing is kept.
//!
//! `--port N` chooses the port (default 0: a free one), `--keys FILE` where access keys are, so that others can be added (default: a new
//! file), `MEMORY_S3_ACCESS_KEY` and `MEMORY_S3_SECRET_KEY` the key (default: a new one). Rules of buckets can name a webhook `audit`;
//! nothing is told to it.

#![allow(clippy::unwrap_used)]

#[path = "../tests/gateway/network.rs"]
mod network;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arion_daemon::{Shutdown, secret_file};
use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    notify::{WebhookConfig, Webhooks},
    s3::{self, Store},
};

const USAGE: &str = "usage: memory_s3 [--port N] [--keys FILE]";

#[derive(Default)]
struct Options {
    port: u16,
    keys: Option<PathBuf>,
}

fn options() -> Options {
    let (mut options, mut arguments) = (Options::default(), std::env::args().skip(1));
    while let Some(name) = arguments.next() {
        let value = arguments.next().expect(USAGE);
        match name.as_str() {
            "--port" => options.port = value.parse().expect("--port takes a number"),
            "--keys" => options.keys = Some(value.into()),
            _ => panic!("{USAGE}"),
        }
    }
    options
}

fn webhooks(directory: &Path) -> Webhooks {
    let path = directory.join("audit.secret");
    secret_file::replace(&path, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let (name, url) = ("audit".to_owned(), "http://127.0.0.1:1/".to_owned());
    Webhooks::load(&[WebhookConfig { name, url, secret_file: path, accounts: Vec::new() }]).unwrap()
}

#[tokio::main]
async fn main() {
    let options = options();
    let directory = tempfile::tempdir().unwrap();
    let network = network::Network::new();
    let grid = network.grid(directory.path());
    let keys = options.keys.unwrap_or_else(|| directory.path().join("keys.toml"));
    let keys = Arc::new(AccessKeys::new(keys));
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
    let store = Store { grid, keyring, keys, region, part_bytes_min, webhooks, credit: Default::default() };
    let address = ([127, 0, 0, 1], options.port).into();
    let service = s3::service(store, s3::Domains::default()).with_page(true);
    let server = S3Server::bind(address, service, Duration::from_secs(1)).await.unwrap();
    println!("http://{} {access} {secret}", server.local_addr());
    shutdown.wait().await;
    server.shutdown().await;
}
