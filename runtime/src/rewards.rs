//! What validators and nominators earn: their share of revenue, never new ALPHA.
//!
//! Revenue arrives in the account of [`STAKERS_POT`]. When an era ends, all of it moves to the account of
//! [`ERA_REWARDS`], and the era pays just that. `pallet-staking` pays by minting: each payout is settled against
//! the second account at once, so that issuance stays what it was. Its balance, apart from what keeps the account
//! alive, is what is not claimed yet.
//!
//! # Invariants
//! - Issuance is the same before and after the end of an era and every payout.
//! - An era promises [`ROUNDING_UNITS`] less than what moved in its favour: rounded shares may exceed the whole.
//! - Both accounts keep the existential deposit that the genesis gives them.
//!
//! # Not here
//! How much of the revenue it is (`pallet-marketplace`); who earns how much of an era (`pallet-staking`).

use core::marker::PhantomData;
use frame_support::{
    PalletId, defensive,
    traits::{
        Get, Imbalance, OnUnbalanced, TypedGet,
        fungible::{Balanced, Credit, Debt, Inspect, Mutate},
        tokens::{Fortitude, Preservation},
    },
};
use sp_runtime::traits::AccountIdConversion;
use sp_staking::EraPayout;

use crate::{
    AccountId, Balance, Balances,
    constants::{ERA_REWARDS, STAKERS_POT, TREASURY},
};

/// What an era keeps back. `pallet-staking` rounds every share to the nearest unit, so that all of them together
/// exceed the whole by up to half a unit for each: of 100 validators the total, the commission by pages and the
/// shares of 512 nominators, below 30,000 units.
pub const ROUNDING_UNITS: Balance = 100_000;

/// The account of a [`PalletId`].
pub struct AccountOf<Id>(PhantomData<Id>);

impl<Id: Get<PalletId>> TypedGet for AccountOf<Id> {
    type Type = AccountId;

    fn get() -> AccountId {
        Id::get().into_account_truncating()
    }
}

frame_support::parameter_types! {
    pub const StakersPot: PalletId = STAKERS_POT;
    pub const EraRewards: PalletId = ERA_REWARDS;
    pub const Treasury: PalletId = TREASURY;
}

/// Where revenue for validators and nominators arrives.
pub type StakersPotAccount = AccountOf<StakersPot>;
/// Where rewards wait for being claimed.
pub type EraRewardsAccount = AccountOf<EraRewards>;
/// Where slashed ALPHA goes.
pub type TreasuryAccount = AccountOf<Treasury>;

/// What an account has besides what keeps it alive.
fn spendable(account: &AccountId) -> Balance {
    Balances::reducible_balance(account, Preservation::Preserve, Fortitude::Polite)
}

/// An era pays what the pot holds when it ends.
pub struct PayFromPot;

impl EraPayout<Balance> for PayFromPot {
    /// Moves the pot to the rewards and returns how much the era pays; the rest is nothing.
    fn era_payout(_staked: Balance, _issuance: Balance, _duration_ms: u64) -> (Balance, Balance) {
        let (pot, rewards) = (StakersPotAccount::get(), EraRewardsAccount::get());
        let (amount, before) = (spendable(&pot), spendable(&rewards));
        // What does not move stays in the pot for the next era.
        if amount <= ROUNDING_UNITS
            || Balances::transfer(&pot, &rewards, amount, Preservation::Preserve).is_err()
        {
            return (0, 0);
        }
        let arrived = spendable(&rewards).saturating_sub(before);
        (arrived.saturating_sub(ROUNDING_UNITS), 0)
    }
}

/// Takes out of the rewards what `pallet-staking` minted for a payout.
pub struct SettleFromRewards;

impl OnUnbalanced<Debt<AccountId, Balances>> for SettleFromRewards {
    fn on_nonzero_unbalanced(minted: Debt<AccountId, Balances>) {
        let settled = Balances::settle(&EraRewardsAccount::get(), minted, Preservation::Preserve);
        if settled.is_err() {
            defensive!("an era paid more than its share of revenue: issuance has grown");
        }
    }
}

/// Puts back into the pot what an era promised to nobody: the part above `MaxStakedRewards`, if root sets that.
/// `pallet-staking` issues it, while it lies in the rewards already.
pub struct ReturnToPot;

impl OnUnbalanced<Credit<AccountId, Balances>> for ReturnToPot {
    fn on_nonzero_unbalanced(issued: Credit<AccountId, Balances>) {
        let amount = issued.peek();
        drop(issued);
        let returned = Balances::transfer(
            &EraRewardsAccount::get(),
            &StakersPotAccount::get(),
            amount,
            Preservation::Preserve,
        );
        if returned.is_err() {
            defensive!("the rewards of an era are not in their account: they cannot go back to the pot");
        }
    }
}
