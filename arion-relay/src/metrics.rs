//! What the relay counts, for Prometheus.

use std::sync::atomic::Ordering;

use arion_daemon::prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use arion_net::RelayStats;

/// Metrics; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    connections: Gauge,
    attached: Gauge,
    channels: Gauge,
    datagrams: Counter,
    bytes: Counter,
    dropped: Family<[(&'static str, &'static str); 1], Counter>,
    refused: Counter,
}

impl Metrics {
    pub(crate) fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("arion_relay");
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("miners_attached", "Miners that can be reached", self.attached.clone());
        registry.register("channels", "Open channels", self.channels.clone());
        registry.register("datagrams_forwarded", "Packets carried", self.datagrams.clone());
        registry.register_with_unit("forwarded", "Bytes carried", Unit::Bytes, self.bytes.clone());
        registry.register("datagrams_dropped", "Packets dropped, by reason", self.dropped.clone());
        registry.register("refusals", "Connections and requests refused", self.refused.clone());
        registry
    }

    pub(crate) fn refresh(&self, stats: &RelayStats) {
        let gauge = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        gauge(&self.connections, stats.connections);
        gauge(&self.attached, stats.attached);
        gauge(&self.channels, stats.channels);
        self.datagrams.inner().store(stats.forwarded_datagrams, Ordering::Relaxed);
        self.bytes.inner().store(stats.forwarded_bytes, Ordering::Relaxed);
        self.refused.inner().store(stats.refused, Ordering::Relaxed);
        for (reason, count) in [
            ("rate", stats.dropped_rate),
            ("full", stats.dropped_full),
            ("channel", stats.dropped_channel),
            ("length", stats.dropped_length),
        ] {
            self.dropped.get_or_create(&[("reason", reason)]).inner().store(count, Ordering::Relaxed);
        }
    }
}
