//! What has had its time leaves the state, a few entries per block with room for them.

use frame_support::{assert_noop, assert_ok, traits::Hooks, weights::Weight};

use crate::{
    AttestationsByBucket, AuditTallies, ChildCooldownEnd, ChildRegistrations, MapVote, MapVotes,
    NodeIdCooldownEnd, QualityReport, QualityReports, Sweep, SweepPosition, mock::*, types::SweptItem,
};

/// Blocks after which the sweep was everywhere, while every item has few entries.
const SWEEP_BLOCKS: u64 = 7;

#[test]
fn cooldowns_leave_when_they_are_over_and_the_child_claimed() {
    story(|| {
        use_free_slot(1);
        assert_ok!(register(1, 20));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        run_to(COOLDOWN_BLOCKS);
        assert!(NodeIdCooldownEnd::<Test>::contains_key(node_id(20)));
        run_to(1 + COOLDOWN_BLOCKS + SWEEP_BLOCKS);
        assert!(!NodeIdCooldownEnd::<Test>::contains_key(node_id(20)));
        assert!(ChildCooldownEnd::<Test>::contains_key(account(20)), "as long as the child unbonds");
        run_to(1 + UNBONDING_BLOCKS);
        assert_ok!(Arion::claim_unbonded(signed(1), account(20)));
        run_to(1 + UNBONDING_BLOCKS + SWEEP_BLOCKS);
        assert!(!ChildCooldownEnd::<Test>::contains_key(account(20)));
        assert_ok!(register(1, 20));
    });
}

#[test]
fn who_left_and_has_nothing_to_claim_goes_when_unbonding_and_cooldown_are_over() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(register(1, 21));
        for child in [20, 21] {
            assert_ok!(Arion::deregister_child(signed(1), account(child)));
        }
        run_to(UNBONDING_BLOCKS);
        assert_eq!(ChildRegistrations::<Test>::iter().count(), 2);
        run_to(1 + UNBONDING_BLOCKS + SWEEP_BLOCKS);
        let left: Vec<_> = ChildRegistrations::<Test>::iter_keys().collect();
        assert_eq!(left, [account(21)], "the first was free; for the second a deposit waits");
        let unbonded =
            Event::ChildUnbonded { family: account(1), child: account(20), node_id: node_id(20), amount: 0 };
        System::assert_has_event(unbonded.into());
        assert_noop!(Arion::claim_unbonded(signed(1), account(20)), Error::ChildNotRegistered);
        run_to(1 + UNBONDING_BLOCKS + 2 * SWEEP_BLOCKS);
        assert_eq!(ChildCooldownEnd::<Test>::iter_keys().collect::<Vec<_>>(), left);
        assert_ok!(Arion::claim_unbonded(signed(1), account(21)));
        assert_ok!(register(1, 20));
    });
}

/// What costs fees only leaves no more behind than the marks that nothing happens twice.
#[test]
fn with_lockup_off_coming_and_leaving_over_and_over_leaves_no_record() {
    story(|| {
        assert_ok!(Arion::set_lockup_enabled(RuntimeOrigin::root(), false));
        for child in 20..28 {
            assert_ok!(register(1, child));
            assert_ok!(Arion::deregister_child(signed(1), account(child)));
        }
        run_to(COOLDOWN_BLOCKS);
        assert_eq!(ChildRegistrations::<Test>::iter().count(), 8, "as long as the accounts cool down");
        run_to(1 + COOLDOWN_BLOCKS + 2 * SWEEP_BLOCKS);
        assert_eq!(ChildRegistrations::<Test>::iter().count(), 0);
        assert_eq!(ChildCooldownEnd::<Test>::iter().count(), 0);
        assert_eq!(NodeIdCooldownEnd::<Test>::iter().count(), 0);
    });
}

#[test]
fn votes_of_former_validators_and_past_epochs_leave() {
    story(|| {
        Validators::set(vec![account(100), account(101), account(102)]);
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 1)]));
        assert_ok!(submit_map(101, 1, vec![miner(2, 1, 1)]));
        Validators::set(vec![account(101), account(102), account(103)]);
        run_to(1 + SWEEP_BLOCKS);
        assert_eq!(MapVotes::<Test>::iter_keys().collect::<Vec<_>>(), [account(101)]);
        assert_ok!(submit_map(102, 1, vec![miner(2, 1, 1)]));
        let late = MapVote { epoch: 1, root: Default::default() };
        MapVotes::<Test>::insert(account(103), late);
        run_to(1 + 2 * SWEEP_BLOCKS);
        assert_eq!(MapVotes::<Test>::iter().count(), 0);
    });
}

/// None of this is left behind; a runtime upgrade that changes the lengths of buckets may.
#[test]
fn what_a_change_of_bucket_lengths_leaves_behind_leaves() {
    story(|| {
        run_to(100);
        AttestationsByBucket::<Test>::insert(3, AttestationsByBucket::<Test>::get(0));
        let report =
            QualityReport { reporter: 0, shard_data_bytes: 0, bandwidth_bytes: 0, uptime_permille: 0 };
        QualityReports::<Test>::try_append(1, account(20), report).unwrap();
        AuditTallies::<Test>::insert(2, account(20), AuditTallies::<Test>::get(0, account(20)));
        for _ in 0..SWEEP_BLOCKS {
            Arion::on_idle(100, Weight::MAX);
        }
        assert_eq!(AttestationsByBucket::<Test>::iter().count(), 0);
        assert_eq!(QualityReports::<Test>::iter().count(), 0);
        assert_eq!(AuditTallies::<Test>::iter().count(), 0);
    });
}

#[test]
fn long_lists_are_swept_in_steps_and_full_blocks_not_at_all() {
    story(|| {
        for n in 0..100u8 {
            NodeIdCooldownEnd::<Test>::insert([n; 32], 1);
            ChildCooldownEnd::<Test>::insert(account(n), 1_000);
        }
        let step = || {
            let before = NodeIdCooldownEnd::<Test>::iter().count();
            Arion::on_idle(1, Weight::MAX);
            before - NodeIdCooldownEnd::<Test>::iter().count()
        };
        assert_eq!(Arion::on_idle(1, Weight::zero()), Weight::zero());
        assert_eq!(SweepPosition::<Test>::get(), Sweep::default());
        let steps: Vec<usize> = (0..9).map(|_| step()).collect();
        // Votes; four steps of accounts, none of them over; four steps of node ids.
        assert_eq!(steps, [0, 0, 0, 0, 0, 32, 32, 32, 4]);
        assert_eq!(SweepPosition::<Test>::get().item, SweptItem::Attestations);
        assert_eq!(ChildCooldownEnd::<Test>::iter().count(), 100);
    });
}
