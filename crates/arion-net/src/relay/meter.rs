//! Bytes per second, kept to by dropping.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Least burst: a few packets of any rate.
const BURST_BYTES_MIN: u64 = 64 << 10;
const NANOS: u128 = 1_000_000_000;

/// A token bucket: a rate, and so much of it at once.
#[derive(Debug)]
pub(super) struct Meter {
    bytes_per_second: u64,
    burst_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes that may pass now, times [`NANOS`].
    credit: u128,
    at: Instant,
}

impl Meter {
    /// A quarter of a second at once.
    pub(super) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self::with_burst(bytes_per_second, (bytes_per_second / 4).max(BURST_BYTES_MIN), now)
    }

    pub(super) fn with_burst(bytes_per_second: u64, burst_bytes: u64, now: Instant) -> Self {
        let credit = u128::from(burst_bytes) * NANOS;
        Self { bytes_per_second, burst_bytes, state: Mutex::new(State { credit, at: now }) }
    }

    /// Whether so many bytes may pass now; they are counted if so.
    pub(super) fn take(&self, bytes: usize, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed: Duration = now.saturating_duration_since(state.at);
        let earned = elapsed.as_nanos().saturating_mul(u128::from(self.bytes_per_second));
        state.credit = state.credit.saturating_add(earned).min(u128::from(self.burst_bytes) * NANOS);
        state.at = state.at.max(now);
        match state.credit.checked_sub(bytes as u128 * NANOS) {
            Some(left) => {
                state.credit = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_and_no_more() {
        let start = Instant::now();
        let rate = 1_000_000;
        let meter = Meter::new(rate, start);
        let packets = |now| (0..).take_while(|_| meter.take(1_000, now)).count() as u64;
        assert_eq!(packets(start), rate / 4 / 1_000);
        // Time passes in steps that are worth less than a byte each; nothing is lost by that.
        let mut passed = 0;
        for step in 1..=1_000_000u64 {
            passed += u64::from(meter.take(1_000, start + Duration::from_nanos(step * 300)));
        }
        assert_eq!(passed, 300);
        assert_eq!(packets(start + Duration::from_secs(3_600)), rate / 4 / 1_000);
    }

    #[test]
    fn extremes_neither_overflow_nor_go_backwards() {
        let start = Instant::now();
        let fast = Meter::new(u64::MAX, start);
        assert!(fast.take(usize::MAX >> 8, start + Duration::from_secs(1 << 30)));
        assert!(fast.take(1, start));
        let slow = Meter::new(0, start);
        assert!(slow.take(BURST_BYTES_MIN as usize, start));
        assert!(!slow.take(1, start + Duration::from_secs(1 << 30)));
        let strict = Meter::with_burst(10, 10, start);
        assert!(strict.take(10, start) && !strict.take(1, start));
        assert!(strict.take(10, start + Duration::from_secs(9)));
        assert!(!strict.take(10, start + Duration::from_millis(9_900)));
    }
}
