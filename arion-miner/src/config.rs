//! Configuration of the daemon: one TOML file, every option also a flag.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use arion_daemon::{ByteSize, HttpConfig, HumanDuration, LogConfig};
use arion_types::{GenesisHash, NodeId, map::Endpoint};
use serde::{Deserialize, Deserializer, de::Error};

/// The file that `init` writes and `example-config` prints.
pub const EXAMPLE: &str = include_str!("../example.toml");

/// Everything the daemon needs to know.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Shards, key and nonces live here.
    pub data_dir: PathBuf,
    /// Secret key of the node; default: `node.key` in the data directory.
    pub key_file: Option<PathBuf>,
    /// UDP address to listen on.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where others reach this node; default: `listen`.
    pub endpoint: Option<PublicEndpoint>,
    /// RPC of a chain node.
    #[serde(default = "default_node_url")]
    pub node_url: String,
    /// Hash of block 0 of the chain to be on; another chain is refused.
    #[serde(default, deserialize_with = "hex32")]
    pub genesis: Option<GenesisHash>,
    /// Pause between looks at the finalised head.
    #[serde(default = "default_poll_interval")]
    pub poll_interval: HumanDuration,
    /// Bytes offered for shards.
    #[serde(default = "default_capacity")]
    pub capacity: ByteSize,
    /// Whether validators should move all data elsewhere.
    #[serde(default)]
    pub draining: bool,
    /// Length at which a segment file of the store is closed.
    #[serde(default = "default_segment_size")]
    pub segment_size: ByteSize,
    /// Pause between heartbeats.
    #[serde(default = "default_heartbeat_interval")]
    pub heartbeat_interval: HumanDuration,
    /// Validator services that get heartbeats.
    #[serde(default)]
    pub validators: Vec<ValidatorAddr>,
    /// Bounds on work at once.
    #[serde(default)]
    pub limits: Limits,
    /// Health and metrics.
    #[serde(default)]
    pub http: HttpConfig,
    /// Log lines.
    #[serde(default)]
    pub log: LogConfig,
}

/// Bounds on work at once.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests of all kinds, over all peers.
    pub requests_max: usize,
    /// Shards that are stored, read or deleted.
    pub transfers_max: usize,
    /// Challenges that are answered.
    pub audits_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_max: 128, transfers_max: 32, audits_max: 8 }
    }
}

/// A validator service.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorAddr {
    /// Its key.
    #[serde(deserialize_with = "from_text")]
    pub node_id: NodeId,
    /// `host:port`.
    pub endpoint: PublicEndpoint,
}

/// `host:port` or `[v6]:port`, short enough for the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicEndpoint(String);

/// Text that is not what an option wants.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OptionError {
    /// Not an endpoint.
    #[error(
        "`{0}` is not an endpoint; write HOST:PORT or [IPV6]:PORT with a port from 1 to 65535, at most 128 bytes"
    )]
    Endpoint(String),
    /// Not a validator.
    #[error("`{0}` is not a validator service; write NODE_ID@HOST:PORT with the node id in hex")]
    Validator(String),
    /// An address others cannot use.
    #[error("nobody can reach {0}: set `endpoint` to the address that others reach this node at")]
    Unreachable(SocketAddr),
    /// Bounds of 0.
    #[error("limits must be at least 1")]
    ZeroLimit,
    /// Capacity is smaller than one shard.
    #[error("capacity must be at least 2MiB")]
    TinyCapacity,
    /// Segments are smaller than one shard.
    #[error("segment_size must be 2MiB to 1TiB")]
    SegmentSize,
    /// Heartbeats or looks at the chain in a busy loop.
    #[error("heartbeat_interval and poll_interval must be at least 100ms")]
    TinyInterval,
}

impl PublicEndpoint {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in heartbeats and maps.
    pub fn to_endpoint(&self) -> Endpoint {
        Endpoint::try_from(self.0.as_bytes().to_vec()).expect("the length was checked when it was made")
    }
}

impl FromStr for PublicEndpoint {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let refused = || OptionError::Endpoint(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let host_holds = bracketed || (!host.is_empty() && !host.contains([':', '/', '[', ']', '@', ' ']));
        let port_holds = port.parse::<u16>().is_ok_and(|port| port > 0);
        let fits = Endpoint::try_from(text.as_bytes().to_vec()).is_ok();
        (host_holds && port_holds && fits).then(|| Self(text.to_owned())).ok_or_else(refused)
    }
}

impl<'de> Deserialize<'de> for PublicEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl FromStr for ValidatorAddr {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let refused = || OptionError::Validator(text.to_owned());
        let (node_id, endpoint) = text.split_once('@').ok_or_else(refused)?;
        let node_id = node_id.parse().map_err(|_| refused())?;
        Ok(Self { node_id, endpoint: endpoint.parse().map_err(|_| refused())? })
    }
}

impl Config {
    /// Where the node's key lies.
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| key_file_in(&self.data_dir))
    }

    /// Where the shards lie.
    pub fn store_dir(&self) -> PathBuf {
        store_dir_in(&self.data_dir)
    }

    /// What must hold beyond the types.
    pub fn check(&self) -> Result<(), OptionError> {
        let Limits { requests_max, transfers_max, audits_max } = self.limits;
        if requests_max == 0 || transfers_max == 0 || audits_max == 0 {
            return Err(OptionError::ZeroLimit);
        }
        if self.capacity.0 < 2 << 20 {
            return Err(OptionError::TinyCapacity);
        }
        if !(2 << 20..=1 << 40).contains(&self.segment_size.0) {
            return Err(OptionError::SegmentSize);
        }
        if self.heartbeat_interval.0.min(self.poll_interval.0).as_millis() < 100 {
            return Err(OptionError::TinyInterval);
        }
        if self.endpoint.is_none() && self.listen.ip().is_unspecified() {
            return Err(OptionError::Unreachable(self.listen));
        }
        Ok(())
    }
}

/// Where the key lies unless it is configured otherwise.
pub fn key_file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("node.key")
}

/// Where the shards lie.
pub fn store_dir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

fn default_listen() -> SocketAddr {
    ([0, 0, 0, 0], 7_700).into()
}

fn default_node_url() -> String {
    "ws://127.0.0.1:9944".into()
}

fn default_poll_interval() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(3))
}

fn default_capacity() -> ByteSize {
    ByteSize(100 << 30)
}

fn default_segment_size() -> ByteSize {
    ByteSize(1 << 30)
}

fn default_heartbeat_interval() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(30))
}

fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(
    deserializer: D,
) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn hex32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
    // The same digits as a node id.
    from_text::<D, NodeId>(deserializer).map(|id| Some(id.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_daemon::parse_config;

    #[test]
    fn the_example_is_valid_and_shows_the_defaults() {
        let example: Config = parse_config(EXAMPLE).unwrap();
        example.check().unwrap();
        let minimal: Config = parse_config("data_dir = \"/x\"\nendpoint = \"a:1\"").unwrap();
        assert_eq!(example.capacity, minimal.capacity);
        assert_eq!(example.heartbeat_interval, minimal.heartbeat_interval);
        assert_eq!(example.poll_interval, minimal.poll_interval);
        assert_eq!(example.segment_size, minimal.segment_size);
        assert_eq!(example.listen, minimal.listen);
        assert_eq!(example.node_url, minimal.node_url);
        assert_eq!(example.limits.requests_max, minimal.limits.requests_max);
        assert_eq!(example.limits.transfers_max, minimal.limits.transfers_max);
        assert_eq!(example.limits.audits_max, minimal.limits.audits_max);
        assert_eq!(example.log.level, minimal.log.level);
    }

    #[test]
    fn every_option_is_in_the_example() {
        let options = [
            "data_dir",
            "key_file",
            "listen",
            "endpoint",
            "node_url",
            "genesis",
            "poll_interval",
            "capacity",
            "draining",
            "segment_size",
            "heartbeat_interval",
            "[[validators]]",
            "[limits]",
            "requests_max",
            "transfers_max",
            "audits_max",
            "[http]",
            "addr",
            "[log]",
            "format",
            "level",
        ];
        for option in options {
            assert!(EXAMPLE.contains(option), "{option} is missing in example.toml");
        }
        assert!(parse_config::<Config>("data_dir = \"/x\"\ncolour = 1").is_err());
    }

    #[test]
    fn the_operators_page_shows_the_example() {
        let page = include_str!("../../docs/operate/miner.md");
        assert!(page.contains(EXAMPLE), "copy arion-miner/example.toml into docs/operate/miner.md");
    }

    #[test]
    fn endpoints_are_parsed_not_guessed() {
        for good in ["miner.example.org:7700", "192.0.2.1:1", "[2001:db8::1]:7700"] {
            assert_eq!(good.parse::<PublicEndpoint>().unwrap().as_str(), good);
        }
        let long = format!("{}:1", "a".repeat(127));
        for bad in ["", "host", ":1", "host:", "host:0", "host:70000", "2001:db8::1:7700", "a/b:1", &long] {
            assert!(bad.parse::<PublicEndpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let config =
            |text: &str| parse_config::<Config>(&format!("data_dir = \"/x\"\n{text}")).unwrap().check();
        assert!(matches!(config(""), Err(OptionError::Unreachable(_))));
        let good = "endpoint = \"a:1\"\n";
        assert_eq!(config(good), Ok(()));
        assert_eq!(config(&format!("{good}capacity = \"1MiB\"")), Err(OptionError::TinyCapacity));
        assert_eq!(config(&format!("{good}segment_size = \"1MiB\"")), Err(OptionError::SegmentSize));
        assert_eq!(config(&format!("{good}poll_interval = \"1ms\"")), Err(OptionError::TinyInterval));
        assert_eq!(config(&format!("{good}limits.audits_max = 0")), Err(OptionError::ZeroLimit));
    }
}
