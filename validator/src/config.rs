//! Settings; what they mean stands in `example.toml`.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use arion_daemon::{ChainConfig, HttpConfig, HumanDuration, KeyKind, LogConfig, Pause, Settings};
use arion_types::CrushParams;
use serde::{Deserialize, Serialize};

/// Everything the service needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the keys.
    pub data_dir: PathBuf,
    /// File of the node key.
    pub key_file: PathBuf,
    /// File of the account key.
    pub account_file: PathBuf,
    /// QUIC address.
    pub listen: SocketAddr,
    /// Interval of heartbeats.
    pub heartbeat_interval: Pause,
    /// How long a map has to stay the same before it is voted for.
    pub settle: HumanDuration,
    /// Least number of miners in the first map.
    pub min_miners: usize,
    /// Placement groups of the maps.
    pub pg_count: NonZeroU32,
    /// The chain.
    pub chain: ChainConfig,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

impl Config {
    /// Parameters of the maps.
    pub fn params(&self) -> CrushParams {
        CrushParams { pg_count: self.pg_count.get(), ..CrushParams::STANDARD }
    }
}

impl Settings for Config {
    const PROGRAM: &'static str = "arion-validator";
    const EXAMPLE: &'static str = include_str!("../example.toml");
    const KEYS: &'static [(KeyKind, &'static str)] =
        &[(KeyKind::Node, "key_file"), (KeyKind::Account, "account_file")];
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_has_every_key_and_stands_on_the_operators_page() {
        let page = include_str!("../../docs/operate/validator.md");
        arion_daemon::settings::check_example::<super::Config>(page);
    }
}
