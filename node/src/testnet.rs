//! The specification of a testnet, from files that say who validates and who owns what.
//!
//! # Invariants
//! - The same files and the same binary give the same bytes.
//! - Nobody has the sudo key, and no well-known key is in it.

use std::{collections::BTreeSet, fs, path::Path};

use arion_runtime::{
    AccountId, Balance, SessionKeys,
    constants::{HIPP, VALIDATORS_MAX},
    genesis::{Genesis, VALIDATOR_BOND_MIN, Validator},
};
use serde::{Deserialize, de::DeserializeOwned};
use sp_core::{crypto::Ss58Codec, ed25519, sr25519};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};

use crate::{chain_spec, cli::BuildTestnetSpec};

/// Validators that an election looks for, unless there are more at genesis.
const SEATS: u32 = 32;
/// With fewer candidates than this, or than there are at genesis, the old validators stay.
const VALIDATORS_MIN: u32 = 4;

/// A line of the file of validators.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidatorLine {
    /// SS58 address.
    account: String,
    /// What it bonds, ALPHA.
    bond: u64,
    /// SS58 address or hexadecimal sr25519 key.
    babe: String,
    /// SS58 address or hexadecimal Ed25519 key.
    grandpa: String,
    /// SS58 address or hexadecimal sr25519 key.
    authority_discovery: String,
    /// SS58 address or hexadecimal sr25519 key, with which its node signs reports of quality.
    reporter: String,
}

/// A line of the file of accounts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndowedLine {
    /// SS58 address.
    account: String,
    /// What it owns, ALPHA.
    alpha: u64,
}

/// Writes the specification.
pub(crate) fn build(command: &BuildTestnetSpec) -> Result<(), String> {
    let validators: Vec<ValidatorLine> = read(&command.validators)?;
    let endowed: Vec<EndowedLine> = read(&command.endowed)?;
    let genesis = genesis(&validators, &endowed)?;
    let mut text = chain_spec::testnet(genesis, command.bootnodes.clone())?.as_json(true)?;
    text.push('\n');
    match &command.output {
        Some(path) => {
            fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
        }
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The genesis state that the lines describe, or what is wrong with them.
fn genesis(validators: &[ValidatorLine], endowed: &[EndowedLine]) -> Result<Genesis, String> {
    let endowed = endowed.iter().map(account_of).collect::<Result<Vec<_>, _>>()?;
    unique(endowed.iter().map(|(account, _)| account.to_ss58check()), "account is endowed")?;
    let validators = validators.iter().map(validator_of).collect::<Result<Vec<_>, _>>()?;
    if validators.is_empty() {
        return Err("there is no validator: a chain needs one, and four survive the loss of one".into());
    }
    if validators.len() > VALIDATORS_MAX as usize {
        return Err(format!("there are {} validators: at most {VALIDATORS_MAX} can be", validators.len()));
    }
    unique(validators.iter().map(|line| line.account.to_ss58check()), "account validates")?;
    for (name, key) in [
        ("BABE", keys_of(&validators, |keys| hex::encode(&keys.babe))),
        ("GRANDPA", keys_of(&validators, |keys| hex::encode(&keys.grandpa))),
        ("authority discovery", keys_of(&validators, |keys| hex::encode(&keys.authority_discovery))),
        ("reporter", keys_of(&validators, |keys| hex::encode(&keys.reporter))),
    ] {
        unique(key.into_iter(), &format!("{name} key is used"))?;
    }
    for Validator { account, bond, .. } in &validators {
        let funds = endowed.iter().find(|(owner, _)| owner == account).map_or(0, |(_, funds)| *funds);
        let account = account.to_ss58check();
        if *bond < VALIDATOR_BOND_MIN {
            let least = VALIDATOR_BOND_MIN / HIPP;
            return Err(format!("{account} bonds {} ALPHA: a validator bonds at least {least}", bond / HIPP));
        }
        if funds <= *bond {
            return Err(format!(
                "{account} bonds {} ALPHA and owns {}: endow it with more than it bonds",
                bond / HIPP,
                funds / HIPP
            ));
        }
    }
    let count = validators.len() as u32;
    Ok(Genesis {
        validators,
        seats: SEATS.max(count),
        validators_min: VALIDATORS_MIN.min(count),
        endowed,
        sudo: None,
    })
}

fn keys_of(validators: &[Validator], key: impl Fn(&SessionKeys) -> String) -> Vec<String> {
    validators.iter().map(|validator| key(&validator.keys)).collect()
}

fn account_of(line: &EndowedLine) -> Result<(AccountId, Balance), String> {
    Ok((account(&line.account)?, Balance::from(line.alpha).saturating_mul(HIPP)))
}

fn validator_of(line: &ValidatorLine) -> Result<Validator, String> {
    Ok(Validator {
        account: account(&line.account)?,
        bond: Balance::from(line.bond).saturating_mul(HIPP),
        keys: SessionKeys {
            babe: sr25519_key(&line.babe)?.into(),
            grandpa: ed25519_key(&line.grandpa)?.into(),
            authority_discovery: sr25519_key(&line.authority_discovery)?.into(),
            reporter: sr25519_key(&line.reporter)?.into(),
        },
    })
}

fn account(text: &str) -> Result<AccountId, String> {
    let account = AccountId::from_ss58check(text)
        .map_err(|error| format!("'{text}' is not an SS58 address: {error}"))?;
    refuse_well_known(account.as_ref(), text)?;
    Ok(account)
}

fn sr25519_key(text: &str) -> Result<sr25519::Public, String> {
    let key = sr25519::Public::from_string(text).map_err(|error| no_key(text, &error))?;
    refuse_well_known(key.as_ref(), text)?;
    Ok(key)
}

fn ed25519_key(text: &str) -> Result<ed25519::Public, String> {
    let key = ed25519::Public::from_string(text).map_err(|error| no_key(text, &error))?;
    refuse_well_known(key.as_ref(), text)?;
    Ok(key)
}

fn no_key(text: &str, error: &sp_core::crypto::PublicError) -> String {
    format!("'{text}' is not a public key (SS58, or 0x and 64 hexadecimal digits): {error}")
}

/// Everybody knows the secrets of the development keys.
fn refuse_well_known(key: &[u8], text: &str) -> Result<(), String> {
    let name =
        Sr25519Keyring::iter().find(|known| known.public().0 == key).map(|known| known.to_string()).or_else(
            || Ed25519Keyring::iter().find(|known| known.public().0 == key).map(|known| known.to_string()),
        );
    match name {
        Some(name) => {
            Err(format!("'{text}' is the development key {name}, whose secret everybody knows: make another"))
        }
        None => Ok(()),
    }
}

/// Refuses the first that comes twice.
fn unique(mut items: impl Iterator<Item = String>, what: &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match items.find(|item| !seen.insert(item.clone())) {
        Some(item) => Err(format!("{item} comes twice: each {what} once")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use serde_json::{Value, json};
    use sp_core::Pair;

    fn sr(seed: u8) -> String {
        sr25519::Pair::from_seed(&[seed; 32]).public().to_ss58check()
    }

    fn ed(seed: u8) -> String {
        ed25519::Pair::from_seed(&[seed; 32]).public().to_ss58check()
    }

    fn validators() -> Value {
        json!([
            { "account": sr(1), "bond": 5_000, "babe": sr(2), "grandpa": ed(3), "authority_discovery": sr(4),
              "reporter": sr(10) },
            { "account": sr(5), "bond": 6_000, "babe": sr(6), "grandpa": ed(7), "authority_discovery": sr(8),
              "reporter": sr(11) },
        ])
    }

    fn endowed() -> Value {
        json!([
            { "account": sr(1), "alpha": 10_000 },
            { "account": sr(5), "alpha": 10_000 },
            { "account": sr(9), "alpha": 1_000_000 },
        ])
    }

    fn try_genesis(validators: Value, endowed: Value) -> Result<Genesis, String> {
        let parse = |error: serde_json::Error| error.to_string();
        let validators: Vec<ValidatorLine> = serde_json::from_value(validators).map_err(parse)?;
        let endowed: Vec<EndowedLine> = serde_json::from_value(endowed).map_err(parse)?;
        genesis(&validators, &endowed)
    }

    /// BLAKE2b-256 of the genesis state of `examples/testnet` without its code: for each entry in the order of the keys,
    /// key and value with their lengths as u32. Changes only when what a genesis is changes, such as the version of the runtime
    /// or of a pallet's storage: then everybody's specification does.
    const EXAMPLE: &str = "18a9c438b6731dc1e78d89162d41954c6a0fd5596653edbd964e6b746f19651d";

    /// The state of a specification without the runtime's code, which differs between compilers.
    fn state_without_code(spec: &Value) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let bytes = |text: &str| hex::decode(text.trim_start_matches("0x")).unwrap();
        let top = spec["genesis"]["raw"]["top"].as_object().unwrap();
        let mut state: BTreeMap<_, _> =
            top.iter().map(|(key, value)| (bytes(key), bytes(value.as_str().unwrap()))).collect();
        assert!(state.remove(&b":code"[..]).is_some());
        state
    }

    /// [`EXAMPLE`] of a state.
    fn fingerprint(state: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
        let length = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
        let bytes: Vec<u8> = state
            .iter()
            .flat_map(|(key, value)| [&length(key)[..], key, &length(value), value].concat())
            .collect();
        hex::encode(sp_io::hashing::blake2_256(&bytes))
    }

    #[test]
    fn the_example_gives_equal_bytes_the_state_it_always_gave_and_nobody_who_is_root() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let example =
            |name| Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/testnet")).join(name);
        for output in ["one.json", "two.json"] {
            let command = BuildTestnetSpec {
                validators: example("validators.json"),
                endowed: example("endowed.json"),
                bootnodes: Vec::new(),
                output: Some(path(output)),
            };
            build(&command).unwrap();
        }
        let bytes = fs::read(path("one.json")).unwrap();
        assert!(bytes == fs::read(path("two.json")).unwrap(), "two builds differ");

        let spec: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&spec["id"], &spec["chainType"]), (&json!("arion-testnet"), &json!("Live")));
        let state = state_without_code(&spec);
        let key = |pallet: &str, item: &str| {
            [pallet, item].map(|name| sp_io::hashing::twox_128(name.as_bytes())).concat()
        };
        assert!(!state.contains_key(&key("Sudo", "Key")), "somebody is root");
        assert_eq!(state[&key("Staking", "ValidatorCount")], 32u32.to_le_bytes());
        assert_eq!(state[&key("Staking", "MinimumValidatorCount")], 4u32.to_le_bytes());
        // Four accounts with a compact length before them.
        assert_eq!(state[&key("Session", "Validators")].len(), 1 + 4 * 32);
        assert_eq!(fingerprint(&state), EXAMPLE, "{} entries", state.len());
        // What was written is read again by `--chain FILE`.
        assert_eq!(chain_spec::by_id(path("one.json").to_str().unwrap()).unwrap().id(), "arion-testnet");
    }

    #[test]
    fn what_cannot_be_a_testnet_is_refused_with_the_reason() {
        let alice = Sr25519Keyring::Alice.to_account_id().to_ss58check();
        let change = |index: usize, field: &str, value: Value| {
            let mut list = validators();
            list[index][field] = value;
            list
        };
        for (validators, endowed, reason) in [
            (json!([]), endowed(), "no validator"),
            (change(0, "account", json!("5Grw")), endowed(), "not an SS58 address"),
            (change(0, "account", json!(alice)), endowed(), "development key"),
            (change(1, "babe", json!(alice)), endowed(), "development key"),
            (
                change(1, "grandpa", json!(Ed25519Keyring::Bob.public().to_ss58check())),
                endowed(),
                "development key",
            ),
            (change(1, "grandpa", json!("0x12")), endowed(), "not a public key"),
            (change(1, "babe", json!(sr(2))), endowed(), "BABE key"),
            (change(1, "grandpa", json!(ed(3))), endowed(), "GRANDPA key"),
            (change(1, "authority_discovery", json!(sr(4))), endowed(), "discovery key"),
            (change(1, "reporter", json!(sr(10))), endowed(), "reporter key"),
            (change(1, "reporter", json!(alice)), endowed(), "development key"),
            (change(1, "account", json!(sr(1))), endowed(), "account validates"),
            (change(0, "bond", json!(999)), endowed(), "at least 1000"),
            (change(0, "bond", json!(10_000)), endowed(), "more than it bonds"),
            (change(0, "account", json!(sr(77))), endowed(), "more than it bonds"),
            (change(0, "extra", json!(1)), endowed(), "unknown field"),
            (validators(), json!([endowed()[0], endowed()[0]]), "account is endowed"),
        ] {
            let error = try_genesis(validators, endowed).err().unwrap_or_default();
            assert!(error.contains(reason), "'{reason}' is not in '{error}'");
        }
        assert!(try_genesis(validators(), endowed()).is_ok());
    }
}
