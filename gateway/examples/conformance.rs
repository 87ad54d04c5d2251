//! The gateway that `scripts/conformance` measures: S3 on thirty miners in memory, with the accounts that ceph/s3-tests wants
//! and a day of lifecycle rules that lasts ten seconds. Writes the configuration of the suite to the file it is given
//! once it answers, and serves until it is stopped. Nothing is kept.

#![allow(clippy::unwrap_used)]

#[path = "../tests/gateway/network.rs"]
mod network;

use std::{fmt::Write, sync::Arc, time::Duration};

use arion_daemon::Shutdown;
use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    lifecycle::{self, Day, LifecycleOptions},
    s3::{self, Store},
};

/// Sections of the configuration and the accounts in them.
const ACCOUNTS: [(&str, &str); 6] = [
    ("s3 main", "tester"),
    ("s3 alt", "john.doe"),
    ("s3 tenant", "tenanted"),
    ("iam", "operator"),
    ("iam root", "root-one"),
    ("iam alt root", "root-two"),
];

#[tokio::main]
async fn main() {
    let file = std::env::args().nth(1).expect("the file that the configuration is written to");
    let directory = tempfile::tempdir().unwrap();
    let network = network::Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let shutdown = Shutdown::on_signals().unwrap();
    tokio::spawn(grid.clone().upkeep(shutdown.clone()));
    let options = LifecycleOptions { day: Day(10_000), pause: Duration::from_millis(500) };
    tokio::spawn(lifecycle::run(grid.meta.clone(), grid.metrics.clone(), options, shutdown.clone()));
    let mut accounts = String::new();
    for (section, account) in ACCOUNTS {
        let (access, secret) = keys.add(account, None, None).unwrap();
        write!(
            accounts,
            "\n[{section}]\nuser_id = {account}\ndisplay_name = {account}\nemail = {account}@example.org\n\
             access_key = {access}\nsecret_key = {secret}\n"
        )
        .unwrap();
        if section == "s3 tenant" {
            accounts.push_str("tenant = none\n");
        }
    }
    let region = "us-east-1".to_owned();
    let part_bytes_min = s3::PART_BYTES_MIN;
    let keyring = network::keyring(&grid.meta);
    let (webhooks, credit) = Default::default();
    let store = Store { grid, keyring, keys, region, part_bytes_min, webhooks, credit };
    let address = "127.0.0.1:0".parse().unwrap();
    let server = S3Server::bind(address, s3::service(store, s3::Domains::default()), Duration::from_secs(1))
        .await
        .unwrap();
    let port = server.local_addr().port();
    let config = format!(
        "[DEFAULT]\nhost = 127.0.0.1\nport = {port}\nis_secure = False\nssl_verify = False\n\n\
         [fixtures]\nbucket prefix = c{{random}}-\n{accounts}"
    );
    let fresh = format!("{file}.new");
    std::fs::write(&fresh, config).unwrap();
    std::fs::rename(&fresh, &file).unwrap();
    shutdown.wait().await;
    server.shutdown().await;
}
