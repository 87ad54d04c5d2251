//! `pallet-arion` at its real size: its constants, its largest calls, its largest round of weights.

use std::collections::BTreeMap;

use arion_types::NodeQuality;
use frame_support::{
    assert_ok,
    traits::{Get, Hooks},
};
use pallet_arion::{
    ChildRegistration, ChildRegistrations, ChildStatus, CurrentWeightBucket, CurrentWeightRound,
    FamilyChildren, FamilyGraceStart, FamilyWeight, NodeWeightByChild,
};
use pallet_staking::RewardDestination;
use sp_keyring::Sr25519Keyring::Alice;

use super::{
    account,
    blocks::{session, until_era},
    chain, signed,
};
use crate::{
    AccountId, Arion, Runtime, Staking, System,
    configs::RuntimeBlockWeights,
    constants::{HIPP, MILLI_HIPP},
};

/// What the description of the pallet recommends, and what it leaves open.
#[test]
fn constants_have_the_values_of_the_specification() {
    let is_fast = cfg!(feature = "fast-runtime");
    let expected: BTreeMap<&str, u128> = [
        ("BaseChildDeposit", 100 * HIPP),
        ("GlobalDepositHalvingPeriodBlocks", 14_400),
        ("UnbondingPeriodBlocks", 100_800),
        ("UnregisterCooldownBlocks", 28_800),
        ("MaxFamilies", 256),
        ("MaxChildrenTotal", 2_048),
        ("MaxChildrenPerFamily", 32),
        ("MaxMiners", 2_048),
        ("EnforceRegisteredMiners", 1),
        ("MaxEpochsKept", 256),
        ("MaxAttestations", 1_000),
        ("AttestationBucketBlocks", 100),
        ("AttestationRetentionBuckets", 1_000),
        ("MaxWardens", 256),
        ("MaxAttestationSubmitters", 64),
        ("MaintenanceNoticeBlocks", 20),
        ("MaintenanceBlocksMax", 2_400),
        ("MaintenancePeriodBlocks", 100_800),
        ("WeightBucketBlocks", if is_fast { 20 } else { 600 }),
        ("MaxWeightReporters", 128),
        ("MaxChildrenWeighedPerBlock", 128),
        ("NodeBandwidthWeightPermille", 700),
        ("NodeStorageWeightPermille", 300),
        ("NodeScoreScale", 512),
        ("NodeScoreUnitBytes", if is_fast { 1 << 10 } else { 1 << 30 }),
        ("StrikePenalty", 100),
        ("IntegrityFailPenalty", 50),
        ("MaxNodeWeight", 20_000),
        ("FamilyTopN", 8),
        ("FamilyRankDecayPermille", 800),
        ("FamilyWeightEmaAlphaPermille", 300),
        ("MaxFamilyWeightDeltaPerBucket", 500),
        ("MaxFamilyWeight", 20_000),
        ("NewcomerGraceBuckets", 100),
        ("NewcomerFloorWeight", 100),
    ]
    .into();
    let little_endian =
        |bytes: &[u8]| bytes.iter().rev().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
    let actual: BTreeMap<&str, u128> = Arion::pallet_constants_metadata()
        .into_iter()
        .map(|constant| (constant.name, little_endian(&constant.value)))
        .collect();
    assert_eq!(actual, expected);
}

fn numbered(n: usize) -> AccountId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    AccountId::new(bytes)
}

fn children_max() -> usize {
    let children: u32 = <Runtime as pallet_arion::Config>::MaxChildrenTotal::get();
    children as usize
}

fn quality() -> NodeQuality {
    NodeQuality {
        shard_data_bytes: 1 << 40,
        bandwidth_bytes: 1 << 40,
        uptime_permille: 1_000,
        ..Default::default()
    }
}

/// Fills the network: families of 32 with 2,048 children in all.
fn full_network() {
    for family in 0..children_max() / 32 {
        let family_account = numbered(1_000_000 + family);
        let children: Vec<_> = (0..32).map(|n| numbered(family * 32 + n)).collect();
        for child in &children {
            let record = ChildRegistration {
                family: family_account.clone(),
                node_id: child.clone().into(),
                status: ChildStatus::Active,
                deposit: 0,
                registered_at: 0,
            };
            ChildRegistrations::<Runtime>::insert(child, record);
        }
        FamilyChildren::<Runtime>::insert(
            &family_account,
            frame_support::BoundedVec::truncate_from(children),
        );
        FamilyGraceStart::<Runtime>::insert(&family_account, 0);
    }
}

/// All children, each reported by every validator, are weighed in 17 blocks that have nine tenths of their
/// computation left for transactions.
#[test]
fn the_largest_round_of_weights_takes_seventeen_blocks_and_little_of_each() {
    let bucket_blocks: u32 = <Runtime as pallet_arion::Config>::WeightBucketBlocks::get();
    chain("local-4").execute_with(|| {
        full_network();
        for validator in [Alice, sp_keyring::Sr25519Keyring::Bob, sp_keyring::Sr25519Keyring::Charlie] {
            let updates: Vec<_> = (0..children_max()).map(|n| (numbered(n), quality())).collect();
            assert_ok!(Arion::submit_node_quality(signed(validator), 0, updates.try_into().unwrap()));
        }
        // Blocks of local networks have half the time, and never so many miners.
        let share = if cfg!(feature = "fast-runtime") { 5 } else { 10 };
        let most = RuntimeBlockWeights::get().max_block / share;
        let mut blocks = 0;
        loop {
            System::set_block_number(bucket_blocks + blocks);
            let weight = Arion::on_initialize(System::block_number());
            assert!(weight.all_lte(most), "{weight} of {most}");
            blocks += 1;
            if !CurrentWeightRound::<Runtime>::exists() {
                break;
            }
        }
        assert_eq!((blocks, CurrentWeightBucket::<Runtime>::get()), (17, 0));
        assert_eq!(NodeWeightByChild::<Runtime>::iter().count(), children_max());
        assert_eq!(
            FamilyWeight::<Runtime>::iter_values().collect::<Vec<_>>(),
            vec![500; children_max() / 32]
        );

        let (first, next) = Arion::ranking(0);
        assert_eq!((first.len(), next), (100, Some(100)));
        let (mut ranked, mut cursor) = (first, next);
        while let Some(from) = cursor {
            let (page, next) = Arion::ranking(from);
            ranked.extend(page);
            cursor = next;
        }
        assert_eq!(ranked.len(), children_max());
        assert!(ranked.windows(2).all(|pair| pair[0].0 < pair[1].0), "equal weights come by account");
    });
}

#[test]
fn validators_vote_with_the_stake_behind_them() {
    use sp_keyring::Sr25519Keyring::{Bob, Charlie, Eve};
    let votes = <Runtime as pallet_arion::Config>::ValidatorVotes::get;
    chain("local-3").execute_with(|| {
        let equal = votes();
        assert_eq!(equal.len(), 3);
        for (who, votes) in &equal {
            assert_eq!(*votes, equal[0].1, "equal stakes have equal votes");
            assert!((*votes * MILLI_HIPP).abs_diff(Staking::eras_stakers(0, who).total) < MILLI_HIPP);
        }
        assert!(equal[0].1 >= 1_000);

        session();
        let value = 1_000_000 * HIPP;
        assert_ok!(Staking::bond(signed(Eve), value, RewardDestination::Staked));
        assert_ok!(Staking::nominate(signed(Eve), vec![account(Bob).into()]));
        until_era(1);
        let of = |who| votes().into_iter().find(|(voter, _)| *voter == account(who)).unwrap().1;
        assert_eq!(of(Bob), of(Charlie) + value / MILLI_HIPP);
    });
}

#[test]
fn attestations_come_in_pages() {
    chain("local-1").execute_with(|| {
        let record = |shard: u8| arion_types::AttestationRecord {
            shard_hash: [shard; 32],
            miner_uid: 0,
            result: arion_types::AttestationResult::Passed,
            challenge_seed: [0; 32],
            block_number: 0,
            timestamp: 0,
            warden_pubkey: [0; 32],
            signature: [0; 64],
            merkle_proof_sig_hash: [0; 32],
            warden_id: Default::default(),
        };
        let records: Vec<_> = (0..=249).map(record).collect();
        pallet_arion::AttestationsByBucket::<Runtime>::insert(
            7,
            frame_support::BoundedVec::truncate_from(records.clone()),
        );
        assert_eq!(Arion::attestations(7, 0), (records[..100].to_vec(), Some(100)));
        assert_eq!(Arion::attestations(7, 100), (records[100..200].to_vec(), Some(200)));
        assert_eq!(Arion::attestations(7, 200), (records[200..].to_vec(), None));
        assert_eq!(Arion::attestations(7, u32::MAX), (vec![], None));
        assert_eq!(Arion::attestations(8, 0), (vec![], None));
    });
}
