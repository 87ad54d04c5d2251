//! How miners and objects were audited in the last 24 hours, by the attestations on the finalised chain.
//!
//! `arion audit report` and the gateway's `x-arion-audit-*` headers are made from this.
//!
//! # Invariants
//! - Bounded by the chain: so many attestations as it takes in a day, 1,000 in each bucket of 100 blocks, 72 bytes each.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
};

use arion_types::{AttestationRecord, AttestationResult, ShardHash, Uid};

use crate::{
    client::{ChainClient, ChainError},
    records::BlockRef,
};

const DAY_MS: u64 = 86_400_000;
/// Buckets from the open one back to which attestations usually come.
const BUCKETS_OPEN: u32 = 3;

/// A verdict on a shard of a miner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Audit {
    /// The shard.
    pub shard: ShardHash,
    /// Block of the challenge.
    pub block: u64,
    /// Number of the miner.
    pub miner: Uid,
    /// How it ended.
    pub result: AttestationResult,
    /// When, by the warden's clock, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Audit {
    fn of(record: &AttestationRecord) -> Self {
        Self {
            shard: ShardHash(record.shard_hash),
            block: record.block_number,
            miner: record.miner_uid,
            result: record.result,
            at_ms: record.timestamp,
        }
    }

    /// Whether the miner passed.
    pub fn is_passed(&self) -> bool {
        self.result == AttestationResult::Passed
    }
}

/// How often a miner was challenged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MinerAudits {
    /// Challenges with a verdict.
    pub challenges: u64,
    /// Of these, passed.
    pub passed: u64,
}

/// How the shards of an object were audited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObjectAudits {
    /// Its shards.
    pub shards: u64,
    /// Shards with a verdict.
    pub audited: u64,
    /// The newest of these verdicts.
    pub last: Option<Audit>,
    /// Verdicts `Passed`.
    pub passed: u64,
    /// Other verdicts.
    pub not_passed: u64,
    /// Shards whose newest verdict is not `Passed`.
    pub failed_last: u64,
}

/// Verdicts on challenges of the last 24 hours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditDay {
    /// Blocks of these challenges; the last one is final.
    pub from_block: u32,
    /// The last block.
    pub to_block: u32,
    /// In order of shard and block.
    audits: Vec<Audit>,
    miners: HashMap<Uid, MinerAudits>,
}

impl AuditDay {
    /// Of these verdicts those that are about these blocks.
    pub fn new(blocks: RangeInclusive<u32>, audits: impl IntoIterator<Item = Audit>) -> Self {
        let is_of_day = |audit: &Audit| audit.block >= u64::from(*blocks.start());
        let mut audits: Vec<Audit> = audits.into_iter().filter(is_of_day).collect();
        audits.sort_unstable_by_key(|audit| (audit.shard, audit.block, audit.at_ms));
        let mut miners = HashMap::<Uid, MinerAudits>::new();
        for audit in &audits {
            let of_miner = miners.entry(audit.miner).or_default();
            of_miner.challenges += 1;
            of_miner.passed += u64::from(audit.is_passed());
        }
        Self { from_block: *blocks.start(), to_block: *blocks.end(), audits, miners }
    }

    /// Verdicts on a shard, whoever had it, the newest last.
    pub fn of_shard(&self, shard: &ShardHash) -> &[Audit] {
        let from = self.audits.partition_point(|audit| audit.shard < *shard);
        let rest = &self.audits[from..];
        &rest[..rest.partition_point(|audit| audit.shard == *shard)]
    }

    /// How often a miner was challenged.
    pub fn of_miner(&self, miner: Uid) -> MinerAudits {
        self.miners.get(&miner).copied().unwrap_or_default()
    }

    /// How shards of an object were audited.
    pub fn of_object<'a>(&self, shards: impl IntoIterator<Item = &'a ShardHash>) -> ObjectAudits {
        let mut object = ObjectAudits::default();
        for shard in shards {
            let audits = self.of_shard(shard);
            let passed = audits.iter().filter(|audit| audit.is_passed()).count() as u64;
            object.shards += 1;
            object.passed += passed;
            object.not_passed += audits.len() as u64 - passed;
            let Some(last) = audits.last() else { continue };
            object.audited += 1;
            object.failed_last += u64::from(!last.is_passed());
            object.last = object.last.into_iter().chain([*last]).max_by_key(|last| (last.block, last.at_ms));
        }
        object
    }
}

/// Reads what there is of the last day, and then what is new.
pub struct AuditReader {
    chain: ChainClient,
    buckets: BTreeMap<u32, Vec<Audit>>,
}

impl AuditReader {
    /// Of a chain.
    pub fn new(chain: ChainClient) -> Self {
        Self { chain, buckets: BTreeMap::new() }
    }

    /// The last 24 hours as of the finalised head. Buckets that were read are read again if they are among the last, where
    /// attestations usually come.
    pub async fn read(&mut self) -> Result<AuditDay, ChainError> {
        let head = self.chain.finalized().await?;
        let blocks = u32::try_from(DAY_MS / self.chain.block_time_ms()?.max(1)).unwrap_or(u32::MAX);
        let from_block = head.number.saturating_sub(blocks);
        let length = self.chain.attestation_bucket_blocks()?.max(1);
        let (first, last) = (from_block / length, head.number / length);
        self.buckets.retain(|bucket, _| *bucket >= first && bucket.saturating_add(BUCKETS_OPEN) <= last);
        for bucket in first..=last {
            if !self.buckets.contains_key(&bucket) {
                let audits = self.bucket(bucket, &head).await?;
                self.buckets.insert(bucket, audits);
            }
        }
        Ok(AuditDay::new(from_block..=head.number, self.buckets.values().flatten().copied()))
    }

    /// Reads everything anew at the next time: attestations that came late are in buckets of before.
    pub fn forget(&mut self) {
        self.buckets.clear();
    }

    async fn bucket(&self, bucket: u32, head: &BlockRef) -> Result<Vec<Audit>, ChainError> {
        Ok(self.chain.attestations_at(bucket, head).await?.iter().map(Audit::of).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttestationResult::{Failed, Passed, Timeout};

    fn audit(shard: u8, block: u64, result: AttestationResult) -> Audit {
        Audit { shard: ShardHash([shard; 32]), block, miner: u32::from(shard), result, at_ms: block * 1_000 }
    }

    #[test]
    fn an_object_is_as_good_as_what_its_shards_showed_last() {
        let audits = [
            audit(1, 20, Passed),
            audit(2, 15, Timeout),
            audit(1, 10, Failed),
            audit(9, 30, Passed),
            audit(3, 4, Passed),
        ];
        let day = AuditDay::new(5..=40, audits);
        let shards = [1, 2, 3, 4].map(|shard| ShardHash([shard; 32]));
        let object = day.of_object(&shards);
        let counts = (object.shards, object.audited, object.passed, object.not_passed, object.failed_last);
        assert_eq!(counts, (4, 2, 1, 2, 1));
        assert_eq!(object.last, Some(audits[0]));
        assert_eq!(day.of_shard(&shards[0]), [audits[2], audits[0]]);
        assert_eq!(day.of_shard(&shards[2]), [], "it is of before the day");
        assert_eq!(day.of_miner(1), MinerAudits { challenges: 2, passed: 1 });
        assert_eq!(day.of_miner(77), MinerAudits::default());
        assert_eq!(day.of_object([]), ObjectAudits::default());
    }
}
