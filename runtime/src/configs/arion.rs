//! Who decides in `pallet-arion`, its prices and its bounds.

use frame_support::traits::{ConstBool, ConstU32, ConstU128};
use frame_system::EnsureRoot;

use crate::{
    AccountId, Balances, Runtime, RuntimeHoldReason,
    constants::HIPP,
    origins::{
        EnsureValidatorSet, EnsureWardenOrValidator, PalletProxy, PalletRegistration, SessionValidators,
    },
};

impl pallet_arion::Config for Runtime {
    type ArionAdminOrigin = EnsureRoot<AccountId>;
    type MapAuthorityOrigin = EnsureValidatorSet;
    type AttestationAuthorityOrigin = EnsureWardenOrValidator;
    type Validators = SessionValidators;
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
    type MaxWardens = ConstU32<256>;
    type MaxAttestationSubmitters = ConstU32<64>;
    type WeightInfo = pallet_arion::weights::HandDerived<Runtime>;
}
