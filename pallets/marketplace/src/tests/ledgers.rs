//! Usage that gateways commit with the roots of their ledgers.

use frame_support::{assert_noop, assert_ok};
use sp_runtime::BoundedVec;

use crate::{
    BilledBytes, LedgerAnchors, Ledgers,
    mock::*,
    types::{GIB, SkipReason, UsageUpdate},
};

fn raw(
    owner: u8,
    gateway: u8,
    sequence: u64,
    bytes: u64,
    updates: &[(u8, u64)],
) -> sp_runtime::DispatchResult {
    let updates: Vec<_> =
        updates.iter().map(|(n, bytes)| UsageUpdate { account: account(*n), bytes: *bytes }).collect();
    let updates = BoundedVec::truncate_from(updates);
    Marketplace::commit_usage(signed(owner), node(gateway), sequence, [sequence as u8; 32], bytes, updates)
}

/// Accounts 1 to 3 with credits, each letting gateways 1 and 2 bill a GiB.
fn clients() {
    for n in 1..=3 {
        buy(n, 1_000_000_000).unwrap();
        for gateway in 1..=2 {
            Marketplace::authorize_gateway(signed(n), node(gateway), GIB).unwrap();
        }
    }
    events();
}

fn skipped(n: u8, bytes: u64, reason: SkipReason) -> Event {
    Event::UsageSkipped { account: account(n), gateway: node(1), bytes, reason }
}

#[test]
fn only_the_owner_of_a_registered_gateway_commits() {
    story(|| {
        assert_noop!(raw(7, 4, 1, 0, &[]), Error::GatewayNotRegistered);
        assert_noop!(raw(8, 1, 1, 0, &[]), Error::NotGatewayOwner);
        assert_ok!(raw(7, 1, 1, 0, &[]));
    });
}

#[test]
fn sequence_numbers_only_grow() {
    story(|| {
        assert_ok!(raw(7, 1, 5, 0, &[]));
        for old in [0, 4, 5] {
            assert_noop!(raw(7, 1, old, 0, &[]), Error::SequenceNotIncreasing);
        }
        assert_ok!(raw(7, 1, 7, 0, &[]));
        assert_ok!(raw(7, 2, 0, 0, &[]));
        // The node id is the ledger: another owner goes on where the last one stopped.
        Gateways::set(vec![(1, 8)]);
        assert_noop!(raw(8, 1, 7, 0, &[]), Error::SequenceNotIncreasing);
        assert_ok!(raw(8, 1, u64::MAX, 0, &[]));
        assert_noop!(raw(8, 1, u64::MAX, 0, &[]), Error::SequenceNotIncreasing);
    });
}

#[test]
fn the_newest_commitments_are_kept() {
    story(|| {
        for sequence in 1..=5 {
            run_to(sequence + 1);
            assert_ok!(raw(7, 1, 10 * sequence, 100 * sequence, &[]));
        }
        let ledger = Ledgers::<Test>::get(node(1)).unwrap();
        assert_eq!((ledger.commits, ledger.anchor.sequence, ledger.anchor.bytes), (5, 50, 500));
        assert_eq!((ledger.anchor.root, ledger.anchor.anchored_at), ([50; 32], 6));
        let mut kept: Vec<_> =
            LedgerAnchors::<Test>::iter_prefix(node(1)).map(|(_, anchor)| anchor.sequence).collect();
        kept.sort();
        assert_eq!(kept, [30, 40, 50]);
    });
}

#[test]
fn updates_set_what_accounts_store() {
    story(|| {
        clients();
        assert_ok!(raw(7, 1, 1, 1_000, &[(1, 100), (3, 200)]));
        assert_eq!(
            events(),
            [
                Event::UsageChanged { account: account(1), gateway: node(1), bytes: 100 },
                Event::UsageChanged { account: account(3), gateway: node(1), bytes: 200 },
                Event::LedgerAnchored {
                    gateway: node(1),
                    sequence: 1,
                    root: [1; 32],
                    bytes: 1_000,
                    applied: 2,
                    skipped: 0
                },
            ]
        );
        assert_ok!(raw(7, 2, 1, 1_000, &[(1, 50)]));
        assert_eq!(Marketplace::agreement(&account(1)).unwrap().bytes, 150);
        assert_eq!(BilledBytes::<Test>::get(node(1)), 300);
        assert_ok!(raw(7, 1, 2, 1_000, &[(1, 0), (3, 300)]));
        assert_eq!(Marketplace::agreement(&account(1)).unwrap().bytes, 50);
        assert_eq!(BilledBytes::<Test>::get(node(1)), 300);
    });
}

/// One account cannot keep a gateway from anchoring: what cannot be applied is skipped and said.
#[test]
fn what_an_account_does_not_allow_is_skipped() {
    story(|| {
        clients();
        assert_ok!(raw(7, 1, 1, 10 * GIB, &[(1, GIB), (2, GIB + 1), (4, 1)]));
        assert_eq!(
            events()[1..],
            [
                skipped(2, GIB + 1, SkipReason::OverLimit),
                skipped(4, 1, SkipReason::NotAuthorized),
                Event::LedgerAnchored {
                    gateway: node(1),
                    sequence: 1,
                    root: [1; 32],
                    bytes: 10 * GIB,
                    applied: 1,
                    skipped: 2
                },
            ]
        );
        assert_ok!(Marketplace::revoke_gateway(signed(2), node(1)));
        events();
        assert_ok!(raw(7, 1, 2, 10 * GIB, &[(2, 1)]));
        assert_eq!(events()[0], skipped(2, 1, SkipReason::NotAuthorized));
    });
}

#[test]
fn a_suspended_account_stores_no_more_but_may_store_less() {
    story(|| {
        // A GiB for 20 blocks, and then nothing.
        assert_ok!(buy(1, 20_000));
        store(1, GIB / 2);
        assert_ok!(Marketplace::refund_credits(signed(1), 10_000));
        let mut block = 1;
        while Marketplace::agreement(&account(1)).unwrap().takes_writes {
            assert_ok!(commit(1, &[(1, GIB / 2)]));
            block += 1;
            run_to(block);
        }
        events();
        assert_ok!(commit(1, &[(1, GIB / 2 + 1)]));
        let said = events();
        assert!(
            said.contains(&skipped(1, GIB / 2 + 1, SkipReason::Suspended)),
            "not even within the limit: {said:?}"
        );
        assert_ok!(commit(1, &[(1, 1)]));
        assert_eq!(Marketplace::agreement(&account(1)).unwrap().bytes, 1);
    });
}

#[test]
fn updates_are_sorted_and_name_an_account_once() {
    story(|| {
        clients();
        assert_noop!(raw(7, 1, 1, GIB, &[(2, 1), (1, 1)]), Error::UpdatesNotSorted);
        assert_noop!(raw(7, 1, 1, GIB, &[(1, 1), (1, 2)]), Error::UpdatesNotSorted);
    });
}

#[test]
fn no_more_is_billed_than_the_ledger_holds() {
    story(|| {
        clients();
        assert_noop!(raw(7, 1, 1, 199, &[(1, 100), (2, 100)]), Error::BilledMoreThanAnchored);
        assert_ok!(raw(7, 1, 1, 200, &[(1, 100), (2, 100)]));
        assert_noop!(raw(7, 1, 2, 150, &[(1, 60)]), Error::BilledMoreThanAnchored);
        assert_ok!(raw(7, 1, 2, 150, &[(1, 50)]));
        assert_ok!(Marketplace::revoke_gateway(signed(2), node(1)));
        assert_ok!(raw(7, 1, 3, 50, &[]));
    });
}
