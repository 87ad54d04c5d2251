//! Storage agreements: who may bill, what is charged, and what happens when nobody pays.

use frame_support::{assert_noop, assert_ok};
use proptest::prelude::*;

use crate::{
    Agreements, BilledBytes, PeriodRevenue,
    mock::*,
    types::{AgreementStatus::*, GIB},
};

/// What a GiB costs per block at the start.
const PER_BLOCK: u128 = STORAGE_PRICE / BLOCKS_PER_HOUR as u128;
/// Least credits for a GiB.
const RUNWAY_UNITS: u128 = PER_BLOCK * RUNWAY as u128;

fn poke(n: u8) {
    Marketplace::poke(signed(4), account(n)).unwrap();
}

fn status(n: u8) -> Option<crate::types::AgreementStatus<u64>> {
    Agreements::<Test>::get(account(n)).map(|agreement| agreement.status)
}

#[test]
fn a_gateway_bills_what_it_was_authorized_for() {
    story(|| {
        let authorize =
            |gateway, bytes_max| Marketplace::authorize_gateway(signed(1), node(gateway), bytes_max);
        assert_noop!(authorize(4, GIB), Error::GatewayNotRegistered);
        assert_noop!(authorize(1, 0), Error::ZeroAmount);
        assert_noop!(authorize(1, GIB), Error::NotEnoughCredits);
        assert_ok!(buy(1, RUNWAY_UNITS - 1));
        assert_noop!(authorize(1, GIB), Error::NotEnoughCredits);
        assert_ok!(buy(1, 1));
        assert_ok!(authorize(1, GIB));
        assert_eq!(
            events().last(),
            Some(&Event::GatewayAuthorized { account: account(1), gateway: node(1), bytes_max: GIB })
        );
        assert_noop!(authorize(2, 1), Error::NotEnoughCredits);
        assert_ok!(authorize(1, GIB - 1));
        assert_ok!(authorize(2, 1));
        assert_noop!(authorize(3, 1), Error::TooManyGateways);
        assert_ok!(commit(1, &[(1, 100)]));
        assert_noop!(authorize(1, 99), Error::LimitBelowUsage);
        assert_ok!(authorize(1, 100));
        let view = Marketplace::agreement(&account(1)).unwrap();
        assert_eq!((view.bytes, view.gateways.len(), view.status), (100, 2, Active));
    });
}

#[test]
fn storage_costs_its_price_per_gib_and_hour() {
    story(|| {
        assert_ok!(buy(1, 1_000_000));
        store(1, 3 * GIB);
        run_to(1 + u64::from(BLOCKS_PER_HOUR));
        let view = Marketplace::agreement(&account(1)).unwrap();
        assert_eq!(view.charged, 3 * STORAGE_PRICE, "three GiB for an hour, before anybody touched it");
        assert_eq!(available(1), 1_000_000 - 3 * STORAGE_PRICE);
        assert_eq!(PeriodRevenue::<Test>::get().storage, 0);
        events();
        poke(1);
        assert_eq!(
            events(),
            [Event::StorageCharged {
                account: account(1),
                credits: 30_000,
                paid: 30_000,
                alpha: 60_000,
                debt: 0
            }]
        );
        assert_eq!(available(1), 1_000_000 - 3 * STORAGE_PRICE);
        assert_eq!(PeriodRevenue::<Test>::get().storage, 60_000);
    });
}

#[test]
fn a_new_price_counts_from_its_block_on() {
    story(|| {
        assert_ok!(buy(1, 1_000_000));
        store(1, GIB);
        run_to(4);
        assert_ok!(Marketplace::set_storage_price(root(), 10 * STORAGE_PRICE));
        run_to(6);
        assert_ok!(Marketplace::set_storage_price(root(), 0));
        run_to(100);
        assert_eq!(available(1), 1_000_000 - 3 * PER_BLOCK - 2 * 10 * PER_BLOCK);
        assert_eq!(Marketplace::burn_down(&account(1)), None, "free of charge it lasts for good");
    });
}

#[test]
fn less_than_a_unit_is_carried() {
    story(|| {
        assert_ok!(buy(1, 1_000_000));
        // A byte costs a unit in 2^30 * 10 / 10,000 blocks: a KiB in 1,048.576.
        store(1, 1_024);
        for block in 2..=1_049 {
            run_to(block);
            poke(1);
        }
        assert_eq!(available(1), 1_000_000);
        run_to(1_050);
        poke(1);
        assert_eq!(available(1), 999_999);
    });
}

#[test]
fn the_end_of_the_credits_is_foreseen_to_the_block() {
    story(|| {
        assert_eq!(Marketplace::burn_down(&account(1)), None);
        assert_ok!(buy(1, RUNWAY_UNITS));
        store(1, GIB);
        assert_eq!(Marketplace::burn_down(&account(1)), Some(22));
        run_to(21);
        poke(1);
        assert_eq!((status(1), available(1)), (Some(Active), 0));
        assert_eq!(Marketplace::burn_down(&account(1)), Some(22));
        run_to(22);
        assert_eq!(Marketplace::burn_down(&account(1)), Some(22));
        assert_eq!(Marketplace::balance(&account(1)).debt, PER_BLOCK);
        poke(1);
        assert_eq!(status(1), Some(Arrears { until: 22 + ARREARS }));
    });
}

/// Blocks in which the stages start for an account that stores a GiB from block 1 with credits for 20 blocks,
/// and the status then.
const STAGES: [(u64, &str); 4] = [(22, "arrears"), (27, "grace"), (33, "suspension"), (40, "notice")];
const EXPIRY: u64 = 48;

fn run_out(until: u64) {
    buy(1, RUNWAY_UNITS).unwrap();
    store(1, GIB);
    for block in 2..=until {
        run_to(block);
        poke(1);
    }
}

#[test]
fn who_does_not_pay_passes_every_stage() {
    story(|| {
        run_out(EXPIRY);
        let debt = |block: u64| u128::from(block - 21) * PER_BLOCK;
        let who = account(1);
        let stages: Vec<Event> =
            events().into_iter().filter(|event| !matches!(event, Event::StorageCharged { .. })).collect();
        let stages: Vec<_> = stages
            .into_iter()
            .skip_while(|event| !matches!(event, Event::ArrearsStarted { .. }))
            .filter(|event| !matches!(event, Event::PeriodSettled { .. } | Event::RewardCredited { .. }))
            .collect();
        assert_eq!(
            stages,
            [
                Event::ArrearsStarted { account: who.clone(), debt: debt(22), until: 27 },
                Event::GraceStarted { account: who.clone(), debt: debt(27), until: 33 },
                Event::AgreementSuspended { account: who.clone(), debt: debt(33), until: 40 },
                Event::DeletionAnnounced { account: who.clone(), debt: debt(40), until: 48 },
                Event::AgreementExpired { account: who, debt: debt(48) },
            ]
        );
        assert_eq!(status(1), None);
        assert_eq!(BilledBytes::<Test>::get(node(1)), 0, "nothing is billed for it any more");
        assert_noop!(Marketplace::poke(signed(4), account(1)), Error::AgreementNotFound);
    });
}

#[test]
fn paying_brings_the_account_back_at_every_stage() {
    for (block, stage) in STAGES {
        story(|| {
            run_out(block);
            let view = Marketplace::agreement(&account(1)).unwrap();
            assert_eq!(view.takes_writes, block < 33, "{stage}");
            assert_noop!(
                Marketplace::authorize_gateway(signed(1), node(1), 2 * GIB),
                Error::AgreementInArrears
            );
            let debt = view.debt;
            assert_eq!(debt, u128::from(block - 21) * PER_BLOCK, "{stage}");
            assert_ok!(buy(1, debt - 1));
            assert_ne!(status(1), Some(Active), "{stage}");
            assert_eq!(Marketplace::balance(&account(1)).debt, 1, "{stage}");
            events();
            assert_ok!(buy(1, 1 + RUNWAY_UNITS));
            assert!(events().contains(&Event::AgreementRestored { account: account(1) }), "{stage}");
            assert_eq!((status(1), available(1)), (Some(Active), RUNWAY_UNITS), "{stage}");
            let view = Marketplace::agreement(&account(1)).unwrap();
            assert_eq!((view.bytes, view.debt), (GIB, 0), "nothing was lost in {stage}");
            assert_ok!(commit(1, &[(1, GIB)]));
        });
    }
}

#[test]
fn a_stage_has_its_full_length_however_late_it_is_entered() {
    story(|| {
        assert_ok!(buy(1, RUNWAY_UNITS));
        store(1, GIB);
        run_to(1_000);
        poke(1);
        assert_eq!(status(1), Some(Arrears { until: 1_000 + ARREARS }));
        poke(1);
        assert_eq!(status(1), Some(Arrears { until: 1_000 + ARREARS }));
        run_to(2_000);
        poke(1);
        assert_eq!(status(1), Some(Grace { until: 2_000 + GRACE }));
    });
}

#[test]
fn who_revokes_a_gateway_is_no_longer_charged() {
    story(|| {
        assert_ok!(buy(1, 10 * RUNWAY_UNITS));
        assert_noop!(Marketplace::revoke_gateway(signed(1), node(1)), Error::AgreementNotFound);
        store(1, GIB);
        assert_ok!(Marketplace::authorize_gateway(signed(1), node(3), GIB));
        assert_ok!(commit(3, &[(1, GIB)]));
        assert_noop!(Marketplace::revoke_gateway(signed(1), node(2)), Error::GatewayNotAuthorized);
        run_to(11);
        assert_ok!(Marketplace::revoke_gateway(signed(1), node(3)));
        assert_eq!(
            events().last(),
            Some(&Event::GatewayRevoked { account: account(1), gateway: node(3), bytes: GIB })
        );
        run_to(21);
        assert_eq!(Marketplace::agreement(&account(1)).unwrap().charged, (20 + 10) * PER_BLOCK);
        assert_ok!(Marketplace::revoke_gateway(signed(1), node(1)));
        assert_eq!(events().last(), Some(&Event::AgreementClosed { account: account(1) }));
        assert_eq!(status(1), None);
    });
}

#[test]
fn an_agreement_with_debt_closes_when_it_is_paid() {
    story(|| {
        run_out(25);
        assert_ok!(Marketplace::revoke_gateway(signed(1), node(1)));
        run_to(26);
        poke(1);
        assert_eq!(Marketplace::balance(&account(1)).debt, 4 * PER_BLOCK, "it does not grow any more");
        assert_ok!(buy(1, 4 * PER_BLOCK));
        assert_eq!(events().last(), Some(&Event::AgreementClosed { account: account(1) }));
        assert_eq!((status(1), available(1)), (None, 0));
    });
}

#[test]
fn a_gateway_that_left_can_be_dropped_by_anybody() {
    story(|| {
        assert_ok!(buy(1, 10 * RUNWAY_UNITS));
        store(1, GIB);
        assert_noop!(
            Marketplace::drop_gateway(signed(4), account(1), node(1)),
            Error::GatewayStillRegistered
        );
        Gateways::set(vec![(2, 7)]);
        assert_noop!(Marketplace::drop_gateway(signed(4), account(2), node(1)), Error::AgreementNotFound);
        assert_noop!(Marketplace::drop_gateway(signed(4), account(1), node(3)), Error::GatewayNotAuthorized);
        assert_ok!(Marketplace::drop_gateway(signed(4), account(1), node(1)));
        assert_eq!(status(1), None);
        assert_eq!(BilledBytes::<Test>::get(node(1)), 0);
    });
}

/// What happens to an account in a block, and whether somebody looks at it.
#[derive(Clone, Debug)]
struct Happening {
    blocks: u64,
    bytes: Option<u64>,
    price: Option<u128>,
    buys: Option<u128>,
}

fn happening() -> impl Strategy<Value = Happening> {
    (
        1..30u64,
        proptest::option::of(0..50 * GIB),
        proptest::option::of(0..100_000_000u128),
        proptest::option::of(1..1_000_000u128),
    )
        .prop_map(|(blocks, bytes, price, buys)| Happening { blocks, bytes, price, buys })
}

/// What one can see of an account, and the ALPHA that was earned from it.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    balance: crate::types::CreditBalance,
    charged: u128,
    remainder: u64,
    earned: u128,
}

/// Lets things happen, with a look at the account in the blocks that `looks` names.
fn history(credits: u128, happenings: &[Happening], looks: &dyn Fn(u64) -> bool) -> Seen {
    let mut seen = None;
    story(|| {
        assert_ok!(Marketplace::set_storage_price(root(), 0));
        assert_ok!(buy(1, credits));
        assert_ok!(Marketplace::authorize_gateway(signed(1), node(1), 50 * GIB));
        assert_ok!(Marketplace::set_storage_price(root(), STORAGE_PRICE + 77));
        assert_ok!(commit(1, &[(1, GIB + 1)]));
        for happening in happenings {
            let end = System::block_number() + happening.blocks;
            while System::block_number() < end {
                run_to(System::block_number() + 1);
                if looks(System::block_number()) {
                    poke(1);
                }
            }
            if let Some(bytes) = happening.bytes {
                assert_ok!(commit(1, &[(1, bytes)]));
            }
            if let Some(price) = happening.price {
                assert_ok!(Marketplace::set_storage_price(root(), price));
            }
            if let Some(credits) = happening.buys {
                assert_ok!(buy(1, credits));
            }
        }
        poke(1);
        let agreement = Agreements::<Test>::get(account(1)).unwrap();
        let balance = Marketplace::balance(&account(1));
        seen = Some(Seen {
            balance,
            charged: agreement.charged,
            remainder: agreement.remainder,
            earned: FUNDS - alpha(1) - balance.backing,
        });
    });
    seen.unwrap()
}

/// The charge block by block, as one would do it on paper.
fn on_paper(happenings: &[Happening]) -> u128 {
    let (mut parts, mut bytes, mut price) = (0u128, u128::from(GIB + 1), STORAGE_PRICE + 77);
    for happening in happenings {
        for _ in 0..happening.blocks {
            parts += bytes * price;
        }
        bytes = happening.bytes.map_or(bytes, u128::from);
        price = happening.price.unwrap_or(price);
    }
    parts / (u128::from(GIB) * u128::from(BLOCKS_PER_HOUR))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn charges_do_not_depend_on_when_anybody_looks(
        happenings in proptest::collection::vec(happening(), 1..8),
        every in 1..9u64,
    ) {
        let plenty = FUNDS / 4;
        let never = history(plenty, &happenings, &|_| false);
        prop_assert_eq!(&never, &history(plenty, &happenings, &|_| true));
        prop_assert_eq!(&never, &history(plenty, &happenings, &|block| block % every == 0));
        prop_assert_eq!(never.charged, on_paper(&happenings));
    }

    /// Too few credits: debt and payments are the same too, as long as no look leads to suspension.
    #[test]
    fn debts_do_not_depend_on_when_anybody_looks(
        credits in 1..50_000u128,
        buys in proptest::collection::vec((1..6u64, proptest::option::of(1..20_000u128)), 1..4),
        every in 1..5u64,
    ) {
        let happenings: Vec<_> = buys
            .into_iter()
            .map(|(blocks, buys)| Happening { blocks, bytes: None, price: None, buys })
            .collect();
        let never = history(credits, &happenings, &|_| false);
        prop_assert_eq!(&never, &history(credits, &happenings, &|_| true));
        prop_assert_eq!(&never, &history(credits, &happenings, &|block| block % every == 0));
        prop_assert_eq!(never.charged, on_paper(&happenings));
    }
}
