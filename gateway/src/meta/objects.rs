//! Objects: one row per key, manifests beside them.

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::{BUCKETS, MANIFESTS, Meta, MetaError, OBJECTS, buckets, stripes};
use crate::{
    listing::{self, Query},
    manifest::{Manifest, ManifestId, ObjectHeaders, ObjectInfo},
};

pub use crate::listing::Page as ObjectPage;

/// What must hold of the object that is there before it is replaced.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is none (`If-None-Match: *`).
    Absent,
    /// There is one (`If-Match: *`).
    Present,
    /// There is one with this ETag (`If-Match`).
    Etag(String),
}

/// An object to be entered.
#[derive(Debug)]
pub struct NewObject {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its row; `manifest` names the row that `manifest` goes to.
    pub info: ObjectInfo,
    /// Where its bytes are.
    pub manifest: Manifest,
    /// What must hold of its predecessor.
    pub condition: Condition,
}

fn decode(row: &[u8]) -> Result<ObjectInfo, MetaError> {
    ObjectInfo::from_row(row).map_err(|_| MetaError::Row("objects"))
}

fn decode_manifest(row: &[u8]) -> Result<Manifest, MetaError> {
    Manifest::from_row(row).map_err(|_| MetaError::Row("manifests"))
}

fn current(transaction: &WriteTransaction, bucket: &str, key: &str) -> Result<Option<ObjectInfo>, MetaError> {
    transaction.open_table(OBJECTS)?.get((bucket, key))?.map(|row| decode(row.value())).transpose()
}

fn manifest_of(transaction: &WriteTransaction, id: ManifestId) -> Result<Manifest, MetaError> {
    let manifests = transaction.open_table(MANIFESTS)?;
    let row = manifests.get(id)?.ok_or(MetaError::Row("manifests"))?;
    decode_manifest(row.value())
}

pub(super) fn check(
    transaction: &WriteTransaction,
    bucket: &str,
    key: &str,
    condition: &Condition,
) -> Result<(), MetaError> {
    if *condition == Condition::Always {
        return Ok(());
    }
    let holds = match (condition, current(transaction, bucket, key)?) {
        (Condition::Absent, found) => found.is_none(),
        (Condition::Present, found) => found.is_some(),
        (Condition::Etag(etag), Some(found)) => *etag == found.etag,
        (Condition::Etag(_), None) => return Err(MetaError::NoSuchKey),
        (Condition::Always, _) => true,
    };
    if holds { Ok(()) } else { Err(MetaError::PreconditionFailed) }
}

/// Puts the object in the place of its predecessor, which is released. The new stripes are held already.
pub(super) fn replace(
    transaction: &WriteTransaction,
    bucket: &str,
    key: &str,
    info: ObjectInfo,
    manifest: Manifest,
    now_ms: u64,
) -> Result<(), MetaError> {
    remove(transaction, bucket, key, now_ms)?;
    transaction.open_table(MANIFESTS)?.insert(info.manifest, manifest.to_row().as_slice())?;
    transaction.open_table(OBJECTS)?.insert((bucket, key), info.to_row().as_slice())?;
    Ok(())
}

fn remove(transaction: &WriteTransaction, bucket: &str, key: &str, now_ms: u64) -> Result<bool, MetaError> {
    let Some(info) = current(transaction, bucket, key)? else { return Ok(false) };
    let manifest = manifest_of(transaction, info.manifest)?;
    transaction.open_table(MANIFESTS)?.remove(info.manifest)?;
    transaction.open_table(OBJECTS)?.remove((bucket, key))?;
    stripes::release(transaction, manifest.stripes(), now_ms)?;
    Ok(true)
}

fn find(transaction: &ReadTransaction, bucket: &str, key: &str) -> Result<ObjectInfo, MetaError> {
    if transaction.open_table(BUCKETS)?.get(bucket)?.is_none() {
        return Err(MetaError::NoSuchBucket);
    }
    match transaction.open_table(OBJECTS)?.get((bucket, key))? {
        Some(row) => decode(row.value()),
        None => Err(MetaError::NoSuchKey),
    }
}

impl Meta {
    /// Enters an object whose stripes have reached their quorum.
    pub async fn put_object(&self, object: NewObject, now_ms: u64) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let NewObject { bucket, key, info, manifest, condition } = object;
            buckets::require(transaction, &bucket)?;
            check(transaction, &bucket, &key, &condition)?;
            stripes::hold(transaction, manifest.stripes())?;
            replace(transaction, &bucket, &key, info, manifest, now_ms)
        })
        .await
    }

    /// Copies an object within the gateway: both share the stripes. Returns the new row.
    ///
    /// `id` is the new manifest's row, `headers` replace the source's if given; `from` must still be the object
    /// whose manifest is `expected`.
    pub async fn copy_object(
        &self,
        from: (String, String),
        expected: ManifestId,
        to: (String, String),
        id: ManifestId,
        headers: Option<ObjectHeaders>,
        now_ms: u64,
    ) -> Result<ObjectInfo, MetaError> {
        self.write(move |transaction| {
            buckets::require(transaction, &to.0)?;
            let source = current(transaction, &from.0, &from.1)?.ok_or(MetaError::NoSuchKey)?;
            if source.manifest != expected {
                return Err(MetaError::PreconditionFailed);
            }
            let manifest = manifest_of(transaction, source.manifest)?;
            stripes::hold(transaction, manifest.stripes())?;
            let headers = headers.unwrap_or_else(|| source.headers.clone());
            let info = ObjectInfo { manifest: id, modified_ms: now_ms, headers, ..source };
            replace(transaction, &to.0, &to.1, info.clone(), manifest, now_ms)?;
            Ok(info)
        })
        .await
    }

    /// Removes an object; whether there was one.
    pub async fn delete_object(&self, bucket: String, key: String, now_ms: u64) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            buckets::require(transaction, &bucket)?;
            remove(transaction, &bucket, &key, now_ms)
        })
        .await
    }

    /// The row of an object.
    pub async fn object(&self, bucket: String, key: String) -> Result<ObjectInfo, MetaError> {
        self.read(move |transaction| find(transaction, &bucket, &key)).await
    }

    /// The row and the manifest of an object, of one moment.
    pub async fn object_with_manifest(
        &self,
        bucket: String,
        key: String,
    ) -> Result<(ObjectInfo, Manifest), MetaError> {
        self.read(move |transaction| {
            let info = find(transaction, &bucket, &key)?;
            let row = transaction.open_table(MANIFESTS)?.get(info.manifest)?;
            let manifest = decode_manifest(row.ok_or(MetaError::Row("manifests"))?.value())?;
            Ok((info, manifest))
        })
        .await
    }

    /// A page of a bucket's objects in order of key.
    pub async fn list_objects(&self, bucket: String, query: Query) -> Result<ObjectPage, MetaError> {
        self.read(move |transaction| {
            if transaction.open_table(BUCKETS)?.get(bucket.as_str())?.is_none() {
                return Err(MetaError::NoSuchBucket);
            }
            let objects = transaction.open_table(OBJECTS)?;
            listing::list(&query, |from| {
                let Some(row) = objects.range((bucket.as_str(), from)..)?.next() else { return Ok(None) };
                let (key, row) = row?;
                let (found_in, key) = key.value();
                if found_in != bucket {
                    return Ok(None);
                }
                Ok(Some((key.to_owned(), decode(row.value())?)))
            })
        })
        .await
    }
}
