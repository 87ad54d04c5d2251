//! What one peer may have of a server: connections, and requests and bytes at once over all of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use arion_protocol::limits::BODY_BYTES_MAX;
use arion_types::NodeId;
use tokio::sync::Semaphore;

/// One connection of a peer, counted.
pub(crate) struct PeerSlot {
    peers: Arc<Mutex<HashMap<NodeId, usize>>>,
    peer: NodeId,
}

impl PeerSlot {
    pub(crate) fn take(peers: &Arc<Mutex<HashMap<NodeId, usize>>>, peer: NodeId, max: usize) -> Option<Self> {
        let mut counts = peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&peer).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        counts.insert(peer, count + 1);
        Some(Self { peers: peers.clone(), peer })
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut counts = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// The part of one peer.
pub(crate) struct Share {
    /// Requests it may have under way; beyond them it is told `Busy`.
    pub(crate) requests: Arc<Semaphore>,
    /// Bytes of request bodies that may be in memory; a body beyond them is not read from its stream yet.
    pub(crate) body_bytes: Arc<Semaphore>,
}

/// The shares of the peers that are connected.
pub(crate) struct Shares {
    requests_max: usize,
    body_bytes_max: usize,
    /// Forgotten ones are removed when as many are known as there may be peers.
    peers_max: usize,
    peers: Mutex<HashMap<NodeId, Weak<Share>>>,
}

impl Shares {
    /// The largest body always fits.
    pub(crate) fn new(requests_max: usize, body_bytes_max: usize, peers_max: usize) -> Self {
        Self {
            requests_max: requests_max.clamp(1, Semaphore::MAX_PERMITS),
            body_bytes_max: body_bytes_max.clamp(BODY_BYTES_MAX as usize, Semaphore::MAX_PERMITS),
            peers_max,
            peers: Mutex::default(),
        }
    }

    /// The share of a peer, the same for all its connections.
    pub(crate) fn of(&self, peer: NodeId) -> Arc<Share> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = peers.get(&peer).and_then(Weak::upgrade) {
            return share;
        }
        if peers.len() >= self.peers_max {
            peers.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Share {
            requests: Arc::new(Semaphore::new(self.requests_max)),
            body_bytes: Arc::new(Semaphore::new(self.body_bytes_max)),
        });
        peers.insert(peer, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_a_peer_have_one_share_and_the_forgotten_are_removed() {
        let shares = Shares::new(2, 0, 3);
        let first = shares.of(NodeId([1; 32]));
        assert!(Arc::ptr_eq(&first, &shares.of(NodeId([1; 32]))));
        assert!(!Arc::ptr_eq(&first, &shares.of(NodeId([2; 32]))));
        assert_eq!(first.requests.available_permits(), 2);
        assert_eq!(first.body_bytes.available_permits(), BODY_BYTES_MAX as usize);
        for seed in 3..100 {
            shares.of(NodeId([seed; 32]));
        }
        assert!(shares.peers.lock().unwrap().len() <= 3);
        assert!(Arc::ptr_eq(&first, &shares.of(NodeId([1; 32]))));
    }
}
