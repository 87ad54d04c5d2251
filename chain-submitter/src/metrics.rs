//! Counters of the submitter.

use arion_daemon::prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Counters; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) received: Counter,
    pub(crate) refused: Counter,
    pub(crate) finalized: Counter,
    pub(crate) rejected: Counter,
    pub(crate) transactions: Counter,
    pub(crate) failures: Counter,
    pub(crate) queued: Gauge,
}

impl Metrics {
    pub(crate) fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("arion_submitter");
        registry.register("attestations_received", "New attestations queued", self.received.clone());
        registry.register("requests_refused", "Hand-overs refused", self.refused.clone());
        registry.register(
            "attestations_finalized",
            "Attestations found finalised on chain",
            self.finalized.clone(),
        );
        registry.register(
            "attestations_rejected",
            "Attestations the chain will never take",
            self.rejected.clone(),
        );
        registry.register("transactions", "Batches carried out", self.transactions.clone());
        registry.register("failures", "Batches that failed and are tried again", self.failures.clone());
        registry.register("attestations_queued", "Attestations waiting", self.queued.clone());
        registry
    }
}
