//! Which attestations go into a batch, and which the chain would never take.
//!
//! # Invariants
//! - [`screen`] applies the rules of `submit_attestations` one attestation at a time, so that a batch it has passed
//!   fails only for reasons that have nothing to do with one attestation, or that came up since.

use std::collections::{HashMap, HashSet};

use arion_types::{AttestationRecord, AttestationResult, GenesisHash, NodeId, attestation::Challenge};

use crate::{
    conflicts::Conflict,
    queue::{Queued, attestation_id, bucket_of},
};

/// Rules of the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Hash of block 0.
    pub genesis: GenesisHash,
    /// Blocks of a bucket.
    pub bucket_blocks: u32,
    /// Most attestations in a bucket, and in a call.
    pub bucket_max: usize,
    /// Buckets kept, the current one included.
    pub buckets_kept: u32,
    /// Behind so many blocks after it was built a transaction cannot be included any more.
    pub flight_blocks: u32,
}

impl Rules {
    /// The oldest bucket that the chain takes at this block.
    pub fn oldest_bucket(&self, head: u32) -> u32 {
        (head / self.bucket_blocks.max(1)).saturating_add(1).saturating_sub(self.buckets_kept)
    }
}

/// What may go, and what will never go. What is in neither waits for its block.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Screened {
    /// To be submitted, the findings first.
    pub good: Vec<Queued>,
    /// On chain already.
    pub stored: Vec<Queued>,
    /// Refused for good, with the chain's name for the reason.
    pub rejected: Vec<(Queued, String)>,
    /// Registered wardens' verdicts that contradict each other, of each warden the first two.
    pub conflicts: Vec<Conflict>,
}

impl Screened {
    fn contradicted(&mut self, first: &AttestationRecord, second: &AttestationRecord) {
        if self.conflicts.iter().all(|known| known.first.warden_pubkey != first.warden_pubkey) {
            self.conflicts.push(Conflict { first: first.clone(), second: second.clone() });
        }
    }
}

/// Sorts out the waiting attestations of a bucket, given what the chain has in it at the block `head` or later.
pub fn screen(
    rules: &Rules,
    bucket: u32,
    waiting: Vec<Queued>,
    on_chain: &[AttestationRecord],
    head: u32,
    is_warden: impl Fn(&NodeId) -> bool,
) -> Screened {
    let stored: HashSet<_> = on_chain.iter().map(|record| attestation_id(record, &rules.genesis)).collect();
    let mut challenges: HashMap<Challenge, AttestationRecord> =
        on_chain.iter().map(|record| (record.challenge(), record.clone())).collect();
    let room = rules.bucket_max.saturating_sub(on_chain.len());
    let is_pruned = bucket < rules.oldest_bucket(head);
    let mut screened = Screened::default();
    let (mut findings, mut passes) = (Vec::new(), Vec::new());
    for queued in waiting {
        let record = &queued.record;
        let reason = if stored.contains(&queued.id) {
            screened.stored.push(queued);
            continue;
        } else if is_pruned {
            "Arion.AttestationBucketTooOld"
        } else if bucket_of(record, rules.bucket_blocks) != bucket {
            "Arion.WrongAttestationBucket"
        } else if !is_warden(&NodeId(record.warden_pubkey)) {
            "Arion.UnregisteredWarden"
        } else if !record.verify(&rules.genesis) {
            "Arion.InvalidAttestationSignature"
        } else if record.block_number > u64::from(head) {
            // Its warden is ahead of this node.
            continue;
        } else if let Some(first) = challenges.get(&record.challenge()) {
            if first.result != record.result {
                screened.contradicted(first, record);
            }
            "Arion.DuplicateAttestation"
        } else {
            challenges.insert(record.challenge(), record.clone());
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
    use arion_types::{Exhibit, ShardHash, ShownAttestation, attestation::challenge_seed, signing::node_id};
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

    /// Hash of a block.
    pub(crate) fn hash_of(block: u64) -> [u8; 32] {
        *blake3::hash(&block.to_le_bytes()).as_bytes()
    }

    /// Node id of miner 1.
    pub(crate) const MINER: [u8; 32] = [0x31; 32];

    /// A pass about a small shard of miner 1, with its seed and proof.
    pub(crate) fn audited(n: u8, block: u64) -> ShownAttestation {
        let shard = vec![n; 2_000];
        let address = ShardHash(blake3::hash(&shard).into());
        let seed = challenge_seed(&hash_of(block), &node_id(&warden()).0, &MINER, &address.0);
        let groups = arion_proofs::derive(&seed, 2_000);
        let bytes = arion_proofs::prove(&address, &shard, &groups).unwrap();
        let mut record = AttestationRecord {
            shard_hash: address.0,
            challenge_seed: seed,
            merkle_proof_sig_hash: blake3::hash(&bytes).into(),
            ..record(n, block)
        };
        record.sign(&GENESIS, &warden());
        ShownAttestation { record, exhibit: Exhibit::Answer { size: 2_000, bytes } }
    }

    pub(crate) fn queued(record: AttestationRecord) -> Queued {
        Queued { id: attestation_id(&record, &GENESIS), record }
    }

    pub(crate) fn rules(bucket_max: usize) -> Rules {
        Rules { genesis: GENESIS, bucket_blocks: 100, bucket_max, buckets_kept: 10, flight_blocks: 80 }
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
        let screened = screen(&rules(1_000), 0, waiting, &[record(5, 10)], 150, is_warden);
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
    fn a_second_verdict_on_a_challenge_is_a_contradiction_and_a_second_signature_is_not() {
        use AttestationResult::{Failed, InvalidProof, Passed, Timeout};
        let mut later = record(1, 10);
        later.timestamp = 99;
        later.sign(&GENESIS, &warden());
        let mut stranger = result(3, 10, Failed);
        stranger.sign(&GENESIS, &SigningKey::from_bytes(&[6; 32]));
        let mut forged = record(4, 10);
        forged.result = Failed;
        let waiting = [later, stranger, forged, record(3, 10), record(4, 10)].map(queued).into();
        let screened = screen(&rules(1_000), 0, waiting, &[record(1, 10)], 150, is_warden);
        assert!(screened.conflicts.is_empty(), "{:?}", screened.conflicts);

        // One is on chain, or both wait; the first of a warden is enough.
        let waiting = [result(1, 10, Timeout), record(2, 10), result(2, 10, InvalidProof)].map(queued).into();
        let screened = screen(&rules(1_000), 0, waiting, &[record(1, 10)], 150, is_warden);
        assert_eq!(screened.conflicts, [Conflict { first: record(1, 10), second: result(1, 10, Timeout) }]);
        assert_eq!((screened.good.len(), screened.rejected.len()), (1, 2));
        let waiting = [result(2, 10, InvalidProof), record(2, 10)].map(queued).into();
        let screened = screen(&rules(1_000), 0, waiting, &[], 150, is_warden);
        let expected = Conflict { first: result(2, 10, InvalidProof), second: result(2, 10, Passed) };
        assert_eq!(screened.conflicts, [expected]);
    }

    #[test]
    fn findings_go_first_and_get_the_last_room() {
        let mut waiting: Vec<_> = (0..5).map(|n| queued(record(n, 1))).collect();
        waiting.push(queued(result(9, 1, AttestationResult::Failed)));
        let screened = screen(&rules(4), 0, waiting.clone(), &[record(100, 1)], 10, is_warden);
        let good: Vec<u8> = screened.good.iter().map(|q| q.record.shard_hash[0]).collect();
        assert_eq!(good, [9, 0, 1]);
        assert_eq!(screened.rejected.len(), 3);
        assert!(screened.rejected.iter().all(|(_, reason)| reason == "Arion.AttestationBucketFull"));
    }

    #[test]
    fn what_the_chain_has_not_reached_waits_and_what_it_has_pruned_goes() {
        let waiting: Vec<_> = [record(1, 10), record(2, 60)].map(queued).into();
        let screened = screen(&rules(4), 0, waiting.clone(), &[], 50, is_warden);
        assert_eq!((screened.good, screened.rejected.len()), (vec![queued(record(1, 10))], 0));
        assert_eq!(screen(&rules(4), 0, waiting.clone(), &[], 999, is_warden).good.len(), 2);
        // What was stored before is known as such even then.
        let screened = screen(&rules(4), 0, waiting, &[record(1, 10)], 1_000, is_warden);
        assert_eq!(screened.stored, [queued(record(1, 10))]);
        assert_eq!(screened.rejected, [(queued(record(2, 60)), "Arion.AttestationBucketTooOld".to_owned())]);
    }
}
