//! A warden that signed two verdicts on one challenge is deregistered by whoever shows both.

use arion_types::{AttestationRecord, AttestationResult, AttestationResult::*};
use frame_support::{assert_noop, assert_ok, dispatch::Pays};

use crate::{AuditTallies, RegisteredWardens, WardenConflict, WardenConflicts, mock::*};

const WARDEN: u8 = 200;
const OTHER: u8 = 201;

fn verdict(warden: u8, result: AttestationResult) -> AttestationRecord {
    let mut record = attestation(warden, 1, 20);
    record.result = result;
    sign(&mut record, warden);
    record
}

fn changed(change: impl FnOnce(&mut AttestationRecord)) -> AttestationRecord {
    let mut record = verdict(WARDEN, Failed);
    change(&mut record);
    sign(&mut record, WARDEN);
    record
}

fn report(
    reporter: u8,
    first: &AttestationRecord,
    second: &AttestationRecord,
) -> frame_support::dispatch::DispatchResultWithPostInfo {
    let (first, second) = (Box::new(first.clone()), Box::new(second.clone()));
    Arion::report_conflicting_attestations(signed(reporter), first, second)
}

fn with_wardens(test: impl FnOnce()) {
    story(|| {
        for warden in [WARDEN, OTHER] {
            assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(warden)));
        }
        run_to(25);
        test();
    });
}

#[test]
fn anyone_shows_two_verdicts_and_the_warden_is_out_for_good() {
    with_wardens(|| {
        let (first, second) = (verdict(WARDEN, Passed), verdict(WARDEN, Timeout));
        // One of them is on chain, the other is what the chain refuses as a duplicate.
        assert_ok!(attest(2, vec![first.clone()]));
        assert_noop!(attest(2, vec![second.clone()]), Error::DuplicateAttestation);
        let stranger = 7;
        assert_eq!(report(stranger, &first, &second).unwrap().pays_fee, Pays::No);
        let warden_pubkey = node_id(WARDEN);
        let events: Vec<Event> = System::events()
            .into_iter()
            .filter_map(|record| match record.event {
                RuntimeEvent::Arion(event) => Some(event),
                _ => None,
            })
            .rev()
            .take(2)
            .collect();
        let reported = Event::ConflictingAttestationsReported {
            reporter: account(stranger),
            warden_pubkey,
            shard_hash: [1; 32],
            miner_uid: 1,
            block_number: 20,
        };
        assert_eq!(events, [Event::WardenDeregistered { warden_pubkey, deregistered_at: 25 }, reported]);
        let conflict = WardenConflict {
            reporter: account(stranger),
            reported_at: 25,
            shard_hash: [1; 32],
            miner_uid: 1,
            block_number: 20,
        };
        assert_eq!(WardenConflicts::<Test>::iter().collect::<Vec<_>>(), [(warden_pubkey, conflict)]);

        // Its word counts no more, in whatever order; nor does its key come back.
        assert_eq!(RegisteredWardens::<Test>::count(), 1);
        assert_noop!(attest(2, vec![attestation(WARDEN, 2, 20)]), Error::UnregisteredWarden);
        for (first, second) in [(&first, &second), (&second, &first)] {
            assert_noop!(report(1, first, second), Error::ConflictAlreadyReported);
        }
        let again = Arion::register_warden(RuntimeOrigin::root(), warden_pubkey);
        assert_noop!(again, Error::WardenContradictedItself);
        assert_ok!(attest(2, vec![attestation(OTHER, 2, 20)]));
    });
}

#[test]
fn every_pair_of_different_verdicts_is_a_conflict_and_no_pair_of_equal_ones() {
    let all = [Passed, Failed, Timeout, InvalidProof];
    for first in all {
        for second in all {
            with_wardens(|| {
                // That they were signed at different times makes no difference.
                let mut later = verdict(WARDEN, second);
                later.timestamp += 1;
                sign(&mut later, WARDEN);
                let first_verdict = verdict(WARDEN, first);
                if first == second {
                    assert_noop!(report(1, &first_verdict, &later), Error::SameVerdict);
                } else {
                    assert_ok!(report(1, &first_verdict, &later));
                }
            });
        }
    }
}

#[test]
fn what_is_no_contradiction_of_one_warden_is_refused() {
    with_wardens(|| {
        let passed = verdict(WARDEN, Passed);
        assert_noop!(report(1, &passed, &verdict(OTHER, Failed)), Error::DifferentWardens);
        let elsewhere: [AttestationRecord; 3] = [
            changed(|record| record.shard_hash = [2; 32]),
            changed(|record| record.miner_uid = 2),
            changed(|record| record.block_number = 21),
        ];
        for record in elsewhere {
            assert_noop!(report(1, &passed, &record), Error::DifferentChallenges);
        }
        assert_noop!(report(1, &passed, &passed), Error::SameVerdict);
        // Whoever changes a bit of an honest warden's verdict has no signature for it.
        let mut forged = verdict(WARDEN, Passed);
        forged.result = Failed;
        assert_noop!(report(1, &passed, &forged), Error::InvalidAttestationSignature);
        assert_noop!(report(1, &forged, &passed), Error::InvalidAttestationSignature);
        use sp_core::Pair;
        let mut of_another_chain = verdict(WARDEN, Failed);
        of_another_chain.signature = key(WARDEN).sign(&of_another_chain.message(&[0; 32])).0;
        assert_noop!(report(1, &passed, &of_another_chain), Error::InvalidAttestationSignature);
        assert!(RegisteredWardens::<Test>::contains_key(node_id(WARDEN)));
    });
}

#[test]
fn only_a_registered_warden_has_something_to_lose() {
    with_wardens(|| {
        let never = 202;
        let (first, second) = (verdict(never, Passed), verdict(never, Failed));
        assert_noop!(report(1, &first, &second), Error::UnregisteredWarden);
        // Deregistered by the admin before anybody showed it, and admitted again: then it counts.
        let (first, second) = (verdict(WARDEN, Passed), verdict(WARDEN, Failed));
        assert_ok!(Arion::deregister_warden(RuntimeOrigin::root(), node_id(WARDEN)));
        assert_noop!(report(1, &first, &second), Error::UnregisteredWarden);
        assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(WARDEN)));
        assert_ok!(report(1, &first, &second));
    });
}

#[test]
fn what_it_attested_before_stays_and_counts_as_far_as_others_agree() {
    with_wardens(|| {
        assert_ok!(register(1, 20));
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 20)]));
        run_to(26);
        let mut failed = attestation(WARDEN, 9, 26);
        failed.result = Failed;
        sign(&mut failed, WARDEN);
        assert_ok!(attest(2, vec![failed]));
        assert_ok!(report(1, &verdict(WARDEN, Passed), &verdict(WARDEN, Failed)));
        assert_eq!(AuditTallies::<Test>::iter().count(), 1);
    });
}
