//! Settings; what they mean stands in `example.toml`.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use arion_daemon::{ByteSize, ChainConfig, HttpConfig, HumanDuration, KeyKind, LogConfig, Pause, Settings};
use serde::{Deserialize, Serialize};

use crate::{
    account::is_plain_name,
    grid::GridOptions,
    keystore::{KeyStore, KeyStoreError},
    meta::{MetadataPlace, Postgres, PostgresError},
    notify::{SenderOptions, WebhookConfig},
    retention::Retention,
    s3::{self, Domains},
    snapshot::schedule,
};

/// Least durable shards beyond k.
const QUORUM_EXTRA_MIN: u8 = 10;
/// Largest upload that can share a stripe: two fit.
const PACK_OBJECT_MAX: u64 = 5 << 20;
/// Fullest stripe that is worth rewriting.
const COMPACT_PERCENT_MAX: u8 = 90;
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
    /// File of what account keys are derived from.
    pub account_key_file: PathBuf,
    /// Name of the systemd credential that has it instead.
    pub account_key_credential: Option<String>,
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
    /// Whether people are shown the status page.
    pub page: bool,
    /// UDP address of the ledger.
    pub listen: SocketAddr,
    /// Where events of buckets can be told.
    #[serde(default)]
    pub webhook: Vec<WebhookConfig>,
    /// Bounds of writing.
    pub write: WriteConfig,
    /// Bounds of reading.
    pub read: ReadConfig,
    /// When shards are in their place.
    pub placement: PlacementConfig,
    /// The chain.
    pub chain: ChainConfig,
    /// Where the metadata are.
    #[serde(default)]
    pub metadata: MetadataConfig,
    /// Snapshots of the metadata.
    pub snapshot: SnapshotConfig,
    /// What accounts of the chain are charged.
    pub billing: BillingConfig,
    /// The ledger.
    pub ledger: LedgerConfig,
    /// Bounds of what webhooks are told.
    pub notify: NotifyConfig,
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
    /// What all uploads may have waiting to be encoded.
    pub memory: ByteSize,
    /// Time for one attempt to store a shard.
    pub store_timeout: Pause,
    /// Time for a stripe to reach its quorum.
    pub stripe_timeout: Pause,
    /// Largest upload that shares a stripe with others.
    pub pack_object_max: ByteSize,
    /// Wait for others to share a stripe with.
    pub pack_delay: HumanDuration,
    /// Shared stripes of which less is needed are written anew.
    pub compact_below_percent: u8,
    /// What that may read and write in a second.
    pub compact_rate: ByteSize,
    /// Time to complete an upload in parts.
    pub upload_age_max: Pause,
}

/// Bounds of reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadConfig {
    /// Memory for shards that were read lately.
    pub cache: ByteSize,
    /// What all downloads may have on its way to their clients.
    pub memory: ByteSize,
    /// Stripes of one download fetched ahead.
    pub stripes_ahead: usize,
    /// Stripes of all downloads fetched ahead.
    pub stripes_ahead_total: usize,
    /// Time for one shard to arrive.
    pub fetch_timeout: Pause,
    /// Least wait before other miners are asked too.
    pub patience: Pause,
    /// Between two statements in the ledger of what miners served.
    pub statement_interval: Pause,
}

/// When shards are in their place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementConfig {
    /// How long a map is in force before copies elsewhere are given up.
    pub surplus_after: Pause,
}

/// Where the metadata are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataConfig {
    /// Address of PostgreSQL; without it they are in a file.
    pub postgres: Option<String>,
    /// Its password.
    pub postgres_password_file: Option<PathBuf>,
}

/// Snapshots of the metadata.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotConfig {
    /// The account that pays; without it there are none.
    pub account_file: Option<PathBuf>,
    /// Pause between two.
    pub interval: Pause,
    /// What they may store in a second.
    pub rate: ByteSize,
}

/// What accounts of the chain are charged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingConfig {
    /// The owner of the gateway's registration; without it nobody is charged.
    pub account_file: Option<PathBuf>,
    /// Pause between two commitments.
    pub interval: Pause,
    /// How long data are kept after their agreement expired.
    pub expired_kept: HumanDuration,
}

/// The ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// The bucket that its segments are put into; empty for none.
    pub bucket: String,
    /// The account that the bucket belongs to.
    pub account: String,
    /// How long lines that nothing needs are kept after the chain has the line that says so.
    pub keep_dead: Retention,
}

/// Bounds of what webhooks are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// Time for a webhook to take an event.
    pub timeout: Pause,
    /// How long an event is kept.
    pub age_max: Pause,
    /// How many events of a webhook are kept.
    pub backlog_max: u64,
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
    /// More than shares a stripe.
    #[error(
        "write.pack_object_max must be at most {}: two must fit into a stripe",
        ByteSize(PACK_OBJECT_MAX)
    )]
    PackObject,
    /// More than everything.
    #[error("write.compact_below_percent must be at most 90: rewriting fuller stripes gains nothing")]
    CompactPercent,
    /// A password for nothing.
    #[error("metadata.postgres_password_file is set and metadata.postgres is not")]
    PasswordOfNothing,
    /// Not an address of PostgreSQL.
    #[error("metadata.postgres: {0}")]
    Postgres(String),
    /// Not a bucket.
    #[error(
        "ledger.bucket is `{0}`, which no bucket can be called; leave it empty to put the ledger into none"
    )]
    LedgerBucket(String),
    /// Not an account.
    #[error("ledger.account is `{0}`: 1 to 64 letters, digits, `-`, `_` and `.`, and no sub-account")]
    LedgerAccount(String),
    /// Two of one name.
    #[error("there are two webhooks called {0}")]
    Webhook(String),
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

    /// Where the metadata are if they are in a file.
    pub fn metadata_file(&self) -> PathBuf {
        self.data_dir.join("gateway.redb")
    }

    /// Where the metadata are.
    pub fn metadata(&self) -> Result<MetadataPlace, PostgresError> {
        let file = self.metadata_file();
        let MetadataConfig { postgres, postgres_password_file } = &self.metadata;
        let Some(address) = postgres else { return Ok(MetadataPlace::File(file)) };
        let mut database: Postgres = address.parse()?;
        if let Some(path) = postgres_password_file {
            database = database.with_password_file(path)?;
        }
        Ok(MetadataPlace::Postgres { database, file })
    }

    /// Where somebody asks a running gateway for a snapshot.
    pub fn snapshot_request(&self) -> PathBuf {
        self.data_dir.join(schedule::REQUEST)
    }

    /// What must hold beyond the types.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.write.quorum_extra < QUORUM_EXTRA_MIN {
            return Err(ConfigError::Quorum);
        }
        if self.write.shards_in_memory < STRIPE_SHARDS {
            return Err(ConfigError::NoRoom);
        }
        if self.write.pack_object_max.0 > PACK_OBJECT_MAX {
            return Err(ConfigError::PackObject);
        }
        if self.write.compact_below_percent > COMPACT_PERCENT_MAX {
            return Err(ConfigError::CompactPercent);
        }
        match &self.metadata {
            MetadataConfig { postgres: None, postgres_password_file: Some(_) } => {
                return Err(ConfigError::PasswordOfNothing);
            }
            MetadataConfig { postgres: Some(address), .. } => {
                let parsed = address.parse::<Postgres>();
                parsed.map_err(|error| ConfigError::Postgres(error.to_string()))?;
            }
            _ => {}
        }
        let LedgerConfig { bucket, account, .. } = &self.ledger;
        if !bucket.is_empty() && !s3::is_bucket_name(bucket) {
            return Err(ConfigError::LedgerBucket(bucket.clone()));
        }
        if !is_plain_name(account) {
            return Err(ConfigError::LedgerAccount(account.clone()));
        }
        if self.region.is_empty() {
            return Err(ConfigError::Region);
        }
        for (position, webhook) in self.webhook.iter().enumerate() {
            if self.webhook[..position].iter().any(|other| other.name == webhook.name) {
                return Err(ConfigError::Webhook(webhook.name.clone()));
            }
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

    /// The bounds of what webhooks are told.
    pub fn sender_options(&self) -> SenderOptions {
        let NotifyConfig { timeout, age_max, backlog_max } = self.notify;
        SenderOptions { timeout: timeout.0, age_max: age_max.0, backlog_max, ..SenderOptions::default() }
    }

    /// Where what account keys are derived from is kept.
    pub fn key_store(&self) -> Result<KeyStore, KeyStoreError> {
        match &self.account_key_credential {
            Some(name) => KeyStore::credential(name),
            None => Ok(KeyStore::file(&self.account_key_file)),
        }
    }

    /// The bounds of the data path.
    pub fn grid_options(&self) -> GridOptions {
        let (write, read, default) = (&self.write, &self.read, GridOptions::default());
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        GridOptions {
            quorum_extra: write.quorum_extra,
            stripes_in_flight: write.stripes_in_flight.get(),
            shards_in_memory: write.shards_in_memory,
            write_bytes: bytes(write.memory),
            read_bytes: bytes(read.memory),
            store_timeout: write.store_timeout.0,
            stripe_timeout: write.stripe_timeout.0,
            upload_age_max: write.upload_age_max.0,
            pack_object_bytes: bytes(write.pack_object_max),
            pack_delay: write.pack_delay.0,
            compact_below_percent: write.compact_below_percent,
            compact_bytes_per_second: write.compact_rate.0,
            cache_bytes: read.cache.0,
            stripes_ahead: read.stripes_ahead,
            stripes_ahead_total: read.stripes_ahead_total,
            surplus_after: self.placement.surplus_after.0,
            fetch_timeout: read.fetch_timeout.0,
            patience: (read.patience.0, default.patience.1.max(read.patience.0)),
            statement_interval: read.statement_interval.0,
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
    use clap::{Args, FromArgMatches};

    type Flags = arion_daemon::Flags<Config>;

    #[test]
    fn the_example_has_every_key_and_stands_on_the_operators_page() {
        arion_daemon::settings::check_example::<Config>(include_str!("../../docs/operate/gateway.md"));
    }

    #[test]
    fn the_defaults_are_those_of_the_data_path_and_nonsense_is_refused() {
        let good = Flags::default().settings().unwrap();
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.grid_options(), GridOptions::default());
        assert_eq!(good.sender_options(), SenderOptions::default());
        let mut config = good.clone();
        config.write.quorum_extra = 9;
        assert_eq!(config.check(), Err(ConfigError::Quorum));
        let mut config = good.clone();
        config.write.shards_in_memory = 29;
        assert_eq!(config.check(), Err(ConfigError::NoRoom));
        let mut config = good.clone();
        config.write.pack_object_max = ByteSize((5 << 20) + 1);
        assert_eq!(config.check(), Err(ConfigError::PackObject));
        let mut config = good.clone();
        config.write.compact_below_percent = 91;
        assert_eq!(config.check(), Err(ConfigError::CompactPercent));
        let mut config = good.clone();
        config.metadata.postgres_password_file = Some("p".into());
        assert_eq!(config.check(), Err(ConfigError::PasswordOfNothing));
        for (address, said) in [
            ("mysql://db/arion", "postgres://"),
            ("postgres://arion:secret@db/arion", "postgres_password_file"),
            ("postgres://arion@db/arion?password=secret", "postgres_password_file"),
            ("postgres://arion@db/arion?sslmod=verify-full", "`sslmod`"),
            ("postgres://arion@db/arion?sslmode=certainly", "certainly"),
        ] {
            config.metadata.postgres = Some(address.into());
            let told = config.check().unwrap_err().to_string();
            assert!(told.contains(said) && !told.contains("secret@"), "{told}");
        }
        config.metadata.postgres = Some("postgres://arion@db/arion?sslmode=verify-full".into());
        assert_eq!(config.check(), Ok(()));
        assert_eq!(
            config.metadata.postgres.map(|text| text.parse::<Postgres>().unwrap().to_string()),
            Some("PostgreSQL at db:5432, database arion".into())
        );
        let webhook = WebhookConfig {
            name: "a".into(),
            url: "http://h".into(),
            secret_file: "/s".into(),
            accounts: Vec::new(),
        };
        let config = Config { webhook: vec![webhook.clone(), webhook], ..good.clone() };
        assert_eq!(config.check(), Err(ConfigError::Webhook("a".into())));
        assert_eq!(
            (good.ledger.bucket.as_str(), good.ledger.account.as_str()),
            ("arion-ledger", "arion-ledger")
        );
        assert_eq!(good.ledger.keep_dead.to_string(), "30d");
        let off = Flags::augment_args(clap::Command::new("gateway"));
        let off = off.get_matches_from(["gateway", "--ledger-bucket="]);
        assert_eq!(Flags::from_arg_matches(&off).unwrap().settings().unwrap().ledger.bucket, "");
        for (bucket, account, said) in [
            ("a", "ledger", "ledger.bucket"),
            ("v1", "ledger", "ledger.bucket"),
            ("ledger", "", "ledger.account"),
            ("ledger", "a/b", "ledger.account"),
            ("", "ledger", ""),
            ("my.ledger", "ledger", ""),
        ] {
            let ledger =
                LedgerConfig { bucket: bucket.into(), account: account.into(), keep_dead: Retention(None) };
            let refused = Config { ledger, ..good.clone() }.check().err();
            let told = refused.map(|error| error.to_string()).unwrap_or_default();
            assert!(told.starts_with(said) && told.is_empty() == said.is_empty(), "{told}");
        }
        let config = Config { region: String::new(), ..good };
        assert_eq!(config.check(), Err(ConfigError::Region));
    }
}
