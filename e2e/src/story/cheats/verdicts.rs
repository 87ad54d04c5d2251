//! What the finalised chain says of the cheaters: their verdicts in order.

use std::collections::BTreeMap;

use arion_chain::ChainClient;
use arion_types::{AttestationRecord, AttestationResult};

use super::Cheater;
use crate::cheat::Strategy;

/// The first verdict against a cheater.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Caught {
    /// The verdict.
    pub(super) result: AttestationResult,
    /// Number of the challenge since the cheating began, from 1.
    pub(super) challenge: usize,
    /// Block of its seed.
    pub(super) block: u64,
}

/// Audits of a cheater since it began.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Trail {
    pub(super) challenges: usize,
    pub(super) passed: usize,
    pub(super) caught: Option<Caught>,
}

impl Trail {
    /// From verdicts in any order.
    fn of(mut records: Vec<&AttestationRecord>) -> Self {
        records.sort_by_key(|record| (record.timestamp, record.block_number));
        let is_bad = |record: &&AttestationRecord| record.result != AttestationResult::Passed;
        let caught = records.iter().position(is_bad).and_then(|at| {
            let record = records.get(at)?;
            Some(Caught { result: record.result, challenge: at + 1, block: record.block_number })
        });
        let passed = records.iter().filter(|record| !is_bad(record)).count();
        Self { challenges: records.len(), passed, caught }
    }
}

/// By strategy, from challenges of blocks after `begun_at`.
pub(super) async fn trails(
    chain: &ChainClient,
    cheaters: &[Cheater],
    begun_at: u32,
) -> anyhow::Result<BTreeMap<Strategy, Trail>> {
    let stored = chain.attestations_by_bucket().await?;
    let mut trails = BTreeMap::new();
    for cheater in cheaters {
        let records = stored.values().flatten();
        let records = records
            .filter(|record| record.miner_uid == cheater.uid && record.block_number > u64::from(begun_at));
        trails.insert(cheater.strategy, Trail::of(records.collect()));
    }
    Ok(trails)
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttestationResult::{Failed, Passed};

    fn record(timestamp: u64, result: AttestationResult) -> AttestationRecord {
        AttestationRecord {
            shard_hash: [1; 32],
            miner_uid: 1,
            result,
            challenge_seed: [0; 32],
            block_number: timestamp / 10,
            timestamp,
            warden_pubkey: [0; 32],
            signature: [0; 64],
            merkle_proof_sig_hash: [0; 32],
            warden_id: Default::default(),
        }
    }

    #[test]
    fn the_first_verdict_against_it_counts() {
        let records = [record(50, Failed), record(10, Passed), record(30, Failed), record(20, Passed)];
        let trail = Trail::of(records.iter().collect());
        assert_eq!(trail.caught, Some(Caught { result: Failed, challenge: 3, block: 3 }));
        assert_eq!((trail.challenges, trail.passed), (4, 2));
        assert_eq!(Trail::of(vec![]), Trail::default());
    }
}
