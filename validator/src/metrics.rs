//! Counters of the service.

use arion_daemon::prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use arion_ledger::LedgerMetrics;

/// A state of miners.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct StateLabel {
    pub(crate) state: &'static str,
}

/// Counters; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) heartbeats: Counter,
    pub(crate) heartbeats_refused: Counter,
    pub(crate) votes: Counter,
    pub(crate) vote_failures: Counter,
    pub(crate) reports: Counter,
    pub(crate) reports_refused: Counter,
    pub(crate) ledgers: LedgerMetrics,
    pub(crate) states: Family<StateLabel, Gauge>,
    pub(crate) online: Gauge,
    pub(crate) registered: Gauge,
    pub(crate) epoch: Gauge,
}

impl Metrics {
    pub(crate) fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("arion_validator");
        registry.register("heartbeats", "Heartbeats accepted", self.heartbeats.clone());
        registry.register("heartbeats_refused", "Heartbeats refused", self.heartbeats_refused.clone());
        registry.register("votes", "Votes for maps cast", self.votes.clone());
        registry.register("vote_failures", "Votes for maps that failed", self.vote_failures.clone());
        registry.register("reports", "Reports of quality given to the node", self.reports.clone());
        registry.register(
            "reports_refused",
            "Questions of the node without a report",
            self.reports_refused.clone(),
        );
        self.ledgers.register(&mut registry);
        registry.register("miners", "Registered miners by state", self.states.clone());
        registry.register("miners_online", "Miners with a recent heartbeat", self.online.clone());
        registry.register("miners_registered", "Active miners on chain", self.registered.clone());
        registry.register("epoch", "Epoch of the current map", self.epoch.clone());
        registry
    }
}
