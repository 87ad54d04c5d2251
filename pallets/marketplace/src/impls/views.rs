//! Answers to clients, as of now: what accrued since an account was last touched is counted in.

use alloc::vec::Vec;
use frame_support::traits::Get;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::{SaturatedConversion, Saturating};

use crate::{
    AgreementOf, Agreements, Claimable, Config, CreditPrice, Credits, Pallet, PeriodRevenue, RequestOf,
    Requests, StoragePrice,
    credits::CreditAccount,
    types::{AgreementView, AssignmentOrder, CreditBalance, NextSettlement, Prices, RANKED_MAX},
};

impl<T: Config> Pallet<T> {
    /// Agreement and credits as they would be after a touch, but for a change of status.
    fn as_of_now(account: &T::AccountId) -> (Option<AgreementOf<T>>, CreditAccount) {
        let mut credits = Credits::<T>::get(account);
        let agreement = Agreements::<T>::get(account).map(|mut agreement| {
            let now = frame_system::Pallet::<T>::block_number();
            agreement.charge(Self::storage_index(now), now, Self::divisor());
            agreement.pay(&mut credits);
            agreement
        });
        (agreement, credits)
    }

    /// What the account can spend and what backs it.
    pub fn balance(account: &T::AccountId) -> CreditBalance {
        let (agreement, credits) = Self::as_of_now(account);
        CreditBalance {
            available: credits.available(),
            granted: credits.granted.available(),
            bought: credits.bought.available(),
            backing: credits.backing(),
            debt: agreement.map_or(0, |agreement| agreement.debt),
        }
    }

    /// The account's storage agreement.
    pub fn agreement(account: &T::AccountId) -> Option<AgreementView<BlockNumberFor<T>>> {
        Self::as_of_now(account).0.map(|agreement| AgreementView {
            status: agreement.status,
            takes_writes: agreement.status.takes_writes(),
            bytes: agreement.bytes,
            gateways: agreement.gateways.into_inner(),
            charged: agreement.charged,
            debt: agreement.debt,
            opened_at: agreement.opened_at,
        })
    }

    /// The first block in which the account is short of credits at the present usage and price; now if it is
    /// already, `None` if never or after the last block number.
    pub fn burn_down(account: &T::AccountId) -> Option<BlockNumberFor<T>> {
        let (agreement, credits) = Self::as_of_now(account);
        let agreement = agreement?;
        let now = frame_system::Pallet::<T>::block_number();
        if agreement.debt > 0 {
            return Some(now);
        }
        let price = StoragePrice::<T>::get().price;
        let blocks = agreement.blocks_left(credits.available(), price, Self::divisor())?;
        let now: u128 = now.saturated_into();
        now.checked_add(blocks)?.try_into().ok()
    }

    /// The present prices.
    pub fn prices() -> Prices {
        Prices { credit: CreditPrice::<T>::get(), storage: StoragePrice::<T>::get().price }
    }

    /// When the period is settled, and its revenue so far.
    pub fn next_settlement() -> NextSettlement<BlockNumberFor<T>> {
        let revenue = PeriodRevenue::<T>::get();
        NextSettlement {
            block: revenue.since.saturating_add(T::SettlementPeriodBlocks::get()),
            storage: revenue.storage,
            services: revenue.services,
            carried: revenue.carry.saturating_add(revenue.miners_carry),
        }
    }

    /// What `claim` would pay to the account.
    pub fn claimable(account: &T::AccountId) -> u128 {
        Claimable::<T>::get(account)
    }

    /// A service request, until it is removed after its end.
    pub fn service_request(id: u64) -> Option<RequestOf<T>> {
        Requests::<T>::get(id)
    }

    /// How the given nodes rank for a request, best first.
    pub fn assignment_order(id: u64, nodes: Vec<[u8; 32]>) -> Option<AssignmentOrder> {
        let request = Requests::<T>::get(id)?;
        let seed = request.seed.or_else(|| Self::seed_of(request.requested_at))?;
        let mut nodes: Vec<_> =
            nodes.into_iter().take(RANKED_MAX).map(|node| (node, Self::draw(&seed, id, &node))).collect();
        nodes.sort_by_key(|(_, draw)| *draw);
        Some(AssignmentOrder { seed, nodes })
    }
}
