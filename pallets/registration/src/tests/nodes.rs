//! Service nodes come with the consent of their key, and go.

use arion_types::{Lane, NodeType, registration::node_message};
use frame_support::{assert_noop, assert_ok, traits::fungible::InspectHold};
use sp_core::Pair;

use crate::{Error, Event, HoldReason, NodeNonces, Nodes, mock::*};

fn owner(n: u8) -> RuntimeOrigin {
    let origin = RuntimeOrigin::signed(account(n));
    assert_ok!(Registration::register_owner_node(origin.clone(), Lane::Storage));
    origin
}

fn held(n: u8) -> Balance {
    Balances::balance_on_hold(&HoldReason::NodeDeposit.into(), &account(n))
}

#[test]
fn a_node_is_registered_with_its_keys_consent() {
    story(|| {
        let origin = owner(1);
        for (n, node_type, lane) in [
            (1, NodeType::Gateway, Lane::Storage),
            (2, NodeType::ComputeMiner, Lane::Compute),
            (3, NodeType::Warden, Lane::Storage),
        ] {
            let key = node(n);
            let sig = consent(&key, &account(1), node_type);
            assert_ok!(Registration::register_node(origin.clone(), node_type, id(&key), sig));
            let record = Nodes::<Test>::get(id(&key)).unwrap();
            assert_eq!((record.owner, record.node_type, record.lane), (account(1), node_type, lane));
            assert_eq!(NodeNonces::<Test>::get(id(&key)), 1);
            System::assert_last_event(
                Event::NodeRegistered {
                    owner: account(1),
                    node_id: id(&key),
                    node_type,
                    deposit: NODE_DEPOSIT,
                }
                .into(),
            );
        }
        assert_eq!(held(1), 3 * NODE_DEPOSIT);
        let key = node(4);
        let sig = consent(&key, &account(1), NodeType::Gateway);
        assert_noop!(
            Registration::register_node(origin, NodeType::Gateway, id(&key), sig),
            Error::<Test>::TooManyNodes
        );
    });
}

/// Whatever service its owner came for.
#[test]
fn a_node_is_in_the_lane_of_its_type() {
    story(|| {
        let origin = RuntimeOrigin::signed(account(1));
        assert_ok!(Registration::register_owner_node(origin.clone(), Lane::Compute));
        for (n, node_type, lane) in [
            (1, NodeType::Validator, Lane::Storage),
            (2, NodeType::Warden, Lane::Storage),
            (3, NodeType::ComputeMiner, Lane::Compute),
        ] {
            let sig = consent(&node(n), &account(1), node_type);
            assert_ok!(Registration::register_node(origin.clone(), node_type, id(&node(n)), sig));
            assert_eq!(Nodes::<Test>::get(id(&node(n))).unwrap().lane, lane);
        }
        assert_eq!(NodeType::Gateway.lane(), Lane::Storage);
        assert_eq!(NodeType::StorageMiner.lane(), Lane::Storage);
    });
}

#[test]
fn storage_miners_are_sent_to_pallet_arion() {
    story(|| {
        let origin = owner(1);
        let key = node(1);
        let sig = consent(&key, &account(1), NodeType::StorageMiner);
        assert_noop!(
            Registration::register_node(origin, NodeType::StorageMiner, id(&key), sig),
            Error::<Test>::UseRegisterChild
        );
    });
}

#[test]
fn a_consent_counts_for_one_owner_one_type_one_chain_and_one_time() {
    story(|| {
        let (first, second) = (owner(1), owner(2));
        let key = node(1);
        let sig = consent(&key, &account(1), NodeType::Gateway);
        let register = |origin, node_type, sig| Registration::register_node(origin, node_type, id(&key), sig);
        let refused = Error::<Test>::InvalidNodeSignature;
        assert_noop!(register(second.clone(), NodeType::Gateway, sig), refused);
        assert_noop!(register(first.clone(), NodeType::Validator, sig), Error::<Test>::InvalidNodeSignature);
        let elsewhere = node_message(&[1; 32], account(1).as_ref(), NodeType::Gateway, &id(&key), 0);
        assert_noop!(
            register(first.clone(), NodeType::Gateway, key.sign(&elsewhere).0),
            Error::<Test>::InvalidNodeSignature
        );
        for bit in [0, 255, 256, 511] {
            let mut flipped = sig;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_noop!(
                register(first.clone(), NodeType::Gateway, flipped),
                Error::<Test>::InvalidNodeSignature
            );
        }
        assert_ok!(register(first.clone(), NodeType::Gateway, sig));
        let taken = consent(&key, &account(2), NodeType::Gateway);
        assert_noop!(
            register(second.clone(), NodeType::Gateway, taken),
            Error::<Test>::NodeIdAlreadyRegistered
        );

        assert_ok!(Registration::deregister_node(first.clone(), id(&key)));
        assert_noop!(register(first, NodeType::Gateway, sig), Error::<Test>::InvalidNodeSignature);
        assert_eq!(NodeNonces::<Test>::get(id(&key)), 2);
        let again = consent(&key, &account(2), NodeType::Gateway);
        assert_ok!(register(second, NodeType::Gateway, again));
    });
}

#[test]
fn only_its_owner_deregisters_a_node() {
    story(|| {
        let (first, second) = (owner(1), owner(2));
        let key = node(1);
        let sig = consent(&key, &account(1), NodeType::Gateway);
        assert_noop!(
            Registration::deregister_node(first.clone(), id(&key)),
            Error::<Test>::NodeNotRegistered
        );
        assert_ok!(Registration::register_node(first.clone(), NodeType::Gateway, id(&key), sig));
        assert_noop!(Registration::deregister_node(second, id(&key)), Error::<Test>::NotNodeOwner);
        assert_ok!(Registration::deregister_node(first, id(&key)));
        assert_eq!(held(1), 0);
    });
}

#[test]
fn an_account_that_is_no_owner_registers_nothing() {
    story(|| {
        let key = node(1);
        let sig = consent(&key, &account(1), NodeType::Gateway);
        assert_noop!(
            Registration::register_node(RuntimeOrigin::signed(account(1)), NodeType::Gateway, id(&key), sig),
            Error::<Test>::OwnerNotRegistered
        );
    });
}
