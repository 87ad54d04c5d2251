//! A family's weight: slow to rise, slow to fall, never nothing for a newcomer that is up.

use frame_support::assert_ok;

use crate::{
    FamilyGraceStart, FamilyWeight, FamilyWeightRaw, NodeQualityByChild, NodeWeightByChild, mock::*,
};

fn weight() -> u16 {
    FamilyWeight::<Test>::get(account(1))
}

/// Reports child 20 and closes the bucket.
fn bucket(storage_bytes: u64, bandwidth_bytes: u64) {
    assert_ok!(report(100, vec![(20, quality(storage_bytes, bandwidth_bytes))]));
    run_to_weights();
}

#[test]
fn a_weight_nears_its_raw_value_by_three_tenths_and_at_most_500_per_bucket() {
    story(|| {
        assert_ok!(register(1, 20));
        for expected in [500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500, 3_986, 4_326, 4_564] {
            bucket(TIB, TIB);
            assert_eq!((FamilyWeightRaw::<Test>::get(account(1)), weight()), (5_120, expected));
        }
        for expected in [4_064, 3_564, 3_064] {
            bucket(0, 0);
            assert_eq!((FamilyWeightRaw::<Test>::get(account(1)), weight()), (0, expected));
        }
    });
}

#[test]
fn a_newcomer_that_is_up_weighs_at_least_the_floor_until_its_grace_ends() {
    story(|| {
        run_to(WEIGHT_BUCKET_BLOCKS);
        assert_ok!(register(1, 20));
        assert_eq!(FamilyGraceStart::<Test>::get(account(1)), Some(1));
        run_to_weights();
        assert_eq!(weight(), 0, "nobody said that it is up");
        for _ in 1..GRACE_BUCKETS {
            bucket(0, 0);
            assert_eq!(weight(), 100);
        }
        bucket(0, 0);
        assert_eq!(weight(), 70);
    });
}

#[test]
fn grace_is_given_once() {
    story(|| {
        assert_ok!(register(1, 20));
        bucket(0, 0);
        assert_eq!(weight(), 100);
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_eq!(weight(), 0);
        run_to(u64::from(GRACE_BUCKETS) * WEIGHT_BUCKET_BLOCKS);
        assert_ok!(register(1, 21));
        assert_eq!(FamilyGraceStart::<Test>::get(account(1)), Some(0));
        assert_ok!(report(100, vec![(21, quality(0, 0))]));
        run_to_weights();
        assert_eq!(weight(), 0);
    });
}

#[test]
fn a_family_that_leaves_leaves_no_weight_behind() {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(register(1, 21));
        assert_ok!(report(100, vec![(20, quality(TIB, TIB)), (21, quality(TIB, TIB))]));
        run_to_weights();
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_eq!(NodeWeightByChild::<Test>::get(account(20)), 0);
        assert_eq!(NodeQualityByChild::<Test>::get(account(20)), None);
        assert_eq!(weight(), 500);
        assert_ok!(Arion::deregister_child(signed(1), account(21)));
        assert_eq!((weight(), FamilyWeightRaw::<Test>::get(account(1))), (0, 0));
    });
}

#[test]
fn weights_of_families_are_listed_by_account() {
    story(|| {
        for (family, child) in [(3, 20), (1, 21), (2, 22)] {
            assert_ok!(register(family, child));
        }
        assert_ok!(report(100, vec![(20, quality(TIB, TIB)), (21, quality(0, GIB))]));
        run_to_weights();
        assert_eq!(Arion::family_weights(), [(account(1), 107), (account(3), 500)]);
    });
}
