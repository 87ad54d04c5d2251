//! What the relay counts, for Prometheus: as it stands when somebody asks.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arion_daemon::prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use arion_net::{RelayServer, RelayStats};

/// A relay server that is asked for what it counted; clones share it. There is none before the chain is reached, and none
/// when the relay has stopped.
#[derive(Clone, Default)]
pub(crate) struct Counted(Arc<Mutex<Option<RelayServer>>>);

impl Counted {
    pub(crate) fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("arion_relay");
        registry.register_collector(Box::new(self.clone()));
        registry
    }

    pub(crate) fn begin(&self, server: RelayServer) {
        *self.server() = Some(server);
    }

    /// Takes the server out, to be stopped.
    pub(crate) fn end(&self) -> Option<RelayServer> {
        self.server().take()
    }

    pub(crate) fn stats(&self) -> RelayStats {
        self.server().as_ref().map(RelayServer::stats).unwrap_or_default()
    }

    fn server(&self) -> MutexGuard<'_, Option<RelayServer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stats = self.stats();
        for (name, help, value) in [
            ("connections", "Open connections", stats.connections),
            ("miners_attached", "Miners that can be reached", stats.attached),
            ("channels", "Open channels", stats.channels),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        for (name, help, unit, value) in [
            ("datagrams_forwarded", "Packets carried", None, stats.forwarded_datagrams),
            ("forwarded", "Bytes carried", Some(&Unit::Bytes), stats.forwarded_bytes),
            ("refusals", "Connections and requests refused", None, stats.refused),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, unit, MetricType::Counter)?)?;
        }
        let (name, help) = ("datagrams_dropped", "Packets dropped, by reason");
        let mut dropped = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reason, count) in [
            ("rate", stats.dropped_rate),
            ("full", stats.dropped_full),
            ("channel", stats.dropped_channel),
            ("length", stats.dropped_length),
        ] {
            ConstCounter::new(count).encode(dropped.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_daemon::prometheus_client::encoding::text;

    #[test]
    fn names_are_those_of_the_operators_page() {
        let mut page = String::new();
        text::encode(&mut page, &Counted::default().register()).unwrap();
        for line in [
            "arion_relay_connections 0",
            "arion_relay_miners_attached 0",
            "arion_relay_channels 0",
            "arion_relay_datagrams_forwarded_total 0",
            "arion_relay_forwarded_bytes_total 0",
            "arion_relay_datagrams_dropped_total{reason=\"rate\"} 0",
            "arion_relay_refusals_total 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
    }
}
