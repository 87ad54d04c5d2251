//! States in which calls cost the most.

use alloc::{format, vec::Vec};
use arion_types::{
    AttestationRecord, AttestationResult, CrushParams, MinerRecord, NodeQuality,
    registration::registration_message,
};
use codec::Encode;
use frame_benchmarking::{BenchmarkError, account};
use frame_support::{
    BoundedVec,
    sp_runtime::{KeyTypeId, RuntimeAppPublic, traits::SaturatedConversion},
    traits::{EnsureOrigin, Get},
};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_core::{ed25519, hexdisplay::HexDisplay};
use sp_io::hashing::blake2_256;

use super::BenchmarkHelper;
use crate::{
    AttestationsByBucket, AttestationsOf, AuditCounts, AuditCountsByChild, AuditTallies, AuditTally,
    ChildRegistration, ChildRegistrations, ChildStatus, Config, EpochMiners, EpochStarts, FamilyChildren,
    FamilyGraceStart, FamilyWeight, FamilyWeightRaw, Maintenance, Maintenances, MinersOf, NodeIdNonce,
    NodeIdToChild, NodeQualityByChild, NodeWeightByChild, Pallet, QualityReport, QualityReports,
    QualityUpdatesOf, RegisteredWardens, TimeoutsToConfirm, UnconfirmedTimeouts, WardenInfo, WeightReporters,
    impls::MAPS_PER_BATCH,
    offchain::{ReporterId, ReporterSignature, report_message},
};

/// Keys of the benchmarks in the keystore.
const KEYS: KeyTypeId = KeyTypeId(*b"ari!");

/// The first account that `ArionAdminOrigin` admits.
pub(super) fn admin<T: Config>() -> Result<T::RuntimeOrigin, BenchmarkError> {
    T::ArionAdminOrigin::try_successful_origin().map_err(|()| BenchmarkError::Weightless)
}

/// As many validators as their bound allows.
pub(super) fn validators<T: Config>() -> Vec<T::AccountId> {
    let validators: Vec<T::AccountId> =
        (0..T::MaxWeightReporters::get()).map(|n| account("validator", n, 0)).collect();
    T::BenchmarkHelper::set_validators(&validators);
    validators
}

/// The validator that is found last.
pub(super) fn last_validator<T: Config>() -> T::AccountId {
    validators::<T>().pop().expect("MaxWeightReporters is not 0")
}

/// The last validator that can report, the open bucket, and its report of children that all others reported about.
pub(super) fn last_report<T: Config>(children: u32) -> (T::AccountId, u32, QualityUpdatesOf<T>) {
    let mut others = validators::<T>();
    let last = others.pop().expect("MaxWeightReporters is not 0");
    let bucket = Pallet::<T>::open_weight_bucket();
    WeightReporters::<T>::insert(bucket, BoundedVec::truncate_from(others));
    let mut reports = full::<_, T::MaxWeightReporters>(report);
    reports.pop();
    let children = self::children::<T>(children);
    for child in &children {
        QualityReports::<T>::insert(bucket, child, &reports);
    }
    let updates = children.into_iter().map(|child| (child, quality()));
    (last, bucket, BoundedVec::truncate_from(updates.collect()))
}

/// A reporter's key of a validator, and its signature of a report.
pub(super) fn reporter<T: Config>(
    validator: &T::AccountId,
    bucket: u32,
    updates: &[(T::AccountId, NodeQuality)],
) -> (ReporterId, ReporterSignature) {
    let key = ReporterId::generate_pair(None);
    T::BenchmarkHelper::set_reporter(validator, &key);
    let message = report_message(&Pallet::<T>::genesis_hash(), bucket, updates);
    let signature = key.sign(&message).expect("the key was put into the keystore");
    (key, signature)
}

/// Goes to a block.
pub(super) fn set_block<T: Config>(block: u64) {
    frame_system::Pallet::<T>::set_block_number(block.saturated_into());
}

/// A number of blocks, as a number.
pub(super) fn blocks<T: Config>(blocks: BlockNumberFor<T>) -> u64 {
    blocks.saturated_into()
}

/// An Ed25519 key of the keystore.
pub(super) fn key(n: u32) -> ed25519::Public {
    let seed = format!("0x{}", HexDisplay::from(&blake2_256(&n.encode())));
    sp_io::crypto::ed25519_generate(KEYS, Some(seed.into_bytes()))
}

/// A signature with it.
pub(super) fn sign(key: &ed25519::Public, message: &[u8]) -> [u8; 64] {
    sp_io::crypto::ed25519_sign(KEYS, key, message).expect("the key was put into the keystore").0
}

/// The longest list that the bound allows.
pub(super) fn full<Item, Bound: Get<u32>>(item: impl FnMut(u32) -> Item) -> BoundedVec<Item, Bound> {
    BoundedVec::truncate_from((0..Bound::get()).map(item).collect())
}

/// The family of every child.
pub(super) fn family<T: Config>() -> T::AccountId {
    account("family", 0, 0)
}

/// Node id of child number `n`.
pub(super) fn node_id(n: u32) -> [u8; 32] {
    (b"node", n).using_encoded(blake2_256)
}

/// An active child with node number `n`.
pub(super) fn child<T: Config>(n: u32) -> T::AccountId {
    let child: T::AccountId = account("child", n, 0);
    let record = ChildRegistration {
        family: family::<T>(),
        node_id: node_id(n),
        status: ChildStatus::Active,
        deposit: 0u32.into(),
        registered_at: 0u32.into(),
    };
    ChildRegistrations::<T>::insert(&child, record);
    NodeIdToChild::<T>::insert(node_id(n), &child);
    child
}

/// So many active children, sorted by account.
pub(super) fn children<T: Config>(count: u32) -> Vec<T::AccountId> {
    let mut children: Vec<_> = (0..count).map(child::<T>).collect();
    children.sort_unstable();
    children
}

/// Records of nodes 0 to `count`, as long as they can be.
pub(super) fn miners<T: Config>(count: u32) -> MinersOf<T> {
    let miner = |n| MinerRecord {
        uid: n,
        node_id: node_id(n),
        family: family::<T>(),
        weight: arion_types::map::WEIGHT_ONE,
        endpoint: full(|_| b'a'),
    };
    BoundedVec::truncate_from((0..count).map(miner).collect())
}

/// Parameters of maps.
pub(super) const PARAMS: CrushParams = CrushParams::STANDARD;

/// What a validator says about a child; the later it reports, the less.
pub(super) fn report(reporter: u32) -> QualityReport {
    let less = u64::from(reporter) << 32;
    QualityReport {
        reporter: reporter as u16,
        shard_data_bytes: (1 << 50) - less,
        bandwidth_bytes: (1 << 45) - less,
        uptime_permille: 1_000 - (reporter % 1_000) as u16,
    }
}

/// Quality of a child.
pub(super) fn quality() -> NodeQuality {
    NodeQuality {
        shard_data_bytes: 1 << 40,
        bandwidth_bytes: 1 << 41,
        uptime_permille: 999,
        strikes: 3,
        integrity_fails: 3,
    }
}

/// Counts of a child's audits.
pub(super) fn counts() -> AuditCounts {
    AuditCounts { passed: 1, failed: 2, timeouts: 3, invalid_proofs: 4, last_block: 0 }
}

/// Timeouts of a child that wait.
pub(super) fn unconfirmed() -> UnconfirmedTimeouts {
    UnconfirmedTimeouts { bucket: 0, warden: warden(0), timeouts: 1 }
}

/// Maintenance of a child that is over.
pub(super) fn away<T: Config>() -> Maintenance<BlockNumberFor<T>> {
    Maintenance { from: 0u32.into(), until: 1u32.into(), period_start: 0u32.into(), announced: 1u32.into() }
}

/// Key of warden number `n`; not in the keystore.
pub(super) fn warden(n: u32) -> [u8; 32] {
    (b"warden", n).using_encoded(blake2_256)
}

/// What all wardens saw of a child, the one at `last` last.
pub(super) fn tallies<T: Config>(wardens: &[[u8; 32]], last: usize) -> BoundedVec<AuditTally, T::MaxWardens> {
    let order = wardens.iter().cycle().skip(last + 1).take(wardens.len());
    let tally = |warden: &[u8; 32]| AuditTally { warden: *warden, timeouts: 2, integrity_fails: 3 };
    BoundedVec::truncate_from(order.map(tally).collect())
}

/// Everything that can be known about a child in a bucket.
pub(super) fn know<T: Config>(bucket: u32, child: &T::AccountId, wardens: &[[u8; 32]]) {
    let reports = full::<_, T::MaxWeightReporters>(report);
    QualityReports::<T>::insert(bucket, child, reports);
    AuditTallies::<T>::insert(bucket, child, tallies::<T>(wardens, 0));
}

/// So many families with one child each, and `more` further children in the last of them that is weighed; all
/// that can be known about them is, and so is everything about them after the bucket before.
pub(super) fn families_to_weigh<T: Config>(count: u32, more: u32, wardens: &[[u8; 32]]) {
    for warden in wardens {
        RegisteredWardens::<T>::insert(warden, WardenInfo { registered_at: 0u32.into() });
    }
    let mut families: Vec<T::AccountId> = (0..count).map(|n| account("weighed", n, 0)).collect();
    families.sort_by_key(|family| FamilyChildren::<T>::hashed_key_for(family));
    for (n, family) in (0..).zip(&families) {
        let more = if n + 1 == count { more } else { 0 };
        let children: Vec<T::AccountId> =
            core::iter::once(n).chain(count..count + more).map(|child| account("child", child, 0)).collect();
        for child in &children {
            know::<T>(0, child, wardens);
            NodeQualityByChild::<T>::insert(child, quality());
            NodeWeightByChild::<T>::insert(child, 1);
            TimeoutsToConfirm::<T>::insert(child, unconfirmed());
        }
        FamilyChildren::<T>::insert(family, BoundedVec::truncate_from(children));
        FamilyGraceStart::<T>::insert(family, 0);
        FamilyWeight::<T>::insert(family, 1);
        FamilyWeightRaw::<T>::insert(family, 1);
    }
}

/// The consent of node key 0 to be the child of a family, and its node id.
pub(super) fn consent<T: Config>(family: &T::AccountId, child: &T::AccountId) -> ([u8; 32], [u8; 64]) {
    let key = key(0);
    let nonce = NodeIdNonce::<T>::get(key.0);
    let genesis = Pallet::<T>::genesis_hash();
    let message = registration_message(&genesis, family.as_ref(), child.as_ref(), &key.0, nonce);
    (key.0, sign(&key, &message))
}

/// An attestation as long as it can be, without signature.
fn record(kind: &str, n: u32) -> AttestationRecord {
    AttestationRecord {
        shard_hash: (kind, n).using_encoded(blake2_256),
        miner_uid: n,
        result: AttestationResult::Timeout,
        challenge_seed: [1; 32],
        block_number: 0,
        timestamp: 1_700_000_000_000,
        warden_pubkey: warden(n),
        signature: [2; 64],
        merkle_proof_sig_hash: [3; 32],
        warden_id: full(|_| b'w'),
    }
}

/// Two attestations of a registered warden that contradict each other.
pub(super) fn conflict<T: Config>() -> Result<(AttestationRecord, AttestationRecord), BenchmarkError> {
    let (key, genesis) = (key(0), Pallet::<T>::genesis_hash());
    Pallet::<T>::do_register_warden(key.0)?;
    let signed = |result| {
        let mut record = AttestationRecord { result, warden_pubkey: key.0, ..record("conflict", 0) };
        record.signature = sign(&key, &record.message(&genesis));
        record
    };
    Ok((signed(AttestationResult::Passed), signed(AttestationResult::Failed)))
}

/// A batch of `count` attestations for the bucket it returns, which they fill up: each about another miner that all
/// wardens audited, by all wardens in turn, over as many maps of the largest size as a batch reads.
pub(super) fn attestations<T: Config>(count: u32) -> (u32, AttestationsOf<T>) {
    let bucket: u32 = 1;
    let length = blocks::<T>(T::AttestationBucketBlocks::get());
    let now = 2 * length - 1;
    set_block::<T>(now);

    let maps = MAPS_PER_BATCH.min(T::MaxEpochsKept::get());
    let start_of = |map: u32| length + length * u64::from(map) / u64::from(maps);
    EpochStarts::<T>::put(full::<_, T::MaxEpochsKept>(|n| {
        let start = if n < maps { start_of(n) } else { now };
        (u64::from(n) + 1, start.saturated_into())
    }));
    let miners = miners::<T>(T::MaxMiners::get());
    for map in 0..maps {
        EpochMiners::<T>::insert(u64::from(map) + 1, &miners);
    }

    let keys: Vec<ed25519::Public> = (0..T::MaxWardens::get()).map(key).collect();
    let wardens: Vec<[u8; 32]> = keys.iter().map(|key| key.0).collect();
    for warden in &wardens {
        RegisteredWardens::<T>::insert(warden, WardenInfo { registered_at: 0u32.into() });
    }
    let stored = T::MaxAttestations::get() - count;
    let stored: Vec<_> = (0..stored).map(|n| record("stored", n)).collect();
    AttestationsByBucket::<T>::insert(bucket, BoundedVec::truncate_from(stored));

    let (genesis, open) = (Pallet::<T>::genesis_hash(), Pallet::<T>::open_weight_bucket());
    let batch = (0..count).map(|n| {
        let by = n as usize % keys.len();
        let uid = n % T::MaxMiners::get();
        let child = child::<T>(uid);
        AuditTallies::<T>::insert(open, &child, tallies::<T>(&wardens, by));
        AuditCountsByChild::<T>::insert(&child, counts());
        Maintenances::<T>::insert(child, away::<T>());
        let mut record = record("new", n);
        record.miner_uid = uid;
        record.block_number = start_of(n % maps);
        record.warden_pubkey = wardens[by];
        record.signature = sign(&keys[by], &record.message(&genesis));
        record
    });
    (bucket, BoundedVec::truncate_from(batch.collect()))
}
