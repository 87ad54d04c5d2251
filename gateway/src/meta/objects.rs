//! Objects: written, found, copied, listed.

use arion_crypto::WrappedKey;

use super::{
    Allowance, Condition, Equal, MANIFESTS, Meta, MetaError, OBJECTS, ReadTransaction, ReadableTable, Usage,
    WriteTransaction, bucket_keys, buckets,
    buckets::BucketInfo,
    equal,
    events::{self, Happened},
    occupancy, packs, stripes, usage,
    versions::{Reading, Writing},
};
use crate::{
    account::account_of,
    listing::{self, Query},
    manifest::{Manifest, ManifestId},
    notify::{EventName, Origin},
    object::{Entry, ObjectHeaders, ObjectInfo, Properties, Version, VersionId},
};

pub use crate::listing::Page as ObjectPage;

/// An object to be entered.
#[derive(Clone, Debug)]
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
    /// How much its payer may store.
    pub allowance: Allowance,
    /// Who writes it.
    pub origin: Origin,
}

/// An object that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Which version of its key it is.
    pub version: VersionId,
    /// What is known of it.
    pub info: ObjectInfo,
}

/// What is copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Which version; `None` for the newest.
    pub version: Option<VersionId>,
    /// The object that the caller looked at: it must still be this one.
    pub expected: ManifestId,
}

/// What a copy becomes.
#[derive(Debug)]
pub struct NewCopy {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Row of its manifest.
    pub manifest: ManifestId,
    /// What is said of it; its headers and tags count only where these replace the source's.
    pub properties: Properties,
    /// Headers instead of the source's.
    pub replace_headers: bool,
    /// Tags instead of the source's.
    pub replace_tags: bool,
    /// The keys of the source's parts, wrapped for the copy.
    pub keys: Vec<WrappedKey>,
    /// What must hold of its predecessor.
    pub condition: Condition,
    /// How much its payer may store.
    pub allowance: Allowance,
    /// Who copies it.
    pub origin: Origin,
}

pub(super) fn decode_manifest(row: &[u8]) -> Result<Manifest, MetaError> {
    Manifest::from_row(row).map_err(|_| MetaError::Row("manifests"))
}

fn manifest_of(transaction: &WriteTransaction, id: ManifestId) -> Result<Manifest, MetaError> {
    let manifests = transaction.open_table(MANIFESTS)?;
    let row = manifests.get(id)?.ok_or(MetaError::Row("manifests"))?;
    decode_manifest(row.value())
}

/// Gives back the data of a version that was taken out.
pub(super) fn free(transaction: &WriteTransaction, version: &Version, now_ms: u64) -> Result<(), MetaError> {
    let Some(info) = version.object() else { return Ok(()) };
    let manifest = manifest_of(transaction, info.manifest)?;
    transaction.open_table(MANIFESTS)?.remove(info.manifest)?;
    packs::leave(transaction, info.manifest, &manifest)?;
    occupancy::unclaim(transaction, account_of(version.payer()), &manifest.parts)?;
    stripes::release(transaction, manifest.stripes(), now_ms)
}

fn check_lock(bucket: &BucketInfo, properties: &Properties) -> Result<(), MetaError> {
    match bucket.lock.is_none() && (properties.retention.is_some() || properties.legal_hold.is_some()) {
        true => Err(MetaError::NoObjectLock),
        false => Ok(()),
    }
}

/// Refuses what may not be written: whatever the bucket does not allow, or whose condition does not hold.
pub(super) fn check(
    transaction: &WriteTransaction,
    bucket: &BucketInfo,
    names: (&str, &str),
    properties: &Properties,
    condition: &Condition,
) -> Result<(), MetaError> {
    check_lock(bucket, properties)?;
    if condition.is_needed() {
        condition.check(Writing::open(transaction)?.current(names.0, names.1)?.as_ref())?;
    }
    Ok(())
}

/// Refuses an object that would exceed a quota.
fn check_room(
    transaction: &WriteTransaction,
    bucket: &BucketInfo,
    names: (&str, &str),
    (payer, allowance): (&str, &Allowance),
    size: u64,
) -> Result<(), MetaError> {
    if *allowance == Allowance::NONE {
        return Ok(());
    }
    let tables = Writing::open(transaction)?;
    let replaced = tables.replaced(names.0, names.1, bucket.versioning)?;
    let payer = usage::payer_of(&bucket.account, payer);
    tables.check_room((payer, allowance), Usage::object(size), replaced.as_ref())
}

/// Makes the object the newest version of its key, with the bucket's retention if it has none. The new stripes are held
/// already; what it replaces is given back; it is told as `cause` says. Returns the version's id, unless it is the null version: writers are not told of
/// that one.
pub(super) fn enter(
    transaction: &WriteTransaction,
    bucket: &BucketInfo,
    names: (&str, &str),
    mut info: ObjectInfo,
    manifest: Manifest,
    cause: (EventName, &Origin),
    now_ms: u64,
) -> Result<Option<VersionId>, MetaError> {
    let default = bucket.lock.and_then(|lock| lock.default);
    if let (None, Some(default)) = (info.properties.retention, default) {
        info.properties.retention = Some(default.at(now_ms));
    }
    info.properties.payer = usage::payer_of(&bucket.account, &info.properties.payer).to_owned();
    packs::enter(transaction, &bucket.account, info.manifest, &manifest)?;
    transaction.open_table(MANIFESTS)?.insert(info.manifest, manifest.to_row().as_slice())?;
    let (size, etag) = (info.size, info.etag.clone());
    let entry = Entry::Object(info);
    let (stamp, replaced) =
        Writing::open(transaction)?.enter(names.0, names.1, entry, bucket.versioning, now_ms)?;
    if let Some(replaced) = replaced {
        free(transaction, &replaced, now_ms)?;
    }
    let (name, origin) = cause;
    let written = Happened { name, origin, version: stamp.id(), object: Some((size, &etag)) };
    events::happened(transaction, (names.0, bucket), names.1, written, now_ms)?;
    Ok(told(stamp.id()))
}

/// The id of a version as its writer is told it.
pub(super) fn told(id: VersionId) -> Option<VersionId> {
    (id != VersionId::Null).then_some(id)
}

fn find(
    transaction: &ReadTransaction,
    bucket: &str,
    key: &str,
    version: Option<VersionId>,
) -> Result<Found, MetaError> {
    buckets::exists(transaction, bucket)?;
    let (found, info) = Reading::open(transaction)?.object(bucket, key, version)?;
    Ok(Found { version: found.id(), info })
}

impl Meta {
    /// Refuses an object of so many bytes that could not be entered as things are now, before its bytes are taken in: it asks for
    /// what the bucket does not allow, a condition does not hold, or it would exceed a quota.
    pub async fn check_put(
        &self,
        (bucket, key): (String, String),
        properties: &Properties,
        condition: &Condition,
        allowance: Allowance,
        bytes: u64,
    ) -> Result<(), MetaError> {
        let wants_lock = properties.retention.is_some() || properties.legal_hold.is_some();
        if !wants_lock && !condition.is_needed() && allowance == Allowance::NONE {
            return Ok(());
        }
        let (properties, condition) = (properties.clone(), condition.clone());
        self.look(move |transaction| {
            let info = buckets::read(transaction, &bucket)?;
            check_lock(&info, &properties)?;
            let tables = Reading::open(transaction)?;
            if condition.is_needed() {
                condition.check(tables.current(&bucket, &key)?.as_ref())?;
            }
            let replaced = tables.replaced(&bucket, &key, info.versioning)?;
            let payer = (usage::payer_of(&info.account, &properties.payer), &allowance);
            tables.check_room(payer, Usage::object(bytes), replaced.as_ref())
        })
        .await
    }

    /// Enters an object whose stripes have reached their quorum. Returns the version's id where versions are
    /// made.
    pub async fn put_object(&self, object: NewObject, now_ms: u64) -> Result<Option<VersionId>, MetaError> {
        self.put_equal(object, None, now_ms).await
    }

    /// The same of an object whose only part is, or becomes, the one stream of its account with these bytes.
    pub async fn put_equal(
        &self,
        object: NewObject,
        equal: Option<Equal>,
        now_ms: u64,
    ) -> Result<Option<VersionId>, MetaError> {
        self.write(move |transaction| {
            let NewObject { bucket: name, key, info, manifest, condition, allowance, origin } = object;
            let bucket = buckets::require(transaction, &name)?;
            check(transaction, &bucket, (&name, &key), &info.properties, &condition)?;
            let payer = (info.properties.payer.as_str(), &allowance);
            check_room(transaction, &bucket, (&name, &key), payer, info.size)?;
            bucket_keys::require(transaction, &name, &manifest.parts)?;
            let stream = equal.as_ref().zip(manifest.parts.first());
            if let Some((equal, part)) = stream {
                equal::check(transaction, &bucket.account, part, equal)?;
            }
            stripes::require(transaction, manifest.stripes())?;
            stripes::hold(transaction, manifest.stripes())?;
            occupancy::claim(transaction, &bucket.account, &manifest.parts)?;
            if let Some((equal, part)) = stream {
                equal::enter(transaction, &bucket.account, part, equal)?;
            }
            let cause = (origin.written(), &origin);
            enter(transaction, &bucket, (&name, &key), info, manifest, cause, now_ms)
        })
        .await
    }

    /// Copies an object within the gateway: both share the stripes. Returns the new row, and the version's id where versions
    /// are made.
    pub async fn copy_object(
        &self,
        from: Source,
        to: NewCopy,
        now_ms: u64,
    ) -> Result<(Option<VersionId>, ObjectInfo), MetaError> {
        self.write(move |transaction| {
            let bucket = buckets::require(transaction, &to.bucket)?;
            let names = (to.bucket.as_str(), to.key.as_str());
            let (_, source) = Writing::open(transaction)?.object(&from.bucket, &from.key, from.version)?;
            if source.manifest != from.expected {
                return Err(MetaError::PreconditionFailed);
            }
            check(transaction, &bucket, names, &to.properties, &to.condition)?;
            let payer = (to.properties.payer.as_str(), &to.allowance);
            check_room(transaction, &bucket, names, payer, source.size)?;
            let mut manifest = manifest_of(transaction, source.manifest)?;
            if !manifest.replace_keys(to.keys) {
                return Err(MetaError::PreconditionFailed);
            }
            bucket_keys::require(transaction, &to.bucket, &manifest.parts)?;
            let mut properties = to.properties;
            if !to.replace_headers {
                let redirect = properties.headers.redirect;
                properties.headers = ObjectHeaders { redirect, ..source.properties.headers };
            }
            if !to.replace_tags {
                properties.tags = source.properties.tags;
            }
            let info = ObjectInfo {
                manifest: to.manifest,
                modified_ms: now_ms,
                upload: None,
                properties,
                size: source.size,
                etag: source.etag,
                parts: source.parts,
                checksums: source.checksums,
                checksum_kind: source.checksum_kind,
            };
            stripes::hold(transaction, manifest.stripes())?;
            occupancy::claim(transaction, &bucket.account, &manifest.parts)?;
            let cause = (EventName::CreatedCopy, &to.origin);
            let version = enter(transaction, &bucket, names, info.clone(), manifest, cause, now_ms)?;
            Ok((version, info))
        })
        .await
    }

    /// An object: the newest version of a key, or the one that is named.
    pub async fn object(
        &self,
        bucket: String,
        key: String,
        version: Option<VersionId>,
    ) -> Result<Found, MetaError> {
        self.look(move |transaction| find(transaction, &bucket, &key, version)).await
    }

    /// An object and its manifest, of one moment.
    pub async fn object_with_manifest(
        &self,
        bucket: String,
        key: String,
        version: Option<VersionId>,
    ) -> Result<(Found, Manifest), MetaError> {
        self.look(move |transaction| {
            let found = find(transaction, &bucket, &key, version)?;
            let row = transaction.open_table(MANIFESTS)?.get(found.info.manifest)?;
            let manifest = decode_manifest(row.ok_or(MetaError::Row("manifests"))?.value())?;
            Ok((found, manifest))
        })
        .await
    }

    /// A manifest, if it is still there.
    pub async fn manifest(&self, id: ManifestId) -> Result<Option<Manifest>, MetaError> {
        self.look(move |transaction| {
            let row = transaction.open_table(MANIFESTS)?.get(id)?;
            row.map(|row| decode_manifest(row.value())).transpose()
        })
        .await
    }

    /// A page of a bucket's objects in order of key.
    pub async fn list_objects(&self, bucket: String, query: Query) -> Result<ObjectPage, MetaError> {
        self.read(move |transaction| {
            buckets::exists(transaction, &bucket)?;
            let objects = transaction.open_table(OBJECTS)?;
            listing::list(&query, |from| {
                let Some(row) = objects.range((bucket.as_str(), from)..)?.next() else { return Ok(None) };
                let (key, row) = row?;
                let (found_in, key) = key.value();
                if found_in != bucket {
                    return Ok(None);
                }
                let version = Version::from_row(row.value()).map_err(|_| MetaError::Row("objects"))?;
                match version.entry {
                    Entry::Object(info) => Ok(Some((key.to_owned(), info))),
                    Entry::Marker(_) => Err(MetaError::Row("objects")),
                }
            })
        })
        .await
    }
}
