//! What a report of audits says, in words and as JSON.

use arion_chain::{AuditCounts, AuditDay, Child, MinerAudits, WardenConflict, ss58};
use arion_daemon::line;
use arion_proofs::{PPM, detection_ppm};
use arion_types::{NodeId, ShardHash};
use serde::Serialize;

use crate::{command::print_json, objects::ObjectUrl};

/// The loss whose detection is told: 1 % of a miner's bytes.
const LOSS_PPM: u64 = PPM / 100;
/// Shards that are printed at most.
const PRINTED_MAX: usize = 30;

/// The whole report.
#[derive(Serialize)]
pub(super) struct Told {
    /// The last 24 hours: challenges of blocks from this one on,
    from_block: u32,
    /// up to this one, which is final.
    to_block: u32,
    miners: Vec<ToldMiner>,
    pub(super) object: Option<ToldObject>,
    wardens_out: Vec<ToldWarden>,
}

/// A miner.
#[derive(Serialize)]
pub(super) struct ToldMiner {
    pub(super) uid: Option<u32>,
    node_id: String,
    child: String,
    family: String,
    /// Newest block of a challenge with a verdict since it was registered; none if there never was one.
    last_audit_block: Option<u64>,
    /// Since it was registered.
    passed: u32,
    failed: u32,
    timeouts: u32,
    invalid_proofs: u32,
    challenges_24h: u64,
    passed_24h: u64,
    /// Chance that so many challenges find a loss of 1 % of its bytes, parts in a million, rounded down.
    detection_1_percent_24h_ppm: u64,
}

impl ToldMiner {
    /// From what the chain counted and what it keeps of the last 24 hours.
    pub(super) fn new(
        node: &NodeId,
        uid: Option<u32>,
        child: &Child,
        counts: &AuditCounts,
        MinerAudits { challenges, passed }: MinerAudits,
    ) -> Self {
        Self {
            uid,
            node_id: node.to_string(),
            child: ss58(&child.child),
            family: ss58(&child.family),
            last_audit_block: (*counts != AuditCounts::default()).then_some(counts.last_block),
            passed: counts.passed,
            failed: counts.failed,
            timeouts: counts.timeouts,
            invalid_proofs: counts.invalid_proofs,
            challenges_24h: challenges,
            passed_24h: passed,
            detection_1_percent_24h_ppm: detection_ppm(LOSS_PPM, challenges),
        }
    }
}

/// An object.
#[derive(Serialize)]
pub(super) struct ToldObject {
    object: String,
    stripes: usize,
    shards: usize,
    /// Shards with a verdict in the last 24 hours.
    audited_24h: u64,
    /// Newest block of a challenge of one of its shards.
    last_audit_block: Option<u64>,
    passed_24h: u64,
    /// Verdicts other than `Passed`.
    not_passed_24h: u64,
    /// Shards whose last verdict is not `Passed`.
    pub(super) failed_last: u64,
    /// Chance that a shard that was gone all the time would have been challenged, parts in a million.
    detection_24h_ppm: u64,
    /// Chance that a loss of 1 % of the bytes of any of its miners would have been found; the least over its miners.
    detection_1_percent_24h_ppm: u64,
    each: Vec<ToldShard>,
}

/// A shard of an object.
#[derive(Serialize)]
struct ToldShard {
    shard: String,
    uid: Option<u32>,
    miner: Option<String>,
    last_audit_block: Option<u64>,
    last_verdict: Option<String>,
    challenges_24h: usize,
}

/// A shard and the miner that has it.
type Shard = (ShardHash, Option<u32>, Option<NodeId>);

impl ToldObject {
    /// From its shards.
    pub(super) fn new(at: &ObjectUrl, stripes: usize, shards: &[Shard], day: &AuditDay) -> Self {
        let object = day.of_object(shards.iter().map(|(shard, ..)| shard));
        let watched = shards.iter().filter_map(|(_, uid, _)| *uid).map(|uid| day.of_miner(uid).challenges);
        let each = shards.iter().map(|(shard, uid, node)| {
            let audits = day.of_shard(shard);
            ToldShard {
                shard: shard.to_string(),
                uid: *uid,
                miner: node.map(|node| node.to_string()),
                last_audit_block: audits.last().map(|audit| audit.block),
                last_verdict: audits.last().map(|audit| format!("{:?}", audit.result)),
                challenges_24h: audits.len(),
            }
        });
        Self {
            object: at.to_string(),
            stripes,
            shards: shards.len(),
            audited_24h: object.audited,
            last_audit_block: object.last.map(|audit| audit.block),
            passed_24h: object.passed,
            not_passed_24h: object.not_passed,
            failed_last: object.failed_last,
            detection_24h_ppm: object.audited.saturating_mul(PPM) / object.shards.max(1),
            detection_1_percent_24h_ppm: detection_ppm(LOSS_PPM, watched.min().unwrap_or(0)),
            each: each.collect(),
        }
    }
}

/// A warden that contradicted itself.
#[derive(Serialize)]
struct ToldWarden {
    warden: String,
    reported_at: u32,
    reporter: String,
}

/// Parts in a million as percent, rounded down.
fn percent(ppm: u64) -> String {
    format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100)
}

impl Told {
    /// Puts it together.
    pub(super) fn new(
        from_block: u32,
        to_block: u32,
        miners: Vec<ToldMiner>,
        object: Option<ToldObject>,
        wardens: Vec<(NodeId, WardenConflict)>,
    ) -> Self {
        let wardens_out = wardens.into_iter().map(|(warden, conflict)| ToldWarden {
            warden: warden.to_string(),
            reported_at: conflict.reported_at,
            reporter: ss58(&conflict.reporter),
        });
        Self { from_block, to_block, miners, object, wardens_out: wardens_out.collect() }
    }

    /// Prints it.
    pub(super) fn tell(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return print_json(self);
        }
        line!("24 hours: challenges of blocks {} to {}", self.from_block, self.to_block);
        line!(
            "{:>6} {:>10} {:>8} {:>7} {:>8} {:>8} {:>7} {:>17} miner",
            "uid",
            "last block",
            "passed",
            "failed",
            "timeouts",
            "no proof",
            "in 24 h",
            "1 % loss is found"
        );
        for miner in &self.miners {
            line!(
                "{:>6} {:>10} {:>8} {:>7} {:>8} {:>8} {:>7} {:>17} {}",
                miner.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
                miner.last_audit_block.map_or_else(|| "never".to_owned(), |block| block.to_string()),
                miner.passed,
                miner.failed,
                miner.timeouts,
                miner.invalid_proofs,
                miner.challenges_24h,
                percent(miner.detection_1_percent_24h_ppm),
                miner.node_id,
            );
        }
        if let Some(object) = &self.object {
            object.tell()?;
        }
        for warden in &self.wardens_out {
            line!(
                "warden {} contradicted itself and is out since block {}, by {}",
                warden.warden,
                warden.reported_at,
                warden.reporter
            );
        }
        Ok(())
    }
}

impl ToldObject {
    fn tell(&self) -> anyhow::Result<()> {
        line!(
            "{}: {} of {} shards in {} stripes were audited in 24 h, last in block {}: {} passes, {} others",
            self.object,
            self.audited_24h,
            self.shards,
            self.stripes,
            self.last_audit_block.map_or_else(|| "-".to_owned(), |block| block.to_string()),
            self.passed_24h,
            self.not_passed_24h
        );
        line!(
            "a shard that is gone would have been found with a chance of {}",
            percent(self.detection_24h_ppm)
        );
        let failed = |shard: &&ToldShard| shard.last_verdict.as_deref().is_some_and(|said| said != "Passed");
        for shard in self.each.iter().filter(failed).take(PRINTED_MAX) {
            line!(
                "  {} at miner {}: {} in block {}",
                shard.shard,
                shard.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
                shard.last_verdict.as_deref().unwrap_or("-"),
                shard.last_audit_block.unwrap_or(0)
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_chain::Audit;
    use arion_types::AttestationResult::{self, Failed, Passed, Timeout};

    fn audit(shard: u8, block: u64, result: AttestationResult) -> Audit {
        Audit { shard: ShardHash([shard; 32]), miner: 1, result, block, at_ms: 0 }
    }

    #[test]
    fn a_miners_chance_follows_from_its_challenges() {
        let child = Child { child: [1; 32], family: [2; 32] };
        let counts = AuditCounts { passed: 7, timeouts: 1, last_block: 90, ..AuditCounts::default() };
        let day = MinerAudits { challenges: 2, passed: 1 };
        let told = ToldMiner::new(&NodeId([3; 32]), Some(5), &child, &counts, day);
        assert_eq!((told.challenges_24h, told.passed_24h, told.detection_1_percent_24h_ppm), (2, 1, 19_900));
        assert_eq!((told.passed, told.timeouts, told.last_audit_block), (7, 1, Some(90)));
        let (never, none) = (AuditCounts::default(), MinerAudits::default());
        let never = ToldMiner::new(&NodeId([3; 32]), None, &child, &never, none);
        assert_eq!((never.last_audit_block, never.detection_1_percent_24h_ppm), (None, 0));
        assert_eq!(percent(19_900), "1.99 %");
        assert_eq!(percent(PPM), "100.00 %");
    }

    #[test]
    fn an_object_is_as_good_as_what_its_shards_showed_last() {
        let day = AuditDay::new(1..=30, [audit(1, 10, Failed), audit(1, 20, Passed), audit(2, 15, Timeout)]);
        let shard = |shard: u8, uid| (ShardHash([shard; 32]), uid, None);
        let shards = [shard(1, Some(1)), shard(2, Some(1)), shard(3, None), shard(4, Some(1))];
        let told = ToldObject::new(&"s3://b/k".parse().unwrap(), 1, &shards, &day);
        assert_eq!((told.shards, told.audited_24h, told.detection_24h_ppm), (4, 2, 500_000));
        assert_eq!((told.passed_24h, told.not_passed_24h, told.failed_last), (1, 2, 1));
        // Three challenges of its miner.
        assert_eq!((told.last_audit_block, told.detection_1_percent_24h_ppm), (Some(20), 29_701));
        let unwatched = [shard(1, Some(1)), shard(5, Some(2))];
        let told = ToldObject::new(&"s3://b/k".parse().unwrap(), 1, &unwatched, &day);
        assert_eq!(told.detection_1_percent_24h_ppm, 0, "as good as its least watched miner");
        assert_eq!(ToldObject::new(&"s3://b/k".parse().unwrap(), 0, &[], &day).detection_24h_ppm, 0);
    }
}
