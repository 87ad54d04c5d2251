//! Session keys of earlier versions.
//!
//! All keys are 32 bytes, so the length of what is stored says which version it is of. Every account that has keys
//! is upgraded, validator or not: half of them cannot be decoded as the others. Each holds a deposit, which is what
//! bounds their number.

// The macro below names it.
use alloc::vec::Vec;
use frame_support::{storage::unhashed, traits::OnRuntimeUpgrade, weights::Weight};
use pallet_session::{NextKeys, QueuedChanged};
use sp_runtime::{impl_opaque_keys, traits::OpaqueKeys};

use crate::{AuthorityDiscovery, Babe, Grandpa, Runtime, Session, SessionKeys};

impl_opaque_keys! {
    /// Keys of spec version 1.
    pub struct FirstKeys {
        pub babe: Babe,
        pub grandpa: Grandpa,
    }
}

impl_opaque_keys! {
    /// Keys of spec version 2.
    pub struct SecondKeys {
        pub babe: Babe,
        pub grandpa: Grandpa,
        pub authority_discovery: AuthorityDiscovery,
    }
}

/// Bytes of [`FirstKeys`].
const FIRST_BYTES: usize = 2 * 32;
/// Bytes of [`SecondKeys`].
const SECOND_BYTES: usize = 3 * 32;

impl FirstKeys {
    /// The same keys, and for what did not exist then the sr25519 key there is: BABE's. Nobody else can have it for
    /// another purpose, and its owner can sign with it as soon as it is in its keystore for that purpose too, until
    /// it rotates its keys.
    fn upgraded(self) -> SecondKeys {
        let sr25519 = sp_core::sr25519::Public::from(self.babe.clone());
        SecondKeys { babe: self.babe, grandpa: self.grandpa, authority_discovery: sr25519.into() }
    }
}

impl SecondKeys {
    /// As [`FirstKeys::upgraded`].
    fn upgraded(self) -> SessionKeys {
        let sr25519 = sp_core::sr25519::Public::from(self.babe.clone());
        SessionKeys {
            babe: self.babe,
            grandpa: self.grandpa,
            authority_discovery: self.authority_discovery,
            reporter: sr25519.into(),
        }
    }
}

/// From the keys of spec version 1 or 2 to [`SessionKeys`].
pub struct UpgradeSessionKeys;

/// Bytes of the keys of some account, if there are any.
fn stored_bytes() -> Option<usize> {
    let account = NextKeys::<Runtime>::iter_keys().next()?;
    unhashed::get_raw(&NextKeys::<Runtime>::hashed_key_for(account)).map(|keys| keys.len())
}

impl OnRuntimeUpgrade for UpgradeSessionKeys {
    fn on_runtime_upgrade() -> Weight {
        let weights = <Runtime as frame_system::Config>::DbWeight::get();
        match stored_bytes() {
            Some(FIRST_BYTES) => Session::upgrade_keys::<FirstKeys, _>(|_, keys| keys.upgraded().upgraded()),
            Some(SECOND_BYTES) => Session::upgrade_keys::<SecondKeys, _>(|_, keys| keys.upgraded()),
            _ => return weights.reads(2),
        }
        // The validators stay, their keys change: authority discovery hears of it with the next session.
        QueuedChanged::<Runtime>::put(true);
        let accounts = NextKeys::<Runtime>::iter_keys().count() as u64;
        // Of each account its keys, and the owner of each key before and of each key now.
        let owners = 2 * SessionKeys::key_ids().len() as u64;
        weights.reads_writes(2 * accounts + 3, (1 + owners) * accounts + 2)
    }

    #[cfg(feature = "try-runtime")]
    fn pre_upgrade() -> Result<Vec<u8>, sp_runtime::TryRuntimeError> {
        use codec::Encode;
        let keys: Vec<_> = NextKeys::<Runtime>::iter_keys()
            .map(|account| {
                let raw = unhashed::get_raw(&NextKeys::<Runtime>::hashed_key_for(&account));
                (account, raw.unwrap_or_default())
            })
            .collect();
        Ok(keys.encode())
    }

    /// Everybody has the keys of before, first of all, and owns all it has now.
    #[cfg(feature = "try-runtime")]
    fn post_upgrade(before: Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
        use codec::{Decode, Encode};
        use frame_support::ensure;

        type Before = Vec<(crate::AccountId, Vec<u8>)>;
        let before = Before::decode(&mut before.as_slice()).map_err(|_| "pre_upgrade's answer is broken")?;
        ensure!(NextKeys::<Runtime>::iter().count() == before.len(), "somebody's keys are lost");
        for (account, old) in before {
            let keys = NextKeys::<Runtime>::get(&account).ok_or("keys of an account are lost")?;
            ensure!(keys.encode().starts_with(old.get(..FIRST_BYTES).unwrap_or(&old)), "keys have changed");
            for id in SessionKeys::key_ids() {
                let owner = Session::key_owner(*id, keys.get_raw(*id));
                ensure!(owner.as_ref() == Some(&account), "a key is not its account's");
            }
        }
        ensure!(
            pallet_session::QueuedKeys::<Runtime>::get()
                .iter()
                .all(|(_, keys)| keys.encode().len() == 32 * SessionKeys::key_ids().len()),
            "keys of the next session are of an older version"
        );
        Ok(())
    }
}
