//! Verdicts of wardens become strikes and integrity failures, as far as wardens agree.

use arion_types::{AttestationRecord, AttestationResult, AttestationResult::*, NodeQuality};
use frame_support::assert_ok;

use crate::{
    AuditCounts, AuditCountsByChild, AuditTallies, AuditTally, NodeQualityByChild, NodeWeightByChild,
    TimeoutsToConfirm, UnconfirmedTimeouts,
    mock::*,
    scoring::{AUDIT_FAILURES_MAX, agreed_failures, confirm_timeouts, faded},
};

const WARDENS: [u8; 3] = [200, 201, 202];

/// Child 20 of family 1 is miner 1 of the map, and so many wardens are registered.
fn with_wardens(count: usize, test: impl FnOnce()) {
    story(|| {
        for warden in &WARDENS[..count] {
            assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(*warden)));
        }
        assert_ok!(register(1, 20));
        assert_ok!(register(2, 21));
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 20), miner(2, 2, 21)]));
        test();
    });
}

fn verdict(warden: u8, uid: u32, shard: u8, block: u64, result: AttestationResult) -> AttestationRecord {
    let mut record = attestation(warden, shard, block);
    record.miner_uid = uid;
    record.result = result;
    sign(&mut record, warden);
    record
}

/// Verdicts of a warden on different shards of miner 1, from block 1.
fn verdicts(warden: u8, results: &[AttestationResult]) {
    let records = results.iter().zip(0..).map(|(result, shard)| verdict(warden, 1, shard, 1, *result));
    assert_ok!(attest(0, records.collect()));
}

/// Strikes and integrity failures of child 20.
fn failures() -> (u32, u32) {
    let quality = NodeQualityByChild::<Test>::get(account(20)).unwrap_or_default();
    (quality.strikes, quality.integrity_fails)
}

#[test]
fn timeouts_are_strikes_and_bad_proofs_are_integrity_failures() {
    with_wardens(1, || {
        verdicts(200, &[Timeout, Failed, Passed, InvalidProof]);
        let update = NodeQuality { strikes: 9, integrity_fails: 9, ..quality(TIB, TIB) };
        assert_ok!(report(100, vec![(20, update), (21, update)]));
        run_to_weights();
        assert_eq!(failures(), (1, 2), "what the validator says of it is ignored");
        assert_eq!(NodeWeightByChild::<Test>::get(account(20)), 5_120 - 100 - 2 * 50);
        assert_eq!(NodeWeightByChild::<Test>::get(account(21)), 5_120);
        assert_eq!(AuditTallies::<Test>::iter().count(), 0);
    });
}

#[test]
fn verdicts_are_counted_by_what_they_say_as_long_as_the_child_stays() {
    with_wardens(2, || {
        run_to(9);
        verdicts(200, &[Passed, Failed, Timeout, InvalidProof]);
        assert_ok!(attest(0, vec![verdict(201, 1, 0, 8, Passed)]));
        let counts = AuditCounts { passed: 2, failed: 1, timeouts: 1, invalid_proofs: 1, last_block: 8 };
        let counted = || AuditCountsByChild::<Test>::iter().collect::<Vec<_>>();
        assert_eq!(counted(), [(account(20), counts)]);
        run_to_weights();
        assert_eq!(counted(), [(account(20), counts)], "buckets come and go");
        assert_ok!(attest(1, vec![verdict(200, 1, 1, 11, Passed), verdict(201, 2, 1, 12, Timeout)]));
        let counts = AuditCounts { passed: 3, last_block: 11, ..counts };
        assert_eq!(AuditCountsByChild::<Test>::get(account(20)), counts);
        let other = AuditCounts { timeouts: 1, last_block: 12, ..Default::default() };
        assert_eq!(AuditCountsByChild::<Test>::get(account(21)), other);
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_eq!(counted(), [(account(21), other)]);
    });
}

#[test]
fn counts_end_at_their_largest_value_and_know_the_newest_block() {
    with_wardens(1, || {
        run_to(9);
        let full = AuditCounts {
            passed: u32::MAX,
            failed: u32::MAX,
            timeouts: u32::MAX,
            invalid_proofs: u32::MAX,
            last_block: 9,
        };
        AuditCountsByChild::<Test>::insert(account(20), full);
        verdicts(200, &[Passed, Failed, Timeout, InvalidProof]);
        assert_eq!(AuditCountsByChild::<Test>::get(account(20)), full);
    });
}

#[test]
fn failures_stand_for_a_while_and_fade() {
    with_wardens(1, || {
        verdicts(200, &[Timeout, Timeout, Timeout]);
        for expected in [3, 2, 1, 0] {
            run_to_weights();
            assert_eq!(failures(), (expected, 0));
        }
    });
}

#[test]
fn what_one_of_several_wardens_saw_alone_counts_once() {
    with_wardens(2, || {
        verdicts(200, &[Timeout, Timeout, Failed, Failed, Failed]);
        run_to_weights();
        assert_eq!(failures(), (0, 1));
    });
}

#[test]
fn a_warden_that_others_contradict_counts_nothing() {
    with_wardens(2, || {
        verdicts(200, &[Timeout, Failed, Timeout]);
        verdicts(201, &[Passed]);
        run_to_weights();
        assert_eq!(failures(), (0, 0));
    });
}

#[test]
fn wardens_that_agree_count_as_far_as_they_do() {
    with_wardens(2, || {
        verdicts(200, &[Timeout, Timeout, Timeout]);
        verdicts(201, &[Timeout]);
        run_to_weights();
        assert_eq!(failures(), (2, 0));
    });
}

#[test]
fn failing_differently_towards_each_warden_is_no_way_out() {
    with_wardens(2, || {
        verdicts(200, &[Timeout, Timeout]);
        verdicts(201, &[Failed, InvalidProof]);
        run_to_weights();
        assert_eq!(failures(), (2, 2));
    });
}

#[test]
fn a_timeout_that_one_of_several_wardens_saw_alone_does_not_count() {
    with_wardens(2, || {
        verdicts(200, &[Timeout, Timeout, Timeout]);
        run_to_weights();
        assert_eq!(failures(), (0, 0));
        let waiting = UnconfirmedTimeouts { bucket: 0, warden: node_id(200), timeouts: 3 };
        assert_eq!(TimeoutsToConfirm::<Test>::iter().collect::<Vec<_>>(), [(account(20), waiting)]);
        // Nobody else sees one in the next bucket either.
        run_to_weights();
        assert_eq!((failures(), TimeoutsToConfirm::<Test>::iter().count()), ((0, 0), 0));
    });
    with_wardens(1, || {
        verdicts(200, &[Timeout, Timeout, Timeout]);
        run_to_weights();
        assert_eq!(failures(), (3, 0), "the only warden counts in full");
    });
}

/// Verdicts of a warden on different shards of miner 1, from the open bucket.
fn later_verdicts(warden: u8, results: &[AttestationResult]) {
    let block = System::block_number();
    let records = results.iter().zip(100..).map(|(result, shard)| verdict(warden, 1, shard, block, *result));
    assert_ok!(attest((block / BUCKET_BLOCKS) as u32, records.collect()));
}

#[test]
fn a_second_wardens_failure_in_the_next_bucket_confirms_timeouts() {
    for (result, expected) in [(Timeout, (2, 0)), (Failed, (1, 1)), (InvalidProof, (1, 1)), (Passed, (0, 0))]
    {
        with_wardens(2, || {
            verdicts(200, &[Timeout]);
            run_to_weights();
            assert_eq!(failures(), (0, 0));
            later_verdicts(201, &[result]);
            run_to_weights();
            assert_eq!((failures(), TimeoutsToConfirm::<Test>::iter().count()), (expected, 0), "{result:?}");
        });
    }
}

#[test]
fn the_same_warden_does_not_confirm_itself_and_a_bucket_later_is_too_late() {
    with_wardens(2, || {
        verdicts(200, &[Timeout]);
        run_to_weights();
        later_verdicts(200, &[Timeout, Timeout]);
        run_to_weights();
        assert_eq!(failures(), (0, 0));
        let waiting = UnconfirmedTimeouts { bucket: 1, warden: node_id(200), timeouts: 2 };
        assert_eq!(
            TimeoutsToConfirm::<Test>::get(account(20)),
            Some(waiting),
            "only those of the last bucket"
        );
        run_to_weights();
        later_verdicts(201, &[Timeout]);
        run_to_weights();
        assert_eq!(failures(), (0, 0));
        assert_eq!(TimeoutsToConfirm::<Test>::get(account(20)).unwrap().warden, node_id(201));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_eq!(TimeoutsToConfirm::<Test>::iter().count(), 0);
    });
}

#[test]
fn a_wrong_proof_counts_at_once_and_silence_beside_it_waits() {
    with_wardens(2, || {
        verdicts(200, &[InvalidProof, Timeout]);
        run_to_weights();
        assert_eq!(failures(), (0, 1));
        assert_eq!(TimeoutsToConfirm::<Test>::get(account(20)).unwrap().timeouts, 1);
    });
}

#[test]
fn confirmation_in_numbers() {
    let tally = |warden: u8, timeouts, integrity_fails| AuditTally {
        warden: [warden; 32],
        timeouts,
        integrity_fails,
    };
    let waiting =
        |bucket, warden: u8, timeouts| UnconfirmedTimeouts { bucket, warden: [warden; 32], timeouts };
    for (before, audits, counted, left) in [
        (None, vec![], vec![], None),
        (None, vec![tally(1, 4, 0)], vec![tally(1, 0, 0)], Some(waiting(7, 1, 4))),
        (
            None,
            vec![tally(1, 4, 0), tally(2, 0, 0)],
            vec![tally(1, 0, 0), tally(2, 0, 0)],
            Some(waiting(7, 1, 4)),
        ),
        (None, vec![tally(1, 4, 0), tally(2, 1, 0)], vec![tally(1, 4, 0), tally(2, 1, 0)], None),
        (None, vec![tally(1, 4, 0), tally(2, 0, 1)], vec![tally(1, 4, 0), tally(2, 0, 1)], None),
        (None, vec![tally(1, 0, 3)], vec![tally(1, 0, 3)], None),
        (Some(waiting(6, 1, 4)), vec![tally(2, 1, 0)], vec![tally(2, 1, 0), tally(1, 4, 0)], None),
        (
            Some(waiting(6, 1, 4)),
            vec![tally(1, 0, 0), tally(2, 1, 0)],
            vec![tally(1, 4, 0), tally(2, 1, 0)],
            None,
        ),
        (
            Some(waiting(6, 1, u16::MAX)),
            vec![tally(1, 1, 0), tally(2, 1, 0)],
            vec![tally(1, u16::MAX, 0), tally(2, 1, 0)],
            None,
        ),
        (Some(waiting(6, 1, 4)), vec![tally(1, 2, 0)], vec![tally(1, 0, 0)], Some(waiting(7, 1, 2))),
        (Some(waiting(5, 1, 4)), vec![tally(2, 1, 0)], vec![tally(2, 0, 0)], Some(waiting(7, 2, 1))),
    ] {
        let mut found = audits.clone();
        let waits = confirm_timeouts(&mut found, before, 7);
        assert_eq!((found, waits), (counted, left), "{before:?} {audits:?}");
    }
}

#[test]
fn a_verdict_is_about_the_miner_that_the_map_of_its_block_names() {
    with_wardens(1, || {
        run_to(5);
        assert_ok!(submit_map(100, 2, vec![miner(1, 2, 21), miner(2, 1, 20)]));
        run_to(9);
        let records = vec![
            verdict(200, 1, 1, 4, Timeout),
            verdict(200, 1, 1, 5, Failed),
            verdict(200, 2, 1, 8, Failed),
            verdict(200, 3, 1, 8, Failed),
        ];
        assert_ok!(attest(0, records));
        let tallied = |child| {
            let tallies = AuditTallies::<Test>::get(0, account(child));
            tallies.iter().map(|tally| (tally.timeouts, tally.integrity_fails)).collect::<Vec<_>>()
        };
        assert_eq!(tallied(20), [(1, 1)]);
        assert_eq!(tallied(21), [(0, 1)]);
    });
}

#[test]
fn without_a_map_or_about_a_child_that_left_a_verdict_moves_nothing() {
    story(|| {
        assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(200)));
        assert_ok!(register(1, 20));
        assert_ok!(attest(0, vec![verdict(200, 1, 1, 1, Timeout)]));
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 20)]));
        assert_ok!(attest(0, vec![verdict(200, 1, 2, 1, Timeout)]));
        assert_eq!(AuditTallies::<Test>::iter().count(), 1);
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_eq!(AuditTallies::<Test>::iter().count(), 0);
        assert_ok!(attest(0, vec![verdict(200, 1, 3, 1, Timeout)]));
        assert_eq!(AuditTallies::<Test>::iter().count(), 0);
        assert_eq!(AuditCountsByChild::<Test>::iter().count(), 0);
    });
}

#[test]
fn verdicts_kept_back_for_more_than_a_bucket_move_nothing() {
    with_wardens(1, || {
        run_to(3 * WEIGHT_BUCKET_BLOCKS + 5);
        assert_ok!(attest(3, vec![verdict(200, 1, 1, 2 * WEIGHT_BUCKET_BLOCKS - 1, Timeout)]));
        assert_eq!(AuditTallies::<Test>::iter().count(), 0);
        assert_eq!(AuditCountsByChild::<Test>::iter().count(), 0);
        assert_ok!(attest(4, vec![verdict(200, 1, 1, 2 * WEIGHT_BUCKET_BLOCKS, Timeout)]));
        assert_eq!(AuditTallies::<Test>::iter().count(), 1);
    });
}

#[test]
fn more_wardens_than_may_be_registered_are_not_heard() {
    with_wardens(3, || {
        for warden in WARDENS {
            verdicts(warden, &[Passed]);
        }
        assert_ok!(Arion::deregister_warden(RuntimeOrigin::root(), node_id(200)));
        assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(210)));
        assert_ok!(attest(0, vec![verdict(210, 1, 9, 1, Failed)]));
        run_to_weights();
        assert_eq!(failures(), (0, 0));
    });
}

#[test]
fn agreement_in_numbers() {
    for (audits, is_alone, expected) in [
        (&[][..], false, (0, 0)),
        (&[(7, 0)], false, (7, 0)),
        (&[(7, 0)], true, (1, 0)),
        (&[(0, 7)], true, (0, 1)),
        (&[(7, 7)], true, (0, 1)),
        (&[(u16::MAX, u16::MAX)], false, (AUDIT_FAILURES_MAX, AUDIT_FAILURES_MAX)),
        (&[(u16::MAX, 0)], false, (AUDIT_FAILURES_MAX, 0)),
        (&[(5, 0), (0, 0), (0, 0)], false, (0, 0)),
        (&[(5, 0), (2, 0), (0, 0)], false, (4, 0)),
        (&[(5, 0), (2, 1), (0, 3)], false, (5, 4)),
        (&[(1, 0), (1, 0), (0, 0), (0, 0)], false, (0, 0)),
    ] {
        assert_eq!(agreed_failures(audits, is_alone), expected, "{audits:?}");
    }
}

#[test]
fn a_miner_that_fails_every_audit_reaches_a_standing_that_a_lone_liar_never_does() {
    let standing = |per_bucket: u32| (0..1_000).fold(0, |count, _| faded(count) + per_bucket);
    assert_eq!(standing(AUDIT_FAILURES_MAX), 193);
    assert_eq!(standing(1), 1);
    assert_eq!([0, 1, 2, 8, 9, 16, u32::MAX].map(faded), [0, 0, 1, 7, 7, 14, 3_758_096_383]);
}
