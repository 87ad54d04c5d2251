//! Deleting: a key is hidden or emptied, a version is gone.

use super::{
    DeleteCondition, Meta, MetaError, WriteTransaction,
    buckets::{self, BucketInfo},
    events::{self, Happened},
    objects, usage,
    versions::Writing,
};
use crate::{
    notify::{EventName, Origin},
    object::{Entry, Marker, Properties, VersionId, Versioning},
};

/// What is to be deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteRequest {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version that is to go; without one the key is hidden where the bucket keeps versions.
    pub version: Option<VersionId>,
    /// What must hold of what is deleted.
    pub condition: DeleteCondition,
    /// The caller may remove what governance keeps, and asks for it.
    pub bypass: bool,
    /// The account that asks: a delete marker belongs to it.
    pub account: String,
    /// The account or sub-account whose usage counts a delete marker.
    pub payer: String,
    /// Who deletes it.
    pub origin: Origin,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deletion {
    /// The version that was made or removed is a delete marker.
    pub marker: bool,
    /// The version that was made or removed, if the client may know of versions.
    pub version: Option<VersionId>,
}

impl Meta {
    /// Deletes a key or one of its versions. What does not exist is no error.
    pub async fn delete(&self, request: DeleteRequest, now_ms: u64) -> Result<Deletion, MetaError> {
        self.write(move |transaction| match request.version {
            Some(id) => delete_version(transaction, &request, id, now_ms),
            None => delete_key(transaction, request, now_ms),
        })
        .await
    }
}

/// Tells that a version is gone, or a delete marker made.
pub(super) fn tell(
    transaction: &WriteTransaction,
    (name, bucket): (&str, &BucketInfo),
    key: &str,
    (what, version): (EventName, VersionId),
    origin: &Origin,
    now_ms: u64,
) -> Result<(), MetaError> {
    let gone = Happened { name: what, origin, version, object: None };
    events::happened(transaction, (name, bucket), key, gone, now_ms)
}

fn delete_version(
    transaction: &WriteTransaction,
    request: &DeleteRequest,
    id: VersionId,
    now_ms: u64,
) -> Result<Deletion, MetaError> {
    let bucket = buckets::require(transaction, &request.bucket)?;
    let mut tables = Writing::open(transaction)?;
    let Some(version) = tables.find(&request.bucket, &request.key, id)? else {
        return Ok(Deletion { marker: false, version: Some(id) });
    };
    request.condition.check(&version)?;
    if version.object().is_some_and(|info| info.properties.is_locked(request.bypass, now_ms)) {
        return Err(MetaError::Locked);
    }
    tables.take(&request.bucket, &request.key, &version)?;
    drop(tables);
    objects::free(transaction, &version, now_ms)?;
    let (at, what) = ((request.bucket.as_str(), &bucket), (request.origin.removed(), id));
    tell(transaction, at, &request.key, what, &request.origin, now_ms)?;
    Ok(Deletion { marker: version.object().is_none(), version: Some(id) })
}

pub(super) fn delete_key(
    transaction: &WriteTransaction,
    request: DeleteRequest,
    now_ms: u64,
) -> Result<Deletion, MetaError> {
    let DeleteRequest { bucket: name, key, condition, bypass, account, payer, origin, .. } = request;
    let bucket = buckets::require(transaction, &name)?;
    let mut tables = Writing::open(transaction)?;
    if condition.is_needed() {
        match tables.latest(&name, &key)? {
            Some(latest) => condition.check(&latest)?,
            None => return Ok(Deletion::default()),
        }
    }
    let is_locked = |properties: &Properties| properties.is_locked(bypass, now_ms);
    let null = tables.replaced(&name, &key, bucket.versioning)?;
    if null.as_ref().and_then(|null| null.object()).is_some_and(|info| is_locked(&info.properties)) {
        return Err(MetaError::Locked);
    }
    if bucket.versioning == Versioning::Unversioned {
        let Some(null) = null else { return Ok(Deletion::default()) };
        tables.take(&name, &key, &null)?;
        drop(tables);
        objects::free(transaction, &null, now_ms)?;
        let what = (origin.removed(), null.id());
        tell(transaction, (&name, &bucket), &key, what, &origin, now_ms)?;
        return Ok(Deletion::default());
    }
    let payer = usage::payer_of(&bucket.account, &payer).to_owned();
    let marker = Entry::Marker(Marker { modified_ms: now_ms, owner: account, payer });
    let (stamp, replaced) = tables.enter(&name, &key, marker, bucket.versioning, now_ms)?;
    drop(tables);
    if let Some(replaced) = replaced {
        objects::free(transaction, &replaced, now_ms)?;
    }
    let what = (origin.hidden(), stamp.id());
    tell(transaction, (&name, &bucket), &key, what, &origin, now_ms)?;
    Ok(Deletion { marker: true, version: bucket.shown(stamp.id()) })
}
