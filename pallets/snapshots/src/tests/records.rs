//! Snapshots come, are replaced, and go.

use arion_types::{Snapshot, snapshot::snapshot_message};
use frame_support::{assert_noop, assert_ok, traits::fungible::InspectHold};
use sp_core::Pair;

use crate::{Error, Event, HoldReason, Snapshots as Records, mock::*};

fn held(n: u8) -> Balance {
    Balances::balance_on_hold(&HoldReason::SnapshotDeposit.into(), &account(n))
}

#[test]
fn a_newer_snapshot_takes_the_place_and_the_deposit() {
    story(|| {
        assert_ok!(commit(1, 1, snapshot(5)));
        assert_eq!(held(1), DEPOSIT);
        let (locator, depositor) = (locator(1), account(1));
        System::assert_last_event(
            Event::SnapshotCommitted { locator, snapshot: snapshot(5), depositor }.into(),
        );
        System::set_block_number(7);
        assert_ok!(commit(1, 1, snapshot(6)));
        assert_eq!(held(1), DEPOSIT);
        let record = Records::<Test>::get(locator).unwrap();
        assert_eq!((record.snapshot, record.depositor, record.committed_at), (snapshot(6), account(1), 7));
        // Somebody else pays for the next one.
        assert_ok!(commit(2, 1, snapshot(8)));
        assert_eq!((held(1), held(2)), (0, DEPOSIT));
        // Locators have nothing to do with each other.
        assert_ok!(commit(2, 2, snapshot(1)));
        assert_eq!(held(2), 2 * DEPOSIT);
    });
}

#[test]
fn older_and_equal_ones_are_refused() {
    story(|| {
        assert_ok!(commit(1, 1, snapshot(5)));
        for sequence in [0, 4, 5] {
            assert_noop!(commit(1, 1, snapshot(sequence)), Error::<Test>::SequenceNotIncreasing);
            assert_noop!(remove(1, 1, sequence), Error::<Test>::SequenceNotIncreasing);
        }
    });
}

#[test]
fn only_the_key_of_the_locator_signs_and_only_this() {
    story(|| {
        let newest = snapshot(5);
        let by = |n: u8, snapshot: &Snapshot, genesis: [u8; 32]| {
            key(n).sign(&snapshot_message(&genesis, &locator(1), snapshot)).0
        };
        for signature in [
            by(2, &newest, GENESIS),
            by(1, &newest, [0; 32]),
            by(1, &Snapshot { sequence: 6, ..newest }, GENESIS),
            by(1, &Snapshot { root: [0; 32], ..newest }, GENESIS),
            by(1, &Snapshot { root_len: 101, ..newest }, GENESIS),
            by(1, &Snapshot { epoch: 2, ..newest }, GENESIS),
            key(1).sign(&snapshot_message(&GENESIS, &locator(2), &newest)).0,
            [0; 64],
        ] {
            let sender = RuntimeOrigin::signed(account(1));
            assert_noop!(
                Snapshots::commit_snapshot(sender, locator(1), newest, signature),
                Error::<Test>::InvalidLocatorSignature
            );
        }
        assert_ok!(commit(1, 1, newest));
        let commitment = by(1, &snapshot(6), GENESIS);
        assert_noop!(
            Snapshots::remove_snapshot(RuntimeOrigin::signed(account(1)), locator(1), 6, commitment),
            Error::<Test>::InvalidLocatorSignature
        );
    });
}

#[test]
fn who_cannot_pay_changes_nothing() {
    story(|| {
        assert_noop!(commit(200, 1, snapshot(1)), Error::<Test>::InsufficientDeposit);
        assert_ok!(commit(1, 1, snapshot(1)));
        assert_noop!(commit(200, 1, snapshot(2)), Error::<Test>::InsufficientDeposit);
        assert_eq!(held(1), DEPOSIT);
    });
}

/// The deposit that becomes free pays for the one that is due.
#[test]
fn an_account_with_nothing_else_goes_on() {
    story(|| {
        let poor = account(100);
        assert_ok!(Balances::transfer_allow_death(
            RuntimeOrigin::signed(account(1)),
            poor.clone(),
            DEPOSIT + 1
        ));
        assert_ok!(commit(100, 1, snapshot(1)));
        assert_ok!(commit(100, 1, snapshot(2)));
        assert_eq!(held(100), DEPOSIT);
    });
}

#[test]
fn a_record_is_removed_by_its_key_and_the_deposit_goes_to_who_paid_it() {
    story(|| {
        assert_noop!(remove(1, 1, 1), Error::<Test>::SnapshotNotFound);
        assert_ok!(commit(1, 1, snapshot(5)));
        assert_ok!(remove(2, 1, 6));
        assert_eq!(held(1), 0);
        assert!(!Records::<Test>::contains_key(locator(1)));
        System::assert_last_event(
            Event::SnapshotRemoved { locator: locator(1), depositor: account(1) }.into(),
        );
        // What came after the removal is not removed by it.
        assert_ok!(commit(1, 1, snapshot(7)));
        assert_noop!(remove(2, 1, 6), Error::<Test>::SequenceNotIncreasing);
    });
}
