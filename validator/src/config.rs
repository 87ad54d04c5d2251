//! Settings; what they mean stands in `example.toml`.

use std::{collections::HashSet, net::SocketAddr, num::NonZeroU32, path::PathBuf};

use arion_daemon::{ChainConfig, HttpConfig, HumanDuration, KeyKind, LogConfig, Pause, Peer, Settings};
use arion_types::{CrushParams, NodeId};
use serde::{Deserialize, Serialize};

use crate::standing::Patience;

/// Everything the service needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the keys and of the store.
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
    /// How long a miner of the map may be silent.
    pub out_after: HumanDuration,
    /// How long a miner has to be heard before it is taken into the map.
    pub in_after: HumanDuration,
    /// Least number of miners in the first map.
    pub min_miners: usize,
    /// Placement groups of the maps.
    pub pg_count: NonZeroU32,
    /// The gateways whose ledgers say what miners store.
    #[serde(default)]
    pub gateways: Vec<Peer>,
    /// Pause between looks at the ledgers.
    pub ledger_poll: Pause,
    /// The chain.
    pub chain: ChainConfig,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// A gateway is listed twice.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("gateway {0} is listed twice")]
pub struct GatewayTwice(pub NodeId);

impl Config {
    /// What must hold beyond the types.
    pub fn check(&self) -> Result<(), GatewayTwice> {
        let mut seen = HashSet::new();
        let twice = self.gateways.iter().find(|gateway| !seen.insert(gateway.node_id));
        twice.map_or(Ok(()), |gateway| Err(GatewayTwice(gateway.node_id)))
    }

    /// How long miners are waited for.
    pub fn patience(&self) -> Patience {
        Patience { out_after: self.out_after.0, in_after: self.in_after.0 }
    }

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
    use super::*;

    #[test]
    fn the_example_has_every_key_and_stands_on_the_operators_page() {
        let page = include_str!("../../docs/operate/validator.md");
        arion_daemon::settings::check_example::<Config>(page);
    }

    #[test]
    fn a_gateway_is_followed_once() {
        let mut config = arion_daemon::Flags::<Config>::default().settings().unwrap();
        let peer: Peer = format!("{}@h:1", "1".repeat(64)).parse().unwrap();
        config.gateways = vec![peer.clone()];
        assert_eq!(config.check(), Ok(()));
        config.gateways.push(peer.clone());
        assert_eq!(config.check(), Err(GatewayTwice(peer.node_id)));
    }
}
