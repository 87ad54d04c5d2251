//! What a report of audits says, in words and as JSON.

use arion_chain::{AuditCounts, Child, WardenConflict, ss58};
use arion_daemon::line;
use arion_proofs::{PPM, detection_ppm};
use arion_types::{AttestationRecord, AttestationResult, NodeId, ShardHash};
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
    pub(super) fn new<'a>(
        node: &NodeId,
        uid: Option<u32>,
        child: &Child,
        counts: &AuditCounts,
        day: impl Iterator<Item = &'a AttestationRecord>,
    ) -> Self {
        let (mut challenges, mut passed) = (0u64, 0u64);
        for record in day {
            challenges += 1;
            passed += u64::from(record.result == AttestationResult::Passed);
        }
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
    audited_24h: usize,
    /// Newest block of a challenge of one of its shards.
    last_audit_block: Option<u64>,
    passed_24h: usize,
    /// Verdicts other than `Passed`.
    not_passed_24h: usize,
    /// Shards whose last verdict is not `Passed`.
    pub(super) failed_last: usize,
    /// Chance that a shard that was gone all the time would have been challenged, parts in a million.
    detection_24h_ppm: u64,
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

/// A shard, the miner that has it, and its audits of the last 24 hours by block.
type Shard<'a> = (ShardHash, Option<u32>, Option<NodeId>, Vec<&'a AttestationRecord>);

impl ToldObject {
    /// From its shards.
    pub(super) fn new(at: &ObjectUrl, stripes: usize, shards: &[Shard<'_>]) -> Self {
        let all = || shards.iter().flat_map(|(.., records)| records.iter());
        let lasts = || shards.iter().filter_map(|(.., records)| records.last());
        let passed = |record: &&AttestationRecord| record.result == AttestationResult::Passed;
        let audited = lasts().count();
        let passed_24h = all().filter(|record| passed(record)).count();
        let each = shards.iter().map(|(shard, uid, node, records)| ToldShard {
            shard: shard.to_string(),
            uid: *uid,
            miner: node.map(|node| node.to_string()),
            last_audit_block: records.last().map(|record| record.block_number),
            last_verdict: records.last().map(|record| format!("{:?}", record.result)),
            challenges_24h: records.len(),
        });
        Self {
            object: at.to_string(),
            stripes,
            shards: shards.len(),
            audited_24h: audited,
            last_audit_block: all().map(|record| record.block_number).max(),
            passed_24h,
            not_passed_24h: all().count() - passed_24h,
            failed_last: lasts().filter(|record| !passed(record)).count(),
            detection_24h_ppm: (audited as u64).saturating_mul(PPM) / (shards.len() as u64).max(1),
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
    use AttestationResult::{Failed, Passed, Timeout};

    fn record(shard: u8, block: u64, result: AttestationResult) -> AttestationRecord {
        AttestationRecord {
            shard_hash: [shard; 32],
            miner_uid: 1,
            result,
            challenge_seed: [0; 32],
            block_number: block,
            timestamp: 0,
            warden_pubkey: [0; 32],
            signature: [0; 64],
            merkle_proof_sig_hash: [0; 32],
            warden_id: Default::default(),
        }
    }

    #[test]
    fn a_miners_chance_follows_from_its_challenges() {
        let child = Child { child: [1; 32], family: [2; 32] };
        let counts = AuditCounts { passed: 7, timeouts: 1, last_block: 90, ..AuditCounts::default() };
        let day = [record(1, 80, Passed), record(1, 90, Timeout)];
        let told = ToldMiner::new(&NodeId([3; 32]), Some(5), &child, &counts, day.iter());
        assert_eq!((told.challenges_24h, told.passed_24h, told.detection_1_percent_24h_ppm), (2, 1, 19_900));
        assert_eq!((told.passed, told.timeouts, told.last_audit_block), (7, 1, Some(90)));
        let never = ToldMiner::new(&NodeId([3; 32]), None, &child, &AuditCounts::default(), [].iter());
        assert_eq!((never.last_audit_block, never.detection_1_percent_24h_ppm), (None, 0));
        assert_eq!(percent(19_900), "1.99 %");
        assert_eq!(percent(PPM), "100.00 %");
    }

    #[test]
    fn an_object_is_as_good_as_what_its_shards_showed_last() {
        let records = [record(1, 10, Failed), record(1, 20, Passed), record(2, 15, Timeout)];
        let shards = [
            (ShardHash([1; 32]), Some(1), None, vec![&records[0], &records[1]]),
            (ShardHash([2; 32]), Some(2), None, vec![&records[2]]),
            (ShardHash([3; 32]), None, None, vec![]),
            (ShardHash([4; 32]), Some(4), None, vec![]),
        ];
        let told = ToldObject::new(&"s3://b/k".parse().unwrap(), 1, &shards);
        assert_eq!((told.shards, told.audited_24h, told.detection_24h_ppm), (4, 2, 500_000));
        assert_eq!((told.passed_24h, told.not_passed_24h, told.failed_last), (1, 2, 1));
        assert_eq!(told.last_audit_block, Some(20));
        assert_eq!(ToldObject::new(&"s3://b/k".parse().unwrap(), 0, &[]).detection_24h_ppm, 0);
    }
}
