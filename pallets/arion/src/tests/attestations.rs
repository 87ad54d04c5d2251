//! Audit results come in, verified one by one, and go when they are old.

use arion_types::AttestationResult;
use frame_support::{assert_noop, assert_ok};
use sp_runtime::DispatchError;

use crate::{
    AttestationsByBucket, CurrentAttestationBucket, EpochAttestationCommitments, RegisteredWardens, mock::*,
};

const WARDEN: u8 = 200;
const OTHER: u8 = 201;

fn warden(n: u8) {
    assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(n)));
}

fn with_warden(test: impl FnOnce()) {
    story(|| {
        warden(WARDEN);
        run_to(25);
        test();
    });
}

#[test]
fn a_batch_of_valid_attestations_is_stored_in_its_bucket() {
    with_warden(|| {
        warden(OTHER);
        let records = vec![attestation(WARDEN, 1, 20), attestation(OTHER, 1, 20), attestation(WARDEN, 2, 25)];
        assert_ok!(attest(2, records.clone()));
        System::assert_last_event(Event::AttestationsSubmitted { bucket: 2, count: 3 }.into());
        assert_ok!(attest(2, vec![attestation(WARDEN, 1, 21)]));
        assert_ok!(attest(1, vec![attestation(WARDEN, 1, 19)]));
        assert_eq!(AttestationsByBucket::<Test>::get(2).into_inner()[..3], records);
        assert_eq!(AttestationsByBucket::<Test>::get(2).len(), 4);
        assert_eq!(CurrentAttestationBucket::<Test>::get(), 2);
    });
}

#[test]
fn one_changed_bit_anywhere_makes_an_attestation_invalid() {
    with_warden(|| {
        let honest = attestation(WARDEN, 1, 20);
        let changes: [fn(&mut arion_types::AttestationRecord); 9] = [
            |record| record.shard_hash[31] ^= 1,
            |record| record.miner_uid ^= 1,
            |record| record.result = AttestationResult::Failed,
            |record| record.challenge_seed[0] ^= 0x80,
            |record| record.block_number ^= 1,
            |record| record.timestamp ^= 1,
            |record| record.signature[0] ^= 1,
            |record| record.merkle_proof_sig_hash[7] ^= 1,
            |record| record.warden_id = Default::default(),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut record = honest.clone();
            change(&mut record);
            assert_noop!(attest(2, vec![record]), Error::InvalidAttestationSignature);
            assert_eq!(AttestationsByBucket::<Test>::get(2).len(), 0, "change {index}");
        }
        assert_ok!(attest(2, vec![honest]));
    });
}

#[test]
fn a_signature_for_another_chain_is_invalid() {
    with_warden(|| {
        use sp_core::Pair;
        let mut record = attestation(WARDEN, 1, 20);
        record.signature = key(WARDEN).sign(&record.message(&[0; 32])).0;
        assert_noop!(attest(2, vec![record]), Error::InvalidAttestationSignature);
    });
}

#[test]
fn only_registered_wardens_count_and_one_bad_record_fails_the_batch() {
    with_warden(|| {
        let batch = vec![attestation(WARDEN, 1, 20), attestation(OTHER, 1, 20)];
        assert_noop!(attest(2, batch.clone()), Error::UnregisteredWarden);
        warden(OTHER);
        assert_ok!(attest(2, batch));
        assert_ok!(Arion::deregister_warden(RuntimeOrigin::root(), node_id(OTHER)));
        System::assert_last_event(
            Event::WardenDeregistered { warden_pubkey: node_id(OTHER), deregistered_at: 25 }.into(),
        );
        assert_noop!(attest(2, vec![attestation(OTHER, 2, 20)]), Error::UnregisteredWarden);
    });
}

#[test]
fn a_warden_has_one_verdict_per_challenge() {
    with_warden(|| {
        let record = attestation(WARDEN, 1, 20);
        assert_noop!(attest(2, vec![record.clone(), record.clone()]), Error::DuplicateAttestation);
        assert_ok!(attest(2, vec![record.clone()]));
        assert_noop!(attest(2, vec![record.clone()]), Error::DuplicateAttestation);
        let mut second_thoughts = record;
        second_thoughts.result = AttestationResult::Timeout;
        sign(&mut second_thoughts, WARDEN);
        assert_noop!(attest(2, vec![second_thoughts]), Error::DuplicateAttestation);
    });
}

#[test]
fn the_bucket_is_that_of_the_block_and_the_block_is_in_the_past() {
    with_warden(|| {
        assert_noop!(attest(2, vec![]), Error::NoAttestations);
        assert_noop!(attest(1, vec![attestation(WARDEN, 1, 20)]), Error::WrongAttestationBucket);
        assert_noop!(attest(3, vec![attestation(WARDEN, 1, 20)]), Error::WrongAttestationBucket);
        assert_noop!(attest(2, vec![attestation(WARDEN, 1, 26)]), Error::AttestationFromFuture);
        assert_noop!(attest(2, vec![attestation(WARDEN, 1, u64::MAX)]), Error::AttestationFromFuture);
        assert_ok!(attest(2, vec![attestation(WARDEN, 1, 25)]));
    });
}

#[test]
fn a_full_bucket_takes_no_more() {
    with_warden(|| {
        let batch =
            |shards: std::ops::Range<u8>| shards.map(|shard| attestation(WARDEN, shard, 20)).collect();
        assert_ok!(attest(2, batch(0..3)));
        assert_noop!(attest(2, batch(3..6)), Error::AttestationBucketFull);
        assert_ok!(attest(2, batch(3..5)));
        assert_noop!(attest(2, batch(5..6)), Error::AttestationBucketFull);
    });
}

#[test]
fn buckets_are_pruned_when_their_retention_ends() {
    with_warden(|| {
        assert_ok!(attest(2, vec![attestation(WARDEN, 1, 20)]));
        run_to((2 + u64::from(BUCKETS_KEPT)) * BUCKET_BLOCKS - 1);
        assert_ok!(attest(2, vec![attestation(WARDEN, 2, 20)]));
        run_to((2 + u64::from(BUCKETS_KEPT)) * BUCKET_BLOCKS);
        assert!(!AttestationsByBucket::<Test>::contains_key(2));
        assert_noop!(attest(2, vec![attestation(WARDEN, 3, 20)]), Error::AttestationBucketTooOld);
    });
}

#[test]
fn validators_and_admitted_submitters_bring_attestations() {
    with_warden(|| {
        let submit = |n| {
            let records = vec![attestation(WARDEN, n, 20)].try_into().unwrap();
            Arion::submit_attestations(signed(n), 2, records)
        };
        assert_noop!(submit(7), DispatchError::BadOrigin);
        let root = RuntimeOrigin::root();
        assert_noop!(Arion::add_attestation_submitter(signed(7), account(7)), DispatchError::BadOrigin);
        assert_ok!(Arion::add_attestation_submitter(root.clone(), account(7)));
        System::assert_last_event(Event::AttestationSubmitterAdded { submitter: account(7) }.into());
        assert_ok!(submit(7));
        assert_noop!(
            Arion::add_attestation_submitter(root.clone(), account(7)),
            Error::SubmitterAlreadyAdded
        );
        assert_ok!(Arion::add_attestation_submitter(root.clone(), account(8)));
        assert_noop!(Arion::add_attestation_submitter(root.clone(), account(9)), Error::TooManySubmitters);
        assert_noop!(Arion::remove_attestation_submitter(signed(7), account(7)), DispatchError::BadOrigin);
        assert_ok!(Arion::remove_attestation_submitter(root.clone(), account(7)));
        System::assert_last_event(Event::AttestationSubmitterRemoved { submitter: account(7) }.into());
        assert_noop!(submit(7), DispatchError::BadOrigin);
        assert_noop!(Arion::remove_attestation_submitter(root, account(7)), Error::SubmitterNotFound);
    });
}

#[test]
fn the_admin_registers_wardens_and_nobody_else() {
    story(|| {
        let root = RuntimeOrigin::root();
        assert_noop!(Arion::register_warden(signed(100), node_id(WARDEN)), DispatchError::BadOrigin);
        assert_noop!(Arion::deregister_warden(root.clone(), node_id(WARDEN)), Error::UnregisteredWarden);
        assert_noop!(Arion::deregister_warden(signed(100), node_id(WARDEN)), DispatchError::BadOrigin);
        for n in 0..3 {
            warden(WARDEN + n);
        }
        System::assert_last_event(
            Event::WardenRegistered { warden_pubkey: node_id(WARDEN + 2), registered_at: 1 }.into(),
        );
        assert_eq!(RegisteredWardens::<Test>::get(node_id(WARDEN)).unwrap().registered_at, 1);
        assert_noop!(Arion::register_warden(root.clone(), node_id(WARDEN)), Error::WardenAlreadyRegistered);
        assert_noop!(Arion::register_warden(root.clone(), node_id(WARDEN + 3)), Error::TooManyWardens);
        assert_ok!(Arion::deregister_warden(root.clone(), node_id(WARDEN)));
        assert_ok!(Arion::register_warden(root, node_id(WARDEN + 3)));
    });
}

#[test]
fn an_epochs_bundle_is_committed_to_once_and_forgotten_with_its_map() {
    story(|| {
        let commit =
            |epoch| Arion::submit_attestation_commitment(signed(100), epoch, [1; 32], [2; 32], [3; 32], 4);
        assert_noop!(commit(1), Error::UnknownEpoch);
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 1)]));
        assert_ok!(commit(1));
        System::assert_last_event(
            Event::AttestationCommitmentSubmitted {
                epoch: 1,
                arion_content_hash: [1; 32],
                attestation_merkle_root: [2; 32],
                warden_pubkey_merkle_root: [3; 32],
                attestation_count: 4,
            }
            .into(),
        );
        let commitment = EpochAttestationCommitments::<Test>::get(1).unwrap();
        assert_eq!((commitment.submitter, commitment.submitted_at), (account(100), 1));
        assert_noop!(commit(1), Error::CommitmentAlreadyExists);
        assert_noop!(
            Arion::submit_attestation_commitment(signed(1), 1, [1; 32], [2; 32], [3; 32], 4),
            DispatchError::BadOrigin
        );
        for epoch in 2..=1 + u64::from(EPOCHS_KEPT) {
            assert_ok!(submit_map(100, epoch, vec![miner(1, 1, 1)]));
        }
        assert!(!EpochAttestationCommitments::<Test>::contains_key(1));
    });
}
