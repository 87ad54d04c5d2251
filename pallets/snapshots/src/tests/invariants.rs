//! The check of the invariants finds what breaks them.

use frame_support::{
    assert_ok,
    traits::{fungible::MutateHold, tokens::Precision},
};
use sp_runtime::TryRuntimeError;

use crate::{HoldReason, Snapshots as Records, mock::*};

/// What the check says of a chain with a snapshot, and this.
fn found(break_it: impl FnOnce()) -> Result<(), TryRuntimeError> {
    chain().execute_with(|| {
        assert_ok!(commit(1, 1, snapshot(1)));
        break_it();
        Snapshots::do_try_state()
    })
}

#[test]
fn a_sound_state_passes() {
    assert_eq!(found(|| ()), Ok(()));
}

#[test]
fn a_hold_that_no_record_explains() {
    let message = "what is held is not the sum of the deposits of snapshots";
    let reason = HoldReason::SnapshotDeposit.into();
    for n in [1, 2] {
        let hold = || Balances::hold(&reason, &account(n), UNIT).unwrap();
        assert_eq!(found(hold), Err(TryRuntimeError::Other(message)));
    }
    let release = || {
        assert_ok!(Balances::release(&reason, &account(1), UNIT, Precision::Exact));
    };
    assert_eq!(found(release), Err(TryRuntimeError::Other(message)));
}

#[test]
fn a_depositor_without_an_account() {
    let invent = || {
        let record = Records::<Test>::get(locator(1)).unwrap();
        Records::<Test>::insert(locator(2), crate::SnapshotRecord { depositor: account(200), ..record });
    };
    assert_eq!(found(invent), Err(TryRuntimeError::Other("who brought a snapshot has no account")));
}
