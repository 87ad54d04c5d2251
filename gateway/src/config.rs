//! Settings; what they mean stands in `example.toml`.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use arion_daemon::{ChainConfig, HttpConfig, KeyKind, LogConfig, Pause, Settings};
use serde::{Deserialize, Serialize};

use crate::{grid::GridOptions, s3::Domains};

/// Least durable shards beyond k.
const QUORUM_EXTRA_MIN: u8 = 10;
/// Shards of a stripe.
const STRIPE_SHARDS: usize = 30;

/// Everything the daemon needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Metadata and keys live here.
    pub data_dir: PathBuf,
    /// File of the node key.
    pub key_file: PathBuf,
    /// File of what objects' keys are sealed under.
    pub account_key_file: PathBuf,
    /// Access keys; see [`Config::access_keys_file`].
    pub access_keys_file: Option<PathBuf>,
    /// TCP address of the S3 endpoint.
    pub s3: SocketAddr,
    /// Region that clients are told.
    pub region: String,
    /// Domains below which names are buckets.
    pub domains: Vec<String>,
    /// Domains below which names are buckets' websites.
    pub website_domains: Vec<String>,
    /// UDP address of the ledger.
    pub listen: SocketAddr,
    /// Bounds of writing.
    pub write: WriteConfig,
    /// Bounds of reading.
    pub read: ReadConfig,
    /// The chain.
    pub chain: ChainConfig,
    /// Health and metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// Bounds of writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteConfig {
    /// Durable shards beyond k that a stripe needs.
    pub quorum_extra: u8,
    /// Stripes of one upload on their way at once.
    pub stripes_in_flight: NonZeroUsize,
    /// Shards of all uploads in memory at once.
    pub shards_in_memory: usize,
    /// Time for one attempt to store a shard.
    pub store_timeout: Pause,
    /// Time for a stripe to reach its quorum.
    pub stripe_timeout: Pause,
    /// Time to complete an upload in parts.
    pub upload_age_max: Pause,
}

/// Bounds of reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadConfig {
    /// Stripes of one download fetched ahead.
    pub stripes_ahead: usize,
    /// Stripes of all downloads fetched ahead.
    pub stripes_ahead_total: usize,
    /// Time for one shard to arrive.
    pub fetch_timeout: Pause,
    /// Least wait before other miners are asked too.
    pub patience: Pause,
}

/// Settings that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Durability below what is promised.
    #[error(
        "write.quorum_extra must be at least {QUORUM_EXTRA_MIN}: fewer durable shards are never acknowledged"
    )]
    Quorum,
    /// Not even one stripe fits.
    #[error("write.shards_in_memory must be at least {STRIPE_SHARDS}, the shards of one stripe")]
    NoRoom,
    /// Not a domain, or one that means two things.
    #[error(
        "domains and website_domains have names such as s3.example.org, without a port, and none of them is below or the same as another one: {0}"
    )]
    Domain(String),
    /// Nothing is told.
    #[error("region must not be empty")]
    Region,
}

impl Config {
    /// Where the access keys are.
    pub fn access_keys_file(&self) -> PathBuf {
        self.access_keys_file.clone().unwrap_or_else(|| self.data_dir.join("keys.toml"))
    }

    /// Domains below which names are buckets, in lower case.
    pub fn domains(&self) -> Domains {
        let lower = |domains: &[String]| domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        Domains { s3: lower(&self.domains), website: lower(&self.website_domains) }
    }

    /// Where the metadata are.
    pub fn metadata_file(&self) -> PathBuf {
        self.data_dir.join("gateway.redb")
    }

    /// What must hold beyond the types.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.write.quorum_extra < QUORUM_EXTRA_MIN {
            return Err(ConfigError::Quorum);
        }
        if self.write.shards_in_memory < STRIPE_SHARDS {
            return Err(ConfigError::NoRoom);
        }
        if self.region.is_empty() {
            return Err(ConfigError::Region);
        }
        self.check_domains()
    }

    fn check_domains(&self) -> Result<(), ConfigError> {
        let Domains { s3, website } = self.domains();
        let all: Vec<&String> = s3.iter().chain(&website).collect();
        for (position, domain) in all.iter().enumerate() {
            let is_label = |label: &str| {
                !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            let overlaps = all.iter().enumerate().any(|(other_position, other)| {
                other_position != position && (other == domain || other.ends_with(&format!(".{domain}")))
            });
            if !domain.split('.').all(is_label) || overlaps {
                return Err(ConfigError::Domain((*domain).clone()));
            }
        }
        Ok(())
    }

    /// The bounds of the data path.
    pub fn grid_options(&self) -> GridOptions {
        let (write, read, default) = (&self.write, &self.read, GridOptions::default());
        GridOptions {
            quorum_extra: write.quorum_extra,
            stripes_in_flight: write.stripes_in_flight.get(),
            shards_in_memory: write.shards_in_memory,
            store_timeout: write.store_timeout.0,
            stripe_timeout: write.stripe_timeout.0,
            upload_age_max: write.upload_age_max.0,
            stripes_ahead: read.stripes_ahead,
            stripes_ahead_total: read.stripes_ahead_total,
            fetch_timeout: read.fetch_timeout.0,
            patience: (read.patience.0, default.patience.1.max(read.patience.0)),
            stripe_bytes: default.stripe_bytes,
            tail: default.tail,
        }
    }
}

impl Settings for Config {
    const PROGRAM: &'static str = "arion-gateway";
    const EXAMPLE: &'static str = include_str!("../example.toml");
    const KEYS: &'static [(KeyKind, &'static str)] =
        &[(KeyKind::Node, "key_file"), (KeyKind::Seal, "account_key_file")];
    /// `s3s` logs every refused request as an error; our own log says what an operator needs to know.
    const QUIET: &'static [&'static str] = &["s3s"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_key_and_stands_on_the_operators_page() {
        arion_daemon::settings::check_example::<Config>(include_str!("../../docs/operate/gateway.md"));
    }

    #[test]
    fn the_defaults_are_those_of_the_data_path_and_nonsense_is_refused() {
        let good = arion_daemon::Flags::<Config>::default().settings().unwrap();
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.grid_options(), GridOptions::default());
        let mut config = good.clone();
        config.write.quorum_extra = 9;
        assert_eq!(config.check(), Err(ConfigError::Quorum));
        let mut config = good.clone();
        config.write.shards_in_memory = 29;
        assert_eq!(config.check(), Err(ConfigError::NoRoom));
        let config = Config { region: String::new(), ..good };
        assert_eq!(config.check(), Err(ConfigError::Region));
    }
}
