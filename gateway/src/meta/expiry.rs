//! What rules about the age of objects may do: each step names the version that was looked at and the rules it goes by, and
//! does nothing if either is not what is there any more.

use super::{
    DeleteRequest, Meta, MetaError, Subresource, WriteTransaction, buckets, delete, objects, subresources,
    versions::Writing,
};
use crate::{notify::Origin, object::Version};

/// A version that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expiring {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// As it was when it was looked at: changed tags may keep it.
    pub version: Version,
    /// The row of the rules that it is due by.
    pub rules: Vec<u8>,
}

impl Expiring {
    /// Takes the version out and tells it.
    fn take(&self, transaction: &WriteTransaction, now_ms: u64) -> Result<(), MetaError> {
        let bucket = buckets::require(transaction, &self.bucket)?;
        Writing::open(transaction)?.take(&self.bucket, &self.key, &self.version)?;
        objects::free(transaction, &self.version, now_ms)?;
        let origin = Origin::lifecycle();
        let (at, what) = ((self.bucket.as_str(), &bucket), (origin.removed(), self.version.id()));
        delete::tell(transaction, at, &self.key, what, &origin, now_ms)
    }

    /// Whether all is as it was when it was looked at. The null version has the same id whatever it is: an object that was
    /// written meanwhile is told by its row.
    fn is_still_due(&self, transaction: &WriteTransaction) -> Result<bool, MetaError> {
        if subresources::get(transaction, &self.bucket, Subresource::Lifecycle)?.as_ref() != Some(&self.rules)
        {
            return Ok(false);
        }
        let found = Writing::open(transaction)?.find(&self.bucket, &self.key, self.version.id())?;
        Ok(found.as_ref() == Some(&self.version))
    }
}

impl Meta {
    /// Deletes a key whose newest version is still this object, as its owner would: it is hidden where the bucket keeps
    /// versions, and gone where it does not. Whether it was done.
    pub async fn expire_current(&self, due: Expiring, now_ms: u64) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            let account = buckets::require(transaction, &due.bucket)?.account;
            let is_object = due.version.is_latest() && due.version.object().is_some();
            if !is_object || !due.is_still_due(transaction)? {
                return Ok(false);
            }
            let Expiring { bucket, key, .. } = due;
            let origin = Origin::lifecycle();
            let request = DeleteRequest { bucket, key, account, origin, ..Default::default() };
            match delete::delete_key(transaction, request, now_ms) {
                Ok(_) => Ok(true),
                Err(MetaError::Locked) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Removes a version that a newer one came after, object or delete marker, unless it is locked. Whether it was done.
    pub async fn expire_noncurrent(&self, due: Expiring, now_ms: u64) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            let version = &due.version;
            let is_locked = version.object().is_some_and(|info| info.properties.is_locked(false, now_ms));
            if version.is_latest() || is_locked || !due.is_still_due(transaction)? {
                return Ok(false);
            }
            due.take(transaction, now_ms)?;
            Ok(true)
        })
        .await
    }

    /// Removes a delete marker that is all that is left of its key. Whether it was done.
    pub async fn expire_marker(&self, due: Expiring, now_ms: u64) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            if due.version.object().is_some() || !due.is_still_due(transaction)? {
                return Ok(false);
            }
            if !Writing::open(transaction)?.is_alone(&due.bucket, &due.key, &due.version)? {
                return Ok(false);
            }
            due.take(transaction, now_ms)?;
            Ok(true)
        })
        .await
    }

    /// Whether these are still the rules of a bucket.
    pub async fn has_rules(&self, bucket: String, rules: Vec<u8>) -> Result<bool, MetaError> {
        let row = self.subresource(bucket, Subresource::Lifecycle).await?;
        Ok(row == Some(rules))
    }
}
