//! Endpoints behind a relay, as they stand in heartbeats and maps.

use std::{fmt, str::FromStr};

use arion_types::NodeId;

/// What an endpoint behind a relay begins with.
const SCHEME: &str = "relay://";
/// Longest endpoint, in bytes: what the map on chain holds.
const BYTES_MAX: usize = arion_types::map::ENDPOINT_BYTES_MAX as usize;

/// A relay: `relay://NODE_ID@HOST:PORT`, the node id in 64 hex digits. Whose endpoint this is, is reached through it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RelayAddr {
    /// The key that the relay must prove.
    pub node_id: NodeId,
    /// `host:port` or `[v6]:port` of the relay.
    host_port: String,
}

/// Text that begins as an endpoint behind a relay and is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not an endpoint behind a relay; write relay://NODE_ID@HOST:PORT, at most 128 bytes")]
pub struct RelayAddrError(String);

impl RelayAddr {
    /// The relay in an endpoint; none where the endpoint is reached directly.
    pub fn of_endpoint(endpoint: &str) -> Option<Result<Self, RelayAddrError>> {
        endpoint.starts_with(SCHEME).then(|| endpoint.parse())
    }

    /// A relay with this key at this address.
    pub fn new(node_id: NodeId, host_port: &str) -> Result<Self, RelayAddrError> {
        format!("{SCHEME}{node_id}@{host_port}").parse()
    }

    /// Where the relay is: `host:port` or `[v6]:port`.
    pub fn host_port(&self) -> &str {
        &self.host_port
    }
}

impl FromStr for RelayAddr {
    type Err = RelayAddrError;

    fn from_str(text: &str) -> Result<Self, RelayAddrError> {
        parse(text).ok_or_else(|| RelayAddrError(text.chars().take(2 * BYTES_MAX).collect()))
    }
}

fn parse(text: &str) -> Option<RelayAddr> {
    let (node_id, host_port) = text.strip_prefix(SCHEME)?.split_once('@')?;
    let digits = node_id.len() == 64 && node_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let holds = text.len() <= BYTES_MAX && digits && is_host_port(host_port);
    let node_id = node_id.parse().ok().filter(|_| holds)?;
    Some(RelayAddr { node_id, host_port: host_port.to_owned() })
}

fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_holds = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)),
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host_holds && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl fmt::Display for RelayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}@{}", self.node_id, self.host_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_round_trips_and_direct_endpoints_are_none() {
        for host_port in ["relay.example.org:7800", "192.0.2.1:1", "[2001:db8::1]:65535"] {
            let text = format!("relay://{}@{host_port}", "0f".repeat(32));
            let relay = RelayAddr::of_endpoint(&text).unwrap().unwrap();
            assert_eq!((relay.node_id, relay.host_port()), (NodeId([15; 32]), host_port));
            assert_eq!(relay.to_string(), text);
            assert_eq!(RelayAddr::new(relay.node_id, host_port), Ok(relay));
        }
        assert!(RelayAddr::of_endpoint("miner.example.org:7700").is_none());
        assert!(RelayAddr::of_endpoint("").is_none());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let id = "0f".repeat(32);
        let bad = [
            "relay://".to_owned(),
            format!("relay://{id}"),
            format!("relay://{id}@"),
            format!("relay://{id}@host"),
            format!("relay://{id}@host:0"),
            format!("relay://{id}@host:+1"),
            format!("relay://{id}@host:65536"),
            format!("relay://{id}@:1"),
            format!("relay://{id}@a b:1"),
            format!("relay://{id}@a/b:1"),
            format!("relay://{id}@a@b:1"),
            format!("relay://{id}@2001:db8::1:1"),
            format!("relay://{id}@[nothing]:1"),
            format!("relay://{}@host:1", &id[1..]),
            format!("relay://{}@host:1", id.to_uppercase()),
            format!("relay://0x{}@host:1", &id[2..]),
            format!("relay://{id}@{}:1", "a".repeat(54)),
        ];
        for text in bad {
            let error = RelayAddr::of_endpoint(&text).unwrap().unwrap_err();
            assert!(error.to_string().contains("relay://NODE_ID@HOST:PORT"), "{text}");
        }
        assert!(RelayAddr::new(NodeId([15; 32]), &format!("{}:1", "a".repeat(53))).is_ok());
        assert!("host:1".parse::<RelayAddr>().is_err());
    }
}
