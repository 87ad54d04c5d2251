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

use crate::coverage::Forecast;

/// Counters; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) verdicts: Family<[(&'static str, &'static str); 1], Counter>,
    pub(crate) ledgers: LedgerMetrics,
    pub(crate) handed_over: Counter,
    pub(crate) handover_failures: Counter,
    pub(crate) exhibits_kept: Counter,
    pub(crate) exhibits_dropped: Counter,
    pub(crate) outbox: Gauge,
    live: Gauge,
    mine: Gauge,
    mine_bytes: Gauge,
    round: Gauge,
    round_seconds: Gauge,
    coverage: Gauge,
    detection: Gauge,
    present: Gauge,
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
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

    pub(crate) fn shards(&self, live: usize, mine: u64, mine_bytes: u64) {
        set(&self.live, live as u64);
        set(&self.mine, mine);
        set(&self.mine_bytes, mine_bytes);
    }

    pub(crate) fn progress(&self, round: u64, present: usize, forecast: Option<&Forecast>) {
        set(&self.round, round);
        set(&self.present, present as u64);
        set(&self.round_seconds, forecast.map_or(0, |forecast| forecast.round_ms / 1_000));
        set(&self.coverage, forecast.map_or(0, |forecast| forecast.coverage_ppm));
        set(&self.detection, forecast.map_or(0, |forecast| forecast.detection_ppm));
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
        registry.register(
            "exhibits_kept",
            "Answers of miners that the submitter keeps",
            self.exhibits_kept.clone(),
        );
        registry.register(
            "exhibits_dropped",
            "Answers of miners dropped here, too many were waiting",
            self.exhibits_dropped.clone(),
        );
        registry.register("attestations_waiting", "Attestations not handed over yet", self.outbox.clone());
        for (name, help, gauge) in [
            ("shards_live", "Shards that are audited, by whichever warden", &self.live),
            ("shards_mine", "Shards that this warden audits", &self.mine),
            ("bytes_mine", "Their bytes", &self.mine_bytes),
            ("round", "Number of the round of audits", &self.round),
            ("round_seconds", "Length of a round at the present pace", &self.round_seconds),
            (
                "coverage_ppm",
                "Part of its shards that a round covers, of the miner watched least",
                &self.coverage,
            ),
            (
                "detection_1_percent_24h_ppm",
                "Chance to find within 24 hours that the miner watched least lost 1 % of its bytes",
                &self.detection,
            ),
            ("wardens_present", "Wardens that share the work", &self.present),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry
    }
}
