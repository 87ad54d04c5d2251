//! What storage costs: a pure function of usage, prices and time.
//!
//! A charge is `bytes * (index now - index at the last charge)`, in units / (GiB * blocks per hour); the
//! agreement keeps what is less than a unit. The price index is the sum of the price over the blocks, so that a
//! new price cannot change what earlier blocks cost.
//!
//! # Invariants
//! - Charging at `a` and then at `b` charges the same as charging at `b`: rounding happens once, down, and the
//!   rest is carried.
//!
//! Specified in docs/spec/marketplace.md.

use core::fmt::Debug;
use frame_support::traits::Get;
use sp_core::U256;

use crate::{
    credits::{CreditAccount, Piece},
    types::{Agreement, GIB},
};

/// Of a charge: bytes * blocks in a GiB-hour.
pub fn divisor(blocks_per_hour: u32) -> u64 {
    GIB.saturating_mul(u64::from(blocks_per_hour))
}

impl<BlockNumber: Copy + PartialEq + Eq + Debug, MaxGateways: Get<u32>> Agreement<BlockNumber, MaxGateways> {
    /// Charges everything up to the price index `index`, which is that of block `now`. Returns the units.
    pub fn charge(&mut self, index: u128, now: BlockNumber, divisor: u64) -> u128 {
        let grown = index.saturating_sub(self.index);
        let parts = U256::from(self.bytes) * U256::from(grown) + U256::from(self.remainder);
        let (units, rest) = parts.div_mod(U256::from(divisor.max(1)));
        let units = u128::try_from(units).unwrap_or(u128::MAX);
        self.remainder = rest.low_u64();
        self.index = index;
        self.accrued_at = now;
        self.charged = self.charged.saturating_add(units);
        self.debt = self.debt.saturating_add(units);
        units
    }

    /// Pays as much of the debt as there are credits for. Returns the units and the ALPHA behind them.
    pub fn pay(&mut self, credits: &mut CreditAccount) -> Piece {
        let (granted, bought) = credits.take(self.debt);
        let paid = granted.plus(bought);
        self.debt = self.debt.saturating_sub(paid.credits);
        paid
    }

    /// Blocks, from the last charge on, after which the charge exceeds `available` units at this price for the
    /// first time; `None` if never, or not within `u128` blocks.
    pub fn blocks_left(&self, available: u128, price: u128, divisor: u64) -> Option<u128> {
        let per_block = U256::from(self.bytes) * U256::from(price);
        if per_block.is_zero() {
            return None;
        }
        // The last count of blocks whose charge, rounded down, is covered; and one more.
        let parts = (U256::from(available) + 1) * U256::from(divisor) - 1 - U256::from(self.remainder);
        u128::try_from(parts / per_block).ok()?.checked_add(1)
    }
}
