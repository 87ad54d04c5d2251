//! Time and money of the chain.
//!
//! `fast-runtime` shortens slots and sessions for networks on one machine; everything else is the same code.

use frame_support::PalletId;

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

/// Length of an era, sessions: for that long a set of validators is elected and points for rewards are counted.
pub const SESSIONS_PER_ERA: u32 = if cfg!(feature = "fast-runtime") { 3 } else { 6 };
/// Eras after which unbonded stake is free; so long can it be slashed, and an equivocation be reported.
pub const BONDING_ERAS: u32 = if cfg!(feature = "fast-runtime") { 3 } else { 28 };
/// Eras between the report of an offence and its slash, in which root can cancel it.
pub const SLASH_DEFER_ERAS: u32 = if cfg!(feature = "fast-runtime") { 0 } else { 27 };
/// Eras for which rewards can be claimed.
pub const HISTORY_ERAS: u32 = 84;
/// Most validators of a session.
pub const VALIDATORS_MAX: u32 = 100;

/// Its account receives the share of revenue that belongs to validators and those who nominate them. What is in
/// it at the end of an era is what the era pays, see `rewards`.
pub const STAKERS_POT: PalletId = PalletId(*b"ar/stake");
/// Its account holds the rewards of past eras that nobody has claimed yet.
pub const ERA_REWARDS: PalletId = PalletId(*b"ar/rewrd");
/// Its account receives what is slashed.
pub const TREASURY: PalletId = PalletId(*b"ar/trsry");
