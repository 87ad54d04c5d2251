//! Data keys, and how they are kept: sealed under an account's key.

use std::fmt;

use codec::{Decode, Encode, MaxEncodedLen};
use rand::{RngCore, TryRngCore, rngs::OsRng};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::layout::TAG_BYTES;

const DOMAIN: &[u8] = b"arion/wrapped-key/v1";

/// Key of one byte stream.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// A fresh key from the operating system's randomness.
    pub fn random() -> Self {
        Self(random())
    }

    /// A key from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Key of an account: seals data keys.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct AccountKey([u8; 32]);

impl AccountKey {
    /// A key from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Names the key without telling it: the first 8 bytes of `SHA-256(DOMAIN || key)`.
    pub fn id(&self) -> [u8; 8] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(DOMAIN);
        context.update(&self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&context.finish().as_ref()[..8]);
        id
    }

    /// Seals a data key for `context`, which must be given again to open it.
    pub fn wrap(&self, key: &DataKey, context: &[u8]) -> WrappedKey {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = [0; 32 + TAG_BYTES];
        let (body, tail) = sealed.split_at_mut(32);
        body.copy_from_slice(&key.0);
        let tag = self
            .aead()
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad(&self.id(), context)),
                body,
            )
            .expect("32 bytes are far below the limit of AES-GCM");
        tail.copy_from_slice(tag.as_ref());
        WrappedKey::V1 { key_id: self.id(), nonce, sealed }
    }

    /// Opens a data key that was sealed under this key for `context`.
    pub fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<DataKey, UnwrapError> {
        let WrappedKey::V1 { key_id, nonce, sealed } = wrapped;
        if *key_id != self.id() {
            return Err(UnwrapError::OtherKey { wanted: *key_id, have: self.id() });
        }
        let mut sealed = *sealed;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .aead()
            .open_in_place(nonce, Aad::from(aad(key_id, context)), &mut sealed)
            .map_err(|_| UnwrapError::Damaged)?;
        let mut key = DataKey([0; 32]);
        key.0.copy_from_slice(opened);
        sealed.zeroize();
        Ok(key)
    }

    fn aead(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).expect("AES-256 takes 32 bytes"))
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey(..)")
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// A data key sealed under an account's key: what a manifest keeps.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen)]
pub enum WrappedKey {
    /// AES-256-GCM over the key; additional data `"arion/wrapped-key/v1" || key_id || context`.
    #[codec(index = 1)]
    V1 {
        /// [`AccountKey::id`] of the key that opens it.
        key_id: [u8; 8],
        /// Random.
        nonce: [u8; NONCE_LEN],
        /// Sealed key and tag.
        sealed: [u8; 32 + TAG_BYTES],
    },
}

/// Why a data key is not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnwrapError {
    /// Sealed under another account key.
    #[error("the data key is sealed under another account key ({wanted:02x?}, this one is {have:02x?})")]
    OtherKey {
        /// The key it takes.
        wanted: [u8; 8],
        /// The key at hand.
        have: [u8; 8],
    },
    /// Changed, or sealed for another context.
    #[error("the sealed data key is damaged or belongs to another object")]
    Damaged,
}

fn aad(key_id: &[u8; 8], context: &[u8]) -> Vec<u8> {
    [DOMAIN, key_id, context].concat()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.unwrap_err().fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountKey {
        AccountKey::from_bytes([7; 32])
    }

    #[test]
    fn a_wrapped_key_opens_for_its_context_only() {
        let wrapped = account().wrap(&DataKey::from_bytes([1; 32]), b"object");
        assert_eq!(account().unwrap(&wrapped, b"object").map(|key| key.0), Ok([1; 32]));
        assert_eq!(account().unwrap(&wrapped, b"other").map(|key| key.0), Err(UnwrapError::Damaged));
    }

    #[test]
    fn another_account_key_is_named() {
        let wrapped = account().wrap(&DataKey::random(), b"");
        let other = AccountKey::from_bytes([8; 32]);
        let error = UnwrapError::OtherKey { wanted: account().id(), have: other.id() };
        assert_eq!(other.unwrap(&wrapped, b"").map(|key| key.0), Err(error));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = account().wrap(&DataKey::random(), b"x").encode();
        for at in 9..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let wrapped = WrappedKey::decode(&mut &changed[..]).unwrap();
            assert_eq!(
                account().unwrap(&wrapped, b"x").map(|key| key.0),
                Err(UnwrapError::Damaged),
                "byte {at}"
            );
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let text = format!("{:?} {:?}", account(), DataKey::from_bytes([1; 32]));
        assert_eq!(text, "AccountKey(..) DataKey(..)");
    }
}
