//! Cost of the calls.
//!
//! Derived by hand from the number of storage items a call touches, the bytes it hashes and the signatures it
//! verifies, rounded up; benchmarks that measure them on the reference machine come later and replace this
//! file.

use core::marker::PhantomData;
use frame_support::{
    traits::Get,
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MICROS},
};

/// Dispatch, decoding and hashing of a call.
const BASE: Weight = Weight::from_parts(30 * WEIGHT_REF_TIME_PER_MICROS, 4_096);
/// One Ed25519 verification.
const SIGNATURE: Weight = Weight::from_parts(80 * WEIGHT_REF_TIME_PER_MICROS, 0);
/// Decoding, checking, hashing and storing one miner of a map (up to 300 bytes).
const MINER: Weight = Weight::from_parts(10 * WEIGHT_REF_TIME_PER_MICROS, 512);
/// Decoding, comparing and storing one attestation (up to 320 bytes), besides its signature.
const ATTESTATION: Weight = Weight::from_parts(10 * WEIGHT_REF_TIME_PER_MICROS, 320);
/// Reading and writing back a bucket that is full already.
const FULL_BUCKET: Weight = Weight::from_parts(4_000 * WEIGHT_REF_TIME_PER_MICROS, 320_000);
/// Votes read and removed per map: as many as there can be validators.
const VOTES: u64 = 100;

/// Cost of each call.
pub trait WeightInfo {
    /// Of `submit_crush_map` with so many miners.
    fn submit_crush_map(miners: u32) -> Weight;
    /// Of `register_child`.
    fn register_child() -> Weight;
    /// Of `deregister_child`.
    fn deregister_child() -> Weight;
    /// Of `claim_unbonded`.
    fn claim_unbonded() -> Weight;
    /// Of `submit_attestations` with so many of them.
    fn submit_attestations(count: u32) -> Weight;
    /// Of `submit_attestation_commitment`.
    fn submit_attestation_commitment() -> Weight;
    /// Of any call of the admin.
    fn admin() -> Weight;
}

/// Weights from counts of storage accesses, see the module.
pub struct HandDerived<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for HandDerived<T> {
    /// Per miner its node id and registration; once the votes, the map, and the map that is pruned for it.
    fn submit_crush_map(miners: u32) -> Weight {
        let miners = u64::from(miners);
        BASE.saturating_add(MINER.saturating_mul(miners))
            .saturating_add(T::DbWeight::get().reads_writes(5 + VOTES + 2 * miners, 10 + VOTES))
    }

    /// Family, proxies, child, node id, cooldowns, counters, nonce, genesis hash, prices, account and its
    /// holds.
    fn register_child() -> Weight {
        BASE.saturating_add(SIGNATURE).saturating_add(T::DbWeight::get().reads_writes(18, 14))
    }

    /// Child, family's list, counters, node id, nonce, cooldowns, lockup.
    fn deregister_child() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(7, 8))
    }

    /// Child, account and its holds.
    fn claim_unbonded() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(3, 3))
    }

    /// The bucket, and per attestation one signature and at most one warden.
    fn submit_attestations(count: u32) -> Weight {
        let count = u64::from(count);
        BASE.saturating_add(FULL_BUCKET)
            .saturating_add(SIGNATURE.saturating_add(ATTESTATION).saturating_mul(count))
            .saturating_add(T::DbWeight::get().reads_writes(5 + count, 2))
    }

    /// Root and commitment of the epoch.
    fn submit_attestation_commitment() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(4, 1))
    }

    /// An entry and its counter.
    fn admin() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(2, 2))
    }
}
