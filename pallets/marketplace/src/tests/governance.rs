//! Prices, services and payment authorities are set by governance, within bounds.

use frame_support::{assert_noop, assert_ok, traits::Hooks};
use sp_runtime::{BoundedVec, DispatchError};

use crate::{
    Services,
    mock::*,
    types::{
        CREDIT, CREDIT_PRICE_MAX, CREDIT_PRICE_MIN, SERVICE_PRICE_MAX, STORAGE_PRICE_MAX, ServiceKind,
        ServiceTerms,
    },
};

fn terms(name: &[u8], price: u128, delivery_blocks: u64) -> ServiceTerms<u64> {
    let name = BoundedVec::truncate_from(name.to_vec());
    ServiceTerms { kind: ServiceKind::Container, name, price, delivery_blocks }
}

#[test]
fn nobody_else_governs() {
    story(|| {
        for origin in [signed(1), signed(100), RuntimeOrigin::none()] {
            let refused = Err(DispatchError::BadOrigin);
            assert_eq!(Marketplace::set_credit_price(origin.clone(), CREDIT), refused);
            assert_eq!(Marketplace::set_storage_price(origin.clone(), 1), refused);
            assert_eq!(Marketplace::set_service(origin.clone(), 1, None), refused);
            assert_eq!(Marketplace::add_payment_authority(origin.clone(), account(1)), refused);
            assert_eq!(Marketplace::remove_payment_authority(origin, account(1)), refused);
        }
    });
}

#[test]
fn prices_have_bounds() {
    story(|| {
        for price in [0, CREDIT_PRICE_MIN - 1, CREDIT_PRICE_MAX + 1, u128::MAX] {
            assert_noop!(Marketplace::set_credit_price(root(), price), Error::PriceOutOfRange);
        }
        for price in [CREDIT_PRICE_MIN, CREDIT_PRICE_MAX] {
            assert_ok!(Marketplace::set_credit_price(root(), price));
            assert_eq!(Marketplace::prices().credit, price);
        }
        assert_noop!(Marketplace::set_storage_price(root(), STORAGE_PRICE_MAX + 1), Error::PriceOutOfRange);
        for price in [0, STORAGE_PRICE_MAX] {
            assert_ok!(Marketplace::set_storage_price(root(), price));
            assert_eq!(Marketplace::prices().storage, price);
        }
        assert_eq!(events().last(), Some(&Event::StoragePriceSet { price: STORAGE_PRICE_MAX }));
    });
}

#[test]
fn services_have_terms_that_make_sense() {
    story(|| {
        for bad in [
            terms(b"", 1, 1),
            terms(&[0xff], 1, 1),
            terms(b"vm", 0, 1),
            terms(b"vm", SERVICE_PRICE_MAX + 1, 1),
            terms(b"vm", 1, 0),
        ] {
            assert_noop!(Marketplace::set_service(root(), 1, Some(bad)), Error::InvalidServiceTerms);
        }
        let good = terms(b"vm", SERVICE_PRICE_MAX, 1);
        assert_ok!(Marketplace::set_service(root(), 1, Some(good.clone())));
        assert_eq!(Services::<Test>::get(1), Some(good.clone()));
        assert_eq!(events(), [Event::ServiceSet { service: 1, terms: Some(good) }]);
        assert_ok!(Marketplace::set_service(root(), 1, None));
        assert_eq!(Services::<Test>::get(1), None);
    });
}

#[test]
fn payment_authorities_come_and_go() {
    story(|| {
        assert_noop!(Marketplace::remove_payment_authority(root(), account(1)), Error::NotPaymentAuthority);
        assert_ok!(Marketplace::add_payment_authority(root(), account(1)));
        assert_noop!(Marketplace::add_payment_authority(root(), account(1)), Error::AuthorityAlreadyAdded);
        assert_ok!(Marketplace::add_payment_authority(root(), account(2)));
        assert_noop!(
            Marketplace::add_payment_authority(root(), account(3)),
            Error::TooManyPaymentAuthorities
        );
        assert_ok!(Marketplace::remove_payment_authority(root(), account(1)));
        assert_ok!(Marketplace::add_payment_authority(root(), account(3)));
        assert_eq!(
            events()[2..],
            [
                Event::PaymentAuthorityRemoved { authority: account(1) },
                Event::PaymentAuthorityAdded { authority: account(3) }
            ]
        );
    });
}

#[test]
fn the_configuration_is_sound() {
    story(Marketplace::integrity_test);
}

/// A chain that gets this pallet by an upgrade: its account has its existential deposit afterwards, once.
#[test]
fn an_upgrade_endows_the_account() {
    use frame_support::traits::fungible::Unbalanced;
    let mut externalities = sp_io::TestExternalities::default();
    externalities.execute_with(|| {
        Balances::set_total_issuance(0);
        assert!(Marketplace::do_try_state().is_err(), "without it the last credit could not leave");
        for _ in 0..2 {
            Marketplace::on_runtime_upgrade();
            assert_eq!(Balances::free_balance(Marketplace::account()), EXISTENTIAL);
            assert_eq!(Balances::total_issuance(), EXISTENTIAL);
        }
        Marketplace::do_try_state().unwrap();
    });
}
