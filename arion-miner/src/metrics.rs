//! Metrics of a miner. No hashes or peers as labels.

use std::sync::atomic::AtomicI64;

use arion_daemon::prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::store::Volumes;

/// A kind of request and how it ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct RequestLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// Metrics that requests and heartbeats change.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    received_bytes: Counter,
    sent_bytes: Counter,
    heartbeats: Family<RequestLabels, Counter>,
    shards: Gauge,
    used_bytes: Gauge<i64, AtomicI64>,
    capacity_bytes: Gauge<i64, AtomicI64>,
    store_syncs: Gauge,
    damaged_reads: Gauge,
    read_errors: Gauge,
    failed_disks: Gauge,
    trash_bytes: Gauge,
    quarantined: Gauge,
    scrub_shards: Gauge,
    scrub_damaged: Gauge,
    scrub_finished_seconds: Gauge,
    compacted_files: Gauge,
    finalized_block: Gauge,
    orphan_rounds: Family<RequestLabels, Counter>,
    orphan_shards: Gauge,
    orphan_bytes: Gauge,
    orphans_deleted: Counter,
    orphan_bytes_deleted: Counter,
}

impl Metrics {
    /// Registers everything.
    pub fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("arion_miner");
        let metrics = Self {
            requests: Family::default(),
            request_seconds: Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            heartbeats: Family::default(),
            shards: Gauge::default(),
            used_bytes: Gauge::default(),
            capacity_bytes: Gauge::default(),
            store_syncs: Gauge::default(),
            damaged_reads: Gauge::default(),
            read_errors: Gauge::default(),
            failed_disks: Gauge::default(),
            trash_bytes: Gauge::default(),
            quarantined: Gauge::default(),
            scrub_shards: Gauge::default(),
            scrub_damaged: Gauge::default(),
            scrub_finished_seconds: Gauge::default(),
            compacted_files: Gauge::default(),
            finalized_block: Gauge::default(),
            orphan_rounds: Family::default(),
            orphan_shards: Gauge::default(),
            orphan_bytes: Gauge::default(),
            orphans_deleted: Counter::default(),
            orphan_bytes_deleted: Counter::default(),
        };
        let m = &metrics;
        registry.register("requests", "Requests by kind and outcome", m.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time to answer a request",
            Unit::Seconds,
            m.request_seconds.clone(),
        );
        registry.register_with_unit("received", "Bodies of requests", Unit::Bytes, m.received_bytes.clone());
        registry.register_with_unit("sent", "Bodies of answers", Unit::Bytes, m.sent_bytes.clone());
        registry.register("heartbeats", "Heartbeats by outcome", m.heartbeats.clone());
        registry.register("shards", "Shards stored", m.shards.clone());
        registry.register(
            "orphan_rounds",
            "Rounds of asking validator services which shards no ledger names, by outcome",
            m.orphan_rounds.clone(),
        );
        registry.register("orphan_shards", "Shards that no ledger names", m.orphan_shards.clone());
        registry.register_with_unit(
            "orphan",
            "Bytes of shards that no ledger names",
            Unit::Bytes,
            m.orphan_bytes.clone(),
        );
        registry.register(
            "orphans_deleted",
            "Shards deleted since no ledger had named them for all of the retention",
            m.orphans_deleted.clone(),
        );
        registry.register_with_unit(
            "orphans_deleted",
            "Bytes of these shards",
            Unit::Bytes,
            m.orphan_bytes_deleted.clone(),
        );
        registry.register_with_unit("store_used", "Bytes of live shards", Unit::Bytes, m.used_bytes.clone());
        registry.register_with_unit("store_capacity", "Bytes offered", Unit::Bytes, m.capacity_bytes.clone());
        registry.register("store_syncs", "Syncs of the log since start", m.store_syncs.clone());
        registry.register(
            "store_damaged_reads",
            "Reads that found a shard damaged since start",
            m.damaged_reads.clone(),
        );
        let gauges = [
            ("store_read_errors", "Reads that the disk refused since start", &m.read_errors),
            ("store_failed_disks", "Disks that are away, or failed and only read", &m.failed_disks),
            ("store_quarantined", "Shards found damaged, not served", &m.quarantined),
            ("store_scrub_shards", "Shards read in the present or last round of the scrub", &m.scrub_shards),
            ("store_scrub_damaged", "Shards that round found damaged", &m.scrub_damaged),
            ("store_compacted_files", "Segment files compacted since start", &m.compacted_files),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register_with_unit(
            "store_trash",
            "Deleted shards that can be restored",
            Unit::Bytes,
            m.trash_bytes.clone(),
        );
        registry.register_with_unit(
            "store_scrub_finished_timestamp",
            "When the last whole round of the scrub ended, Unix time",
            Unit::Seconds,
            m.scrub_finished_seconds.clone(),
        );
        registry.register(
            "finalized_block",
            "Finalised head as the miner sees it",
            m.finalized_block.clone(),
        );
        metrics
    }

    /// A request was answered.
    pub fn request(
        &self,
        kind: &'static str,
        outcome: &'static str,
        seconds: f64,
        received: usize,
        sent: usize,
    ) {
        self.requests.get_or_create(&RequestLabels { kind, outcome }).inc();
        self.request_seconds.observe(seconds);
        self.received_bytes.inc_by(received as u64);
        self.sent_bytes.inc_by(sent as u64);
    }

    /// A heartbeat was sent.
    pub fn heartbeat(&self, outcome: &'static str) {
        self.heartbeats.get_or_create(&RequestLabels { kind: "heartbeat", outcome }).inc();
    }

    /// A round of questions ended.
    pub fn orphan_round(&self, outcome: &'static str) {
        self.orphan_rounds.get_or_create(&RequestLabels { kind: "orphans", outcome }).inc();
    }

    /// So many shards are named by no ledger.
    pub fn orphans(&self, shards: u64, bytes: u64) {
        self.orphan_shards.set(shards as i64);
        self.orphan_bytes.set(bytes as i64);
    }

    /// One of them is gone.
    pub fn orphan_deleted(&self, bytes: u64) {
        self.orphans_deleted.inc();
        self.orphan_bytes_deleted.inc_by(bytes);
    }

    /// Takes over what the store and the chain view say now.
    pub fn refresh(&self, store: &Volumes, finalized_block: Option<u32>) {
        let (usage, totals) = (store.usage(), store.totals());
        self.shards.set(usage.shards as i64);
        self.used_bytes.set(usage.used_bytes as i64);
        self.capacity_bytes.set(usage.capacity_bytes as i64);
        self.store_syncs.set(totals.syncs as i64);
        self.damaged_reads.set(totals.damaged_reads as i64);
        self.read_errors.set(totals.read_errors as i64);
        self.failed_disks.set(totals.failed_disks as i64);
        self.trash_bytes.set(usage.trash_bytes as i64);
        self.quarantined.set(usage.quarantined as i64);
        let scrub = store.scrub_report();
        self.scrub_shards.set(scrub.shards as i64);
        self.scrub_damaged.set(scrub.damaged as i64);
        self.scrub_finished_seconds.set((scrub.finished_at / 1_000) as i64);
        self.compacted_files.set(totals.compacted_files as i64);
        if let Some(number) = finalized_block {
            self.finalized_block.set(i64::from(number));
        }
    }
}
