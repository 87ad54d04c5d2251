//! Validators say how good miners are: once per bucket, about active children, within reason.

use arion_types::NodeQuality;
use frame_support::{assert_noop, assert_ok, dispatch::Pays};
use sp_runtime::DispatchError;

use crate::{QualityReport, QualityReports, WeightReporters, mock::*};

fn with_children(test: impl FnOnce()) {
    story(|| {
        for (family, child) in [(1, 20), (2, 21)] {
            assert_ok!(register(family, child));
        }
        test();
    });
}

#[test]
fn a_report_is_kept_until_its_bucket_closes_and_costs_nothing() {
    with_children(|| {
        let paid = report(100, vec![(20, quality(5, 6)), (21, quality(7, 8))]).unwrap();
        assert_eq!(paid.pays_fee, Pays::No);
        System::assert_last_event(
            Event::NodeQualityReported { validator: account(100), bucket: 0, updates: 2 }.into(),
        );
        let stored =
            QualityReport { reporter: 0, shard_data_bytes: 5, bandwidth_bytes: 6, uptime_permille: 1_000 };
        assert_eq!(QualityReports::<Test>::get(0, account(20)).into_inner(), [stored]);
        assert_eq!(WeightReporters::<Test>::get(0).into_inner(), [account(100)]);
        run_to_weights();
        assert_eq!(QualityReports::<Test>::iter().count(), 0);
        assert_eq!(WeightReporters::<Test>::iter().count(), 0);
    });
}

#[test]
fn a_validator_reports_once_per_bucket() {
    with_children(|| {
        assert_ok!(report(100, vec![(20, quality(1, 1))]));
        assert_noop!(report(100, vec![(21, quality(1, 1))]), Error::AlreadyReported);
        run_to(WEIGHT_BUCKET_BLOCKS);
        assert_ok!(report(100, vec![(21, quality(1, 1))]));
    });
}

#[test]
fn a_report_is_for_the_open_bucket() {
    with_children(|| {
        let report = |bucket| {
            let updates = vec![(account(20), quality(1, 1))].try_into().unwrap();
            Arion::submit_node_quality(signed(100), bucket, updates)
        };
        assert_noop!(report(1), Error::WeightBucketNotOpen);
        assert_noop!(report(u32::MAX), Error::WeightBucketNotOpen);
        run_to(WEIGHT_BUCKET_BLOCKS - 1);
        assert_ok!(report(0));
        run_to(WEIGHT_BUCKET_BLOCKS);
        assert_noop!(report(0), Error::WeightBucketClosed);
        assert_ok!(report(1));
    });
}

#[test]
fn reports_that_make_no_sense_are_refused() {
    with_children(|| {
        let always_up_and_more = NodeQuality { uptime_permille: 1_001, ..quality(1, 1) };
        for (updates, error) in [
            (vec![], Error::EmptyReport),
            (vec![(21, quality(1, 1)), (20, quality(1, 1))], Error::UpdatesNotSortedOrNotUnique),
            (vec![(20, quality(1, 1)), (20, quality(1, 1))], Error::UpdatesNotSortedOrNotUnique),
            (vec![(20, always_up_and_more)], Error::InvalidUptime),
        ] {
            assert_eq!(report(100, updates).map_err(|refusal| refusal.error), Err(error.into()));
        }
        assert_ok!(report(100, vec![(20, quality(u64::MAX, u64::MAX))]));
        run_to_weights();
    });
}

#[test]
fn accounts_that_are_no_active_children_are_passed_over() {
    with_children(|| {
        assert_ok!(Arion::deregister_child(signed(2), account(21)));
        assert_ok!(report(100, vec![(20, quality(1, 1)), (21, quality(1, 1)), (22, quality(1, 1))]));
        System::assert_last_event(
            Event::NodeQualityReported { validator: account(100), bucket: 0, updates: 1 }.into(),
        );
        assert_eq!(QualityReports::<Test>::iter().count(), 1);
    });
}

#[test]
fn a_child_that_leaves_takes_its_reports_along() {
    with_children(|| {
        assert_ok!(report(100, vec![(20, quality(1, 1)), (21, quality(1, 1))]));
        assert_ok!(Arion::deregister_child(signed(2), account(21)));
        assert_eq!(QualityReports::<Test>::iter_keys().collect::<Vec<_>>(), [(0, account(20))]);
    });
}

#[test]
fn only_so_many_validators_report_in_a_bucket() {
    with_children(|| {
        for n in 0..REPORTERS_MAX as u8 {
            Validators::set(vec![account(100 + n)]);
            assert_ok!(report(100 + n, vec![(20, quality(1, 1))]));
        }
        Validators::set(vec![account(110)]);
        assert_noop!(report(110, vec![(20, quality(1, 1))]), Error::TooManyReports);
    });
}

#[test]
fn nobody_but_validators_reports() {
    with_children(|| {
        assert_noop!(report(1, vec![(20, quality(1, 1))]), DispatchError::BadOrigin);
        assert_noop!(report(20, vec![(20, quality(1, 1))]), DispatchError::BadOrigin);
        let updates = vec![(account(20), quality(1, 1))].try_into().unwrap();
        assert_noop!(Arion::submit_node_quality(RuntimeOrigin::root(), 0, updates), DispatchError::BadOrigin);
    });
}
