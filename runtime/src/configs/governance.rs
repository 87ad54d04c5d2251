//! Who decides where nobody is root: two thirds of the validators.
//!
//! The council is the validators of the current session, one vote each: the same share of the same set could rewrite
//! what is not final yet. A motion that two thirds voted for sets prices, admits wardens and payment authorities, and
//! through `pallet-whitelist` does whatever only root may do, such as replacing the runtime.
//!
//! # Invariants
//! - From the first block of a session its council is its validators; nobody else can set members.
//!
//! Specified in docs/spec/chain.md.

use alloc::vec::Vec;
use core::marker::PhantomData;
use frame_support::{
    parameter_types,
    traits::{ChangeMembers, ConstU32, EitherOf, Get},
    weights::Weight,
};
use frame_system::{EnsureNever, EnsureRoot};
use pallet_collective::{EnsureProportionAtLeast, MoreThanMajorityThenPrimeDefaultVote};
use pallet_session::SessionManager;
use sp_runtime::Perbill;
use sp_staking::SessionIndex;

use super::RuntimeBlockWeights;
use crate::{
    AccountId, BlockNumber, Council, Runtime, RuntimeCall, RuntimeEvent, RuntimeOrigin, System,
    constants::{HOURS, VALIDATORS_MAX},
    origins::SessionValidators,
};

/// How long validators may vote on a motion.
pub const MOTION_BLOCKS: BlockNumber = if cfg!(feature = "fast-runtime") { 100 } else { 3 * 24 * HOURS };
/// Motions that may be open at once.
pub const MOTIONS_MAX: u32 = 32;
/// How long anybody may carry out what was agreed on before it was whitelisted.
const DEFERRAL_BLOCKS: BlockNumber = 7 * 24 * HOURS;

/// A motion of the council that at least two thirds of its members voted for.
pub type TwoThirdsOfValidators = EnsureProportionAtLeast<AccountId, (), 2, 3>;
/// Prices, deposits, wardens, payment authorities: root, or two thirds of the validators.
pub type EnsureGovernance = EitherOf<EnsureRoot<AccountId>, TwoThirdsOfValidators>;

parameter_types! {
    /// What a motion may do in one block.
    pub MotionWeight: Weight = Perbill::from_percent(50) * RuntimeBlockWeights::get().max_block;
}

impl pallet_collective::Config for Runtime {
    type RuntimeOrigin = RuntimeOrigin;
    type Proposal = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type MotionDuration = ConstU32<MOTION_BLOCKS>;
    type MaxProposals = ConstU32<MOTIONS_MAX>;
    type MaxMembers = ConstU32<VALIDATORS_MAX>;
    // Who does not vote is against: there is no prime.
    type DefaultVote = MoreThanMajorityThenPrimeDefaultVote;
    type WeightInfo = pallet_collective::weights::SubstrateWeight<Runtime>;
    type SetMembersOrigin = EnsureNever<()>;
    type MaxProposalWeight = MotionWeight;
    type DisapproveOrigin = EnsureRoot<AccountId>;
    type KillOrigin = EnsureRoot<AccountId>;
    type Consideration = ();
}

impl pallet_whitelist::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WhitelistOrigin = TwoThirdsOfValidators;
    type DispatchWhitelistedOrigin = TwoThirdsOfValidators;
    // Calls come whole, with the motion.
    type Preimages = ();
    type DeferredDispatchExpiration = ConstU32<DEFERRAL_BLOCKS>;
    type BlockNumberProvider = System;
    type WeightInfo = pallet_whitelist::weights::SubstrateWeight<Runtime>;
}

/// Sessions as `Inner` manages them, with the validators of each as its council.
pub struct SeatCouncil<Inner>(PhantomData<Inner>);

impl<Inner: SessionManager<AccountId>> SessionManager<AccountId> for SeatCouncil<Inner> {
    fn new_session(index: SessionIndex) -> Option<Vec<AccountId>> {
        Inner::new_session(index)
    }

    fn new_session_genesis(index: SessionIndex) -> Option<Vec<AccountId>> {
        Inner::new_session_genesis(index)
    }

    fn end_session(index: SessionIndex) {
        Inner::end_session(index);
    }

    fn start_session(index: SessionIndex) {
        Inner::start_session(index);
        seat(SessionValidators::get());
    }
}

/// Makes these accounts the council. Who leaves loses the votes on open motions.
fn seat(mut members: Vec<AccountId>) {
    members.sort();
    let mut seated = pallet_collective::Members::<Runtime>::get();
    seated.sort();
    if members != seated {
        <Council as ChangeMembers<AccountId>>::set_members_sorted(&members, &seated);
    }
}
