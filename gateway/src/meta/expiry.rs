//! What rules about the age of objects may do: each step names the version that was looked at, and does nothing if that is
//! not what is there any more.

use super::{DeleteRequest, Meta, MetaError, buckets, delete, objects, versions::Writing};
use crate::object::VersionId;

impl Meta {
    /// Deletes a key whose newest version is still this object, as its owner would: it is hidden where the bucket keeps
    /// versions, and gone where it does not. Whether it was done.
    pub async fn expire_current(
        &self,
        bucket: String,
        key: String,
        version: VersionId,
        now_ms: u64,
    ) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            let account = buckets::require(transaction, &bucket)?.account;
            let current = Writing::open(transaction)?.current(&bucket, &key)?;
            if current.is_none_or(|current| current.id() != version) {
                return Ok(false);
            }
            let request = DeleteRequest { bucket, key, account, ..Default::default() };
            match delete::delete_key(transaction, request, now_ms) {
                Ok(_) => Ok(true),
                Err(MetaError::Locked) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Removes a version that a newer one came after, object or delete marker, unless it is locked. Whether it was done.
    pub async fn expire_noncurrent(
        &self,
        bucket: String,
        key: String,
        version: VersionId,
        now_ms: u64,
    ) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            let mut tables = Writing::open(transaction)?;
            let Some(found) = tables.find(&bucket, &key, version)? else { return Ok(false) };
            let is_locked = found.object().is_some_and(|info| info.properties.is_locked(false, now_ms));
            if found.is_latest() || is_locked {
                return Ok(false);
            }
            tables.take(&bucket, &key, &found)?;
            drop(tables);
            objects::free(transaction, &found, now_ms)?;
            Ok(true)
        })
        .await
    }

    /// Removes a delete marker that is all that is left of its key. Whether it was done.
    pub async fn expire_marker(
        &self,
        bucket: String,
        key: String,
        version: VersionId,
    ) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            let mut tables = Writing::open(transaction)?;
            let Some(found) = tables.find(&bucket, &key, version)? else { return Ok(false) };
            if found.object().is_some() || !tables.is_alone(&bucket, &key, &found)? {
                return Ok(false);
            }
            tables.take(&bucket, &key, &found)?;
            Ok(true)
        })
        .await
    }
}
