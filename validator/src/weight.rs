//! Weights of miners in maps: their capacity, less what audits and a full disk take off.
//!
//! What miners did is taken from the chain, where validators and wardens agreed on it once for each weight bucket
//! (`NodeQualityByChild`): services that have read the same block give the same weights.
//!
//! A weight is so many eighths of the capacity's. It goes down an eighth at a time, and not before the map has been in force for
//! [`PACE_BLOCKS`]; it comes back at once when nothing is held against the miner any more. Between the values that take it down and
//! those that bring it back lies more than noise: no map moves data for that.
//!
//! # Invariants
//! - Pure; no state but that of the current map, whose weights say how many eighths there were.
//! - One map takes at most an eighth of its capacity from a miner, and leaves every one at least an eighth.
//!
//! # Not here
//! Who belongs into the map ([`crate::standing`]); what payouts go by (`pallets/arion/src/scoring.rs`).

use std::collections::BTreeMap;

use arion_chain::is_banned;
use arion_types::{NodeQuality, map::WEIGHT_ONE, quality::UPTIME_PERMILLE_MAX};

/// A capacity that changed by less than one part in this many leaves the weight as it is, so that a disk that
/// fills up elsewhere does not make a new map with every heartbeat.
const TOLERANCE: u32 = 32;
/// 1,024 TiB: no miner can make its family heavier than a map can express.
const WEIGHT_MAX: u32 = WEIGHT_ONE << 10;
/// Parts that a capacity's weight is taken in.
const STEPS: u32 = 8;
/// Blocks for which a map has to be in force before weights go down again: an hour, a weight bucket of the chain.
pub const PACE_BLOCKS: u32 = 600;

const PERMILLE: u32 = 1_000;
/// Half a step: merit may be off by so much, either way, without a change.
const NOISE_PERMILLE: u32 = 62;
/// What a standing failure of integrity takes off, and a strike (a timeout that wardens confirmed).
const FAILURE_PERMILLE: u32 = 50;
const STRIKE_PERMILLE: u32 = 4;
/// So many strikes make the time of absence count in full; fewer count for their share, so that what only validators did not hear costs
/// nothing.
const STRIKES_OF_ABSENCE: u32 = 400;
/// A disk this full takes a step off; one more is given back where it would be no fuller than that.
const FULL_PERMILLE: u64 = 940;
const ROOM_PERMILLE: u64 = 920;

/// What the chain says of miners.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merits {
    /// By the miner's account, as of the last weight bucket. Who is not in it has nothing held against it.
    pub qualities: BTreeMap<[u8; 32], NodeQuality>,
    /// Block in which the current map took effect.
    pub map_since: Option<u32>,
}

impl Merits {
    /// Failures of integrity that stand against a miner.
    pub fn failures(&self, child: &[u8; 32]) -> u32 {
        self.qualities.get(child).map_or(0, |quality| quality.integrity_fails)
    }

    /// Whether a miner is kept out of the next map; who is in the current one has to have done more for that.
    pub fn bans(&self, child: &[u8; 32], is_member: bool) -> bool {
        self.qualities.get(child).is_some_and(|quality| is_banned(quality, is_member))
    }

    /// What of a miner's capacity it deserves.
    fn permille(&self, child: &[u8; 32]) -> u32 {
        let Some(quality) = self.qualities.get(child) else { return PERMILLE };
        let absent = u32::from(UPTIME_PERMILLE_MAX.saturating_sub(quality.uptime_permille));
        let absence = absent * quality.strikes.min(STRIKES_OF_ABSENCE) / STRIKES_OF_ABSENCE;
        let failures = quality.integrity_fails.saturating_mul(FAILURE_PERMILLE);
        let strikes = quality.strikes.saturating_mul(STRIKE_PERMILLE);
        PERMILLE.saturating_sub(failures.saturating_add(strikes).saturating_add(absence))
    }

    /// The weight of a miner in the map that follows at `block`; `before` is that of the current map.
    pub fn weight(
        &self,
        child: &[u8; 32],
        block: u32,
        before: Option<u32>,
        (capacity_bytes, used_bytes): (u64, u64),
    ) -> u32 {
        let (full, merit) = (of_capacity(capacity_bytes), self.permille(child));
        let Some(before) = before else { return part(full, steps_of(merit)) };
        let step = nearest_step(before, full);
        let is_due = self.map_since.is_some_and(|since| block.saturating_sub(since) >= PACE_BLOCKS);
        let next = next_step(step, merit, is_due, capacity_bytes, used_bytes);
        let weight = part(full, next);
        match next == step && before.abs_diff(weight) < (before / TOLERANCE).max(1) {
            true => before,
            false => weight,
        }
    }
}

/// 16.16 fixed point, 1.0 per TiB, at least the smallest weight there is, at most [`WEIGHT_MAX`].
pub(crate) fn of_capacity(bytes: u64) -> u32 {
    const BYTES_PER_UNIT: u64 = (1 << 40) / WEIGHT_ONE as u64;
    u32::try_from(bytes / BYTES_PER_UNIT).unwrap_or(u32::MAX).clamp(1, WEIGHT_MAX)
}

/// Steps for a merit, at least one.
fn steps_of(permille: u32) -> u32 {
    (permille.min(PERMILLE) * STEPS).div_ceil(PERMILLE).max(1)
}

fn part(full: u32, steps: u32) -> u32 {
    u32::try_from(u64::from(full) * u64::from(steps) / u64::from(STEPS)).unwrap_or(full).max(1)
}

/// The steps that a weight stands for, where all are `full`.
fn nearest_step(weight: u32, full: u32) -> u32 {
    let (weight, full) = (u64::from(weight), u64::from(full.max(1)));
    let nearest = (weight * u64::from(STEPS) + full / 2) / full;
    u32::try_from(nearest).unwrap_or(STEPS).clamp(1, STEPS)
}

fn next_step(step: u32, merit: u32, is_due: bool, capacity: u64, used: u64) -> u32 {
    // How full it would be with so many steps, if what it has follows its weight.
    let fullness = |steps: u32| {
        let used = u128::from(used) * u128::from(PERMILLE) * u128::from(steps);
        used / (u128::from(capacity.max(1)) * u128::from(step))
    };
    let has_room = |steps: u32| fullness(steps) <= u128::from(ROOM_PERMILLE);
    let deserves = steps_of(merit.saturating_sub(NOISE_PERMILLE));
    if step < STEPS && deserves == STEPS && has_room(STEPS) {
        return STEPS;
    }
    if !is_due {
        return step;
    }
    let is_full = fullness(step) > u128::from(FULL_PERMILLE);
    if steps_of(merit + NOISE_PERMILLE) < step || is_full {
        return (step - 1).max(1);
    }
    if deserves > step && has_room(step + 1) { step + 1 } else { step }
}

#[cfg(test)]
#[path = "weight_tests.rs"]
mod tests;
