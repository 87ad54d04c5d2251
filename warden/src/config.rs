//! Settings, from a file and from flags.

use std::{path::PathBuf, str::FromStr, time::Duration};

use arion_daemon::{HttpConfig, HumanDuration, LogConfig};
use arion_net::PeerAddr;
use arion_types::{GenesisHash, NodeId, attestation::WARDEN_ID_BYTES_MAX};
use serde::Deserialize;

use crate::{auditor::Pace, challenge::Patience};

/// A configuration with every key and its default, as `example-config` prints it.
pub const EXAMPLE: &str = r#"# Configuration of arion-warden. Every key is also a flag: `data_dir` is --data-dir.

# Warden key (Ed25519), made by `arion-warden init`; registered on chain by `Arion.register_warden`.
key_file = "/var/lib/arion/warden/warden.key"
# Directory of the store and of evidence.
data_dir = "/var/lib/arion/warden"
# Name in attestations, for people; at most 64 bytes.
name = "warden"
# WebSocket address of an Arion node that you trust.
node_url = "ws://127.0.0.1:9944"
# Genesis hash of the chain; the warden refuses any other. Optional.
# genesis = "0x0000000000000000000000000000000000000000000000000000000000000000"
# Pause between looks at the finalised head.
poll_interval = "3s"
# Pause between looks at the ledgers of the gateways.
ledger_poll = "5s"
# This many challenges ...
challenges = 10
# ... in this time. The chain takes 1000 attestations in 100 blocks, of all wardens together.
interval = "10s"
# A round, in which every shard is challenged once, takes at least this long.
round_min = "1m"
# Challenges under way at once.
parallel = 64
# Time for one answer.
deadline = "10s"
# Further attempts where no answer came, before it counts as a timeout.
retries = 2
# Pause before the first of them; each further one is twice as long.
retry_pause = "3s"

# The chain-submitter that carries attestations to the chain. As a flag: --submitter NODE_ID@HOST:PORT.
[submitter]
node_id = "0000000000000000000000000000000000000000000000000000000000000001"
endpoint = "127.0.0.1:4300"

# The gateways whose ledgers are audited; one table for each. As a flag: --gateway NODE_ID@HOST:PORT.
[[gateways]]
node_id = "0000000000000000000000000000000000000000000000000000000000000002"
endpoint = "127.0.0.1:4200"

[http]
# Address of /health and /metrics.
addr = "127.0.0.1:9420"
allow_public = false

[log]
format = "human"
level = "info"
"#;

/// A node and where it is reached: `{ node_id, endpoint }` in the file, `NODE_ID@HOST:PORT` as a flag.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// 64 hex digits.
    node_id: String,
    /// `host:port` or `[v6]:port`.
    endpoint: String,
}

impl FromStr for Peer {
    type Err = OptionsError;

    fn from_str(text: &str) -> Result<Self, OptionsError> {
        let (node_id, endpoint) = text.split_once('@').ok_or_else(|| OptionsError::Peer(text.into()))?;
        let peer = Self { node_id: node_id.into(), endpoint: endpoint.into() };
        peer.address().map(|_| peer)
    }
}

impl Peer {
    fn address(&self) -> Result<PeerAddr, OptionsError> {
        let wrong = || OptionsError::Peer(format!("{}@{}", self.node_id, self.endpoint));
        let node_id = self.node_id.parse().map_err(|_| wrong())?;
        let port = self.endpoint.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        port.filter(|port| *port != 0).ok_or_else(wrong)?;
        Ok(PeerAddr { node_id, endpoint: self.endpoint.clone() })
    }
}

/// Keys of the file and flags of the command line: all are optional, a flag wins.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// File with the warden key (Ed25519, 64 hex digits, mode 0600).
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Directory of the store and of evidence.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Name in attestations, for people [default: warden].
    #[arg(long)]
    pub name: Option<String>,
    /// WebSocket address of an Arion node [default: ws://127.0.0.1:9944].
    #[arg(long, value_name = "URL", alias = "chain")]
    pub node_url: Option<String>,
    /// Genesis hash of the chain, 64 hex digits; any other chain is refused.
    #[arg(long, value_name = "HASH")]
    pub genesis: Option<String>,
    /// Pause between looks at the finalised head [default: 3s].
    #[arg(long, value_name = "TIME", alias = "chain-poll")]
    pub poll_interval: Option<HumanDuration>,
    /// Pause between looks at the ledgers [default: 5s].
    #[arg(long, value_name = "TIME")]
    pub ledger_poll: Option<HumanDuration>,
    /// Challenges per interval [default: 10].
    #[arg(long, value_name = "N")]
    pub challenges: Option<u32>,
    /// See --challenges [default: 10s].
    #[arg(long, value_name = "TIME")]
    pub interval: Option<HumanDuration>,
    /// Shortest time of a round [default: 1m].
    #[arg(long, value_name = "TIME")]
    pub round_min: Option<HumanDuration>,
    /// Challenges under way at once [default: 64].
    #[arg(long, value_name = "N")]
    pub parallel: Option<usize>,
    /// Time for one answer [default: 10s].
    #[arg(long, value_name = "TIME")]
    pub deadline: Option<HumanDuration>,
    /// Further attempts where no answer came [default: 2].
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Pause before the first of them, doubled for each further one [default: 3s].
    #[arg(long, value_name = "TIME")]
    pub retry_pause: Option<HumanDuration>,
    /// The chain-submitter that carries attestations to the chain.
    #[arg(long, value_name = "NODE_ID@HOST:PORT")]
    pub submitter: Option<Peer>,
    /// A gateway whose ledger is audited; may be given more than once.
    #[arg(long = "gateway", value_name = "NODE_ID@HOST:PORT")]
    pub gateways: Vec<Peer>,
    /// The `[http]` table.
    #[arg(skip)]
    pub http: HttpConfig,
    /// The `[log]` table.
    #[arg(skip)]
    pub log: LogConfig,
}

/// Why the settings are not complete.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OptionsError {
    /// A key without default is not set.
    #[error("{key} is not set; set it in the configuration file or with --{}", key.replace('_', "-"))]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The genesis hash is no hash.
    #[error("genesis `{0}` is not a hash: expected 64 hexadecimal digits")]
    Genesis(String),
    /// Not a node and an endpoint.
    #[error("`{0}` is not NODE_ID@HOST:PORT with 64 hexadecimal digits before the @")]
    Peer(String),
    /// The name is too long.
    #[error("name is longer than {WARDEN_ID_BYTES_MAX} bytes")]
    Name,
    /// A gateway is listed twice.
    #[error("gateway {0} is listed twice")]
    GatewayTwice(NodeId),
    /// A number that cannot work.
    #[error("{0} must be more than 0")]
    Zero(&'static str),
}

/// Complete settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Warden key file.
    pub key_file: PathBuf,
    /// Directory of the store and of evidence.
    pub data_dir: PathBuf,
    /// Name in attestations.
    pub name: String,
    /// Address of the node.
    pub node_url: String,
    /// Expected genesis hash.
    pub genesis: Option<GenesisHash>,
    /// Pause between looks at the finalised head.
    pub poll_interval: Duration,
    /// Pause between looks at the ledgers.
    pub ledger_poll: Duration,
    /// How fast audits go.
    pub pace: Pace,
    /// How long and often miners are asked.
    pub patience: Patience,
    /// The chain-submitter.
    pub submitter: PeerAddr,
    /// The gateways.
    pub gateways: Vec<PeerAddr>,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

impl Options {
    /// These flags over that file.
    pub fn over(self, file: Self) -> Self {
        Self {
            key_file: self.key_file.or(file.key_file),
            data_dir: self.data_dir.or(file.data_dir),
            name: self.name.or(file.name),
            node_url: self.node_url.or(file.node_url),
            genesis: self.genesis.or(file.genesis),
            poll_interval: self.poll_interval.or(file.poll_interval),
            ledger_poll: self.ledger_poll.or(file.ledger_poll),
            challenges: self.challenges.or(file.challenges),
            interval: self.interval.or(file.interval),
            round_min: self.round_min.or(file.round_min),
            parallel: self.parallel.or(file.parallel),
            deadline: self.deadline.or(file.deadline),
            retries: self.retries.or(file.retries),
            retry_pause: self.retry_pause.or(file.retry_pause),
            submitter: self.submitter.or(file.submitter),
            gateways: if self.gateways.is_empty() { file.gateways } else { self.gateways },
            http: file.http,
            log: file.log,
        }
    }

    /// Fills in defaults and checks the rest.
    pub fn complete(self) -> Result<Config, OptionsError> {
        let missing = |key| OptionsError::Missing { key };
        let seconds =
            |time: Option<HumanDuration>, default| time.map_or(Duration::from_secs(default), |t| t.0);
        let genesis = self.genesis.map(|text| match text.parse::<NodeId>() {
            Ok(hash) => Ok(hash.0),
            Err(_) => Err(OptionsError::Genesis(text)),
        });
        let gateways: Vec<PeerAddr> = self.gateways.iter().map(Peer::address).collect::<Result<_, _>>()?;
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = gateways.iter().find(|gateway| !seen.insert(gateway.node_id)) {
            return Err(OptionsError::GatewayTwice(twice.node_id));
        }
        let interval = seconds(self.interval, 10);
        let challenges = self.challenges.unwrap_or(10);
        let parallel = self.parallel.unwrap_or(64);
        let deadline = seconds(self.deadline, 10);
        let name = self.name.unwrap_or_else(|| "warden".into());
        if name.len() > WARDEN_ID_BYTES_MAX as usize {
            return Err(OptionsError::Name);
        }
        for (key, is_zero) in [
            ("interval", interval.is_zero()),
            ("challenges", challenges == 0),
            ("parallel", parallel == 0),
            ("deadline", deadline.is_zero()),
        ] {
            if is_zero {
                return Err(OptionsError::Zero(key));
            }
        }
        Ok(Config {
            key_file: self.key_file.ok_or(missing("key_file"))?,
            data_dir: self.data_dir.ok_or(missing("data_dir"))?,
            name,
            node_url: self.node_url.unwrap_or_else(|| "ws://127.0.0.1:9944".into()),
            genesis: genesis.transpose()?,
            poll_interval: seconds(self.poll_interval, 3),
            ledger_poll: seconds(self.ledger_poll, 5),
            pace: Pace { pause: interval / challenges, round_min: seconds(self.round_min, 60), parallel },
            patience: Patience {
                deadline,
                retries: self.retries.unwrap_or(2),
                pause: seconds(self.retry_pause, 3),
            },
            submitter: self.submitter.ok_or(missing("submitter"))?.address()?,
            gateways,
            http: self.http,
            log: self.log,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_complete_and_shows_the_defaults() {
        let options: Options = arion_daemon::parse_config(EXAMPLE).unwrap();
        let bare = Options {
            key_file: options.key_file.clone(),
            data_dir: options.data_dir.clone(),
            submitter: options.submitter.clone(),
            gateways: options.gateways.clone(),
            ..Options::default()
        };
        let example = options.complete().unwrap();
        let http = HttpConfig { addr: "127.0.0.1:9420".parse().unwrap(), allow_public: false };
        assert_eq!(example, Config { http, ..bare.complete().unwrap() });
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = Options::default().complete().unwrap_err();
        assert!(error.to_string().contains("--"), "{error}");
        assert!(arion_daemon::parse_config::<Options>("colour = 1").is_err());
        for peer in
            ["", "12@host:1", &format!("{}@host", "0".repeat(64)), &format!("{}@host:0", "0".repeat(64))]
        {
            assert!(peer.parse::<Peer>().is_err(), "{peer}");
        }
        let mut options: Options = arion_daemon::parse_config(EXAMPLE).unwrap();
        options.gateways.push(options.gateways[0].clone());
        assert!(matches!(options.complete(), Err(OptionsError::GatewayTwice(_))));
    }
}
