//! Settings; what they mean stands in `example.toml`.

use std::{
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use arion_daemon::{ChainConfig, HttpConfig, HumanDuration, KeyKind, LogConfig, Settings};
use serde::{Deserialize, Serialize};

/// Everything the submitter needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the queue and of the keys.
    pub data_dir: PathBuf,
    /// File of the node key.
    pub key_file: PathBuf,
    /// File of the account key.
    pub account_file: PathBuf,
    /// QUIC address.
    pub listen: SocketAddr,
    /// Attestations in one transaction.
    pub batch_max: NonZeroUsize,
    /// How long attestations wait for company.
    pub batch_age: HumanDuration,
    /// Transactions in any hour.
    pub transactions_per_hour: NonZeroUsize,
    /// Fees in any 24 hours, in whole ALPHA.
    pub fees_per_day: u32,
    /// Attestations that may wait.
    pub queue_max: NonZeroU64,
    /// The chain.
    pub chain: ChainConfig,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

impl Settings for Config {
    const PROGRAM: &'static str = "arion-submitter";
    const EXAMPLE: &'static str = include_str!("../example.toml");
    const KEYS: &'static [(KeyKind, &'static str)] =
        &[(KeyKind::Node, "key_file"), (KeyKind::Account, "account_file")];
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_has_every_key_and_stands_on_the_operators_page() {
        let page = include_str!("../../docs/operate/chain-submitter.md");
        arion_daemon::settings::check_example::<super::Config>(page);
    }
}
