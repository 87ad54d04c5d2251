//! An upload in parts becomes an object.

use super::{
    Condition, Meta, MetaError, PARTS, ReadableTable, UploadKey, WriteTransaction, buckets, objects,
    occupancy, stripes, uploads,
};
use crate::{
    checksum::{ChecksumKind, Checksums},
    manifest::{Manifest, ManifestId, PartLabel},
    notify::{EventName, Origin},
    object::{ObjectInfo, VersionId},
};

/// An upload that is to become an object.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The upload.
    pub upload: UploadKey,
    /// Parts with the MD5 the client knows them by, in order.
    pub parts: Vec<(u32, [u8; 16])>,
    /// ETag of the object.
    pub etag: String,
    /// Checksum of the object.
    pub checksums: Checksums,
    /// What the checksum is made over.
    pub checksum_kind: ChecksumKind,
    /// Row of its manifest.
    pub manifest: ManifestId,
    /// Least bytes of every part but the last.
    pub part_bytes_min: u64,
    /// What must hold of its predecessor.
    pub condition: Condition,
    /// Who completes it.
    pub origin: Origin,
}

/// What an upload became.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completed {
    /// The version's id, where versions are made.
    pub version: Option<VersionId>,
    /// The object.
    pub info: ObjectInfo,
}

impl Meta {
    /// Turns an upload into an object: the parts' manifests one behind the other; no data is moved.
    pub async fn complete_upload(&self, completion: Completion, now_ms: u64) -> Result<Completed, MetaError> {
        self.write(move |transaction| complete(transaction, completion, now_ms)).await
    }

    /// What an upload became that is complete already, if that is still the newest version of its key: a client that did not
    /// hear the answer asks again.
    pub async fn completed_upload(&self, upload: UploadKey) -> Result<Option<Completed>, MetaError> {
        match self.object(upload.bucket, upload.key, None).await {
            Ok(found) if found.info.upload.as_ref() == Some(&upload.id) => {
                Ok(Some(Completed { version: objects::told(found.version), info: found.info }))
            }
            Ok(_) | Err(MetaError::NoSuchKey | MetaError::Deleted(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn complete(
    transaction: &WriteTransaction,
    completion: Completion,
    now_ms: u64,
) -> Result<Completed, MetaError> {
    let Completion { upload, parts: wanted, part_bytes_min, condition, origin, .. } = completion;
    let bucket = buckets::require(transaction, &upload.bucket)?;
    let info = uploads::require(transaction, &upload)?;
    if wanted.is_empty() || !wanted.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(MetaError::InvalidPartOrder);
    }
    let names = (upload.bucket.as_str(), upload.key.as_str());
    objects::check(transaction, &bucket, names, &info.properties, &condition)?;
    let mut manifest = Manifest::default();
    {
        let parts = transaction.open_table(PARTS)?;
        for (position, (number, md5)) in wanted.iter().enumerate() {
            let row = parts.get((upload.id.as_str(), *number))?;
            let row = row.map(|row| uploads::decode_part(row.value())).transpose()?;
            let part = row.filter(|part| part.md5 == *md5).ok_or(MetaError::InvalidPart(*number))?;
            if position + 1 < wanted.len() && part.manifest.plain_len < part_bytes_min {
                return Err(MetaError::PartTooSmall(*number));
            }
            manifest.parts.push(part.manifest);
            manifest.labels.push(PartLabel { number: *number, checksums: part.checksums });
        }
    }
    // From here on everything changes; nothing above has.
    for (number, part) in uploads::remove(transaction, &upload)? {
        if wanted.binary_search_by_key(&number, |(wanted, _)| *wanted).is_err() {
            occupancy::unclaim(transaction, &bucket.account, [&part.manifest])?;
            stripes::release(transaction, &part.manifest.stripes, now_ms)?;
        }
    }
    let object = ObjectInfo {
        manifest: completion.manifest,
        size: manifest.plain_len(),
        etag: completion.etag,
        modified_ms: now_ms,
        parts: u32::try_from(wanted.len()).unwrap_or(u32::MAX),
        upload: Some(upload.id.clone()),
        checksums: completion.checksums,
        checksum_kind: completion.checksum_kind,
        properties: info.properties,
    };
    let cause = (EventName::CreatedComplete, &origin);
    let version = objects::enter(transaction, &bucket, names, object.clone(), manifest, cause, now_ms)?;
    Ok(Completed { version, info: object })
}
