//! Connections by peer: at most one each, dialled once for all who wait for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quinn::Connection;
use tokio::{sync::OwnedMutexGuard, time::Instant};

use crate::{
    tls::PeerCheck,
    transport::{CallError, PeerAddr},
};

/// Connections nobody used for so long are closed when room is needed.
const UNUSED_AFTER: Duration = Duration::from_secs(300);

/// What is known of one peer.
#[derive(Default)]
pub(crate) struct Peer {
    connection: Option<Connection>,
    failed: Option<(Instant, CallError)>,
    check: Option<Arc<PeerCheck>>,
}

impl Peer {
    /// What checks its key, made at the first dial and kept for the next: it holds the session that may be taken up.
    pub(crate) fn check(&mut self, make: impl FnOnce() -> Arc<PeerCheck>) -> Arc<PeerCheck> {
        self.check.get_or_insert_with(make).clone()
    }

    /// The connection, if it still stands.
    pub(crate) fn standing(&self) -> Option<Connection> {
        self.connection.clone().filter(|connection| connection.close_reason().is_none())
    }

    /// The failure of a dial that ended after `asked`, or less than `backoff` ago.
    pub(crate) fn fresh_failure(&self, asked: Instant, backoff: Duration) -> Option<CallError> {
        let (at, error) = self.failed.as_ref()?;
        (*at >= asked || at.elapsed() < backoff).then(|| error.clone())
    }

    /// Keeps the outcome of a dial.
    pub(crate) fn record(&mut self, outcome: &Result<Connection, CallError>) {
        match outcome {
            Ok(connection) => (self.connection, self.failed) = (Some(connection.clone()), None),
            Err(error) => (self.connection, self.failed) = (None, Some((Instant::now(), error.clone()))),
        }
    }
}

struct Entry {
    peer: Arc<tokio::sync::Mutex<Peer>>,
    last_used: Instant,
}

/// All peers of a client.
pub(crate) struct Pool {
    peers_max: usize,
    peers: Mutex<HashMap<PeerAddr, Entry>>,
}

impl Pool {
    pub(crate) fn new(peers_max: usize) -> Self {
        Self { peers_max: peers_max.max(1), peers: Mutex::default() }
    }

    /// Exclusive access to what is known of `addr`; whoever holds it may dial.
    pub(crate) async fn peer(&self, addr: &PeerAddr) -> OwnedMutexGuard<Peer> {
        let peer = {
            let mut peers = self.peers();
            if !peers.contains_key(addr) && peers.len() >= self.peers_max {
                make_room(&mut peers, self.peers_max);
            }
            let entry = peers
                .entry(addr.clone())
                .or_insert_with(|| Entry { peer: Arc::default(), last_used: Instant::now() });
            entry.last_used = Instant::now();
            entry.peer.clone()
        };
        peer.lock_owned().await
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PeerAddr, Entry>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what is unused or broken, then whatever was used longest ago. Requests that are under way keep their
/// connection.
fn make_room(peers: &mut HashMap<PeerAddr, Entry>, peers_max: usize) {
    peers.retain(|_, entry| {
        let busy = Arc::strong_count(&entry.peer) > 1;
        let standing = entry.peer.try_lock().is_ok_and(|peer| peer.standing().is_some());
        busy || (standing && entry.last_used.elapsed() < UNUSED_AFTER)
    });
    while peers.len() >= peers_max {
        let Some(oldest) =
            peers.iter().min_by_key(|(_, entry)| entry.last_used).map(|(addr, _)| addr.clone())
        else {
            return;
        };
        peers.remove(&oldest);
    }
}
