//! Who decides in `pallet-arion`, its prices and its bounds.

use alloc::vec::Vec;
use frame_support::traits::{ConstBool, ConstU16, ConstU32, ConstU64, ConstU128, Get};

use super::governance::EnsureGovernance;
use crate::{
    AccountId, Balances, Runtime, RuntimeHoldReason,
    constants::{HIPP, MILLI_HIPP},
    origins::{
        EnsureValidatorSet, EnsureWardenOrValidator, PalletProxy, PalletRegistration, SessionValidators,
    },
    reporters::Reporters,
};

/// Blocks per weight bucket: an hour, or a minute where an hour is too long to wait.
const WEIGHT_BUCKET_BLOCKS: u32 = if cfg!(feature = "fast-runtime") { 20 } else { 600 };
/// Where scores turn from proportional to logarithmic: 1 GiB. A network on one machine holds a millionth of
/// what the real one does, and scores it alike.
const NODE_SCORE_UNIT_BYTES: u64 = if cfg!(feature = "fast-runtime") { 1 << 10 } else { 1 << 30 };

/// The validators of the session, each with the stake behind it in the active era, its own and its nominators',
/// as votes: in thousandths of an ALPHA, to the nearest, because an election gives equal stakes back with
/// different errors far below that, and equal stakes must have equal votes. At least one.
pub struct StakeAsVotes;

impl Get<Vec<(AccountId, u128)>> for StakeAsVotes {
    fn get() -> Vec<(AccountId, u128)> {
        let era = pallet_staking::ActiveEra::<Runtime>::get().map_or(0, |era| era.index);
        let votes = |validator: &AccountId| {
            let overview = pallet_staking::ErasStakersOverview::<Runtime>::get(era, validator);
            let stake = overview.map_or(0, |overview| overview.total);
            (stake.saturating_add(MILLI_HIPP / 2) / MILLI_HIPP).max(1)
        };
        SessionValidators::get().into_iter().map(|who| (who.clone(), votes(&who))).collect()
    }
}

impl pallet_arion::Config for Runtime {
    type ArionAdminOrigin = EnsureGovernance;
    type MapAuthorityOrigin = EnsureValidatorSet;
    type AttestationAuthorityOrigin = EnsureWardenOrValidator;
    type WeightAuthorityOrigin = EnsureValidatorSet;
    type Reporters = Reporters;
    type StatsAuthorityOrigin = EnsureValidatorSet;
    type ValidatorVotes = StakeAsVotes;
    type DepositCurrency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type FamilyRegistry = PalletRegistration;
    type ProxyVerifier = PalletProxy;
    type BaseChildDeposit = ConstU128<{ 100 * HIPP }>;
    type GlobalDepositHalvingPeriodBlocks = ConstU32<14_400>;
    type UnbondingPeriodBlocks = ConstU32<100_800>;
    type UnregisterCooldownBlocks = ConstU32<28_800>;
    type MaxFamilies = ConstU32<256>;
    type MaxChildrenTotal = ConstU32<2_048>;
    type MaxChildrenPerFamily = ConstU32<32>;
    type MaxMiners = ConstU32<2_048>;
    type EnforceRegisteredMiners = ConstBool<true>;
    type MaxEpochsKept = ConstU32<256>;
    type MaxAttestations = ConstU32<1_000>;
    type AttestationBucketBlocks = ConstU32<100>;
    type AttestationRetentionBuckets = ConstU32<1_000>;
    type MaintenanceNoticeBlocks = ConstU32<20>;
    type MaintenanceBlocksMax = ConstU32<2_400>;
    type MaintenancePeriodBlocks = ConstU32<100_800>;
    type MaxWardens = ConstU32<256>;
    type MaxAttestationSubmitters = ConstU32<64>;
    type WeightBucketBlocks = ConstU32<WEIGHT_BUCKET_BLOCKS>;
    type MaxWeightReporters = ConstU32<128>;
    type MaxChildrenWeighedPerBlock = ConstU32<128>;
    type NodeBandwidthWeightPermille = ConstU32<700>;
    type NodeStorageWeightPermille = ConstU32<300>;
    type NodeScoreScale = ConstU32<512>;
    type NodeScoreUnitBytes = ConstU64<NODE_SCORE_UNIT_BYTES>;
    type StrikePenalty = ConstU32<100>;
    type IntegrityFailPenalty = ConstU32<50>;
    type MaxNodeWeight = ConstU16<20_000>;
    type FamilyTopN = ConstU32<8>;
    type FamilyRankDecayPermille = ConstU32<800>;
    type FamilyWeightEmaAlphaPermille = ConstU32<300>;
    type MaxFamilyWeightDeltaPerBucket = ConstU16<500>;
    type MaxFamilyWeight = ConstU16<20_000>;
    type NewcomerGraceBuckets = ConstU32<100>;
    type NewcomerFloorWeight = ConstU16<100>;
    type WeightInfo = pallet_arion::weights::SubstrateWeight<Runtime>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = crate::benchmarking::World;
}
