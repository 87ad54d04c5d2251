//! Prices, services, payment authorities; and what a configuration must fulfil.

use alloc::str;
use frame_support::{ensure, pallet_prelude::*};
use frame_system::pallet_prelude::*;
use sp_runtime::traits::{SaturatedConversion, Saturating, Zero};

use crate::{
    Config, CreditPrice, Error, Event, Pallet, PaymentAuthorities, Services, StoragePrice,
    types::{
        CREDIT_PRICE_MAX, CREDIT_PRICE_MIN, SERVICE_PRICE_MAX, STORAGE_PRICE_MAX, ServiceTerms, StorageRate,
    },
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_set_credit_price(price: u128) -> DispatchResult {
        ensure!((CREDIT_PRICE_MIN..=CREDIT_PRICE_MAX).contains(&price), Error::<T>::PriceOutOfRange);
        CreditPrice::<T>::put(price);
        Self::deposit_event(Event::CreditPriceSet { price });
        Ok(())
    }

    pub(crate) fn do_set_storage_price(price: u128) -> DispatchResult {
        ensure!(price <= STORAGE_PRICE_MAX, Error::<T>::PriceOutOfRange);
        let since = frame_system::Pallet::<T>::block_number();
        let index = Self::storage_index(since);
        StoragePrice::<T>::put(StorageRate { price, index, since });
        Self::deposit_event(Event::StoragePriceSet { price });
        Ok(())
    }

    /// Sum of the storage price over all blocks before `now`: at most 2^50 * 2^32 for block numbers of 32
    /// bits.
    pub(crate) fn storage_index(now: BlockNumberFor<T>) -> u128 {
        let rate = StoragePrice::<T>::get();
        let blocks: u128 = now.saturating_sub(rate.since).saturated_into();
        rate.index.saturating_add(rate.price.saturating_mul(blocks))
    }

    pub(crate) fn do_set_service(
        service: u16,
        terms: Option<ServiceTerms<BlockNumberFor<T>>>,
    ) -> DispatchResult {
        if let Some(terms) = &terms {
            let valid = (1..=SERVICE_PRICE_MAX).contains(&terms.price)
                && !terms.delivery_blocks.is_zero()
                && !terms.name.is_empty()
                && str::from_utf8(&terms.name).is_ok();
            ensure!(valid, Error::<T>::InvalidServiceTerms);
        }
        Services::<T>::set(service, terms.clone());
        Self::deposit_event(Event::ServiceSet { service, terms });
        Ok(())
    }

    pub(crate) fn do_add_payment_authority(authority: T::AccountId) -> DispatchResult {
        ensure!(!PaymentAuthorities::<T>::contains_key(&authority), Error::<T>::AuthorityAlreadyAdded);
        ensure!(
            PaymentAuthorities::<T>::count() < T::MaxPaymentAuthorities::get(),
            Error::<T>::TooManyPaymentAuthorities
        );
        PaymentAuthorities::<T>::insert(&authority, ());
        Self::deposit_event(Event::PaymentAuthorityAdded { authority });
        Ok(())
    }

    pub(crate) fn do_remove_payment_authority(authority: T::AccountId) -> DispatchResult {
        ensure!(PaymentAuthorities::<T>::take(&authority).is_some(), Error::<T>::NotPaymentAuthority);
        Self::deposit_event(Event::PaymentAuthorityRemoved { authority });
        Ok(())
    }

    /// The account behind an origin, if it is a payment authority.
    pub(crate) fn ensure_payment_authority(origin: OriginFor<T>) -> Result<T::AccountId, DispatchError> {
        let authority = frame_system::ensure_signed(origin)?;
        ensure!(PaymentAuthorities::<T>::contains_key(&authority), Error::<T>::NotPaymentAuthority);
        Ok(authority)
    }

    /// Panics, before a chain is built with it, on a configuration that cannot work.
    pub(crate) fn check_config() {
        let shares = [T::MinersPercent::get(), T::NetworkPercent::get(), T::TreasuryPercent::get()];
        assert_eq!(shares.iter().map(|share| u32::from(*share)).sum::<u32>(), 100, "the shares are not all");
        assert!(
            (CREDIT_PRICE_MIN..=CREDIT_PRICE_MAX).contains(&T::InitialCreditPrice::get()),
            "InitialCreditPrice is out of bounds"
        );
        assert!(T::InitialStoragePrice::get() <= STORAGE_PRICE_MAX, "InitialStoragePrice is out of bounds");
        let lengths = [
            T::ArrearsBlocks::get(),
            T::GraceBlocks::get(),
            T::SuspensionBlocks::get(),
            T::DeletionNoticeBlocks::get(),
            T::AssignmentBlocks::get(),
            T::AcceptanceBlocks::get(),
            T::DisputeWindowBlocks::get(),
            T::VerdictBlocks::get(),
            T::SettlementPeriodBlocks::get(),
        ];
        assert!(lengths.iter().all(|length| !length.is_zero()), "a stage has no length");
        let bounds = [
            T::BlocksPerHour::get(),
            T::MaxGatewaysPerAccount::get(),
            T::MaxUsageUpdates::get(),
            T::LedgerAnchorsKept::get(),
            T::MaxValidators::get(),
            T::MaxMinerFamilies::get(),
        ];
        assert!(bounds.iter().all(|bound| *bound > 0), "a bound is 0");
        assert!(
            T::AssignmentBlocks::get() < <T as frame_system::Config>::BlockHashCount::get(),
            "the hash of a request's block is forgotten before the request is assigned"
        );
    }
}
