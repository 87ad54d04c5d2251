//! Random sequences of calls against the whole runtime, made from bytes.
//!
//! The same bytes always make the same sequence, so that libFuzzer can steer it (`fuzz/fuzz_targets/calls.rs`) and a
//! test can run a fixed number of seeds without libFuzzer (`tests/seeds.rs`). The actors are few, so that their
//! calls meet; signatures are real; time passes in blocks with the hooks of all pallets.
//!
//! # Invariants
//! - [`run`] is a function of its bytes: no clock, no randomness, and every run begins with the same state.
//! - After every step what accounts own is what was issued, and issuance shrinks only by what events name. After
//!   every block and every eighth call, the invariants of our pallets hold; with `try-runtime`, at the end of every
//!   fourth sequence those of all pallets.
//! - No call needs more weight than it declares.
//!
//! # Not here
//! Signatures of transactions, fees and the pool (`runtime/src/tests`, e2e); what a root that wants harm can do.

pub mod actors;
mod calls;
mod chain;
mod check;
mod purpose;
mod raw;
mod script;
mod wrap;

use std::{cell::RefCell, collections::BTreeSet};

use arbitrary::Unstructured;
use sp_state_machine::BasicExternalities;

use script::Script;

/// Most steps of a sequence.
pub const STEPS_MAX: usize = 64;

/// What a sequence came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Calls that succeeded.
    pub accepted: u32,
    /// Calls that were refused.
    pub refused: u32,
    /// Blocks produced.
    pub blocks: u32,
    /// Pallet and name of the calls that succeeded, by themselves and not in another.
    pub calls: BTreeSet<(&'static str, &'static str)>,
    /// Index of the pallet and of the event within it, of what was seen to happen: by calls and in the blocks of a step,
    /// of a leap in its last block.
    pub events: BTreeSet<[u8; 2]>,
}

thread_local! {
    /// The states that sequences begin with: a bare genesis, and one in which everybody has work to do.
    static STATES: [RefCell<BasicExternalities>; 2] =
        [false, true].map(|is_furnished| RefCell::new(chain::genesis(is_furnished)));
}

/// Runs the sequence that `bytes` make; nothing of it stays.
///
/// # Panics
/// When an invariant does not hold: that is a finding.
pub fn run(bytes: &[u8]) -> Outcome {
    let Some((first, rest)) = bytes.split_first() else { return Outcome::default() };
    STATES.with(|states| {
        // Mostly where there is work to do.
        let state = &states[usize::from(first % 4 > 0)];
        state.borrow_mut().execute_with(|| {
            sp_io::storage::start_transaction();
            // Half of the sequences lead on from what is under way.
            let outcome = Script::new(Unstructured::new(rest), first & 0x40 > 0).play(first % 16 < 4);
            sp_io::storage::rollback_transaction();
            outcome
        })
    })
}
