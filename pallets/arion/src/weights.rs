//! Cost of the calls and of what blocks do by themselves.
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
/// Decoding, searching and storing the tallies of one miner (36 bytes for each of up to 256 wardens).
const TALLIES: Weight = Weight::from_parts(40 * WEIGHT_REF_TIME_PER_MICROS, 9_300);
/// Reading and writing back a bucket that is full already.
const FULL_BUCKET: Weight = Weight::from_parts(4_000 * WEIGHT_REF_TIME_PER_MICROS, 320_000);
/// Reading a map of 2,048 miners and indexing it by uid.
const MAP: Weight = Weight::from_parts(6_000 * WEIGHT_REF_TIME_PER_MICROS, 500_000);
/// Checking a child and appending a report to those about it.
const REPORT: Weight = Weight::from_parts(10 * WEIGHT_REF_TIME_PER_MICROS, 4_096);
/// Hashing an update of a signed report.
const SIGNED_UPDATE: Weight = Weight::from_parts(WEIGHT_REF_TIME_PER_MICROS, 0);
/// Decoding and sorting three times the reports about a child (20 bytes for each of up to 128 validators), and
/// logarithms.
const MEDIANS: Weight = Weight::from_parts(60 * WEIGHT_REF_TIME_PER_MICROS, 4_096);
/// Validators that vote: as many as there can be.
const VOTES: u64 = 128;
/// Maps that a batch of attestations reads to find out whom they are about.
pub(crate) const MAPS_PER_BATCH: u32 = 4;

/// Cost of each call, and of each hook.
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
    /// Of `register_warden`.
    fn register_warden() -> Weight;
    /// Of `deregister_warden`.
    fn deregister_warden() -> Weight;
    /// Of `submit_node_quality` with so many updates.
    fn submit_node_quality(updates: u32) -> Weight;
    /// Of authorizing `report_node_quality` with so many updates.
    fn authorize_report(updates: u32) -> Weight;
    /// Of `submit_miner_stats` with so many updates.
    fn submit_miner_stats(updates: u32) -> Weight;
    /// Of `set_lockup_enabled`.
    fn set_lockup_enabled() -> Weight;
    /// Of `set_base_child_deposit`.
    fn set_base_child_deposit() -> Weight;
    /// Of `add_attestation_submitter`.
    fn add_attestation_submitter() -> Weight;
    /// Of `remove_attestation_submitter`.
    fn remove_attestation_submitter() -> Weight;
    /// Of the first block after a weight bucket in which at most so many validators reported.
    fn open_weight_round(reporters: u32) -> Weight;
    /// Of weighing so many families with so many children in all.
    fn weigh_children(families: u32, children: u32) -> Weight;
    /// Of looking at so many entries that may have had their time.
    fn sweep(entries: u32) -> Weight;
}

/// Weights from counts of storage accesses, see the module.
pub struct HandDerived<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for HandDerived<T> {
    /// Per miner its node id and registration; once the votes, the map, and the map that is pruned for it.
    fn submit_crush_map(miners: u32) -> Weight {
        let miners = u64::from(miners);
        BASE.saturating_add(MINER.saturating_mul(miners))
            .saturating_add(T::DbWeight::get().reads_writes(6 + 2 * VOTES + 2 * miners, 11 + VOTES))
    }

    /// Family, proxies, child, node id, cooldowns, counters, nonce, genesis hash, prices, grace, account and
    /// its holds.
    fn register_child() -> Weight {
        BASE.saturating_add(SIGNATURE).saturating_add(T::DbWeight::get().reads_writes(19, 15))
    }

    /// Child, family's list and weights, counters, node id, nonce, cooldowns, lockup, and what is known about
    /// the child's quality.
    fn deregister_child() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(9, 18))
    }

    /// Child, account and its holds.
    fn claim_unbonded() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(3, 3))
    }

    /// The bucket and the maps; per attestation one signature and at most one warden, one miner and its
    /// tallies.
    fn submit_attestations(count: u32) -> Weight {
        let each = SIGNATURE.saturating_add(ATTESTATION).saturating_add(TALLIES);
        let (count, maps) = (u64::from(count), u64::from(MAPS_PER_BATCH));
        BASE.saturating_add(FULL_BUCKET)
            .saturating_add(MAP.saturating_mul(maps))
            .saturating_add(each.saturating_mul(count))
            .saturating_add(T::DbWeight::get().reads_writes(6 + maps + 3 * count, 2 + count))
    }

    /// Root and commitment of the epoch.
    fn submit_attestation_commitment() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(4, 1))
    }

    /// An entry and its counter.
    fn register_warden() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(2, 2))
    }

    /// An entry and its counter.
    fn deregister_warden() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(2, 2))
    }

    /// The validators and who reported; per update the child and the reports about it.
    fn submit_node_quality(updates: u32) -> Weight {
        let updates = u64::from(updates);
        BASE.saturating_add(REPORT.saturating_mul(updates))
            .saturating_add(T::DbWeight::get().reads_writes(3 + 2 * updates, 1 + updates))
    }

    /// The session keys, the validators and the reporters; one signature over the whole report, hashed.
    fn authorize_report(updates: u32) -> Weight {
        SIGNATURE
            .saturating_add(SIGNED_UPDATE.saturating_mul(updates.into()))
            .saturating_add(T::DbWeight::get().reads(4))
    }

    /// The validators and the totals; per update the child and its stats.
    fn submit_miner_stats(updates: u32) -> Weight {
        let updates = u64::from(updates);
        BASE.saturating_add(REPORT.saturating_mul(updates))
            .saturating_add(T::DbWeight::get().reads_writes(3 + updates, 1 + updates))
    }

    /// One value.
    fn set_lockup_enabled() -> Weight {
        BASE.saturating_add(T::DbWeight::get().writes(1))
    }

    /// One value.
    fn set_base_child_deposit() -> Weight {
        BASE.saturating_add(T::DbWeight::get().writes(1))
    }

    /// An entry and its counter.
    fn add_attestation_submitter() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(2, 2))
    }

    /// An entry and its counter.
    fn remove_attestation_submitter() -> Weight {
        BASE.saturating_add(T::DbWeight::get().reads_writes(2, 2))
    }

    /// Every validator's votes, each compared with every reporter; the round and its votes.
    fn open_weight_round(reporters: u32) -> Weight {
        let comparisons = u64::from(reporters).saturating_mul(VOTES);
        Weight::from_parts(comparisons.saturating_mul(WEIGHT_REF_TIME_PER_MICROS / 20), 0)
            .saturating_add(T::DbWeight::get().reads_writes(3 + VOTES, 3))
    }

    /// Per family its list, grace and weights; per child its reports, tallies, quality and weight; the round.
    fn weigh_children(families: u32, children: u32) -> Weight {
        let (families, children) = (u64::from(families), u64::from(children));
        MEDIANS.saturating_add(TALLIES).saturating_mul(children).saturating_add(
            T::DbWeight::get().reads_writes(5 + 3 * families + 3 * children, 4 + 2 * families + 4 * children),
        )
    }

    /// The position and the validators; per entry its key, its value, what it depends on, and its removal.
    fn sweep(entries: u32) -> Weight {
        let entries = u64::from(entries);
        T::DbWeight::get().reads_writes(4 + VOTES + 3 * entries, 1 + entries)
    }
}
