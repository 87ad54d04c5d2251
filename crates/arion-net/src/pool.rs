//! Connections by peer: at most one each, dialled once for all who wait for it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quinn::{Connection, ConnectionError};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::{sync::OwnedMutexGuard, task::AbortHandle, time::Instant};

use crate::{
    keys::{KeyClock, KeyLifetime},
    notice::{self, LEFT},
    tls::PeerCheck,
    transport::{CallError, PeerAddr},
};

/// Connections nobody used for so long are closed when room is needed.
const UNUSED_AFTER: Duration = Duration::from_secs(300);

/// What holds for every peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Pause after the first failed dial; doubled by each further one.
    pub(crate) backoff: Duration,
    /// The longest pause.
    pub(crate) backoff_max: Duration,
    /// For how long a node that announced that it leaves is expected back.
    pub(crate) successor_wait: Duration,
    pub(crate) keys: KeyLifetime,
}

impl Rules {
    /// The pause after so many failures in a row, of which chance takes away up to half: those who lost the same peer
    /// do not come back together.
    fn pause(&self, failures: u32, chance: u8) -> Duration {
        let doubled =
            self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.backoff_max);
        doubled - doubled / 2 * u32::from(chance) / 255
    }
}

fn chance() -> u8 {
    let mut byte = [0];
    // Without randomness everybody waits for the whole pause.
    let _ = SystemRandom::new().fill(&mut byte);
    byte[0]
}

/// What a call needs of a connection.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) connection: Connection,
    pub(crate) keys: Arc<KeyClock>,
    /// The server takes no more requests on it.
    left: Arc<AtomicBool>,
}

impl Held {
    /// One that nobody looks after.
    pub(crate) fn bare(connection: Connection) -> Self {
        Self { connection, keys: Arc::new(KeyClock::new(KeyLifetime::default())), left: Arc::default() }
    }

    /// No more requests are to be made on it.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
            || self.connection.close_reason().is_some_and(|reason| is_left(&reason))
    }
}

/// Whether the server closed after it had answered all that it had looked at.
pub(crate) fn is_left(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == LEFT)
}

/// A connection and the task that looks after it.
struct Kept {
    held: Held,
    keeper: AbortHandle,
}

impl Kept {
    fn new(connection: Connection, keys: KeyLifetime) -> Self {
        let held = Held { keys: Arc::new(KeyClock::new(keys)), ..Held::bare(connection) };
        let keeper = tokio::spawn(keep(held.clone())).abort_handle();
        Self { held, keeper }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Replaces keys in time and hears what the server announces.
async fn keep(held: Held) {
    tokio::select! {
        () = held.keys.run(&held.connection) => {}
        () = notice::announced(&held.connection) => held.leave(),
    }
}

struct Failed {
    at: Instant,
    until: Instant,
    error: CallError,
}

/// What is known of one peer.
pub(crate) struct Peer {
    rules: Rules,
    kept: Option<Kept>,
    failed: Option<Failed>,
    failures: u32,
    check: Option<Arc<PeerCheck>>,
    /// It announced that it leaves: until then it is expected back.
    expected_until: Option<Instant>,
}

impl Peer {
    fn new(rules: Rules) -> Self {
        Self { rules, kept: None, failed: None, failures: 0, check: None, expected_until: None }
    }

    /// What checks its key, made at the first dial and kept for the next: it holds the session that may be taken up.
    pub(crate) fn check(&mut self, make: impl FnOnce() -> Arc<PeerCheck>) -> Arc<PeerCheck> {
        self.check.get_or_insert_with(make).clone()
    }

    /// The connection, if it still stands and takes requests.
    pub(crate) fn standing(&mut self) -> Option<Held> {
        let held = &self.kept.as_ref()?.held;
        if held.has_left() {
            // Requests under way keep the connection, nobody else does.
            self.expected_until = Some(Instant::now() + self.rules.successor_wait);
            self.kept = None;
            return None;
        }
        (held.connection.close_reason().is_none()).then(|| held.clone())
    }

    /// Until when a peer that left is expected back.
    pub(crate) fn expected_until(&self) -> Option<Instant> {
        self.expected_until.filter(|until| *until > Instant::now())
    }

    /// The failure of a dial that ended after `asked`, or so short ago that no other is made yet.
    pub(crate) fn fresh_failure(&self, asked: Instant) -> Option<CallError> {
        let failed = self.failed.as_ref()?;
        (failed.at >= asked || Instant::now() < failed.until).then(|| failed.error.clone())
    }

    /// Keeps the outcome of a dial.
    pub(crate) fn record(&mut self, outcome: &Result<Connection, CallError>) {
        match outcome {
            Ok(connection) => {
                self.kept = Some(Kept::new(connection.clone(), self.rules.keys));
                (self.failed, self.failures, self.expected_until) = (None, 0, None);
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let at = Instant::now();
                let until = at + self.rules.pause(self.failures, chance());
                (self.kept, self.failed) = (None, Some(Failed { at, until, error: error.clone() }));
            }
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
    rules: Rules,
    peers: Mutex<HashMap<PeerAddr, Entry>>,
}

impl Pool {
    pub(crate) fn new(peers_max: usize, rules: Rules) -> Self {
        Self { peers_max: peers_max.max(1), rules, peers: Mutex::default() }
    }

    /// Makes no more use of any connection; requests under way keep theirs.
    pub(crate) fn forget(&self) {
        self.peers().clear();
    }

    /// Exclusive access to what is known of `addr`; whoever holds it may dial.
    pub(crate) async fn peer(&self, addr: &PeerAddr) -> OwnedMutexGuard<Peer> {
        let peer = {
            let mut peers = self.peers();
            if !peers.contains_key(addr) && peers.len() >= self.peers_max {
                make_room(&mut peers, self.peers_max);
            }
            let entry = peers.entry(addr.clone()).or_insert_with(|| {
                let peer = Arc::new(tokio::sync::Mutex::new(Peer::new(self.rules)));
                Entry { peer, last_used: Instant::now() }
            });
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
        let standing = entry.peer.try_lock().is_ok_and(|mut peer| peer.standing().is_some());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_chance_takes_at_most_half() {
        let rules = Rules {
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            successor_wait: Duration::ZERO,
            keys: KeyLifetime::default(),
        };
        let pauses: Vec<u128> = (1..7).map(|failures| rules.pause(failures, 0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(rules.pause(u32::MAX, 0), Duration::from_secs(1));
        assert_eq!(rules.pause(2, 255), Duration::from_millis(100));
        let halfway = rules.pause(2, 128);
        assert!(halfway > Duration::from_millis(140) && halfway < Duration::from_millis(160));
    }
}
