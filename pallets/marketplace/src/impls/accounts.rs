//! The pallet's accounts, and ALPHA that moves in and out.

use frame_support::{
    defensive,
    pallet_prelude::*,
    traits::{
        fungible::{Inspect, Mutate},
        tokens::Preservation,
    },
};
use sp_runtime::traits::AccountIdConversion;

use crate::{Claimable, Config, Credits, Error, Event, Pallet, credits::CreditAccount};

impl<T: Config> Pallet<T> {
    /// The account that owns the ALPHA behind everything, and its existential deposit.
    pub fn account() -> T::AccountId {
        T::PalletId::get().into_account_truncating()
    }

    /// The account that gets the validators' and stakers' share.
    pub fn staking_pot() -> T::AccountId {
        T::StakingPot::get()
    }

    /// Gives the pallet's account its existential deposit, so that the last credit can leave it. Done at
    /// genesis, and at the upgrade that brings this pallet to a chain.
    pub(crate) fn endow_account() {
        let (account, deposit) = (Self::account(), T::Currency::minimum_balance());
        let balance = T::Currency::total_balance(&account);
        if balance < deposit
            && let Err(error) = T::Currency::mint_into(&account, deposit - balance)
        {
            defensive!("the pallet's account gets its existential deposit", error);
        }
    }

    /// Deposits ALPHA of `payer`.
    pub(crate) fn deposit(payer: &T::AccountId, alpha: u128) -> DispatchResult {
        T::Currency::transfer(payer, &Self::account(), alpha, Preservation::Preserve)
            .map(drop)
            .map_err(|_| Error::<T>::InsufficientAlpha.into())
    }

    /// Pays ALPHA out.
    pub(crate) fn pay_out(account: &T::AccountId, alpha: u128) -> DispatchResult {
        T::Currency::transfer(&Self::account(), account, alpha, Preservation::Preserve)
            .map(drop)
            .map_err(|_| Error::<T>::AccountCannotReceive.into())
    }

    /// Makes ALPHA claimable.
    pub(crate) fn reward(account: &T::AccountId, amount: u128) {
        if amount == 0 {
            return;
        }
        Claimable::<T>::mutate(account, |claimable| *claimable = claimable.saturating_add(amount));
        Self::deposit_event(Event::RewardCredited { account: account.clone(), amount });
    }

    pub(crate) fn do_claim(account: T::AccountId) -> DispatchResult {
        let amount = Claimable::<T>::take(&account);
        frame_support::ensure!(amount > 0, Error::<T>::NothingToClaim);
        Self::pay_out(&account, amount)?;
        Self::deposit_event(Event::RewardClaimed { account, amount });
        Ok(())
    }

    /// Stores an account's credits; none, if there are none.
    pub(crate) fn put_credits(account: &T::AccountId, credits: CreditAccount) {
        if credits == CreditAccount::default() {
            Credits::<T>::remove(account);
        } else {
            Credits::<T>::insert(account, credits);
        }
    }
}
