//! A check from a directory, against a chain in memory.

use super::*;

use std::{collections::BTreeMap, path::Path};

use arion_bundle::{Binder, Place, Span};
use arion_types::{AttestationResult, Exhibit, ShardHash, attestation::challenge_seed, signing::node_id};
use codec::Encode;
use ed25519_dalek::SigningKey;

const GENESIS: [u8; 32] = [7; 32];
const MINER: [u8; 32] = [2; 32];
const SPAN: Span = Span { epoch: 4, first_block: 10, end_block: 220 };
const HEAD: u32 = 400;
const READ_AT: u32 = 330;

fn hash_of(number: u32) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

#[derive(Clone)]
struct FakeChain {
    buckets: BTreeMap<u32, Vec<AttestationRecord>>,
    /// The node has the state of these blocks only.
    states_from: u32,
    /// Transactions by block.
    extrinsics: BTreeMap<u32, Vec<Vec<u8>>>,
}

impl Chain for FakeChain {
    async fn hash(&self, number: u32) -> Result<Option<[u8; 32]>, ChainError> {
        Ok(Some(hash_of(number)))
    }

    async fn bucket(&self, bucket: u32, at: &BlockRef) -> Result<Option<Vec<AttestationRecord>>, ChainError> {
        let stored = self.buckets.get(&bucket).cloned().unwrap_or_default();
        Ok((at.number >= self.states_from).then_some(stored))
    }

    async fn extrinsics(&self, number: u32) -> Result<Vec<Vec<u8>>, ChainError> {
        assert!((READ_AT + 1..=HEAD).contains(&number));
        Ok(self.extrinsics.get(&number).cloned().unwrap_or_default())
    }
}

fn audit(n: u8, block: u32) -> (AttestationRecord, Exhibit) {
    let key = SigningKey::from_bytes(&[5; 32]);
    let shard = vec![n; 50_000];
    let address = ShardHash(blake3::hash(&shard).into());
    let seed = challenge_seed(&hash_of(block), &node_id(&key).0, &MINER, &address.0);
    // Fewer than five chunk groups: the proof of all of them is that of the whole range.
    let proof = proof(&address, &shard);
    let mut record = AttestationRecord {
        shard_hash: address.0,
        miner_uid: 1,
        result: AttestationResult::Passed,
        challenge_seed: seed,
        block_number: u64::from(block),
        timestamp: u64::from(n),
        warden_pubkey: [0; 32],
        signature: [0; 64],
        merkle_proof_sig_hash: blake3::hash(&proof).into(),
        warden_id: Default::default(),
    };
    record.sign(&GENESIS, &key);
    (record, Exhibit::Answer { size: 50_000, bytes: proof })
}

fn proof(address: &ShardHash, shard: &[u8]) -> Vec<u8> {
    arion_proofs::prove_range(address, shard, 0..shard.len() as u32).unwrap()
}

/// Writes a bundle; the chain, and what it knows of the epoch.
fn bundle(directory: &Path) -> (FakeChain, Ended, [u8; 32], Vec<[u8; 32]>) {
    let audits = [audit(1, 20), audit(2, 150), audit(3, 219)];
    let mut binder = Binder::new(GENESIS, SPAN, Block { number: READ_AT, hash: hash_of(READ_AT) });
    let mut parts: Vec<Vec<u8>> =
        audits.iter().filter_map(|(record, shown)| binder.add(record, shown)).collect();
    let bound = binder.finish();
    parts.extend(bound.last_part);
    let (commitment, index) = bound.index.commitment();
    fs::write(directory.join(hex::encode(commitment.content_hash)), index).unwrap();
    let mut names = Vec::new();
    for part in parts {
        let name = *blake3::hash(&part).as_bytes();
        fs::write(directory.join(hex::encode(name)), part).unwrap();
        names.push(name);
    }
    let mut buckets: BTreeMap<u32, Vec<AttestationRecord>> = BTreeMap::new();
    for (record, _) in &audits {
        buckets.entry(record.block_number as u32 / 100).or_default().push(record.clone());
    }
    let facts = Facts {
        genesis: GENESIS,
        span: SPAN,
        bucket_blocks: 100,
        commitment,
        miners: BTreeMap::from([(1, MINER)]),
    };
    let head = BlockRef { number: HEAD, hash: hash_of(HEAD) };
    let chain = FakeChain { buckets, states_from: 0, extrinsics: BTreeMap::new() };
    (chain, Ended { facts, head, buckets_kept: 1_000 }, commitment.content_hash, names)
}

fn at(path: &Path) -> Bundle {
    Bundle { place: path.display().to_string().parse().unwrap(), save: None }
}

fn again(ended: &Ended) -> Ended {
    Ended { facts: ended.facts.clone(), ..*ended }
}

#[tokio::test]
async fn a_bundle_in_a_directory_holds_and_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, ended, content_hash, _) = bundle(directory.path());
    let kept = directory.path().join("kept");
    let from = Bundle { save: Some(kept.clone()), ..at(directory.path()) };
    let outcome = check(&chain, again(&ended), &from).await.unwrap();
    assert_eq!((outcome.report.found, outcome.report.attestations), (0, 3));
    assert_eq!((outcome.compared, outcome.is_exact, outcome.parts), ((3, 3), true, 1));
    assert_eq!(outcome.report.miners[0].shown, 3);
    // What was kept holds as well, and so does the index under its own name.
    for path in [kept.clone(), kept.join(hex::encode(content_hash))] {
        assert_eq!(check(&chain, again(&ended), &at(&path)).await.unwrap().report.found, 0);
    }
}

#[tokio::test]
async fn what_was_changed_or_is_not_there_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, ended, content_hash, parts) = bundle(directory.path());
    let (index, part) =
        (directory.path().join(hex::encode(content_hash)), directory.path().join(hex::encode(parts[0])));
    let (index_bytes, part_bytes) = (fs::read(&index).unwrap(), fs::read(&part).unwrap());
    let mut changed = part_bytes.clone();
    changed[60_000] ^= 4;
    fs::write(&part, &changed).unwrap();
    let report = check(&chain, again(&ended), &at(directory.path())).await.unwrap().report;
    let said = report.faults[0].to_string();
    assert!(said.starts_with("attestation 1, part 0, bytes ") && said.contains("answer"), "{said}");
    fs::remove_file(&part).unwrap();
    let report = check(&chain, again(&ended), &at(directory.path())).await.unwrap().report;
    assert_eq!(report.faults[0].to_string(), "part 0: it is not there, or not for everybody");
    fs::write(&part, vec![0; PART_BYTES_MAX + 10]).unwrap();
    assert!(check(&chain, again(&ended), &at(directory.path())).await.unwrap().report.found > 0);
    fs::write(&part, &part_bytes).unwrap();

    let mut changed = index_bytes.clone();
    changed[0] ^= 1;
    fs::write(&index, &changed).unwrap();
    let report = check(&chain, again(&ended), &at(directory.path())).await.unwrap().report;
    assert_eq!(report.faults[0].to_string(), "index, as a whole: not the bytes that were committed to");
    fs::remove_file(&index).unwrap();
    let said = check(&chain, again(&ended), &at(directory.path())).await.err().unwrap().to_string();
    assert!(said.contains("--bundle"), "{said}");
}

#[tokio::test]
async fn what_the_chain_has_besides_is_late_or_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let (mut chain, ended, ..) = bundle(directory.path());
    chain.buckets.entry(1).or_default().push(audit(9, 160).0);
    let report = check(&chain, again(&ended), &at(directory.path())).await.unwrap().report;
    assert_eq!(
        report.faults[0].to_string(),
        "bucket 1 of the chain: the chain has other attestations there than the bundle"
    );
    // A node that forgot the state of that block still has the blocks: it stands in none that is later.
    chain.states_from = HEAD;
    let outcome = check(&chain, again(&ended), &at(directory.path())).await.unwrap();
    assert_eq!((outcome.report.found, outcome.report.late, outcome.is_exact), (1, 0, false));
    assert_eq!(outcome.report.faults[0].place, Place::Bucket { bucket: 1 });
    let batch = (7u8, vec![audit(8, 170).0, audit(9, 160).0]).encode();
    chain.extrinsics.insert(HEAD, vec![b"inherent".to_vec(), batch]);
    let outcome = check(&chain, again(&ended), &at(directory.path())).await.unwrap();
    assert_eq!((outcome.report.found, outcome.report.late, outcome.undecided), (0, 1, 0));
    // Buckets that are pruned are not compared.
    let pruned = Ended { buckets_kept: 3, ..again(&ended) };
    assert_eq!(check(&chain, pruned, &at(directory.path())).await.unwrap().compared, (1, 3));
}

#[test]
fn places_are_told_apart() {
    let parse = |text: &str| text.parse::<PublicPlace>().unwrap();
    assert_eq!(parse("https://h/b/"), PublicPlace::Web("https://h/b".into()));
    assert_eq!(parse("./bundles"), PublicPlace::Files("./bundles".into()));
}
