//! How a sender finds out how fast it may send.
//!
//! BBR follows the rate at which packets arrive and takes random loss for what it is. Between machines that are next to each
//! other it is too careful: a packet takes a tenth of a millisecond, a busy receiver's answer several, and the window that
//! BBR computes from the shortest round trip is empty long before the answer comes. CUBIC fills it, and on such a path it
//! recovers from a loss within milliseconds. So [`Adaptive`] lets both watch a connection, and on short paths the larger
//! window counts.
//!
//! Measured in docs/adr/0005-congestion-control.md.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn::congestion::{BbrConfig, Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// A path whose shortest round trip is below this is short.
const SHORT_PATH: Duration = Duration::from_millis(5);

/// How a sender finds out how fast it may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Congestion {
    /// Slows down when packets are lost.
    Cubic,
    /// Follows the rate at which packets arrive.
    Bbr,
    /// BBR; where a round trip takes less than 5 ms, BBR or CUBIC, whichever has the larger window. The default, see
    /// docs/adr/0005-congestion-control.md.
    #[default]
    Adaptive,
}

impl Congestion {
    /// What makes a controller for each connection.
    pub(crate) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Cubic => Arc::new(CubicConfig::default()),
            Self::Bbr => Arc::new(BbrConfig::default()),
            Self::Adaptive => Arc::new(AdaptiveConfig),
        }
    }
}

struct AdaptiveConfig;

impl ControllerFactory for AdaptiveConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Adaptive {
            bbr: Arc::new(BbrConfig::default()).build(now, mtu),
            cubic: Arc::new(CubicConfig::default()).build(now, mtu),
            short: false,
        })
    }
}

/// Both controllers of one connection.
struct Adaptive {
    bbr: Box<dyn Controller>,
    cubic: Box<dyn Controller>,
    /// Whether the path is short, as far as is known.
    short: bool,
}

impl Controller for Adaptive {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.bbr.on_sent(now, bytes, last_packet_number);
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.short = rtt.min() < SHORT_PATH;
        self.bbr.on_ack(now, sent, bytes, app_limited, rtt);
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.bbr.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.bbr.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.bbr.on_mtu_update(new_mtu);
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let bbr = self.bbr.window();
        if self.short { bbr.max(self.cubic.window()) } else { bbr }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.bbr.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { bbr: self.bbr.clone_box(), cubic: self.cubic.clone_box(), short: self.short })
    }

    fn initial_window(&self) -> u64 {
        self.bbr.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has a window of `window` bytes until it is told of a loss.
    struct Fixed {
        window: u64,
    }

    impl Controller for Fixed {
        fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: u64) {
            self.window /= 2;
        }
        fn on_mtu_update(&mut self, _: u16) {}
        fn window(&self) -> u64 {
            self.window
        }
        fn clone_box(&self) -> Box<dyn Controller> {
            Box::new(Self { window: self.window })
        }
        fn initial_window(&self) -> u64 {
            self.window
        }
        fn into_any(self: Box<Self>) -> Box<dyn Any> {
            self
        }
    }

    fn both(bbr: u64, cubic: u64, short: bool) -> Adaptive {
        Adaptive { bbr: Box::new(Fixed { window: bbr }), cubic: Box::new(Fixed { window: cubic }), short }
    }

    #[test]
    fn the_larger_window_counts_on_short_paths_and_that_of_bbr_on_others() {
        assert_eq!(both(10, 20, false).window(), 10);
        assert_eq!(both(10, 20, true).window(), 20);
        assert_eq!(both(30, 20, true).window(), 30);
        assert_eq!(both(10, 20, true).clone_box().window(), 20);
    }

    #[test]
    fn both_are_told_of_losses() {
        let (now, mut adaptive) = (Instant::now(), both(100, 200, false));
        adaptive.on_congestion_event(now, now, false, 1);
        assert_eq!((adaptive.bbr.window(), adaptive.cubic.window()), (50, 100));
    }

    #[test]
    fn every_kind_begins_with_a_window_that_sends() {
        for kind in [Congestion::Cubic, Congestion::Bbr, Congestion::Adaptive] {
            let controller = kind.factory().build(Instant::now(), 1_200);
            assert!(controller.window() >= 4 * 1_200, "{kind:?}");
        }
    }
}
