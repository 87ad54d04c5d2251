//! Settings; what they mean stands in `example.toml`.

use std::{
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use anyhow::Context;
use arion_daemon::{ByteSize, ChainConfig, HttpConfig, HumanDuration, KeyKind, LogConfig, Settings};
use serde::{Deserialize, Serialize};

use crate::bundle::s3::S3Shelf;

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
    /// Whether wardens that contradict themselves are reported.
    pub report_conflicts: bool,
    /// Bundles of epochs.
    pub bundle: BundleConfig,
    /// The chain.
    pub chain: ChainConfig,
    /// /health and /metrics.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// Where bundles are stored, and how much is kept for them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleConfig {
    /// S3 endpoint; no bundles are made without.
    pub endpoint: Option<String>,
    /// Region of the endpoint.
    pub region: String,
    /// Bucket, which everybody can read.
    pub bucket: String,
    /// File with the access key.
    pub access_key_file: Option<PathBuf>,
    /// Bytes of miners' answers that wait for their bundle.
    pub exhibits_max: ByteSize,
}

impl BundleConfig {
    /// The store, if bundles are to be made.
    pub fn shelf(&self) -> anyhow::Result<Option<S3Shelf>> {
        let Some(endpoint) = &self.endpoint else { return Ok(None) };
        let key = self.access_key_file.as_deref();
        let key =
            key.context("bundle.endpoint is set and bundle.access_key_file is not; set both or neither")?;
        S3Shelf::new(endpoint, &self.region, &self.bucket, key).map(Some)
    }
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

    #[test]
    fn bundles_need_an_endpoint_and_a_key() {
        let mut bundle = arion_daemon::Flags::<super::Config>::default().settings().unwrap().bundle;
        assert!(bundle.shelf().unwrap().is_none());
        bundle.endpoint = Some("http://127.0.0.1:1".into());
        let said = bundle.shelf().err().unwrap().to_string();
        assert!(said.contains("access_key_file"), "{said}");
    }
}
