//! What each daemon is told: everything as flags, so that `status --json` shows it.

use std::ops::Range;

use anyhow::Context;

use super::{Network, WARDENS, local};
use crate::{layout, supervisor};

/// How often miners report, and how often everybody looks at the chain: blocks come every 3 s.
const HEARTBEAT: &str = "3s";
pub(super) const CHAIN_POLL: &str = "1s";
/// How often validator services ask miners whether they have what they signed for.
const REPAIR_CENSUS: &str = "15s";
/// Blocks for which a map is told before it is voted for.
const ANNOUNCE_BLOCKS: &str = "2";
/// Space that a miner offers; all offer the same.
const CAPACITY: &str = "16GiB";

/// Challenges of a warden in 10 s. All wardens together stay below what a bucket of attestations holds: 1,000 in
/// 100 blocks, which are 300 s here.
const CHALLENGES: &str = "12";
pub(super) const REGION: &str = "us-east-1";

/// A daemon before it is planned.
pub(super) struct Daemon<'a> {
    pub(super) name: &'a str,
    pub(super) role: &'a str,
    pub(super) program: &'a str,
    pub(super) address: String,
    /// `host:port` of its health page.
    pub(super) http: String,
    /// What is run to run it.
    pub(super) before: Vec<String>,
    /// Flags with their values; a switch has an empty one.
    pub(super) options: Vec<(&'a str, String)>,
}

impl Network {
    /// Plans these miners, counted from 0.
    pub(super) fn plan_miners(&mut self, miners: Range<u16>) -> anyhow::Result<()> {
        let mut services = Vec::new();
        for index in 0..self.options.validators {
            let node = self.node_id(&Self::validator_name(index))?;
            services.push(format!("{node}@{}", local(self.ports.validator_quic(index))));
        }
        for index in miners {
            let name = Self::miner_name(index);
            let address = local(self.ports.miner_quic(index));
            let behind = self.behind_nat.clone().filter(|behind| behind.miner == index);
            let mut options = vec![
                ("data-dir", self.text_of(&name, None)?),
                ("config", self.text_of(&name, Some("miner.toml"))?),
                ("chain-genesis", self.genesis()?),
                ("chain-poll", CHAIN_POLL.to_owned()),
                ("capacity", CAPACITY.to_owned()),
                ("heartbeat-interval", HEARTBEAT.to_owned()),
            ];
            options.extend(self.orphan_retention.iter().map(|time| ("orphan-retention", time.clone())));
            let (mut http, mut before) = (local(self.ports.miner_http(index)), vec![]);
            if let Some(behind) = &behind {
                options.extend(self.miner_behind_nat(behind)?);
                http = format!("{}:{}", behind.inside, self.ports.miner_http(index));
                before = ["ip", "netns", "exec", &behind.namespace].map(str::to_owned).to_vec();
            } else {
                let is_proxied = index < self.proxies;
                let endpoint = if is_proxied { local(self.ports.proxy(index)) } else { address.clone() };
                options.extend([
                    ("listen", address.clone()),
                    ("endpoint", endpoint),
                    ("chain-url", self.ws()),
                ]);
                options.extend(services.iter().map(|service| ("validators", service.clone())));
            }
            let role = format!("miner of {}", Self::family_name(self.family_of(index)));
            self.plan_daemon(Daemon {
                name: &name,
                role: &role,
                program: "arion-miner",
                address: format!("quic {address}"),
                http,
                before,
                options,
            })?;
        }
        Ok(())
    }

    pub(super) fn plan_validators(&mut self) -> anyhow::Result<()> {
        let gateway = format!("{}@{}", self.node_id("gateway")?, local(self.ports.gateway_quic()));
        for index in 0..self.options.validators {
            let name = Self::validator_name(index);
            let account = self.account_file(&name);
            if !account.exists() {
                super::keys::write_secret(&account, Self::validator_account(index))?;
            }
            let address = self.reachable(self.ports.validator_quic(index));
            let mut options = vec![
                ("listen", address.clone()),
                ("key-file", self.text_of(&name, Some("node.key"))?),
                ("account-file", text(&account)?),
                ("chain-url", self.ws()),
                ("chain-genesis", self.genesis()?),
                ("chain-poll", CHAIN_POLL.to_owned()),
                ("heartbeat-interval", HEARTBEAT.to_owned()),
                ("settle", "3s".to_owned()),
                ("announce-blocks", ANNOUNCE_BLOCKS.to_owned()),
                ("out-after", self.out_after.clone()),
                ("in-after", "0s".to_owned()),
                ("min-miners", self.options.miners.to_string()),
                ("data-dir", self.text_of(&name, None)?),
                ("gateways", gateway.clone()),
                ("ledger-poll", "2s".to_owned()),
                ("repair-delay", self.repair_delay.clone()),
                ("repair-census-interval", REPAIR_CENSUS.to_owned()),
                ("repair-takeover", "30s".to_owned()),
            ];
            options.extend(self.repair_rate.iter().map(|rate| ("repair-rate", rate.clone())));
            let http = local(self.ports.validator_http(index));
            let address = format!("quic {address}");
            self.plan_daemon(Daemon {
                name: &name,
                role: "validator service",
                program: "arion-validator",
                address,
                http,
                before: vec![],
                options,
            })?;
        }
        Ok(())
    }

    pub(super) fn plan_submitter(&mut self, index: u16) -> anyhow::Result<()> {
        let name = &Self::submitter_name(index);
        let address = local(self.ports.submitter_quic_of(index));
        self.node_key(name)?;
        let mut options = vec![
            ("listen", address.clone()),
            ("key-file", self.text_of(name, Some("node.key"))?),
            ("account-file", text(&self.account_file(name))?),
            ("data-dir", self.text_of(name, None)?),
            ("chain-url", self.ws()),
            ("chain-genesis", self.genesis()?),
            ("chain-poll", CHAIN_POLL.to_owned()),
            ("batch-age", "3s".to_owned()),
        ];
        if self.makes_bundles {
            options.extend([
                ("bundle-endpoint", format!("http://{}", local(self.ports.gateway_s3()))),
                ("bundle-region", REGION.to_owned()),
                ("bundle-access-key-file", text(&self.s3_key_file())?),
            ]);
        }
        let (address, http) = (format!("quic {address}"), local(self.ports.submitter_http_of(index)));
        self.plan_daemon(Daemon {
            name,
            role: "chain-submitter",
            program: "arion-submitter",
            address,
            http,
            before: vec![],
            options,
        })
    }

    pub(super) fn plan_wardens(&mut self) -> anyhow::Result<()> {
        let gateway = format!("{}@{}", self.node_id("gateway")?, local(self.ports.gateway_quic()));
        let submitter = format!("{}@{}", self.node_id("submitter")?, local(self.ports.submitter_quic()));
        for index in 0..WARDENS {
            let name = Self::warden_name(index);
            let options = vec![
                ("key-file", self.text_of(&name, Some("node.key"))?),
                ("data-dir", self.text_of(&name, None)?),
                ("name", name.clone()),
                ("chain-url", self.ws()),
                ("chain-genesis", self.genesis()?),
                ("chain-poll", CHAIN_POLL.to_owned()),
                ("ledger-poll", "2s".to_owned()),
                ("challenges", CHALLENGES.to_owned()),
                ("interval", "10s".to_owned()),
                ("gateways", gateway.clone()),
                ("submitter", submitter.clone()),
            ];
            let http = local(self.ports.warden_http(index));
            let address = format!("http {http}");
            self.plan_daemon(Daemon {
                name: &name,
                role: "warden",
                program: "arion-warden",
                address,
                http,
                before: vec![],
                options,
            })?;
        }
        Ok(())
    }

    pub(super) fn plan_daemon(&mut self, daemon: Daemon<'_>) -> anyhow::Result<()> {
        let Daemon { name, role, program, address, http, before, options } = daemon;
        let data = self.directory(name);
        layout::make(&data)?;
        let mut command = before;
        command.extend([layout::program(program)?, "run".to_owned()]);
        for (option, value) in options {
            command.push(format!("--{option}"));
            command.extend((!value.is_empty()).then_some(value));
        }
        command.extend(["--http-addr".to_owned(), http.clone()]);
        self.supervisor.plan(supervisor::Plan {
            name: name.to_owned(),
            role: role.to_owned(),
            address,
            http,
            command,
            log: self.layout.log(name),
            data,
        });
        Ok(())
    }

    pub(super) fn genesis(&self) -> anyhow::Result<String> {
        self.genesis.clone().context("the genesis hash is not known yet")
    }

    /// The directory of a process, or a file in it.
    pub(super) fn text_of(&self, name: &str, file: Option<&str>) -> anyhow::Result<String> {
        let directory = self.directory(name);
        text(&file.map_or_else(|| directory.clone(), |file| directory.join(file)))
    }
}

pub(super) fn text(path: &std::path::Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
