//! Settings; what they mean stands in `example.toml`.

use std::{
    collections::HashSet,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use arion_daemon::{ChainConfig, HttpConfig, HumanDuration, KeyKind, LogConfig, Pause, Peer, Settings};
use arion_types::{NodeId, attestation::WARDEN_ID_BYTES_MAX};
use serde::{Deserialize, Serialize};

use crate::{challenge::Patience, docket::Pace};

/// Everything the warden needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the store, of evidence and of the key.
    pub data_dir: PathBuf,
    /// File of the warden key.
    pub key_file: PathBuf,
    /// Name in attestations.
    pub name: String,
    /// The chain-submitter; the warden does not start without.
    pub submitter: Option<Peer>,
    /// The gateways.
    #[serde(default)]
    pub gateways: Vec<Peer>,
    /// Pause between looks at the ledgers.
    pub ledger_poll: Pause,
    /// Challenges in each interval.
    pub challenges: NonZeroU32,
    /// See [`Config::challenges`].
    pub interval: Pause,
    /// Shortest time of a round.
    pub round_min: HumanDuration,
    /// Longest time of a round.
    pub round_max: Pause,
    /// Blocks without an attestation after which another warden's shards are taken over.
    pub silence: NonZeroU32,
    /// Challenges under way at once.
    pub parallel: NonZeroUsize,
    /// Time for one answer.
    pub deadline: Pause,
    /// Further attempts where no answer came.
    pub retries: u32,
    /// Pause before the first of them.
    pub retry_pause: HumanDuration,
    /// The chain.
    pub chain: ChainConfig,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// Settings that do not go together.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Attestations would go nowhere.
    #[error("submitter is not set; set it in the configuration file or with --submitter")]
    NoSubmitter,
    /// The name is too long.
    #[error("name is longer than {WARDEN_ID_BYTES_MAX} bytes")]
    Name,
    /// A round would have to be longer than it may be.
    #[error("round_min is longer than round_max")]
    Round,
    /// A gateway is listed twice.
    #[error("gateway {0} is listed twice")]
    GatewayTwice(NodeId),
}

impl Config {
    /// What must hold beyond the types; returns the chain-submitter.
    pub fn check(&self) -> Result<Peer, ConfigError> {
        if self.name.len() > WARDEN_ID_BYTES_MAX as usize {
            return Err(ConfigError::Name);
        }
        if self.round_min.0 > self.round_max.0 {
            return Err(ConfigError::Round);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.gateways.iter().find(|gateway| !seen.insert(gateway.node_id)) {
            return Err(ConfigError::GatewayTwice(twice.node_id));
        }
        self.submitter.clone().ok_or(ConfigError::NoSubmitter)
    }

    /// How fast audits go.
    pub fn pace(&self) -> Pace {
        let pause = self.interval.0 / self.challenges.get();
        let (round_min, round_max) = (self.round_min.0, self.round_max.0);
        Pace { pause, round_min, round_max, parallel: self.parallel.get() }
    }

    /// How long and often miners are asked.
    pub fn patience(&self) -> Patience {
        Patience { deadline: self.deadline.0, retries: self.retries, pause: self.retry_pause.0 }
    }
}

impl Settings for Config {
    const PROGRAM: &'static str = "arion-warden";
    const EXAMPLE: &'static str = include_str!("../example.toml");
    const KEYS: &'static [(KeyKind, &'static str)] = &[(KeyKind::Node, "key_file")];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_key_and_stands_on_the_operators_page() {
        arion_daemon::settings::check_example::<Config>(include_str!("../../docs/operate/warden.md"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let peer: Peer = format!("{}@h:1", "1".repeat(64)).parse().unwrap();
        let flags = arion_daemon::Flags::<Config>::default().settings();
        let mut config = flags.unwrap();
        assert_eq!(config.check(), Err(ConfigError::NoSubmitter));
        config.submitter = Some(peer.clone());
        assert_eq!(config.check(), Ok(peer.clone()));
        config.gateways = vec![peer.clone(), peer.clone()];
        assert_eq!(config.check(), Err(ConfigError::GatewayTwice(peer.node_id)));
        config.gateways.pop();
        config.round_min.0 = config.round_max.0 * 2;
        assert_eq!(config.check(), Err(ConfigError::Round));
        config.name = "n".repeat(65);
        assert_eq!(config.check(), Err(ConfigError::Name));
    }
}
