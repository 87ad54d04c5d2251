//! Payments made elsewhere.

use frame_support::{assert_noop, assert_ok};
use sp_runtime::BoundedVec;

use crate::{
    Payments,
    mock::*,
    types::{PaymentId, PaymentMethod},
};

fn id(text: &[u8]) -> PaymentId {
    BoundedVec::truncate_from(text.to_vec())
}

#[test]
fn a_payment_is_backed_by_the_authoritys_alpha() {
    story(|| {
        assert_ok!(grant(b"pi_1", 1, 100));
        assert_eq!(alpha(9), FUNDS - 200);
        assert_eq!(alpha(1), FUNDS);
        let balance = Marketplace::balance(&account(1));
        assert_eq!((balance.granted, balance.bought, balance.backing), (100, 0, 200));
        assert_eq!(
            events()[1..],
            [Event::PaymentCredited {
                payment_id: id(b"pi_1"),
                method: PaymentMethod::Fiat,
                authority: account(9),
                beneficiary: account(1),
                credits: 100,
                alpha: 200
            }]
        );
        let payment = Payments::<Test>::get(id(b"pi_1")).unwrap();
        assert_eq!((payment.credits, payment.alpha, payment.refunded, payment.credited_at), (100, 200, 0, 1));
    });
}

#[test]
fn a_payment_id_is_used_once_whoever_uses_it_and_even_after_a_refund() {
    story(|| {
        assert_ok!(grant(b"pi_1", 1, 100));
        assert_noop!(grant(b"pi_1", 1, 100), Error::PaymentAlreadyCredited);
        assert_noop!(grant(b"pi_1", 2, 1), Error::PaymentAlreadyCredited);
        assert_ok!(Marketplace::add_payment_authority(root(), account(8)));
        assert_noop!(
            Marketplace::credit_payment(signed(8), id(b"pi_1"), PaymentMethod::Tao, account(1), 1, 2),
            Error::PaymentAlreadyCredited
        );
        assert_ok!(Marketplace::refund_payment(signed(9), id(b"pi_1"), 100));
        assert_noop!(grant(b"pi_1", 1, 100), Error::PaymentAlreadyCredited);
        assert_ok!(grant(b"pi_2", 1, 100));
    });
}

#[test]
fn what_cannot_be_credited() {
    story(|| {
        let credit = |who, text, credits, alpha_max| {
            Marketplace::credit_payment(
                signed(who),
                id(text),
                PaymentMethod::Tao,
                account(1),
                credits,
                alpha_max,
            )
        };
        assert_noop!(credit(9, b"a", 1, 2), Error::NotPaymentAuthority);
        assert_ok!(Marketplace::add_payment_authority(root(), account(9)));
        assert_noop!(credit(9, b"", 1, 2), Error::EmptyPaymentId);
        assert_noop!(credit(9, b"a", 0, 2), Error::ZeroAmount);
        assert_noop!(credit(9, b"a", 1, 1), Error::PriceAboveLimit);
        assert_noop!(credit(9, b"a", u128::MAX, u128::MAX), Error::AmountTooLarge);
        assert_noop!(credit(9, b"a", FUNDS, u128::MAX), Error::InsufficientAlpha);
        assert_ok!(credit(9, b"a", 1, 2));
        assert_ok!(Marketplace::remove_payment_authority(root(), account(9)));
        assert_noop!(credit(9, b"b", 1, 2), Error::NotPaymentAuthority);
    });
}

#[test]
fn a_refund_takes_back_what_is_not_spent_and_returns_the_alpha_to_the_authority() {
    story(|| {
        assert_ok!(grant(b"pi_1", 1, 100));
        assert_noop!(Marketplace::refund_payment(signed(9), id(b"pi_1"), 101), Error::RefundExceedsPayment);
        assert_noop!(Marketplace::refund_payment(signed(9), id(b"pi_1"), 0), Error::ZeroAmount);
        assert_noop!(Marketplace::refund_payment(signed(9), id(b"pi_2"), 1), Error::UnknownPayment);
        assert_noop!(Marketplace::refund_payment(signed(1), id(b"pi_1"), 1), Error::NotPaymentAuthority);
        offer(70);
        assert_ok!(Marketplace::request_service(signed(1), 1, 1, [1; 32], 70));
        assert_noop!(Marketplace::refund_payment(signed(9), id(b"pi_1"), 31), Error::NotEnoughCredits);
        events();
        assert_ok!(Marketplace::refund_payment(signed(9), id(b"pi_1"), 30));
        assert_eq!(
            events(),
            [Event::PaymentRefunded {
                payment_id: id(b"pi_1"),
                beneficiary: account(1),
                credits: 30,
                alpha: 60
            }]
        );
        assert_eq!(alpha(9), FUNDS - 140);
        assert_eq!(Payments::<Test>::get(id(b"pi_1")).unwrap().refunded, 30);
        assert_noop!(Marketplace::refund_payment(signed(9), id(b"pi_1"), u128::MAX), Error::AmountTooLarge);
    });
}

#[test]
fn a_refund_to_an_authority_that_is_gone_has_to_be_worth_an_account() {
    story(|| {
        assert_ok!(grant(b"pi_1", 1, 100));
        assert_ok!(Balances::transfer_all(signed(9), account(4), false));
        let refund = |credits| Marketplace::refund_payment(signed(9), id(b"pi_1"), credits);
        assert_noop!(refund(49), Error::AccountCannotReceive);
        assert_ok!(refund(50));
        assert_eq!(alpha(9), EXISTENTIAL);
    });
}

/// Nobody turns a card payment into ALPHA: granted credits are not the account's to refund.
#[test]
fn the_account_itself_cannot_refund_granted_credits_and_spends_them_first() {
    story(|| {
        assert_ok!(buy(1, 50));
        assert_ok!(grant(b"pi_1", 1, 100));
        assert_noop!(Marketplace::refund_credits(signed(1), 51), Error::NotEnoughCredits);
        offer(120);
        assert_ok!(Marketplace::request_service(signed(1), 1, 1, [1; 32], 120));
        let balance = Marketplace::balance(&account(1));
        assert_eq!((balance.granted, balance.bought), (0, 30));
        assert_ok!(Marketplace::cancel_request(signed(1), 0));
        let balance = Marketplace::balance(&account(1));
        assert_eq!((balance.granted, balance.bought), (100, 50), "each kind comes back as what it was");
    });
}
