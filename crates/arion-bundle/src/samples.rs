//! A small epoch, for tests.

use std::collections::BTreeMap;

use arion_types::{
    AttestationRecord, AttestationResult, Exhibit, GenesisHash, ShardHash, attestation::challenge_seed,
    signing::node_id,
};
use ed25519_dalek::SigningKey;

use crate::{Binder, Block, Bound, Facts, Span};

pub(crate) const GENESIS: GenesisHash = [0x11; 32];
pub(crate) const SPAN: Span = Span { epoch: 3, first_block: 110, end_block: 310 };
pub(crate) const BUCKET_BLOCKS: u32 = 100;
const SHARD_BYTES: u32 = 100_000;

/// Warden `n` of two.
pub(crate) fn warden(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[3 + n; 32])
}

/// Hash of a block.
pub(crate) fn block_hash(number: u64) -> Option<[u8; 32]> {
    (number < 1_000).then(|| *blake3::hash(&number.to_le_bytes()).as_bytes())
}

pub(crate) fn read_at() -> Block {
    Block { number: 450, hash: block_hash(450).unwrap() }
}

/// Node id of a miner.
pub(crate) fn miner(uid: u32) -> [u8; 32] {
    *blake3::hash(&uid.to_be_bytes()).as_bytes()
}

fn shard(n: u8) -> Vec<u8> {
    let mut bytes = vec![0; SHARD_BYTES as usize];
    blake3::Hasher::new().update(&[n]).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn answer_of(exhibit: &Exhibit) -> Vec<u8> {
    match exhibit {
        Exhibit::Answer { bytes, .. } => bytes.clone(),
        _ => Vec::new(),
    }
}

/// An audit of shard `n` of miner `n % 3`, by warden `n % 2`.
pub(crate) fn audit(n: u8, block: u64, result: AttestationResult) -> (AttestationRecord, Exhibit) {
    let (key, uid, bytes) = (warden(n % 2), u32::from(n % 3), shard(n));
    let address = ShardHash(blake3::hash(&bytes).into());
    let hash = block_hash(block).unwrap();
    let seed = challenge_seed(&hash, &node_id(&key).0, &miner(uid), &address.0);
    let groups = arion_proofs::derive(&seed, SHARD_BYTES);
    let exhibit = match result {
        AttestationResult::Passed => {
            let bytes = arion_proofs::prove(&address, &bytes, &groups).unwrap();
            Exhibit::Answer { size: SHARD_BYTES, bytes }
        }
        AttestationResult::InvalidProof => Exhibit::Answer { size: SHARD_BYTES, bytes: b"lies".to_vec() },
        AttestationResult::Failed => Exhibit::Refusal { size: SHARD_BYTES, code: 9 },
        AttestationResult::Timeout => Exhibit::Absent,
    };
    let mut record = AttestationRecord {
        shard_hash: address.0,
        miner_uid: uid,
        result,
        challenge_seed: seed,
        block_number: block,
        timestamp: 1_700_000_000_000 + u64::from(n),
        warden_pubkey: [0; 32],
        signature: [0; 64],
        merkle_proof_sig_hash: blake3::hash(&answer_of(&exhibit)).into(),
        warden_id: b"w".to_vec().try_into().unwrap(),
    };
    record.sign(&GENESIS, &key);
    (record, exhibit)
}

/// Every result, over three buckets, two passes without their proofs.
pub(crate) fn epoch() -> Vec<(AttestationRecord, Exhibit)> {
    use AttestationResult::{Failed, InvalidProof, Passed, Timeout};
    let mut audits = vec![
        audit(1, 150, Passed),
        audit(2, 111, Failed),
        audit(3, 199, Timeout),
        audit(4, 250, InvalidProof),
        audit(5, 201, Passed),
        audit(6, 250, Passed),
        audit(7, 309, Passed),
    ];
    audits[4].1 = Exhibit::Absent;
    audits[6].1 = Exhibit::Absent;
    audits
}

/// Parts of one length each, and the index.
pub(crate) fn bind(audits: &[(AttestationRecord, Exhibit)], part_bytes: usize) -> (Vec<Vec<u8>>, Bound) {
    let mut binder = Binder::new(GENESIS, SPAN, read_at()).with_parts_of(part_bytes);
    let mut parts: Vec<_> =
        audits.iter().filter_map(|(record, exhibit)| binder.add(record, exhibit)).collect();
    let bound = binder.finish();
    parts.extend(bound.last_part.clone());
    (parts, bound)
}

pub(crate) fn facts(bound: &Bound) -> Facts {
    Facts {
        genesis: GENESIS,
        span: SPAN,
        bucket_blocks: BUCKET_BLOCKS,
        commitment: bound.index.commitment().0,
        miners: (0..3).map(|uid| (uid, miner(uid))).collect::<BTreeMap<_, _>>(),
    }
}
