//! Buying and refunding credits, and the ALPHA behind them.

use frame_support::{assert_noop, assert_ok};
use proptest::prelude::*;

use crate::{
    Credits,
    credits::{CreditPool, Piece},
    mock::*,
    types::CREDIT,
};

#[test]
fn credits_cost_their_price_and_the_alpha_is_deposited() {
    story(|| {
        assert_ok!(buy(1, 10 * CREDIT));
        assert_eq!(alpha(1), FUNDS - 20 * CREDIT);
        assert_eq!(Marketplace::liabilities(), 20 * CREDIT);
        let balance = Marketplace::balance(&account(1));
        assert_eq!((balance.available, balance.bought, balance.granted), (10 * CREDIT, 10 * CREDIT, 0));
        assert_eq!((balance.backing, balance.debt), (20 * CREDIT, 0));
        assert_eq!(
            events(),
            [Event::CreditsBought {
                payer: account(1),
                beneficiary: account(1),
                credits: 10 * CREDIT,
                alpha: 20 * CREDIT
            }]
        );
    });
}

#[test]
fn credits_can_be_bought_for_somebody_else() {
    story(|| {
        assert_ok!(Marketplace::buy_credits(signed(1), account(2), 5, 10));
        assert_eq!((available(1), available(2)), (0, 5));
        assert_eq!((alpha(1), alpha(2)), (FUNDS - 10, FUNDS));
        assert_noop!(Marketplace::refund_credits(signed(1), 1), Error::NotEnoughCredits);
        assert_ok!(Marketplace::refund_credits(signed(2), 5));
        assert_eq!(alpha(2), FUNDS + 10);
    });
}

#[test]
fn the_price_is_rounded_up_so_that_nothing_is_unbacked() {
    story(|| {
        assert_ok!(Marketplace::set_credit_price(root(), CREDIT + 1));
        assert_eq!(Marketplace::quote(1), Some(2));
        assert_eq!(Marketplace::quote(CREDIT), Some(CREDIT + 1));
        assert_ok!(buy(1, 1));
        assert_eq!(alpha(1), FUNDS - 2);
    });
}

#[test]
fn a_new_price_changes_nothing_that_was_bought() {
    story(|| {
        assert_ok!(buy(1, 100));
        assert_ok!(Marketplace::set_credit_price(root(), 9 * CREDIT));
        assert_eq!(Marketplace::balance(&account(1)).backing, 200);
        assert_ok!(Marketplace::refund_credits(signed(1), 50));
        assert_eq!(alpha(1), FUNDS - 100);
        assert_ok!(buy(1, 50));
        let balance = Marketplace::balance(&account(1));
        assert_eq!((balance.available, balance.backing), (100, 100 + 450));
        assert_ok!(Marketplace::refund_credits(signed(1), 100));
        assert_eq!(alpha(1), FUNDS);
        assert!(!Credits::<Test>::contains_key(account(1)), "an account without credits has no entry");
    });
}

#[test]
fn a_refund_pays_its_part_of_the_alpha_and_reports_it() {
    story(|| {
        assert_ok!(Marketplace::set_credit_price(root(), CREDIT + CREDIT / 3));
        assert_ok!(buy(1, 3));
        let paid = FUNDS - alpha(1);
        assert_eq!(paid, 4);
        events();
        assert_ok!(Marketplace::refund_credits(signed(1), 1));
        assert_eq!(events(), [Event::CreditsRefunded { account: account(1), credits: 1, alpha: 1 }]);
        assert_ok!(Marketplace::refund_credits(signed(1), 1));
        assert_ok!(Marketplace::refund_credits(signed(1), 1));
        assert_eq!(alpha(1), FUNDS, "the last credit takes what rounding left");
    });
}

#[test]
fn what_cannot_be_bought_or_refunded() {
    story(|| {
        assert_noop!(buy(1, 0), Error::ZeroAmount);
        assert_noop!(buy(1, u128::MAX), Error::AmountTooLarge);
        assert_noop!(buy(1, FUNDS), Error::InsufficientAlpha);
        assert_noop!(Marketplace::buy_credits(signed(1), account(1), 10, 19), Error::PriceAboveLimit);
        assert_noop!(Marketplace::buy_credits(signed(200), account(1), 10, 20), Error::InsufficientAlpha);
        assert_noop!(Marketplace::refund_credits(signed(1), 0), Error::ZeroAmount);
        assert_noop!(Marketplace::refund_credits(signed(1), 1), Error::NotEnoughCredits);
        assert_ok!(buy(1, 10));
        assert_noop!(Marketplace::refund_credits(signed(1), 11), Error::NotEnoughCredits);
        assert_noop!(
            Marketplace::buy_credits(RuntimeOrigin::none(), account(1), 1, 2),
            sp_runtime::DispatchError::BadOrigin
        );
    });
}

/// A payer keeps its existential deposit: buying credits never removes an account.
#[test]
fn the_last_alpha_stays_with_its_account() {
    story(|| {
        assert_noop!(buy(1, FUNDS / 2), Error::InsufficientAlpha);
        assert_ok!(buy(1, (FUNDS - EXISTENTIAL) / 2));
        assert_eq!(alpha(1), EXISTENTIAL);
    });
}

fn amounts() -> impl Strategy<Value = Piece> {
    (1..1u128 << 90, 0..1u128 << 90).prop_map(|(credits, more)| Piece { credits, alpha: credits + more })
}

proptest! {
    #[test]
    fn taking_credits_in_parts_takes_the_same_alpha(
        piece in amounts(),
        parts in proptest::collection::vec(any::<u128>(), 1..20),
    ) {
        let mut by_parts = CreditPool::default();
        by_parts.add(piece).unwrap();
        let mut at_once = by_parts;
        let (mut credits, mut alpha) = (0, 0);
        for part in parts {
            let taken = by_parts.take(part % (piece.credits / 4 + 2));
            credits += taken.credits;
            alpha += taken.alpha;
            prop_assert!(taken.alpha >= taken.credits, "each unit is backed by one of ALPHA at least");
            prop_assert!(by_parts.backing() >= by_parts.available());
            prop_assert_eq!(by_parts.backing() + alpha, piece.alpha);
            prop_assert_eq!(by_parts.available() + credits, piece.credits);
        }
        prop_assert_eq!(at_once.take(credits), Piece { credits, alpha });
        prop_assert_eq!(at_once, by_parts);
    }

    #[test]
    fn pools_make_and_lose_nothing(
        steps in proptest::collection::vec((any::<bool>(), amounts()), 1..40),
    ) {
        let mut pool = CreditPool::default();
        let (mut credits, mut alpha) = (0u128, 0u128);
        for (adds, piece) in steps {
            if adds {
                pool.add(piece).unwrap();
                credits += piece.credits;
                alpha += piece.alpha;
            } else {
                let taken = pool.take(piece.credits);
                credits -= taken.credits;
                alpha -= taken.alpha;
            }
            prop_assert_eq!((pool.available(), pool.backing()), (credits, alpha));
            prop_assert!(pool.available() > 0 || pool == CreditPool::default());
        }
    }
}
