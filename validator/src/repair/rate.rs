//! A bound on bytes per second.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

/// What may be moved at once after a pause, in time at the full rate.
const BURST: Duration = Duration::from_secs(1);

/// Gives out bytes at a rate; clones share it. Who takes more than there is waits, and those behind it too.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    bytes_per_second: u64,
    /// When everything that was given out is paid for.
    paid_at: Arc<Mutex<Instant>>,
}

impl Rate {
    /// At least one byte per second.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Returns when so many bytes may be moved.
    pub(super) async fn take(&self, bytes: u64) {
        let mut paid_at = self.paid_at.lock().await;
        let now = Instant::now();
        let from = (*paid_at).max(now.checked_sub(BURST).unwrap_or(now));
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        *paid_at = from + cost;
        tokio::time::sleep_until(*paid_at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_for_all_who_share_the_rate() {
        let rate = Rate::new(1_000);
        tokio::time::advance(Duration::from_secs(10)).await;
        let begun = Instant::now();
        let other = rate.clone();
        tokio::join!(rate.take(3_000), other.take(2_000));
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(4) && took < Duration::from_millis(4_010), "{took:?}");
    }
}
