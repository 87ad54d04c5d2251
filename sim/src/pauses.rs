//! How long disks and processors take: every piece of blocking work takes a moment of simulated time, and is an event.

use std::{cell::RefCell, time::Duration};

use crate::{dice::Dice, trace};

/// Longest usual pause, in milliseconds.
const USUAL_MS: u64 = 4;

thread_local! {
    static DICE: RefCell<Option<Dice>> = const { RefCell::new(None) };
    static SLOWNESS_MS: RefCell<u64> = const { RefCell::new(0) };
}

pub fn roll(dice: Dice) {
    DICE.set(Some(dice));
}

/// One in four pieces of work takes up to this long.
pub fn set_slowness(ms: u64) {
    trace::trace!("work takes up to {ms} ms");
    SLOWNESS_MS.set(ms);
}

/// See `arion_daemon::work`.
pub fn pauses() -> [Duration; 2] {
    trace::event();
    let Some(dice) = DICE.with_borrow(Clone::clone) else { return [Duration::ZERO; 2] };
    let slowness = SLOWNESS_MS.with_borrow(|slowness| *slowness);
    let most = if slowness > 0 && dice.percent(25) { slowness } else { USUAL_MS };
    let pause = || Duration::from_millis(dice.below(most));
    [pause(), pause()]
}
