//! When a connection replaces its traffic keys (RFC 9001, section 6): after so many bytes, and after so much time.
//!
//! Either end counts for itself; the other one follows. QUIC itself replaces them before the number of packets that the
//! cipher allows.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quinn::Connection;
use tokio::time::{Instant, sleep_until};
use tracing::trace;

/// How long traffic keys are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyLifetime {
    /// Bytes of UDP payload sent and received under them. Looked at after every request, so that what is under way then
    /// still counts to the old keys.
    pub bytes: u64,
    /// Age, of idle connections too.
    pub time: Duration,
}

impl Default for KeyLifetime {
    fn default() -> Self {
        Self { bytes: 1 << 30, time: Duration::from_secs(600) }
    }
}

/// When the keys began to be used, and after how many bytes of their connection.
struct Since {
    at: Instant,
    bytes: u64,
}

/// The age of one connection's keys.
pub(crate) struct KeyClock {
    lifetime: KeyLifetime,
    since: Mutex<Since>,
}

impl KeyClock {
    /// For a connection that was just made.
    pub(crate) fn new(lifetime: KeyLifetime) -> Self {
        Self { lifetime, since: Mutex::new(Since { at: Instant::now(), bytes: 0 }) }
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the keys if their time or bytes are used up. QUIC leaves it out while the other end has not acknowledged the
    /// change before.
    pub(crate) fn check(&self, connection: &Connection) {
        let stats = connection.stats();
        let bytes = stats.udp_tx.bytes.saturating_add(stats.udp_rx.bytes);
        let mut since = self.since();
        let used = bytes.saturating_sub(since.bytes);
        if used >= self.lifetime.bytes || since.at.elapsed() >= self.lifetime.time {
            trace!(remote = %connection.remote_address(), used, "traffic keys have served their time");
            connection.force_key_update();
            *since = Since { at: Instant::now(), bytes };
        }
    }

    /// Replaces keys that get old, for good.
    pub(crate) async fn run(&self, connection: &Connection) {
        loop {
            let due = self.since().at + self.lifetime.time;
            sleep_until(due).await;
            self.check(connection);
        }
    }
}
