//! Revenue: split once per period.

use frame_support::{pallet_prelude::*, weights::Weight};
use frame_system::pallet_prelude::*;
use sp_runtime::traits::Saturating;

use crate::{
    Config, Event, MinerWeights, Pallet, PeriodRevenue, WeightInfo, credits::mul_div, types::Revenue,
};

/// What an amount is split into.
pub(crate) struct Shares {
    /// For miners.
    pub(crate) miners: u128,
    /// For validators and stakers.
    pub(crate) network: u128,
    /// For the treasury.
    pub(crate) treasury: u128,
    /// Lost to rounding, less than 3: carried.
    pub(crate) rest: u128,
}

impl<T: Config> Pallet<T> {
    /// Splits an amount; each share is rounded down.
    pub(crate) fn split(amount: u128) -> Shares {
        let share = |percent: u8| mul_div(amount, percent.into(), 100).unwrap_or(0);
        let miners = share(T::MinersPercent::get());
        let network = share(T::NetworkPercent::get());
        let treasury = share(T::TreasuryPercent::get());
        let rest = amount.saturating_sub(miners).saturating_sub(network).saturating_sub(treasury);
        Shares { miners, network, treasury, rest }
    }

    pub(crate) fn settle_if_due(now: BlockNumberFor<T>) -> Weight {
        let revenue = PeriodRevenue::<T>::get();
        if now < revenue.since.saturating_add(T::SettlementPeriodBlocks::get()) {
            return T::WeightInfo::settlement_check();
        }
        let families = Self::settle(now, revenue);
        T::WeightInfo::settle(families)
    }

    /// Splits and pays the revenue of the period; returns the number of families paid.
    fn settle(now: BlockNumberFor<T>, revenue: Revenue<BlockNumberFor<T>>) -> u32 {
        let shares = Self::split(revenue.storage.saturating_add(revenue.carry));
        let for_miners = shares.miners.saturating_add(revenue.miners_carry);
        let (families, miners) = Self::pay_miners(for_miners);
        let network = shares.network.saturating_add(revenue.network);
        let treasury = shares.treasury.saturating_add(revenue.treasury);
        Self::pay_or_reward(&Self::staking_pot(), network);
        Self::pay_or_reward(&T::Treasury::get(), treasury);

        let miners_carry = for_miners.saturating_sub(miners);
        PeriodRevenue::<T>::put(Revenue {
            since: now,
            storage: 0,
            services: 0,
            network: 0,
            treasury: 0,
            carry: shares.rest,
            miners_carry,
        });
        Self::deposit_event(Event::PeriodSettled {
            storage: revenue.storage,
            services: revenue.services,
            miners,
            network,
            treasury,
            carried: shares.rest.saturating_add(miners_carry),
        });
        families
    }

    /// Divides an amount among the families by weight, each share rounded down. Returns the number of families
    /// and what they got together; without any weight that is nothing.
    fn pay_miners(amount: u128) -> (u32, u128) {
        let mut weights = T::MinerWeights::weights();
        weights.truncate(T::MaxMinerFamilies::get() as usize);
        let total: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let mut paid: u128 = 0;
        for (family, weight) in &weights {
            let share = mul_div(amount, (*weight).into(), total).unwrap_or(0);
            Self::reward(family, share);
            paid = paid.saturating_add(share);
        }
        (weights.len() as u32, paid)
    }

    /// Pays ALPHA to an account of the system, or, where that is not possible yet, makes it claimable.
    fn pay_or_reward(account: &T::AccountId, amount: u128) {
        if amount > 0 && Self::pay_out(account, amount).is_err() {
            Self::reward(account, amount);
        }
    }
}
