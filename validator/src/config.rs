//! Settings, from a file and from flags.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use arion_daemon::{HttpConfig, HumanDuration, LogConfig};
use arion_types::{CrushParams, GenesisHash, NodeId};
use serde::Deserialize;

/// A configuration with every key and its default, as `example-config` prints it.
pub const EXAMPLE: &str = r#"# Configuration of arion-validator. Every key is also a flag: `listen` is --listen.

# QUIC address on which miners send heartbeats.
listen = "0.0.0.0:4100"
# Node key (Ed25519), made by `arion-validator init`. Its node id is registered on chain as a Validator.
key_file = "/var/lib/arion/validator/node.key"
# Account key (sr25519) of the validator whose vote this service casts: one of the session's validators.
account_file = "/var/lib/arion/validator/account.key"
# WebSocket address of an Arion node that you trust.
node_url = "ws://127.0.0.1:9944"
# Genesis hash of the chain; the service refuses any other. Optional.
# genesis = "0x0000000000000000000000000000000000000000000000000000000000000000"
# Pause between looks at the finalised head.
poll_interval = "3s"
# Interval at which miners are told to send heartbeats; after three of them a miner counts as offline.
heartbeat_interval = "30s"
# A map is voted for once it has not changed for this long.
settle = "6s"
# Least number of miners in the first map.
min_miners = 30
# Placement groups of the maps. All validators must set the same.
pg_count = 4096

[http]
# Address of /health and /metrics.
addr = "127.0.0.1:9410"
allow_public = false

[log]
format = "human"
level = "info"
"#;

/// Keys of the file and flags of the command line: both are optional, a flag wins.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// QUIC address on which miners send heartbeats; port 0 takes a free one [default: 0.0.0.0:4100].
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// File with the node key (Ed25519, 64 hex digits, mode 0600).
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// File with the account key (sr25519) of the validator whose vote this service casts.
    #[arg(long, value_name = "FILE")]
    pub account_file: Option<PathBuf>,
    /// WebSocket address of an Arion node [default: ws://127.0.0.1:9944].
    #[arg(long, value_name = "URL", alias = "chain")]
    pub node_url: Option<String>,
    /// Genesis hash of the chain, 64 hex digits; any other chain is refused.
    #[arg(long, value_name = "HASH")]
    pub genesis: Option<String>,
    /// Pause between looks at the finalised head [default: 3s].
    #[arg(long, value_name = "TIME", alias = "chain-poll")]
    pub poll_interval: Option<HumanDuration>,
    /// Interval of heartbeats; after three a silent miner counts as offline [default: 30s].
    #[arg(long, value_name = "TIME")]
    pub heartbeat_interval: Option<HumanDuration>,
    /// A map is voted for once it has not changed for this long [default: 6s].
    #[arg(long, value_name = "TIME")]
    pub settle: Option<HumanDuration>,
    /// Least number of miners in the first map [default: 30].
    #[arg(long, value_name = "N")]
    pub min_miners: Option<usize>,
    /// Placement groups of the maps; all validators must set the same [default: 4096].
    #[arg(long, value_name = "N")]
    pub pg_count: Option<u32>,
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
    /// Address of the node.
    pub node_url: String,
    /// Expected genesis hash.
    pub genesis: Option<GenesisHash>,
    /// Pause between looks at the finalised head.
    pub poll_interval: Duration,
    /// Interval of heartbeats.
    pub heartbeat_interval: Duration,
    /// How long a map has to stay the same before it is voted for.
    pub settle: Duration,
    /// Least number of miners in the first map.
    pub min_miners: usize,
    /// Parameters of the maps.
    pub params: CrushParams,
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
            node_url: self.node_url.or(file.node_url),
            genesis: self.genesis.or(file.genesis),
            poll_interval: self.poll_interval.or(file.poll_interval),
            heartbeat_interval: self.heartbeat_interval.or(file.heartbeat_interval),
            settle: self.settle.or(file.settle),
            min_miners: self.min_miners.or(file.min_miners),
            pg_count: self.pg_count.or(file.pg_count),
            http: file.http,
            log: file.log,
        }
    }

    /// Fills in defaults and checks the rest.
    pub fn complete(self) -> Result<Config, OptionsError> {
        let seconds =
            |time: Option<HumanDuration>, default| time.map_or(Duration::from_secs(default), |t| t.0);
        let genesis = self.genesis.map(|text| match text.parse::<NodeId>() {
            Ok(hash) => Ok(hash.0),
            Err(_) => Err(OptionsError::Genesis(text)),
        });
        let params = CrushParams {
            pg_count: self.pg_count.unwrap_or(CrushParams::STANDARD.pg_count),
            ..CrushParams::STANDARD
        };
        let config = Config {
            listen: self.listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 4100))),
            key_file: self.key_file.ok_or(OptionsError::Missing { key: "key_file" })?,
            account_file: self.account_file.ok_or(OptionsError::Missing { key: "account_file" })?,
            node_url: self.node_url.unwrap_or_else(|| "ws://127.0.0.1:9944".into()),
            genesis: genesis.transpose()?,
            poll_interval: seconds(self.poll_interval, 3),
            heartbeat_interval: seconds(self.heartbeat_interval, 30),
            settle: seconds(self.settle, 6),
            min_miners: self.min_miners.unwrap_or(30),
            params,
            http: self.http,
            log: self.log,
        };
        for (name, is_zero) in [
            ("pg_count", config.params.pg_count == 0),
            ("poll_interval", config.poll_interval.is_zero()),
            ("heartbeat_interval", config.heartbeat_interval.is_zero()),
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
            ..Options::default()
        };
        let http = HttpConfig { addr: "127.0.0.1:9410".parse().unwrap(), allow_public: false };
        assert_eq!(example, Config { http, ..bare.complete().unwrap() });
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(Options::default().complete(), Err(OptionsError::Missing { key: "key_file" }));
        assert!(OptionsError::Missing { key: "key_file" }.to_string().contains("--key-file"));
        assert!(arion_daemon::parse_config::<Options>("colour = 1").is_err());
        let mut options: Options = arion_daemon::parse_config(EXAMPLE).unwrap();
        options.pg_count = Some(0);
        assert_eq!(options.clone().complete(), Err(OptionsError::Zero("pg_count")));
        options.genesis = Some("0x12".into());
        assert_eq!(options.complete(), Err(OptionsError::Genesis("0x12".into())));
    }
}
