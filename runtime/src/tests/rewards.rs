//! Eras pay revenue and nothing else.

use frame_support::{
    assert_ok,
    traits::{TypedGet, fungible::Inspect},
};
use pallet_staking::{RewardDestination, ValidatorPrefs};
use proptest::prelude::*;
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Eve, Ferdie};
use sp_runtime::{Perbill, Percent};

use super::{
    account,
    blocks::{block, era, session, until_era},
    chain, signed,
};
use crate::{
    Balance, Balances, Runtime, RuntimeOrigin, Staking,
    constants::{HIPP, HISTORY_ERAS, MILLI_HIPP},
    rewards::{EraRewardsAccount, ROUNDING_UNITS, StakersPotAccount},
};

fn issuance() -> Balance {
    Balances::total_issuance()
}

fn pot() -> Balance {
    Balances::free_balance(StakersPotAccount::get()) - MILLI_HIPP
}

fn unclaimed() -> Balance {
    Balances::free_balance(EraRewardsAccount::get()) - MILLI_HIPP
}

fn revenue(amount: Balance) {
    assert_ok!(Balances::transfer_allow_death(signed(Ferdie), StakersPotAccount::get().into(), amount));
}

fn promised(era: u32) -> Balance {
    pallet_staking::ErasValidatorReward::<Runtime>::get(era).unwrap_or_default()
}

fn claim(validator: Sr25519Keyring, era: u32) {
    assert_ok!(Staking::payout_stakers(signed(Ferdie), account(validator), era));
}

#[test]
fn an_era_pays_what_the_pot_held_and_issuance_stays() {
    chain("local-4").execute_with(|| {
        session();
        let before = issuance();
        assert_eq!((pot(), unclaimed()), (0, 0));
        for _ in 0..3 {
            block(1, || ());
        }
        revenue(1_000 * HIPP);
        until_era(1);
        assert_eq!((pot(), unclaimed()), (0, 1_000 * HIPP));
        assert_eq!(promised(0), 1_000 * HIPP - ROUNDING_UNITS);
        assert_eq!(issuance(), before);

        let mut paid = 0;
        for validator in [Alice, Bob, Charlie, Dave] {
            let balance = Balances::total_balance(&account(validator));
            claim(validator, 0);
            let reward = Balances::total_balance(&account(validator)) - balance;
            assert!(reward > 99 * HIPP, "{reward}");
            paid += reward;
            assert_eq!(issuance(), before);
        }
        assert_eq!(unclaimed(), 1_000 * HIPP - paid);
        // All of them were authors: nearly everything is claimed, but for shares rounded to parts of 10^9.
        assert!(unclaimed() < HIPP / 100_000, "{}", unclaimed());
        let twice = Staking::payout_stakers(signed(Ferdie), account(Alice), 0).unwrap_err();
        assert_eq!(twice.error, pallet_staking::Error::<Runtime>::AlreadyClaimed.into());
    });
}

#[test]
fn an_era_without_revenue_pays_nothing() {
    chain("local-1").execute_with(|| {
        session();
        let before = issuance();
        until_era(1);
        assert_eq!(promised(0), 0);
        claim(Alice, 0);
        // Too little to share: it waits for the next era.
        revenue(ROUNDING_UNITS);
        until_era(2);
        assert_eq!((promised(1), pot(), unclaimed()), (0, ROUNDING_UNITS, 0));
        revenue(1);
        until_era(3);
        assert_eq!((promised(2), pot(), unclaimed()), (1, 0, ROUNDING_UNITS + 1));
        claim(Alice, 2);
        assert_eq!(unclaimed(), ROUNDING_UNITS);
        assert_eq!(issuance(), before);
    });
}

/// `MaxStakedRewards` makes `pallet-staking` issue what it keeps from the validators.
#[test]
fn what_root_keeps_from_an_era_goes_back_to_the_pot() {
    use pallet_staking::ConfigOp::{Noop, Set};
    chain("local-2").execute_with(|| {
        session();
        let before = issuance();
        assert_ok!(Staking::set_staking_configs(
            RuntimeOrigin::root(),
            Noop,
            Noop,
            Noop,
            Noop,
            Noop,
            Noop,
            Set(Percent::from_percent(25)),
        ));
        revenue(400 * HIPP);
        until_era(1);
        let whole = 400 * HIPP - ROUNDING_UNITS;
        assert_eq!(promised(0), whole / 4);
        assert_eq!(pot(), whole - whole / 4);
        assert_eq!(unclaimed(), 400 * HIPP - pot());
        assert_eq!(issuance(), before);
    });
}

#[test]
fn rewards_can_be_claimed_as_long_as_the_era_is_history_and_nothing_is_lost_after_it() {
    chain("local-2").execute_with(|| {
        session();
        block(1, || ());
        let before = issuance();
        revenue(HIPP);
        until_era(HISTORY_ERAS);
        claim(Alice, 0);
        let left = unclaimed();
        assert!(left > 0 && left < HIPP);
        until_era(HISTORY_ERAS + 1);
        let late = Staking::payout_stakers(signed(Ferdie), account(Bob), 0).unwrap_err();
        assert_eq!(late.error, pallet_staking::Error::<Runtime>::InvalidEraToReward.into());
        assert_eq!(unclaimed(), left, "what nobody claimed is still there");
        assert_eq!(issuance(), before);
    });
}

#[derive(Clone, Debug)]
struct Case {
    revenue: Vec<Balance>,
    commission: u32,
    stakes: Vec<Balance>,
    slots: Vec<u64>,
}

fn cases() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(prop_oneof![0..10u128, 99_990..100_010u128, 0..2_000_000 * HIPP], 1..4),
        0..=1_000_000_000u32,
        prop::collection::vec(10 * HIPP..3_000_000 * HIPP, 2),
        prop::collection::vec(1..4u64, 0..20),
    )
        .prop_map(|(revenue, commission, stakes, slots)| Case { revenue, commission, stakes, slots })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// With any revenue, stakes, commissions and authors.
    #[test]
    fn payouts_conserve_every_unit(case in cases()) {
        chain("local-4").execute_with(|| {
            session();
            let prefs = ValidatorPrefs { commission: Perbill::from_parts(case.commission), blocked: false };
            for validator in [Alice, Bob, Charlie, Dave] {
                assert_ok!(Staking::validate(signed(validator), prefs.clone()));
            }
            for (nominator, stake) in [Eve, Ferdie].into_iter().zip(&case.stakes) {
                assert_ok!(Staking::bond(signed(nominator), *stake, RewardDestination::Staked));
                let targets = [Alice, Bob, Charlie, Dave].map(|target| account(target).into());
                assert_ok!(Staking::nominate(signed(nominator), targets.to_vec()));
            }
            until_era(1);
            let before = issuance();
            let (mut all_paid, mut all_revenue) = (0, 0);
            for amount in &case.revenue {
                let (waiting, of) = (pot(), era());
                revenue(*amount);
                all_revenue += amount;
                for slots in &case.slots {
                    block(*slots, || ());
                }
                until_era(of + 1);
                let whole = waiting + amount;
                prop_assert_eq!(promised(of), whole.saturating_sub(ROUNDING_UNITS));
                prop_assert_eq!(pot(), if whole > ROUNDING_UNITS { 0 } else { whole });
                let owed = unclaimed();
                for validator in [Alice, Bob, Charlie, Dave] {
                    claim(validator, of);
                    prop_assert_eq!(issuance(), before);
                }
                let paid = owed - unclaimed();
                prop_assert!(paid <= promised(of) + ROUNDING_UNITS);
                all_paid += paid;
            }
            prop_assert_eq!(all_revenue, all_paid + pot() + unclaimed());
            let everything: Balance =
                frame_system::Account::<Runtime>::iter().map(|(_, account)| account.data.free + account.data.reserved).sum();
            prop_assert_eq!(everything, issuance());
            Ok(())
        })?;
    }
}
