//! What a registration costs: free once, doubling with demand, halving with time.

use frame_support::{assert_noop, assert_ok, traits::fungible::InspectHold};
use sp_runtime::DispatchError;

use crate::{ChildRegistrations, GlobalNextDeposit, HoldReason, mock::*};

fn held(family: u8) -> Balance {
    Balances::balance_on_hold(&HoldReason::ChildDeposit.into(), &account(family))
}

#[test]
fn the_first_child_is_free_and_the_price_doubles_for_everybody() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(register(2, 21));
        assert_eq!((held(1), held(2), GlobalNextDeposit::<Test>::get()), (0, 0, 0));
        assert_eq!(Arion::next_deposit(), BASE_DEPOSIT);
        assert_ok!(register(1, 22));
        assert_ok!(register(2, 23));
        assert_ok!(register(1, 24));
        assert_eq!((held(1), held(2)), (5 * BASE_DEPOSIT, 2 * BASE_DEPOSIT));
        assert_eq!(GlobalNextDeposit::<Test>::get(), 8 * BASE_DEPOSIT);
        assert_eq!(ChildRegistrations::<Test>::get(account(24)).unwrap().deposit, 4 * BASE_DEPOSIT);
        System::assert_last_event(
            Event::ChildRegistered {
                family: account(1),
                child: account(24),
                node_id: node_id(24),
                deposit: 4 * BASE_DEPOSIT,
            }
            .into(),
        );
    });
}

#[test]
fn the_price_halves_per_full_period_down_to_the_base() {
    story(|| {
        assert_ok!(register(1, 20));
        for child in 21..24 {
            assert_ok!(register(1, child));
        }
        assert_eq!(Arion::next_deposit(), 8 * BASE_DEPOSIT);
        for (block, price) in [
            (HALVING_BLOCKS, 8),
            (1 + HALVING_BLOCKS, 4),
            (1 + 2 * HALVING_BLOCKS, 2),
            (1 + 3 * HALVING_BLOCKS, 1),
            (1 + 9 * HALVING_BLOCKS, 1),
        ] {
            run_to(block);
            assert_eq!(Arion::next_deposit(), price * BASE_DEPOSIT, "block {block}");
        }
    });
}

#[test]
fn a_free_registration_neither_doubles_the_price_nor_restarts_the_period() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(register(1, 21));
        assert_ok!(register(1, 22));
        run_to(HALVING_BLOCKS);
        assert_ok!(register(2, 23));
        run_to(1 + HALVING_BLOCKS);
        assert_eq!(Arion::next_deposit(), 2 * BASE_DEPOSIT);
    });
}

#[test]
fn the_free_slot_is_used_once_for_good() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_ok!(register(1, 21));
        assert_eq!(held(1), BASE_DEPOSIT);
    });
}

#[test]
fn the_deposit_stays_held_until_it_is_claimed() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(register(1, 21));
        assert_ok!(Arion::deregister_child(signed(1), account(21)));
        run_to(UNBONDING_BLOCKS);
        assert_eq!(held(1), BASE_DEPOSIT);
        run_to(1 + UNBONDING_BLOCKS);
        assert_eq!(held(1), BASE_DEPOSIT);
        assert_ok!(Arion::claim_unbonded(signed(1), account(21)));
        assert_eq!(held(1), 0);
        System::assert_last_event(
            Event::ChildUnbonded {
                family: account(1),
                child: account(21),
                node_id: node_id(21),
                amount: BASE_DEPOSIT,
            }
            .into(),
        );
    });
}

#[test]
fn a_family_without_funds_gets_its_free_child_and_no_more() {
    story(|| {
        Families::set(vec![account(50)]);
        assert_ok!(register(50, 20));
        assert_noop!(register(50, 21), Error::InsufficientDeposit);
    });
}

#[test]
fn lockup_off_means_no_deposit_and_no_unbonding_and_leaves_old_deposits_alone() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(register(1, 21));
        assert_ok!(Arion::set_lockup_enabled(RuntimeOrigin::root(), false));
        System::assert_last_event(Event::LockupEnabledSet { enabled: false }.into());
        assert_ok!(register(1, 22));
        assert_eq!((held(1), Arion::next_deposit()), (BASE_DEPOSIT, 2 * BASE_DEPOSIT));
        assert_ok!(Arion::deregister_child(signed(1), account(21)));
        assert_ok!(Arion::claim_unbonded(signed(1), account(21)));
        assert_eq!(held(1), 0);
        assert_ok!(Arion::set_lockup_enabled(RuntimeOrigin::root(), true));
        assert_ok!(register(1, 23));
        assert_eq!(held(1), 2 * BASE_DEPOSIT);
    });
}

#[test]
fn the_admin_sets_the_floor_and_nobody_else() {
    story(|| {
        assert_ok!(Arion::set_base_child_deposit(RuntimeOrigin::root(), 3 * BASE_DEPOSIT));
        System::assert_last_event(Event::BaseChildDepositSet { deposit: 3 * BASE_DEPOSIT }.into());
        assert_ok!(register(1, 20));
        assert_ok!(register(1, 21));
        assert_eq!(held(1), 3 * BASE_DEPOSIT);
        assert_ok!(Arion::set_base_child_deposit(RuntimeOrigin::root(), 10 * BASE_DEPOSIT));
        assert_eq!(Arion::next_deposit(), 10 * BASE_DEPOSIT);
        assert_ok!(Arion::set_base_child_deposit(RuntimeOrigin::root(), 0));
        assert_eq!(Arion::next_deposit(), 6 * BASE_DEPOSIT);
        assert_noop!(Arion::set_base_child_deposit(signed(100), 1), DispatchError::BadOrigin);
        assert_noop!(Arion::set_lockup_enabled(signed(1), false), DispatchError::BadOrigin);
    });
}

#[test]
fn the_price_saturates_instead_of_wrapping() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(Arion::set_base_child_deposit(RuntimeOrigin::root(), Balance::MAX));
        assert_eq!(Arion::next_deposit(), Balance::MAX);
        assert_noop!(register(1, 21), Error::InsufficientDeposit);
        GlobalNextDeposit::<Test>::put(Balance::MAX);
        assert_ok!(Arion::set_base_child_deposit(RuntimeOrigin::root(), 0));
        run_to(1 + HALVING_BLOCKS);
        assert_eq!(Arion::next_deposit(), Balance::MAX / 2);
    });
}
