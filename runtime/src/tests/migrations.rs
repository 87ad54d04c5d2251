//! A chain of the first version is upgraded: nothing of it is lost, and it goes on.
//!
//! Its state was made by that version, see `migrations/README.md`.

use std::collections::BTreeMap;

use frame_support::{
    assert_ok,
    traits::{
        GetStorageVersion, OnFinalize,
        fungible::{Inspect, InspectHold},
    },
};
use pallet_arion::ChildStatus;
use pallet_arion_runtime_api::runtime_decl_for_arion_api::ArionApi;
use sp_consensus_babe::digests::{CompatibleDigestItem, PreDigest, SecondaryPlainPreDigest};
use sp_core::{H256, Pair, ed25519};
use sp_keyring::{
    Ed25519Keyring,
    Sr25519Keyring::{Alice, Bob, Charlie, Dave, Eve, Ferdie},
};
use sp_runtime::{Digest, DigestItem, StateVersion, traits::Header as _};

use super::{
    account,
    blocks::{block, era, session, until_era},
    signed, validators,
};
use crate::{
    AccountId, AllPalletsWithSystem, Arion, Balance, Balances, Executive, Header, Marketplace, Runtime,
    RuntimeHoldReason, Session, SessionKeys, Staking, System, Timestamp, VERSION,
    constants::{HIPP, MILLI_HIPP, SLOT_MS},
};

/// Every item of the state: of a chain with the slots of this build.
const FIRST_CHAIN: &str = if cfg!(feature = "fast-runtime") {
    include_str!("migrations/fast.hex")
} else {
    include_str!("migrations/usual.hex")
};

/// What validator Charlie owns, too little for the least bond.
const LEFT_TO_CHARLIE: Balance = 600 * HIPP;
/// What the upgrade issues: existential deposits of the accounts of the stakers' pot, of rewards, of the treasury
/// and of the marketplace.
const ENDOWED: Balance = 4 * MILLI_HIPP;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    if hex == "-" {
        return Vec::new();
    }
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Keys and values of the first chain.
fn items() -> Vec<(Vec<u8>, Vec<u8>)> {
    FIRST_CHAIN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').unwrap())
        .map(|(key, value)| (bytes(key), bytes(value)))
        .collect()
}

/// The first chain, not upgraded yet.
fn first_chain() -> sp_io::TestExternalities {
    let mut externalities = sp_io::TestExternalities::default();
    externalities.execute_with(|| {
        for (key, value) in items() {
            sp_io::storage::set(&key, &value);
        }
    });
    externalities.commit_all().unwrap();
    externalities
}

/// Header of the next block.
fn next_header() -> Header {
    let slot = pallet_babe::CurrentSlot::<Runtime>::get() + 1;
    let author =
        PreDigest::SecondaryPlain(SecondaryPlainPreDigest { authority_index: (*slot % 3) as u32, slot });
    let logs = vec![<DigestItem as CompatibleDigestItem>::babe_pre_digest(author)];
    let number = System::block_number() + 1;
    let (parent, nothing) = (H256([0x11; 32]), H256::default());
    Header::new(number, nothing, nothing, parent, Digest { logs })
}

/// The first block with the new runtime, as a node runs it.
fn upgrade() {
    Executive::initialize_block(&next_header());
    Timestamp::set(crate::RuntimeOrigin::none(), *pallet_babe::CurrentSlot::<Runtime>::get() * SLOT_MS)
        .unwrap();
    let number = System::block_number();
    AllPalletsWithSystem::on_finalize(number);
    System::finalize();
    check();
}

/// The invariants of our pallets; `try-runtime` checks those of all.
fn check() {
    Arion::do_try_state().unwrap();
    crate::Registration::do_try_state().unwrap();
    Marketplace::do_try_state().unwrap();
}

/// What is held of whom and why, as it is stored: reasons are numbered by pallet.
fn holds() -> BTreeMap<AccountId, Vec<(RuntimeHoldReason, Balance)>> {
    pallet_balances::Holds::<Runtime>::iter()
        .map(|(account, holds)| (account, holds.into_iter().map(|hold| (hold.id, hold.amount)).collect()))
        .collect()
}

fn node_id(n: u8) -> [u8; 32] {
    ed25519::Pair::from_seed(&[n; 32]).public().0
}

fn child(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

#[test]
fn what_was_registered_is_still_there() {
    first_chain().execute_with(|| {
        assert_eq!(frame_system::LastRuntimeUpgrade::<Runtime>::get().unwrap().spec_version.0, 1);
        let (issued, before) = (Balances::total_issuance(), holds());
        upgrade();

        assert_eq!(Balances::total_issuance(), issued + ENDOWED);
        let after = holds();
        for (account, held) in &before {
            for hold in held {
                assert!(after[account].contains(hold), "{hold:?}");
            }
        }
        let deposits: Balance =
            Balances::balance_on_hold(&pallet_arion::HoldReason::ChildDeposit.into(), &account(Dave));
        assert!(deposits >= 100 * HIPP, "the first miner is free, three are not: {deposits}");

        for (family, children) in [(Dave, 1..=4u8), (Eve, 5..=7), (Ferdie, 8..=8)] {
            for n in children {
                let info = Runtime::child_by_node_id(node_id(n)).unwrap();
                assert_eq!((info.child, info.family), (child(n), account(family)));
            }
        }
        assert_eq!(Runtime::child_by_node_id(node_id(9)), None);
        let leaving = pallet_arion::ChildRegistrations::<Runtime>::get(child(9)).unwrap();
        assert!(matches!(leaving.status, ChildStatus::Unbonding { .. }));

        let nodes = [
            (101, Eve, arion_types::NodeType::Gateway),
            (102, Ferdie, arion_types::NodeType::ComputeMiner),
            (103, Alice, arion_types::NodeType::Validator),
        ];
        for (n, owner, node_type) in nodes {
            let node = pallet_registration::Nodes::<Runtime>::get(node_id(n)).unwrap();
            assert_eq!((node.owner, node.node_type), (account(owner), node_type));
            assert_eq!(node.lane, node_type.lane(), "all owners of the first chain came for storage");
        }
        let wardens: Vec<_> = pallet_arion::RegisteredWardens::<Runtime>::iter_keys().collect();
        assert_eq!(wardens.len(), 2);
        assert!(wardens.contains(&node_id(201)) && wardens.contains(&node_id(202)));

        let map = Runtime::current_map().unwrap();
        assert_eq!((map.epoch, map.miners.len()), (3, 8));
        assert_eq!([1, 2].map(|epoch| Runtime::map_at(epoch).unwrap().miners.len()), [4, 9]);
        assert_eq!(Runtime::attestations(0, 0).entries.len(), 12);
        assert!(pallet_arion::EpochAttestationCommitments::<Runtime>::contains_key(2));
    });
}

#[test]
fn what_is_new_begins_with_its_values_and_versions() {
    first_chain().execute_with(|| {
        upgrade();
        let last = frame_system::LastRuntimeUpgrade::<Runtime>::get().unwrap();
        assert_eq!(last.spec_version.0, VERSION.spec_version);
        assert_eq!(Arion::on_chain_storage_version(), 2);
        assert_eq!(crate::Registration::on_chain_storage_version(), 2);
        assert_eq!(Staking::on_chain_storage_version(), Staking::in_code_storage_version());
        assert_eq!(Marketplace::on_chain_storage_version(), Marketplace::in_code_storage_version());
        assert_eq!(crate::Offences::on_chain_storage_version(), crate::Offences::in_code_storage_version());
        assert_eq!(
            crate::Historical::on_chain_storage_version(),
            crate::Historical::in_code_storage_version()
        );

        use pallet_marketplace_runtime_api::runtime_decl_for_marketplace_api::MarketplaceApi;
        let prices = Runtime::prices();
        assert_eq!((prices.credit, prices.storage), (HIPP, 13_700_000));
        assert_eq!(Balances::balance(&Marketplace::account()), MILLI_HIPP);
        // What the last map says of blocks before the upgrade.
        assert_eq!(pallet_arion::EpochStarts::<Runtime>::get().into_inner(), [(1, 0), (2, 0), (3, 0)]);
    });
}

#[test]
fn validators_keep_their_keys_and_become_candidates_with_equal_stakes() {
    first_chain().execute_with(|| {
        let before = validators();
        assert_eq!(before, [Alice, Bob, Charlie].map(account));
        assert_eq!(Balances::free_balance(account(Charlie)), LEFT_TO_CHARLIE);
        upgrade();
        assert_eq!(validators(), before);

        let keys = |who: sp_keyring::Sr25519Keyring, grandpa: Ed25519Keyring| SessionKeys {
            babe: who.public().into(),
            grandpa: grandpa.public().into(),
            authority_discovery: who.public().into(),
            reporter: who.public().into(),
        };
        // Eve is no validator, but has keys.
        let all = [
            (Alice, Ed25519Keyring::Alice),
            (Bob, Ed25519Keyring::Bob),
            (Charlie, Ed25519Keyring::Charlie),
            (Eve, Ed25519Keyring::Eve),
        ];
        for (who, grandpa) in all {
            let keys = keys(who, grandpa);
            for id in <SessionKeys as sp_runtime::traits::OpaqueKeys>::key_ids() {
                let raw = sp_runtime::traits::OpaqueKeys::get_raw(&keys, *id);
                assert_eq!(Session::key_owner(*id, raw), Some(account(who)));
            }
            assert_eq!(pallet_session::NextKeys::<Runtime>::get(account(who)), Some(keys));
        }

        let stakes = [Alice, Bob, Charlie].map(|who| Staking::slashable_balance_of(&account(who)));
        assert_eq!(stakes, [crate::genesis::LOCAL_BOND, crate::genesis::LOCAL_BOND, 599 * HIPP - MILLI_HIPP]);
        assert_eq!(pallet_staking::Validators::<Runtime>::count(), 3);
        assert_eq!(pallet_bags_list::ListNodes::<Runtime>::count(), 3);
        assert_eq!(pallet_staking::MinimumValidatorCount::<Runtime>::get(), 2);
        // The poor one adds to its bond when it can.
        assert_ok!(Balances::transfer_allow_death(signed(Ferdie), account(Charlie).into(), 2_000 * HIPP));
        assert_ok!(Staking::bond_extra(signed(Charlie), 1_500 * HIPP));
    });
}

/// Sessions, elections, eras and maps go on; the set stays, and others can join.
#[test]
fn the_chain_goes_on() {
    first_chain().execute_with(|| {
        upgrade();
        let before = validators();
        let authorities = crate::Babe::authorities().to_vec();
        // Votes go by stake: the two with equal stakes agree, who has little does not matter.
        vote_for_the_fourth_map(Bob);
        vote_for_the_fourth_map(Charlie);
        assert_eq!(Arion::current_epoch(), 3);
        vote_for_the_fourth_map(Alice);
        assert_eq!(Arion::current_epoch(), 4);

        for _ in 0..3 {
            block(1, || ());
        }
        for _ in 0..3 {
            session();
            // An election may put them in another order.
            assert_eq!(sorted(validators()), sorted(before.clone()));
            check();
        }
        assert_eq!(sorted(crate::Babe::authorities().to_vec()), sorted(authorities));
        assert_eq!(crate::AuthorityDiscovery::current_authorities().len(), 3);
        super::assert_close(Staking::eras_stakers(0, &account(Alice)).own, crate::genesis::LOCAL_BOND);
        until_era(2);
        assert_eq!(validators().len(), 3);
        assert!(before.iter().all(|who| validators().contains(who)));
        check();

        // Eve's keys are upgraded too: she can stand for election with them.
        let bond = crate::genesis::LOCAL_BOND;
        assert_ok!(Staking::bond(signed(Eve), bond, pallet_staking::RewardDestination::Staked));
        assert_ok!(Staking::validate(signed(Eve), Default::default()));
        until_era(era() + 2);
        assert!(validators().contains(&account(Eve)));
        assert_eq!(validators().len(), 4);
    });
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

fn vote_for_the_fourth_map(validator: sp_keyring::Sr25519Keyring) {
    let map = Runtime::map_at(3).unwrap();
    let miners = map.miners.try_into().unwrap();
    assert_ok!(Arion::submit_crush_map(signed(validator), 4, map.params, miners));
}

#[test]
fn upgrading_twice_changes_nothing() {
    first_chain().execute_with(|| {
        upgrade();
        let once = sp_io::storage::root(StateVersion::V1);
        Executive::execute_on_runtime_upgrade();
        assert_eq!(sp_io::storage::root(StateVersion::V1), once);
    });
}

/// Chains between the two have three of the four keys.
#[test]
fn keys_of_the_second_version_are_upgraded_too() {
    super::chain("local-3").execute_with(|| {
        let all: Vec<_> = pallet_session::NextKeys::<Runtime>::iter().collect();
        for (who, keys) in &all {
            let key = pallet_session::NextKeys::<Runtime>::hashed_key_for(who);
            sp_io::storage::set(&key, &codec::Encode::encode(keys)[..96]);
        }
        let queued: Vec<_> = all
            .iter()
            .map(|(who, keys)| {
                (who.clone(), <[u8; 96]>::try_from(&codec::Encode::encode(keys)[..96]).unwrap())
            })
            .collect();
        frame_support::storage::unhashed::put(&pallet_session::QueuedKeys::<Runtime>::hashed_key(), &queued);
        Executive::execute_on_runtime_upgrade();
        // In the presets the last key is BABE's, as after an upgrade.
        assert_eq!(pallet_session::NextKeys::<Runtime>::iter().collect::<Vec<_>>(), all);
        let queued = pallet_session::QueuedKeys::<Runtime>::get();
        assert_eq!(queued.len(), 3);
        assert!(queued.iter().all(|(who, keys)| all.contains(&(who.clone(), keys.clone()))));
    });
}

/// A chain that began with this version needs no migration.
#[test]
fn a_new_chain_is_left_alone() {
    super::chain("local-3").execute_with(|| {
        session();
        let before = sp_io::storage::root(StateVersion::V1);
        Executive::execute_on_runtime_upgrade();
        assert_eq!(sp_io::storage::root(StateVersion::V1), before);
    });
}

/// Validators that own nothing cannot be candidates: the set stays as it is until enough others are.
#[test]
fn validators_without_means_stay_while_nobody_can_replace_them() {
    first_chain().execute_with(|| {
        for who in [Alice, Bob, Charlie] {
            assert_ok!(Balances::transfer_all(signed(who), account(Ferdie).into(), false));
        }
        let before = validators();
        upgrade();
        assert_eq!(pallet_staking::Validators::<Runtime>::count(), 0);
        for _ in 0..10 {
            session();
            assert_eq!(validators(), before);
        }
    });
}

#[cfg(feature = "try-runtime")]
mod checks {
    use frame_support::traits::{TryState, TryStateSelect};
    use frame_try_runtime::UpgradeCheckSelect;

    use super::{AllPalletsWithSystem, Executive, System, first_chain};

    /// Pallets whose storage is of the same version before and after.
    const UNCHANGED: [&str; 8] =
        ["System", "Timestamp", "Balances", "TransactionPayment", "Authorship", "Proxy", "Utility", "Sudo"];

    #[test]
    fn every_check_of_the_upgrade_passes() {
        first_chain().execute_with(|| {
            let number = System::block_number();
            let unchanged = UNCHANGED.map(|name| name.as_bytes().to_vec()).to_vec();
            let check = |select| <AllPalletsWithSystem as TryState<u32>>::try_state(number, select);
            check(TryStateSelect::Only(unchanged)).unwrap();
            // Maps have no starts yet.
            check(TryStateSelect::Only(vec![b"Arion".to_vec()])).unwrap_err();
            // A compute miner is in the lane of its owner.
            check(TryStateSelect::Only(vec![b"Registration".to_vec()])).unwrap_err();
            // `pre_upgrade` and `post_upgrade` of every step, then the state of all pallets.
            Executive::try_runtime_upgrade(UpgradeCheckSelect::All).unwrap();
            check(TryStateSelect::All).unwrap();
            Executive::try_runtime_upgrade(UpgradeCheckSelect::All).unwrap();
        });
    }
}
