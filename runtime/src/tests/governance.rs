//! Two thirds of the validators decide; nobody needs to be root.

use codec::Encode;
use frame_support::{
    assert_noop, assert_ok,
    dispatch::{DispatchResult, GetDispatchInfo},
    traits::{EnsureOrigin, InstanceFilter},
};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Ferdie};
use sp_keystore::{KeystoreExt, testing::MemoryKeystore};
use sp_runtime::{
    DispatchError,
    traits::{BlakeTwo256, Hash as _},
};

use super::{
    account,
    blocks::{self, block, session},
    chain, signed, validators,
};
use crate::{
    AccountId, Arion, Council, Marketplace, Runtime, RuntimeCall, RuntimeOrigin, System, Utility, Whitelist,
    configs::{
        ProxyType,
        governance::{EnsureGovernance, MOTION_BLOCKS},
    },
    constants::HIPP,
};

type Error = pallet_collective::Error<Runtime>;

/// A price of storage that is not the initial one.
const PRICE: u128 = 2 * HIPP / 100_000_000;

fn price() -> RuntimeCall {
    pallet_marketplace::Call::set_storage_price { price: PRICE }.into()
}

fn council() -> Vec<AccountId> {
    pallet_collective::Members::<Runtime>::get()
}

fn propose(by: Sr25519Keyring, threshold: u32, call: &RuntimeCall) -> DispatchResult {
    Council::propose(signed(by), threshold, Box::new(call.clone()), call.encoded_size() as u32)
        .map(|_| ())
        .map_err(|error| error.error)
}

fn vote(by: Sr25519Keyring, call: &RuntimeCall, index: u32, approve: bool) {
    assert_ok!(Council::vote(signed(by), BlakeTwo256::hash_of(call), index, approve));
}

fn close(call: &RuntimeCall, index: u32) -> DispatchResult {
    let weight = call.get_dispatch_info().call_weight;
    let length = call.encoded_size() as u32;
    Council::close(signed(Ferdie), BlakeTwo256::hash_of(call), index, weight, length)
        .map(|_| ())
        .map_err(|error| error.error)
}

/// What the newest motion that was carried out came to.
fn executed() -> Option<DispatchResult> {
    System::events().into_iter().rev().find_map(|record| match record.event {
        crate::RuntimeEvent::Council(pallet_collective::Event::Executed { result, .. }) => Some(result),
        _ => None,
    })
}

fn storage_price() -> u128 {
    pallet_marketplace::StoragePrice::<Runtime>::get().price
}

/// `call` as root, in one motion.
fn as_root(call: RuntimeCall) -> RuntimeCall {
    let allow = pallet_whitelist::Call::whitelist_call { call_hash: BlakeTwo256::hash_of(&call) };
    let act = pallet_whitelist::Call::dispatch_whitelisted_call_with_preimage { call: Box::new(call) };
    pallet_utility::Call::batch_all { calls: vec![allow.into(), act.into()] }.into()
}

#[test]
fn the_council_is_the_validators_of_the_session() {
    for (preset, members) in [("development", 1), ("local-2", 2), ("local-4", 4)] {
        chain(preset).execute_with(|| {
            assert_eq!(council(), validators());
            assert_eq!(council().len(), members);
            session();
            assert_eq!(council(), validators());
        });
    }
}

#[test]
fn a_validator_that_leaves_loses_seat_and_votes() {
    let mut externalities = chain("local-4");
    externalities.register_extension(KeystoreExt::new(MemoryKeystore::new()));
    externalities.execute_with(|| {
        session();
        block(1, || crate::Staking::chill(signed(Dave))).unwrap();
        // So long that the election in between takes the seat, so short that the motion is still open.
        let begun = blocks::era();
        while validators().len() == 4 {
            session();
            assert!(blocks::era() < begun + 4, "the election does not come");
            if validators().len() == 4 && pallet_collective::Proposals::<Runtime>::get().is_empty() {
                block(1, || {
                    assert_ok!(propose(Alice, 3, &price()));
                    vote(Dave, &price(), 0, true);
                });
            }
        }
        let mut seats = validators();
        seats.sort();
        assert_eq!(council(), seats);
        System::reset_events();
        vote(Alice, &price(), 0, true);
        let counted = System::events().into_iter().find_map(|record| match record.event {
            crate::RuntimeEvent::Council(pallet_collective::Event::Voted { yes, .. }) => Some(yes),
            _ => None,
        });
        assert_eq!(counted, Some(1), "without Dave's");
        assert_noop!(propose(Dave, 3, &as_root(price())), Error::NotMember);
    });
}

#[test]
fn two_thirds_set_a_price_and_fewer_do_not() {
    chain("local-4").execute_with(|| {
        let before = storage_price();
        assert_noop!(propose(Ferdie, 3, &price()), Error::NotMember);
        // Half: the motion passes, and may not do it.
        assert_ok!(propose(Alice, 2, &price()));
        vote(Alice, &price(), 0, true);
        vote(Bob, &price(), 0, true);
        assert_ok!(close(&price(), 0));
        assert_eq!(executed(), Some(Err(DispatchError::BadOrigin)));
        assert_eq!(storage_price(), before);

        assert_ok!(propose(Alice, 3, &price()));
        vote(Alice, &price(), 1, true);
        vote(Bob, &price(), 1, true);
        assert_noop!(close(&price(), 1), Error::TooEarly);
        vote(Charlie, &price(), 1, true);
        assert_ok!(close(&price(), 1));
        assert_eq!(executed(), Some(Ok(())));
        assert_eq!(storage_price(), PRICE);
    });
}

#[test]
fn who_does_not_vote_is_against() {
    chain("local-4").execute_with(|| {
        assert_ok!(propose(Alice, 3, &price()));
        vote(Alice, &price(), 0, true);
        vote(Bob, &price(), 0, true);
        System::set_block_number(System::block_number() + MOTION_BLOCKS);
        assert_ok!(close(&price(), 0));
        assert_eq!(executed(), None);
        assert_ne!(storage_price(), PRICE);
        assert!(pallet_collective::Proposals::<Runtime>::get().is_empty());
    });
}

#[test]
fn a_lone_validator_decides_at_once() {
    chain("development").execute_with(|| {
        assert_ok!(propose(Alice, 1, &price()));
        assert_eq!(storage_price(), PRICE);
    });
}

#[test]
fn a_motion_admits_wardens_and_payment_authorities() {
    chain("development").execute_with(|| {
        let warden = [7; 32];
        let admit = pallet_arion::Call::register_warden { warden_pubkey: warden };
        assert_ok!(propose(Alice, 1, &admit.into()));
        assert!(pallet_arion::RegisteredWardens::<Runtime>::contains_key(warden));
        let pay = pallet_marketplace::Call::add_payment_authority { authority: account(Bob) };
        assert_ok!(propose(Alice, 1, &pay.into()));
        assert!(pallet_marketplace::PaymentAuthorities::<Runtime>::contains_key(account(Bob)));
    });
}

#[test]
fn what_only_root_may_do_goes_through_the_whitelist() {
    chain("local-3").execute_with(|| {
        let code_hash = sp_core::H256::repeat_byte(9);
        let upgrade = RuntimeCall::from(frame_system::Call::authorize_upgrade { code_hash });
        let motion = as_root(upgrade.clone());
        // Not without the whitelist.
        assert_ok!(propose(Alice, 2, &upgrade));
        vote(Alice, &upgrade, 0, true);
        vote(Bob, &upgrade, 0, true);
        assert_ok!(close(&upgrade, 0));
        assert_eq!(executed(), Some(Err(DispatchError::BadOrigin)));
        assert!(System::authorized_upgrade().is_none());

        assert_ok!(propose(Alice, 2, &motion));
        vote(Alice, &motion, 1, true);
        vote(Charlie, &motion, 1, true);
        assert_ok!(close(&motion, 1));
        assert_eq!(executed(), Some(Ok(())));
        assert!(System::authorized_upgrade().is_some());

        // Nobody else reaches it.
        let call_hash = BlakeTwo256::hash_of(&upgrade);
        assert_noop!(Whitelist::whitelist_call(signed(Alice), call_hash), DispatchError::BadOrigin);
        assert_noop!(Whitelist::whitelist_call(RuntimeOrigin::root(), call_hash), DispatchError::BadOrigin);
        let error = Whitelist::dispatch_whitelisted_call_with_preimage(signed(Alice), Box::new(upgrade));
        assert!(error.is_err());
        assert_noop!(
            Council::set_members(RuntimeOrigin::root(), vec![account(Ferdie)], None, 3),
            DispatchError::BadOrigin
        );
        let calls = vec![price()];
        assert!(Utility::batch_all(signed(Alice), calls).is_err());
    });
}

#[test]
fn the_share_is_of_members_and_root_stays_root_where_there_is_one() {
    for (yes, members, may) in [(1, 1, true), (1, 2, false), (2, 3, true), (66, 100, false), (67, 100, true)]
    {
        let motion: RuntimeOrigin =
            pallet_collective::RawOrigin::<AccountId, ()>::Members(yes, members).into();
        assert_eq!(EnsureGovernance::try_origin(motion).is_ok(), may, "{yes} of {members}");
    }
    assert!(EnsureGovernance::try_origin(RuntimeOrigin::root()).is_ok());
    assert!(EnsureGovernance::try_origin(signed(Alice)).is_err());
    chain("local-4").execute_with(|| {
        assert_noop!(Marketplace::set_storage_price(signed(Alice), PRICE), DispatchError::BadOrigin);
        assert_ok!(Marketplace::set_storage_price(RuntimeOrigin::root(), PRICE));
        assert_ok!(Arion::set_lockup_enabled(RuntimeOrigin::root(), true));
    });
}

#[test]
fn a_proxy_for_governance_votes_and_does_nothing_else() {
    let vote = RuntimeCall::from(pallet_collective::Call::vote {
        proposal: Default::default(),
        index: 0,
        approve: true,
    });
    let transfer = RuntimeCall::from(pallet_balances::Call::transfer_all {
        dest: account(Bob).into(),
        keep_alive: false,
    });
    assert!(ProxyType::Governance.filter(&vote));
    for call in [transfer, price(), pallet_staking::Call::chill {}.into()] {
        assert!(!ProxyType::Governance.filter(&call), "{call:?}");
    }
    for proxy in [ProxyType::NonTransfer, ProxyType::Storage, ProxyType::Staking] {
        assert!(!proxy.filter(&vote), "{proxy:?}");
        assert!(!proxy.is_superset(&ProxyType::Governance) && !ProxyType::Governance.is_superset(&proxy));
    }
}
