//! What can be changed of an object that is there: its tags, access control list, retention and legal hold.

use super::{
    Meta, MetaError, WriteTransaction, buckets,
    buckets::BucketInfo,
    events::{self, Happened},
    versions::Writing,
};
use crate::{
    notify::{EventName, Origin},
    object::{Entry, Properties, Retention, VersionId},
};

/// What a change of an object is told as, who or what led to it, and when; nothing where webhooks are not told.
type Cause<'a> = Option<(EventName, &'a Origin, u64)>;

/// Changes a version in its place. Returns its id as clients are told it.
fn amend<'a>(
    transaction: &WriteTransaction,
    names: (&str, &str),
    version: Option<VersionId>,
    change: impl FnOnce(&BucketInfo, &mut Properties) -> Result<Cause<'a>, MetaError>,
) -> Result<Option<VersionId>, MetaError> {
    let bucket = buckets::require(transaction, names.0)?;
    let mut tables = Writing::open(transaction)?;
    let (mut found, mut info) = tables.object(names.0, names.1, version)?;
    let cause = change(&bucket, &mut info.properties)?;
    let (size, etag) = (info.size, info.etag.clone());
    found.entry = Entry::Object(info);
    tables.put(names.0, names.1, &found)?;
    drop(tables);
    if let Some((name, origin, now_ms)) = cause {
        let amended = Happened { name, origin, version: found.id(), object: Some((size, &etag)) };
        events::happened(transaction, (names.0, &bucket), names.1, amended, now_ms)?;
    }
    Ok(bucket.shown(found.id()))
}

impl Meta {
    /// Replaces the tags of an object, or takes them away. Returns the version's id if the bucket keeps versions.
    pub async fn set_tags(
        &self,
        (bucket, key): (String, String),
        version: Option<VersionId>,
        tags: Option<Vec<(String, String)>>,
        origin: Origin,
        now_ms: u64,
    ) -> Result<Option<VersionId>, MetaError> {
        self.write(move |transaction| {
            amend(transaction, (&bucket, &key), version, |_, properties| {
                let name = match &tags {
                    Some(_) => Some(EventName::TaggingPut),
                    // Deleting what is not there is no event.
                    None => (!properties.tags.is_empty()).then_some(EventName::TaggingDelete),
                };
                properties.tags = tags.unwrap_or_default();
                Ok(name.map(|name| (name, &origin, now_ms)))
            })
        })
        .await
    }

    /// Replaces the access control list of an object. Returns the version's id if the bucket keeps versions.
    pub async fn set_object_acl(
        &self,
        (bucket, key): (String, String),
        version: Option<VersionId>,
        acl: Option<Vec<u8>>,
        origin: Origin,
        now_ms: u64,
    ) -> Result<Option<VersionId>, MetaError> {
        self.write(move |transaction| {
            amend(transaction, (&bucket, &key), version, |_, properties| {
                let is_other = properties.acl != acl;
                properties.acl = acl;
                Ok(is_other.then_some((EventName::AclPut, &origin, now_ms)))
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
                Ok(None)
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
                Ok(None)
            })
        })
        .await
    }
}
