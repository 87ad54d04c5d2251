//! Genesis states: by name `development` (one validator) and `local-1` to `local-4`, and [`Genesis`] for any
//! other.
//!
//! The named ones are for networks on one machine: validators and the sudo key are well-known development keys.
//! Only they have a sudo key; without one nobody is root, and nobody can become it.

use alloc::{string::ToString, vec, vec::Vec};
use frame_support::{build_struct_json_patch, traits::TypedGet};
use serde_json::Value;
use sp_genesis_builder::{DEV_RUNTIME_PRESET, PresetId};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};
use sp_runtime::Perbill;

use crate::{
    AccountId, BabeConfig, Balance, BalancesConfig, RuntimeGenesisConfig, SessionConfig, SessionKeys,
    StakingConfig, SudoConfig,
    configs::staking::CANDIDATES_MAX,
    constants::{HIPP, MILLI_HIPP, PRIMARY_PROBABILITY},
    rewards::{EraRewardsAccount, StakersPotAccount, TreasuryAccount},
};

/// Most validators of a `local-N` preset.
pub const LOCAL_VALIDATORS_MAX: usize = 4;
/// Validators that an election of a `local-N` chain looks for: more than it begins with, so that others can join.
pub const LOCAL_SEATS: u32 = 8;
/// What each development account owns at genesis, bonded or not.
pub const ENDOWMENT: Balance = 10_000_000 * HIPP;
/// What each validator of the presets has bonded of it.
pub const LOCAL_BOND: Balance = 100_000 * HIPP;

/// The least a validator may have bonded.
pub const VALIDATOR_BOND_MIN: Balance = 1_000 * HIPP;
/// The least a nominator may have bonded.
pub const NOMINATOR_BOND_MIN: Balance = 10 * HIPP;
/// Nominators that may exist; an election counts those with the most stake.
pub(crate) const NOMINATORS_MAX: u32 = 10_000;
/// Share of a slash that is for those who reported the offence; `pallet-staking` gives the first reporter half of it,
/// and an equivocation has one: the author of the block.
pub(crate) const REPORTER_SHARE: Perbill = Perbill::from_percent(10);

/// Validators of the presets, in order: account, BABE, discovery and reporter key; GRANDPA key.
const VALIDATORS: [(Sr25519Keyring, Ed25519Keyring); LOCAL_VALIDATORS_MAX] = [
    (Sr25519Keyring::Alice, Ed25519Keyring::Alice),
    (Sr25519Keyring::Bob, Ed25519Keyring::Bob),
    (Sr25519Keyring::Charlie, Ed25519Keyring::Charlie),
    (Sr25519Keyring::Dave, Ed25519Keyring::Dave),
];

/// Accounts with [`ENDOWMENT`] at genesis.
const ENDOWED: [Sr25519Keyring; 6] = [
    Sr25519Keyring::Alice,
    Sr25519Keyring::Bob,
    Sr25519Keyring::Charlie,
    Sr25519Keyring::Dave,
    Sr25519Keyring::Eve,
    Sr25519Keyring::Ferdie,
];

/// A validator of a genesis state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// Its account, which has to be endowed with more than the bond.
    pub account: AccountId,
    /// What it bonds, at least [`VALIDATOR_BOND_MIN`].
    pub bond: Balance,
    /// Its session keys.
    pub keys: SessionKeys,
}

/// A genesis state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The first validators, at least one.
    pub validators: Vec<Validator>,
    /// Validators that an election looks for.
    pub seats: u32,
    /// With fewer candidates than this, the old validators stay.
    pub validators_min: u32,
    /// Accounts and what they own.
    pub endowed: Vec<(AccountId, Balance)>,
    /// Who can act as root.
    pub sudo: Option<AccountId>,
}

impl Genesis {
    /// The patch of the default genesis configuration, as JSON.
    pub fn patch(self) -> Value {
        let Self { validators, seats, validators_min, mut endowed, sudo } = self;
        // Kept alive for good, so that no amount is too small for them.
        let accounts = [StakersPotAccount::get(), EraRewardsAccount::get(), TreasuryAccount::get()];
        endowed.extend(accounts.map(|account| (account, MILLI_HIPP)));
        let stakers = validators.iter().map(|validator| {
            let account = validator.account.clone();
            (account.clone(), account, validator.bond, pallet_staking::StakerStatus::Validator)
        });
        let keys = validators
            .iter()
            .map(|validator| (validator.account.clone(), validator.account.clone(), validator.keys.clone()));
        build_struct_json_patch!(RuntimeGenesisConfig {
            balances: BalancesConfig { balances: endowed },
            babe: BabeConfig {
                epoch_config: sp_consensus_babe::BabeEpochConfiguration {
                    c: PRIMARY_PROBABILITY,
                    allowed_slots: sp_consensus_babe::AllowedSlots::PrimaryAndSecondaryVRFSlots,
                },
            },
            session: SessionConfig { keys: keys.collect::<Vec<_>>() },
            staking: StakingConfig {
                validator_count: seats,
                minimum_validator_count: validators_min,
                stakers: stakers.collect::<Vec<_>>(),
                slash_reward_fraction: REPORTER_SHARE,
                min_validator_bond: VALIDATOR_BOND_MIN,
                min_nominator_bond: NOMINATOR_BOND_MIN,
                max_validator_count: Some(CANDIDATES_MAX),
                max_nominator_count: Some(NOMINATORS_MAX),
            },
            sudo: SudoConfig { key: sudo },
        })
    }
}

/// Name of the preset with `validators` validators.
pub fn local_preset(validators: usize) -> PresetId {
    alloc::format!("local-{validators}")
}

/// Names of all presets.
pub fn preset_names() -> Vec<PresetId> {
    let mut names = vec![DEV_RUNTIME_PRESET.to_string()];
    names.extend((1..=LOCAL_VALIDATORS_MAX).map(local_preset));
    names
}

/// The genesis state of a preset as JSON, or `None` for a name that is not one.
pub fn preset(id: &PresetId) -> Option<Vec<u8>> {
    let validators = if id == DEV_RUNTIME_PRESET {
        1
    } else {
        (1..=LOCAL_VALIDATORS_MAX).find(|count| *id == local_preset(*count))?
    };
    Some(with_validators(validators).patch().to_string().into_bytes())
}

fn with_validators(count: usize) -> Genesis {
    let validators = VALIDATORS[..count].iter().map(|(account, grandpa)| Validator {
        account: account.to_account_id(),
        bond: LOCAL_BOND,
        keys: SessionKeys {
            babe: account.public().into(),
            grandpa: grandpa.public().into(),
            authority_discovery: account.public().into(),
            reporter: account.public().into(),
        },
    });
    Genesis {
        validators: validators.collect(),
        seats: LOCAL_SEATS,
        validators_min: 1,
        endowed: ENDOWED.iter().map(|account| (account.to_account_id(), ENDOWMENT)).collect(),
        sudo: Some(Sr25519Keyring::Alice.to_account_id()),
    }
}
