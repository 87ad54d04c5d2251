//! Keys at work: data keys are wrapped under bucket keys, those under account keys, those come from the operator's store.
//!
//! # Invariants
//! - What is wrapped for one object opens for no other: the context is the bucket's name, a zero byte and the key.
//! - New keys are wrapped under the newest generation; older ones only open what is not wrapped anew yet.
//! - A key that is needed is never missing unnoticed: [`Keyring::check`] refuses a store that lacks a generation in use.
//!
//! # Not here
//! Formats (`arion-crypto`, docs/spec/crypto.md); how keys are replaced ([`crate::rotation`]).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use arion_crypto::{
    AccountKey, BucketKey, CustomerKey, DataKey, Fingerprint, KeyId, OperatorSecret, UnwrapError, WrappedKey,
    Wrapping,
};
use arion_daemon::now_ms;

use crate::{
    keystore::Generations,
    meta::{BucketKeyName, BucketKeyRow, Meta, MetaError, deduplication_name},
};

/// Bucket keys kept open; beyond, all are forgotten and opened again.
const OPEN_MAX: usize = 1_024;
/// Bucket keys looked at in one step of [`Keyring::check`].
const CHECK_PAGE: usize = 1_024;
/// Others that were faster to give a bucket its first key before something must be wrong.
const ADD_ATTEMPTS: u32 = 3;

/// Why a key cannot be wrapped or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The metadata cannot be used, or there is no such bucket.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// No generation of the store opens a bucket's key.
    #[error(
        "the key of bucket `{bucket}` is wrapped under the account key {key} of account `{account}`, and no generation in the operator's key store gives it: bring back the lines that were taken out of it"
    )]
    Generation {
        /// The bucket.
        bucket: String,
        /// Its account.
        account: String,
        /// The key it takes.
        key: KeyId,
    },
    /// The bucket's key that wraps a data key is gone.
    #[error("the data key is wrapped under a key {0} that the bucket does not have")]
    NoBucketKey(KeyId),
    /// The wrapped key does not open.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
    /// It takes the customer's key, and none was given.
    #[error("the data key is wrapped under a customer's key")]
    CustomerKeyMissing,
}

/// What a data key is wrapped for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPlace {
    /// The bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
}

impl KeyPlace {
    /// Of an object.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: key.into() }
    }

    fn context(&self) -> Vec<u8> {
        [self.bucket.as_bytes(), &[0], self.key.as_bytes()].concat()
    }
}

/// What streams of an account are found by, and what their data keys are wrapped under for that.
pub struct Deduplication {
    /// The account.
    pub account: String,
    /// Its deduplication key.
    pub key: Arc<BucketKey>,
}

impl Deduplication {
    fn context(&self, fingerprint: &Fingerprint) -> Vec<u8> {
        [deduplication_name(&self.account).as_bytes(), &[0], fingerprint].concat()
    }

    /// Wraps the data key of a stream.
    pub fn wrap(&self, fingerprint: &Fingerprint, key: &DataKey) -> WrappedKey {
        self.key.wrap(key, &self.context(fingerprint))
    }

    /// Opens the data key of a stream.
    pub fn unwrap(&self, fingerprint: &Fingerprint, key: &WrappedKey) -> Result<DataKey, KeyringError> {
        Ok(self.key.unwrap(key, &self.context(fingerprint))?)
    }
}

/// The keys of a gateway.
pub struct Keyring {
    generations: RwLock<Arc<Generations>>,
    meta: Meta,
    open: Mutex<HashMap<KeyId, Arc<BucketKey>>>,
}

impl Keyring {
    /// With these generations of the operator's store.
    pub fn new(meta: Meta, generations: Generations) -> Self {
        Self { generations: RwLock::new(Arc::new(generations)), meta, open: Mutex::default() }
    }

    /// The generations in use.
    pub fn generations(&self) -> Arc<Generations> {
        self.generations.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what the store has become.
    pub fn replace_generations(&self, generations: Generations) {
        *self.generations.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(generations);
    }

    /// Refuses a store that cannot open the key of every bucket: better at the start than at a read.
    pub async fn check(&self) -> Result<(), KeyringError> {
        let mut after = None;
        loop {
            let page = self.meta.bucket_keys_page(after, CHECK_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for ((bucket, _), row) in &page {
                self.account_key(bucket, row)?;
            }
        }
    }

    /// The account key that a bucket's key is wrapped under.
    fn account_key(&self, bucket: &str, row: &BucketKeyRow) -> Result<AccountKey, KeyringError> {
        let wanted = row.key.key_id();
        let generations = self.generations();
        let mut keys = generations.all().iter().rev().map(|secret| secret.account_key(&row.account));
        keys.find(|key| key.id() == wanted).ok_or_else(|| KeyringError::Generation {
            bucket: bucket.to_owned(),
            account: row.account.clone(),
            key: wanted,
        })
    }

    /// The generation that a bucket's key is wrapped under.
    pub fn generation_of(&self, row: &BucketKeyRow) -> Option<KeyId> {
        let wanted = row.key.key_id();
        let generations = self.generations();
        let found = generations.all().iter().find(|secret| secret.account_key(&row.account).id() == wanted);
        found.map(OperatorSecret::id)
    }

    /// A bucket's key, opened.
    fn bucket_key(&self, bucket: &str, row: &BucketKeyRow) -> Result<Arc<BucketKey>, KeyringError> {
        let id = KeyId(row.id);
        if let Some(key) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(key.clone());
        }
        let key = self.account_key(bucket, row)?.unwrap(&row.key, bucket.as_bytes())?;
        if key.id() != id {
            return Err(UnwrapError::Damaged.into());
        }
        let key = Arc::new(key);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(id, key.clone());
        Ok(key)
    }

    /// A bucket's key wrapped under the newest generation, if it is wrapped under an older one.
    pub fn rewrapped(&self, bucket: &str, row: &BucketKeyRow) -> Result<Option<WrappedKey>, KeyringError> {
        let newest = self.generations().current().account_key(&row.account);
        if newest.id() == row.key.key_id() {
            return Ok(None);
        }
        let key = self.bucket_key(bucket, row)?;
        Ok(Some(newest.wrap(&key, bucket.as_bytes())))
    }

    /// A new key for a bucket of an account.
    fn made(&self, bucket: &str, account: String) -> BucketKeyRow {
        let key = BucketKey::random();
        let wrapped = self.generations().current().account_key(&account).wrap(&key, bucket.as_bytes());
        BucketKeyRow { account, id: key.id().0, key: wrapped, created_ms: now_ms() }
    }

    /// Gives a bucket another key, which wraps from now on; `None` if somebody else did so in the same moment.
    pub async fn new_bucket_key(&self, bucket: &str) -> Result<Option<BucketKeyName>, KeyringError> {
        let (account, rows) = self.meta.bucket_keys(bucket.to_owned()).await?;
        let generation = rows.last().map_or(0, |(generation, _)| *generation).saturating_add(1);
        let name = (bucket.to_owned(), generation);
        let added = self.meta.add_bucket_key(name.clone(), self.made(bucket, account)).await?;
        Ok(added.then_some(name))
    }

    /// The key that wraps in a bucket; made if the bucket has none yet.
    async fn wrapping_key(&self, bucket: &str) -> Result<Arc<BucketKey>, KeyringError> {
        for _ in 0..ADD_ATTEMPTS {
            let (account, rows) = self.meta.bucket_keys(bucket.to_owned()).await?;
            if let Some((_, row)) = rows.last() {
                return self.bucket_key(bucket, row);
            }
            // The first, and no other: who comes second uses it.
            self.meta.add_bucket_key((bucket.to_owned(), 1), self.made(bucket, account)).await?;
        }
        Err(MetaError::KeyReplaced.into())
    }

    /// What streams of an account are found by; the key is made if there is none yet.
    pub async fn deduplication(&self, account: &str) -> Result<Deduplication, KeyringError> {
        let name = deduplication_name(account);
        for _ in 0..ADD_ATTEMPTS {
            if let Some(row) = self.meta.deduplication_key(account).await? {
                let key = self.bucket_key(&name, &row)?;
                return Ok(Deduplication { account: account.to_owned(), key });
            }
            self.meta.add_deduplication_key(account, self.made(&name, account.to_owned())).await?;
        }
        Err(MetaError::KeyReplaced.into())
    }

    /// The key of a bucket with this name.
    async fn opening_key(&self, bucket: &str, id: KeyId) -> Result<Arc<BucketKey>, KeyringError> {
        if let Some(key) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(key.clone());
        }
        let (_, rows) = self.meta.bucket_keys(bucket.to_owned()).await?;
        let row = rows.iter().find(|(_, row)| row.id == id.0);
        let (_, row) = row.ok_or(KeyringError::NoBucketKey(id))?;
        self.bucket_key(bucket, row)
    }

    /// Wraps data keys of an object: under the customer's key if there is one, else under the bucket's current one.
    pub async fn wrap(
        &self,
        place: &KeyPlace,
        customer: Option<&CustomerKey>,
        keys: &[DataKey],
    ) -> Result<Vec<WrappedKey>, KeyringError> {
        let context = place.context();
        if let Some(customer) = customer {
            return Ok(keys.iter().map(|key| customer.wrap(key, &context)).collect());
        }
        let bucket = self.wrapping_key(&place.bucket).await?;
        Ok(keys.iter().map(|key| bucket.wrap(key, &context)).collect())
    }

    /// Opens data keys of an object.
    pub async fn unwrap(
        &self,
        place: &KeyPlace,
        customer: Option<&CustomerKey>,
        wrapped: &[WrappedKey],
    ) -> Result<Vec<DataKey>, KeyringError> {
        let context = place.context();
        let mut opened = Vec::with_capacity(wrapped.len());
        let mut bucket: Option<Arc<BucketKey>> = None;
        for wrapped in wrapped {
            if wrapped.wrapping() == Wrapping::Customer {
                let customer = customer.ok_or(KeyringError::CustomerKeyMissing)?;
                opened.push(customer.unwrap(wrapped, &context)?);
                continue;
            }
            let id = wrapped.key_id();
            let key = match bucket.take().filter(|key| key.id() == id) {
                Some(key) => key,
                None => self.opening_key(&place.bucket, id).await?,
            };
            opened.push(key.unwrap(wrapped, &context)?);
            bucket = Some(key);
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::tests::{Engine, bucket_of};

    async fn keyring(engine: &Engine) -> Keyring {
        let meta = engine.open();
        bucket_of(&meta, "photos", "alice").await;
        bucket_of(&meta, "other", "alice").await;
        Keyring::new(meta, Generations::one(OperatorSecret::from_bytes([1; 32])))
    }

    #[tokio::test]
    async fn what_is_wrapped_for_an_object_opens_for_it_alone() {
        for engine in Engine::each() {
            let keyring = keyring(&engine).await;
            let place = KeyPlace::new("photos", "a");
            let keys = [DataKey::from_bytes([1; 32]), DataKey::from_bytes([2; 32])];
            let wrapped = keyring.wrap(&place, None, &keys).await.unwrap();
            assert_eq!(keyring.unwrap(&place, None, &wrapped).await.unwrap().len(), 2);
            let elsewhere = keyring.unwrap(&KeyPlace::new("photos", "b"), None, &wrapped).await;
            assert!(matches!(elsewhere, Err(KeyringError::Unwrap(UnwrapError::Damaged))));
            // Another bucket has another key; the cache does not lend it.
            keyring.wrap(&KeyPlace::new("other", "a"), None, &keys).await.unwrap();
            let elsewhere = keyring.unwrap(&KeyPlace::new("other", "a"), None, &wrapped).await;
            assert!(matches!(elsewhere, Err(KeyringError::Unwrap(UnwrapError::Damaged))));
            // All of a bucket's objects are wrapped under one key, which is made once.
            let (owner, rows) = keyring.meta.bucket_keys("photos".into()).await.unwrap();
            assert_eq!((owner.as_str(), rows.len()), ("alice", 1));
            assert_eq!(wrapped[0].key_id(), KeyId(rows[0].1.id));
            let unknown = keyring.wrap(&KeyPlace::new("none", "a"), None, &keys).await;
            assert!(matches!(unknown, Err(KeyringError::Meta(MetaError::NoSuchBucket))));
        }
    }

    /// Who came second made a second key, and what the first had wrapped was refused: 503 for the first uploads at once.
    #[tokio::test(flavor = "multi_thread")]
    async fn first_uploads_at_once_are_wrapped_under_one_key() {
        for engine in Engine::each() {
            let keyring = Arc::new(keyring(&engine).await);
            for number in 0..10 {
                let bucket = format!("fresh-{number}");
                bucket_of(&keyring.meta, &bucket, "alice").await;
                let wraps: Vec<_> = (0..32)
                    .map(|number| {
                        let (keyring, place) = (keyring.clone(), KeyPlace::new(&bucket, number.to_string()));
                        tokio::spawn(async move { keyring.wrap(&place, None, &[DataKey::random()]).await })
                    })
                    .collect();
                for wrap in wraps {
                    wrap.await.unwrap().unwrap();
                }
                assert_eq!(keyring.meta.bucket_keys(bucket).await.unwrap().1.len(), 1);
            }
        }
    }

    #[tokio::test]
    async fn a_customers_key_is_asked_for_again() {
        for engine in Engine::each() {
            let keyring = keyring(&engine).await;
            let place = KeyPlace::new("photos", "a");
            let customer = CustomerKey::from_bytes([9; 32]);
            let wrapped = keyring.wrap(&place, Some(&customer), &[DataKey::random()]).await.unwrap();
            assert!(keyring.unwrap(&place, Some(&customer), &wrapped).await.is_ok());
            let without = keyring.unwrap(&place, None, &wrapped).await;
            assert!(matches!(without, Err(KeyringError::CustomerKeyMissing)));
            let other = CustomerKey::from_bytes([8; 32]);
            let other = keyring.unwrap(&place, Some(&other), &wrapped).await;
            assert!(matches!(other, Err(KeyringError::Unwrap(UnwrapError::Damaged))));
            // No bucket key was needed.
            assert_eq!(keyring.meta.bucket_keys("photos".into()).await.unwrap().1.len(), 0);
        }
    }

    #[tokio::test]
    async fn a_store_without_a_generation_in_use_is_refused() {
        for engine in Engine::each() {
            let first = keyring(&engine).await;
            first.check().await.unwrap();
            first.wrap(&KeyPlace::new("photos", "a"), None, &[DataKey::random()]).await.unwrap();
            first.check().await.unwrap();
            let other = Generations::one(OperatorSecret::from_bytes([2; 32]));
            let second = Keyring::new(first.meta.clone(), other);
            let refused = second.check().await.unwrap_err();
            assert!(matches!(refused, KeyringError::Generation { .. }), "{refused}");
            let refused = second.wrap(&KeyPlace::new("photos", "b"), None, &[DataKey::random()]).await;
            assert!(matches!(refused, Err(KeyringError::Generation { .. })));
        }
    }
}
