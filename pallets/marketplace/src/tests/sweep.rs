//! What happens by itself, in blocks that have time left.

use frame_support::{
    assert_ok,
    traits::{Get, Hooks},
    weights::Weight,
};

use crate::{
    AgreementCursor, Agreements, RequestCursor, Requests, WeightInfo,
    mock::*,
    types::{AgreementStatus, GIB},
    weights::SubstrateWeight,
};

type Weights = SubstrateWeight<Test>;

/// Clients 1 to 4 with a KiB each at gateway 1.
fn clients() {
    for n in 1..=4 {
        buy(n, 1_000_000).unwrap();
        store(n, 1_024);
    }
}

fn charged_in(block: u64) -> usize {
    Agreements::<Test>::iter_values().filter(|agreement| agreement.accrued_at == block).count()
}

#[test]
fn every_agreement_gets_its_turn() {
    story(|| {
        clients();
        assert_ok!(buy(5, 1_000_000));
        store(5, 1_024);
        for (block, looked_at) in [(2, 2), (3, 2), (4, 1), (5, 2)] {
            run_to(block);
            Marketplace::on_idle(block, Weight::MAX);
            assert_eq!(charged_in(block), looked_at, "block {block}");
        }
        // Five accounts, two per block, one pass in three blocks.
        assert!(Agreements::<Test>::iter_values().all(|agreement| agreement.accrued_at >= 2));
    });
}

#[test]
fn the_sweep_takes_no_more_than_is_left() {
    story(|| {
        clients();
        run_to(2);
        assert_eq!(Marketplace::on_idle(2, Weight::zero()), Weight::zero());
        assert_eq!(charged_in(2), 0);
        let left = Weights::sweep_agreements(1);
        let used = Marketplace::on_idle(2, left);
        assert!(used.all_lte(left), "{used} of {left}");
        assert_eq!(charged_in(2), 1);
        let used = Marketplace::on_idle(2, Weight::MAX);
        let most = Weights::sweep_agreements(SWEPT).saturating_add(Weights::sweep_requests(SWEPT));
        assert_eq!(used, most);
        assert_eq!(charged_in(2), 3);
    });
}

#[test]
fn agreements_expire_by_themselves() {
    story(|| {
        clients();
        assert_ok!(buy(5, 20_000));
        store(5, GIB);
        let mut stages = Vec::new();
        while let Some(agreement) = Agreements::<Test>::get(account(5)) {
            if stages.last() != Some(&agreement.status) {
                stages.push(agreement.status);
            }
            run_idle_to(System::block_number() + 1);
            assert!(System::block_number() < 100, "{stages:?}");
        }
        assert!(matches!(
            stages[..],
            [
                AgreementStatus::Active,
                AgreementStatus::Arrears { .. },
                AgreementStatus::Grace { .. },
                AgreementStatus::Suspended { .. },
                AgreementStatus::DeletionNotice { .. }
            ]
        ));
        assert_eq!(Agreements::<Test>::iter().count(), 4);
        // It may have been removed right when the cursor stood on it.
        run_idle_to(System::block_number() + 10);
    });
}

#[test]
fn requests_end_and_go_by_themselves() {
    story(|| {
        offer(10);
        assert_ok!(buy(1, 50));
        for _ in 0..5 {
            assert_ok!(Marketplace::request_service(signed(1), 1, 1, [1; 32], 10));
        }
        assert_eq!(available(1), 0);
        run_idle_to(1 + ASSIGNMENT);
        assert_eq!(available(1), 0);
        run_idle_to(1 + ASSIGNMENT + 4);
        assert_eq!(available(1), 50, "all refunded");
        assert_eq!(Requests::<Test>::iter().count(), 5);
        run_idle_to(1 + ASSIGNMENT + 4 + RETENTION + 5);
        assert_eq!(Requests::<Test>::iter().count(), 0, "all removed");
        assert_eq!((AgreementCursor::<Test>::get(), RequestCursor::<Test>::get()), (None, None));
    });
}

/// The hooks and the largest calls of the runtime's bounds fit a block of a second.
#[test]
fn what_runs_by_itself_is_a_small_part_of_a_block() {
    story(|| {
        let block: Weight =
            <<Test as frame_system::Config>::BlockWeights as Get<frame_system::limits::BlockWeights>>::get()
                .max_block;
        let settle = Weights::settle(256);
        assert!(settle.ref_time() < block.ref_time() / 10, "{settle} of {block}");
    });
}
