//! A chain of version 1 goes on with version 2.

use frame_support::{
    assert_ok,
    traits::{OnRuntimeUpgrade, StorageVersion},
};

use crate::{
    AuditTallies, CurrentWeightBucket, CurrentWeightRound, EpochStarts, FamilyGraceStart, FamilyWeight,
    NodeQualityByChild, QualityReports, SweepPosition, migrations::MigrateV1ToV2, mock::*,
};

/// What a chain of version 1 has, in block 65: maps, children, attestations, cooldowns; nothing of version 2.
fn version_1(test: impl FnOnce()) {
    story(|| {
        assert_ok!(register(1, 20));
        assert_ok!(register(1, 21));
        assert_ok!(register(2, 22));
        assert_ok!(register(3, 23));
        assert_ok!(Arion::deregister_child(signed(1), account(21)));
        assert_ok!(Arion::deregister_child(signed(3), account(23)));
        assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(200)));
        run_to(60);
        for epoch in [1, 2, 5] {
            assert_ok!(submit_map(100, epoch, vec![miner(1, 1, 20), miner(2, 2, 22)]));
        }
        run_to(65);
        assert_ok!(attest(6, vec![attestation(200, 1, 64)]));

        let _ = FamilyGraceStart::<Test>::clear(u32::MAX, None);
        let _ = AuditTallies::<Test>::clear(u32::MAX, None);
        EpochStarts::<Test>::kill();
        CurrentWeightBucket::<Test>::kill();
        CurrentWeightRound::<Test>::kill();
        SweepPosition::<Test>::kill();
        StorageVersion::new(1).put::<Arion>();
        test();
    });
}

#[test]
fn what_is_new_starts_empty_but_for_what_older_items_imply() {
    version_1(|| {
        assert!(Arion::do_try_state().is_err(), "version 1 is not a state of version 2");
        MigrateV1ToV2::<Test>::on_runtime_upgrade();
        Arion::do_try_state().unwrap();
        assert_eq!(StorageVersion::get::<Arion>(), StorageVersion::new(2));
        let mut graces: Vec<_> = FamilyGraceStart::<Test>::iter().collect();
        graces.sort();
        assert_eq!(graces, [(account(1), 3), (account(2), 3)]);
        assert_eq!(EpochStarts::<Test>::get().into_inner(), [(1, 0), (2, 0), (5, 0)]);
        assert_eq!(QualityReports::<Test>::iter().count(), 0);
        assert_eq!(FamilyWeight::<Test>::iter().count(), 0);
    });
}

#[test]
fn after_it_weights_and_audits_work_for_the_children_there_were() {
    version_1(|| {
        MigrateV1ToV2::<Test>::on_runtime_upgrade();
        let mut timeout = attestation(200, 2, 63);
        timeout.result = arion_types::AttestationResult::Timeout;
        sign(&mut timeout, 200);
        assert_ok!(attest(6, vec![timeout]));
        assert_ok!(report(100, vec![(20, quality(0, 0)), (22, quality(TIB, TIB))]));
        run_to_weights();
        assert_eq!(Arion::family_weights(), [(account(1), 100), (account(2), 500)]);
        assert_eq!(NodeQualityByChild::<Test>::get(account(20)).unwrap().strikes, 1);
        run_to(UNBONDING_BLOCKS + 20);
        assert_ok!(Arion::claim_unbonded(signed(1), account(21)));
        assert_ok!(register(3, 24));
    });
}

#[test]
fn it_runs_once() {
    version_1(|| {
        MigrateV1ToV2::<Test>::on_runtime_upgrade();
        assert_ok!(submit_map(100, 6, vec![miner(1, 1, 20)]));
        let (starts, graces) = (EpochStarts::<Test>::get(), FamilyGraceStart::<Test>::get(account(1)));
        run_to(100);
        MigrateV1ToV2::<Test>::on_runtime_upgrade();
        assert_eq!((EpochStarts::<Test>::get(), FamilyGraceStart::<Test>::get(account(1))), (starts, graces));
        assert_eq!(EpochStarts::<Test>::get().into_inner(), [(2, 0), (5, 0), (6, 65)]);
    });
}
