//! Which port belongs to which process: a network uses `base..base + BLOCK` and nothing else.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Ports that one network reserves.
pub const BLOCK: u16 = 300;
/// Where the default network starts; below the range Linux takes outgoing ports from.
pub const BASE_DEFAULT: u16 = 21_000;
/// Most chain nodes: the chain has genesis states for 1 to 4 validators.
pub const NODES_MAX: u16 = 4;
/// Most nodes that a story adds to them.
pub const NODES_ADDED_MAX: u16 = 2;
/// Most miners.
pub const MINERS_MAX: u16 = 100;
/// Most replicas of the gateway.
pub const REPLICAS_MAX: u16 = 3;
/// Most miners that have a proxy before them.
pub const PROXIES_MAX: u16 = 16;

/// The ports of a network. Indices count from 0.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    base: u16,
}

impl Ports {
    /// A block starting at `base`, unless it would leave the range of ports anybody may bind.
    pub fn new(base: u16) -> Result<Self, String> {
        if !(1_024..=u16::MAX - BLOCK + 1).contains(&base) {
            return Err(format!(
                "base port {base} is out of range: take one from 1024 to {}",
                u16::MAX - BLOCK + 1
            ));
        }
        Ok(Self { base })
    }

    /// The first port of the block.
    pub fn base(&self) -> u16 {
        self.base
    }

    /// JSON-RPC of a chain node, HTTP and WebSocket.
    pub fn node_rpc(&self, index: u16) -> u16 {
        self.base + 3 * index
    }

    /// Peer-to-peer port of a chain node.
    pub fn node_p2p(&self, index: u16) -> u16 {
        self.node_rpc(index) + 1
    }

    /// Prometheus of a chain node.
    pub fn node_metrics(&self, index: u16) -> u16 {
        self.node_rpc(index) + 2
    }

    /// S3 endpoint of the gateway.
    pub fn gateway_s3(&self) -> u16 {
        self.gateway_s3_of(0)
    }

    /// S3 endpoint of a replica of the gateway; the first is that of all networks. Its QUIC and its health page follow.
    pub fn gateway_s3_of(&self, replica: u16) -> u16 {
        self.base + 30 + 3 * replica
    }

    /// QUIC of the gateway: its ledger.
    pub fn gateway_quic(&self) -> u16 {
        self.gateway_s3() + 1
    }

    /// Health and metrics of the gateway.
    pub fn gateway_http(&self) -> u16 {
        self.gateway_http_of(0)
    }

    /// Health and metrics of a replica of the gateway.
    pub fn gateway_http_of(&self, replica: u16) -> u16 {
        self.gateway_s3_of(replica) + 2
    }

    /// QUIC of a validator service.
    pub fn validator_quic(&self, index: u16) -> u16 {
        self.base + 40 + 2 * index
    }

    /// Health and metrics of a validator service.
    pub fn validator_http(&self, index: u16) -> u16 {
        self.validator_quic(index) + 1
    }

    /// QUIC of the chain-submitter.
    pub fn submitter_quic(&self) -> u16 {
        self.base + 60
    }

    /// Health and metrics of the chain-submitter.
    pub fn submitter_http(&self) -> u16 {
        self.base + 61
    }

    /// QUIC of one of several chain-submitters; the first is that of all networks.
    pub fn submitter_quic_of(&self, index: u16) -> u16 {
        self.submitter_quic() + 2 * index
    }

    /// Health and metrics of one of several chain-submitters.
    pub fn submitter_http_of(&self, index: u16) -> u16 {
        self.submitter_http() + 2 * index
    }

    /// Health and metrics of a warden.
    pub fn warden_http(&self, index: u16) -> u16 {
        self.base + 70 + index
    }

    /// QUIC of the relay.
    pub fn relay_quic(&self) -> u16 {
        self.base + 80
    }

    /// Health and metrics of the relay.
    pub fn relay_http(&self) -> u16 {
        self.base + 81
    }

    /// Where others reach a miner that has a proxy before it.
    pub fn proxy(&self, index: u16) -> u16 {
        self.base + 82 + index
    }

    /// A port of the block that no process of the network uses: for stories that need one more.
    pub fn spare(&self) -> u16 {
        self.base + 99
    }

    /// QUIC of a miner.
    pub fn miner_quic(&self, index: u16) -> u16 {
        self.base + 100 + index
    }

    /// Health and metrics of a miner.
    pub fn miner_http(&self, index: u16) -> u16 {
        self.base + 200 + index
    }

    /// The ports of the block that something listens on, TCP or UDP.
    pub fn taken(&self) -> Vec<u16> {
        (self.base..=self.base + (BLOCK - 1)).filter(|port| !is_free(*port)).collect()
    }
}

fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // The standard library sets SO_REUSEADDR: connections in TIME_WAIT do not count as taken, listeners do.
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_port_has_two_uses_and_all_lie_in_the_block() {
        let ports = Ports::new(2_000).unwrap();
        let mut all = vec![
            ports.submitter_quic(),
            ports.submitter_http(),
            ports.submitter_quic_of(1),
            ports.submitter_http_of(1),
            ports.relay_quic(),
            ports.relay_http(),
            ports.spare(),
        ];
        for i in 0..NODES_MAX + NODES_ADDED_MAX {
            all.extend([ports.node_rpc(i), ports.node_p2p(i), ports.node_metrics(i)]);
        }
        for i in 0..REPLICAS_MAX {
            let s3 = ports.gateway_s3_of(i);
            all.extend([s3, s3 + 1, ports.gateway_http_of(i)]);
        }
        for i in 0..NODES_MAX {
            all.extend([ports.validator_quic(i), ports.validator_http(i), ports.warden_http(i)]);
        }
        all.extend((0..PROXIES_MAX).map(|i| ports.proxy(i)));
        for i in 0..MINERS_MAX {
            all.extend([ports.miner_quic(i), ports.miner_http(i)]);
        }
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|port| (2_000..2_000 + BLOCK).contains(port)));
    }

    #[test]
    fn a_block_beyond_the_last_port_is_refused() {
        assert!(Ports::new(65_300).is_err());
        assert!(Ports::new(80).is_err());
        assert!(Ports::new(u16::MAX - BLOCK + 1).is_ok());
    }

    #[test]
    fn a_listener_is_seen() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(socket.local_addr().unwrap().port()));
    }
}
