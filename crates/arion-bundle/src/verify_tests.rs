//! Bundles that hold, and makers and wardens that do not.

use arion_types::{AttestationRecord, AttestationResult, Exhibit};
use codec::Encode;

use crate::{
    Binder, Fault, FaultKind, MinerVerdict, Place, Report, Verifier,
    samples::{GENESIS, SPAN, audit, bind, block_hash, epoch, facts, read_at, warden},
};

fn verify(
    audits: &[(AttestationRecord, Exhibit)],
    chain: &[(u32, Vec<AttestationRecord>)],
    then: bool,
) -> Report {
    let (parts, bound) = bind(audits, 40_000);
    let mut verifier = Verifier::new(facts(&bound), &bound.index.commitment().1).unwrap();
    for (number, part) in parts.iter().enumerate() {
        verifier.part(number as u32, Some(part), block_hash);
    }
    for (bucket, records) in chain {
        let late = verifier.compare(*bucket, records, then);
        verifier.came_later(late.len() as u64);
    }
    verifier.finish(block_hash)
}

fn attestation_faults(report: &Report) -> Vec<(u32, FaultKind)> {
    let number = |fault: &Fault| match fault.place {
        Place::Attestation { attestation, .. } => (attestation, fault.kind),
        other => panic!("{other}"),
    };
    report.faults.iter().map(number).collect()
}

fn stored() -> Vec<(u32, Vec<AttestationRecord>)> {
    let of = |bucket: u64| {
        let records = epoch().into_iter().map(|(record, _)| record);
        records.filter(|record| record.block_number / 100 == bucket).collect::<Vec<_>>()
    };
    let mut buckets: Vec<_> = (1..4).map(|bucket| (bucket, of(bucket.into()))).collect();
    // What is of the epochs before and after is passed over, wherever it stands.
    buckets[0].1.insert(1, audit(8, 109, AttestationResult::Passed).0);
    buckets[2].1.push(audit(9, 310, AttestationResult::Passed).0);
    buckets
}

#[test]
fn a_bundle_that_holds_says_how_each_miner_did() {
    let report = verify(&epoch(), &stored(), true);
    assert_eq!(report.faults, []);
    assert_eq!((report.attestations, report.exhibits, report.wardens, report.late), (7, 4, 2, 0));
    let expected = [
        MinerVerdict { uid: 0, passed: 1, timeouts: 1, shown: 1, ..MinerVerdict::default() },
        MinerVerdict { uid: 1, passed: 2, invalid_proofs: 1, shown: 2, ..MinerVerdict::default() },
        MinerVerdict { uid: 2, passed: 1, failed: 1, ..MinerVerdict::default() },
    ];
    assert_eq!(report.miners, expected);
}

#[test]
fn the_same_attestations_make_the_same_bundle_and_parts_are_cut_at_their_length() {
    let (parts, bound) = bind(&epoch(), 40_000);
    assert_eq!((parts.clone(), bound.clone()), bind(&epoch(), 40_000));
    assert!(parts.len() > 2, "{} parts", parts.len());
    for (part, known) in parts.iter().zip(&bound.index.parts) {
        assert_eq!((blake3::hash(part).as_bytes(), part.len()), (&known.hash, known.bytes as usize));
    }
    let (whole, other) = bind(&epoch(), 1 << 20);
    assert_eq!(whole.len(), 1);
    assert_eq!(other.index.attestation_root, bound.index.attestation_root);
}

#[test]
fn an_epoch_without_attestations_has_an_index_only() {
    let bound = Binder::new(GENESIS, SPAN, read_at()).finish();
    assert!(bound.last_part.is_none() && bound.index.parts.is_empty());
    let verifier = Verifier::new(facts(&bound), &bound.index.commitment().1).unwrap();
    assert_eq!(verifier.finish(block_hash).faults, []);
}

#[test]
fn what_a_warden_may_not_say_is_found_with_its_place() {
    let mut audits = epoch();
    // A seed of its own choice, a miner that is in no map, a block of another epoch, a bribe.
    let resign = |record: &mut AttestationRecord| record.sign(&GENESIS, &warden(1));
    audits[0].0.challenge_seed = [9; 32];
    resign(&mut audits[0].0);
    audits[2].0.miner_uid = 77;
    resign(&mut audits[2].0);
    audits[3].0.result = AttestationResult::Passed;
    audits[3].0.warden_pubkey = [0; 32];
    audits[5].0.signature[7] ^= 1;
    audits[6] = audit(7, 310, AttestationResult::Passed);
    let report = verify(&audits, &[], false);
    let expected = [
        (0, FaultKind::Seed),
        (2, FaultKind::Miner),
        (3, FaultKind::Signature),
        (5, FaultKind::Signature),
        (6, FaultKind::Block),
    ];
    assert_eq!(attestation_faults(&report), expected);
    let mut audits = epoch();
    audits[0].1 = audits[5].1.clone();
    let report = verify(&audits, &[], false);
    assert_eq!(attestation_faults(&report), [(0, FaultKind::Answer)]);
}

#[test]
fn what_a_maker_may_not_do_is_found() {
    // Left out at the end, where it could have come later; left out elsewhere; turned around; added; twice.
    let mut audits = epoch();
    let late = audits.remove(5);
    assert_eq!((verify(&audits, &stored(), false).late, verify(&audits, &stored(), false).found), (1, 0));
    let bucket = Fault { place: Place::Bucket { bucket: 2 }, kind: FaultKind::Chain };
    assert_eq!(verify(&audits, &stored(), true).faults, [bucket]);
    audits.insert(3, late.clone());
    assert_eq!(verify(&audits, &stored(), false).faults, [bucket]);
    audits.remove(3);
    audits.remove(3);
    assert_eq!(verify(&audits, &stored(), false).faults, [bucket]);
    let mut audits = epoch();
    audits.insert(6, audit(9, 299, AttestationResult::Timeout));
    assert_eq!(verify(&audits, &stored(), false).faults, [bucket]);
    let mut audits = epoch();
    audits.insert(4, late.clone());
    assert_eq!(attestation_faults(&verify(&audits, &[], false)), [(6, FaultKind::Twice)]);
    let mut audits = epoch();
    audits.swap(2, 3);
    assert_eq!(attestation_faults(&verify(&audits, &[], false)), [(3, FaultKind::Order)]);
}

#[test]
fn a_part_that_is_not_there_is_named_and_another_block_or_chain_too() {
    let (parts, bound) = bind(&epoch(), 40_000);
    let index = bound.index.commitment().1;
    let mut verifier = Verifier::new(facts(&bound), &index).unwrap();
    verifier.part(0, Some(&parts[0]), block_hash);
    verifier.part(1, None, block_hash);
    let report = verifier.finish(|_| None);
    assert_eq!(report.faults[0], Fault { place: Place::Part { part: 1 }, kind: FaultKind::Missing });
    assert!(
        report.faults.contains(&Fault { place: Place::Index { field: "read_at" }, kind: FaultKind::Field })
    );

    let mut elsewhere = facts(&bound);
    elsewhere.genesis = [2; 32];
    let mut verifier = Verifier::new(elsewhere, &index).unwrap();
    verifier.part(0, Some(&parts[0]), block_hash);
    let report = verifier.finish(block_hash);
    assert_eq!(report.faults[0].kind, FaultKind::Misplaced);
    assert_eq!(report.faults[1].kind, FaultKind::Signature);
}

#[test]
fn faults_are_counted_and_a_part_of_them_listed() {
    let mut audits = Vec::new();
    for n in 0..(crate::FAULTS_MAX + 10) {
        let (mut record, _) = audit(1, 150, AttestationResult::Timeout);
        record.timestamp = n as u64;
        audits.push((record, Exhibit::Absent));
    }
    let report = verify(&audits, &[], false);
    assert_eq!((report.faults.len(), report.found), (crate::FAULTS_MAX, crate::FAULTS_MAX as u64 + 10));
}

#[test]
fn blocks_are_told_before_a_part_is_verified() {
    let (parts, _) = bind(&epoch(), 1 << 20);
    let blocks: Vec<u64> = crate::blocks_of(&parts[0]).into_iter().collect();
    assert_eq!(blocks, [111, 150, 199, 201, 250, 309]);
    assert!(crate::blocks_of(b"nothing").is_empty());
    assert!(crate::blocks_of(&(1u8, [0u8; 48]).encode()).is_empty());
}
