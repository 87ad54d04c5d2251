//! Bundles: what anybody can put where an epoch's audits should be.

use std::{collections::BTreeMap, sync::OnceLock};

use arion_bundle::{Binder, Block, Facts, Index, IndexV1, Span, Verifier, blocks_of};
use arion_types::{AttestationRecord, AttestationResult, Exhibit};
use ed25519_dalek::SigningKey;

const GENESIS: [u8; 32] = [7; 32];
const SPAN: Span = Span { epoch: 3, first_block: 110, end_block: 310 };
const BUCKET_BLOCKS: u32 = 100;

/// An honest one, in one part.
struct Bundle {
    facts: Facts,
    index: IndexV1,
    part: Vec<u8>,
}

fn block_hash(number: u64) -> Option<[u8; 32]> {
    (number < 1_000).then(|| *blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn bundle_of_three() -> &'static Bundle {
    static BUNDLE: OnceLock<Bundle> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let key = SigningKey::from_bytes(&[3; 32]);
        let mut binder = Binder::new(GENESIS, SPAN, Block { number: 450, hash: block_hash(450).unwrap() });
        let results = [
            (AttestationResult::Failed, Exhibit::Refusal { size: 9, code: 9 }),
            (AttestationResult::Timeout, Exhibit::Absent),
            (AttestationResult::InvalidProof, Exhibit::Answer { size: 9, bytes: b"lies".to_vec() }),
        ];
        for (n, (result, exhibit)) in (1u8..).zip(results) {
            let answer =
                if let Exhibit::Answer { bytes, .. } = &exhibit { bytes.clone() } else { Vec::new() };
            let (shard_hash, block_number) = ([n; 32], 150);
            let miner = [n; 32];
            let hash = block_hash(block_number).unwrap();
            let warden = arion_types::signing::node_id(&key).0;
            let mut record = AttestationRecord {
                shard_hash,
                miner_uid: n.into(),
                result,
                challenge_seed: arion_types::attestation::challenge_seed(&hash, &warden, &miner, &shard_hash),
                block_number,
                timestamp: n.into(),
                warden_pubkey: [0; 32],
                signature: [0; 64],
                merkle_proof_sig_hash: blake3::hash(&answer).into(),
                warden_id: b"w".to_vec().try_into().unwrap(),
            };
            record.sign(&GENESIS, &key);
            assert_eq!(binder.add(&record, &exhibit), None, "one part is enough for three");
        }
        let bound = binder.finish();
        let facts = Facts {
            genesis: GENESIS,
            span: SPAN,
            bucket_blocks: BUCKET_BLOCKS,
            commitment: bound.index.commitment().0,
            miners: (1..=3u8).map(|n| (n.into(), [n; 32])).collect::<BTreeMap<_, _>>(),
        };
        let bundle = Bundle { facts, index: bound.index, part: bound.last_part.unwrap() };
        assert_eq!(faults(&bundle.facts, &bundle.index.commitment().1, &bundle.part), 0);
        bundle
    })
}

fn faults(facts: &Facts, index: &[u8], part: &[u8]) -> u64 {
    let Ok(mut verifier) = Verifier::new(facts.clone(), index) else { return 1 };
    for number in 0..verifier.parts().len() as u32 {
        verifier.part(number, (number == 0).then_some(part), block_hash);
    }
    verifier.finish(block_hash).found
}

/// The bytes as index and as part; then as a change of an honest bundle: what is changed (1), where (2), what to, or where it ends.
pub fn bundle(bytes: &[u8]) -> bool {
    if let Some(index) = Index::read(bytes) {
        assert_eq!(index.commitment().1, bytes);
    }
    blocks_of(bytes);
    let [what, low, high, patch @ ..] = bytes else { return false };
    let Bundle { facts, index, part } = bundle_of_three();
    let changed = |original: &[u8]| {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % original.len();
        let mut changed = original.to_vec();
        if patch.is_empty() {
            changed.truncate(at);
        }
        for (place, byte) in changed.iter_mut().skip(at).zip(patch) {
            *place = *byte;
        }
        changed
    };
    let index_bytes = index.commitment().1;
    let (facts, index_bytes, part, is_changed) = match what % 3 {
        // A file that is not the one that was committed to.
        0 => {
            let other = changed(&index_bytes);
            let is_changed = other != index_bytes;
            (facts.clone(), other, part.clone(), is_changed)
        }
        // The same, committed to by whoever made it.
        1 => {
            let other = changed(&index_bytes);
            let is_changed = other != index_bytes;
            let mut facts = facts.clone();
            facts.commitment.content_hash = blake3::hash(&other).into();
            (facts, other, part.clone(), is_changed)
        }
        // A part that the index names, and nobody signed like that.
        _ => {
            let other = changed(part);
            let (mut index, mut facts) = (index.clone(), facts.clone());
            index.parts[0].hash = blake3::hash(&other).into();
            index.parts[0].bytes = other.len() as u32;
            let (commitment, bytes) = index.commitment();
            facts.commitment = commitment;
            let is_changed = other != *part;
            (facts, bytes, other, is_changed)
        }
    };
    blocks_of(&part);
    assert_eq!(
        faults(&facts, &index_bytes, &part) > 0,
        is_changed,
        "a change is a fault, and nothing else is"
    );
    is_changed
}
