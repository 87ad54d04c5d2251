//! The keys, from the operator's secret down to a byte stream.
//!
//! `secret` (operator) -> [`AccountKey`] (derived) -> [`BucketKey`] (random, wrapped) -> [`DataKey`] (random, wrapped); or
//! [`CustomerKey`] (the client's, never kept) -> [`DataKey`].
//!
//! Each key wraps only what is below it: see [`crate::wrap`].

use std::fmt;

use rand::{RngCore, TryRngCore, rngs::OsRng};
use ring::{digest, hkdf};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Salt of the derivation of account keys.
const ACCOUNT_KEY: &[u8] = b"arion/account-key/v1";
/// Domain of the names of keys.
const KEY_ID: &[u8] = b"arion/key-id/v1";

/// Names a key without telling it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// The first 8 bytes of `SHA-256("arion/key-id/v1" || key)`.
    fn of(key: &[u8; 32]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(KEY_ID);
        context.update(key);
        let mut id = [0; 8];
        id.copy_from_slice(&context.finish().as_ref()[..8]);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// A key from its bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            pub(crate) fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )* };
}

keys! {
    /// Key of one byte stream.
    DataKey
    /// Key of a bucket: wraps data keys.
    BucketKey
    /// Key of an account: wraps bucket keys.
    AccountKey
    /// A client's own key (SSE-C): wraps data keys. It is never kept.
    CustomerKey
    /// What the operator keeps: all account keys of one generation are derived from it.
    OperatorSecret
}

impl DataKey {
    /// A fresh key from the operating system's randomness.
    pub fn random() -> Self {
        Self(random())
    }
}

impl BucketKey {
    /// A fresh key from the operating system's randomness.
    pub fn random() -> Self {
        Self(random())
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

impl AccountKey {
    /// Its name.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

impl OperatorSecret {
    /// Its name: what a generation of account keys is known by.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }

    /// The key of an account: HKDF-SHA256 with the salt `"arion/account-key/v1"`, the secret as keying material and
    /// the account's name as info.
    pub fn account_key(&self, account: &str) -> AccountKey {
        let info = [account.as_bytes()];
        let mut key = AccountKey([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, ACCOUNT_KEY)
            .extract(self.as_bytes())
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(&mut key.0))
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        key
    }
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.unwrap_err().fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_printed() {
        let text = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            OperatorSecret::from_bytes([1; 32]),
            AccountKey::from_bytes([1; 32]),
            BucketKey::from_bytes([1; 32]),
            DataKey::from_bytes([1; 32]),
            CustomerKey::from_bytes([1; 32]),
        );
        assert_eq!(text, "OperatorSecret(..) AccountKey(..) BucketKey(..) DataKey(..) CustomerKey(..)");
    }

    #[test]
    fn accounts_and_secrets_have_keys_of_their_own() {
        let (one, two) = (OperatorSecret::from_bytes([1; 32]), OperatorSecret::from_bytes([2; 32]));
        let ids = [one.account_key("a").id(), one.account_key("b").id(), two.account_key("a").id()];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert_eq!(ids[0], one.account_key("a").id());
    }
}
