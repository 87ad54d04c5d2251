//! A miner of the network that lives elsewhere: in a network namespace behind a NAT, reached through a relay.

use std::net::Ipv4Addr;

use super::{Network, local, plan::Daemon};

/// Name of the relay of a network.
pub const RELAY: &str = "relay";

/// Which miner lives behind a NAT, and how it sees the rest of the network.
#[derive(Clone, Debug)]
pub struct BehindNat {
    /// The miner, counted from 0.
    pub miner: u16,
    /// The namespace it runs in.
    pub namespace: String,
    /// Its address there; the network reaches nothing of it but its health page.
    pub inside: Ipv4Addr,
    /// Where it finds the network.
    pub outside: Ipv4Addr,
    /// Port there that leads to the JSON-RPC of the first chain node.
    pub rpc_port: u16,
}

impl Network {
    /// Puts a miner behind a NAT, before the network forms.
    pub fn put_behind_nat(&mut self, behind: BehindNat) {
        self.behind_nat = Some(behind);
    }

    /// Address for daemons that somebody behind a NAT may talk to.
    pub(super) fn reachable(&self, port: u16) -> String {
        match self.behind_nat {
            Some(_) => format!("{}:{port}", Ipv4Addr::UNSPECIFIED),
            None => local(port),
        }
    }

    /// Plans the relay, where one is needed.
    pub(super) fn plan_relay(&mut self) -> anyhow::Result<Option<String>> {
        if self.behind_nat.is_none() {
            return Ok(None);
        }
        self.node_key(RELAY)?;
        let listen = self.reachable(self.ports.relay_quic());
        let options = vec![
            ("data-dir", self.text_of(RELAY, None)?),
            ("key-file", self.text_of(RELAY, Some("node.key"))?),
            ("listen", listen.clone()),
            ("chain-url", self.ws()),
            ("chain-genesis", self.genesis()?),
            ("chain-poll", super::plan::CHAIN_POLL.to_owned()),
        ];
        self.plan_daemon(Daemon {
            name: RELAY,
            role: "relay",
            program: "arion-relay",
            address: format!("quic {listen}"),
            http: local(self.ports.relay_http()),
            before: vec![],
            options,
        })?;
        Ok(Some(RELAY.to_owned()))
    }

    /// What the miner behind the NAT is told that others are not: its addresses, and where everybody is.
    pub(super) fn miner_behind_nat(&self, behind: &BehindNat) -> anyhow::Result<Vec<(&'static str, String)>> {
        let outside = behind.outside;
        let relay = format!("{}@{outside}:{}", self.node_id(RELAY)?, self.ports.relay_quic());
        let mut options = vec![
            ("listen", self.reachable(self.ports.miner_quic(behind.miner))),
            ("relay", relay),
            ("chain-url", format!("ws://{outside}:{}", behind.rpc_port)),
            ("http-allow-public", String::new()),
        ];
        for index in 0..self.options.validators {
            let node = self.node_id(&Self::validator_name(index))?;
            options.push(("validators", format!("{node}@{outside}:{}", self.ports.validator_quic(index))));
        }
        Ok(options)
    }
}
