//! Keys of buckets, wrapped under their accounts' keys, and the default encryption of buckets.
//!
//! A bucket has one key, and while it is being replaced a second one: the highest generation wraps, the others only open.
//!
//! # Invariants
//! - What is entered into a bucket is wrapped under its current key ([`require`]): once a generation is not the highest any
//!   more, nothing new refers to it.

use arion_crypto::{KeyId, WrappedKey, Wrapping};
use codec::{Decode, DecodeAll, Encode};

use super::{
    BUCKETS, Meta, MetaError, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction, buckets,
};
use crate::manifest::PartManifest;

pub(super) const BUCKET_KEYS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("bucket-keys");
pub(super) const BUCKET_ENCRYPTION: TableDefinition<&str, u8> = TableDefinition::new("bucket-encryption");

/// The value in `BUCKET_ENCRYPTION` that means AES256.
const AES256: u8 = 1;

/// A key of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BucketKeyRow {
    /// The account whose key wraps it.
    pub account: String,
    /// [`arion_crypto::BucketKey::id`] of the key.
    pub id: [u8; 8],
    /// The key, wrapped for the bucket's name.
    pub key: WrappedKey,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
}

#[derive(Encode, Decode)]
enum VersionedRow {
    #[codec(index = 1)]
    V1(BucketKeyRow),
}

/// Bucket and generation, counted from 1.
pub type BucketKeyName = (String, u32);

fn decode(row: &[u8]) -> Result<BucketKeyRow, MetaError> {
    let row = VersionedRow::decode_all(&mut &*row).map_err(|_| MetaError::Row("bucket-keys"))?;
    let VersionedRow::V1(row) = row;
    Ok(row)
}

fn encode(row: BucketKeyRow) -> Vec<u8> {
    VersionedRow::V1(row).encode()
}

/// The current key of a bucket.
fn current(transaction: &WriteTransaction, bucket: &str) -> Result<Option<(u32, BucketKeyRow)>, MetaError> {
    let table = transaction.open_table(BUCKET_KEYS)?;
    let last = table.range((bucket, 0)..=(bucket, u32::MAX))?.next_back().transpose()?;
    last.map(|(key, row)| Ok((key.value().1, decode(row.value())?))).transpose()
}

/// Refuses what is wrapped under a key that is not the bucket's current one, or not for a bucket at all; what a customer's
/// key wraps is let through.
pub(super) fn require<'a>(
    transaction: &WriteTransaction,
    bucket: &str,
    parts: impl IntoIterator<Item = &'a PartManifest>,
) -> Result<(), MetaError> {
    let mut known: Option<KeyId> = None;
    for part in parts {
        match part.key.wrapping() {
            Wrapping::Customer => continue,
            Wrapping::Bucket => return Err(MetaError::KeyReplaced),
            Wrapping::Data => {}
        }
        let id = match known {
            Some(id) => id,
            None => {
                let (_, row) = current(transaction, bucket)?.ok_or(MetaError::KeyReplaced)?;
                KeyId(row.id)
            }
        };
        if part.key.key_id() != id {
            return Err(MetaError::KeyReplaced);
        }
        known = Some(id);
    }
    Ok(())
}

/// Forgets the keys of a bucket that is removed: what they opened is gone.
pub(super) fn remove_all(transaction: &WriteTransaction, bucket: &str) -> Result<(), MetaError> {
    let mut table = transaction.open_table(BUCKET_KEYS)?;
    table.remove_range((bucket, 0)..=(bucket, u32::MAX))?;
    transaction.open_table(BUCKET_ENCRYPTION)?.remove(bucket)?;
    Ok(())
}

/// Name under which the deduplication key of an account is kept among the keys of buckets, so that it is wrapped anew with
/// them. No bucket can have it.
pub fn deduplication_name(account: &str) -> String {
    format!("={account}")
}

impl Meta {
    /// The deduplication key of an account, if it has one yet.
    pub async fn deduplication_key(&self, account: &str) -> Result<Option<BucketKeyRow>, MetaError> {
        let name = deduplication_name(account);
        self.look(move |transaction: &ReadTransaction| {
            let row = transaction.open_table(BUCKET_KEYS)?.get((name.as_str(), 1))?;
            row.map(|row| decode(row.value())).transpose()
        })
        .await
    }

    /// Gives an account its deduplication key, unless it has one.
    pub async fn add_deduplication_key(&self, account: &str, row: BucketKeyRow) -> Result<(), MetaError> {
        let name = deduplication_name(account);
        self.write(move |transaction| {
            let mut table = transaction.open_table(BUCKET_KEYS)?;
            if table.get((name.as_str(), 1))?.is_none() {
                table.insert((name.as_str(), 1), encode(row).as_slice())?;
            }
            Ok(())
        })
        .await
    }

    /// The owner of a bucket and the bucket's keys, the current one last.
    pub async fn bucket_keys(&self, bucket: String) -> Result<(String, Vec<(u32, BucketKeyRow)>), MetaError> {
        self.look(move |transaction: &ReadTransaction| {
            let row = transaction.open_table(BUCKETS)?.get(bucket.as_str())?;
            let owner = buckets::owner(row.ok_or(MetaError::NoSuchBucket)?.value())?;
            let mut found = Vec::new();
            let table = transaction.open_table(BUCKET_KEYS)?;
            for row in table.range((bucket.as_str(), 0)..=(bucket.as_str(), u32::MAX))? {
                let (key, row) = row?;
                found.push((key.value().1, decode(row.value())?));
            }
            Ok((owner, found))
        })
        .await
    }

    /// Adds a key to a bucket; it is the current one from then on. `generation` must follow the highest there is. Whether it
    /// was added: not if somebody else was faster.
    pub async fn add_bucket_key(&self, name: BucketKeyName, row: BucketKeyRow) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            let (bucket, generation) = (name.0.as_str(), name.1);
            buckets::require(transaction, bucket)?;
            let highest = current(transaction, bucket)?.map_or(0, |(highest, _)| highest);
            if generation != highest.saturating_add(1) {
                return Ok(false);
            }
            transaction.open_table(BUCKET_KEYS)?.insert((bucket, generation), encode(row).as_slice())?;
            Ok(true)
        })
        .await
    }

    /// The keys of all buckets behind `after`, at most `limit`.
    pub async fn bucket_keys_page(
        &self,
        after: Option<BucketKeyName>,
        limit: usize,
    ) -> Result<Vec<(BucketKeyName, BucketKeyRow)>, MetaError> {
        use std::ops::Bound;
        self.read(move |transaction| {
            let table = transaction.open_table(BUCKET_KEYS)?;
            let start = after.as_ref().map(|(bucket, generation)| (bucket.as_str(), *generation));
            let start = start.map_or(Bound::Unbounded, Bound::Excluded);
            let mut found = Vec::new();
            for row in table.range::<(&str, u32)>((start, Bound::Unbounded))?.take(limit) {
                let (key, row) = row?;
                let (bucket, generation) = key.value();
                found.push(((bucket.to_owned(), generation), decode(row.value())?));
            }
            Ok(found)
        })
        .await
    }

    /// Puts newly wrapped bucket keys in the place of what they were; those that changed meanwhile stay. How many changed.
    pub async fn rewrap_bucket_keys(
        &self,
        rewrapped: Vec<(BucketKeyName, WrappedKey, WrappedKey)>,
    ) -> Result<usize, MetaError> {
        self.write(move |transaction| {
            let mut table = transaction.open_table(BUCKET_KEYS)?;
            let mut changed = 0;
            for ((bucket, generation), before, after) in rewrapped {
                let name = (bucket.as_str(), generation);
                let found = table.get(name)?.map(|row| decode(row.value())).transpose()?;
                let Some(row) = found.filter(|row| row.key == before) else { continue };
                table.insert(name, encode(BucketKeyRow { key: after, ..row }).as_slice())?;
                changed += 1;
            }
            Ok(changed)
        })
        .await
    }

    /// Forgets keys of a bucket before `current`, which must be its current one: nothing refers to them any more.
    pub async fn drop_bucket_keys(&self, bucket: String, current: u32) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let bucket = bucket.as_str();
            match self::current(transaction, bucket)? {
                Some((highest, _)) if highest == current => {}
                _ => return Ok(()),
            }
            let mut table = transaction.open_table(BUCKET_KEYS)?;
            table.remove_range((bucket, 0)..(bucket, current))?;
            Ok(())
        })
        .await
    }

    /// Whether a bucket has a default encryption.
    pub async fn bucket_encryption(&self, bucket: String) -> Result<bool, MetaError> {
        self.look(move |transaction| {
            Ok(transaction.open_table(BUCKET_ENCRYPTION)?.get(bucket.as_str())?.is_some())
        })
        .await
    }

    /// Sets or removes the default encryption of a bucket.
    pub async fn set_bucket_encryption(&self, bucket: String, on: bool) -> Result<(), MetaError> {
        self.write(move |transaction| {
            buckets::require(transaction, &bucket)?;
            let mut table = transaction.open_table(BUCKET_ENCRYPTION)?;
            match on {
                true => table.insert(bucket.as_str(), AES256)?,
                false => table.remove(bucket.as_str())?,
            }
            Ok(())
        })
        .await
    }
}
