//! Buckets. Names are global in a gateway; a bucket belongs to the account that made it.

use codec::{Decode, DecodeAll, Encode};

use super::{
    BUCKETS, Meta, MetaError, OBJECTS, ReadTransaction, ReadableTable, Subresource, UPLOADS, VERSIONS,
    WriteTransaction, bucket_keys, subresources,
};
use crate::object::{LockConfig, VersionId, Versioning};

/// A bucket.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BucketInfo {
    /// The account it belongs to.
    pub account: String,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Whether it keeps earlier versions.
    pub versioning: Versioning,
    /// Object lock, if it was made with it or got it later.
    pub lock: Option<LockConfig>,
}

impl BucketInfo {
    /// Without versions or lock.
    pub fn new(account: String, created_ms: u64) -> Self {
        Self { account, created_ms, versioning: Versioning::Unversioned, lock: None }
    }

    /// The id of a version as clients are told it: not at all where no versions were ever kept.
    pub fn shown(&self, id: VersionId) -> Option<VersionId> {
        (self.versioning != Versioning::Unversioned).then_some(id)
    }
}

pub(super) fn decode(row: &[u8]) -> Result<BucketInfo, MetaError> {
    BucketInfo::decode_all(&mut &*row).map_err(|_| MetaError::Row("buckets"))
}

/// The owner in a bucket's row.
pub(super) fn owner(row: &[u8]) -> Result<String, MetaError> {
    decode(row).map(|info| info.account)
}

/// Refuses a bucket that does not exist.
pub(super) fn exists(transaction: &ReadTransaction, bucket: &str) -> Result<(), MetaError> {
    match transaction.open_table(BUCKETS)?.get(bucket)? {
        Some(_) => Ok(()),
        None => Err(MetaError::NoSuchBucket),
    }
}

/// The bucket, for reading.
pub(super) fn read(transaction: &ReadTransaction, bucket: &str) -> Result<BucketInfo, MetaError> {
    match transaction.open_table(BUCKETS)?.get(bucket)? {
        Some(row) => decode(row.value()),
        None => Err(MetaError::NoSuchBucket),
    }
}

/// The bucket, if it still exists.
pub(super) fn require(transaction: &WriteTransaction, bucket: &str) -> Result<BucketInfo, MetaError> {
    match transaction.open_table(BUCKETS)?.get(bucket)? {
        Some(row) => decode(row.value()),
        None => Err(MetaError::NoSuchBucket),
    }
}

/// Changes a bucket.
fn change(
    transaction: &WriteTransaction,
    name: &str,
    change: impl FnOnce(&mut BucketInfo) -> Result<(), MetaError>,
) -> Result<(), MetaError> {
    let mut info = require(transaction, name)?;
    change(&mut info)?;
    transaction.open_table(BUCKETS)?.insert(name, info.encode().as_slice())?;
    Ok(())
}

/// Whether a bucket has neither objects nor versions.
fn is_empty(transaction: &WriteTransaction, bucket: &str) -> Result<bool, MetaError> {
    let objects = transaction.open_table(OBJECTS)?;
    let has_object = match objects.range((bucket, "")..)?.next().transpose()? {
        Some((key, _)) => key.value().0 == bucket,
        None => false,
    };
    let versions = transaction.open_table(VERSIONS)?;
    let has_version = match versions.range((bucket, "", 0)..)?.next().transpose()? {
        Some((key, _)) => key.value().0 == bucket,
        None => false,
    };
    Ok(!has_object && !has_version)
}

/// Whether there are uploads in parts of a bucket of this name.
fn has_uploads(transaction: &WriteTransaction, name: &str) -> Result<bool, MetaError> {
    let uploads = transaction.open_table(UPLOADS)?;
    let first = uploads.range((name, "", "")..)?.next().transpose()?;
    Ok(first.is_some_and(|(key, _)| key.value().0 == name))
}

impl Meta {
    /// Makes a bucket. A name cannot be used while uploads of a bucket that had it are being given up.
    pub async fn create_bucket(&self, name: String, info: BucketInfo) -> Result<(), MetaError> {
        self.create_bucket_with(name, info, Vec::new()).await
    }

    /// Makes a bucket that has these rows from the beginning.
    pub async fn create_bucket_with(
        &self,
        name: String,
        info: BucketInfo,
        rows: Vec<(Subresource, Vec<u8>)>,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut buckets = transaction.open_table(BUCKETS)?;
            let taken = buckets.get(name.as_str())?.map(|row| decode(row.value())).transpose()?;
            match taken {
                Some(other) if other.account != info.account => Err(MetaError::BucketTaken),
                Some(_) => Err(MetaError::BucketOwned),
                None if has_uploads(transaction, &name)? => Err(MetaError::BucketGoing),
                None => {
                    buckets.insert(name.as_str(), info.encode().as_slice())?;
                    rows.into_iter()
                        .try_for_each(|(kind, row)| subresources::put(transaction, &name, kind, Some(row)))
                }
            }
        })
        .await
    }

    /// Removes a bucket without objects or versions. Its uploads in parts cannot be used any more; they are given up in the
    /// background ([`Meta::next_expired`]).
    pub async fn delete_bucket(&self, name: String) -> Result<(), MetaError> {
        self.write(move |transaction| {
            require(transaction, &name)?;
            if !is_empty(transaction, &name)? {
                return Err(MetaError::BucketNotEmpty);
            }
            transaction.open_table(BUCKETS)?.remove(name.as_str())?;
            bucket_keys::remove_all(transaction, &name)?;
            subresources::remove_all(transaction, &name)
        })
        .await
    }

    /// Lets a bucket keep versions, or stop making them.
    pub async fn set_versioning(&self, name: String, versioning: Versioning) -> Result<(), MetaError> {
        self.write(move |transaction| {
            change(transaction, &name, |info| {
                if info.lock.is_some() && versioning != Versioning::Enabled {
                    return Err(MetaError::LockNeedsVersions);
                }
                info.versioning = versioning;
                Ok(())
            })
        })
        .await
    }

    /// Sets the object lock of a bucket that keeps versions; it is never taken away again.
    pub async fn set_lock(&self, name: String, lock: LockConfig) -> Result<(), MetaError> {
        self.write(move |transaction| {
            change(transaction, &name, |info| {
                if info.versioning != Versioning::Enabled {
                    return Err(MetaError::LockNeedsVersions);
                }
                info.lock = Some(lock);
                Ok(())
            })
        })
        .await
    }

    /// A bucket.
    pub async fn bucket(&self, name: String) -> Result<Option<BucketInfo>, MetaError> {
        self.look(move |transaction: &ReadTransaction| {
            let row = transaction.open_table(BUCKETS)?.get(name.as_str())?;
            row.map(|row| decode(row.value())).transpose()
        })
        .await
    }

    /// All buckets of an account, in order of name.
    pub async fn buckets(&self, account: String) -> Result<Vec<(String, BucketInfo)>, MetaError> {
        self.read(move |transaction| {
            let mut found = Vec::new();
            for row in transaction.open_table(BUCKETS)?.iter()? {
                let (name, row) = row?;
                let info = decode(row.value())?;
                if info.account == account {
                    found.push((name.value().to_owned(), info));
                }
            }
            Ok(found)
        })
        .await
    }
}
