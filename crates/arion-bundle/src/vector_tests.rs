//! The bytes of a small bundle, frozen in vectors/bundle.json with all that is needed to check it.

use std::collections::BTreeMap;

use arion_types::AttestationCommitment;
use serde::{Deserialize, Serialize};

use crate::{
    Facts, Span, Verifier,
    flip_tests::small,
    samples::{BUCKET_BLOCKS, GENESIS, SPAN, block_hash, miner},
};

#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct Vector {
    genesis: String,
    epoch: u64,
    first_block: u32,
    end_block: u32,
    bucket_blocks: u32,
    /// Hashes of blocks by number.
    blocks: BTreeMap<u64, String>,
    /// Node ids by number.
    miners: BTreeMap<u32, String>,
    content_hash: String,
    attestation_root: String,
    warden_root: String,
    attestations: u32,
    index: String,
    parts: Vec<String>,
}

fn bytes(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn current() -> Vector {
    let small = small();
    let AttestationCommitment { content_hash, attestation_root, warden_root, count } = small.facts.commitment;
    let numbers = [150, 160, 170, 230, 240, 450];
    Vector {
        genesis: hex::encode(GENESIS),
        epoch: SPAN.epoch,
        first_block: SPAN.first_block,
        end_block: SPAN.end_block,
        bucket_blocks: BUCKET_BLOCKS,
        blocks: numbers.map(|number| (number, hex::encode(block_hash(number).unwrap()))).into(),
        miners: [0, 1, 2].map(|uid| (uid, hex::encode(miner(uid)))).into(),
        content_hash: hex::encode(content_hash),
        attestation_root: hex::encode(attestation_root),
        warden_root: hex::encode(warden_root),
        attestations: count,
        index: hex::encode(&small.index),
        parts: small.parts.iter().map(hex::encode).collect(),
    }
}

/// A missing file is written by `ARION_GOLDEN=write cargo test -p arion-bundle`; one that exists is never written.
fn frozen() -> Vector {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/bundle.json");
    if std::env::var("ARION_GOLDEN").is_ok_and(|value| value == "write") && !std::fs::exists(path).unwrap() {
        std::fs::write(path, serde_json::to_string_pretty(&current()).unwrap() + "\n").unwrap();
    }
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_frozen_bundle_is_written_the_same_and_holds() {
    let vector = frozen();
    assert_eq!(vector, current());
    let facts = Facts {
        genesis: bytes(&vector.genesis),
        span: Span { epoch: vector.epoch, first_block: vector.first_block, end_block: vector.end_block },
        bucket_blocks: vector.bucket_blocks,
        commitment: AttestationCommitment {
            content_hash: bytes(&vector.content_hash),
            attestation_root: bytes(&vector.attestation_root),
            warden_root: bytes(&vector.warden_root),
            count: vector.attestations,
        },
        miners: vector.miners.iter().map(|(uid, node)| (*uid, bytes(node))).collect(),
    };
    let hash_of = |number| vector.blocks.get(&number).map(|hash| bytes(hash));
    let mut verifier = Verifier::new(facts, &hex::decode(&vector.index).unwrap()).unwrap();
    for (part, number) in vector.parts.iter().zip(0..) {
        verifier.part(number, Some(&hex::decode(part).unwrap()), hash_of);
    }
    let report = verifier.finish(hash_of);
    assert_eq!((report.found, report.attestations, report.exhibits), (0, 5, 3));
}
