//! Measures what the calls cost, each in the worst state it can meet.
//!
//! `./scripts/bench weights` runs this in wasm and writes `weights.rs` from it.

// The macro makes public items without documentation.
#![allow(missing_docs)]

use alloc::format;
use arion_types::{
    Snapshot,
    snapshot::{removal_message, snapshot_message},
};
use frame_benchmarking::v2::*;
use frame_support::{
    sp_runtime::{
        KeyTypeId,
        traits::{Bounded, Zero},
    },
    traits::fungible::Mutate,
};
use frame_system::{RawOrigin, pallet_prelude::BlockNumberFor};
use sp_core::{ed25519, hexdisplay::HexDisplay};

use crate::{BalanceOf, Call, Config, Pallet, Snapshots};

/// Keys of the benchmarks in the keystore.
const KEYS: KeyTypeId = KeyTypeId(*b"snap");

fn rich<T: Config>(account: &T::AccountId)
where
    T::Currency: Mutate<T::AccountId>,
{
    T::Currency::set_balance(account, BalanceOf::<T>::max_value() / 4u32.into());
}

fn locator() -> ed25519::Public {
    let seed = format!("0x{}", HexDisplay::from(&[7; 32]));
    sp_io::crypto::ed25519_generate(KEYS, Some(seed.into_bytes()))
}

fn sign(key: &ed25519::Public, message: &[u8]) -> [u8; 64] {
    sp_io::crypto::ed25519_sign(KEYS, key, message).expect("the key is in the keystore").0
}

fn genesis<T: Config>() -> [u8; 32] {
    frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero()).0
}

/// The locator with a snapshot that somebody else brought.
fn committed<T: Config>() -> ed25519::Public
where
    T::Currency: Mutate<T::AccountId>,
{
    let (other, key): (T::AccountId, _) = (account("other", 0, 0), locator());
    rich::<T>(&other);
    let snapshot = snapshot(1);
    let signature = sign(&key, &snapshot_message(&genesis::<T>(), &key.0, &snapshot));
    Pallet::<T>::do_commit(other, key.0, snapshot, signature).expect("the account is rich");
    key
}

fn snapshot(sequence: u64) -> Snapshot {
    Snapshot { sequence, root: [1; 32], root_len: 2, epoch: 3 }
}

#[benchmarks(where T::Currency: Mutate<T::AccountId>)]
mod benchmarks {
    use super::*;

    #[benchmark]
    fn commit_snapshot() {
        let (caller, key): (T::AccountId, _) = (whitelisted_caller(), committed::<T>());
        rich::<T>(&caller);
        let snapshot = snapshot(2);
        let signature = sign(&key, &snapshot_message(&genesis::<T>(), &key.0, &snapshot));

        #[extrinsic_call]
        _(RawOrigin::Signed(caller.clone()), key.0, snapshot, signature);

        assert!(Snapshots::<T>::get(key.0).is_some_and(|record| record.depositor == caller));
    }

    #[benchmark]
    fn remove_snapshot() {
        let (caller, key): (T::AccountId, _) = (whitelisted_caller(), committed::<T>());
        let signature = sign(&key, &removal_message(&genesis::<T>(), &key.0, 2));

        #[extrinsic_call]
        _(RawOrigin::Signed(caller), key.0, 2, signature);

        assert!(!Snapshots::<T>::contains_key(key.0));
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::chain(), crate::mock::Test);
}
