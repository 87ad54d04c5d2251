//! Every invariant of the pallet's state, checked over all of it.

use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::{
    ensure,
    sp_runtime::TryRuntimeError,
    traits::{Get, fungible::Inspect},
};

use crate::{
    Agreements, BilledBytes, Claimable, Config, CreditPrice, Credits, LedgerAnchors, Ledgers, NextRequest,
    Pallet, PaymentAuthorities, Payments, PeriodRevenue, RequestVotes, Requests, Services, StoragePrice,
    credits::{CreditPool, Piece},
    types::{AgreementStatus, CREDIT_PRICE_MIN, RequestStatus, STORAGE_PRICE_MAX},
};

impl<T: Config> Pallet<T> {
    /// Checks every invariant of the pallet's state.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        Self::try_state_backing()?;
        Self::try_state_agreements()?;
        Self::try_state_ledgers()?;
        Self::try_state_requests()?;
        ensure!(CreditPrice::<T>::get() >= CREDIT_PRICE_MIN, "a unit costs less than one of ALPHA");
        ensure!(StoragePrice::<T>::get().price <= STORAGE_PRICE_MAX, "the storage price is out of bounds");
        ensure!(
            PaymentAuthorities::<T>::count() <= T::MaxPaymentAuthorities::get(),
            "more payment authorities than MaxPaymentAuthorities"
        );
        Ok(())
    }

    /// ALPHA that the pallet's account must own, besides its existential deposit: what backs credits and
    /// requests, the revenue of the period, and what can be claimed.
    pub fn liabilities() -> u128 {
        let credits: u128 = Credits::<T>::iter_values().map(|credits| credits.backing()).sum();
        let requests: u128 =
            Requests::<T>::iter_values().map(|request| request.granted.plus(request.bought).alpha).sum();
        let claimable: u128 = Claimable::<T>::iter_values().sum();
        credits + requests + claimable + PeriodRevenue::<T>::get().held()
    }

    fn try_state_backing() -> Result<(), TryRuntimeError> {
        let owned = T::Currency::balance(&Self::account());
        ensure!(
            owned >= Self::liabilities().saturating_add(T::Currency::minimum_balance()),
            "the pallet's account does not own what it owes"
        );
        for credits in Credits::<T>::iter_values() {
            ensure!(credits.available() > 0, "an account without credits is stored");
            for pool in [credits.granted, credits.bought] {
                Self::try_state_pool(pool)?;
            }
        }
        for payment in Payments::<T>::iter_values() {
            ensure!(payment.refunded <= payment.credits, "more was refunded than was paid");
        }
        ensure!(Claimable::<T>::iter_values().all(|amount| amount > 0), "nothing is claimable, but stored");
        Ok(())
    }

    fn try_state_pool(pool: CreditPool) -> Result<(), TryRuntimeError> {
        ensure!(pool.spent < pool.credits || pool == CreditPool::default(), "an empty pool is not reset");
        ensure!(pool.backing() >= pool.available(), "a unit is backed by less than one of ALPHA");
        Ok(())
    }

    fn try_state_agreements() -> Result<(), TryRuntimeError> {
        let now = frame_system::Pallet::<T>::block_number();
        let mut billed: BTreeMap<[u8; 32], u128> = BTreeMap::new();
        for (account, agreement) in Agreements::<T>::iter() {
            let gateways: BTreeSet<_> = agreement.gateways.iter().map(|usage| usage.gateway).collect();
            ensure!(gateways.len() == agreement.gateways.len(), "a gateway is authorized twice");
            let bytes: u128 = agreement.gateways.iter().map(|usage| u128::from(usage.bytes)).sum();
            ensure!(bytes == agreement.bytes.into(), "bytes are not the sum over the gateways");
            for usage in &agreement.gateways {
                ensure!(usage.bytes <= usage.bytes_max, "a gateway bills more than it may");
                if usage.bytes > 0 {
                    *billed.entry(usage.gateway).or_default() += u128::from(usage.bytes);
                }
            }
            ensure!(agreement.accrued_at <= now, "charged for blocks to come");
            ensure!(agreement.index <= Self::storage_index(now), "the price index went backwards");
            ensure!(agreement.remainder < Self::divisor(), "a remainder is a whole unit");
            let active = agreement.status == AgreementStatus::Active;
            ensure!(active == (agreement.debt == 0), "the status does not fit the debt");
            ensure!(agreement.debt <= agreement.charged, "more is owed than was charged");
            ensure!(
                agreement.debt == 0 || Credits::<T>::get(&account).available() == 0,
                "an account owes and has credits"
            );
            ensure!(
                !agreement.gateways.is_empty() || agreement.debt > 0,
                "an agreement is stored of which nothing is left"
            );
        }
        ensure!(
            billed == BilledBytes::<T>::iter().collect(),
            "BilledBytes is not the sum over the agreements"
        );
        Ok(())
    }

    fn try_state_ledgers() -> Result<(), TryRuntimeError> {
        for (gateway, billed) in BilledBytes::<T>::iter() {
            let ledger = Ledgers::<T>::get(gateway).ok_or("a gateway bills without a ledger")?;
            ensure!(billed <= ledger.anchor.bytes.into(), "more is billed than anchored");
        }
        let mut places: BTreeMap<[u8; 32], u64> = BTreeMap::new();
        for (gateway, place, anchor) in LedgerAnchors::<T>::iter() {
            ensure!(place < T::LedgerAnchorsKept::get(), "a commitment is outside the ring");
            let ledger = Ledgers::<T>::get(gateway).ok_or("a commitment has no ledger")?;
            ensure!(anchor.sequence <= ledger.anchor.sequence, "a sequence number is not increasing");
            *places.entry(gateway).or_default() += 1;
        }
        for (gateway, ledger) in Ledgers::<T>::iter() {
            let kept = ledger.commits.min(T::LedgerAnchorsKept::get().into());
            ensure!(places.get(&gateway) == Some(&kept), "not the newest commitments are kept");
            let newest = LedgerAnchors::<T>::get(gateway, Self::anchor_place(ledger.commits - 1));
            ensure!(newest == Some(ledger.anchor), "the newest commitment is not in the ring");
        }
        Ok(())
    }

    fn try_state_requests() -> Result<(), TryRuntimeError> {
        let next = NextRequest::<T>::get();
        for (id, request) in Requests::<T>::iter() {
            ensure!(id < next, "a request is numbered ahead");
            let held = request.granted.plus(request.bought);
            if request.status.is_open() {
                ensure!(held.credits == request.credits, "not all credits of a request are reserved");
                ensure!(held.alpha >= held.credits, "a reserved unit is backed by less than one of ALPHA");
            } else {
                ensure!(held == Piece::default(), "a request is over and holds credits");
            }
            let step = request.status;
            let worked =
                matches!(step, RequestStatus::Accepted | RequestStatus::Delivered | RequestStatus::Disputed)
                    || step == RequestStatus::Assigned
                    || step == RequestStatus::Paid;
            ensure!(!worked || request.assignment.is_some(), "work is done by nobody");
            ensure!(
                request.assignment.is_none() || request.seed.is_some(),
                "an assignment cannot be checked"
            );
            ensure!(
                request.result.is_some()
                    || !matches!(step, RequestStatus::Delivered | RequestStatus::Disputed),
                "a delivery without a result"
            );
        }
        for (id, votes) in RequestVotes::<T>::iter() {
            let request = Requests::<T>::get(id).ok_or("votes without a request")?;
            ensure!(
                matches!(request.status, RequestStatus::Requested | RequestStatus::Disputed),
                "votes on a request that needs none"
            );
            let voters: BTreeSet<_> = votes.iter().map(|(account, _)| account).collect();
            ensure!(voters.len() == votes.len(), "a validator has two votes");
        }
        ensure!(
            Services::<T>::iter_values().all(|terms| terms.price > 0 && !terms.name.is_empty()),
            "a service has invalid terms"
        );
        Ok(())
    }
}
