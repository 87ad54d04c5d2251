//! Which attestations go into a batch, and which the chain would never take.
//!
//! # Invariants
//! - [`screen`] applies the rules of `submit_attestations` one attestation at a time, so that a batch it has passed
//!   fails only for reasons that have nothing to do with one attestation, or that came up since.

use std::collections::HashSet;

use arion_types::{AttestationRecord, AttestationResult, GenesisHash, NodeId};

use crate::queue::{Queued, attestation_id, bucket_of};

/// Rules of the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Hash of block 0.
    pub genesis: GenesisHash,
    /// Blocks of a bucket.
    pub bucket_blocks: u32,
    /// Most attestations in a bucket, and in a call.
    pub bucket_max: usize,
}

/// A batch ready to go, and what will never go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Screened {
    /// To be submitted, the findings first.
    pub good: Vec<Queued>,
    /// On chain already.
    pub stored: Vec<Queued>,
    /// Refused for good, with the chain's name for the reason.
    pub rejected: Vec<(Queued, String)>,
}

/// What a warden has one verdict about.
type Challenge = ([u8; 32], [u8; 32], u32, u64);

fn challenge(record: &AttestationRecord) -> Challenge {
    (record.warden_pubkey, record.shard_hash, record.miner_uid, record.block_number)
}

/// Sorts out the waiting attestations of a bucket, given what the chain has in it.
pub fn screen(
    rules: &Rules,
    bucket: u32,
    waiting: Vec<Queued>,
    on_chain: &[AttestationRecord],
    is_warden: impl Fn(&NodeId) -> bool,
    batch_max: usize,
) -> Screened {
    let stored: HashSet<_> = on_chain.iter().map(|record| attestation_id(record, &rules.genesis)).collect();
    let mut challenges: HashSet<Challenge> = on_chain.iter().map(challenge).collect();
    let room = rules.bucket_max.saturating_sub(on_chain.len());
    let mut screened = Screened::default();
    let (mut findings, mut passes) = (Vec::new(), Vec::new());
    for queued in waiting {
        let record = &queued.record;
        let reason = if stored.contains(&queued.id) {
            screened.stored.push(queued);
            continue;
        } else if bucket_of(record, rules.bucket_blocks) != bucket {
            "Arion.WrongAttestationBucket"
        } else if !is_warden(&NodeId(record.warden_pubkey)) {
            "Arion.UnregisteredWarden"
        } else if !record.verify(&rules.genesis) {
            "Arion.InvalidAttestationSignature"
        } else if !challenges.insert(challenge(record)) {
            "Arion.DuplicateAttestation"
        } else {
            match record.result {
                AttestationResult::Passed => passes.push(queued),
                _ => findings.push(queued),
            }
            continue;
        };
        screened.rejected.push((queued, reason.to_owned()));
    }
    // Where a bucket has not room for all, what wardens found counts more than what they did not find.
    findings.append(&mut passes);
    let without_room = findings.split_off(findings.len().min(room));
    screened.rejected.extend(without_room.into_iter().map(|q| (q, "Arion.AttestationBucketFull".to_owned())));
    findings.truncate(batch_max.max(1));
    screened.good = findings;
    screened
}

/// What a refusal of a batch says about its attestations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// One of them, or several: halves are tried.
    Some,
    /// All of them.
    All,
    /// None of them: the same batch is tried later.
    None,
}

/// Reads the name of a dispatch error.
pub fn blame(name: &str) -> Blame {
    match name {
        "Arion.UnregisteredWarden"
        | "Arion.InvalidAttestationSignature"
        | "Arion.DuplicateAttestation"
        | "Arion.WrongAttestationBucket"
        | "Arion.AttestationBucketFull" => Blame::Some,
        "Arion.AttestationBucketTooOld" => Blame::All,
        _ => Blame::None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use arion_types::signing::node_id;
    use ed25519_dalek::SigningKey;

    pub(crate) const GENESIS: GenesisHash = [7; 32];

    pub(crate) fn warden() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    /// A signed pass about shard `n`, seeded with `block`.
    pub(crate) fn record(n: u8, block: u64) -> AttestationRecord {
        result(n, block, AttestationResult::Passed)
    }

    pub(crate) fn result(n: u8, block: u64, result: AttestationResult) -> AttestationRecord {
        let mut record = AttestationRecord {
            shard_hash: [n; 32],
            miner_uid: 1,
            result,
            challenge_seed: [0; 32],
            block_number: block,
            timestamp: 1,
            warden_pubkey: [0; 32],
            signature: [0; 64],
            merkle_proof_sig_hash: [0; 32],
            warden_id: Default::default(),
        };
        record.sign(&GENESIS, &warden());
        record
    }

    pub(crate) fn queued(record: AttestationRecord) -> Queued {
        Queued { id: attestation_id(&record, &GENESIS), record }
    }

    fn rules(bucket_max: usize) -> Rules {
        Rules { genesis: GENESIS, bucket_blocks: 100, bucket_max }
    }

    fn is_warden(node: &NodeId) -> bool {
        *node == node_id(&warden())
    }

    #[test]
    fn every_rule_of_the_chain_is_applied_to_each() {
        let mut stranger = record(1, 10);
        stranger.sign(&GENESIS, &SigningKey::from_bytes(&[6; 32]));
        let mut forged = record(2, 10);
        forged.timestamp += 1;
        let mut twin = record(3, 10);
        twin.timestamp = 99;
        twin.sign(&GENESIS, &warden());
        let waiting = [stranger, forged, record(3, 10), twin, record(4, 100), record(5, 10), record(6, 10)];
        let waiting = waiting.into_iter().map(queued).collect();
        let screened = screen(&rules(1_000), 0, waiting, &[record(5, 10)], is_warden, 100);
        let good: Vec<u8> = screened.good.iter().map(|q| q.record.shard_hash[0]).collect();
        assert_eq!(good, [3, 6]);
        assert_eq!(screened.stored, [queued(record(5, 10))]);
        let reasons: Vec<_> =
            screened.rejected.iter().map(|(q, reason)| (q.record.shard_hash[0], reason.as_str())).collect();
        let expected = [
            (1, "Arion.UnregisteredWarden"),
            (2, "Arion.InvalidAttestationSignature"),
            (3, "Arion.DuplicateAttestation"),
            (4, "Arion.WrongAttestationBucket"),
        ];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn findings_go_first_and_get_the_last_room() {
        let mut waiting: Vec<_> = (0..5).map(|n| queued(record(n, 1))).collect();
        waiting.push(queued(result(9, 1, AttestationResult::Failed)));
        let screened = screen(&rules(4), 0, waiting.clone(), &[record(100, 1)], is_warden, 2);
        let good: Vec<u8> = screened.good.iter().map(|q| q.record.shard_hash[0]).collect();
        assert_eq!(good, [9, 0]);
        assert_eq!(screened.rejected.len(), 3);
        assert!(screened.rejected.iter().all(|(_, reason)| reason == "Arion.AttestationBucketFull"));
    }
}
