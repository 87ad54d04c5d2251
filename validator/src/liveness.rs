//! Which miners live: the last heartbeat of each.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use arion_chain::Registry;
use arion_net::RelayAddr;
use arion_protocol::{
    ErrorCode, Heartbeat, MinerState, MinerStatus, SignedHeartbeat, limits::HEARTBEAT_SKEW_MS_MAX,
};
use arion_types::{GenesisHash, NodeId};

use crate::standing::Standings;

/// Heartbeats that may be missed before a miner counts as offline.
const MISSED_MAX: u32 = 3;

/// The last heartbeat of a miner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// What it said.
    pub heartbeat: Heartbeat,
    /// When it came, milliseconds since the Unix epoch.
    pub received_at: u64,
}

/// Why a heartbeat is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// The sender is not an active storage miner.
    #[error("this node id is not an active storage miner on the finalised chain; register it first")]
    NotRegistered,
    /// It speaks for another node.
    #[error("the heartbeat names another node than the one connected")]
    OtherNode,
    /// The signature does not hold for this chain.
    #[error("the signature does not verify for this chain")]
    BadSignature,
    /// The clocks differ.
    #[error("the clock of the heartbeat is more than a minute off; synchronise the miner's clock")]
    ClockSkew,
    /// Not newer than the one before.
    #[error("not newer than the last heartbeat")]
    Replayed,
    /// The endpoint is not an address.
    #[error("the endpoint is neither host:port nor relay://NODE_ID@host:port")]
    Endpoint,
}

impl From<HeartbeatError> for ErrorCode {
    fn from(error: HeartbeatError) -> Self {
        match error {
            HeartbeatError::NotRegistered => Self::NotRegistered,
            HeartbeatError::OtherNode => Self::Unauthorized,
            HeartbeatError::BadSignature => Self::BadSignature,
            HeartbeatError::ClockSkew => Self::Expired,
            HeartbeatError::Replayed => Self::Replayed,
            HeartbeatError::Endpoint => Self::Malformed,
        }
    }
}

/// The last heartbeat of each miner that sent one. Bounded by the number of registered miners.
#[derive(Debug)]
pub struct Liveness {
    genesis: GenesisHash,
    window: Duration,
    sightings: BTreeMap<NodeId, Sighting>,
}

impl Liveness {
    /// Empty; miners send a heartbeat every `interval`.
    pub fn new(genesis: GenesisHash, interval: Duration) -> Self {
        Self { genesis, window: interval * MISSED_MAX, sightings: BTreeMap::new() }
    }

    /// A miner that sends heartbeats is heard at least once in this time.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// A heartbeat that did not come for this long is overdue: one was missed.
    pub fn overdue_after(&self) -> Duration {
        self.window / MISSED_MAX * 3 / 2
    }

    /// Checks a heartbeat that `peer` sent at `now_ms` and keeps it.
    pub fn accept(
        &mut self,
        peer: NodeId,
        signed: SignedHeartbeat,
        registry: &Registry,
        now_ms: u64,
    ) -> Result<(), HeartbeatError> {
        let heartbeat = &signed.heartbeat;
        if !registry.miners.contains_key(&peer) {
            return Err(HeartbeatError::NotRegistered);
        }
        if heartbeat.node_id != peer {
            return Err(HeartbeatError::OtherNode);
        }
        if heartbeat.sent_at.abs_diff(now_ms) > HEARTBEAT_SKEW_MS_MAX {
            return Err(HeartbeatError::ClockSkew);
        }
        if self.sightings.get(&peer).is_some_and(|last| heartbeat.sent_at <= last.heartbeat.sent_at) {
            return Err(HeartbeatError::Replayed);
        }
        if !is_endpoint(&heartbeat.endpoint) {
            return Err(HeartbeatError::Endpoint);
        }
        if !signed.verify(&self.genesis) {
            return Err(HeartbeatError::BadSignature);
        }
        self.sightings.insert(peer, Sighting { heartbeat: signed.heartbeat, received_at: now_ms });
        Ok(())
    }

    /// Forgets who is no longer registered.
    pub fn retain_registered(&mut self, registry: &Registry) {
        self.sightings.retain(|node, _| registry.miners.contains_key(node));
    }

    /// The last heartbeat of a miner, however old.
    pub fn sighting(&self, node: &NodeId) -> Option<&Sighting> {
        self.sightings.get(node)
    }

    /// Whether the miner's last heartbeat is recent enough.
    pub fn is_online(&self, node: &NodeId, now_ms: u64) -> bool {
        self.sightings.get(node).is_some_and(|sighting| self.is_recent(sighting, now_ms))
    }

    /// Number of miners online.
    pub fn online(&self, now_ms: u64) -> usize {
        self.sightings.values().filter(|sighting| self.is_recent(sighting, now_ms)).count()
    }

    fn is_recent(&self, sighting: &Sighting, now_ms: u64) -> bool {
        u128::from(now_ms.saturating_sub(sighting.received_at)) <= self.window.as_millis()
    }

    /// A page of who was heard, in order of node id.
    pub fn page(&self, after: Option<NodeId>, limit: usize, standings: &Standings) -> Vec<MinerStatus> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.sightings.range((from, Bound::Unbounded)).take(limit);
        let state = |node| standings.of(node).map_or(MinerState::Joining, |standing| standing.state);
        behind.map(|(node, sighting)| Self::status(*node, sighting, state(node))).collect()
    }

    fn status(node_id: NodeId, sighting: &Sighting, state: MinerState) -> MinerStatus {
        let heartbeat = &sighting.heartbeat;
        MinerStatus {
            node_id,
            state,
            last_seen: sighting.received_at,
            endpoint: heartbeat.endpoint.clone(),
            capacity_bytes: heartbeat.capacity_bytes,
            used_bytes: heartbeat.used_bytes,
            shard_count: heartbeat.shard_count,
        }
    }
}

/// Whether the bytes are `host:port` or `[v6]:port` with a port other than 0, or name a relay.
fn is_endpoint(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Some(relay) = RelayAddr::of_endpoint(text) {
        return relay.is_ok();
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_v6 = host.starts_with('[') && host.ends_with(']') && host[1..host.len() - 1].contains(':');
    let is_name = !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_');
    (is_v6 || is_name) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::Patience;
    use arion_chain::Child;
    use arion_types::signing::node_id;
    use ed25519_dalek::SigningKey;

    const GENESIS: GenesisHash = [7; 32];
    const NOW_MS: u64 = 1_000_000;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        registry.miners.insert(node_id(&key()), Child { child: [1; 32], family: [2; 32] });
        registry
    }

    fn heartbeat(sent_at: u64) -> Heartbeat {
        Heartbeat {
            node_id: node_id(&key()),
            endpoint: b"127.0.0.1:4000".to_vec().try_into().unwrap(),
            capacity_bytes: 1,
            used_bytes: 0,
            shard_count: 0,
            draining: false,
            version: (0, 1, 0),
            sent_at,
        }
    }

    fn liveness() -> Liveness {
        Liveness::new(GENESIS, Duration::from_secs(30))
    }

    #[test]
    fn a_heartbeat_makes_a_miner_online_for_three_intervals() {
        let mut liveness = liveness();
        let node = node_id(&key());
        assert!(!liveness.is_online(&node, NOW_MS));
        let signed = heartbeat(NOW_MS).sign(&GENESIS, &key());
        assert_eq!(liveness.accept(node, signed.clone(), &registry(), NOW_MS), Ok(()));
        assert!(liveness.is_online(&node, NOW_MS + 90_000));
        assert!(!liveness.is_online(&node, NOW_MS + 90_001));
        let standings = Standings::new(Patience { out_after: Duration::ZERO, in_after: Duration::ZERO });
        let page = liveness.page(None, 10, &standings);
        assert!(page.len() == 1 && page[0].state == MinerState::Joining, "{page:?}");
        assert!(liveness.page(Some(node), 10, &standings).is_empty());
        let replayed = liveness.accept(node, signed, &registry(), NOW_MS);
        assert_eq!(replayed, Err(HeartbeatError::Replayed));
        liveness.retain_registered(&Registry::default());
        assert_eq!(liveness.online(NOW_MS), 0);
    }

    #[test]
    fn every_check_refuses() {
        let node = node_id(&key());
        let check = |change: &dyn Fn(&mut Heartbeat), registry: &Registry| {
            let mut report = heartbeat(NOW_MS);
            change(&mut report);
            liveness().accept(node, report.sign(&GENESIS, &key()), registry, NOW_MS)
        };
        assert_eq!(check(&|_| (), &Registry::default()), Err(HeartbeatError::NotRegistered));
        assert_eq!(check(&|h| h.node_id = NodeId([9; 32]), &registry()), Err(HeartbeatError::OtherNode));
        let early = NOW_MS - HEARTBEAT_SKEW_MS_MAX - 1;
        assert_eq!(check(&|h| h.sent_at = early, &registry()), Err(HeartbeatError::ClockSkew));
        let late = NOW_MS + HEARTBEAT_SKEW_MS_MAX + 1;
        assert_eq!(check(&|h| h.sent_at = late, &registry()), Err(HeartbeatError::ClockSkew));
        for endpoint in ["", "nowhere", "host:0", ":1", "a b:1", "[]:1", "host:99999"] {
            let bytes = endpoint.as_bytes().to_vec();
            let change = |h: &mut Heartbeat| h.endpoint = bytes.clone().try_into().unwrap();
            assert_eq!(check(&change, &registry()), Err(HeartbeatError::Endpoint), "{endpoint}");
        }
        let other_chain = heartbeat(NOW_MS).sign(&[8; 32], &key());
        let refused = liveness().accept(node, other_chain, &registry(), NOW_MS);
        assert_eq!(refused, Err(HeartbeatError::BadSignature));
        let relay = format!("relay://{}@relay.example:7800", "0f".repeat(32));
        for endpoint in ["a.example:1", "[::1]:65535", "10.0.0.1:4000", &relay] {
            assert!(is_endpoint(endpoint.as_bytes()), "{endpoint}");
        }
        assert!(!is_endpoint(&relay.as_bytes()[..relay.len() - 5]));
        assert!(!is_endpoint(b"relay://relay.example:7800"));
    }
}
