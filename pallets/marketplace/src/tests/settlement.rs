//! Revenue: 60 % to miners by weight, 30 % to validators and stakers, 10 % to the treasury.

use frame_support::{assert_noop, assert_ok, traits::fungible::Inspect};
use proptest::prelude::*;

use crate::{Claimable, PeriodRevenue, mock::*, types::GIB};

fn pot() -> u128 {
    Balances::balance(&Marketplace::staking_pot())
}

fn claimable(n: u8) -> u128 {
    Marketplace::claimable(&account(n))
}

/// Storage revenue of `alpha` (two per unit) in the running period.
fn earn(alpha: u128) {
    PeriodRevenue::<Test>::mutate(|revenue| revenue.storage += alpha);
    // What account 4 paid for it.
    Marketplace::deposit(&account(4), alpha).unwrap();
}

#[test]
fn the_period_is_settled_to_the_unit() {
    story(|| {
        assert_ok!(buy(1, 1_000_000));
        store(1, GIB);
        assert_eq!(Marketplace::next_settlement().block, PERIOD);
        run_to(11);
        assert_ok!(Marketplace::poke(signed(4), account(1)));
        let next = Marketplace::next_settlement();
        assert_eq!((next.block, next.storage, next.services, next.carried), (PERIOD, 20_000, 0, 0));
        run_to(PERIOD - 1);
        assert_eq!(pot(), 0);
        events();
        run_to(PERIOD);
        // 20,000 ALPHA: 12,000 for families of weights 3, 2 and 2, 6,000, 2,000.
        assert_eq!([claimable(50), claimable(51), claimable(52)], [5_142, 3_428, 3_428]);
        assert_eq!((pot(), alpha(TREASURY)), (6_000, 2_000));
        assert_eq!(
            events(),
            [
                Event::RewardCredited { account: account(50), amount: 5_142 },
                Event::RewardCredited { account: account(51), amount: 3_428 },
                Event::RewardCredited { account: account(52), amount: 3_428 },
                Event::PeriodSettled {
                    storage: 20_000,
                    services: 0,
                    miners: 11_998,
                    network: 6_000,
                    treasury: 2_000,
                    carried: 2
                },
            ]
        );
        let next = Marketplace::next_settlement();
        assert_eq!((next.block, next.storage, next.carried), (2 * PERIOD, 0, 2));
    });
}

#[test]
fn remainders_join_the_next_period() {
    story(|| {
        Weights::set(vec![(50, 1)]);
        earn(1_009);
        run_to(PERIOD);
        // 605.4, 302.7, 100.9
        assert_eq!((claimable(50), pot(), alpha(TREASURY)), (605, 302, 100));
        assert_eq!(PeriodRevenue::<Test>::get().carry, 2);
        earn(1_008);
        run_to(2 * PERIOD);
        assert_eq!((claimable(50), pot(), alpha(TREASURY)), (605 + 606, 302 + 303, 100 + 101));
        assert_eq!(PeriodRevenue::<Test>::get().carry, 0);
    });
}

#[test]
fn without_weights_the_miners_share_waits() {
    story(|| {
        for weights in [vec![], vec![(50, 0), (51, 0)]] {
            Weights::set(weights);
            earn(1_000);
            run_to(System::block_number() + PERIOD);
        }
        assert_eq!(PeriodRevenue::<Test>::get().miners_carry, 1_200);
        assert_eq!((claimable(50), pot(), alpha(TREASURY)), (0, 600, 200));
        Weights::set(vec![(50, u16::MAX), (51, 0)]);
        run_to(System::block_number() + PERIOD);
        assert_eq!((claimable(50), claimable(51)), (1_200, 0));
        assert_eq!(PeriodRevenue::<Test>::get().miners_carry, 0);
    });
}

#[test]
fn no_more_families_than_the_bound_are_paid() {
    story(|| {
        Weights::set((50..60).map(|n| (n, 1)).collect());
        earn(1_000);
        run_to(PERIOD);
        assert_eq!([claimable(50), claimable(53), claimable(54)], [150, 150, 0]);
    });
}

#[test]
fn anybody_can_have_a_reward_paid_out() {
    story(|| {
        assert_noop!(Marketplace::claim(signed(4), account(50)), Error::NothingToClaim);
        earn(10_000);
        run_to(PERIOD);
        let reward = claimable(50);
        events();
        assert_ok!(Marketplace::claim(signed(4), account(50)));
        assert_eq!(alpha(50), reward);
        assert_eq!(events(), [Event::RewardClaimed { account: account(50), amount: reward }]);
        assert!(!Claimable::<Test>::contains_key(account(50)));
        assert_noop!(Marketplace::claim(signed(4), account(50)), Error::NothingToClaim);
        assert_noop!(
            Marketplace::claim(RuntimeOrigin::none(), account(50)),
            sp_runtime::DispatchError::BadOrigin
        );
    });
}

/// Amounts below the existential deposit: nothing is lost, it can be claimed once it is enough.
#[test]
fn small_amounts_wait_until_an_account_can_take_them() {
    story(|| {
        Weights::set(vec![(50, 1)]);
        earn(160);
        run_to(PERIOD);
        assert_eq!(claimable(50), 96);
        assert_noop!(Marketplace::claim(signed(4), account(50)), Error::AccountCannotReceive);
        assert_eq!((pot(), alpha(TREASURY)), (0, 0));
        assert_eq!(Marketplace::claimable(&Marketplace::staking_pot()), 48);
        assert_eq!(claimable(TREASURY), 16);
        earn(1_000);
        run_to(2 * PERIOD);
        assert_eq!((pot(), alpha(TREASURY)), (300, 100));
        assert_ok!(Marketplace::claim(signed(4), Marketplace::staking_pot()));
        assert_ok!(Marketplace::claim(signed(4), account(TREASURY)));
        assert_ok!(Marketplace::claim(signed(4), account(50)));
        assert_eq!((alpha(50), pot(), alpha(TREASURY)), (696, 348, 116));
    });
}

/// A whole period with storage and a service, against an account of it that was written by hand.
#[test]
fn a_period_by_hand() {
    story(|| {
        // Account 1 buys 50,000 units at 2, and 50,000 at 3: 250,000 ALPHA behind 100,000 units.
        assert_ok!(buy(1, 50_000));
        assert_ok!(Marketplace::set_credit_price(root(), 3 * crate::CREDIT));
        assert_ok!(buy(1, 50_000));
        // 2 GiB from block 1, 5,000 units per GiB-hour less from block 11 on.
        store(1, 2 * GIB);
        run_to(11);
        assert_ok!(Marketplace::set_storage_price(root(), STORAGE_PRICE / 2));
        run_to(19);
        assert_ok!(Marketplace::poke(signed(4), account(1)));
        // 10 blocks at 2,000 and 8 at 1,000: 28,000 units, at 2.5 ALPHA each.
        assert_eq!(PeriodRevenue::<Test>::get().storage, 70_000);
        assert_eq!(available(1), 72_000);

        // Account 2 has a virtual machine of 333 units from a payment at 3: 999 ALPHA.
        offer(333);
        assert_ok!(grant(b"pi", 2, 333));
        assert_ok!(Marketplace::request_service(signed(2), 1, 1, [1; 32], 333));
        run_to(20);
        // 42,000 for miners: 18,000, 12,000, 12,000.
        assert_eq!([claimable(50), claimable(51), claimable(52)], [18_000, 12_000, 12_000]);
        assert_eq!((pot(), alpha(TREASURY)), (21_000, 7_000));
        assert_ok!(Marketplace::assign_miner(signed(100), 0, node(13)));
        assert_ok!(Marketplace::assign_miner(signed(102), 0, node(13)));
        assert_ok!(Marketplace::accept_request(signed(6), 0));
        assert_ok!(Marketplace::report_delivery(signed(6), 0, [2; 32]));
        assert_ok!(Marketplace::confirm_delivery(signed(2), 0));
        // 599.4, 299.7, 99.9: two units carried.
        assert_eq!(claimable(6), 599);
        run_to(40);
        // Nothing was touched: the storage of this period comes with the next touch. The carried 2 are split.
        assert_eq!((pot(), alpha(TREASURY)), (21_000 + 299, 7_000 + 99));
        let revenue = PeriodRevenue::<Test>::get();
        assert_eq!((revenue.carry, revenue.miners_carry), (1, 1));
        // The client that stays has what it did not use: 72,000 - 21 * 1,000 units at 2.5.
        assert_ok!(Marketplace::refund_credits(signed(1), 51_000));
        assert_eq!(alpha(1), FUNDS - 250_000 + 127_500);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_split_loses_nothing(amount in any::<u128>()) {
        let amount = amount >> 8;
        let shares = Marketplace::split(amount);
        prop_assert_eq!(shares.miners + shares.network + shares.treasury + shares.rest, amount);
        prop_assert!(shares.rest <= 2);
        prop_assert_eq!(shares.miners, amount * 60 / 100);
        prop_assert_eq!(shares.network, amount * 30 / 100);
        prop_assert_eq!(shares.treasury, amount * 10 / 100);
    }

    /// Over many periods everybody gets the share of everything that was earned, but for what is carried.
    #[test]
    fn shares_are_right_in_the_long_run(
        periods in proptest::collection::vec((0..1_000_000_000u128, 0..50u16, 1..50u16), 1..12),
    ) {
        story(|| {
            let mut earned = 0;
            for (alpha, first, second) in periods {
                Weights::set(vec![(50, first), (51, second)]);
                earn(alpha);
                earned += alpha;
                run_to(System::block_number() + PERIOD);
            }
            let miners = claimable(50) + claimable(51);
            let network = pot() + Marketplace::claimable(&Marketplace::staking_pot());
            let treasury = alpha(TREASURY) + claimable(TREASURY);
            let carried = PeriodRevenue::<Test>::get().held();
            assert_eq!(miners + network + treasury + carried, earned);
            // Each period carries less than 3 units, and less than one per family.
            let close = |share: u128, percent: u128| share.abs_diff(earned * percent / 100) <= 3 * 12;
            assert!(close(miners, 60) && close(network, 30) && close(treasury, 10));
        });
    }
}
