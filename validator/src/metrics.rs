//! Counters of the service.

use arion_daemon::prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use arion_ledger::LedgerMetrics;
use arion_protocol::{MinerReason, MinerState};

use crate::{
    movement::Movement,
    repair::{Orphans, Tally},
};

/// Name and value of the label of miners, and of stripes: `whole`, `missing_1` to `missing_30`, `unrecoverable`, `bad`.
type State = [(&'static str, String); 1];

/// A state and the reason for it.
type StateAndReason = [(&'static str, &'static str); 2];

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Counters of repair; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RepairMetrics {
    pub(crate) read_bytes: Counter,
    pub(crate) written_bytes: Counter,
    pub(crate) shards: Counter,
    pub(crate) signed_again: Counter,
    /// Shards that miners had deleted, and have again.
    pub(crate) restored: Counter,
    pub(crate) shards_corrupt: Counter,
    pub(crate) stripes: Counter,
    pub(crate) failures: Counter,
    pub(crate) queued: Gauge,
    pub(crate) aside: Gauge,
    orphan_shards: Gauge,
    orphan_bytes: Gauge,
    states: Family<State, Gauge>,
}

impl RepairMetrics {
    /// Takes over what a census found.
    pub(crate) fn tally(&self, tally: &Tally) {
        self.states.clear();
        let set = |state: String, count: u64| {
            self.states.get_or_create(&[("state", state)]).set(gauge(count));
        };
        set("whole".into(), tally.whole());
        for (missing, count) in tally.missing.iter().filter(|(missing, _)| **missing > 0) {
            set(format!("missing_{missing}"), *count);
        }
        set("unrecoverable".into(), tally.unrecoverable);
        set("bad".into(), tally.bad);
    }

    /// Takes over what was found that no ledger names.
    pub(crate) fn orphans(&self, found: &Orphans) {
        self.orphan_shards.set(gauge(found.shards));
        self.orphan_bytes.set(gauge(found.bytes));
    }

    fn register(&self, registry: &mut Registry) {
        let counters = [
            ("repair_shards", "Shards stored by repair", &self.shards),
            (
                "shards_restored",
                "Shards that miners had deleted although a ledger names them, and have again",
                &self.restored,
            ),
            ("repair_signed_again", "Receipts of shards that were not sent again", &self.signed_again),
            (
                "repair_shards_corrupt",
                "Answers to repair with other bytes than the shard's",
                &self.shards_corrupt,
            ),
            ("repair_stripes", "Stripes that need no repair any more", &self.stripes),
            ("repair_failures", "Attempts at stripes that failed", &self.failures),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let read = self.read_bytes.clone();
        registry.register_with_unit("repair_read", "Bytes of shards fetched by repair", Unit::Bytes, read);
        let written = self.written_bytes.clone();
        registry.register_with_unit(
            "repair_written",
            "Bytes of shards stored by repair",
            Unit::Bytes,
            written,
        );
        registry.register("orphan_shards", "Shards that no ledger names", self.orphan_shards.clone());
        let orphans = self.orphan_bytes.clone();
        registry.register_with_unit("orphan", "Bytes of shards that no ledger names", Unit::Bytes, orphans);
        registry.register("repair_queued", "Stripes queued for repair", self.queued.clone());
        registry.register(
            "stripes_set_aside",
            "Stripes that are left alone because what their gateways say of them is not so",
            self.aside.clone(),
        );
        registry.register("stripes", "Stripes by state, as the last census found them", self.states.clone());
    }
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
    pub(crate) repair: RepairMetrics,
    pub(crate) states: Family<State, Gauge>,
    transitions: Family<StateAndReason, Counter>,
    drains: [Gauge; 3],
    plan: [Gauge; 3],
    pub(crate) online: Gauge,
    pub(crate) banned: Gauge,
    pub(crate) registered: Gauge,
    pub(crate) epoch: Gauge,
}

impl Metrics {
    /// Takes over how many miners are in a state.
    pub(crate) fn state(&self, state: MinerState, count: usize) {
        let label = [("state", state.name().to_owned())];
        self.states.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A miner is in another state, or for another reason.
    pub(crate) fn transition(&self, to: MinerState, reason: MinerReason) {
        self.transitions.get_or_create(&[("state", to.name()), ("reason", reason.name())]).inc();
    }

    /// Takes over what miners hold that are being emptied: in all, waiting for new copies, and waiting to be released.
    pub(crate) fn drains(&self, held: u64, waiting: u64, surplus: u64) {
        for (metric, bytes) in self.drains.iter().zip([held, waiting, surplus]) {
            metric.set(gauge(bytes));
        }
    }

    /// Takes over what the map moves that was voted for last.
    pub(crate) fn plan(&self, movement: &Movement) {
        let Movement { positions, moved, least } = *movement;
        for (metric, count) in self.plan.iter().zip([positions, moved, least]) {
            metric.set(gauge(count));
        }
    }

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
        self.repair.register(&mut registry);
        let names = [
            ("drain_held", "Bytes on miners that are being emptied"),
            ("drain_waiting", "Of these, bytes that have no new copy yet"),
            ("drain_surplus", "Of these, bytes whose miner is not released yet"),
        ];
        for ((name, help), metric) in names.into_iter().zip(&self.drains) {
            registry.register_with_unit(name, help, Unit::Bytes, metric.clone());
        }
        let names = [
            ("plan_positions", "Positions of the map that was voted for last"),
            ("plan_moved_positions", "Positions that it moves"),
            ("plan_least_positions", "Positions that it has to move whatever the placement"),
        ];
        for ((name, help), metric) in names.into_iter().zip(&self.plan) {
            registry.register(name, help, metric.clone());
        }
        registry.register("miners", "Registered miners by state", self.states.clone());
        registry.register(
            "miner_transitions",
            "Miners that came into a state, by the reason",
            self.transitions.clone(),
        );
        registry.register("miners_online", "Miners with a recent heartbeat", self.online.clone());
        registry.register("miners_banned", "Miners that are out for what audits found", self.banned.clone());
        registry.register("miners_registered", "Active miners on chain", self.registered.clone());
        registry.register("epoch", "Epoch of the current map", self.epoch.clone());
        registry
    }
}
