//! A family takes a miner in and lets it go.

use arion_types::registration::registration_message;
use frame_support::{assert_noop, assert_ok};
use sp_core::Pair;

use crate::{
    ChildRegistrations, ChildStatus, FamilyChildren, FamilyCount, NodeIdNonce, NodeIdToChild,
    TotalActiveChildren, mock::*,
};

#[test]
fn a_registered_child_is_found_by_account_and_by_node_id() {
    story(|| {
        assert_ok!(register_node(1, 20, 30));
        let registration = ChildRegistrations::<Test>::get(account(20)).unwrap();
        assert_eq!(registration.family, account(1));
        assert_eq!(registration.node_id, node_id(30));
        assert_eq!(registration.status, ChildStatus::Active);
        assert_eq!(registration.registered_at, 1);
        assert_eq!(NodeIdToChild::<Test>::get(node_id(30)), Some(account(20)));
        assert_eq!(FamilyChildren::<Test>::get(account(1)).into_inner(), [account(20)]);
        assert_eq!((FamilyCount::<Test>::get(), TotalActiveChildren::<Test>::get()), (1, 1));
        assert_eq!(NodeIdNonce::<Test>::get(node_id(30)), 1);
        assert_eq!(Arion::child_by_node_id(&node_id(30)).unwrap().0, account(20));
        System::assert_last_event(
            Event::ChildRegistered {
                family: account(1),
                child: account(20),
                node_id: node_id(30),
                deposit: 0,
            }
            .into(),
        );
    });
}

#[test]
fn only_a_registered_family_takes_in_its_own_proxies() {
    story(|| {
        let sig = consent(1, 20, 20);
        assert_noop!(
            Arion::register_child(signed(2), account(1), account(20), node_id(20), sig),
            Error::NotFamily
        );
        assert_noop!(
            Arion::register_child(signed(20), account(1), account(20), node_id(20), sig),
            Error::NotFamily
        );
        assert_noop!(register(8, 20), Error::FamilyNotRegistered);
        NotProxies::set(vec![(account(1), account(20))]);
        assert_noop!(register(1, 20), Error::ProxyVerificationFailed);
        NotProxies::set(Vec::new());
        assert_ok!(register(1, 20));
    });
}

#[test]
fn the_node_keys_consent_holds_for_these_accounts_on_this_chain_once() {
    story(|| {
        let register = |family, child, sig| {
            Arion::register_child(signed(family), account(family), account(child), node_id(30), sig)
        };
        use_free_slot(1);
        let sig = consent(1, 20, 30);
        assert_noop!(register(2, 20, sig), Error::InvalidNodeSignature);
        assert_noop!(register(1, 21, sig), Error::InvalidNodeSignature);
        let fields = (account(1), account(20));
        let other_chain =
            registration_message(&[0; 32], fields.0.as_ref(), fields.1.as_ref(), &node_id(30), 0);
        assert_noop!(register(1, 20, key(30).sign(&other_chain).0), Error::InvalidNodeSignature);
        let mut flipped = sig;
        flipped[63] ^= 1;
        assert_noop!(register(1, 20, flipped), Error::InvalidNodeSignature);
        assert_ok!(register(1, 20, sig));

        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        run_to(1 + UNBONDING_BLOCKS);
        assert_ok!(Arion::claim_unbonded(signed(1), account(20)));
        assert_noop!(register(1, 20, sig), Error::InvalidNodeSignature);
        assert_ok!(register(1, 20, consent(1, 20, 30)));
    });
}

#[test]
fn accounts_and_node_ids_are_used_once_at_a_time() {
    story(|| {
        assert_ok!(register_node(1, 20, 30));
        assert_noop!(register_node(1, 20, 31), Error::ChildAlreadyRegistered);
        assert_noop!(register_node(2, 20, 31), Error::ChildAlreadyRegistered);
        assert_noop!(register_node(2, 21, 30), Error::NodeIdAlreadyRegistered);
    });
}

#[test]
fn a_child_that_left_comes_back_after_cooldown_and_claim() {
    story(|| {
        use_free_slot(1);
        assert_ok!(register_node(1, 20, 30));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        let (cooldown_end, unbonding_end) = (1 + COOLDOWN_BLOCKS, 1 + UNBONDING_BLOCKS);
        System::assert_last_event(
            Event::ChildDeregistered {
                family: account(1),
                child: account(20),
                node_id: node_id(30),
                unbonding_end,
                cooldown_end,
            }
            .into(),
        );
        assert_noop!(register_node(1, 21, 30), Error::NodeIdInCooldown);
        run_to(cooldown_end - 1);
        assert_noop!(register_node(1, 21, 30), Error::NodeIdInCooldown);
        run_to(cooldown_end);
        assert_noop!(register_node(1, 20, 31), Error::ChildAlreadyRegistered);
        assert_ok!(register_node(1, 21, 30));
        run_to(unbonding_end);
        assert_ok!(Arion::claim_unbonded(signed(1), account(20)));
        assert_ok!(register_node(1, 20, 31));
    });
}

#[test]
fn with_lockup_off_the_account_still_cools_down() {
    story(|| {
        assert_ok!(Arion::set_lockup_enabled(RuntimeOrigin::root(), false));
        assert_ok!(register(1, 20));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_ok!(Arion::claim_unbonded(signed(1), account(20)));
        assert_noop!(register_node(1, 20, 31), Error::ChildInCooldown);
        run_to(1 + COOLDOWN_BLOCKS);
        assert_ok!(register(1, 20));
    });
}

#[test]
fn only_its_family_lets_a_child_go_and_claims_for_it() {
    story(|| {
        use_free_slot(1);
        assert_ok!(register(1, 20));
        assert_noop!(Arion::deregister_child(signed(2), account(20)), Error::NotFamily);
        assert_noop!(Arion::deregister_child(signed(20), account(20)), Error::NotFamily);
        assert_noop!(Arion::deregister_child(signed(1), account(21)), Error::ChildNotRegistered);
        assert_noop!(Arion::claim_unbonded(signed(1), account(20)), Error::ChildNotUnbonding);
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_noop!(Arion::deregister_child(signed(1), account(20)), Error::ChildNotActive);
        run_to(UNBONDING_BLOCKS);
        assert_noop!(Arion::claim_unbonded(signed(1), account(20)), Error::UnbondingNotOver);
        run_to(1 + UNBONDING_BLOCKS);
        assert_noop!(Arion::claim_unbonded(signed(2), account(20)), Error::NotFamily);
        assert_ok!(Arion::claim_unbonded(signed(1), account(20)));
        assert_noop!(Arion::claim_unbonded(signed(1), account(20)), Error::ChildNotRegistered);
    });
}

#[test]
fn families_and_children_are_bounded_and_leaving_makes_room() {
    story(|| {
        assert_ok!(Arion::set_lockup_enabled(RuntimeOrigin::root(), false));
        for child in 0..CHILDREN_PER_FAMILY_MAX as u8 {
            assert_ok!(register(1, 20 + child));
        }
        assert_noop!(register(1, 29), Error::TooManyChildrenInFamily);
        for family in 2..=FAMILIES_MAX as u8 {
            assert_ok!(register(family, 30 + family));
        }
        assert_noop!(register(6, 39), Error::TooManyFamilies);
        assert_ok!(register(2, 40));
        assert_eq!(TotalActiveChildren::<Test>::get(), CHILDREN_MAX);
        assert_noop!(register(3, 41), Error::TooManyChildren);
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_ok!(register(1, 29));
        assert_ok!(Arion::deregister_child(signed(4), account(34)));
        assert_eq!(FamilyCount::<Test>::get(), FAMILIES_MAX - 1);
        assert_ok!(register(6, 39));
    });
}
