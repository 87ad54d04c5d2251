//! How many attestations with their proofs one core verifies in a second: `./scripts/bench audit`.
//!
//! A bundle of passes about shards of 1 MiB, whose proofs are the longest there are, and one without proofs. Each is verified
//! several times; the median counts. The last line is for the script.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use arion_bundle::{Binder, Block, Facts, Span, Verifier};
use arion_types::{
    AttestationRecord, AttestationResult, Exhibit, ShardHash, attestation::challenge_seed, signing::node_id,
};
use ed25519_dalek::SigningKey;

const GENESIS: [u8; 32] = [0x11; 32];
const MINER: [u8; 32] = [7; 32];
const SPAN: Span = Span { epoch: 1, first_block: 0, end_block: 100_000 };
const SHARDS: u64 = 64;
const ATTESTATIONS: u64 = 4_096;
const RUNS: usize = 7;
/// Attestations that a core should verify in a second: what the chain takes in a minute.
const TARGET_PER_SECOND: f64 = 1_000.0;

fn block_hash(number: u64) -> Option<[u8; 32]> {
    Some(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Attestations with proofs, made from a few shards.
fn audits(shard_bytes: u32) -> Vec<(AttestationRecord, Exhibit)> {
    let key = SigningKey::from_bytes(&[3; 32]);
    let shards: Vec<(ShardHash, Vec<u8>)> = (0..SHARDS)
        .map(|n| {
            let mut bytes = vec![0; shard_bytes as usize];
            blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
            (ShardHash(blake3::hash(&bytes).into()), bytes)
        })
        .collect();
    let audit = |n: u64| {
        let (address, bytes) = &shards[(n % SHARDS) as usize];
        let block = n / SHARDS;
        let hash = block_hash(block).unwrap_or_default();
        let seed = challenge_seed(&hash, &node_id(&key).0, &MINER, &address.0);
        let groups = arion_proofs::derive(&seed, shard_bytes);
        let proof = arion_proofs::prove(address, bytes, &groups).unwrap_or_default();
        let mut record = AttestationRecord {
            shard_hash: address.0,
            miner_uid: 1,
            result: AttestationResult::Passed,
            challenge_seed: seed,
            block_number: block,
            timestamp: n,
            warden_pubkey: [0; 32],
            signature: [0; 64],
            merkle_proof_sig_hash: blake3::hash(&proof).into(),
            warden_id: Default::default(),
        };
        record.sign(&GENESIS, &key);
        (record, Exhibit::Answer { size: shard_bytes, bytes: proof })
    };
    (0..ATTESTATIONS).map(audit).collect()
}

struct Bundle {
    facts: Facts,
    index: Vec<u8>,
    parts: Vec<Vec<u8>>,
}

impl Bundle {
    fn bind(audits: &[(AttestationRecord, Exhibit)], with_exhibits: bool) -> Self {
        let read_at = Block { number: 200_000, hash: block_hash(200_000).unwrap_or_default() };
        let mut binder = Binder::new(GENESIS, SPAN, read_at);
        let mut parts = Vec::new();
        for (record, exhibit) in audits {
            let exhibit = if with_exhibits { exhibit } else { &Exhibit::Absent };
            parts.extend(binder.add(record, exhibit));
        }
        let bound = binder.finish();
        parts.extend(bound.last_part);
        let (commitment, index) = bound.index.commitment();
        let miners = BTreeMap::from([(1, MINER)]);
        let facts = Facts { genesis: GENESIS, span: SPAN, bucket_blocks: 100, commitment, miners };
        Self { facts, index, parts }
    }

    fn bytes(&self) -> usize {
        self.index.len() + self.parts.iter().map(Vec::len).sum::<usize>()
    }

    /// Time to verify it; it has to hold.
    fn verify(&self) -> Result<Duration, String> {
        let begun = Instant::now();
        let mut verifier =
            Verifier::new(self.facts.clone(), &self.index).map_err(|fault| fault.to_string())?;
        for (part, number) in self.parts.iter().zip(0..) {
            verifier.part(number, Some(part), block_hash);
        }
        let report = verifier.finish(block_hash);
        match report.faults.first() {
            None => Ok(begun.elapsed()),
            Some(fault) => Err(fault.to_string()),
        }
    }
}

fn main() -> Result<(), String> {
    let (mut met, mut total) = (0, 0);
    println!("{:<28} {:>12} {:>14} {:>10}", "attestations with", "bytes each", "per second", "MiB/s");
    for (name, shard_bytes, with_exhibits) in [
        ("a proof, shards of 1 MiB", 1 << 20, true),
        ("a proof, shards of 100 KiB", 100 << 10, true),
        ("no proof", 100 << 10, false),
    ] {
        let bundle = Bundle::bind(&audits(shard_bytes), with_exhibits);
        let mut times = (0..RUNS).map(|_| bundle.verify()).collect::<Result<Vec<_>, _>>()?;
        times.sort_unstable();
        let seconds = times[RUNS / 2].as_secs_f64();
        let (rate, each) = (ATTESTATIONS as f64 / seconds, bundle.bytes() as u64 / ATTESTATIONS);
        let speed = bundle.bytes() as f64 / seconds / f64::from(1 << 20);
        println!("{name:<28} {each:>12} {rate:>14.0} {speed:>10.0}");
        total += 1;
        met += usize::from(rate >= TARGET_PER_SECOND);
    }
    println!("bench audit: {met} of {total} targets met");
    Ok(())
}
