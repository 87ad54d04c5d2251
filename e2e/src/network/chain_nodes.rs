//! The chain nodes of a network.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Network, local};
use crate::{http, layout, progress::Progress, supervisor};

/// The development keys whose session keys the genesis states of `--chain local:N` name, in this order.
const AUTHORS: [&str; crate::ports::NODES_MAX as usize] = ["alice", "bob", "charlie", "dave"];
/// A node compiles its runtime first: 10 s, much longer beside builds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(180);
const FINALISED_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(200);

impl Network {
    /// Name of a chain node, counted from 0.
    pub fn node_name(index: u16) -> String {
        format!("node-{}", index + 1)
    }

    /// Starts the chain nodes and waits until all of them finalise blocks.
    pub async fn start_chain(&mut self, progress: &Progress) -> anyhow::Result<()> {
        self.start_node(0, None, &[&format!("--{}", AUTHORS[0])])?;
        let first = self.node_rpc(0);
        let bootnode = self.bootnode().await?;
        for index in 1..self.options.validators {
            self.start_node(index, Some(&bootnode), &[&format!("--{}", AUTHORS[usize::from(index)])])?;
        }
        for index in 0..self.options.validators {
            self.until_finalised(index).await?;
        }
        let genesis = http::rpc(&first, "chain_getBlockHash", json!([0])).await?;
        self.genesis = genesis.as_str().map(|hash| hash.trim_start_matches("0x").to_owned());
        self.save()?;
        progress.say(format!("chain up: {} node(s) finalise blocks, {}", self.options.validators, self.ws()));
        Ok(())
    }

    /// Starts one more chain node, in the place of `index`, and waits until it finalises blocks. `identity` is what
    /// makes it a validator: `--validator`, or the name of a development key.
    pub async fn add_node(&mut self, index: u16, identity: &[&str]) -> anyhow::Result<()> {
        let bootnode = self.bootnode().await?;
        self.start_node(index, Some(&bootnode), identity)?;
        self.until_finalised(index).await
    }

    /// Address of the first node, for others to find it.
    async fn bootnode(&mut self) -> anyhow::Result<String> {
        let peer = self.until_answer(0, "system_localPeerId").await?;
        let peer = peer.as_str().context("node-1 has no peer id")?;
        Ok(format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", self.ports.node_p2p(0)))
    }

    fn start_node(&mut self, index: u16, bootnode: Option<&str>, identity: &[&str]) -> anyhow::Result<()> {
        let name = Self::node_name(index);
        let data = self.directory(&name);
        layout::make(&data)?;
        let ports = &self.ports;
        let mut command = vec![layout::program("arion-node")?];
        let mut add = |option: &str, value: String| command.extend([format!("--{option}"), value]);
        let chain = self.specification.as_ref().map_or_else(
            || format!("local:{}", self.options.validators),
            |specification| specification.to_string_lossy().into_owned(),
        );
        add("chain", chain);
        add("base-path", data.to_string_lossy().into_owned());
        add("name", name.clone());
        add("rpc-port", ports.node_rpc(index).to_string());
        add("rpc-max-connections", "1000".to_owned());
        add("listen-addr", format!("/ip4/127.0.0.1/tcp/{}", ports.node_p2p(index)));
        add("prometheus-port", ports.node_metrics(index).to_string());
        // The peer id has to be the same after a restart; nothing of value hangs on the key of a local network.
        add("node-key", format!("{:064x}", index + 1));
        if let Some(bootnode) = bootnode {
            add("bootnodes", bootnode.to_owned());
        }
        // Nodes that join later have no validator service beside them.
        if index < self.options.validators {
            add("quality-url", format!("http://{}/v1/quality", local(ports.validator_http(index))));
        }
        command.extend(identity.iter().map(|option| (*option).to_owned()));
        command.extend(["--no-telemetry", "--no-mdns", "--rpc-cors=all"].map(String::from));
        self.supervisor.plan(supervisor::Plan {
            role: "chain node".to_owned(),
            address: format!("ws://{}", self.node_rpc(index)),
            http: local(self.ports.node_metrics(index)),
            command,
            data,
            log: self.layout.log(&name),
            name: name.clone(),
        });
        self.start(&name)?;
        Ok(())
    }

    async fn until_answer(&mut self, index: u16, method: &str) -> anyhow::Result<Value> {
        let begun = Instant::now();
        loop {
            match http::rpc(&self.node_rpc(index), method, json!([])).await {
                Ok(value) => return Ok(value),
                Err(error) => self.still_forming(index, begun, ANSWER_DEADLINE, &error)?,
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the node has finalised a block above genesis.
    async fn until_finalised(&mut self, index: u16) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            match finalised(&self.node_rpc(index)).await {
                Ok(number) if number > 0 => return Ok(()),
                Ok(_) => {
                    let nothing = anyhow::anyhow!("no block is finalised");
                    self.still_forming(index, begun, FINALISED_DEADLINE, &nothing)?;
                }
                Err(error) => self.still_forming(index, begun, FINALISED_DEADLINE, &error)?,
            }
            sleep(POLL).await;
        }
    }

    fn still_forming(
        &mut self,
        index: u16,
        begun: Instant,
        deadline: Duration,
        problem: &anyhow::Error,
    ) -> anyhow::Result<()> {
        let name = Self::node_name(index);
        let log = self.layout.log(&name);
        if !self.supervisor.running().iter().any(|(running, _)| *running == name) {
            bail!("{name} ended; the end of its log:\n{}", supervisor::tail(&log, 15));
        }
        if begun.elapsed() >= deadline {
            bail!(
                "{name} is not ready after {} s: {problem:#}\n{}",
                deadline.as_secs(),
                supervisor::tail(&log, 15)
            );
        }
        Ok(())
    }
}

/// Number of the newest block of the best chain.
pub async fn best(address: &str) -> anyhow::Result<u64> {
    number(address, Value::Null).await
}

/// Number of the newest finalised block.
pub async fn finalised(address: &str) -> anyhow::Result<u64> {
    number(address, http::rpc(address, "chain_getFinalizedHead", json!([])).await?).await
}

/// Number of a block, or of the best one.
async fn number(address: &str, hash: Value) -> anyhow::Result<u64> {
    let header = http::rpc(address, "chain_getHeader", json!([hash])).await?;
    let number = header["number"].as_str().context("the header has no number")?;
    u64::from_str_radix(number.trim_start_matches("0x"), 16).context("the block number is no number")
}
