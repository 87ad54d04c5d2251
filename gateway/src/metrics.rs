//! Counters of a gateway, in Prometheus terms.

use std::collections::BTreeMap;

use arion_daemon::prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{account::account_of, meta::Usage};

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Bytes of plaintext taken in.
    pub bytes_in: Counter,
    /// Bytes of plaintext given out.
    pub bytes_out: Counter,
    /// Stripes that reached their quorum.
    pub stripes_stored: Counter,
    /// Stripes that did not.
    pub stripes_refused: Counter,
    /// Shared stripes that were sent.
    pub packs_stored: Counter,
    /// Uploads that shared them.
    pub pack_members: Counter,
    /// Parts of objects that moved out of shared stripes with holes.
    pub objects_compacted: Counter,
    /// Uploads that refer to equal bytes that were stored before.
    pub uploads_deduplicated: Counter,
    /// Stripes that had to be decoded.
    pub stripes_decoded: Counter,
    /// Times others were asked because somebody was slow.
    pub hedges: Counter,
    /// Data shards that were wanted and were read lately.
    pub cache_hits: Counter,
    /// Data shards that were wanted and were not.
    pub cache_misses: Counter,
    /// Bytes of shards and of proofs that miners answered.
    pub fetched_bytes: Counter,
    /// Answers that were a part of a shard.
    pub parts_fetched: Counter,
    /// Bytes of shards that were read lately and are kept.
    pub cache_bytes: Gauge,
    /// Answers that did not hash to their address.
    pub shards_corrupt: Counter,
    /// Shards that a miner confirmed after the acknowledgement.
    pub shards_late: Counter,
    /// Shards that were re-created and stored in the background.
    pub shards_filled: Counter,
    /// Shards that no miner has confirmed yet.
    pub shards_missing: Gauge,
    /// Receipts of a snapshot that their miners have not confirmed yet.
    pub shards_unconfirmed: Gauge,
    /// Copies on miners that the current map does not name, and that were released.
    pub shards_released: Counter,
    /// Of these, those that miners are still to delete.
    pub releases_queued: Gauge,
    /// Uploads in parts that were given up because of their age.
    pub uploads_expired: Counter,
    /// Requests that were refused because there were too many of an access key or an account.
    pub requests_slowed: Counter,
    /// Requests that were signed wrongly, or by no access key.
    pub signatures_wrong: Counter,
    /// Requests whose signature was not looked at because there were too many wrong ones.
    pub guesses_slowed: Counter,
    /// Writes that would have exceeded the quota of an account.
    pub quota_refused: Counter,
    /// Bytes that accounts store, of those that store most.
    pub account_bytes: Family<AccountLabel, Gauge>,
    /// Objects that accounts store, of those that store most.
    pub account_objects: Family<AccountLabel, Gauge>,
    /// Events that webhooks have taken.
    pub events_told: Counter,
    /// Attempts to tell an event that failed.
    pub events_failed: Counter,
    /// Events that no webhook took in time.
    pub events_dropped: Counter,
    /// Events that wait for webhooks.
    pub events_queued: Gauge,
    /// Versions that went by rules of their bucket's lifecycle.
    pub versions_expired: Counter,
    /// Deletions that wait for miners.
    pub deletes_queued: Gauge,
    /// Lines of the ledger.
    pub ledger_entries: Gauge,
    /// Up to which line of the ledger others were dropped.
    pub ledger_base: Gauge,
    /// Lines up to there that are kept.
    pub ledger_kept: Gauge,
    /// Lines that were dropped.
    pub ledger_dropped: Counter,
    /// Attempts to compact the ledger that failed.
    pub compaction_failures: Counter,
    /// Segments of the ledger that are objects.
    pub ledger_segments_stored: Gauge,
    /// Full segments of the ledger that are none yet.
    pub ledger_segments_behind: Gauge,
    /// Rows of the metadata that background work passed over because they do not decode, each counted once.
    pub rows_unreadable: Gauge,
    /// Miners that do not answer.
    pub miners_down: Gauge,
    /// Epoch of the map that new stripes are placed by.
    pub map_epoch: Gauge,
    /// Age of what is in the newest final snapshot.
    pub snapshot_age_seconds: Gauge,
    /// Bytes that snapshots have on miners.
    pub snapshot_bytes: Gauge,
    /// Nodes that were stored for snapshots.
    pub snapshot_nodes_stored: Counter,
    /// Nodes that snapshots had in common with earlier ones.
    pub snapshot_nodes_reused: Counter,
    /// Snapshots that were not made.
    pub snapshot_failures: Counter,
    /// Commitments that the chain took.
    pub commitments: Counter,
    /// Attempts to commit that failed.
    pub billing_failures: Counter,
    /// Updates of usage that the chain did not apply.
    pub usage_skipped: Counter,
    /// Lines of the ledger that are anchored on chain.
    pub anchored_lines: Gauge,
    /// Live bytes that are anchored on chain.
    pub anchored_bytes: Gauge,
    /// Bytes that accounts of the chain are billed.
    pub billed_bytes: Gauge,
    /// Writes that were refused for want of credits, a limit or an agreement.
    pub credit_refused: Counter,
    /// Versions and uploads that were deleted because nobody paid for them.
    pub versions_unpaid: Counter,
}

/// Whose it is.
pub type AccountLabel = [(&'static str, String); 1];

/// Accounts that have metrics of their own.
const ACCOUNTS_MAX: usize = 50;

impl Metrics {
    /// Takes over what accounts store: of the accounts, without their parts, that store most.
    pub fn tell_accounts(&self, usage: &BTreeMap<String, Usage>) {
        let mut accounts: Vec<_> = usage.iter().filter(|(name, _)| account_of(name) == *name).collect();
        accounts.sort_by_key(|(_, usage)| std::cmp::Reverse((usage.bytes, usage.objects)));
        accounts.truncate(ACCOUNTS_MAX);
        self.account_bytes.clear();
        self.account_objects.clear();
        for (name, Usage { bytes, objects }) in accounts {
            let label = [("account", name.clone())];
            let value = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.account_bytes.get_or_create(&label).set(value(*bytes));
            self.account_objects.get_or_create(&label).set(value(*objects));
        }
    }

    /// Puts all of them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("arion_gateway");
        registry.register("received_bytes", "Plaintext taken in", self.bytes_in.clone());
        registry.register("sent_bytes", "Plaintext given out", self.bytes_out.clone());
        registry.register("stripes_stored", "Stripes acknowledged", self.stripes_stored.clone());
        registry.register("stripes_refused", "Stripes without a quorum", self.stripes_refused.clone());
        registry.register("packs_stored", "Shared stripes sent", self.packs_stored.clone());
        registry.register("pack_members", "Uploads in shared stripes", self.pack_members.clone());
        registry.register("objects_compacted", "Objects moved by compaction", self.objects_compacted.clone());
        registry.register(
            "uploads_deduplicated",
            "Uploads of bytes that were stored already",
            self.uploads_deduplicated.clone(),
        );
        registry.register("stripes_decoded", "Stripes decoded from parity", self.stripes_decoded.clone());
        registry.register("read_hedges", "Times other miners were asked too", self.hedges.clone());
        registry.register("cache_hits", "Shards read from memory", self.cache_hits.clone());
        registry.register("cache_misses", "Shards that were not in memory", self.cache_misses.clone());
        registry.register("fetched_bytes", "Shards and proofs from miners", self.fetched_bytes.clone());
        registry.register("parts_fetched", "Parts of shards from miners", self.parts_fetched.clone());
        registry.register("cache_bytes", "Bytes of shards in memory", self.cache_bytes.clone());
        registry.register("shards_corrupt", "Answers with wrong bytes", self.shards_corrupt.clone());
        registry.register("shards_late", "Shards stored after the acknowledgement", self.shards_late.clone());
        registry.register("shards_filled", "Shards re-created in the background", self.shards_filled.clone());
        registry.register("shards_missing", "Shards no miner has confirmed", self.shards_missing.clone());
        registry.register(
            "shards_unconfirmed",
            "Receipts of a snapshot that miners have not confirmed",
            self.shards_unconfirmed.clone(),
        );
        registry.register("shards_released", "Surplus copies released", self.shards_released.clone());
        registry.register(
            "releases_queued",
            "Surplus copies that miners are to delete",
            self.releases_queued.clone(),
        );
        registry.register("uploads_expired", "Uploads given up for age", self.uploads_expired.clone());
        registry.register("requests_slowed", "Requests over a rate", self.requests_slowed.clone());
        registry.register("signatures_wrong", "Wrong signatures", self.signatures_wrong.clone());
        registry.register("guesses_slowed", "Signatures not looked at", self.guesses_slowed.clone());
        registry.register("quota_refused", "Writes over a quota", self.quota_refused.clone());
        registry.register(
            "account_stored_bytes",
            "Bytes of the accounts that store most",
            self.account_bytes.clone(),
        );
        registry.register(
            "account_objects",
            "Objects of the accounts that store most",
            self.account_objects.clone(),
        );
        registry.register("versions_expired", "Versions gone by lifecycle", self.versions_expired.clone());
        registry.register("deletes_queued", "Deletions that wait for miners", self.deletes_queued.clone());
        registry.register("ledger_entries", "Lines of the ledger", self.ledger_entries.clone());
        self.register_compaction(registry);
        let segments = self.ledger_segments_stored.clone();
        registry.register("ledger_segments_stored", "Segments of the ledger that are objects", segments);
        let segments = self.ledger_segments_behind.clone();
        registry.register("ledger_segments_behind", "Full segments that are no objects yet", segments);
        registry.register(
            "rows_unreadable",
            "Metadata rows that do not decode",
            self.rows_unreadable.clone(),
        );
        registry.register("miners_down", "Miners that do not answer", self.miners_down.clone());
        registry.register("map_epoch", "Epoch of the current map", self.map_epoch.clone());
        registry.register("events_told", "Events that webhooks took", self.events_told.clone());
        registry.register("events_failed", "Failed attempts to tell an event", self.events_failed.clone());
        registry.register("events_dropped", "Events no webhook took in time", self.events_dropped.clone());
        registry.register("events_queued", "Events that wait for webhooks", self.events_queued.clone());
        self.register_snapshots(registry);
        self.register_billing(registry);
    }

    fn register_compaction(&self, registry: &mut Registry) {
        registry.register("ledger_base", "Line up to which others were dropped", self.ledger_base.clone());
        registry.register("ledger_kept", "Lines up to there that are kept", self.ledger_kept.clone());
        registry.register("ledger_dropped", "Lines that were dropped", self.ledger_dropped.clone());
        registry.register(
            "compaction_failures",
            "Failed attempts to compact the ledger",
            self.compaction_failures.clone(),
        );
    }

    fn register_snapshots(&self, registry: &mut Registry) {
        registry.register(
            "snapshot_age_seconds",
            "Age of what is in the newest final snapshot",
            self.snapshot_age_seconds.clone(),
        );
        registry.register("snapshot_bytes", "Bytes of snapshots on miners", self.snapshot_bytes.clone());
        registry.register(
            "snapshot_nodes_stored",
            "Nodes stored for snapshots",
            self.snapshot_nodes_stored.clone(),
        );
        registry.register(
            "snapshot_nodes_reused",
            "Nodes that did not change since an earlier snapshot",
            self.snapshot_nodes_reused.clone(),
        );
        registry.register("snapshot_failures", "Snapshots not made", self.snapshot_failures.clone());
    }

    fn register_billing(&self, registry: &mut Registry) {
        registry.register("commitments", "Commitments on chain", self.commitments.clone());
        registry.register("billing_failures", "Commitments not made", self.billing_failures.clone());
        registry.register("usage_skipped", "Updates of usage not applied", self.usage_skipped.clone());
        registry.register("anchored_lines", "Lines of the ledger on chain", self.anchored_lines.clone());
        registry.register("anchored_bytes", "Live bytes on chain", self.anchored_bytes.clone());
        registry.register("billed_bytes", "Bytes that are billed", self.billed_bytes.clone());
        registry.register(
            "credit_refused",
            "Writes refused for want of credits",
            self.credit_refused.clone(),
        );
        registry.register(
            "versions_unpaid",
            "Versions deleted that nobody paid for",
            self.versions_unpaid.clone(),
        );
    }
}
