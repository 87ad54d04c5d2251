//! The gateway, or replicas of one that share a database.

use std::fs;

use anyhow::Context;
use serde::Deserialize;

use super::{
    Network, local,
    plan::{CHAIN_POLL, Daemon, REGION, text},
    registration::run,
};
use crate::state::S3Access;

/// How often the gateway says what miners served: weights of local networks are computed every few minutes.
const STATEMENT_INTERVAL: &str = "10s";
/// How often a gateway that drops dead lines commits to its ledger.
const COMMITTED_EVERY: &str = "10s";
/// What makes a gateway a replica of another one.
const IDENTITY: [&str; 3] = ["node.key", "account.key", "keys.toml"];

/// What `arion-gateway access-key add` prints, as far as it is of interest.
#[derive(Deserialize)]
struct Made {
    access_key: String,
    secret_key: String,
}

/// Several gateways that are one.
pub(super) struct Replicas {
    count: u16,
    /// Address of the database with their metadata.
    database: String,
}

impl Network {
    /// Has so many replicas of the gateway keep their metadata in one PostgreSQL.
    pub fn replicate_gateway(&mut self, count: u16, database: String) {
        let count = count.clamp(1, crate::ports::REPLICAS_MAX);
        self.replicas = Some(Replicas { count, database });
    }

    /// Names of the gateways, the first of them the one of every network.
    pub fn gateways(&self) -> Vec<String> {
        let count = self.replicas.as_ref().map_or(1, |replicas| replicas.count);
        (0..count).map(Self::gateway_name).collect()
    }

    /// Name of a replica of the gateway, counted from 0.
    pub fn gateway_name(index: u16) -> String {
        if index == 0 { "gateway".to_owned() } else { format!("gateway-{}", index + 1) }
    }

    /// Plans all of them; the first has its keys by now.
    pub(super) async fn plan_gateways(&mut self) -> anyhow::Result<()> {
        for (index, name) in (0u16..).zip(self.gateways()) {
            if index > 0 {
                self.make_replica(&name).await?;
            }
            self.plan_gateway(index, &name)?;
        }
        Ok(())
    }

    /// As docs/operate/gateway.md has it: a data directory of its own, the keys of the first.
    async fn make_replica(&self, name: &str) -> anyhow::Result<()> {
        let directory = self.directory(name);
        if !directory.join("gateway.toml").exists() {
            run(&["arion-gateway", "init", "--data-dir", &self.text_of(name, None)?]).await?;
        }
        for file in IDENTITY {
            fs::copy(self.directory("gateway").join(file), directory.join(file))
                .with_context(|| format!("cannot give {name} the {file} of the gateway"))?;
        }
        Ok(())
    }

    fn plan_gateway(&mut self, index: u16, name: &str) -> anyhow::Result<()> {
        let s3 = self.ports.gateway_s3_of(index);
        let endpoint = local(s3);
        let mut options = vec![
            ("config", self.text_of(name, Some("gateway.toml"))?),
            ("s3", endpoint.clone()),
            ("region", REGION.to_owned()),
            ("listen", local(s3 + 1)),
            ("chain-url", self.ws()),
            ("chain-genesis", self.genesis()?),
            ("chain-poll", CHAIN_POLL.to_owned()),
            ("read-cache", self.read_cache.clone()),
            ("read-statement-interval", STATEMENT_INTERVAL.to_owned()),
        ];
        options.extend(self.replicas.iter().map(|replicas| ("metadata-postgres", replicas.database.clone())));
        options.extend(self.surplus_after.iter().map(|time| ("placement-surplus-after", time.clone())));
        let account = text(&self.account_file("gateway"))?;
        if self.takes_snapshots {
            options.push(("snapshot-account-file", account.clone()));
        }
        if let Some(interval) = &self.bills_every {
            options.push(("billing-account-file", account.clone()));
            options.push(("billing-interval", interval.clone()));
        }
        if !self.puts_ledger_into_bucket {
            options.push(("ledger-bucket=", String::new()));
        }
        if let Some(time) = &self.drops_dead_after {
            options.push(("billing-account-file", account));
            options.push(("billing-interval", COMMITTED_EVERY.to_owned()));
            options.push(("ledger-keep-dead", time.clone()));
        }
        self.plan_daemon(Daemon {
            name,
            role: "gateway (S3)",
            program: "arion-gateway",
            address: format!("http://{endpoint}"),
            http: local(self.ports.gateway_http_of(index)),
            before: vec![],
            options,
        })
    }

    /// What `arion-gateway access-key add --json` printed.
    pub(super) fn s3_key_file(&self) -> std::path::PathBuf {
        self.directory("gateway").join("s3-access.json")
    }

    /// The S3 key that was made for this network, or a new one.
    pub(super) async fn s3_key(&self) -> anyhow::Result<S3Access> {
        let file = self.s3_key_file();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let data = self.text_of("gateway", None)?;
                let made =
                    run(&["arion-gateway", "access-key", "add", "--data-dir", &data, "--json"]).await?;
                super::keys::write_secret(&file, made.trim())?;
                made
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let made: Made = serde_json::from_str(&text).context("arion-gateway access-key add told no key")?;
        Ok(S3Access {
            endpoint: format!("http://{}", local(self.ports.gateway_s3())),
            access_key: made.access_key,
            secret_key: made.secret_key,
            region: REGION.to_owned(),
        })
    }

    /// Access to the S3 endpoint of a replica.
    pub fn s3_at(&self, index: u16) -> anyhow::Result<S3Access> {
        let endpoint = format!("http://{}", local(self.ports.gateway_s3_of(index)));
        Ok(S3Access { endpoint, ..self.s3()?.clone() })
    }
}
