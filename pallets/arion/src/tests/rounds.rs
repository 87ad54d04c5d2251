//! A bucket closes: what most votes agree on becomes weights, once, a few families per block.

use arion_types::NodeQuality;
use frame_support::assert_ok;

use crate::{
    CurrentWeightBucket, CurrentWeightRound, FamilyWeight, FamilyWeightRaw, NodeQualityByChild,
    NodeWeightByChild, mock::*,
};

fn weight_of(child: u8) -> u16 {
    NodeWeightByChild::<Test>::get(account(child))
}

fn quality_of(child: u8) -> NodeQuality {
    NodeQualityByChild::<Test>::get(account(child)).unwrap()
}

fn validators(count: u8) {
    Validators::set((100..100 + count).map(account).collect());
}

#[test]
fn with_one_validator_its_report_becomes_a_weight() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(report(100, vec![(20, quality(TIB, TIB))]));
        assert_eq!(weight_of(20), 0);
        run_to_weights();
        assert_eq!(quality_of(20), quality(TIB, TIB));
        // 512 * log2(1 + 2^40 / 2^30)
        assert_eq!(weight_of(20), 5_120);
        assert_eq!(FamilyWeightRaw::<Test>::get(account(1)), 5_120);
        assert_eq!(FamilyWeight::<Test>::get(account(1)), 500);
        System::assert_has_event(Event::NodeWeightsUpdated { bucket: 0, updates: 1 }.into());
        System::assert_last_event(Event::FamilyWeightsComputed { bucket: 0, families: 1 }.into());
    });
}

#[test]
fn bandwidth_counts_for_seven_tenths_and_uptime_for_all() {
    story(|| {
        for (family, child) in [(1, 20), (2, 21), (3, 22)] {
            assert_ok!(register(family, child));
        }
        let half = NodeQuality { uptime_permille: 500, ..quality(TIB, TIB) };
        assert_ok!(report(100, vec![(20, quality(TIB, 0)), (21, quality(0, TIB)), (22, half)]));
        run_to_weights();
        assert_eq!([weight_of(20), weight_of(21), weight_of(22)], [1_536, 3_584, 2_560]);
    });
}

#[test]
fn the_median_of_each_field_decides() {
    story(|| {
        validators(4);
        assert_ok!(register(1, 20));
        for (validator, storage, bandwidth, uptime) in
            [(100, 10, 400, 900), (101, 20, 300, 1_000), (102, 30, 200, 800), (103, u64::MAX, 0, 0)]
        {
            let seen = NodeQuality { uptime_permille: uptime, ..quality(storage, bandwidth) };
            assert_ok!(report(validator, vec![(20, seen)]));
        }
        run_to_weights();
        let agreed = NodeQuality { uptime_permille: 800, ..quality(20, 200) };
        assert_eq!(quality_of(20), agreed);
    });
}

#[test]
fn votes_weigh_what_is_staked_and_a_third_of_them_decides_nothing() {
    story(|| {
        validators(4);
        let liars = [(account(100), 11), (account(101), 11), (account(102), 11), (account(103), 67)];
        Stakes::set(liars.to_vec());
        assert_ok!(register(1, 20));
        for liar in 100..103 {
            assert_ok!(report(liar, vec![(20, quality(u64::MAX, u64::MAX))]));
        }
        assert_ok!(report(103, vec![(20, quality(TIB, GIB))]));
        run_to_weights();
        assert_eq!(quality_of(20), quality(TIB, GIB));
    });
}

#[test]
fn without_two_thirds_of_the_votes_the_old_quality_stays_and_ages() {
    story(|| {
        validators(3);
        assert_ok!(register(1, 20));
        for validator in [100, 101] {
            assert_ok!(report(validator, vec![(20, quality(TIB, TIB))]));
        }
        run_to_weights();
        assert_eq!((quality_of(20), weight_of(20)), (quality(TIB, TIB), 5_120));

        assert_ok!(report(100, vec![(20, quality(0, 0))]));
        run_to_weights();
        let aged = NodeQuality { uptime_permille: 875, ..quality(TIB, TIB) };
        assert_eq!((quality_of(20), weight_of(20)), (aged, 4_480));
        for _ in 0..45 {
            run_to_weights();
        }
        assert_eq!((quality_of(20).uptime_permille, weight_of(20)), (0, 0));
        assert_eq!(quality_of(20).shard_data_bytes, TIB);
    });
}

#[test]
fn a_reporter_that_is_no_validator_when_the_bucket_closes_has_no_vote() {
    story(|| {
        validators(3);
        assert_ok!(register(1, 20));
        for validator in 100..103 {
            assert_ok!(report(validator, vec![(20, quality(TIB, TIB))]));
        }
        Validators::set(vec![account(102), account(103), account(104)]);
        run_to_weights();
        assert_eq!(NodeQualityByChild::<Test>::get(account(20)), None);
        assert_eq!(weight_of(20), 0);
    });
}

#[test]
fn a_child_nobody_reported_has_no_quality_and_no_weight() {
    story(|| {
        assert_ok!(register(1, 20));
        run_to_weights();
        assert_eq!(NodeQualityByChild::<Test>::get(account(20)), None);
        assert_eq!(FamilyWeight::<Test>::get(account(1)), 0);
        System::assert_last_event(Event::FamilyWeightsComputed { bucket: 0, families: 1 }.into());
    });
}

#[test]
fn weights_are_computed_once_per_bucket_in_bounded_steps() {
    story(|| {
        assert_ok!(Arion::set_lockup_enabled(RuntimeOrigin::root(), false));
        let children: Vec<u8> = (20..28).collect();
        for child in &children {
            assert_ok!(register(1 + child % 4, *child));
        }
        assert_ok!(report(100, children.iter().map(|child| (*child, quality(TIB, TIB))).collect()));
        run_to(WEIGHT_BUCKET_BLOCKS - 1);
        System::reset_events();

        // Two children, here one family, per block; the fifth finds nobody left.
        for (block, weighed) in (WEIGHT_BUCKET_BLOCKS..).zip([2, 4, 6, 8, 8, 8, 8]) {
            run_to(block);
            let count = children.iter().filter(|child| weight_of(**child) > 0).count();
            assert_eq!(count, weighed, "block {block}");
            assert_eq!(CurrentWeightRound::<Test>::exists(), block < WEIGHT_BUCKET_BLOCKS + 4);
        }
        assert_eq!(FamilyWeight::<Test>::iter_values().collect::<Vec<_>>(), [500; 4]);
        run_to(2 * WEIGHT_BUCKET_BLOCKS - 1);
        assert_eq!(CurrentWeightBucket::<Test>::get(), 0);
        let expected = [
            Event::NodeWeightsUpdated { bucket: 0, updates: 8 },
            Event::FamilyWeightsComputed { bucket: 0, families: 4 },
        ];
        let events: Vec<_> = System::events().into_iter().map(|record| record.event).collect();
        assert_eq!(events, expected.map(RuntimeEvent::from));
    });
}

#[test]
fn families_come_and_go_while_weights_are_computed() {
    story(|| {
        assert_ok!(Arion::set_lockup_enabled(RuntimeOrigin::root(), false));
        for child in 20..28 {
            assert_ok!(register(1 + child % 4, child));
        }
        assert_ok!(report(100, (20..28).map(|child| (child, quality(TIB, TIB))).collect()));
        run_to(WEIGHT_BUCKET_BLOCKS);
        assert_ok!(report(100, (20..28).map(|child| (child, quality(GIB, GIB))).collect()));
        for child in [20, 24, 21] {
            assert_ok!(Arion::deregister_child(signed(1 + child % 4), account(child)));
        }
        assert_ok!(register(5, 29));
        run_to_weights();
        assert_eq!((weight_of(20), weight_of(21), weight_of(29)), (0, 0, 0));
        for child in [22, 23, 25, 26, 27] {
            assert_eq!(quality_of(child), quality(GIB, GIB), "{child}");
        }
        assert_eq!(FamilyWeight::<Test>::iter_keys().count(), 3);
    });
}

#[test]
fn a_chain_without_miners_computes_nothing_and_says_so() {
    story(|| {
        run_to_weights();
        System::assert_last_event(Event::FamilyWeightsComputed { bucket: 0, families: 0 }.into());
        assert_eq!(CurrentWeightBucket::<Test>::get(), 0);
    });
}
