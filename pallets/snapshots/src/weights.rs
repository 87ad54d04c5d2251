//! Cost of the calls of `pallet_snapshots`, and of what blocks do by themselves.
//!
//! Written by `./scripts/bench weights` from what `benchmarking.rs` measures; changes by hand are lost. Measured in
//! wasm by frame-benchmarking-cli 64.0.0 (frame-omni-bencher) on 2026-11-22, on a shared machine with AMD EPYC:
//! 20 steps, 10 repetitions. Times are least squares over the middle half of the repetitions;
//! accesses to storage are counted, and cost what the runtime's `DbWeight` says. Proof sizes assume the longest value
//! of every item with a bound, in maps of 1000000 entries.

#![cfg_attr(rustfmt, rustfmt_skip)]

use core::marker::PhantomData;
use frame_support::{
    traits::Get,
    weights::{RuntimeDbWeight, Weight, constants::ParityDbWeight},
};

/// Cost of each call and of each hook.
pub trait WeightInfo {
    /// Of `commit_snapshot`.
    fn commit_snapshot() -> Weight;
    /// Of `remove_snapshot`.
    fn remove_snapshot() -> Weight;
}

/// What was measured, with accesses to storage at the price of `Db`.
pub struct Measured<Db>(PhantomData<Db>);

/// What was measured, for a runtime.
pub type SubstrateWeight<T> = Measured<<T as frame_system::Config>::DbWeight>;

impl<Db: Get<RuntimeDbWeight>> WeightInfo for Measured<Db> {
    // Storage: `Snapshots::Snapshots` (r:1 w:1)
    // Proof: `Snapshots::Snapshots` (`max_values`: None, `max_size`: Some(152), added: 2627, mode: `MaxEncodedLen`)
    // Storage: `System::BlockHash` (r:1 w:0)
    // Proof: `System::BlockHash` (`max_values`: None, `max_size`: Some(44), added: 2519, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:1 w:1)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Storage: `Balances::Holds` (r:2 w:2)
    // Proof: `Balances::Holds` (`max_values`: None, `max_size`: Some(193), added: 2668, mode: `MaxEncodedLen`)
    // Proof measured: 436 bytes.
    // Least time: 217_015_000 ps.
    fn commit_snapshot() -> Weight {
        Weight::from_parts(282_548_000, 6_326)
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().writes(4))
    }

    // Storage: `Snapshots::Snapshots` (r:1 w:1)
    // Proof: `Snapshots::Snapshots` (`max_values`: None, `max_size`: Some(152), added: 2627, mode: `MaxEncodedLen`)
    // Storage: `System::BlockHash` (r:1 w:0)
    // Proof: `System::BlockHash` (`max_values`: None, `max_size`: Some(44), added: 2519, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:1 w:1)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Storage: `Balances::Holds` (r:1 w:1)
    // Proof: `Balances::Holds` (`max_values`: None, `max_size`: Some(193), added: 2668, mode: `MaxEncodedLen`)
    // Proof measured: 436 bytes.
    // Least time: 149_529_000 ps.
    fn remove_snapshot() -> Weight {
        Weight::from_parts(255_498_000, 3_658)
            .saturating_add(Db::get().reads(4))
            .saturating_add(Db::get().writes(3))
    }
}

// For tests of other pallets.
impl WeightInfo for () {
    fn commit_snapshot() -> Weight {
        Measured::<ParityDbWeight>::commit_snapshot()
    }
    fn remove_snapshot() -> Weight {
        Measured::<ParityDbWeight>::remove_snapshot()
    }
}
