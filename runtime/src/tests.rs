//! The pallets together, as this runtime configures them.

mod arion;
mod blocks;
mod domains;
mod governance;
mod interface;
mod limits;
mod marketplace;
mod migrations;
mod offences;
mod reporters;
mod rewards;
mod staking;
mod story;
mod transactions;

use alloc::vec::Vec;
use frame_support::traits::BuildGenesisConfig;
use serde_json::Value;
use sp_keyring::Sr25519Keyring;

use crate::{AccountId, Balance, RuntimeGenesisConfig, RuntimeOrigin, System, constants::HIPP, genesis};

/// Genesis state of a preset, at block 1.
fn chain(preset: &str) -> sp_io::TestExternalities {
    let patch = genesis::preset(&preset.into()).unwrap();
    chain_with(serde_json::from_slice(&patch).unwrap())
}

/// Genesis state with this patch, at block 1.
fn chain_with(patch: Value) -> sp_io::TestExternalities {
    let mut config = serde_json::to_value(RuntimeGenesisConfig::default()).unwrap();
    merge(&mut config, patch);
    let config: RuntimeGenesisConfig = serde_json::from_value(config).unwrap();
    let mut externalities = sp_io::TestExternalities::default();
    externalities.execute_with(|| {
        config.build();
        frame_system::BlockHash::<crate::Runtime>::insert(0, sp_core::H256(GENESIS));
        System::set_block_number(1);
    });
    externalities
}

/// Hash of block 0 in these tests.
const GENESIS: [u8; 32] = [0x5a; 32];

/// JSON merge patch (RFC 7386) for objects without nulls.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(target.entry(name).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

fn account(who: Sr25519Keyring) -> AccountId {
    who.to_account_id()
}

fn signed(who: Sr25519Keyring) -> RuntimeOrigin {
    RuntimeOrigin::signed(account(who))
}

fn validators() -> Vec<AccountId> {
    pallet_session::Validators::<crate::Runtime>::get()
}

/// Elections count votes in 64 bits: stake behind a validator is a few million units too small.
fn assert_close(stake: Balance, expected: Balance) {
    assert!(stake <= expected && expected - stake < HIPP / 1_000_000, "{stake} is not {expected}");
}
