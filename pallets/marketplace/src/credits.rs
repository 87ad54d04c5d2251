//! Credits and the ALPHA behind them.
//!
//! A credit is a unit of account; what backs it is the ALPHA that was deposited when it was bought. A
//! [`CreditPool`] keeps credits of one kind of one account together with exactly that ALPHA; taking credits
//! takes the proportional part of it.
//!
//! # Invariants
//! - No ALPHA is made or lost: what went in is what is left plus what was taken.
//! - The last credit takes all that is left.
//! - Taking `a` and then `b` takes the same ALPHA as taking `a + b`: a pool remembers what it was when something
//!   was last added, and rounds only from there.
//! - Where every credit went in with at least one smallest unit of ALPHA, every credit left is backed by at
//!   least one.
//!
//! Specified in docs/spec/marketplace.md.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::U256;

/// Credits with the ALPHA behind them.
#[derive(
    Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Piece {
    /// Units of credit.
    pub credits: u128,
    /// ALPHA.
    pub alpha: u128,
}

impl Piece {
    /// Both, added.
    pub fn plus(self, other: Self) -> Self {
        Self {
            credits: self.credits.saturating_add(other.credits),
            alpha: self.alpha.saturating_add(other.alpha),
        }
    }
}

/// Credits of one kind of one account.
#[derive(
    Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct CreditPool {
    /// Units after the last addition.
    pub credits: u128,
    /// ALPHA after the last addition.
    pub alpha: u128,
    /// Units taken since.
    pub spent: u128,
}

impl CreditPool {
    /// Units left.
    pub fn available(&self) -> u128 {
        self.credits.saturating_sub(self.spent)
    }

    /// ALPHA left: it backs the units left.
    pub fn backing(&self) -> u128 {
        self.alpha.saturating_sub(self.released(self.spent))
    }

    /// ALPHA that leaves with the first `spent` units, rounded down.
    fn released(&self, spent: u128) -> u128 {
        if spent >= self.credits {
            return self.alpha;
        }
        mul_div(self.alpha, spent, self.credits).unwrap_or(self.alpha)
    }

    /// Adds credits with their ALPHA; `None`, and nothing changed, if a sum does not fit.
    pub fn add(&mut self, piece: Piece) -> Option<()> {
        let credits = self.available().checked_add(piece.credits)?;
        let alpha = self.backing().checked_add(piece.alpha)?;
        *self = Self { credits, alpha, spent: 0 };
        Some(())
    }

    /// Takes credits, as many as there are at most, with their part of the ALPHA.
    pub fn take(&mut self, credits: u128) -> Piece {
        let credits = credits.min(self.available());
        if credits == 0 {
            return Piece::default();
        }
        let before = self.backing();
        self.spent = self.spent.saturating_add(credits);
        if self.available() == 0 {
            *self = Self::default();
        }
        Piece { credits, alpha: before.saturating_sub(self.backing()) }
    }
}

/// All credits of an account.
#[derive(
    Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct CreditAccount {
    /// Credited by a payment authority. Spent first.
    pub granted: CreditPool,
    /// Bought with ALPHA.
    pub bought: CreditPool,
}

impl CreditAccount {
    /// Units that can be spent.
    pub fn available(&self) -> u128 {
        self.granted.available().saturating_add(self.bought.available())
    }

    /// ALPHA behind them.
    pub fn backing(&self) -> u128 {
        self.granted.backing().saturating_add(self.bought.backing())
    }

    /// Takes credits, as many as there are at most: granted ones, then bought ones.
    pub fn take(&mut self, credits: u128) -> (Piece, Piece) {
        let granted = self.granted.take(credits);
        let bought = self.bought.take(credits.saturating_sub(granted.credits));
        (granted, bought)
    }
}

/// `a * b / d`, rounded down; `None` if it does not fit or `d` is 0.
pub fn mul_div(a: u128, b: u128, d: u128) -> Option<u128> {
    (U256::from(a) * U256::from(b)).checked_div(U256::from(d))?.try_into().ok()
}

/// `a * b / d`, rounded up; `None` if it does not fit or `d` is 0.
pub fn mul_div_up(a: u128, b: u128, d: u128) -> Option<u128> {
    if d == 0 {
        return None;
    }
    let (quotient, rest) = (U256::from(a) * U256::from(b)).div_mod(U256::from(d));
    let quotient: u128 = quotient.try_into().ok()?;
    if rest.is_zero() { Some(quotient) } else { quotient.checked_add(1) }
}
