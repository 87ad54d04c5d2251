//! A miner that is away as it said before is not failed for it; not for longer, and not more often, than it may be.

use arion_types::{AttestationRecord, AttestationResult, AttestationResult::*};
use frame_support::{assert_noop, assert_ok};

use crate::{AuditCountsByChild, Maintenance, Maintenances, NodeQualityByChild, mock::*};

const WARDEN: u8 = 200;

fn with_miner(test: impl FnOnce()) {
    story(|| {
        assert_ok!(Arion::register_warden(RuntimeOrigin::root(), node_id(WARDEN)));
        assert_ok!(register(1, 20));
        assert_ok!(submit_map(100, 1, vec![miner(1, 1, 20)]));
        test();
    });
}

fn announce(who: u8, from: u64, until: u64) -> frame_support::dispatch::DispatchResult {
    Arion::announce_maintenance(signed(who), account(20), from, until)
}

fn verdict(shard: u8, block: u64, result: AttestationResult) -> AttestationRecord {
    let mut record = attestation(WARDEN, shard, block);
    record.result = result;
    sign(&mut record, WARDEN);
    record
}

#[test]
fn timeouts_of_announced_blocks_do_not_count_and_everything_else_does() {
    with_miner(|| {
        assert_ok!(announce(1, 5, 8));
        System::assert_last_event(
            Event::MaintenanceAnnounced { child: account(20), from: 5, until: 8 }.into(),
        );
        run_to(9);
        let during = vec![verdict(1, 5, Timeout), verdict(2, 7, Timeout)];
        assert_ok!(attest(0, during));
        assert_eq!(
            AuditCountsByChild::<Test>::iter().count(),
            0,
            "nothing is stored of them but the verdict"
        );
        assert_ok!(attest(0, vec![verdict(1, 4, Timeout), verdict(1, 8, Timeout), verdict(3, 6, Failed)]));
        let counts = AuditCountsByChild::<Test>::get(account(20));
        assert_eq!((counts.timeouts, counts.failed), (2, 1));
        run_to_weights();
        let quality = NodeQualityByChild::<Test>::get(account(20)).unwrap();
        assert_eq!((quality.strikes, quality.integrity_fails), (2, 1));
    });
}

#[test]
fn it_is_announced_in_advance_by_the_child_or_its_family_and_one_at_a_time() {
    with_miner(|| {
        assert_noop!(announce(2, 10, 12), Error::NotFamily);
        assert_noop!(announce(1, MAINTENANCE_NOTICE, 12), Error::MaintenanceTooSoon);
        assert_noop!(announce(1, 10, 10), Error::MaintenanceTooSoon);
        let unknown = Arion::announce_maintenance(signed(1), account(21), 10, 12);
        assert_noop!(unknown, Error::ChildNotRegistered);
        assert_ok!(announce(20, 1 + MAINTENANCE_NOTICE, 6));
        assert_noop!(announce(1, 20, 22), Error::MaintenanceNotOver);
        run_to(5);
        assert_noop!(announce(1, 20, 22), Error::MaintenanceNotOver);
        run_to(6);
        assert_ok!(announce(1, 20, 22));
        assert_ok!(Arion::deregister_child(signed(1), account(20)));
        assert_eq!(Maintenances::<Test>::iter().count(), 0);
        run_to(30);
        assert_noop!(announce(1, 40, 42), Error::ChildNotActive);
    });
}

#[test]
fn a_period_has_only_so_many_blocks_of_it() {
    with_miner(|| {
        assert_noop!(announce(1, 10, 10 + MAINTENANCE_MAX + 1), Error::MaintenanceTooLong);
        assert_noop!(announce(1, 10, u64::MAX), Error::MaintenanceTooLong);
        assert_ok!(announce(1, 10, 10 + MAINTENANCE_MAX - 2));
        run_to(30);
        assert_noop!(announce(1, 40, 43), Error::MaintenanceTooLong);
        assert_ok!(announce(1, 40, 42));
        let away = Maintenance { from: 40, until: 42, period_start: 10, announced: MAINTENANCE_MAX };
        assert_eq!(Maintenances::<Test>::get(account(20)), Some(away));
        run_to(50);
        // The next period begins with the first block of what is announced in it.
        assert_noop!(announce(1, 9 + MAINTENANCE_PERIOD, 80), Error::MaintenanceTooLong);
        assert_ok!(announce(1, 10 + MAINTENANCE_PERIOD, 10 + MAINTENANCE_PERIOD + MAINTENANCE_MAX));
    });
}
