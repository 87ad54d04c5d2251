//! Settings; what they mean stands in `example.toml`.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use arion_daemon::{ByteSize, ChainConfig, HttpConfig, KeyKind, LogConfig, NodeIdText, Settings};
use arion_net::RelayOptions;
use serde::{Deserialize, Serialize};

const BANDWIDTH_MIN: u64 = 64 << 10;

/// Everything the relay needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the key.
    pub data_dir: PathBuf,
    /// File of the node key.
    pub key_file: PathBuf,
    /// UDP address to listen on.
    pub listen: SocketAddr,
    /// Serve only these miners; none: all that are registered.
    #[serde(default)]
    pub miners: Vec<NodeIdText>,
    /// Whether callers are helped to find direct paths.
    pub direct: bool,
    /// What is allowed at once.
    pub limits: Limits,
    /// The chain.
    pub chain: ChainConfig,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// What is allowed at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections, over all nodes.
    pub connections_max: NonZeroUsize,
    /// Connections of one node.
    pub connections_per_node_max: NonZeroUsize,
    /// Channels that end at one connection.
    pub channels_per_connection_max: NonZeroUsize,
    /// Bytes per second from and to one miner.
    pub miner_bandwidth: ByteSize,
    /// Bytes per second between one miner and one peer.
    pub channel_bandwidth: ByteSize,
}

/// Settings that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// No connection would live at this rate.
    #[error("{0} must be at least 64KiB: raise it in [limits]")]
    Bandwidth(&'static str),
}

impl Config {
    /// What must hold beyond the types.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Limits { miner_bandwidth, channel_bandwidth, .. } = self.limits;
        for (name, value) in [("miner_bandwidth", miner_bandwidth), ("channel_bandwidth", channel_bandwidth)]
        {
            if value.0 < BANDWIDTH_MIN {
                return Err(ConfigError::Bandwidth(name));
            }
        }
        Ok(())
    }

    /// Bounds of the relay.
    pub fn options(&self) -> RelayOptions {
        RelayOptions {
            connections_max: self.limits.connections_max.get(),
            connections_per_node_max: self.limits.connections_per_node_max.get(),
            channels_per_connection_max: self.limits.channels_per_connection_max.get(),
            node_bytes_per_second: self.limits.miner_bandwidth.0,
            channel_bytes_per_second: self.limits.channel_bandwidth.0,
            direct: self.direct,
            ..RelayOptions::default()
        }
    }
}

impl Settings for Config {
    const PROGRAM: &'static str = "arion-relay";
    const EXAMPLE: &'static str = include_str!("../example.toml");
    const KEYS: &'static [(KeyKind, &'static str)] = &[(KeyKind::Node, "key_file")];
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_key_and_stands_on_the_operators_page() {
        arion_daemon::settings::check_example::<Config>(include_str!("../../docs/operate/relay.md"));
    }

    #[test]
    fn the_defaults_are_those_of_the_library_and_a_rate_of_nothing_is_refused() {
        let mut config = arion_daemon::Flags::<Config>::default().settings().unwrap();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(format!("{:?}", config.options()), format!("{:?}", RelayOptions::default()));
        config.limits.channel_bandwidth = ByteSize(1_000);
        assert_eq!(config.check(), Err(ConfigError::Bandwidth("channel_bandwidth")));
        config.limits.miner_bandwidth = ByteSize(0);
        assert_eq!(config.check(), Err(ConfigError::Bandwidth("miner_bandwidth")));
    }
}
