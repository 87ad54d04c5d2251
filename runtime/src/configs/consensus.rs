//! Blocks, finality, sessions, and what happens to validators who cheat.

use frame_support::traits::{ConstU32, ConstU64, ConstU128};
use pallet_session::{
    disabling::UpToLimitWithReEnablingDisablingStrategy,
    historical::{self, NoteHistoricalRoot},
};
use sp_runtime::traits::{ConvertInto, OpaqueKeys};
use sp_session::MembershipProof;

use super::{governance::SeatCouncil, staking::NOMINATORS_PER_VALIDATOR_MAX};
use crate::{
    AccountId, Babe, Balances, Historical, Offences, Runtime, RuntimeEvent, Session, SessionKeys, Staking,
    constants::{BONDING_ERAS, HIPP, SESSION_SLOTS, SESSIONS_PER_ERA, SLOT_MS, VALIDATORS_MAX},
};

/// Sessions in which stake is still bonded after it was unbonded.
const BONDING_SESSIONS: u64 = BONDING_ERAS as u64 * SESSIONS_PER_ERA as u64;
/// Blocks for which a report of an equivocation stays in the pool.
type ReportLongevity = ConstU64<{ BONDING_SESSIONS * SESSION_SLOTS as u64 }>;

impl pallet_babe::Config for Runtime {
    type EpochDuration = ConstU64<{ SESSION_SLOTS as u64 }>;
    type ExpectedBlockTime = ConstU64<SLOT_MS>;
    type EpochChangeTrigger = pallet_babe::ExternalTrigger;
    type DisabledValidators = Session;
    type WeightInfo = ();
    type MaxAuthorities = ConstU32<VALIDATORS_MAX>;
    type MaxNominators = ConstU32<NOMINATORS_PER_VALIDATOR_MAX>;
    type KeyOwnerProof = MembershipProof;
    type EquivocationReportSystem =
        pallet_babe::EquivocationReportSystem<Self, Offences, Historical, ReportLongevity>;
}

impl pallet_grandpa::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
    type MaxAuthorities = ConstU32<VALIDATORS_MAX>;
    type MaxNominators = ConstU32<NOMINATORS_PER_VALIDATOR_MAX>;
    type MaxSetIdSessionEntries = ConstU64<BONDING_SESSIONS>;
    type KeyOwnerProof = MembershipProof;
    type EquivocationReportSystem =
        pallet_grandpa::EquivocationReportSystem<Self, Offences, Historical, ReportLongevity>;
}

impl pallet_authorship::Config for Runtime {
    type FindAuthor = pallet_session::FindAccountFromAuthorIndex<Self, Babe>;
    type EventHandler = Staking;
}

impl pallet_session::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type ValidatorId = AccountId;
    type ValidatorIdOf = ConvertInto;
    type ShouldEndSession = Babe;
    type NextSessionRotation = Babe;
    type SessionManager = SeatCouncil<NoteHistoricalRoot<Self, Staking>>;
    type SessionHandler = <SessionKeys as OpaqueKeys>::KeyTypeIdProviders;
    type Keys = SessionKeys;
    // At most a third of the validators: with less than two thirds of the authors the chain would stand still.
    type DisablingStrategy = UpToLimitWithReEnablingDisablingStrategy;
    type WeightInfo = pallet_session::weights::SubstrateWeight<Runtime>;
    type Currency = Balances;
    type KeyDeposit = ConstU128<{ HIPP }>;
}

impl historical::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type FullIdentification = ();
    type FullIdentificationOf = pallet_staking::UnitIdentificationOf<Self>;
}

impl pallet_offences::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type IdentificationTuple = historical::IdentificationTuple<Self>;
    type OnOffenceHandler = Staking;
}

impl pallet_authority_discovery::Config for Runtime {
    type MaxAuthorities = ConstU32<VALIDATORS_MAX>;
}
