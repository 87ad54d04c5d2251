//! An account becomes an owner, and leaves.

use arion_types::{Lane, NodeType};
use frame_support::{assert_noop, assert_ok, traits::fungible::InspectHold};

use crate::{Error, Event, HoldReason, OwnerNodes, mock::*};

fn held(n: u8) -> Balance {
    Balances::balance_on_hold(&HoldReason::OwnerDeposit.into(), &account(n))
}

#[test]
fn an_owner_puts_down_a_deposit_and_gets_it_back() {
    story(|| {
        assert_ok!(Registration::register_owner_node(RuntimeOrigin::signed(account(1)), Lane::Storage));
        assert_eq!(held(1), OWNER_DEPOSIT);
        assert_eq!(OwnerNodes::<Test>::get(account(1)).unwrap().lane, Lane::Storage);
        System::assert_last_event(
            Event::OwnerNodeRegistered { owner: account(1), lane: Lane::Storage, deposit: OWNER_DEPOSIT }
                .into(),
        );
        assert_ok!(Registration::deregister_owner_node(RuntimeOrigin::signed(account(1))));
        assert_eq!(held(1), 0);
        assert!(!OwnerNodes::<Test>::contains_key(account(1)));
    });
}

#[test]
fn the_same_account_twice_a_stranger_and_a_poor_account_are_refused() {
    story(|| {
        assert_ok!(Registration::register_owner_node(RuntimeOrigin::signed(account(1)), Lane::Storage));
        assert_noop!(
            Registration::register_owner_node(RuntimeOrigin::signed(account(1)), Lane::Compute),
            Error::<Test>::OwnerAlreadyRegistered
        );
        assert_noop!(
            Registration::deregister_owner_node(RuntimeOrigin::signed(account(2))),
            Error::<Test>::OwnerNotRegistered
        );
        assert_noop!(
            Registration::register_owner_node(RuntimeOrigin::signed(account(200)), Lane::Storage),
            Error::<Test>::InsufficientDeposit
        );
    });
}

#[test]
fn there_are_at_most_so_many_owners() {
    story(|| {
        for n in 1..=OWNERS_MAX as u8 {
            assert_ok!(Registration::register_owner_node(RuntimeOrigin::signed(account(n)), Lane::Storage));
        }
        let late = RuntimeOrigin::signed(account(OWNERS_MAX as u8 + 1));
        assert_noop!(
            Registration::register_owner_node(late.clone(), Lane::Storage),
            Error::<Test>::TooManyOwners
        );
        assert_ok!(Registration::deregister_owner_node(RuntimeOrigin::signed(account(1))));
        assert_ok!(Registration::register_owner_node(late, Lane::Storage));
    });
}

#[test]
fn an_owner_with_nodes_or_miners_cannot_leave() {
    story(|| {
        let owner = RuntimeOrigin::signed(account(1));
        assert_ok!(Registration::register_owner_node(owner.clone(), Lane::Storage));
        let key = node(1);
        assert_ok!(Registration::register_node(
            owner.clone(),
            NodeType::Gateway,
            id(&key),
            consent(&key, &account(1), NodeType::Gateway)
        ));
        assert_noop!(Registration::deregister_owner_node(owner.clone()), Error::<Test>::OwnerHasNodes);
        assert_ok!(Registration::deregister_node(owner.clone(), id(&key)));
        InUse::set(vec![account(1)]);
        assert_noop!(Registration::deregister_owner_node(owner.clone()), Error::<Test>::OwnerInUse);
        InUse::set(Vec::new());
        assert_ok!(Registration::deregister_owner_node(owner));
    });
}
