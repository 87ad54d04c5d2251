//! Ledgers that are right, and ledgers of gateways that cheat.

use super::*;
use std::sync::Arc;

use arion_proofs::merkle;

use arion_chain::{ChainView, EpochMap, Snapshot};
use arion_types::{
    CrushParams, GenesisHash, MinerRecord, Receipt, SignedReceipt,
    map::WEIGHT_ONE,
    signing::node_id,
    stripe::{placement_group, stripe_id},
};
use codec::Encode;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use crate::segment::{Segment, SegmentFault, SegmentV1};

pub(crate) const GENESIS: GenesisHash = [7; 32];
pub(crate) const GATEWAY: NodeId = NodeId([9; 32]);
const SIZE: u32 = 1_000;

fn miner_key(uid: u32) -> SigningKey {
    SigningKey::from_bytes(&[uid as u8; 32])
}

fn map(epoch: u64) -> EpochMap {
    let miner = |uid: u32| MinerRecord {
        uid,
        node_id: node_id(&miner_key(uid)).0,
        family: [(uid / 2) as u8 + 1; 32],
        // Another weight per epoch moves some shards.
        weight: if epoch == 2 && uid == 3 { WEIGHT_ONE / 4 } else { WEIGHT_ONE },
        endpoint: format!("miner-{uid}:1").into_bytes().try_into().unwrap(),
    };
    EpochMap::new(epoch, CrushParams::STANDARD, (2..34).map(miner).collect())
}

pub(crate) fn checker() -> ReceiptChecker {
    let snapshot =
        Snapshot { current: Some(Arc::new(map(2))), earlier: vec![Arc::new(map(1))], ..Snapshot::default() };
    ReceiptChecker::new(ChainView::manual(GENESIS, snapshot).0)
}

/// Receipts for the 30 shards of stripe `n`, under the map of an epoch.
pub(crate) fn stripe(n: u8, epoch: u64) -> Vec<SignedReceipt> {
    let shards: Vec<ShardHash> = (0..30u8).map(|index| ShardHash(blake3::hash(&[n, index]).into())).collect();
    let (map, stripe) = (map(epoch), stripe_id(&shards));
    let pg = placement_group(&stripe, map.params.pg_count);
    let placed = crush::Map::from_records(&map.params, &map.miners).unwrap().place_vec(pg);
    let receipt = |(index, shard): (usize, &ShardHash)| {
        let key = miner_key(placed[index].unwrap());
        let receipt = Receipt {
            shard: *shard,
            size: SIZE,
            stripe,
            pg,
            index: index as u8,
            epoch,
            node_id: node_id(&key),
            stored_at: 1,
        };
        receipt.sign(&GENESIS, &key)
    };
    shards.iter().enumerate().map(receipt).collect()
}

fn stored(receipts: &[SignedReceipt]) -> Vec<LedgerRecord> {
    receipts.iter().copied().map(LedgerRecord::Stored).collect()
}

fn deleted(receipts: &[SignedReceipt]) -> Vec<LedgerRecord> {
    receipts.iter().map(|signed| LedgerRecord::Deleted { shard: signed.receipt.shard }).collect()
}

fn released(receipts: &[SignedReceipt]) -> Vec<LedgerRecord> {
    let line = |signed: &SignedReceipt| LedgerRecord::Released {
        shard: signed.receipt.shard,
        miner: signed.receipt.node_id,
    };
    receipts.iter().map(line).collect()
}

/// Each of these miners served `bytes` in a period of a second.
fn served(receipts: &[SignedReceipt], from: u64, bytes: u64) -> Vec<LedgerRecord> {
    let line = |signed: &SignedReceipt| {
        LedgerRecord::Served(Served { miner: signed.receipt.node_id, from, until: from + 1_000, bytes })
    };
    receipts.iter().map(line).collect()
}

pub(crate) fn ledger(lines: Vec<LedgerRecord>) -> Ledger {
    Ledger::new(GENESIS, GATEWAY, lines)
}

pub(crate) fn anchor(ledger: &Ledger, sequence: u64, bytes: u64) -> Anchor {
    Anchor { sequence, root: merkle::root(&ledger.hashes()[..sequence as usize]), bytes }
}

pub(crate) fn check(ledger: &Ledger, anchors: &[Anchor]) -> Report {
    verify(ledger, anchors, &mut checker())
}

#[test]
fn an_honest_ledger_has_nothing_to_find() {
    let (first, second) = (stripe(1, 1), stripe(2, 2));
    let ledger = ledger([stored(&first), stored(&second), deleted(&first)].concat());
    let anchors = [anchor(&ledger, 30, 30_000), anchor(&ledger, 60, 60_000), anchor(&ledger, 75, 45_000)];
    let report = check(&ledger, &anchors);
    assert_eq!((report.found, &report.findings[..]), (0, &[][..]));
    assert_eq!((report.lines, report.live_shards, report.live_bytes), (90, 30, 30_000));
    let read = Ledger::read(GENESIS, GATEWAY, &ledger.write()).unwrap();
    assert_eq!(read, ledger);
    assert_eq!(check(&Ledger::new(GENESIS, GATEWAY, Vec::new()), &[]).lines, 0);
}

/// After a new map shards move: the same shard with another miner's receipt is no doubling, and counts once.
#[test]
fn a_shard_that_moved_counts_once() {
    let (before, after) = (stripe(1, 1), stripe(1, 2));
    let moved: Vec<_> = after
        .into_iter()
        .zip(&before)
        .filter(|(after, before)| after.receipt.node_id != before.receipt.node_id)
        .map(|(after, _)| after)
        .collect();
    let report = check(&ledger([stored(&before), stored(&moved)].concat()), &[]);
    assert_eq!((report.found, report.live_bytes), (0, 30_000));
}

/// The shards of a stripe that two maps give to different miners: the receipts by the first, and by the second.
fn moved() -> (Vec<SignedReceipt>, Vec<SignedReceipt>) {
    let pairs = stripe(1, 1).into_iter().zip(stripe(1, 2));
    let moved: Vec<_> =
        pairs.filter(|(before, after)| before.receipt.node_id != after.receipt.node_id).collect();
    assert!(!moved.is_empty(), "the maps move nothing");
    moved.into_iter().unzip()
}

/// Who was released is free to store the shard again, and then to be released again: the bytes are live all the while.
#[test]
fn a_miner_is_released_when_another_one_has_the_shard_and_may_come_back() {
    let ((before, after), all) = (moved(), stripe(1, 1));
    let again = released(&after);
    let lines = [stored(&all), stored(&after), released(&before), stored(&before), again].concat();
    let ledger = ledger(lines);
    let at = |lines: usize| anchor(&ledger, lines as u64, 30_000);
    let (all, n) = (all.len(), before.len());
    let report = check(&ledger, &[at(all + n), at(all + 2 * n), at(all + 4 * n)]);
    assert_eq!((report.found, &report.findings[..]), (0, &[][..]));
    assert_eq!((report.live_shards, report.live_bytes), (30, 30_000));
    assert_eq!(Ledger::read(GENESIS, GATEWAY, &ledger.write()).unwrap(), ledger);
}

#[test]
fn who_is_released_without_another_or_without_the_shard_is_found_with_the_line() {
    let ((before, after), all) = (moved(), stripe(1, 1));
    let (first, last) = (&before[..1], &after[..1]);
    let alone = [stored(&all), released(first)].concat();
    let twice = [stored(&all), stored(last), released(first), released(last)].concat();
    let never = [stored(&all), released(last)].concat();
    let deleted = [stored(&all), stored(last), deleted(first), released(first)].concat();
    // What does not count is no other miner.
    let mut forged = after[0];
    forged.signature[0] ^= 1;
    let unsigned = [stored(&all), stored(&[forged]), released(first)].concat();
    for (lines, fault, found) in [
        (alone, Fault::Unreplaced, 1),
        (twice, Fault::Unreplaced, 1),
        (never, Fault::NothingToRelease, 1),
        (deleted, Fault::NothingToRelease, 1),
        (unsigned, Fault::Unreplaced, 2),
    ] {
        let ledger = ledger(lines);
        let report = check(&ledger, &[]);
        let line = ledger.lines().len() as u64;
        assert_eq!(report.findings.last(), Some(&Finding { line, fault }));
        assert_eq!(report.found, found, "{fault}");
        let proof = ledger.prove(&ledger.hashes(), line).unwrap();
        assert!(proof.holds(&GENESIS, &GATEWAY, &report.root));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a gateway writes: a shard that is live has a miner, or its last release is a finding.
    #[test]
    fn releases_change_nothing_in_what_is_live(steps in proptest::collection::vec((0..3u8, 0..4usize, any::<bool>()), 1..40)) {
        let (before, after) = moved();
        let side = |is_old: bool| if is_old { &before } else { &after };
        let line = |(kind, at, is_old): &(u8, usize, bool)| {
            let signed = side(*is_old)[at % before.len()];
            let (shard, miner) = (signed.receipt.shard, signed.receipt.node_id);
            match kind {
                0 => LedgerRecord::Stored(signed),
                1 => LedgerRecord::Deleted { shard },
                _ => LedgerRecord::Released { shard, miner },
            }
        };
        let lines: Vec<LedgerRecord> = steps.iter().map(line).collect();
        let without: Vec<_> = lines.iter().copied().filter(|line| line.version() == 1).collect();
        let (with, without) = (check(&ledger(lines), &[]), check(&ledger(without), &[]));
        prop_assert_eq!((with.live_shards, with.live_bytes), (without.live_shards, without.live_bytes));
    }
}

#[test]
fn what_a_gateway_may_not_do_is_found_with_the_line() {
    let good = stripe(1, 1);
    let own = |node: NodeId| (2..34).map(miner_key).find(|key| node_id(key) == node).unwrap();
    let spoil = |change: &dyn Fn(&mut Receipt), signed: &SignedReceipt| {
        let mut receipt = signed.receipt;
        change(&mut receipt);
        LedgerRecord::Stored(receipt.sign(&GENESIS, &own(receipt.node_id)))
    };
    let mut forged = good[0];
    forged.signature[0] ^= 1;
    let elsewhere = good[1].receipt.node_id;
    let cases: Vec<(LedgerRecord, Fault)> = vec![
        (LedgerRecord::Stored(forged), Fault::Receipt(ReceiptFault::BadSignature)),
        (spoil(&|receipt| receipt.node_id = elsewhere, &good[0]), Fault::Receipt(ReceiptFault::Misplaced)),
        (spoil(&|receipt| receipt.pg ^= 1, &good[0]), Fault::Receipt(ReceiptFault::Group)),
        (spoil(&|receipt| receipt.size = 0, &good[0]), Fault::Receipt(ReceiptFault::Size)),
        (spoil(&|receipt| receipt.epoch = 3, &good[0]), Fault::Receipt(ReceiptFault::EpochAhead)),
        (spoil(&|receipt| receipt.epoch = 0, &good[0]), Fault::Receipt(ReceiptFault::EpochGone)),
        (LedgerRecord::Stored(good[4]), Fault::Doubled { first: 5 }),
        // With another time it is another receipt, but no other shard.
        (spoil(&|receipt| receipt.stored_at += 1, &good[4]), Fault::Doubled { first: 5 }),
        (spoil(&|receipt| receipt.size += 1, &good[4]), Fault::Length { first: 5 }),
        (LedgerRecord::Deleted { shard: ShardHash([1; 32]) }, Fault::NothingToDelete),
    ];
    for (line, fault) in cases {
        let ledger = ledger([stored(&good), vec![line]].concat());
        let report = check(&ledger, &[anchor(&ledger, 31, 30_000)]);
        assert_eq!(report.findings, [Finding { line: 31, fault }], "{fault}");
        assert_eq!((report.found, report.live_bytes), (1, 30_000), "{fault}");
        let proof = ledger.prove(&ledger.hashes(), 31).unwrap();
        assert!(proof.holds(&GENESIS, &GATEWAY, &report.root) && proof.record == line);
    }
}

/// The chain keeps maps for a while only: what was stored before is still there, and a gateway that bills it does not cheat.
#[test]
fn what_was_stored_under_a_forgotten_map_is_not_overbilled() {
    let mut old = stripe(1, 1);
    for signed in &mut old {
        let own = (2..34).map(miner_key).find(|key| node_id(key) == signed.receipt.node_id).unwrap();
        *signed = Receipt { epoch: 0, ..signed.receipt }.sign(&GENESIS, &own);
    }
    let ledger = ledger([stored(&old), deleted(&old[..10])].concat());
    let report = check(&ledger, &[anchor(&ledger, 30, 30_000), anchor(&ledger, 40, 20_000)]);
    assert_eq!((report.found, report.live_bytes), (30, 20_000));
    assert!(report.findings.iter().all(|found| found.fault == Fault::Receipt(ReceiptFault::EpochGone)));
    // Not what nobody signed.
    old[0].signature[0] ^= 1;
    let ledger = Ledger::new(GENESIS, GATEWAY, stored(&old));
    assert_eq!(check(&ledger, &[]).live_bytes, 29_000);
    let report = check(&ledger, &[anchor(&ledger, 30, 30_000)]);
    assert!(report.findings.iter().any(|found| matches!(found.fault, Fault::Overbilled { .. })));
}

#[test]
fn commitments_to_the_same_lines_have_numbers_of_their_own() {
    let lines = |number| Anchor::of_commitment(number, [0; 32], 0).sequence;
    let mut before = None;
    for covered in [0, 0, 0, 7, 7, 8, 4_096] {
        let number = commitment_number(covered, before).unwrap();
        assert!(before.is_none_or(|before| before < number));
        assert_eq!(lines(number), covered);
        before = Some(number);
    }
    // Fewer lines than the chain has seen, more commitments to the same than there are numbers, more lines than there can be.
    assert_eq!(commitment_number(4_095, before), None);
    let last = commitment_number(8, None).unwrap() + 0xffff;
    assert_eq!((commitment_number(8, Some(last)), lines(last)), (None, 8));
    assert!(commitment_number(9, Some(last)).is_some());
    assert_eq!(commitment_number(1 << 48, None), None);
}

#[test]
fn billing_what_is_deleted_is_found_with_the_deletion() {
    let (first, second) = (stripe(1, 1), stripe(2, 1));
    let ledger = ledger([stored(&first), stored(&second), deleted(&first[..10])].concat());
    // Line 61 deletes the first of what was billed still; with 55 KB it is line 66.
    for (claimed, line) in [(60_000, 61), (55_000, 66), (50_001, 70)] {
        let report = check(&ledger, &[anchor(&ledger, 70, claimed)]);
        let fault = Fault::Overbilled { sequence: 70, claimed, live: 50_000 };
        assert_eq!(report.findings, [Finding { line, fault }], "{claimed}");
        let proof = ledger.prove(&ledger.hashes()[..70], line).unwrap();
        assert!(matches!(proof.record, LedgerRecord::Deleted { .. }));
        assert!(proof.holds(&GENESIS, &GATEWAY, &anchor(&ledger, 70, 0).root));
    }
    assert!(check(&ledger, &[anchor(&ledger, 70, 50_000)]).findings.is_empty());
    // There never was as much.
    let report = check(&ledger, &[anchor(&ledger, 60, 60_001)]);
    let fault = Fault::Overbilled { sequence: 60, claimed: 60_001, live: 60_000 };
    assert_eq!(report.findings, [Finding { line: 60, fault }]);
}

#[test]
fn what_was_rewritten_does_not_have_its_anchor() {
    let lines = stored(&stripe(1, 1));
    let before = anchor(&ledger(lines.clone()), 30, 30_000);
    let mut rewritten = lines.clone();
    rewritten.swap(0, 1);
    let fault = Fault::Root { sequence: 30 };
    assert_eq!(check(&ledger(rewritten), &[before]).findings, [Finding { line: 30, fault }]);
    let fault = Fault::Missing { sequence: 30 };
    assert_eq!(check(&ledger(lines[..29].to_vec()), &[before]).findings, [Finding { line: 29, fault }]);
    // Other chains and gateways have other roots.
    let other = Ledger::new([8; 32], GATEWAY, lines.clone());
    assert_ne!(merkle::root(&other.hashes()), before.root);
    assert_ne!(merkle::root(&Ledger::new(GENESIS, NodeId([1; 32]), lines).hashes()), before.root);
}

fn many(count: usize) -> Ledger {
    let line = |n: usize| {
        let mut shard = [0; 32];
        shard[..8].copy_from_slice(&(n as u64).to_le_bytes());
        LedgerRecord::Deleted { shard: ShardHash(shard) }
    };
    ledger((0..count).map(line).collect())
}

#[test]
fn segments_fit_together_and_their_roots_are_those_of_the_ledger() {
    let ledger = many(10_000);
    let segments = ledger.write();
    assert_eq!(segments.len(), 3);
    assert_eq!(Ledger::read(GENESIS, GATEWAY, &segments).unwrap(), ledger);
    let hashes = ledger.hashes();
    let of_segments: Vec<Hash> = hashes.chunks(4_096).map(merkle::root).collect();
    assert_eq!(merkle::root(&of_segments), merkle::root(&hashes));

    let read = |segments: &[Vec<u8>]| Ledger::read(GENESIS, GATEWAY, segments).unwrap_err();
    let [first, second, third] = [&segments[0], &segments[1], &segments[2]].map(Clone::clone);
    assert_eq!(read(&[second.clone(), first.clone(), third.clone()]), SegmentFault::Misplaced(0));
    assert_eq!(read(&[first.clone(), third.clone()]), SegmentFault::Misplaced(1));
    let renumbered = |number, lines: &[LedgerRecord]| {
        Segment::V1(SegmentV1 { genesis: GENESIS, gateway: GATEWAY, number, lines: lines.to_vec() }).encode()
    };
    let short = renumbered(0, &ledger.lines()[..4_095]);
    assert_eq!(read(&[short, second.clone(), third.clone()]), SegmentFault::Length(0));
    assert_eq!(read(&[first.clone(), renumbered(1, &[])]), SegmentFault::Length(1));
    assert_eq!(read(&[renumbered(0, &ledger.lines()[..4_097])]), SegmentFault::Length(0));
    assert_eq!(read(&[first[..first.len() - 1].to_vec()]), SegmentFault::Malformed(0));
    assert_eq!(read(&[[&first[..], &[0]].concat()]), SegmentFault::Malformed(0));
    // One version for each: not the second without a line of its own, nor the first with one.
    let mut other = first.clone();
    other[0] = 2;
    assert_eq!(read(&[other]), SegmentFault::Malformed(0));
    let mut segment = self::ledger(released(&stripe(1, 1))).write().concat();
    assert_eq!(segment[0], 2);
    segment[0] = 1;
    assert_eq!(read(&[segment]), SegmentFault::Malformed(0));
    let foreign = Ledger::read([8; 32], GATEWAY, &[first]).unwrap_err();
    assert_eq!(foreign, SegmentFault::Misplaced(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A changed byte of a segment is refused when it is read, or changes the root.
    #[test]
    fn any_changed_byte_is_noticed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let ledger = many(20);
        let mut segments = ledger.write();
        let at = at.index(segments[0].len());
        segments[0][at] ^= 1 << bit;
        if let Ok(read) = Ledger::read(GENESIS, GATEWAY, &segments) {
            prop_assert_ne!(merkle::root(&read.hashes()), merkle::root(&ledger.hashes()));
        }
    }

    #[test]
    fn a_line_is_shown_to_whoever_has_the_root(line in 1u64..=40, length in 1u64..=40) {
        let ledger = many(40);
        let hashes = &ledger.hashes()[..length as usize];
        let root = merkle::root(hashes);
        let proof = ledger.prove(hashes, line);
        prop_assert_eq!(proof.is_some(), line <= length);
        if let Some(proof) = proof {
            prop_assert!(proof.holds(&GENESIS, &GATEWAY, &root));
            let other = crate::LineProof { sequence: proof.sequence % 40 + 1, ..proof.clone() };
            prop_assert!(!other.holds(&GENESIS, &GATEWAY, &root));
            prop_assert!(!proof.holds(&GENESIS, &NodeId([1; 32]), &root));
        }
    }
}

#[test]
fn what_was_served_counts_up_to_what_is_live_and_changes_nothing_else() {
    let receipts = stripe(1, 1);
    let lines = [stored(&receipts), served(&receipts[..2], 5_000, 700), served(&receipts[..1], 6_000, 700)];
    let ledger = ledger(lines.concat());
    let report = check(&ledger, &[anchor(&ledger, 33, 30_000)]);
    assert_eq!((report.found, report.live_bytes), (0, 30_000));
    assert_eq!((report.served_bytes, report.served_counted), (2_100, 1_700));
    assert_eq!(Ledger::read(GENESIS, GATEWAY, &ledger.write()).unwrap(), ledger);
    assert_eq!(ledger.write()[0][0], 3, "the version of the segment");
}

#[test]
fn lines_about_what_was_served_are_found_where_they_cannot_be() {
    let receipts = stripe(1, 1);
    let mut foreign = receipts[0];
    foreign.receipt.node_id = NodeId([99; 32]);
    let much = crate::served::BYTES_PER_MS_MAX * 1_000 + 1;
    let lines = [
        stored(&receipts),
        served(&receipts[..1], 5_000, 1),
        served(&receipts[..1], 5_999, 1),
        served(&[foreign], 5_000, 1),
        served(&receipts[1..2], 5_000, much),
    ];
    let report = check(&ledger(lines.concat()), &[]);
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.line, finding.fault)).collect();
    let overlap = Fault::Served(ServedFault::Overlap { until: 6_000 });
    assert_eq!(found, [(32, overlap), (33, Fault::NoMiner), (34, Fault::Served(ServedFault::TooMuch))]);
    assert_eq!((report.served_bytes, report.served_counted), (1, 1));
}

#[derive(serde::Deserialize)]
struct Vector {
    stored: u64,
    deleted: u64,
    released: u64,
    served: u64,
    segment_bytes: usize,
    segment_blake3: String,
    root: String,
    /// Of the first segment, by the line behind it.
    #[serde(default)]
    kept: Option<Kept>,
}

#[derive(serde::Deserialize)]
struct Kept {
    lines: u64,
    root: String,
}

/// Stripe 1 of these tests, its first shards deleted again, the miners of its last ones released; of miners from number 2 on it
/// is said that they served 4,000 bytes in the second from 9,000 ms on. Where it says what is kept, a line behind says so.
#[test]
fn frozen_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/ledger.json")).unwrap();
    assert!(!vectors.is_empty());
    let receipts = stripe(1, 1);
    for vector in vectors {
        let (most, gone) = (&receipts[..vector.stored as usize], &receipts[..vector.deleted as usize]);
        let free = &most[most.len() - vector.released as usize..];
        let said = |uid: u64| {
            let miner = node_id(&miner_key(uid as u32));
            LedgerRecord::Served(Served { miner, from: 9_000, until: 10_000, bytes: 4_000 })
        };
        let read = (2..2 + vector.served).map(said).collect();
        let mut lines = [stored(most), deleted(gone), released(free), read].concat();
        if let Some(kept) = &vector.kept {
            let mut root = KeptRoot::default();
            let first = ledger(lines.clone());
            let (hashes, mut keeping) = (first.hashes(), Keeping::default());
            (1..=4_096).zip(&lines).for_each(|(line, record)| keeping.take(line, record));
            keeping.lines().iter().for_each(|line| root.push(hashes[*line as usize - 1]));
            let says = root.of(4_096);
            assert_eq!((says.lines, hex::encode(says.root)), (kept.lines, kept.root.clone()));
            lines.push(LedgerRecord::Compacted(says));
        }
        let ledger = ledger(lines);
        let segment = ledger.write().concat();
        assert_eq!(segment.len(), vector.segment_bytes);
        let found = blake3::hash(&segment).to_hex();
        assert_eq!(found.as_str(), vector.segment_blake3, "segment {}", hex::encode(&segment));
        assert_eq!(hex::encode(merkle::root(&ledger.hashes())), vector.root);
    }
}
