//! How keys are kept: each sealed under the one above it.
//!
//! # Invariants
//! - A wrapped key says what it is (which kind of key under which kind of key) and opens as nothing else.
//! - It opens only for the context it was wrapped for.
//! - Nothing about a customer's key is kept, not even its name.

use codec::{Decode, Encode, MaxEncodedLen};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroize;

use crate::{
    keys::{AccountKey, BucketKey, CustomerKey, DataKey, KeyId, random},
    layout::TAG_BYTES,
};

const DOMAIN: &[u8] = b"arion/wrapped-key/v2";

/// Which key is wrapped under which.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen)]
pub enum Wrapping {
    /// A bucket key under its account's key.
    #[codec(index = 1)]
    Bucket,
    /// A data key under its bucket's key.
    #[codec(index = 2)]
    Data,
    /// A data key under a customer's key.
    #[codec(index = 3)]
    Customer,
}

impl Wrapping {
    fn byte(self) -> u8 {
        match self {
            Self::Bucket => 1,
            Self::Data => 2,
            Self::Customer => 3,
        }
    }
}

/// A wrapped key: what metadata keep.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen)]
pub enum WrappedKey {
    /// AES-256-GCM over the key; additional data `"arion/wrapped-key/v2" || wrapping || key_id || context`.
    #[codec(index = 2)]
    V2 {
        /// What is wrapped under what.
        wrapping: Wrapping,
        /// Name of the key that opens it; zeros for a customer's key.
        key_id: [u8; 8],
        /// Random.
        nonce: [u8; NONCE_LEN],
        /// Sealed key and tag.
        sealed: [u8; 32 + TAG_BYTES],
    },
}

/// Why a wrapped key is not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnwrapError {
    /// It is wrapped under a key of another kind.
    #[error("the key is wrapped as {found:?}, not as {wanted:?}")]
    OtherWrapping {
        /// How it would have to be.
        wanted: Wrapping,
        /// How it is.
        found: Wrapping,
    },
    /// It is wrapped under another key of that kind.
    #[error("the key is wrapped under the key {wanted}, this one is {have}")]
    OtherKey {
        /// The key it takes.
        wanted: KeyId,
        /// The key at hand.
        have: KeyId,
    },
    /// Changed, wrapped for another context, or - where keys have no names - wrapped under another key.
    #[error("the wrapped key is damaged or belongs elsewhere")]
    Damaged,
}

impl WrappedKey {
    /// What is wrapped under what.
    pub fn wrapping(&self) -> Wrapping {
        let Self::V2 { wrapping, .. } = self;
        *wrapping
    }

    /// Name of the key that opens it; zeros for a customer's key.
    pub fn key_id(&self) -> KeyId {
        let Self::V2 { key_id, .. } = self;
        KeyId(*key_id)
    }
}

impl AccountKey {
    /// Wraps a bucket key for `context`, which must be given again to open it.
    pub fn wrap(&self, key: &BucketKey, context: &[u8]) -> WrappedKey {
        Wrapper::account(self).wrap(key.as_bytes(), context)
    }

    /// Opens a bucket key that was wrapped under this key for `context`.
    pub fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<BucketKey, UnwrapError> {
        Wrapper::account(self).unwrap(wrapped, context).map(BucketKey::from_bytes)
    }
}

impl BucketKey {
    /// Wraps a data key for `context`, which must be given again to open it.
    pub fn wrap(&self, key: &DataKey, context: &[u8]) -> WrappedKey {
        Wrapper::bucket(self).wrap(key.as_bytes(), context)
    }

    /// Opens a data key that was wrapped under this key for `context`.
    pub fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<DataKey, UnwrapError> {
        Wrapper::bucket(self).unwrap(wrapped, context).map(DataKey::from_bytes)
    }
}

impl CustomerKey {
    /// Wraps a data key for `context`, which must be given again to open it.
    pub fn wrap(&self, key: &DataKey, context: &[u8]) -> WrappedKey {
        Wrapper::customer(self).wrap(key.as_bytes(), context)
    }

    /// Opens a data key that was wrapped under this key for `context`. Another customer's key looks like damage.
    pub fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<DataKey, UnwrapError> {
        Wrapper::customer(self).unwrap(wrapped, context).map(DataKey::from_bytes)
    }
}

/// The upper key of a wrapping.
struct Wrapper<'a> {
    key: &'a [u8; 32],
    wrapping: Wrapping,
    id: KeyId,
}

impl<'a> Wrapper<'a> {
    fn account(key: &'a AccountKey) -> Self {
        Self { key: key.as_bytes(), wrapping: Wrapping::Bucket, id: key.id() }
    }

    fn bucket(key: &'a BucketKey) -> Self {
        Self { key: key.as_bytes(), wrapping: Wrapping::Data, id: key.id() }
    }

    fn customer(key: &'a CustomerKey) -> Self {
        Self { key: key.as_bytes(), wrapping: Wrapping::Customer, id: KeyId::default() }
    }

    fn aead(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.key).expect("AES-256 takes 32 bytes"))
    }

    fn aad(&self, context: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([DOMAIN, &[self.wrapping.byte()], &self.id.0, context].concat())
    }

    fn wrap(&self, key: &[u8; 32], context: &[u8]) -> WrappedKey {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = [0; 32 + TAG_BYTES];
        let (body, tail) = sealed.split_at_mut(32);
        body.copy_from_slice(key);
        let unique = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .aead()
            .seal_in_place_separate_tag(unique, self.aad(context), body)
            .expect("32 bytes are far below the limit of AES-GCM");
        tail.copy_from_slice(tag.as_ref());
        WrappedKey::V2 { wrapping: self.wrapping, key_id: self.id.0, nonce, sealed }
    }

    fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<[u8; 32], UnwrapError> {
        let WrappedKey::V2 { wrapping, key_id, nonce, sealed } = wrapped;
        if *wrapping != self.wrapping {
            return Err(UnwrapError::OtherWrapping { wanted: self.wrapping, found: *wrapping });
        }
        if *key_id != self.id.0 {
            return Err(UnwrapError::OtherKey { wanted: KeyId(*key_id), have: self.id });
        }
        let mut sealed = *sealed;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .aead()
            .open_in_place(nonce, self.aad(context), &mut sealed)
            .map_err(|_| UnwrapError::Damaged)?;
        let mut key = [0; 32];
        key.copy_from_slice(opened);
        sealed.zeroize();
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountKey {
        AccountKey::from_bytes([7; 32])
    }

    fn bucket() -> BucketKey {
        BucketKey::from_bytes([6; 32])
    }

    fn customer() -> CustomerKey {
        CustomerKey::from_bytes([5; 32])
    }

    #[test]
    fn a_wrapped_key_opens_for_its_context_only() {
        let wrapped = account().wrap(&bucket(), b"photos");
        assert_eq!(account().unwrap(&wrapped, b"photos").map(|key| *key.as_bytes()), Ok([6; 32]));
        assert_eq!(account().unwrap(&wrapped, b"other").map(drop), Err(UnwrapError::Damaged));
        let data = DataKey::from_bytes([1; 32]);
        let wrapped = bucket().wrap(&data, b"key");
        assert_eq!(bucket().unwrap(&wrapped, b"key").map(|key| *key.as_bytes()), Ok([1; 32]));
        assert_eq!(bucket().unwrap(&wrapped, b"").map(drop), Err(UnwrapError::Damaged));
    }

    #[test]
    fn another_key_is_named_and_another_customer_is_not() {
        let wrapped = account().wrap(&bucket(), b"");
        let other = AccountKey::from_bytes([8; 32]);
        let error = UnwrapError::OtherKey { wanted: account().id(), have: other.id() };
        assert_eq!(other.unwrap(&wrapped, b"").map(drop), Err(error));
        let wrapped = customer().wrap(&DataKey::random(), b"x");
        assert_eq!(wrapped.key_id(), KeyId::default());
        assert!(customer().unwrap(&wrapped, b"x").is_ok());
        let other = CustomerKey::from_bytes([4; 32]);
        assert_eq!(other.unwrap(&wrapped, b"x").map(drop), Err(UnwrapError::Damaged));
    }

    #[test]
    fn a_key_of_another_kind_opens_nothing() {
        // The same 32 bytes in another role.
        let as_bucket = BucketKey::from_bytes([7; 32]);
        let wrapped = account().wrap(&bucket(), b"");
        let error = UnwrapError::OtherWrapping { wanted: Wrapping::Data, found: Wrapping::Bucket };
        assert_eq!(as_bucket.unwrap(&wrapped, b"").map(drop), Err(error));
        // The claim is authenticated: saying that it is a data key does not make it one.
        let WrappedKey::V2 { key_id, nonce, sealed, .. } = wrapped;
        let claimed = WrappedKey::V2 { wrapping: Wrapping::Data, key_id, nonce, sealed };
        assert_eq!(as_bucket.unwrap(&claimed, b"").map(drop), Err(UnwrapError::Damaged));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = bucket().wrap(&DataKey::random(), b"x").encode();
        assert_eq!(bytes.len(), 70);
        for at in 10..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let wrapped = WrappedKey::decode(&mut &changed[..]).unwrap();
            assert_eq!(bucket().unwrap(&wrapped, b"x").map(drop), Err(UnwrapError::Damaged), "byte {at}");
        }
    }
}
