//! What can be changed of an object that is there: its tags, access control list, retention and legal hold.

use super::{Meta, MetaError, WriteTransaction, buckets, buckets::BucketInfo, versions::Writing};
use crate::object::{Entry, Properties, Retention, VersionId};

/// Changes a version in its place. Returns its id as clients are told it.
fn amend(
    transaction: &WriteTransaction,
    names: (&str, &str),
    version: Option<VersionId>,
    change: impl FnOnce(&BucketInfo, &mut Properties) -> Result<(), MetaError>,
) -> Result<Option<VersionId>, MetaError> {
    let bucket = buckets::require(transaction, names.0)?;
    let mut tables = Writing::open(transaction)?;
    let (mut found, mut info) = tables.object(names.0, names.1, version)?;
    change(&bucket, &mut info.properties)?;
    found.entry = Entry::Object(info);
    tables.put(names.0, names.1, &found)?;
    Ok(bucket.shown(found.id()))
}

impl Meta {
    /// Replaces the tags of an object. Returns the version's id if the bucket keeps versions.
    pub async fn set_tags(
        &self,
        bucket: String,
        key: String,
        version: Option<VersionId>,
        tags: Vec<(String, String)>,
    ) -> Result<Option<VersionId>, MetaError> {
        self.write(move |transaction| {
            amend(transaction, (&bucket, &key), version, |_, properties| {
                properties.tags = tags;
                Ok(())
            })
        })
        .await
    }

    /// Replaces the access control list of an object. Returns the version's id if the bucket keeps versions.
    pub async fn set_object_acl(
        &self,
        bucket: String,
        key: String,
        version: Option<VersionId>,
        acl: Option<Vec<u8>>,
    ) -> Result<Option<VersionId>, MetaError> {
        self.write(move |transaction| {
            amend(transaction, (&bucket, &key), version, |_, properties| {
                properties.acl = acl;
                Ok(())
            })
        })
        .await
    }

    /// Replaces the retention of an object; `bypass` is the permission that governance yields to.
    pub async fn set_retention(
        &self,
        bucket: String,
        key: String,
        version: Option<VersionId>,
        retention: Option<Retention>,
        bypass: bool,
        now_ms: u64,
    ) -> Result<Option<VersionId>, MetaError> {
        self.write(move |transaction| {
            amend(transaction, (&bucket, &key), version, |bucket, properties| {
                bucket.lock.ok_or(MetaError::NoObjectLock)?;
                let before = properties.retention;
                if before.is_some_and(|before| !before.may_become(retention.as_ref(), bypass, now_ms)) {
                    return Err(MetaError::Locked);
                }
                properties.retention = retention;
                Ok(())
            })
        })
        .await
    }

    /// Holds an object, or lets it go.
    pub async fn set_legal_hold(
        &self,
        bucket: String,
        key: String,
        version: Option<VersionId>,
        hold: bool,
    ) -> Result<Option<VersionId>, MetaError> {
        self.write(move |transaction| {
            amend(transaction, (&bucket, &key), version, |bucket, properties| {
                bucket.lock.ok_or(MetaError::NoObjectLock)?;
                properties.legal_hold = Some(hold);
                Ok(())
            })
        })
        .await
    }
}
