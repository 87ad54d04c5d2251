//! Genesis states by name: `development` (one validator) and `local-1` to `local-4`.
//!
//! All of them are for networks on one machine: validators and the sudo key are well-known development keys.

use alloc::{string::ToString, vec, vec::Vec};
use frame_support::build_struct_json_patch;
use serde_json::Value;
use sp_genesis_builder::{DEV_RUNTIME_PRESET, PresetId};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};

use crate::{
    AccountId, BabeConfig, Balance, BalancesConfig, RuntimeGenesisConfig, SessionConfig, SessionKeys,
    SudoConfig,
    constants::{HIPP, PRIMARY_PROBABILITY},
};

/// Most validators of a `local-N` preset.
pub const LOCAL_VALIDATORS_MAX: usize = 4;
/// What each development account owns at genesis.
pub const ENDOWMENT: Balance = 10_000_000 * HIPP;

/// Validators of the presets, in order: account and BABE key, GRANDPA key.
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
    Some(with_validators(validators).to_string().into_bytes())
}

fn with_validators(count: usize) -> Value {
    let keys: Vec<(AccountId, AccountId, SessionKeys)> = VALIDATORS[..count]
        .iter()
        .map(|(account, grandpa)| {
            let keys = SessionKeys { babe: account.public().into(), grandpa: grandpa.public().into() };
            (account.to_account_id(), account.to_account_id(), keys)
        })
        .collect();
    build_struct_json_patch!(RuntimeGenesisConfig {
        balances: BalancesConfig {
            balances: ENDOWED.iter().map(|account| (account.to_account_id(), ENDOWMENT)).collect(),
        },
        babe: BabeConfig {
            epoch_config: sp_consensus_babe::BabeEpochConfiguration {
                c: PRIMARY_PROBABILITY,
                allowed_slots: sp_consensus_babe::AllowedSlots::PrimaryAndSecondaryVRFSlots,
            },
        },
        session: SessionConfig { keys },
        sudo: SudoConfig { key: Some(Sr25519Keyring::Alice.to_account_id()) },
    })
}
