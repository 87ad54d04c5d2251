//! Time and money of the chain.
//!
//! `fast-runtime` shortens slots and sessions for networks on one machine; everything else is the same code.

use crate::{Balance, BlockNumber};

/// One ALPHA in its smallest unit.
pub const HIPP: Balance = arion_types::units::HIPP;
/// A thousandth of an ALPHA.
pub const MILLI_HIPP: Balance = HIPP / 1_000;
/// A millionth of an ALPHA.
pub const MICRO_HIPP: Balance = HIPP / 1_000_000;

/// Length of a slot, milliseconds. Cannot change after genesis.
pub const SLOT_MS: u64 = if cfg!(feature = "fast-runtime") { 3_000 } else { 6_000 };
/// Blocks in one minute.
pub const MINUTES: BlockNumber = 60_000 / (SLOT_MS as BlockNumber);
/// Blocks in one hour.
pub const HOURS: BlockNumber = 60 * MINUTES;
/// Length of a BABE epoch and of a session, slots. Cannot change after genesis.
pub const SESSION_SLOTS: BlockNumber = if cfg!(feature = "fast-runtime") { 40 } else { 4 * HOURS };
/// A slot has a primary author with probability 1/4; secondary VRF slots fill the rest.
pub const PRIMARY_PROBABILITY: (u64, u64) = (1, 4);
