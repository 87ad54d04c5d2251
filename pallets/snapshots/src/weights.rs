//! Cost of the calls of `pallet_snapshots`, and of what blocks do by themselves.
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
    fn commit_snapshot() -> Weight {
        Weight::from_parts(300_000_000, 5_000)
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().writes(4))
    }
    fn remove_snapshot() -> Weight {
        Weight::from_parts(300_000_000, 5_000)
            .saturating_add(Db::get().reads(5))
            .saturating_add(Db::get().writes(4))
    }
}

impl WeightInfo for () {
    fn commit_snapshot() -> Weight {
        Measured::<ParityDbWeight>::commit_snapshot()
    }
    fn remove_snapshot() -> Weight {
        Measured::<ParityDbWeight>::remove_snapshot()
    }
}
