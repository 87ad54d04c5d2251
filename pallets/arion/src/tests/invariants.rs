//! The check of the invariants finds what breaks them.

use frame_support::{
    assert_ok,
    traits::fungible::{Mutate, MutateHold},
};
use sp_runtime::TryRuntimeError;

use crate::{
    AttestationsByBucket, AuditCounts, AuditCountsByChild, CurrentAttestationBucket, FamilyChildren,
    HoldReason, mock::*,
};

/// What the check says of a chain with a child, an attestation, and this.
fn found(break_it: impl FnOnce()) -> Result<(), TryRuntimeError> {
    chain().execute_with(|| {
        assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(200)));
        assert_ok!(register(1, 20));
        run_to(25);
        assert_ok!(attest(2, vec![attestation(200, 1, 20)]));
        break_it();
        Arion::do_try_state()
    })
}

fn refused(message: &'static str) -> Result<(), TryRuntimeError> {
    Err(TryRuntimeError::Other(message))
}

#[test]
fn a_sound_state_passes() {
    assert_eq!(found(|| ()), Ok(()));
}

#[test]
fn a_hold_that_no_record_explains() {
    let message = "what is held is not the sum of the deposits";
    // Of a family that never had a deposit, and of an account that never was a family.
    for n in [1, 9] {
        let hold = || {
            assert_ok!(Balances::hold(&HoldReason::ChildDeposit.into(), &account(n), UNIT));
        };
        assert_eq!(found(hold), refused(message));
    }
    let lost = || {
        use_free_slot(2);
        assert_ok!(register(2, 21));
        let reason = HoldReason::ChildDeposit.into();
        let exact = frame_support::traits::tokens::Precision::Exact;
        assert_ok!(Balances::release(&reason, &account(2), UNIT, exact));
        Balances::set_balance(&account(2), 0);
    };
    assert_eq!(found(lost), refused(message));
}

#[test]
fn a_child_that_its_family_has_twice() {
    let twice = || FamilyChildren::<Test>::mutate(account(1), |list| list.try_push(account(20)).unwrap());
    assert_eq!(found(twice), refused("a family has a child twice"));
}

#[test]
fn an_attestation_in_another_bucket_than_its_blocks() {
    let moved = || {
        run_to(35);
        AttestationsByBucket::<Test>::insert(3, AttestationsByBucket::<Test>::take(2));
        CurrentAttestationBucket::<Test>::put(3);
    };
    assert_eq!(found(moved), refused("an attestation is not in the bucket of its block"));
}

#[test]
fn counts_of_strangers_of_nothing_and_of_the_future() {
    let counts = AuditCounts { passed: 1, last_block: 20, ..Default::default() };
    for (child, counts, message) in [
        (21, counts, "audits are counted of an account that is no active child"),
        (20, AuditCounts { passed: 0, ..counts }, "counts without an audit are stored"),
        (20, AuditCounts { last_block: 26, ..counts }, "an audit is of a block that was not produced"),
    ] {
        let insert = || AuditCountsByChild::<Test>::insert(account(child), counts);
        assert_eq!(found(insert), refused(message));
    }
}
