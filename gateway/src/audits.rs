//! How miners were audited lately, as the finalised chain says, for what owners are told of their objects.
//!
//! Read in the background, whatever is asked: an answer costs no question to the chain.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use arion_chain::{AuditDay, AuditReader, ChainClient};
use arion_daemon::Shutdown;

/// Between two looks at the newest attestations.
const LOOK: Duration = Duration::from_secs(30);
/// Between two looks at all of the day: some come late.
const LOOK_AT_ALL: Duration = Duration::from_secs(3_600);

/// The last 24 hours of audits; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Audits {
    day: Arc<RwLock<Option<Arc<AuditDay>>>>,
}

impl Audits {
    /// What is known; `None` before the chain was read.
    pub fn day(&self) -> Option<Arc<AuditDay>> {
        self.day.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this is known.
    pub fn set(&self, day: AuditDay) {
        *self.day.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(day));
    }

    /// Follows the chain until the shutdown. What cannot be read stays as it was.
    pub async fn follow(self, chain: ChainClient, stop: Shutdown) {
        let mut reader = AuditReader::new(chain);
        let mut all_at = Instant::now();
        loop {
            if all_at.elapsed() >= LOOK_AT_ALL {
                reader.forget();
                all_at = Instant::now();
            }
            match reader.read().await {
                Ok(day) => self.set(day),
                Err(error) => tracing::debug!(%error, "attestations cannot be read now"),
            }
            tokio::select! {
                () = stop.wait() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
