//! Storage agreements: opened, charged, moved from stage to stage, ended.

use frame_support::{ensure, pallet_prelude::*};
use frame_system::pallet_prelude::*;
use sp_runtime::traits::{SaturatedConversion, Saturating};

use crate::{
    AgreementOf, Agreements, BilledBytes, Config, Credits, Error, Event, Pallet, PeriodRevenue, StoragePrice,
    accrual::divisor,
    credits::mul_div_up,
    types::{Agreement, AgreementStatus, GatewayUsage},
};

impl<T: Config> Pallet<T> {
    /// Bytes * blocks in a GiB-hour.
    pub(crate) fn divisor() -> u64 {
        divisor(T::BlocksPerHour::get())
    }

    /// Charges an account up to now, pays from its credits and moves its agreement on if that is due, by one
    /// stage. Returns the agreement, or `None` if that ended it.
    pub(crate) fn touch(account: &T::AccountId) -> Result<Option<AgreementOf<T>>, DispatchError> {
        let mut agreement = Agreements::<T>::get(account).ok_or(Error::<T>::AgreementNotFound)?;
        let now = frame_system::Pallet::<T>::block_number();
        let charged = agreement.charge(Self::storage_index(now), now, Self::divisor());
        let mut credits = Credits::<T>::get(account);
        let paid = agreement.pay(&mut credits);
        if paid.credits > 0 {
            Self::put_credits(account, credits);
            PeriodRevenue::<T>::mutate(|revenue| {
                revenue.storage = revenue.storage.saturating_add(paid.alpha);
            });
        }
        if charged > 0 || paid.credits > 0 {
            Self::deposit_event(Event::StorageCharged {
                account: account.clone(),
                credits: charged,
                paid: paid.credits,
                alpha: paid.alpha,
                debt: agreement.debt,
            });
        }
        if Self::advance(account, &mut agreement, now) {
            Self::expire(account, agreement);
            return Ok(None);
        }
        Ok(Self::put_agreement(account, agreement))
    }

    /// [`Self::touch`] for an account that may have no agreement.
    pub(crate) fn touch_if_any(account: &T::AccountId) {
        // Having no agreement is the only error.
        let _ = Self::touch(account);
    }

    /// Moves an agreement on by one stage if that is due; each stage starts in the block in which it is
    /// entered, so that it always has its full length. Whether the agreement is to expire.
    fn advance(account: &T::AccountId, agreement: &mut AgreementOf<T>, now: BlockNumberFor<T>) -> bool {
        use AgreementStatus::*;
        let (account, debt) = (account.clone(), agreement.debt);
        let (status, event) = match agreement.status {
            Active if debt == 0 => return false,
            _ if debt == 0 => (Active, Event::AgreementRestored { account }),
            Active => {
                let until = now.saturating_add(T::ArrearsBlocks::get());
                (Arrears { until }, Event::ArrearsStarted { account, debt, until })
            }
            Arrears { until } if now >= until => {
                let until = now.saturating_add(T::GraceBlocks::get());
                (Grace { until }, Event::GraceStarted { account, debt, until })
            }
            Grace { until } if now >= until => {
                let until = now.saturating_add(T::SuspensionBlocks::get());
                (Suspended { until }, Event::AgreementSuspended { account, debt, until })
            }
            Suspended { until } if now >= until => {
                let until = now.saturating_add(T::DeletionNoticeBlocks::get());
                (DeletionNotice { until }, Event::DeletionAnnounced { account, debt, until })
            }
            DeletionNotice { until } if now >= until => return true,
            Arrears { .. } | Grace { .. } | Suspended { .. } | DeletionNotice { .. } => return false,
        };
        agreement.status = status;
        Self::deposit_event(event);
        false
    }

    /// Stores an agreement, unless nothing is left of it.
    fn put_agreement(account: &T::AccountId, agreement: AgreementOf<T>) -> Option<AgreementOf<T>> {
        if agreement.gateways.is_empty() && agreement.debt == 0 {
            Agreements::<T>::remove(account);
            Self::deposit_event(Event::AgreementClosed { account: account.clone() });
            return None;
        }
        Agreements::<T>::insert(account, &agreement);
        Some(agreement)
    }

    /// Ends an agreement whose debt nobody paid.
    fn expire(account: &T::AccountId, agreement: AgreementOf<T>) {
        for usage in &agreement.gateways {
            Self::bill(&usage.gateway, usage.bytes, 0);
        }
        Agreements::<T>::remove(account);
        Self::deposit_event(Event::AgreementExpired { account: account.clone(), debt: agreement.debt });
    }

    /// Keeps the sum of what a gateway bills when one of its accounts goes from `before` to `after` bytes.
    pub(crate) fn bill(gateway: &[u8; 32], before: u64, after: u64) {
        let billed =
            BilledBytes::<T>::get(gateway).saturating_sub(before.into()).saturating_add(after.into());
        if billed == 0 {
            BilledBytes::<T>::remove(gateway);
        } else {
            BilledBytes::<T>::insert(gateway, billed);
        }
    }

    pub(crate) fn do_authorize_gateway(
        account: T::AccountId,
        gateway: [u8; 32],
        bytes_max: u64,
    ) -> DispatchResult {
        use crate::NodeRegistry;
        ensure!(T::Nodes::gateway_owner(&gateway).is_some(), Error::<T>::GatewayNotRegistered);
        ensure!(bytes_max > 0, Error::<T>::ZeroAmount);
        Self::touch_if_any(&account);
        let mut agreement = Agreements::<T>::get(&account).unwrap_or_else(Self::new_agreement);
        ensure!(agreement.status == AgreementStatus::Active, Error::<T>::AgreementInArrears);
        let before = Self::limits(&agreement);
        match agreement.gateways.iter_mut().find(|usage| usage.gateway == gateway) {
            Some(usage) => {
                ensure!(usage.bytes <= bytes_max, Error::<T>::LimitBelowUsage);
                usage.bytes_max = bytes_max;
            }
            None => agreement
                .gateways
                .try_push(GatewayUsage { gateway, bytes: 0, bytes_max })
                .map_err(|_| Error::<T>::TooManyGateways)?,
        }
        let limits = Self::limits(&agreement);
        ensure!(limits <= u64::MAX.into(), Error::<T>::AmountTooLarge);
        if limits > before {
            let available = Credits::<T>::get(&account).available();
            let runway = Self::runway(limits).ok_or(Error::<T>::AmountTooLarge)?;
            ensure!(available >= runway, Error::<T>::NotEnoughCredits);
        }
        Agreements::<T>::insert(&account, agreement);
        Self::deposit_event(Event::GatewayAuthorized { account, gateway, bytes_max });
        Ok(())
    }

    /// Bytes that may be billed to an account, over all its gateways.
    fn limits(agreement: &AgreementOf<T>) -> u128 {
        agreement.gateways.iter().map(|usage| u128::from(usage.bytes_max)).sum()
    }

    /// Units that `bytes` cost over `RunwayBlocks` at the present price, rounded up.
    pub(crate) fn runway(bytes: u128) -> Option<u128> {
        let blocks: u128 = T::RunwayBlocks::get().saturated_into();
        let per_byte = StoragePrice::<T>::get().price.checked_mul(blocks)?;
        mul_div_up(bytes, per_byte, Self::divisor().into())
    }

    fn new_agreement() -> AgreementOf<T> {
        let now = frame_system::Pallet::<T>::block_number();
        Agreement {
            opened_at: now,
            gateways: BoundedVec::new(),
            bytes: 0,
            index: Self::storage_index(now),
            remainder: 0,
            charged: 0,
            debt: 0,
            accrued_at: now,
            status: AgreementStatus::Active,
        }
    }

    pub(crate) fn do_revoke_gateway(account: T::AccountId, gateway: [u8; 32]) -> DispatchResult {
        Self::touch_if_any(&account);
        let mut agreement = Agreements::<T>::get(&account).ok_or(Error::<T>::AgreementNotFound)?;
        let place = agreement
            .gateways
            .iter()
            .position(|usage| usage.gateway == gateway)
            .ok_or(Error::<T>::GatewayNotAuthorized)?;
        let usage = agreement.gateways.remove(place);
        agreement.bytes = agreement.bytes.saturating_sub(usage.bytes);
        Self::bill(&gateway, usage.bytes, 0);
        Self::deposit_event(Event::GatewayRevoked { account: account.clone(), gateway, bytes: usage.bytes });
        Self::put_agreement(&account, agreement);
        Ok(())
    }
}
