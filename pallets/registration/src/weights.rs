//! Cost of the calls.
//!
//! Derived by hand from the number of storage items a call touches and the signatures it verifies, rounded
//! up; benchmarks that measure them on the reference machine come later and replace this file.

use core::marker::PhantomData;
use frame_support::{
    traits::Get,
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MICROS},
};

/// Dispatch, decoding and hashing of a call.
const BASE: Weight = Weight::from_parts(30 * WEIGHT_REF_TIME_PER_MICROS, 4_096);
/// One Ed25519 verification.
const SIGNATURE: Weight = Weight::from_parts(80 * WEIGHT_REF_TIME_PER_MICROS, 0);

/// Cost of each call.
pub trait WeightInfo {
    /// Of `register_owner_node`.
    fn register_owner_node() -> Weight;
    /// Of `register_node`.
    fn register_node() -> Weight;
    /// Of `deregister_node`.
    fn deregister_node() -> Weight;
    /// Of `deregister_owner_node`.
    fn deregister_owner_node() -> Weight;
}

/// Weights from counts of storage accesses, see the module.
pub struct HandDerived<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for HandDerived<T> {
    /// Owner, counter, account and its holds.
    fn register_owner_node() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(4, 4))
    }

    /// Owner, node, nonce, genesis hash, account and its holds; one signature.
    fn register_node() -> Weight {
        BASE.saturating_add(SIGNATURE).saturating_add(T::DbWeight::get().reads_writes(6, 5))
    }

    /// Owner, node, nonce, account and its holds.
    fn deregister_node() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(5, 5))
    }

    /// Owner, counter, the other pallet's answer, account and its holds.
    fn deregister_owner_node() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(6, 4))
    }
}
