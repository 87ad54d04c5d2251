//! Cost of the calls of `pallet_registration`, and of what blocks do by themselves.
//!
//! Written by `./scripts/bench weights` from what `benchmarking.rs` measures; changes by hand are lost. Measured in
//! wasm by frame-benchmarking-cli 64.0.0 (frame-omni-bencher) on 2026-11-21, on a shared machine with AMD EPYC:
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
    /// Of `register_owner_node`.
    fn register_owner_node() -> Weight;
    /// Of `register_node`.
    fn register_node() -> Weight;
    /// Of `deregister_node`.
    fn deregister_node() -> Weight;
    /// Of `deregister_owner_node`.
    fn deregister_owner_node() -> Weight;
    /// Of `migrate_v1_to_v2`; `n` was measured from 0 to 1024.
    fn migrate_v1_to_v2(n: u32) -> Weight;
}

/// What was measured, with accesses to storage at the price of `Db`.
pub struct Measured<Db>(PhantomData<Db>);

/// What was measured, for a runtime.
pub type SubstrateWeight<T> = Measured<<T as frame_system::Config>::DbWeight>;

impl<Db: Get<RuntimeDbWeight>> WeightInfo for Measured<Db> {
    // Storage: `Registration::OwnerNodes` (r:1 w:1)
    // Proof: `Registration::OwnerNodes` (`max_values`: None, `max_size`: Some(73), added: 2548, mode: `MaxEncodedLen`)
    // Storage: `Registration::CounterForOwnerNodes` (r:1 w:1)
    // Proof: `Registration::CounterForOwnerNodes` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Storage: `Balances::Holds` (r:1 w:1)
    // Proof: `Balances::Holds` (`max_values`: None, `max_size`: Some(175), added: 2650, mode: `MaxEncodedLen`)
    // Proof measured: 131 bytes.
    // Least time: 101_199_000 ps.
    fn register_owner_node() -> Weight {
        Weight::from_parts(150_702_000, 3_640)
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().writes(3))
    }

    // Storage: `Registration::OwnerNodes` (r:1 w:1)
    // Proof: `Registration::OwnerNodes` (`max_values`: None, `max_size`: Some(73), added: 2548, mode: `MaxEncodedLen`)
    // Storage: `Registration::Nodes` (r:1 w:1)
    // Proof: `Registration::Nodes` (`max_values`: None, `max_size`: Some(102), added: 2577, mode: `MaxEncodedLen`)
    // Storage: `System::BlockHash` (r:1 w:0)
    // Proof: `System::BlockHash` (`max_values`: None, `max_size`: Some(44), added: 2519, mode: `MaxEncodedLen`)
    // Storage: `Registration::NodeNonces` (r:1 w:1)
    // Proof: `Registration::NodeNonces` (`max_values`: None, `max_size`: Some(56), added: 2531, mode: `MaxEncodedLen`)
    // Storage: `Balances::Holds` (r:1 w:1)
    // Proof: `Balances::Holds` (`max_values`: None, `max_size`: Some(175), added: 2650, mode: `MaxEncodedLen`)
    // Proof measured: 345 bytes.
    // Least time: 184_194_000 ps.
    fn register_node() -> Weight {
        Weight::from_parts(276_878_000, 3_640)
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().writes(4))
    }

    // Storage: `Registration::Nodes` (r:1 w:1)
    // Proof: `Registration::Nodes` (`max_values`: None, `max_size`: Some(102), added: 2577, mode: `MaxEncodedLen`)
    // Storage: `Balances::Holds` (r:1 w:1)
    // Proof: `Balances::Holds` (`max_values`: None, `max_size`: Some(175), added: 2650, mode: `MaxEncodedLen`)
    // Storage: `Registration::OwnerNodes` (r:1 w:1)
    // Proof: `Registration::OwnerNodes` (`max_values`: None, `max_size`: Some(73), added: 2548, mode: `MaxEncodedLen`)
    // Storage: `Registration::NodeNonces` (r:1 w:1)
    // Proof: `Registration::NodeNonces` (`max_values`: None, `max_size`: Some(56), added: 2531, mode: `MaxEncodedLen`)
    // Proof measured: 515 bytes.
    // Least time: 160_890_000 ps.
    fn deregister_node() -> Weight {
        Weight::from_parts(165_219_000, 3_640)
            .saturating_add(Db::get().reads(4))
            .saturating_add(Db::get().writes(4))
    }

    // Storage: `Registration::OwnerNodes` (r:1 w:1)
    // Proof: `Registration::OwnerNodes` (`max_values`: None, `max_size`: Some(73), added: 2548, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyChildren` (r:1 w:0)
    // Proof: `Arion::FamilyChildren` (`max_values`: None, `max_size`: Some(1073), added: 3548, mode: `MaxEncodedLen`)
    // Storage: `Balances::Holds` (r:1 w:1)
    // Proof: `Balances::Holds` (`max_values`: None, `max_size`: Some(175), added: 2650, mode: `MaxEncodedLen`)
    // Storage: `Registration::CounterForOwnerNodes` (r:1 w:1)
    // Proof: `Registration::CounterForOwnerNodes` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 297 bytes.
    // Least time: 96_932_000 ps.
    fn deregister_owner_node() -> Weight {
        Weight::from_parts(149_679_000, 4_538)
            .saturating_add(Db::get().reads(4))
            .saturating_add(Db::get().writes(3))
    }

    // Storage: `Registration::Nodes` (r:1025 w:1024)
    // Proof: `Registration::Nodes` (`max_values`: None, `max_size`: Some(102), added: 2577, mode: `MaxEncodedLen`)
    // Proof measured: 188 + n * 109 bytes.
    // Least time: 9_217_000 ps.
    fn migrate_v1_to_v2(n: u32) -> Weight {
        Weight::from_parts(9_478_000, 3_567)
            // Standard error: 15_139
            .saturating_add(Weight::from_parts(8_095_372, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(1))
            .saturating_add(Db::get().reads((1_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 2_577).saturating_mul(n.into()))
    }
}

// For tests of other pallets.
impl WeightInfo for () {
    fn register_owner_node() -> Weight {
        Measured::<ParityDbWeight>::register_owner_node()
    }
    fn register_node() -> Weight {
        Measured::<ParityDbWeight>::register_node()
    }
    fn deregister_node() -> Weight {
        Measured::<ParityDbWeight>::deregister_node()
    }
    fn deregister_owner_node() -> Weight {
        Measured::<ParityDbWeight>::deregister_owner_node()
    }
    fn migrate_v1_to_v2(n: u32) -> Weight {
        Measured::<ParityDbWeight>::migrate_v1_to_v2(n)
    }
}
