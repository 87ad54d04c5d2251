//! Settings, from a file and from flags.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use arion_daemon::{HttpConfig, HumanDuration, LogConfig};
use arion_types::{GenesisHash, NodeId};
use serde::Deserialize;

use crate::submit::BatchSize;

/// A configuration with every key and its default, as `example-config` prints it.
pub const EXAMPLE: &str = r#"# Configuration of arion-submitter. Every key is also a flag: `listen` is --listen.

# QUIC address on which wardens hand over attestations.
listen = "0.0.0.0:4300"
# Node key (Ed25519), made by `arion-submitter init`. Wardens name its node id in their configuration.
key_file = "/var/lib/arion/submitter/node.key"
# Account key (sr25519) that pays the fees: admitted on chain by `Arion.add_attestation_submitter`, or a validator.
account_file = "/var/lib/arion/submitter/account.key"
# Directory of the queue.
data_dir = "/var/lib/arion/submitter"
# WebSocket address of an Arion node that you trust.
node_url = "ws://127.0.0.1:9944"
# Genesis hash of the chain; the submitter refuses any other. Optional.
# genesis = "0x0000000000000000000000000000000000000000000000000000000000000000"
# Pause between looks at the finalised head.
poll_interval = "3s"
# Attestations in one transaction, at most 1000.
batch_max = 250
# Attestations wait for company this long.
batch_age = "6s"
# Attestations that may wait; beyond it wardens are told to come back later.
queue_max = 100000

[http]
# Address of /health and /metrics.
addr = "127.0.0.1:9430"
allow_public = false

[log]
format = "human"
level = "info"
"#;

/// Keys of the file and flags of the command line: all are optional, a flag wins.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// QUIC address on which wardens hand over attestations; port 0 takes a free one [default: 0.0.0.0:4300].
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// File with the node key (Ed25519, 64 hex digits, mode 0600).
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// File with the account key (sr25519) that pays the fees.
    #[arg(long, value_name = "FILE")]
    pub account_file: Option<PathBuf>,
    /// Directory of the queue.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// WebSocket address of an Arion node [default: ws://127.0.0.1:9944].
    #[arg(long, value_name = "URL", alias = "chain")]
    pub node_url: Option<String>,
    /// Genesis hash of the chain, 64 hex digits; any other chain is refused.
    #[arg(long, value_name = "HASH")]
    pub genesis: Option<String>,
    /// Pause between looks at the finalised head [default: 3s].
    #[arg(long, value_name = "TIME", alias = "chain-poll")]
    pub poll_interval: Option<HumanDuration>,
    /// Attestations in one transaction, at most 1000 [default: 250].
    #[arg(long, value_name = "N")]
    pub batch_max: Option<usize>,
    /// Attestations wait for company this long [default: 6s].
    #[arg(long, value_name = "TIME")]
    pub batch_age: Option<HumanDuration>,
    /// Attestations that may wait [default: 100000].
    #[arg(long, value_name = "N")]
    pub queue_max: Option<u64>,
    /// The `[http]` table.
    #[arg(skip)]
    pub http: HttpConfig,
    /// The `[log]` table.
    #[arg(skip)]
    pub log: LogConfig,
}

/// Why the settings are not complete.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OptionsError {
    /// A key without default is not set.
    #[error("{key} is not set; set it in the configuration file or with --{}", key.replace('_', "-"))]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The genesis hash is no hash.
    #[error("genesis `{0}` is not a hash: expected 64 hexadecimal digits")]
    Genesis(String),
    /// A number that cannot work.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

/// Complete settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// QUIC address.
    pub listen: SocketAddr,
    /// Node key file.
    pub key_file: PathBuf,
    /// Account key file.
    pub account_file: PathBuf,
    /// Directory of the queue.
    pub data_dir: PathBuf,
    /// Address of the node.
    pub node_url: String,
    /// Expected genesis hash.
    pub genesis: Option<GenesisHash>,
    /// Pause between looks at the finalised head.
    pub poll_interval: Duration,
    /// When attestations go.
    pub batch: BatchSize,
    /// Attestations that may wait.
    pub queue_max: u64,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

impl Options {
    /// These flags over that file.
    pub fn over(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            key_file: self.key_file.or(file.key_file),
            account_file: self.account_file.or(file.account_file),
            data_dir: self.data_dir.or(file.data_dir),
            node_url: self.node_url.or(file.node_url),
            genesis: self.genesis.or(file.genesis),
            poll_interval: self.poll_interval.or(file.poll_interval),
            batch_max: self.batch_max.or(file.batch_max),
            batch_age: self.batch_age.or(file.batch_age),
            queue_max: self.queue_max.or(file.queue_max),
            http: file.http,
            log: file.log,
        }
    }

    /// Fills in defaults and checks the rest.
    pub fn complete(self) -> Result<Config, OptionsError> {
        let missing = |key| OptionsError::Missing { key };
        let seconds =
            |time: Option<HumanDuration>, default| time.map_or(Duration::from_secs(default), |t| t.0);
        let genesis = self.genesis.map(|text| match text.parse::<NodeId>() {
            Ok(hash) => Ok(hash.0),
            Err(_) => Err(OptionsError::Genesis(text)),
        });
        let config = Config {
            listen: self.listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 4300))),
            key_file: self.key_file.ok_or(missing("key_file"))?,
            account_file: self.account_file.ok_or(missing("account_file"))?,
            data_dir: self.data_dir.ok_or(missing("data_dir"))?,
            node_url: self.node_url.unwrap_or_else(|| "ws://127.0.0.1:9944".into()),
            genesis: genesis.transpose()?,
            poll_interval: seconds(self.poll_interval, 3),
            batch: BatchSize { max: self.batch_max.unwrap_or(250), age: seconds(self.batch_age, 6) },
            queue_max: self.queue_max.unwrap_or(100_000),
            http: self.http,
            log: self.log,
        };
        for (name, is_zero) in [
            ("poll_interval", config.poll_interval.is_zero()),
            ("batch_max", config.batch.max == 0),
            ("queue_max", config.queue_max == 0),
        ] {
            if is_zero {
                return Err(OptionsError::Zero(name));
            }
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_complete_and_shows_the_defaults() {
        let options: Options = arion_daemon::parse_config(EXAMPLE).unwrap();
        let example = options.complete().unwrap();
        let bare = Options {
            key_file: Some(example.key_file.clone()),
            account_file: Some(example.account_file.clone()),
            data_dir: Some(example.data_dir.clone()),
            ..Options::default()
        };
        let http = HttpConfig { addr: "127.0.0.1:9430".parse().unwrap(), allow_public: false };
        assert_eq!(example, Config { http, ..bare.complete().unwrap() });
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = Options::default().complete().unwrap_err();
        assert!(error.to_string().contains("--key-file"), "{error}");
        assert!(arion_daemon::parse_config::<Options>("colour = 1").is_err());
        let mut options: Options = arion_daemon::parse_config(EXAMPLE).unwrap();
        options.batch_max = Some(0);
        assert_eq!(options.complete(), Err(OptionsError::Zero("batch_max")));
    }
}
