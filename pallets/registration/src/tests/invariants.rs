//! The check of the invariants finds what breaks them.

use arion_types::{Lane, NodeType};
use frame_support::{
    assert_ok,
    traits::{fungible::MutateHold, tokens::Precision},
};
use sp_runtime::TryRuntimeError;

use crate::{HoldReason, Nodes, OwnerNodes, mock::*};

/// What the check says of a chain with an owner and its gateway, and this.
fn found(break_it: impl FnOnce()) -> Result<(), TryRuntimeError> {
    chain().execute_with(|| {
        let owner = RuntimeOrigin::signed(account(1));
        assert_ok!(Registration::register_owner_node(owner.clone(), Lane::Storage));
        let sig = consent(&node(1), &account(1), NodeType::Gateway);
        assert_ok!(Registration::register_node(owner, NodeType::Gateway, id(&node(1)), sig));
        break_it();
        Registration::do_try_state()
    })
}

#[test]
fn a_sound_state_passes() {
    assert_eq!(found(|| ()), Ok(()));
}

#[test]
fn a_hold_that_no_record_explains() {
    for (reason, message) in [
        (HoldReason::OwnerDeposit, "what is held is not the owner's deposit"),
        (HoldReason::NodeDeposit, "what is held is not the sum of the deposits of the owner's nodes"),
    ] {
        // Of the owner, and of an account that is none.
        for n in [1, 2] {
            let hold = || Balances::hold(&reason.into(), &account(n), UNIT).unwrap();
            assert_eq!(found(hold), Err(TryRuntimeError::Other(message)));
        }
        let release = || {
            assert_ok!(Balances::release(&reason.into(), &account(1), UNIT, Precision::Exact));
        };
        assert_eq!(found(release), Err(TryRuntimeError::Other(message)));
    }
}

#[test]
fn an_owner_without_an_account() {
    let invent = || {
        let record = OwnerNodes::<Test>::get(account(1)).unwrap();
        OwnerNodes::<Test>::insert(account(50), crate::OwnerRecord { nodes: 0, ..record });
    };
    assert_eq!(found(invent), Err(TryRuntimeError::Other("an owner has no account")));
}

#[test]
fn a_node_in_another_lane_than_its_types() {
    let move_it = || {
        Nodes::<Test>::mutate(id(&node(1)), |record| record.as_mut().unwrap().lane = Lane::Compute);
    };
    let message = "a node is not in the lane of its type";
    assert_eq!(found(move_it), Err(TryRuntimeError::Other(message)));
}
