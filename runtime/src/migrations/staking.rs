//! From a fixed set of validators to an elected one.
//!
//! The validators of the chain become its first candidates, each with a bond from its own balance. All who can have
//! the same bond, because votes go by stake and each had one vote before: the most that the poorest of them can
//! bond, but no more than [`LOCAL_BOND`]. Who has less than [`VALIDATOR_BOND_MIN`] bonds what it has and can add to
//! it (`bondExtra`); who has nothing is no candidate. There are seats for all and some more, and an election that
//! would leave fewer than two thirds of the first validators fails, so that the old ones stay. The first era begins with
//! the session there is.

use alloc::vec::Vec;
use frame_support::{
    defensive,
    traits::{
        OnRuntimeUpgrade,
        fungible::Inspect,
        tokens::{Fortitude, Preservation},
    },
    weights::Weight,
};
use frame_system::RawOrigin;
use pallet_session::SessionManager;
use pallet_staking::{
    CurrentPlannedSession, MaxNominatorsCount, MaxValidatorsCount, MinNominatorBond, MinValidatorBond,
    MinimumValidatorCount, RewardDestination, SlashRewardFraction, ValidatorCount, WeightInfo,
};

use crate::{
    AccountId, Balance, Balances, Runtime, Session, Staking,
    configs::staking::CANDIDATES_MAX,
    constants::{HIPP, VALIDATORS_MAX},
    genesis::{
        LOCAL_BOND, LOCAL_SEATS, NOMINATOR_BOND_MIN, NOMINATORS_MAX, REPORTER_SHARE, VALIDATOR_BOND_MIN,
    },
};

/// What a validator keeps of its balance, for fees.
const KEPT: Balance = HIPP;

/// Makes candidates of the validators, on a chain that has no staking yet.
pub struct BondValidators;

/// What an account can bond.
fn means(account: &AccountId) -> Balance {
    Balances::reducible_balance(account, Preservation::Preserve, Fortitude::Polite).saturating_sub(KEPT)
}

/// The validators that can bond something, with what they bond.
fn bonds() -> Vec<(AccountId, Balance)> {
    let validators: Vec<_> = pallet_session::Validators::<Runtime>::get()
        .into_iter()
        .take(VALIDATORS_MAX as usize)
        .map(|validator| (means(&validator), validator))
        .filter(|(means, _)| *means >= Balances::minimum_balance())
        .collect();
    let able = validators.iter().map(|(means, _)| *means).filter(|means| *means >= VALIDATOR_BOND_MIN);
    let equal = able.min().unwrap_or(LOCAL_BOND).min(LOCAL_BOND);
    validators.into_iter().map(|(means, validator)| (validator, means.min(equal))).collect()
}

/// Makes the session there is the first of an era, as a genesis does. Its validators are the session's, whoever is
/// elected; if the election fails, the era has no stakes.
fn begin_first_era() -> Weight {
    let session = Session::current_index();
    let _ = <Staking as SessionManager<AccountId>>::new_session_genesis(session);
    <Staking as SessionManager<AccountId>>::start_session(session);
    // The session after this one was planned before.
    CurrentPlannedSession::<Runtime>::put(session.saturating_add(1));
    // No more stakers than validators, each with a few items.
    <Runtime as frame_system::Config>::BlockWeights::get().max_block / 4
}

impl OnRuntimeUpgrade for BondValidators {
    fn on_runtime_upgrade() -> Weight {
        let weights = <Runtime as frame_system::Config>::DbWeight::get();
        if ValidatorCount::<Runtime>::exists() {
            return weights.reads(1);
        }
        let validators = pallet_session::Validators::<Runtime>::decode_len().unwrap_or(0) as u32;
        let mut weight = weights.reads_writes(2, 7);
        for (validator, bond) in bonds() {
            let origin = || RawOrigin::Signed(validator.clone()).into();
            let bonded = Staking::bond(origin(), bond, RewardDestination::Staked)
                .and_then(|()| Staking::validate(origin(), Default::default()));
            if let Err(error) = bonded {
                defensive!("a validator bonds no more than it has", error);
            }
            type Weights = <Runtime as pallet_staking::Config>::WeightInfo;
            weight = weight
                .saturating_add(Weights::bond())
                .saturating_add(Weights::validate())
                .saturating_add(weights.reads(1));
        }
        ValidatorCount::<Runtime>::put(validators.clamp(LOCAL_SEATS, VALIDATORS_MAX));
        MinimumValidatorCount::<Runtime>::put(validators.saturating_mul(2).div_ceil(3).max(1));
        SlashRewardFraction::<Runtime>::put(REPORTER_SHARE);
        // Only now: who has less was a validator already.
        MinValidatorBond::<Runtime>::put(VALIDATOR_BOND_MIN);
        MinNominatorBond::<Runtime>::put(NOMINATOR_BOND_MIN);
        MaxValidatorsCount::<Runtime>::put(CANDIDATES_MAX);
        MaxNominatorsCount::<Runtime>::put(NOMINATORS_MAX);
        weight.saturating_add(begin_first_era())
    }

    #[cfg(feature = "try-runtime")]
    fn pre_upgrade() -> Result<Vec<u8>, sp_runtime::TryRuntimeError> {
        use codec::Encode;
        let expected = if ValidatorCount::<Runtime>::exists() { Vec::new() } else { bonds() };
        Ok((expected, Balances::total_issuance()).encode())
    }

    /// Whoever could bond did, is a candidate and in the list of voters.
    #[cfg(feature = "try-runtime")]
    fn post_upgrade(before: Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
        use codec::Decode;
        use frame_election_provider_support::SortedListProvider;
        use frame_support::ensure;

        let (expected, issued) = <(Vec<(AccountId, Balance)>, Balance)>::decode(&mut before.as_slice())
            .map_err(|_| "pre_upgrade's answer is broken")?;
        for (validator, bond) in expected {
            ensure!(Staking::slashable_balance_of(&validator) == bond, "a validator bonded something else");
            ensure!(
                pallet_staking::Validators::<Runtime>::contains_key(&validator),
                "a validator is no candidate"
            );
            ensure!(crate::VoterList::contains(&validator), "a validator is not in the list of voters");
        }
        let endowed = 4 * Balances::minimum_balance();
        ensure!(Balances::total_issuance() <= issued + endowed, "the upgrade issued more than deposits");
        ensure!(ValidatorCount::<Runtime>::get() > 0, "nobody can be elected");
        ensure!(pallet_staking::ActiveEra::<Runtime>::exists(), "no era is active");
        Ok(())
    }
}
