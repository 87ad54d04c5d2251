//! Cost of the calls of `pallet_arion`, and of what blocks do by themselves.
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
    /// Of `submit_crush_map`; `m` was measured from 1 to 2048.
    fn submit_crush_map(m: u32) -> Weight;
    /// Of `register_child`.
    fn register_child() -> Weight;
    /// Of `deregister_child`.
    fn deregister_child() -> Weight;
    /// Of `claim_unbonded`.
    fn claim_unbonded() -> Weight;
    /// Of `submit_attestations`; `a` was measured from 1 to 1000.
    fn submit_attestations(a: u32) -> Weight;
    /// Of `submit_attestation_commitment`.
    fn submit_attestation_commitment() -> Weight;
    /// Of `register_warden`.
    fn register_warden() -> Weight;
    /// Of `deregister_warden`.
    fn deregister_warden() -> Weight;
    /// Of `report_conflicting_attestations`.
    fn report_conflicting_attestations() -> Weight;
    /// Of `announce_maintenance`.
    fn announce_maintenance() -> Weight;
    /// Of `submit_node_quality`; `u` was measured from 1 to 2048.
    fn submit_node_quality(u: u32) -> Weight;
    /// Of `report_node_quality`; `u` was measured from 1 to 2048.
    fn report_node_quality(u: u32) -> Weight;
    /// Of `authorize_report`; `u` was measured from 1 to 2048.
    fn authorize_report(u: u32) -> Weight;
    /// Of `submit_miner_stats`; `u` was measured from 0 to 2048.
    fn submit_miner_stats(u: u32) -> Weight;
    /// Of `set_lockup_enabled`.
    fn set_lockup_enabled() -> Weight;
    /// Of `set_base_child_deposit`.
    fn set_base_child_deposit() -> Weight;
    /// Of `add_attestation_submitter`.
    fn add_attestation_submitter() -> Weight;
    /// Of `remove_attestation_submitter`.
    fn remove_attestation_submitter() -> Weight;
    /// Of `prune_attestations`.
    fn prune_attestations() -> Weight;
    /// Of `open_weight_round`; `r` was measured from 0 to 128.
    fn open_weight_round(r: u32) -> Weight;
    /// Of `weigh_children`; `f` was measured from 1 to 128; `c` was measured from 0 to 31.
    fn weigh_children(f: u32, c: u32) -> Weight;
    /// Of `sweep_map_votes`; `n` was measured from 0 to 32.
    fn sweep_map_votes(n: u32) -> Weight;
    /// Of `sweep_child_cooldowns`; `n` was measured from 0 to 32.
    fn sweep_child_cooldowns(n: u32) -> Weight;
    /// Of `sweep_node_id_cooldowns`; `n` was measured from 0 to 32.
    fn sweep_node_id_cooldowns(n: u32) -> Weight;
    /// Of `sweep_attestations`; `n` was measured from 0 to 32.
    fn sweep_attestations(n: u32) -> Weight;
    /// Of `sweep_quality_reports`; `n` was measured from 0 to 32.
    fn sweep_quality_reports(n: u32) -> Weight;
    /// Of `sweep_audit_tallies`; `n` was measured from 0 to 32.
    fn sweep_audit_tallies(n: u32) -> Weight;
    /// Of `sweep_free_unbonding`; `n` was measured from 0 to 32.
    fn sweep_free_unbonding(n: u32) -> Weight;
    /// Of `migrate_v1_to_v2`; `f` was measured from 0 to 256.
    fn migrate_v1_to_v2(f: u32) -> Weight;
}

/// What was measured, with accesses to storage at the price of `Db`.
pub struct Measured<Db>(PhantomData<Db>);

/// What was measured, for a runtime.
pub type SubstrateWeight<T> = Measured<<T as frame_system::Config>::DbWeight>;

impl<Db: Get<RuntimeDbWeight>> WeightInfo for Measured<Db> {
    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Arion::CurrentEpoch` (r:1 w:1)
    // Proof: `Arion::CurrentEpoch` (`max_values`: Some(1), `max_size`: Some(8), added: 503, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdToChild` (r:2048 w:0)
    // Proof: `Arion::NodeIdToChild` (`max_values`: None, `max_size`: Some(80), added: 2555, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildRegistrations` (r:2048 w:0)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Storage: `Staking::ActiveEra` (r:1 w:0)
    // Proof: `Staking::ActiveEra` (`max_values`: Some(1), `max_size`: Some(13), added: 508, mode: `MaxEncodedLen`)
    // Storage: `Staking::ErasStakersOverview` (r:128 w:0)
    // Proof: `Staking::ErasStakersOverview` (`max_values`: None, `max_size`: Some(92), added: 2567, mode: `MaxEncodedLen`)
    // Storage: `Arion::MapVotes` (r:255 w:256)
    // Proof: `Arion::MapVotes` (`max_values`: None, `max_size`: Some(88), added: 2563, mode: `MaxEncodedLen`)
    // Storage: `Arion::KeptEpochs` (r:1 w:1)
    // Proof: `Arion::KeptEpochs` (`max_values`: Some(1), `max_size`: Some(2050), added: 2545, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochStarts` (r:1 w:1)
    // Proof: `Arion::EpochStarts` (`max_values`: Some(1), `max_size`: Some(3074), added: 3569, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochParams` (r:0 w:2)
    // Proof: `Arion::EpochParams` (`max_values`: None, `max_size`: Some(25), added: 2500, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochRoot` (r:0 w:2)
    // Proof: `Arion::EpochRoot` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochMiners` (r:0 w:2)
    // Proof: `Arion::EpochMiners` (`max_values`: None, `max_size`: Some(413714), added: 416189, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochAttestationCommitments` (r:0 w:1)
    // Proof: `Arion::EpochAttestationCommitments` (`max_values`: None, `max_size`: Some(152), added: 2627, mode: `MaxEncodedLen`)
    // Proof measured: 42077 + m * 227 bytes.
    // Least time: 2_344_501_000 ps.
    fn submit_crush_map(m: u32) -> Weight {
        Weight::from_parts(888_270_132, 654_555)
            // Standard error: 873_047
            .saturating_add(Weight::from_parts(25_565_836, 0).saturating_mul(m.into()))
            .saturating_add(Db::get().reads(388))
            .saturating_add(Db::get().reads((2_u64).saturating_mul(m.into())))
            .saturating_add(Db::get().writes(266))
            .saturating_add(Weight::from_parts(0, 2_612).saturating_mul(m.into()))
    }

    // Storage: `Registration::OwnerNodes` (r:1 w:0)
    // Proof: `Registration::OwnerNodes` (`max_values`: None, `max_size`: Some(73), added: 2548, mode: `MaxEncodedLen`)
    // Storage: `Proxy::Proxies` (r:1 w:0)
    // Proof: `Proxy::Proxies` (`max_values`: None, `max_size`: Some(2426), added: 4901, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildRegistrations` (r:1 w:1)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildCooldownEnd` (r:1 w:1)
    // Proof: `Arion::ChildCooldownEnd` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdToChild` (r:1 w:1)
    // Proof: `Arion::NodeIdToChild` (`max_values`: None, `max_size`: Some(80), added: 2555, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdCooldownEnd` (r:1 w:1)
    // Proof: `Arion::NodeIdCooldownEnd` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyChildren` (r:1 w:1)
    // Proof: `Arion::FamilyChildren` (`max_values`: None, `max_size`: Some(1073), added: 3548, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyCount` (r:1 w:1)
    // Proof: `Arion::FamilyCount` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Storage: `Arion::TotalActiveChildren` (r:1 w:1)
    // Proof: `Arion::TotalActiveChildren` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdNonce` (r:1 w:1)
    // Proof: `Arion::NodeIdNonce` (`max_values`: None, `max_size`: Some(56), added: 2531, mode: `MaxEncodedLen`)
    // Storage: `System::BlockHash` (r:1 w:0)
    // Proof: `System::BlockHash` (`max_values`: None, `max_size`: Some(44), added: 2519, mode: `MaxEncodedLen`)
    // Storage: `Arion::LockupEnabled` (r:1 w:0)
    // Proof: `Arion::LockupEnabled` (`max_values`: Some(1), `max_size`: Some(1), added: 496, mode: `MaxEncodedLen`)
    // Storage: `Arion::FreeSlotUsed` (r:1 w:1)
    // Proof: `Arion::FreeSlotUsed` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Arion::BaseDeposit` (r:1 w:0)
    // Proof: `Arion::BaseDeposit` (`max_values`: Some(1), `max_size`: Some(16), added: 511, mode: `MaxEncodedLen`)
    // Storage: `Arion::LastPaidRegistration` (r:1 w:1)
    // Proof: `Arion::LastPaidRegistration` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Storage: `Arion::GlobalNextDeposit` (r:1 w:1)
    // Proof: `Arion::GlobalNextDeposit` (`max_values`: Some(1), `max_size`: Some(16), added: 511, mode: `MaxEncodedLen`)
    // Storage: `Balances::Holds` (r:1 w:1)
    // Proof: `Balances::Holds` (`max_values`: None, `max_size`: Some(175), added: 2650, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyGraceStart` (r:1 w:0)
    // Proof: `Arion::FamilyGraceStart` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Proof measured: 5152 bytes.
    // Least time: 274_232_000 ps.
    fn register_child() -> Weight {
        Weight::from_parts(292_757_000, 5_891)
            .saturating_add(Db::get().reads(18))
            .saturating_add(Db::get().writes(12))
    }

    // Storage: `Arion::ChildRegistrations` (r:1 w:1)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Storage: `Arion::LockupEnabled` (r:1 w:0)
    // Proof: `Arion::LockupEnabled` (`max_values`: Some(1), `max_size`: Some(1), added: 496, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyChildren` (r:1 w:1)
    // Proof: `Arion::FamilyChildren` (`max_values`: None, `max_size`: Some(1073), added: 3548, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyCount` (r:1 w:1)
    // Proof: `Arion::FamilyCount` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Storage: `Arion::TotalActiveChildren` (r:1 w:1)
    // Proof: `Arion::TotalActiveChildren` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdNonce` (r:1 w:1)
    // Proof: `Arion::NodeIdNonce` (`max_values`: None, `max_size`: Some(56), added: 2531, mode: `MaxEncodedLen`)
    // Storage: `Arion::CurrentWeightRound` (r:1 w:0)
    // Proof: `Arion::CurrentWeightRound` (`max_values`: Some(1), `max_size`: Some(61), added: 556, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildCooldownEnd` (r:0 w:1)
    // Proof: `Arion::ChildCooldownEnd` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::MinerStats` (r:0 w:1)
    // Proof: `Arion::MinerStats` (`max_values`: None, `max_size`: Some(76), added: 2551, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeQualityByChild` (r:0 w:1)
    // Proof: `Arion::NodeQualityByChild` (`max_values`: None, `max_size`: Some(74), added: 2549, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdCooldownEnd` (r:0 w:1)
    // Proof: `Arion::NodeIdCooldownEnd` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::QualityReports` (r:0 w:2)
    // Proof: `Arion::QualityReports` (`max_values`: None, `max_size`: Some(2622), added: 5097, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeWeightByChild` (r:0 w:1)
    // Proof: `Arion::NodeWeightByChild` (`max_values`: None, `max_size`: Some(50), added: 2525, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyWeight` (r:0 w:1)
    // Proof: `Arion::FamilyWeight` (`max_values`: None, `max_size`: Some(50), added: 2525, mode: `MaxEncodedLen`)
    // Storage: `Arion::AuditCountsByChild` (r:0 w:1)
    // Proof: `Arion::AuditCountsByChild` (`max_values`: None, `max_size`: Some(72), added: 2547, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyWeightRaw` (r:0 w:1)
    // Proof: `Arion::FamilyWeightRaw` (`max_values`: None, `max_size`: Some(50), added: 2525, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdToChild` (r:0 w:1)
    // Proof: `Arion::NodeIdToChild` (`max_values`: None, `max_size`: Some(80), added: 2555, mode: `MaxEncodedLen`)
    // Storage: `Arion::AuditTallies` (r:0 w:2)
    // Proof: `Arion::AuditTallies` (`max_values`: None, `max_size`: Some(9278), added: 11753, mode: `MaxEncodedLen`)
    // Proof measured: 697 bytes.
    // Least time: 98_174_000 ps.
    fn deregister_child() -> Weight {
        Weight::from_parts(101_771_000, 4_538)
            .saturating_add(Db::get().reads(7))
            // With `TimeoutsToConfirm` and `Maintenances` (r:0 w:1 each), which were not there when the rest was measured.
            .saturating_add(Db::get().writes(20))
    }

    // Storage: `Arion::ChildRegistrations` (r:1 w:1)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Storage: `System::Account` (r:1 w:1)
    // Proof: `System::Account` (`max_values`: None, `max_size`: Some(128), added: 2603, mode: `MaxEncodedLen`)
    // Storage: `Balances::Holds` (r:1 w:1)
    // Proof: `Balances::Holds` (`max_values`: None, `max_size`: Some(175), added: 2650, mode: `MaxEncodedLen`)
    // Proof measured: 490 bytes.
    // Least time: 90_429_000 ps.
    fn claim_unbonded() -> Weight {
        Weight::from_parts(94_927_000, 3_640)
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().writes(3))
    }

    // Storage: `Arion::AttestationSubmitters` (r:1 w:0)
    // Proof: `Arion::AttestationSubmitters` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Arion::AttestationsByBucket` (r:1 w:1)
    // Proof: `Arion::AttestationsByBucket` (`max_values`: None, `max_size`: Some(279014), added: 281489, mode: `MaxEncodedLen`)
    // Storage: `System::BlockHash` (r:1 w:0)
    // Proof: `System::BlockHash` (`max_values`: None, `max_size`: Some(44), added: 2519, mode: `MaxEncodedLen`)
    // Storage: `Arion::RegisteredWardens` (r:256 w:0)
    // Proof: `Arion::RegisteredWardens` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochStarts` (r:1 w:0)
    // Proof: `Arion::EpochStarts` (`max_values`: Some(1), `max_size`: Some(3074), added: 3569, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochMiners` (r:4 w:0)
    // Proof: `Arion::EpochMiners` (`max_values`: None, `max_size`: Some(413714), added: 416189, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdToChild` (r:1000 w:0)
    // Proof: `Arion::NodeIdToChild` (`max_values`: None, `max_size`: Some(80), added: 2555, mode: `MaxEncodedLen`)
    // Storage: `Arion::AuditTallies` (r:1000 w:1000)
    // Proof: `Arion::AuditTallies` (`max_values`: None, `max_size`: Some(9278), added: 11753, mode: `MaxEncodedLen`)
    // Storage: `Arion::AuditCountsByChild` (r:1000 w:1000)
    // Proof: `Arion::AuditCountsByChild` (`max_values`: None, `max_size`: Some(72), added: 2547, mode: `MaxEncodedLen`)
    // Storage: `Arion::CurrentAttestationBucket` (r:1 w:1)
    // Proof: `Arion::CurrentAttestationBucket` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 3067190 bytes.
    // Least time: 2_217_073_000 ps.
    fn submit_attestations(a: u32) -> Weight {
        Weight::from_parts(941_922_160, 1_910_204)
            // Standard error: 2_067_795
            .saturating_add(Weight::from_parts(114_915_386, 0).saturating_mul(a.into()))
            .saturating_add(Db::get().reads(140))
            // With `Maintenances` (r:1000 w:0), which was not there when the rest was measured.
            .saturating_add(Db::get().reads((4_u64).saturating_mul(a.into())))
            .saturating_add(Db::get().writes(2))
            .saturating_add(Db::get().writes((2_u64).saturating_mul(a.into())))
            .saturating_add(Weight::from_parts(0, 11_753).saturating_mul(a.into()))
    }

    // Storage: `Arion::AttestationSubmitters` (r:1 w:0)
    // Proof: `Arion::AttestationSubmitters` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Arion::EpochRoot` (r:1 w:0)
    // Proof: `Arion::EpochRoot` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochAttestationCommitments` (r:1 w:1)
    // Proof: `Arion::EpochAttestationCommitments` (`max_values`: None, `max_size`: Some(152), added: 2627, mode: `MaxEncodedLen`)
    // Proof measured: 4287 bytes.
    // Least time: 42_600_000 ps.
    fn submit_attestation_commitment() -> Weight {
        Weight::from_parts(51_406_000, 5_772)
            .saturating_add(Db::get().reads(4))
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Arion::RegisteredWardens` (r:1 w:1)
    // Proof: `Arion::RegisteredWardens` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::CounterForRegisteredWardens` (r:1 w:1)
    // Proof: `Arion::CounterForRegisteredWardens` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 6 bytes.
    // Least time: 27_762_000 ps.
    fn register_warden() -> Weight {
        Weight::from_parts(29_365_000, 3_517)
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().writes(2))
    }

    // Storage: `Arion::RegisteredWardens` (r:1 w:1)
    // Proof: `Arion::RegisteredWardens` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::CounterForRegisteredWardens` (r:1 w:1)
    // Proof: `Arion::CounterForRegisteredWardens` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 107 bytes.
    // Least time: 26_550_000 ps.
    fn deregister_warden() -> Weight {
        Weight::from_parts(31_900_000, 3_517)
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().writes(2))
    }

    // Storage: `Arion::WardenConflicts` (r:1 w:1)
    // Storage: `Arion::RegisteredWardens` (r:2 w:1)
    // Storage: `Arion::CounterForRegisteredWardens` (r:1 w:1)
    // Not measured yet: what `deregister_warden` and two more attestations in `submit_attestations` take, with all their reads
    // and writes, which is more than two signatures.
    fn report_conflicting_attestations() -> Weight {
        Self::deregister_warden().saturating_add(
            Self::submit_attestations(3).saturating_sub(Self::submit_attestations(1)),
        )
    }

    // Storage: `Arion::ChildRegistrations` (r:1 w:0)
    // Storage: `Arion::Maintenances` (r:1 w:1)
    // Not measured yet: what `claim_unbonded` takes, which reads and writes more.
    fn announce_maintenance() -> Weight {
        Self::claim_unbonded()
    }

    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Arion::WeightReporters` (r:1 w:1)
    // Proof: `Arion::WeightReporters` (`max_values`: None, `max_size`: Some(4110), added: 6585, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildRegistrations` (r:2048 w:0)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Storage: `Arion::QualityReports` (r:2048 w:2048)
    // Proof: `Arion::QualityReports` (`max_values`: None, `max_size`: Some(2622), added: 5097, mode: `MaxEncodedLen`)
    // Proof measured: 11560 + u * 226 bytes.
    // Least time: 102_922_000 ps.
    fn submit_node_quality(u: u32) -> Weight {
        Weight::from_parts(113_232_000, 12_854)
            // Standard error: 786_951
            .saturating_add(Weight::from_parts(33_153_960, 0).saturating_mul(u.into()))
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().reads((2_u64).saturating_mul(u.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(u.into())))
            .saturating_add(Weight::from_parts(0, 5_097).saturating_mul(u.into()))
    }

    // Storage: `Session::KeyOwner` (r:1 w:0)
    // Proof: `Session::KeyOwner` (`max_values`: None, `max_size`: None, mode: `Measured`)
    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Arion::WeightReporters` (r:1 w:1)
    // Proof: `Arion::WeightReporters` (`max_values`: None, `max_size`: Some(4110), added: 6585, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildRegistrations` (r:2048 w:0)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Storage: `Arion::QualityReports` (r:2048 w:2048)
    // Proof: `Arion::QualityReports` (`max_values`: None, `max_size`: Some(2622), added: 5097, mode: `MaxEncodedLen`)
    // Proof measured: 11764 + u * 226 bytes.
    // Least time: 104_144_000 ps.
    fn report_node_quality(u: u32) -> Weight {
        Weight::from_parts(119_343_000, 15_038)
            // Standard error: 620_268
            .saturating_add(Weight::from_parts(38_129_101, 0).saturating_mul(u.into()))
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().reads((2_u64).saturating_mul(u.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(u.into())))
            .saturating_add(Weight::from_parts(0, 5_097).saturating_mul(u.into()))
    }

    // Storage: `Session::KeyOwner` (r:1 w:0)
    // Proof: `Session::KeyOwner` (`max_values`: None, `max_size`: None, mode: `Measured`)
    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Arion::WeightReporters` (r:1 w:0)
    // Proof: `Arion::WeightReporters` (`max_values`: None, `max_size`: Some(4110), added: 6585, mode: `MaxEncodedLen`)
    // Storage: `System::BlockHash` (r:1 w:0)
    // Proof: `System::BlockHash` (`max_values`: None, `max_size`: Some(44), added: 2519, mode: `MaxEncodedLen`)
    // Proof measured: 8676 bytes.
    // Least time: 102_551_000 ps.
    fn authorize_report(u: u32) -> Weight {
        Weight::from_parts(159_837_459, 12_142)
            // Standard error: 5_015
            .saturating_add(Weight::from_parts(287_042, 0).saturating_mul(u.into()))
            .saturating_add(Db::get().reads(4))
    }

    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Arion::ChildRegistrations` (r:2048 w:0)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Storage: `Arion::MinerStats` (r:0 w:2048)
    // Proof: `Arion::MinerStats` (`max_values`: None, `max_size`: Some(76), added: 2551, mode: `MaxEncodedLen`)
    // Storage: `Arion::NetworkStats` (r:0 w:1)
    // Proof: `Arion::NetworkStats` (`max_values`: Some(1), `max_size`: Some(48), added: 543, mode: `MaxEncodedLen`)
    // Proof measured: 4593 + u * 141 bytes.
    // Least time: 28_103_000 ps.
    fn submit_miner_stats(u: u32) -> Weight {
        Weight::from_parts(31_079_000, 5_970)
            // Standard error: 123_522
            .saturating_add(Weight::from_parts(13_644_763, 0).saturating_mul(u.into()))
            .saturating_add(Db::get().reads(1))
            .saturating_add(Db::get().reads((1_u64).saturating_mul(u.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(u.into())))
            .saturating_add(Weight::from_parts(0, 2_612).saturating_mul(u.into()))
    }

    // Storage: `Arion::LockupEnabled` (r:0 w:1)
    // Proof: `Arion::LockupEnabled` (`max_values`: Some(1), `max_size`: Some(1), added: 496, mode: `MaxEncodedLen`)
    // Proof measured: 0 bytes.
    // Least time: 13_375_000 ps.
    fn set_lockup_enabled() -> Weight {
        Weight::from_parts(14_487_000, 0)
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Arion::BaseDeposit` (r:0 w:1)
    // Proof: `Arion::BaseDeposit` (`max_values`: Some(1), `max_size`: Some(16), added: 511, mode: `MaxEncodedLen`)
    // Proof measured: 0 bytes.
    // Least time: 13_495_000 ps.
    fn set_base_child_deposit() -> Weight {
        Weight::from_parts(27_421_000, 0)
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Arion::AttestationSubmitters` (r:1 w:1)
    // Proof: `Arion::AttestationSubmitters` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Arion::CounterForAttestationSubmitters` (r:1 w:1)
    // Proof: `Arion::CounterForAttestationSubmitters` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 6 bytes.
    // Least time: 27_241_000 ps.
    fn add_attestation_submitter() -> Weight {
        Weight::from_parts(32_461_000, 3_513)
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().writes(2))
    }

    // Storage: `Arion::AttestationSubmitters` (r:1 w:1)
    // Proof: `Arion::AttestationSubmitters` (`max_values`: None, `max_size`: Some(48), added: 2523, mode: `MaxEncodedLen`)
    // Storage: `Arion::CounterForAttestationSubmitters` (r:1 w:1)
    // Proof: `Arion::CounterForAttestationSubmitters` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 103 bytes.
    // Least time: 25_999_000 ps.
    fn remove_attestation_submitter() -> Weight {
        Weight::from_parts(35_406_000, 3_513)
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().writes(2))
    }

    // Storage: `Arion::AttestationsByBucket` (r:0 w:1)
    // Proof: `Arion::AttestationsByBucket` (`max_values`: None, `max_size`: Some(279014), added: 281489, mode: `MaxEncodedLen`)
    // Proof measured: 0 bytes.
    // Least time: 10_510_000 ps.
    fn prune_attestations() -> Weight {
        Weight::from_parts(13_685_000, 0)
            .saturating_add(Db::get().writes(1))
    }

    // Storage: `Arion::CurrentWeightRound` (r:1 w:1)
    // Proof: `Arion::CurrentWeightRound` (`max_values`: Some(1), `max_size`: Some(61), added: 556, mode: `MaxEncodedLen`)
    // Storage: `Staking::ActiveEra` (r:1 w:0)
    // Proof: `Staking::ActiveEra` (`max_values`: Some(1), `max_size`: Some(13), added: 508, mode: `MaxEncodedLen`)
    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Staking::ErasStakersOverview` (r:128 w:0)
    // Proof: `Staking::ErasStakersOverview` (`max_values`: None, `max_size`: Some(92), added: 2567, mode: `MaxEncodedLen`)
    // Storage: `Arion::WeightReporters` (r:1 w:1)
    // Proof: `Arion::WeightReporters` (`max_values`: None, `max_size`: Some(4110), added: 6585, mode: `MaxEncodedLen`)
    // Storage: `Arion::ClosingVotes` (r:0 w:1)
    // Proof: `Arion::ClosingVotes` (`max_values`: Some(1), `max_size`: Some(2050), added: 2545, mode: `MaxEncodedLen`)
    // Proof measured: 14283 + r * 32 bytes.
    // Least time: 871_619_000 ps.
    fn open_weight_round(r: u32) -> Weight {
        Weight::from_parts(966_816_839, 329_566)
            .saturating_add(Db::get().reads(132))
            .saturating_add(Db::get().writes(3))
            .saturating_add(Weight::from_parts(0, 32).saturating_mul(r.into()))
    }

    // Storage: `Arion::ClosingVotes` (r:1 w:0)
    // Proof: `Arion::ClosingVotes` (`max_values`: Some(1), `max_size`: Some(2050), added: 2545, mode: `MaxEncodedLen`)
    // Storage: `Arion::CounterForRegisteredWardens` (r:1 w:0)
    // Proof: `Arion::CounterForRegisteredWardens` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyChildren` (r:129 w:0)
    // Proof: `Arion::FamilyChildren` (`max_values`: None, `max_size`: Some(1073), added: 3548, mode: `MaxEncodedLen`)
    // Storage: `Arion::AuditTallies` (r:159 w:159)
    // Proof: `Arion::AuditTallies` (`max_values`: None, `max_size`: Some(9278), added: 11753, mode: `MaxEncodedLen`)
    // Storage: `Arion::QualityReports` (r:159 w:159)
    // Proof: `Arion::QualityReports` (`max_values`: None, `max_size`: Some(2622), added: 5097, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeQualityByChild` (r:159 w:159)
    // Proof: `Arion::NodeQualityByChild` (`max_values`: None, `max_size`: Some(74), added: 2549, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyWeight` (r:128 w:128)
    // Proof: `Arion::FamilyWeight` (`max_values`: None, `max_size`: Some(50), added: 2525, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyGraceStart` (r:128 w:0)
    // Proof: `Arion::FamilyGraceStart` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::CurrentWeightRound` (r:0 w:1)
    // Proof: `Arion::CurrentWeightRound` (`max_values`: Some(1), `max_size`: Some(61), added: 556, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeWeightByChild` (r:0 w:159)
    // Proof: `Arion::NodeWeightByChild` (`max_values`: None, `max_size`: Some(50), added: 2525, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyWeightRaw` (r:0 w:128)
    // Proof: `Arion::FamilyWeightRaw` (`max_values`: None, `max_size`: Some(50), added: 2525, mode: `MaxEncodedLen`)
    // Storage: `Arion::CurrentWeightBucket` (r:0 w:1)
    // Proof: `Arion::CurrentWeightBucket` (`max_values`: Some(1), `max_size`: Some(4), added: 499, mode: `MaxEncodedLen`)
    // Proof measured: 14146 + c * 283 + f * 453 bytes.
    // Least time: 1_393_955_000 ps.
    fn weigh_children(f: u32, c: u32) -> Weight {
        Weight::from_parts(2_195_356_442, 4_538)
            // Standard error: 2_533_471
            .saturating_add(Weight::from_parts(72_225_205, 0).saturating_mul(f.into()))
            // Standard error: 10_232_377
            .saturating_add(Weight::from_parts(62_945, 0).saturating_mul(c.into()))
            .saturating_add(Db::get().reads(3))
            // With `TimeoutsToConfirm` (r:159 w:159), which was not there when the rest was measured.
            .saturating_add(Db::get().reads((7_u64).saturating_mul(f.into())))
            .saturating_add(Db::get().reads((4_u64).saturating_mul(c.into())))
            .saturating_add(Db::get().writes(3))
            .saturating_add(Db::get().writes((7_u64).saturating_mul(f.into())))
            .saturating_add(Db::get().writes((5_u64).saturating_mul(c.into())))
            .saturating_add(Weight::from_parts(0, 11_753).saturating_mul(c.into()))
            .saturating_add(Weight::from_parts(0, 11_753).saturating_mul(f.into()))
    }

    // Storage: `Arion::SweepPosition` (r:1 w:1)
    // Proof: `Arion::SweepPosition` (`max_values`: Some(1), `max_size`: Some(131), added: 626, mode: `MaxEncodedLen`)
    // Storage: `Arion::CurrentEpoch` (r:1 w:0)
    // Proof: `Arion::CurrentEpoch` (`max_values`: Some(1), `max_size`: Some(8), added: 503, mode: `MaxEncodedLen`)
    // Storage: `Staking::ActiveEra` (r:1 w:0)
    // Proof: `Staking::ActiveEra` (`max_values`: Some(1), `max_size`: Some(13), added: 508, mode: `MaxEncodedLen`)
    // Storage: `Session::Validators` (r:1 w:0)
    // Proof: `Session::Validators` (`max_values`: Some(1), `max_size`: None, mode: `Measured`)
    // Storage: `Staking::ErasStakersOverview` (r:128 w:0)
    // Proof: `Staking::ErasStakersOverview` (`max_values`: None, `max_size`: Some(92), added: 2567, mode: `MaxEncodedLen`)
    // Storage: `Arion::MapVotes` (r:33 w:32)
    // Proof: `Arion::MapVotes` (`max_values`: None, `max_size`: Some(88), added: 2563, mode: `MaxEncodedLen`)
    // Proof measured: 14371 + n * 86 bytes.
    // Least time: 869_154_000 ps.
    fn sweep_map_votes(n: u32) -> Weight {
        Weight::from_parts(1_236_163_771, 329_566)
            // Standard error: 2_459_234
            .saturating_add(Weight::from_parts(4_901_482, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(133))
            .saturating_add(Db::get().reads((1_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 2_563).saturating_mul(n.into()))
    }

    // Storage: `Arion::SweepPosition` (r:1 w:1)
    // Proof: `Arion::SweepPosition` (`max_values`: Some(1), `max_size`: Some(131), added: 626, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildCooldownEnd` (r:33 w:32)
    // Proof: `Arion::ChildCooldownEnd` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildRegistrations` (r:32 w:0)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Proof measured: 45 + n * 58 bytes.
    // Least time: 13_505_000 ps.
    fn sweep_child_cooldowns(n: u32) -> Weight {
        Weight::from_parts(10_706_640, 3_517)
            // Standard error: 351_222
            .saturating_add(Weight::from_parts(18_425_998, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().reads((2_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 2_612).saturating_mul(n.into()))
    }

    // Storage: `Arion::SweepPosition` (r:1 w:1)
    // Proof: `Arion::SweepPosition` (`max_values`: Some(1), `max_size`: Some(131), added: 626, mode: `MaxEncodedLen`)
    // Storage: `Arion::NodeIdCooldownEnd` (r:33 w:32)
    // Proof: `Arion::NodeIdCooldownEnd` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Proof measured: 49 + n * 58 bytes.
    // Least time: 13_415_000 ps.
    fn sweep_node_id_cooldowns(n: u32) -> Weight {
        Weight::from_parts(23_920_141, 3_517)
            // Standard error: 148_836
            .saturating_add(Weight::from_parts(12_141_868, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().reads((1_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 2_527).saturating_mul(n.into()))
    }

    // Storage: `Arion::SweepPosition` (r:1 w:1)
    // Proof: `Arion::SweepPosition` (`max_values`: Some(1), `max_size`: Some(131), added: 626, mode: `MaxEncodedLen`)
    // Storage: `Arion::AttestationsByBucket` (r:32 w:32)
    // Proof: `Arion::AttestationsByBucket` (`max_values`: None, `max_size`: Some(279014), added: 281489, mode: `MaxEncodedLen`)
    // Proof measured: 318 + n * 48 bytes.
    // Least time: 27_211_000 ps.
    fn sweep_attestations(n: u32) -> Weight {
        Weight::from_parts(42_793_756, 306_849)
            // Standard error: 300_952
            .saturating_add(Weight::from_parts(5_731_649, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().reads((1_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 279_017).saturating_mul(n.into()))
    }

    // Storage: `Arion::SweepPosition` (r:1 w:1)
    // Proof: `Arion::SweepPosition` (`max_values`: Some(1), `max_size`: Some(131), added: 626, mode: `MaxEncodedLen`)
    // Storage: `Arion::QualityReports` (r:32 w:32)
    // Proof: `Arion::QualityReports` (`max_values`: None, `max_size`: Some(2622), added: 5097, mode: `MaxEncodedLen`)
    // Storage: `Arion::CurrentWeightRound` (r:1 w:0)
    // Proof: `Arion::CurrentWeightRound` (`max_values`: Some(1), `max_size`: Some(61), added: 556, mode: `MaxEncodedLen`)
    // Proof measured: 95 + n * 85 bytes.
    // Least time: 12_494_000 ps.
    fn sweep_quality_reports(n: u32) -> Weight {
        Weight::from_parts(51_851_241, 6_528)
            // Standard error: 398_857
            .saturating_add(Weight::from_parts(6_828_966, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().reads((1_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 5_052).saturating_mul(n.into()))
    }

    // Storage: `Arion::SweepPosition` (r:1 w:1)
    // Proof: `Arion::SweepPosition` (`max_values`: Some(1), `max_size`: Some(131), added: 626, mode: `MaxEncodedLen`)
    // Storage: `Arion::AuditTallies` (r:32 w:32)
    // Proof: `Arion::AuditTallies` (`max_values`: None, `max_size`: Some(9278), added: 11753, mode: `MaxEncodedLen`)
    // Storage: `Arion::CurrentWeightRound` (r:1 w:0)
    // Proof: `Arion::CurrentWeightRound` (`max_values`: Some(1), `max_size`: Some(61), added: 556, mode: `MaxEncodedLen`)
    // Proof measured: 171 + n * 85 bytes.
    // Least time: 13_535_000 ps.
    fn sweep_audit_tallies(n: u32) -> Weight {
        Weight::from_parts(28_317_830, 13_761)
            // Standard error: 528_034
            .saturating_add(Weight::from_parts(9_392_308, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(3))
            .saturating_add(Db::get().reads((1_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 11_650).saturating_mul(n.into()))
    }

    // Storage: `Arion::SweepPosition` (r:1 w:1)
    // Proof: `Arion::SweepPosition` (`max_values`: Some(1), `max_size`: Some(131), added: 626, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildRegistrations` (r:33 w:32)
    // Proof: `Arion::ChildRegistrations` (`max_values`: None, `max_size`: Some(137), added: 2612, mode: `MaxEncodedLen`)
    // Storage: `Arion::ChildCooldownEnd` (r:32 w:0)
    // Proof: `Arion::ChildCooldownEnd` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Proof measured: 105 + n * 203 bytes.
    // Least time: 12_674_000 ps.
    fn sweep_free_unbonding(n: u32) -> Weight {
        Weight::from_parts(17_860_537, 3_602)
            // Standard error: 70_550
            .saturating_add(Weight::from_parts(23_000_287, 0).saturating_mul(n.into()))
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().reads((2_u64).saturating_mul(n.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(n.into())))
            .saturating_add(Weight::from_parts(0, 2_612).saturating_mul(n.into()))
    }

    // Storage: `Arion::FamilyChildren` (r:256 w:0)
    // Proof: `Arion::FamilyChildren` (`max_values`: None, `max_size`: Some(1073), added: 3548, mode: `MaxEncodedLen`)
    // Storage: `Arion::KeptEpochs` (r:1 w:0)
    // Proof: `Arion::KeptEpochs` (`max_values`: Some(1), `max_size`: Some(2050), added: 2545, mode: `MaxEncodedLen`)
    // Storage: `Arion::EpochStarts` (r:0 w:1)
    // Proof: `Arion::EpochStarts` (`max_values`: Some(1), `max_size`: Some(3074), added: 3569, mode: `MaxEncodedLen`)
    // Storage: `Arion::FamilyGraceStart` (r:0 w:256)
    // Proof: `Arion::FamilyGraceStart` (`max_values`: None, `max_size`: Some(52), added: 2527, mode: `MaxEncodedLen`)
    // Proof measured: 2106 + f * 85 bytes.
    // Least time: 17_202_000 ps.
    fn migrate_v1_to_v2(f: u32) -> Weight {
        Weight::from_parts(17_704_000, 4_841)
            // Standard error: 152_152
            .saturating_add(Weight::from_parts(6_950_833, 0).saturating_mul(f.into()))
            .saturating_add(Db::get().reads(2))
            .saturating_add(Db::get().reads((1_u64).saturating_mul(f.into())))
            .saturating_add(Db::get().writes(1))
            .saturating_add(Db::get().writes((1_u64).saturating_mul(f.into())))
            .saturating_add(Weight::from_parts(0, 3_544).saturating_mul(f.into()))
    }
}

// For tests of other pallets.
impl WeightInfo for () {
    fn submit_crush_map(m: u32) -> Weight {
        Measured::<ParityDbWeight>::submit_crush_map(m)
    }
    fn register_child() -> Weight {
        Measured::<ParityDbWeight>::register_child()
    }
    fn deregister_child() -> Weight {
        Measured::<ParityDbWeight>::deregister_child()
    }
    fn claim_unbonded() -> Weight {
        Measured::<ParityDbWeight>::claim_unbonded()
    }
    fn submit_attestations(a: u32) -> Weight {
        Measured::<ParityDbWeight>::submit_attestations(a)
    }
    fn submit_attestation_commitment() -> Weight {
        Measured::<ParityDbWeight>::submit_attestation_commitment()
    }
    fn register_warden() -> Weight {
        Measured::<ParityDbWeight>::register_warden()
    }
    fn deregister_warden() -> Weight {
        Measured::<ParityDbWeight>::deregister_warden()
    }
    fn report_conflicting_attestations() -> Weight {
        Measured::<ParityDbWeight>::report_conflicting_attestations()
    }
    fn announce_maintenance() -> Weight {
        Measured::<ParityDbWeight>::announce_maintenance()
    }
    fn submit_node_quality(u: u32) -> Weight {
        Measured::<ParityDbWeight>::submit_node_quality(u)
    }
    fn report_node_quality(u: u32) -> Weight {
        Measured::<ParityDbWeight>::report_node_quality(u)
    }
    fn authorize_report(u: u32) -> Weight {
        Measured::<ParityDbWeight>::authorize_report(u)
    }
    fn submit_miner_stats(u: u32) -> Weight {
        Measured::<ParityDbWeight>::submit_miner_stats(u)
    }
    fn set_lockup_enabled() -> Weight {
        Measured::<ParityDbWeight>::set_lockup_enabled()
    }
    fn set_base_child_deposit() -> Weight {
        Measured::<ParityDbWeight>::set_base_child_deposit()
    }
    fn add_attestation_submitter() -> Weight {
        Measured::<ParityDbWeight>::add_attestation_submitter()
    }
    fn remove_attestation_submitter() -> Weight {
        Measured::<ParityDbWeight>::remove_attestation_submitter()
    }
    fn prune_attestations() -> Weight {
        Measured::<ParityDbWeight>::prune_attestations()
    }
    fn open_weight_round(r: u32) -> Weight {
        Measured::<ParityDbWeight>::open_weight_round(r)
    }
    fn weigh_children(f: u32, c: u32) -> Weight {
        Measured::<ParityDbWeight>::weigh_children(f, c)
    }
    fn sweep_map_votes(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_map_votes(n)
    }
    fn sweep_child_cooldowns(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_child_cooldowns(n)
    }
    fn sweep_node_id_cooldowns(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_node_id_cooldowns(n)
    }
    fn sweep_attestations(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_attestations(n)
    }
    fn sweep_quality_reports(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_quality_reports(n)
    }
    fn sweep_audit_tallies(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_audit_tallies(n)
    }
    fn sweep_free_unbonding(n: u32) -> Weight {
        Measured::<ParityDbWeight>::sweep_free_unbonding(n)
    }
    fn migrate_v1_to_v2(f: u32) -> Weight {
        Measured::<ParityDbWeight>::migrate_v1_to_v2(f)
    }
}
