//! Attestations that the chain has and the bundle does not: did they come later, or were they left out?
//!
//! A node throws the state of old blocks away and keeps their transactions. An attestation that came later stands in a transaction of
//! a later block.

use std::collections::{HashMap, HashSet};

use arion_bundle::Verifier;
use arion_chain::ChainError;
use arion_types::{AttestationRecord, Signature};

use super::Chain;

/// Blocks that are looked through.
const BLOCKS_MAX: u32 = 50_000;
/// Bytes of a signature by which it is looked up.
const MARK_BYTES: usize = 8;

/// Tells the verifier of each whether it came later; with its bucket. Returns of how many that cannot be said.
pub(super) async fn decide(
    chain: &impl Chain,
    verifier: &mut Verifier,
    late: Vec<(u32, AttestationRecord)>,
    read_at: u32,
    head: u32,
) -> Result<u64, ChainError> {
    if late.is_empty() {
        return Ok(0);
    }
    let last = head.min(read_at.saturating_add(BLOCKS_MAX));
    let mut missing = Missing::new(late.iter().map(|(_, record)| record.signature));
    for block in read_at.saturating_add(1)..=last {
        if missing.all.is_empty() {
            break;
        }
        for extrinsic in chain.extrinsics(block).await? {
            missing.find_in(&extrinsic);
        }
    }
    let mut undecided = 0;
    for (bucket, record) in late {
        match missing.all.contains(&record.signature) {
            false => verifier.came_later(1),
            true if last < head => undecided += 1,
            true => verifier.left_out(bucket),
        }
    }
    Ok(undecided)
}

/// Signatures that were not found yet.
struct Missing {
    all: HashSet<Signature>,
    by_mark: HashMap<[u8; MARK_BYTES], Vec<Signature>>,
}

impl Missing {
    fn new(signatures: impl Iterator<Item = Signature>) -> Self {
        let all: HashSet<Signature> = signatures.collect();
        let mut by_mark: HashMap<_, Vec<Signature>> = HashMap::new();
        for signature in &all {
            let mark = signature.first_chunk().copied().unwrap_or_default();
            by_mark.entry(mark).or_default().push(*signature);
        }
        Self { all, by_mark }
    }

    fn find_in(&mut self, bytes: &[u8]) {
        for (at, mark) in bytes.windows(MARK_BYTES).enumerate() {
            for signature in self.by_mark.get(mark).into_iter().flatten() {
                if bytes.get(at..).is_some_and(|rest| rest.starts_with(signature)) {
                    self.all.remove(signature);
                }
            }
        }
    }
}
