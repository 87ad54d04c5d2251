//! Addresses of nodes as people write them.

use std::{fmt, str::FromStr};

use arion_net::PeerAddr;
use arion_types::{NodeId, map::Endpoint};

use crate::units::as_text;

/// `host:port` or `[v6]:port` with a port from 1, short enough for the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort(String);

/// A node and where it is reached: `NODE_ID@HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its key.
    pub node_id: NodeId,
    /// Its address.
    pub endpoint: HostPort,
}

/// A node id: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeIdText(pub NodeId);

/// Text that is not an address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// Not an endpoint.
    #[error(
        "`{0}` is not an endpoint; write HOST:PORT or [IPV6]:PORT with a port from 1 to 65535, at most 128 bytes"
    )]
    Endpoint(String),
    /// Not a node with its endpoint.
    #[error("`{0}` is not a node with its address; write NODE_ID@HOST:PORT with the node id in hex")]
    Peer(String),
    /// Not a node id.
    #[error("`{0}` is not a node id; write 64 hexadecimal digits")]
    NodeId(String),
}

impl HostPort {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in heartbeats and maps.
    pub fn to_endpoint(&self) -> Endpoint {
        Endpoint::try_from(self.0.as_bytes().to_vec()).expect("the length was checked when it was made")
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = || AddressError::Endpoint(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let host_holds = bracketed || (!host.is_empty() && !host.contains([':', '/', '[', ']', '@', ' ']));
        let port_holds = port.parse::<u16>().is_ok_and(|port| port > 0);
        let fits = Endpoint::try_from(text.as_bytes().to_vec()).is_ok();
        (host_holds && port_holds && fits).then(|| Self(text.to_owned())).ok_or_else(refused)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Peer {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = || AddressError::Peer(text.to_owned());
        let (node_id, endpoint) = text.trim().split_once('@').ok_or_else(refused)?;
        let node_id = node_id.parse().map_err(|_| refused())?;
        Ok(Self { node_id, endpoint: endpoint.parse().map_err(|_| refused())? })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node_id, self.endpoint)
    }
}

impl From<Peer> for PeerAddr {
    fn from(peer: Peer) -> Self {
        Self { node_id: peer.node_id, endpoint: peer.endpoint.0 }
    }
}

impl FromStr for NodeIdText {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse().map(Self).map_err(|_| AddressError::NodeId(text.to_owned()))
    }
}

impl fmt::Display for NodeIdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

as_text!(HostPort);
as_text!(Peer);
as_text!(NodeIdText);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_not_guessed() {
        for good in ["miner.example.org:7700", "192.0.2.1:1", "[2001:db8::1]:7700"] {
            assert_eq!(good.parse::<HostPort>().unwrap().as_str(), good);
            let peer = format!("{}@{good}", "1".repeat(64));
            assert_eq!(peer.parse::<Peer>().unwrap().to_string(), peer);
        }
        let long = format!("{}:1", "a".repeat(127));
        for bad in ["", "host", ":1", "host:", "host:0", "host:70000", "2001:db8::1:7700", "a/b:1", &long] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
            assert!(format!("{}@{bad}", "1".repeat(64)).parse::<Peer>().is_err(), "{bad}");
        }
        for bad in ["", "h:1", "12@h:1"] {
            assert!(bad.parse::<Peer>().is_err(), "{bad}");
        }
        let id = "0f".repeat(32);
        assert_eq!(id.parse::<NodeIdText>().unwrap().to_string(), id);
        assert!("0f".parse::<NodeIdText>().is_err());
    }
}
