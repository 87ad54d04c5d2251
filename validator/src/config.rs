//! Settings; what they mean stands in `example.toml`.

use std::{
    collections::HashSet,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use arion_daemon::{
    ByteSize, ChainConfig, HttpConfig, HumanDuration, KeyKind, LogConfig, Pause, Peer, Settings,
};
use arion_types::{CrushParams, NodeId};
use serde::{Deserialize, Serialize};

use crate::{repair::RepairOptions, standing::Patience};

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
    /// Blocks for which a map is told before it is voted for.
    pub announce_blocks: u32,
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
    /// Repair.
    pub repair: RepairConfig,
    /// The chain.
    pub chain: ChainConfig,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// Repair of shards that are not where the map wants them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairConfig {
    /// Whether this service repairs.
    pub enabled: bool,
    /// Bytes of shards read and written in a second, together.
    pub rate: ByteSize,
    /// Stripes worked on at once.
    pub workers: NonZeroUsize,
    /// Time between two looks at what miners have.
    pub census_interval: Pause,
    /// How long a stripe is left alone after it was first seen.
    pub delay: HumanDuration,
    /// How much longer the service of the next rank waits.
    pub takeover: HumanDuration,
}

impl RepairConfig {
    /// What the engine takes.
    pub fn options(&self) -> RepairOptions {
        RepairOptions {
            bytes_per_second: self.rate.0,
            workers: self.workers.get(),
            census_interval: self.census_interval.0,
            delay: self.delay.0,
            takeover: self.takeover.0,
            orphan_age: ORPHAN_AGE,
        }
    }
}

/// Shards that no ledger names are told when they are older than this: a gateway may be away for a while with lines that nobody has.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3_600);
/// Least rate of repair: a shard a second.
const REPAIR_RATE_MIN: ByteSize = ByteSize(1 << 20);
/// Most stripes that repair works on at once: each takes up to 30 MiB.
const REPAIR_WORKERS_MAX: usize = 64;

/// What no service can work with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A gateway is listed twice.
    #[error("gateway {0} is listed twice")]
    GatewayTwice(NodeId),
    /// Repair would hardly move.
    #[error("repair.rate is less than {REPAIR_RATE_MIN}: raise it, or set repair.enabled to false")]
    RepairRate,
    /// Repair would need too much memory.
    #[error("repair.workers is more than {REPAIR_WORKERS_MAX}; each takes up to 30 MiB of memory")]
    RepairWorkers,
}

impl Config {
    /// What must hold beyond the types.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        if let Some(twice) = self.gateways.iter().find(|gateway| !seen.insert(gateway.node_id)) {
            return Err(ConfigError::GatewayTwice(twice.node_id));
        }
        if self.repair.rate.0 < REPAIR_RATE_MIN.0 {
            return Err(ConfigError::RepairRate);
        }
        if self.repair.workers.get() > REPAIR_WORKERS_MAX {
            return Err(ConfigError::RepairWorkers);
        }
        Ok(())
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
        assert_eq!(config.check(), Err(ConfigError::GatewayTwice(peer.node_id)));
    }

    #[test]
    fn repair_has_a_rate_and_workers_that_it_can_work_with() {
        let mut config = arion_daemon::Flags::<Config>::default().settings().unwrap();
        config.repair.workers = NonZeroUsize::new(REPAIR_WORKERS_MAX + 1).unwrap();
        assert_eq!(config.check(), Err(ConfigError::RepairWorkers));
        config.repair.rate = ByteSize(1_000);
        let said = config.check().unwrap_err().to_string();
        assert_eq!(said, "repair.rate is less than 1MiB: raise it, or set repair.enabled to false");
    }
}
