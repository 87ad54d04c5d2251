//! Numbers at their edges.

use frame_support::{assert_noop, assert_ok};
use proptest::prelude::*;
use sp_core::U256;

use crate::{
    NextRequest,
    credits::{CreditAccount, CreditPool, Piece, mul_div, mul_div_up},
    mock::*,
    types::{Agreement, AgreementStatus, CREDIT_PRICE_MAX, GIB, SERVICE_PRICE_MAX, STORAGE_PRICE_MAX},
};

fn agreement(bytes: u64) -> Agreement<u32, sp_core::ConstU32<2>> {
    Agreement {
        opened_at: 0,
        gateways: Default::default(),
        bytes,
        index: 0,
        remainder: 0,
        charged: 0,
        debt: 0,
        accrued_at: 0,
        status: AgreementStatus::Active,
    }
}

#[test]
fn the_largest_charge_is_exact() {
    let divisor = GIB * 600;
    let mut agreement = agreement(u64::MAX);
    let index = STORAGE_PRICE_MAX * u128::from(u32::MAX);
    let units = agreement.charge(index, u32::MAX, divisor);
    let exact = U256::from(u64::MAX) * U256::from(index) / U256::from(divisor);
    assert_eq!(U256::from(units), exact);
    assert_eq!((agreement.charged, agreement.debt), (units, units));
    assert!(agreement.remainder < divisor);
    // No index is too large: it saturates instead of wrapping.
    assert_eq!(agreement.charge(u128::MAX, u32::MAX, 1), u128::MAX);
    assert_eq!(agreement.charge(u128::MAX, u32::MAX, 0), u128::from(agreement.remainder));
    assert_eq!(agreement.charged, u128::MAX);
}

#[test]
fn the_index_does_not_wrap_at_the_last_block() {
    story(|| {
        assert_ok!(Marketplace::set_storage_price(root(), STORAGE_PRICE_MAX));
        System::set_block_number(u64::MAX);
        let index = Marketplace::storage_index(u64::MAX);
        assert_eq!(index, STORAGE_PRICE + STORAGE_PRICE_MAX * u128::from(u64::MAX - 1));
        System::set_block_number(1);
    });
}

#[test]
fn the_end_of_the_credits_may_be_beyond_all_blocks() {
    let agreement = agreement(1);
    assert_eq!(agreement.blocks_left(u128::MAX, 1, u64::MAX), None);
    assert_eq!(agreement.blocks_left(0, 0, 1), None);
    assert_eq!(agreement.blocks_left(0, 1, 1), Some(1));
    assert_eq!(agreement.blocks_left(0, 1, 10), Some(10));
    assert_eq!(agreement.blocks_left(3, 1, 10), Some(40));
    let mut agreement = agreement;
    agreement.remainder = 9;
    assert_eq!(agreement.blocks_left(0, 1, 10), Some(1));
}

#[test]
fn sums_that_do_not_fit_are_refused() {
    story(|| {
        assert_ok!(Marketplace::set_credit_price(root(), CREDIT_PRICE_MAX));
        assert_eq!(Marketplace::quote(u128::MAX), None);
        assert_noop!(buy(1, u128::MAX), Error::AmountTooLarge);

        assert_ok!(Marketplace::set_storage_price(root(), 0));
        assert_ok!(Marketplace::authorize_gateway(signed(1), node(1), u64::MAX));
        assert_noop!(Marketplace::authorize_gateway(signed(1), node(2), 1), Error::AmountTooLarge);
        assert_ok!(commit(1, &[(1, u64::MAX)]));
        assert_ok!(Marketplace::authorize_gateway(signed(2), node(1), u64::MAX));
        assert_noop!(commit(1, &[(2, 1)]), Error::BilledMoreThanAnchored);
        assert_ok!(Marketplace::set_storage_price(root(), STORAGE_PRICE_MAX));
        run_to(100);
        assert_ok!(Marketplace::poke(signed(4), account(1)));
        assert!(Marketplace::balance(&account(1)).debt > 0);

        offer(SERVICE_PRICE_MAX);
        assert_noop!(
            Marketplace::request_service(signed(3), 1, u32::MAX, [0; 32], u128::MAX),
            Error::NotEnoughCredits
        );
        NextRequest::<Test>::put(u64::MAX);
        offer(1);
        assert_ok!(Marketplace::set_credit_price(root(), crate::CREDIT));
        assert_ok!(buy(3, 1));
        assert_noop!(Marketplace::request_service(signed(3), 1, 1, [0; 32], 1), Error::AmountTooLarge);
    });
}

#[test]
fn pools_refuse_what_does_not_fit_and_stay_as_they_were() {
    let mut pool = CreditPool::default();
    let full = Piece { credits: u128::MAX, alpha: u128::MAX };
    assert_eq!(pool.add(full), Some(()));
    let before = pool;
    assert_eq!(pool.add(Piece { credits: 1, alpha: 0 }), None);
    assert_eq!(pool.add(Piece { credits: 0, alpha: 1 }), None);
    assert_eq!(pool, before);
    assert_eq!(pool.take(1), Piece { credits: 1, alpha: 1 });
    assert_eq!(pool.take(u128::MAX), Piece { credits: u128::MAX - 1, alpha: u128::MAX - 1 });
    assert_eq!(pool.take(1), Piece::default());
    assert_eq!(CreditAccount::default().take(5), Default::default());
}

proptest! {
    #[test]
    fn products_are_exact(a in any::<u128>(), b in any::<u128>(), d in any::<u128>()) {
        let exact = (U256::from(a) * U256::from(b)).checked_div(U256::from(d));
        let down = exact.and_then(|exact| u128::try_from(exact).ok());
        prop_assert_eq!(mul_div(a, b, d), down);
        if let (Some(down), Some(up)) = (down, mul_div_up(a, b, d)) {
            let whole = U256::from(down) * U256::from(d) == U256::from(a) * U256::from(b);
            prop_assert_eq!(up, if whole { down } else { down + 1 });
        }
        prop_assert_eq!(mul_div(a, b, 0), None);
        prop_assert_eq!(mul_div_up(a, b, 0), None);
    }

    /// The foreseen end is right for any numbers: one block earlier everything is paid.
    #[test]
    fn the_foreseen_end_is_the_end(
        bytes in 1..u64::MAX,
        price in 1..STORAGE_PRICE_MAX,
        available in 0..1u128 << 100,
        remainder in 0..GIB * 600,
    ) {
        let divisor = GIB * 600;
        let mut before = agreement(bytes);
        before.remainder = remainder;
        let Some(blocks) = before.blocks_left(available, price, divisor) else { return Ok(()) };
        prop_assume!(price.checked_mul(blocks).is_some());
        let mut after = before.clone();
        prop_assert!(after.charge(price * blocks, 0, divisor) > available);
        prop_assert!(before.charge(price * (blocks - 1), 0, divisor) <= available);
    }
}
