//! Credits, storage and a service through the pallets as they are configured here.

use arion_types::{Lane, NodeType, registration::node_message};
use frame_support::{
    assert_noop, assert_ok,
    dispatch::DispatchResultWithPostInfo,
    traits::{Get, Hooks, InstanceFilter, TypedGet},
    weights::Weight,
};
use pallet_marketplace::{
    CREDIT, Call, Error, ServiceKind,
    types::{AgreementStatus, GIB, ServiceTerms, UsageUpdate},
};
use sp_core::{Pair, ed25519};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Eve, Ferdie};

use super::{GENESIS, account, chain, signed};
use crate::{
    Balances, Marketplace, Registration, Runtime, RuntimeCall, RuntimeOrigin, System, Utility,
    configs::ProxyType,
    constants::HIPP,
    rewards::{StakersPotAccount, TreasuryAccount},
};

const TIB: u64 = 1_024 * GIB;

/// A constant of the marketplace here.
macro_rules! Config {
    ($name:ident) => {
        <Runtime as pallet_marketplace::Config>::$name
    };
}

fn node(owner: Sr25519Keyring, node_type: NodeType, seed: u8) -> [u8; 32] {
    let key = ed25519::Pair::from_seed(&[seed; 32]);
    let id = key.public().0;
    let message = node_message(&GENESIS, account(owner).as_ref(), node_type, &id, 0);
    Registration::register_node(signed(owner), node_type, id, key.sign(&message).0).unwrap();
    id
}

/// Goes on to a block; of the pallets' hooks only the marketplace's run, and only there.
fn jump_to(block: u32) {
    let before = System::block_number();
    frame_system::BlockHash::<Runtime>::insert(before, sp_core::H256::repeat_byte(7));
    System::set_block_number(block);
    Marketplace::on_initialize(block);
    Marketplace::on_idle(block, Weight::MAX);
}

fn free(account: crate::AccountId) -> u128 {
    Balances::free_balance(account)
}

#[test]
fn a_client_stores_and_everybody_is_paid() {
    chain("local-3").execute_with(|| {
        let issued = Balances::total_issuance();
        let (pot, treasury) = (free(StakersPotAccount::get()), free(TreasuryAccount::get()));
        assert_ok!(Registration::register_owner_node(signed(Eve), Lane::Storage));
        let gateway = node(Eve, NodeType::Gateway, 1);
        let before = free(account(Dave));
        assert_ok!(Marketplace::buy_credits(signed(Dave), account(Dave), 100 * CREDIT, 100 * HIPP));
        assert_eq!(free(account(Dave)), before - 100 * HIPP);
        assert_ok!(Marketplace::authorize_gateway(signed(Dave), gateway, 20 * TIB));
        let updates = vec![UsageUpdate { account: account(Dave), bytes: 10 * TIB }];
        let commit = |owner| {
            let updates = updates.clone().try_into().unwrap();
            Marketplace::commit_usage(signed(owner), gateway, 1, [1; 32], 10 * TIB, updates)
        };
        assert_noop!(commit(Ferdie), Error::<Runtime>::NotGatewayOwner);
        assert_ok!(commit(Eve));

        let hour = <Config!(BlocksPerHour) as Get<u32>>::get();
        jump_to(1 + hour);
        let charged = Marketplace::agreement(&account(Dave)).unwrap().charged;
        assert_eq!(charged, 10 * 1_024 * 13_700_000, "ten TiB for an hour");
        let revenue = Marketplace::next_settlement().storage;
        assert_eq!(revenue, charged * HIPP / CREDIT, "the sweep came past");
        let period = Marketplace::next_settlement().block;
        jump_to(period.max(2 + hour));
        let settled = Marketplace::next_settlement();
        assert_eq!(free(StakersPotAccount::get()) - pot, revenue * 30 / 100);
        assert_eq!(free(TreasuryAccount::get()) - treasury, revenue * 10 / 100);
        // No family has a weight yet: the miners' share waits for the next period.
        assert_eq!(settled.carried, revenue * 60 / 100);
        assert_eq!(Marketplace::agreement(&account(Dave)).unwrap().status, AgreementStatus::Active);
        pallet_arion::FamilyWeight::<Runtime>::insert(account(Eve), 3);
        pallet_arion::FamilyWeight::<Runtime>::insert(account(Ferdie), 1);
        let second = Marketplace::next_settlement();
        assert!(second.storage > 0);
        jump_to(second.block);
        let [eve, ferdie] = [Eve, Ferdie].map(|who| Marketplace::claimable(&account(who)));
        assert_eq!(eve, 3 * ferdie);
        assert_eq!(eve + ferdie, second.storage * 60 / 100 + second.carried);
        assert_eq!(Balances::total_issuance(), issued);
    });
}

/// What docs/spec/marketplace.md says of sub-accounts: an agreement of its own, under its principal's signature.
#[test]
fn a_sub_account_stores_for_itself() {
    chain("local-1").execute_with(|| {
        assert_ok!(Registration::register_owner_node(signed(Eve), Lane::Storage));
        let gateway = node(Eve, NodeType::Gateway, 1);
        let project: crate::AccountId = pallet_utility::derivative_account_id(account(Dave), 7);
        let derived = |who, call: RuntimeCall| Utility::as_derivative(signed(who), 7, Box::new(call));
        let authorize = || RuntimeCall::from(Call::authorize_gateway { gateway, bytes_max: TIB });
        let revoke = || RuntimeCall::from(Call::revoke_gateway { gateway });
        let fails = |result: DispatchResultWithPostInfo, error: Error<Runtime>| {
            assert_eq!(result.unwrap_err().error, error.into());
        };

        fails(derived(Dave, authorize()), Error::NotEnoughCredits);
        assert_ok!(Marketplace::buy_credits(signed(Dave), project.clone(), 10 * CREDIT, 10 * HIPP));
        // Others with the same index are somebody else, and so is the principal itself.
        fails(derived(Ferdie, authorize()), Error::NotEnoughCredits);
        assert_noop!(
            Marketplace::authorize_gateway(signed(Dave), gateway, TIB),
            Error::<Runtime>::NotEnoughCredits
        );
        assert_ok!(derived(Dave, authorize()));
        let updates = vec![UsageUpdate { account: project.clone(), bytes: TIB }].try_into().unwrap();
        assert_ok!(Marketplace::commit_usage(signed(Eve), gateway, 1, [1; 32], TIB, updates));
        jump_to(1 + <Config!(BlocksPerHour) as Get<u32>>::get());
        let agreement = Marketplace::agreement(&project).unwrap();
        assert_eq!((agreement.bytes, agreement.charged), (TIB, 1_024 * 13_700_000), "a TiB for an hour");
        assert!(Marketplace::agreement(&account(Dave)).is_none());

        fails(derived(Ferdie, revoke()), Error::AgreementNotFound);
        assert_noop!(Marketplace::revoke_gateway(signed(Dave), gateway), Error::<Runtime>::AgreementNotFound);
        assert_ok!(derived(Dave, revoke()));
        assert!(Marketplace::agreement(&project).is_none());

        // What is left is its own, and comes back by way of it.
        let left = Marketplace::balance(&project).available;
        assert_eq!(left, 10 * CREDIT - 1_024 * 13_700_000);
        assert_ok!(derived(Dave, Call::refund_credits { credits: left }.into()));
        assert_eq!(free(project.clone()), left * HIPP / CREDIT);
        let back = pallet_balances::Call::transfer_all { dest: account(Dave).into(), keep_alive: false };
        assert_ok!(derived(Dave, back.into()));
        assert_eq!(free(project), 0);
    });
}

#[test]
fn a_service_is_assigned_by_the_validators_and_paid() {
    chain("local-3").execute_with(|| {
        assert_ok!(Registration::register_owner_node(signed(Ferdie), Lane::Compute));
        let worker = node(Ferdie, NodeType::ComputeMiner, 2);
        let gateway = node(Ferdie, NodeType::Gateway, 3);
        let terms = ServiceTerms {
            kind: ServiceKind::VirtualMachine,
            name: b"vm.small hour".to_vec().try_into().unwrap(),
            price: CREDIT,
            delivery_blocks: 100,
        };
        assert_noop!(
            Marketplace::set_service(signed(Alice), 1, Some(terms.clone())),
            sp_runtime::DispatchError::BadOrigin
        );
        assert_ok!(Marketplace::set_service(RuntimeOrigin::root(), 1, Some(terms)));
        assert_ok!(Marketplace::buy_credits(signed(Dave), account(Dave), 10 * CREDIT, 10 * HIPP));
        assert_ok!(Marketplace::request_service(signed(Dave), 1, 10, [1; 32], 10 * CREDIT));
        jump_to(2);
        let assign = |validator, node| Marketplace::assign_miner(signed(validator), 0, node);
        assert_noop!(assign(Dave, worker), sp_runtime::DispatchError::BadOrigin);
        assert_noop!(assign(Alice, gateway), Error::<Runtime>::NotServiceNode);
        assert_ok!(assign(Alice, worker));
        assert_noop!(Marketplace::accept_request(signed(Ferdie), 0), Error::<Runtime>::WrongRequestStatus);
        assert_ok!(assign(Charlie, worker));
        assert_ok!(Marketplace::accept_request(signed(Ferdie), 0));
        assert_ok!(Marketplace::report_delivery(signed(Ferdie), 0, [2; 32]));
        assert_ok!(Marketplace::confirm_delivery(signed(Dave), 0));
        let before = free(account(Ferdie));
        assert_ok!(Marketplace::claim(signed(Bob), account(Ferdie)));
        assert_eq!(free(account(Ferdie)) - before, 6 * HIPP);
        assert_eq!(Marketplace::next_settlement().services, 10 * HIPP);
    });
}

#[test]
fn proxies_that_move_no_alpha_spend_no_credits() {
    let call = |call: Call<Runtime>| RuntimeCall::from(call);
    let claim = call(Call::claim { account: account(Bob) });
    let buy = call(Call::buy_credits { beneficiary: account(Bob), credits: 1, alpha_max: 1 });
    let request = call(Call::request_service { service: 1, quantity: 1, spec: [0; 32], credits_max: 1 });
    let authorize = call(Call::authorize_gateway { gateway: [1; 32], bytes_max: 1 });
    let refund = call(Call::refund_credits { credits: 1 });
    let accept = call(Call::accept_request { request: 1 });
    for (proxy, allowed) in [
        (ProxyType::Any, [true; 6]),
        (ProxyType::NonTransfer, [true, false, false, false, true, true]),
        (ProxyType::Storage, [true, false, false, false, false, true]),
        (ProxyType::Staking, [false; 6]),
    ] {
        let found = [&claim, &buy, &request, &authorize, &refund, &accept].map(|call| proxy.filter(call));
        assert_eq!(found, allowed, "{proxy:?}");
    }
}
