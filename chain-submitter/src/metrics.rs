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
    pub(crate) conflicts: Counter,
    pub(crate) transactions: Counter,
    pub(crate) failures: Counter,
    pub(crate) queued: Gauge,
    pub(crate) exhibits_kept: Counter,
    pub(crate) exhibits_refused: Counter,
    pub(crate) exhibits_dropped: Counter,
    pub(crate) exhibit_bytes: Gauge,
    pub(crate) bundles: Counter,
    pub(crate) epochs_committed: Counter,
    pub(crate) epochs_missed: Counter,
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
        for (name, help, counter) in [
            ("exhibits_kept", "Answers of miners kept for bundles", &self.exhibits_kept),
            ("exhibits_refused", "Answers that do not fit their attestation", &self.exhibits_refused),
            (
                "exhibits_dropped",
                "Answers for which there is no room, or that came too late",
                &self.exhibits_dropped,
            ),
            ("conflicts", "Verdicts with which a warden contradicted itself", &self.conflicts),
            ("bundles", "Bundles stored", &self.bundles),
            (
                "epochs_committed",
                "Epochs whose commitment of this submitter is on chain",
                &self.epochs_committed,
            ),
            (
                "epochs_missed",
                "Epochs without a bundle of this submitter: a bucket was pruned",
                &self.epochs_missed,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "exhibit_bytes",
            "Bytes of answers that wait for bundles",
            self.exhibit_bytes.clone(),
        );
        registry
    }
}
