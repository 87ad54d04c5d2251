//! Uploads in parts.

use std::ops::Bound;

use codec::{Decode, DecodeAll, Encode};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::{Meta, MetaError, PARTS, UPLOADS, buckets, objects, objects::Condition, stripes};
use crate::manifest::{Checksums, Manifest, ManifestId, ObjectHeaders, ObjectInfo, PartManifest};

/// What names an upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadKey {
    /// Bucket of the object.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// Id that the gateway gave.
    pub id: String,
}

/// An upload in progress.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct UploadInfo {
    /// When it was begun, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Headers the object will have.
    pub headers: ObjectHeaders,
}

/// An uploaded part.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PartInfo {
    /// MD5 of its bytes.
    pub md5: [u8; 16],
    /// When it was stored, milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Where its bytes are.
    pub manifest: PartManifest,
    /// Checksums the client gave.
    pub checksums: Checksums,
}

/// An upload that is to become an object.
#[derive(Debug)]
pub struct Completion {
    /// The upload.
    pub upload: UploadKey,
    /// Parts with the MD5 the client knows them by, in order.
    pub parts: Vec<(u32, [u8; 16])>,
    /// ETag of the object.
    pub etag: String,
    /// Row of its manifest.
    pub manifest: ManifestId,
    /// Least bytes of every part but the last.
    pub part_bytes_min: u64,
    /// What must hold of its predecessor.
    pub condition: Condition,
}

fn decode_upload(row: &[u8]) -> Result<UploadInfo, MetaError> {
    UploadInfo::decode_all(&mut &*row).map_err(|_| MetaError::Row("uploads"))
}

fn decode_part(row: &[u8]) -> Result<PartInfo, MetaError> {
    PartInfo::decode_all(&mut &*row).map_err(|_| MetaError::Row("parts"))
}

fn require(transaction: &WriteTransaction, upload: &UploadKey) -> Result<UploadInfo, MetaError> {
    let uploads = transaction.open_table(UPLOADS)?;
    match uploads.get((upload.bucket.as_str(), upload.key.as_str(), upload.id.as_str()))? {
        Some(row) => decode_upload(row.value()),
        None => Err(MetaError::NoSuchUpload),
    }
}

fn remove(transaction: &WriteTransaction, upload: &UploadKey) -> Result<Vec<(u32, PartInfo)>, MetaError> {
    transaction.open_table(UPLOADS)?.remove((
        upload.bucket.as_str(),
        upload.key.as_str(),
        upload.id.as_str(),
    ))?;
    let mut parts = transaction.open_table(PARTS)?;
    let mut removed = Vec::new();
    for row in parts.range((upload.id.as_str(), 0)..=(upload.id.as_str(), u32::MAX))? {
        let (key, part) = row?;
        removed.push((key.value().1, decode_part(part.value())?));
    }
    for (number, _) in &removed {
        parts.remove((upload.id.as_str(), *number))?;
    }
    Ok(removed)
}

fn parts_of(transaction: &ReadTransaction, id: &str) -> Result<Vec<(u32, PartInfo)>, MetaError> {
    let mut found = Vec::new();
    for row in transaction.open_table(PARTS)?.range((id, 0)..=(id, u32::MAX))? {
        let (key, part) = row?;
        found.push((key.value().1, decode_part(part.value())?));
    }
    Ok(found)
}

impl Meta {
    /// Begins an upload.
    pub async fn create_upload(&self, upload: UploadKey, info: UploadInfo) -> Result<(), MetaError> {
        self.write(move |transaction| {
            buckets::require(transaction, &upload.bucket)?;
            let key = (upload.bucket.as_str(), upload.key.as_str(), upload.id.as_str());
            transaction.open_table(UPLOADS)?.insert(key, info.encode().as_slice())?;
            Ok(())
        })
        .await
    }

    /// Whether the upload exists.
    pub async fn upload(&self, upload: UploadKey) -> Result<UploadInfo, MetaError> {
        self.read(move |transaction| {
            let uploads = transaction.open_table(UPLOADS)?;
            match uploads.get((upload.bucket.as_str(), upload.key.as_str(), upload.id.as_str()))? {
                Some(row) => decode_upload(row.value()),
                None => Err(MetaError::NoSuchUpload),
            }
        })
        .await
    }

    /// Enters a part whose stripes have reached their quorum; a part of the same number is released.
    pub async fn put_part(
        &self,
        upload: UploadKey,
        number: u32,
        part: PartInfo,
        now_ms: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            require(transaction, &upload)?;
            stripes::hold(transaction, &part.manifest.stripes)?;
            let key = (upload.id.as_str(), number);
            let mut parts = transaction.open_table(PARTS)?;
            let before = parts.get(key)?.map(|row| decode_part(row.value())).transpose()?;
            if let Some(before) = before {
                stripes::release(transaction, &before.manifest.stripes, now_ms)?;
            }
            parts.insert(key, part.encode().as_slice())?;
            Ok(())
        })
        .await
    }

    /// The parts of an upload in order of number.
    pub async fn parts(&self, upload: UploadKey) -> Result<Vec<(u32, PartInfo)>, MetaError> {
        self.upload(upload.clone()).await?;
        self.read(move |transaction| parts_of(transaction, &upload.id)).await
    }

    /// Turns an upload into an object: the parts' manifests one behind the other; no data is moved.
    pub async fn complete_upload(
        &self,
        completion: Completion,
        now_ms: u64,
    ) -> Result<ObjectInfo, MetaError> {
        self.write(move |transaction| complete(transaction, completion, now_ms)).await
    }

    /// Gives up an upload.
    pub async fn abort_upload(&self, upload: UploadKey, now_ms: u64) -> Result<(), MetaError> {
        self.write(move |transaction| {
            require(transaction, &upload)?;
            let parts = remove(transaction, &upload)?;
            for (_, part) in &parts {
                stripes::release(transaction, &part.manifest.stripes, now_ms)?;
            }
            Ok(())
        })
        .await
    }

    /// Looks at the next `rows` uploads behind `after` for one that was begun before `before_ms`. Returns it, and where to
    /// go on; `None` for the latter at the end.
    pub async fn next_expired(
        &self,
        after: Option<UploadKey>,
        rows: usize,
        before_ms: u64,
    ) -> Result<(Option<UploadKey>, Option<UploadKey>), MetaError> {
        self.read(move |transaction| {
            let uploads = transaction.open_table(UPLOADS)?;
            let start = after.as_ref().map(|at| (at.bucket.as_str(), at.key.as_str(), at.id.as_str()));
            let start = start.map_or(Bound::Unbounded, Bound::Excluded);
            let mut seen = after.clone();
            for (count, row) in uploads.range::<(&str, &str, &str)>((start, Bound::Unbounded))?.enumerate() {
                if count == rows {
                    return Ok((None, seen));
                }
                let (key, row) = row?;
                let (bucket, key, id) = key.value();
                let upload = UploadKey { bucket: bucket.into(), key: key.into(), id: id.into() };
                if decode_upload(row.value())?.created_ms < before_ms {
                    return Ok((Some(upload), seen));
                }
                seen = Some(upload);
            }
            Ok((None, None))
        })
        .await
    }

    /// Releases parts of an upload until `stripes` stripes were released, and with the last part the upload itself.
    /// Whether nothing is left of it.
    pub async fn give_up_upload(
        &self,
        upload: UploadKey,
        stripes: usize,
        now_ms: u64,
    ) -> Result<bool, MetaError> {
        self.write(move |transaction| {
            let mut parts = transaction.open_table(PARTS)?;
            let mut given_up = Vec::new();
            let (mut count, mut all) = (0, true);
            for row in parts.range((upload.id.as_str(), 0)..=(upload.id.as_str(), u32::MAX))? {
                if count >= stripes {
                    all = false;
                    break;
                }
                let (key, part) = row?;
                let part = decode_part(part.value())?;
                count += part.manifest.stripes.len();
                given_up.push((key.value().1, part));
            }
            for (number, part) in &given_up {
                parts.remove((upload.id.as_str(), *number))?;
                stripes::release(transaction, &part.manifest.stripes, now_ms)?;
            }
            if all {
                let key = (upload.bucket.as_str(), upload.key.as_str(), upload.id.as_str());
                transaction.open_table(UPLOADS)?.remove(key)?;
            }
            Ok(all)
        })
        .await
    }

    /// The uploads of a bucket in order of key, then id.
    pub async fn uploads(&self, bucket: String) -> Result<Vec<(UploadKey, UploadInfo)>, MetaError> {
        self.read(move |transaction| {
            let mut found = Vec::new();
            for row in transaction.open_table(UPLOADS)?.range((bucket.as_str(), "", "")..)? {
                let (key, row) = row?;
                let (found_in, key, id) = key.value();
                if found_in != bucket {
                    break;
                }
                let upload = UploadKey { bucket: bucket.clone(), key: key.into(), id: id.into() };
                found.push((upload, decode_upload(row.value())?));
            }
            Ok(found)
        })
        .await
    }
}

fn complete(
    transaction: &WriteTransaction,
    completion: Completion,
    now_ms: u64,
) -> Result<ObjectInfo, MetaError> {
    let Completion { upload, parts: wanted, etag, manifest: id, part_bytes_min, condition } = completion;
    buckets::require(transaction, &upload.bucket)?;
    let info = require(transaction, &upload)?;
    if wanted.is_empty() || !wanted.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(MetaError::InvalidPartOrder);
    }
    objects::check(transaction, &upload.bucket, &upload.key, &condition)?;
    let mut manifest = Manifest::default();
    {
        let parts = transaction.open_table(PARTS)?;
        for (position, (number, md5)) in wanted.iter().enumerate() {
            let row = parts.get((upload.id.as_str(), *number))?.map(|row| decode_part(row.value()));
            let part = row.transpose()?.filter(|part| part.md5 == *md5);
            let part = part.ok_or(MetaError::InvalidPart(*number))?;
            if position + 1 < wanted.len() && part.manifest.plain_len < part_bytes_min {
                return Err(MetaError::PartTooSmall(*number));
            }
            manifest.parts.push(part.manifest);
        }
    }
    // From here on everything changes; nothing above has.
    for (number, part) in remove(transaction, &upload)? {
        if wanted.binary_search_by_key(&number, |(wanted, _)| *wanted).is_err() {
            stripes::release(transaction, &part.manifest.stripes, now_ms)?;
        }
    }
    let object = ObjectInfo {
        manifest: id,
        size: manifest.plain_len(),
        etag,
        modified_ms: now_ms,
        parts: u32::try_from(wanted.len()).unwrap_or(u32::MAX),
        headers: info.headers,
        checksums: Checksums::default(),
    };
    objects::replace(transaction, &upload.bucket, &upload.key, object.clone(), manifest, now_ms)?;
    Ok(object)
}
