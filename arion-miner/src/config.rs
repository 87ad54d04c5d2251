//! Settings; what they mean stands in `example.toml`.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use arion_daemon::{
    ByteSize, ChainConfig, HostPort, HttpConfig, HumanDuration, KeyKind, LogConfig, Pause, Peer, Settings,
};
use arion_net::{RelayAddr, RelayAddrError};
use serde::{Deserialize, Serialize};

use crate::{disks::DiskDir, orphans::collector::CollectorOptions, store::StoreOptions};

/// Least capacity, and least length of a segment: two shards.
const BYTES_MIN: u64 = 2 << 20;
const SEGMENT_BYTES_MAX: u64 = 1 << 40;
const BANDWIDTH_MIN: u64 = 64 << 10;
/// Long enough for what is on its way to a ledger; what is meant is days.
const ORPHAN_RETENTION_MIN: Duration = Duration::from_secs(60);

/// Everything the daemon needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Shards, keys and nonces live here.
    pub data_dir: PathBuf,
    /// File of the node key.
    pub key_file: PathBuf,
    /// UDP address to listen on.
    pub listen: SocketAddr,
    /// Where others reach this node; default: `listen`.
    pub endpoint: Option<HostPort>,
    /// A relay through which others reach this node, where they cannot do so directly.
    pub relay: Option<Peer>,
    /// Bytes offered for shards.
    pub capacity: ByteSize,
    /// Further disks.
    #[serde(default)]
    pub disks: Vec<DiskDir>,
    /// Whether validators should move all data elsewhere.
    pub draining: bool,
    /// Length at which a segment file of the store is closed.
    pub segment_size: ByteSize,
    /// How long a deleted shard can be restored.
    pub trash_retention: HumanDuration,
    /// Whether shards are deleted that nobody wants.
    pub collect_orphans: bool,
    /// For how long nobody has to want them.
    pub orphan_retention: HumanDuration,
    /// Every shard is read and compared with its address once in this time.
    pub scrub_period: HumanDuration,
    /// Bytes per second that scrub and compaction may read and write.
    pub background_bandwidth: ByteSize,
    /// Pause between heartbeats.
    pub heartbeat_interval: Pause,
    /// Validator services that get heartbeats.
    #[serde(default)]
    pub validators: Vec<Peer>,
    /// Bounds on work at once.
    pub limits: Limits,
    /// The chain.
    pub chain: ChainConfig,
    /// Health and metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// Bounds on work at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests of all kinds of nodes with a role on the chain; one of them gets at most half.
    pub requests_max: NonZeroUsize,
    /// Shards that are stored, read or deleted.
    pub transfers_max: NonZeroUsize,
    /// Challenges that are answered.
    pub audits_max: NonZeroUsize,
}

/// Settings that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// An address others cannot use.
    #[error(
        "nobody can reach {0}: set `endpoint` (--endpoint) to the address that others reach this node at, or `relay` if there is none"
    )]
    Unreachable(SocketAddr),
    /// Two ways in, of which others are told one.
    #[error(
        "`endpoint` and `relay` exclude each other: keep `endpoint` if others can reach that address, else `relay`"
    )]
    TwoEndpoints,
    /// The relay does not fit an endpoint.
    #[error("`relay`: {0}")]
    Relay(#[from] RelayAddrError),
    /// Capacity is smaller than one shard.
    #[error("capacity must be at least 2MiB, on every disk")]
    TinyCapacity,
    /// Segments are smaller than one shard.
    #[error("segment_size must be 2MiB to 1TiB")]
    SegmentSize,
    /// Two stores in one place.
    #[error("{} is named twice: give every disk a directory of its own", .0.display())]
    SameDisk(PathBuf),
    /// What is on its way to a ledger would be deleted.
    #[error("orphan_retention must be at least 1m; to delete nothing set collect_orphans to false")]
    OrphanRetention,
    /// A scrub would never end.
    #[error("background_bandwidth must be at least 64KiB")]
    Bandwidth,
}

impl Config {
    /// Where the shards lie and how each store is run: in the data directory, then on further disks.
    pub fn stores(&self) -> Vec<(PathBuf, StoreOptions)> {
        let further = self.disks.iter().map(|disk| (&disk.path, disk.capacity));
        let all = std::iter::once((&self.data_dir, self.capacity)).chain(further);
        all.map(|(path, capacity)| (path.join("store"), self.store_options(capacity))).collect()
    }

    /// A file that says what `draining` says, for as long as it is there: `arion miner drain` makes and removes it.
    pub fn drain_file(&self) -> PathBuf {
        self.data_dir.join("draining")
    }

    /// What is done about shards that nobody wants.
    pub fn collector_options(&self) -> CollectorOptions {
        CollectorOptions { deletes: self.collect_orphans, retention: self.orphan_retention.0 }
    }

    fn store_options(&self, capacity: ByteSize) -> StoreOptions {
        StoreOptions {
            capacity_bytes: capacity.0,
            segment_bytes: self.segment_size.0,
            trash_retention: self.trash_retention.0,
            scrub_period: self.scrub_period.0,
            background_bytes_per_second: self.background_bandwidth.0,
            ..StoreOptions::default()
        }
    }

    /// What must hold beyond the types.
    pub fn check(&self) -> Result<(), ConfigError> {
        let capacities = self.disks.iter().map(|disk| disk.capacity).chain([self.capacity]);
        if capacities.into_iter().any(|capacity| capacity.0 < BYTES_MIN) {
            return Err(ConfigError::TinyCapacity);
        }
        let mut paths: Vec<_> = self.disks.iter().map(|disk| &disk.path).chain([&self.data_dir]).collect();
        paths.sort_unstable();
        if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::SameDisk(twice[0].clone()));
        }
        if !(BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_size.0) {
            return Err(ConfigError::SegmentSize);
        }
        if self.background_bandwidth.0 < BANDWIDTH_MIN {
            return Err(ConfigError::Bandwidth);
        }
        if self.orphan_retention.0 < ORPHAN_RETENTION_MIN {
            return Err(ConfigError::OrphanRetention);
        }
        match (&self.endpoint, self.relay()?) {
            (Some(_), Some(_)) => Err(ConfigError::TwoEndpoints),
            (None, None) if self.listen.ip().is_unspecified() => Err(ConfigError::Unreachable(self.listen)),
            _ => Ok(()),
        }
    }

    /// The relay, as others are told of it.
    pub fn relay(&self) -> Result<Option<RelayAddr>, RelayAddrError> {
        let relay = self.relay.as_ref();
        relay.map(|relay| RelayAddr::new(relay.node_id, relay.endpoint.as_str())).transpose()
    }
}

impl Settings for Config {
    const PROGRAM: &'static str = "arion-miner";
    const EXAMPLE: &'static str = include_str!("../example.toml");
    const KEYS: &'static [(KeyKind, &'static str)] = &[(KeyKind::Node, "key_file")];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_key_and_stands_on_the_operators_page() {
        arion_daemon::settings::check_example::<Config>(include_str!("../../docs/operate/miner.md"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let mut config = arion_daemon::Flags::<Config>::default().settings().unwrap();
        assert_eq!(config.check(), Err(ConfigError::Unreachable(config.listen)));
        config.endpoint = Some("a:1".parse().unwrap());
        assert_eq!(config.check(), Ok(()));
        config.relay = Some(format!("{}@relay.example.org:7800", "0f".repeat(32)).parse().unwrap());
        assert_eq!(config.check(), Err(ConfigError::TwoEndpoints));
        config.endpoint = None;
        assert_eq!(config.check(), Ok(()));
        config.relay = Some(format!("{}@{}:1", "0f".repeat(32), "a".repeat(100)).parse().unwrap());
        assert!(matches!(config.check(), Err(ConfigError::Relay(_))));
        (config.relay, config.endpoint) = (None, Some("a:1".parse().unwrap()));
        config.disks = vec!["/mnt/a=1GiB".parse().unwrap(), "/mnt/a=2GiB".parse().unwrap()];
        assert_eq!(config.check(), Err(ConfigError::SameDisk("/mnt/a".into())));
        config.disks.truncate(1);
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.stores()[1].0, PathBuf::from("/mnt/a/store"));
        assert_eq!(config.stores()[1].1.capacity_bytes, 1 << 30);
        config.orphan_retention = HumanDuration(ORPHAN_RETENTION_MIN - Duration::from_millis(1));
        assert_eq!(config.check(), Err(ConfigError::OrphanRetention));
        config.background_bandwidth = ByteSize(1_000);
        assert_eq!(config.check(), Err(ConfigError::Bandwidth));
        config.segment_size = ByteSize(1 << 20);
        assert_eq!(config.check(), Err(ConfigError::SegmentSize));
        config.capacity = ByteSize(1 << 20);
        assert_eq!(config.check(), Err(ConfigError::TinyCapacity));
    }
}
