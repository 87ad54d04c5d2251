//! Counters of the warden.

use arion_daemon::{
    Health,
    prometheus_client::{
        metrics::{counter::Counter, family::Family, gauge::Gauge},
        registry::Registry,
    },
};
use arion_ledger::LedgerMetrics;
use arion_types::AttestationResult;

/// Counters; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) verdicts: Family<[(&'static str, &'static str); 1], Counter>,
    pub(crate) ledgers: LedgerMetrics,
    pub(crate) handed_over: Counter,
    pub(crate) handover_failures: Counter,
    pub(crate) outbox: Gauge,
    pub(crate) live: Gauge,
    pub(crate) round: Gauge,
}

const RESULTS: [&str; 4] = ["passed", "failed", "timeout", "invalid_proof"];

impl Metrics {
    pub(crate) fn verdict(&self, result: AttestationResult) {
        let name = match result {
            AttestationResult::Passed => RESULTS[0],
            AttestationResult::Failed => RESULTS[1],
            AttestationResult::Timeout => RESULTS[2],
            AttestationResult::InvalidProof => RESULTS[3],
        };
        self.verdicts.get_or_create(&[("result", name)]).inc();
    }

    pub(crate) fn details(&self, health: &Health) {
        for name in RESULTS {
            health
                .detail(&format!("verdicts_{name}"), self.verdicts.get_or_create(&[("result", name)]).get());
        }
    }

    pub(crate) fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("arion_warden");
        registry.register("verdicts", "Verdicts by result", self.verdicts.clone());
        self.ledgers.register(&mut registry);
        registry.register("attestations_handed_over", "Attestations handed over", self.handed_over.clone());
        registry.register("handover_failures", "Hand-overs that failed", self.handover_failures.clone());
        registry.register("attestations_waiting", "Attestations not handed over yet", self.outbox.clone());
        registry.register("shards_live", "Shards that are audited", self.live.clone());
        registry.register("round", "Number of the round of audits", self.round.clone());
        registry
    }
}
