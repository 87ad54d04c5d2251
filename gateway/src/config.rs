//! Configuration of the daemon: one TOML file, every option also a flag.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use arion_daemon::{HttpConfig, HumanDuration, LogConfig};
use arion_types::{GenesisHash, NodeId};
use serde::{Deserialize, Deserializer, de::Error};

use crate::grid::GridOptions;

/// The file that `init` writes and `example-config` prints.
pub const EXAMPLE: &str = include_str!("../example.toml");

/// Least durable shards beyond k.
const QUORUM_EXTRA_MIN: u8 = 10;

/// Everything the daemon needs to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Metadata and keys live here.
    pub data_dir: PathBuf,
    /// Secret key of the node; default: `node.key` in the data directory.
    pub key_file: Option<PathBuf>,
    /// What objects' keys are sealed under; default: `account.key` in the data directory.
    pub account_key_file: Option<PathBuf>,
    /// Access keys; default: `keys.toml` in the data directory.
    pub access_keys_file: Option<PathBuf>,
    /// TCP address of the S3 endpoint.
    #[serde(default = "default_s3")]
    pub s3: SocketAddr,
    /// Region that clients are told.
    #[serde(default = "default_region")]
    pub region: String,
    /// UDP address of the ledger.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// RPC of a chain node.
    #[serde(default = "default_node_url")]
    pub node_url: String,
    /// Hash of block 0 of the chain to be on; another chain is refused.
    #[serde(default, deserialize_with = "hex32")]
    pub genesis: Option<GenesisHash>,
    /// Pause between looks at the finalised head.
    #[serde(default = "default_poll_interval")]
    pub poll_interval: HumanDuration,
    /// Bounds of writing.
    #[serde(default)]
    pub write: WriteConfig,
    /// Bounds of reading.
    #[serde(default)]
    pub read: ReadConfig,
    /// Health and metrics.
    #[serde(default)]
    pub http: HttpConfig,
    /// Log lines.
    #[serde(default)]
    pub log: LogConfig,
}

/// Bounds of writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriteConfig {
    /// Durable shards beyond k that a stripe needs.
    pub quorum_extra: u8,
    /// Stripes of one upload on their way at once.
    pub stripes_in_flight: usize,
    /// Shards of all uploads in memory at once.
    pub shards_in_memory: usize,
    /// Time for one attempt to store a shard.
    pub store_timeout: HumanDuration,
    /// Time for a stripe to reach its quorum.
    pub stripe_timeout: HumanDuration,
}

impl Default for WriteConfig {
    fn default() -> Self {
        let options = GridOptions::default();
        Self {
            quorum_extra: options.quorum_extra,
            stripes_in_flight: options.stripes_in_flight,
            shards_in_memory: options.shards_in_memory,
            store_timeout: HumanDuration(options.store_timeout),
            stripe_timeout: HumanDuration(options.stripe_timeout),
        }
    }
}

/// Bounds of reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadConfig {
    /// Stripes of one download fetched ahead.
    pub stripes_ahead: usize,
    /// Stripes of all downloads fetched ahead.
    pub stripes_ahead_total: usize,
    /// Time for one shard to arrive.
    pub fetch_timeout: HumanDuration,
    /// Least wait before other miners are asked too.
    pub patience: HumanDuration,
}

impl Default for ReadConfig {
    fn default() -> Self {
        let options = GridOptions::default();
        Self {
            stripes_ahead: options.stripes_ahead,
            stripes_ahead_total: options.stripes_ahead_total,
            fetch_timeout: HumanDuration(options.fetch_timeout),
            patience: HumanDuration(options.patience.0),
        }
    }
}

/// A value that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OptionError {
    /// Durability below what is promised.
    #[error("quorum_extra must be at least {QUORUM_EXTRA_MIN}: fewer durable shards are never acknowledged")]
    Quorum,
    /// Not even one stripe fits.
    #[error("shards_in_memory must be at least 30 (one stripe), stripes_in_flight at least 1")]
    NoRoom,
    /// Times of nothing.
    #[error("timeouts, patience and poll_interval must be at least 10ms")]
    NoTime,
    /// Nothing is told.
    #[error("region must not be empty")]
    Region,
}

impl Config {
    /// Where the node's key lies.
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| key_file_in(&self.data_dir))
    }

    /// Where the key that seals objects' keys lies.
    pub fn account_key_file(&self) -> PathBuf {
        self.account_key_file.clone().unwrap_or_else(|| account_key_file_in(&self.data_dir))
    }

    /// Where the access keys are.
    pub fn access_keys_file(&self) -> PathBuf {
        self.access_keys_file.clone().unwrap_or_else(|| access_keys_file_in(&self.data_dir))
    }

    /// Where the metadata are.
    pub fn metadata_file(&self) -> PathBuf {
        self.data_dir.join("gateway.redb")
    }

    /// What must hold beyond the types.
    pub fn check(&self) -> Result<(), OptionError> {
        let (write, read) = (&self.write, &self.read);
        if write.quorum_extra < QUORUM_EXTRA_MIN {
            return Err(OptionError::Quorum);
        }
        if write.shards_in_memory < 30 || write.stripes_in_flight == 0 {
            return Err(OptionError::NoRoom);
        }
        let times = [
            write.store_timeout,
            write.stripe_timeout,
            read.fetch_timeout,
            read.patience,
            self.poll_interval,
        ];
        if times.iter().any(|time| time.0 < Duration::from_millis(10)) {
            return Err(OptionError::NoTime);
        }
        if self.region.is_empty() {
            return Err(OptionError::Region);
        }
        Ok(())
    }

    /// The bounds of the data path.
    pub fn grid_options(&self) -> GridOptions {
        let (write, read, default) = (&self.write, &self.read, GridOptions::default());
        GridOptions {
            quorum_extra: write.quorum_extra,
            stripes_in_flight: write.stripes_in_flight,
            shards_in_memory: write.shards_in_memory,
            store_timeout: write.store_timeout.0,
            stripe_timeout: write.stripe_timeout.0,
            stripes_ahead: read.stripes_ahead,
            stripes_ahead_total: read.stripes_ahead_total,
            fetch_timeout: read.fetch_timeout.0,
            patience: (read.patience.0, default.patience.1.max(read.patience.0)),
            stripe_bytes: default.stripe_bytes,
            tail: default.tail,
        }
    }
}

/// Where the node's key lies unless it is configured otherwise.
pub fn key_file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("node.key")
}

/// Where the key that seals objects' keys lies unless it is configured otherwise.
pub fn account_key_file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("account.key")
}

/// Where the access keys are unless it is configured otherwise.
pub fn access_keys_file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("keys.toml")
}

fn default_s3() -> SocketAddr {
    ([127, 0, 0, 1], 7_800).into()
}

fn default_region() -> String {
    "us-east-1".into()
}

fn default_listen() -> SocketAddr {
    ([0, 0, 0, 0], 7_801).into()
}

fn default_node_url() -> String {
    "ws://127.0.0.1:9944".into()
}

fn default_poll_interval() -> HumanDuration {
    HumanDuration(Duration::from_secs(3))
}

fn hex32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
    // The same digits as a node id.
    let id: NodeId = String::deserialize(deserializer)?.parse().map_err(D::Error::custom)?;
    Ok(Some(id.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_daemon::parse_config;

    #[test]
    fn the_example_is_valid_and_shows_the_defaults() {
        let example: Config = parse_config(EXAMPLE).unwrap();
        example.check().unwrap();
        let minimal: Config = parse_config("data_dir = \"/x\"").unwrap();
        assert_eq!((example.s3, example.listen), (minimal.s3, minimal.listen));
        assert_eq!((example.write, example.read), (minimal.write, minimal.read));
        assert_eq!((example.region, example.node_url), (minimal.region, minimal.node_url));
        assert_eq!(example.poll_interval, minimal.poll_interval);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "write.quorum_extra = 9",
            "write.shards_in_memory = 29",
            "read.patience = \"0s\"",
            "region = \"\"",
        ] {
            let config: Config = parse_config(&format!("data_dir = \"/x\"\n{text}")).unwrap();
            assert!(config.check().is_err(), "{text}");
        }
        assert!(parse_config::<Config>("data_dir = \"/x\"\ncolour = 1").is_err());
        assert!(parse_config::<Config>("data_dir = \"/x\"\ngenesis = \"12\"").is_err());
    }
}
