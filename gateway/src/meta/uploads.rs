//! Uploads in parts.

use std::{fmt, ops::Bound};

use codec::{Decode, DecodeAll, Encode};

use super::{
    Allowance, BUCKETS, Equal, Meta, MetaError, PARTS, ReadTransaction, ReadableTable, UPLOADS, Usage,
    WriteTransaction, bucket_keys, buckets, equal, occupancy, stripes, usage,
};
use crate::{
    account::account_of,
    checksum::{Algorithm, ChecksumKind, Checksums},
    listing::{self, PairPage, Pairs, Start},
    manifest::PartManifest,
    object::Properties,
};

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

impl fmt::Display for UploadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}?uploadId={}", self.bucket, self.key, self.id)
    }
}

/// An upload in progress.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct UploadInfo {
    /// When it was begun, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// What is said of the object it will be.
    pub properties: Properties,
    /// The checksum the object will have, if the client chose one.
    pub checksum: Option<(Algorithm, ChecksumKind)>,
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
    /// Its checksums: those the client gave, and the one that the object will have.
    pub checksums: Checksums,
}

/// Behind which upload a page begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadMarker {
    /// Its key, or a folded prefix.
    pub key: String,
    /// Which one of the key; `None` for all of them.
    pub id: Option<String>,
}

/// An upload; none where its row does not decode.
pub type WalkedUpload = (UploadKey, Option<UploadInfo>);

/// A page of uploads in order of key, then id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<(UploadKey, UploadInfo)>,
    /// The folded prefixes.
    pub prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<UploadMarker>,
}

pub(super) fn decode_upload(row: &[u8]) -> Result<UploadInfo, MetaError> {
    UploadInfo::decode_all(&mut &*row).map_err(|_| MetaError::Row("uploads"))
}

pub(super) fn decode_part(row: &[u8]) -> Result<PartInfo, MetaError> {
    PartInfo::decode_all(&mut &*row).map_err(|_| MetaError::Row("parts"))
}

pub(super) fn require(transaction: &WriteTransaction, upload: &UploadKey) -> Result<UploadInfo, MetaError> {
    let uploads = transaction.open_table(UPLOADS)?;
    match uploads.get((upload.bucket.as_str(), upload.key.as_str(), upload.id.as_str()))? {
        Some(row) => decode_upload(row.value()),
        None => Err(MetaError::NoSuchUpload),
    }
}

/// Takes an upload out with all its parts.
pub(super) fn remove(
    transaction: &WriteTransaction,
    upload: &UploadKey,
) -> Result<Vec<(u32, PartInfo)>, MetaError> {
    let payer = require(transaction, upload)?.properties.payer;
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
    usage::count(transaction, &payer, Usage::default(), Usage::object(bytes_of(&removed)))?;
    Ok(removed)
}

fn bytes_of(parts: &[(u32, PartInfo)]) -> u64 {
    parts.iter().map(|(_, part)| part.manifest.plain_len).fold(0, u64::saturating_add)
}

pub(super) fn require_read(
    transaction: &ReadTransaction,
    upload: &UploadKey,
) -> Result<UploadInfo, MetaError> {
    let uploads = transaction.open_table(UPLOADS)?;
    match uploads.get((upload.bucket.as_str(), upload.key.as_str(), upload.id.as_str()))? {
        Some(row) => decode_upload(row.value()),
        None => Err(MetaError::NoSuchUpload),
    }
}

impl Meta {
    /// Begins an upload; it counts as an object from now on.
    pub async fn create_upload(
        &self,
        upload: UploadKey,
        mut info: UploadInfo,
        allowance: Allowance,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let bucket = buckets::require(transaction, &upload.bucket)?;
            let properties = &info.properties;
            if bucket.lock.is_none() && (properties.retention.is_some() || properties.legal_hold.is_some()) {
                return Err(MetaError::NoObjectLock);
            }
            let payer = usage::payer_of(&bucket.account, &properties.payer).to_owned();
            let (more, less) = (Usage::object(0), Usage::default());
            usage::check_upload(transaction, (&payer, &allowance), more, less)?;
            usage::count(transaction, &payer, more, less)?;
            info.properties.payer = payer;
            let key = (upload.bucket.as_str(), upload.key.as_str(), upload.id.as_str());
            transaction.open_table(UPLOADS)?.insert(key, info.encode().as_slice())?;
            Ok(())
        })
        .await
    }

    /// An upload in progress.
    pub async fn upload(&self, upload: UploadKey) -> Result<UploadInfo, MetaError> {
        self.look(move |transaction| require_read(transaction, &upload)).await
    }

    /// Enters a part whose stripes have reached their quorum; a part of the same number is released.
    pub async fn put_part(
        &self,
        upload: UploadKey,
        number: u32,
        part: PartInfo,
        allowance: Allowance,
        now_ms: u64,
    ) -> Result<(), MetaError> {
        self.put_equal_part((upload, number), part, None, allowance, now_ms).await
    }

    /// The same of a part that is, or becomes, the one stream of its account with these bytes.
    pub async fn put_equal_part(
        &self,
        (upload, number): (UploadKey, u32),
        part: PartInfo,
        equal: Option<Equal>,
        allowance: Allowance,
        now_ms: u64,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            buckets::require(transaction, &upload.bucket)?;
            let payer = require(transaction, &upload)?.properties.payer;
            bucket_keys::require(transaction, &upload.bucket, [&part.manifest])?;
            let key = (upload.id.as_str(), number);
            let mut parts = transaction.open_table(PARTS)?;
            let before = parts.get(key)?.map(|row| decode_part(row.value())).transpose()?;
            let more = Usage::part(part.manifest.plain_len);
            let less = Usage::part(before.as_ref().map_or(0, |before| before.manifest.plain_len));
            usage::check_upload(transaction, (&payer, &allowance), more, less)?;
            if let Some(equal) = &equal {
                equal::check(transaction, account_of(&payer), &part.manifest, equal)?;
            }
            stripes::require(transaction, &part.manifest.stripes)?;
            stripes::hold(transaction, &part.manifest.stripes)?;
            occupancy::claim(transaction, account_of(&payer), [&part.manifest])?;
            if let Some(equal) = &equal {
                equal::enter(transaction, account_of(&payer), &part.manifest, equal)?;
            }
            usage::count(transaction, &payer, more, less)?;
            if let Some(before) = before {
                occupancy::unclaim(transaction, account_of(&payer), [&before.manifest])?;
                stripes::release(transaction, &before.manifest.stripes, now_ms)?;
            }
            parts.insert(key, part.encode().as_slice())?;
            Ok(())
        })
        .await
    }

    /// All parts of an upload in order of number: at most 10,000.
    pub async fn parts(&self, upload: UploadKey) -> Result<Vec<(u32, PartInfo)>, MetaError> {
        self.parts_page(upload, 0, usize::MAX).await.map(|(parts, _)| parts)
    }

    /// The parts of an upload with numbers above `after`, at most `max`, and whether there are more.
    pub async fn parts_page(
        &self,
        upload: UploadKey,
        after: u32,
        max: usize,
    ) -> Result<(Vec<(u32, PartInfo)>, bool), MetaError> {
        self.read(move |transaction| {
            require_read(transaction, &upload)?;
            let (id, first) = (upload.id.as_str(), after.saturating_add(1));
            let mut found = Vec::new();
            for row in transaction.open_table(PARTS)?.range((id, first)..=(id, u32::MAX))? {
                if found.len() == max {
                    return Ok((found, true));
                }
                let (key, part) = row?;
                found.push((key.value().1, decode_part(part.value())?));
            }
            Ok((found, false))
        })
        .await
    }

    /// Gives up an upload.
    pub async fn abort_upload(&self, upload: UploadKey, now_ms: u64) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let payer = require(transaction, &upload)?.properties.payer;
            let parts = remove(transaction, &upload)?;
            for (_, part) in &parts {
                occupancy::unclaim(transaction, account_of(&payer), [&part.manifest])?;
                stripes::release(transaction, &part.manifest.stripes, now_ms)?;
            }
            Ok(())
        })
        .await
    }

    /// Looks at the next `rows` uploads behind `after` for one that was begun before `before_ms`, or whose bucket is gone.
    /// Returns it, and where to go on; `None` for the latter at the end. One that does not decode is passed over.
    pub async fn next_expired(
        &self,
        after: Option<UploadKey>,
        rows: usize,
        before_ms: u64,
    ) -> Result<(Option<UploadKey>, Option<UploadKey>), MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let uploads = transaction.open_table(UPLOADS)?;
            let buckets = transaction.open_table(BUCKETS)?;
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
                let info = unreadable.readable(decode_upload(row.value()), &upload)?;
                let is_old = info.as_ref().is_some_and(|info| info.created_ms < before_ms);
                if is_old || (info.is_some() && buckets.get(upload.bucket.as_str())?.is_none()) {
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
            let payer = match require(transaction, &upload) {
                Ok(info) => info.properties.payer,
                Err(MetaError::NoSuchUpload) => return Ok(true),
                Err(error) => return Err(error),
            };
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
                occupancy::unclaim(transaction, account_of(&payer), [&part.manifest])?;
                stripes::release(transaction, &part.manifest.stripes, now_ms)?;
            }
            let gone = Usage { bytes: bytes_of(&given_up), objects: u64::from(all) };
            usage::count(transaction, &payer, Usage::default(), gone)?;
            if all {
                let key = (upload.bucket.as_str(), upload.key.as_str(), upload.id.as_str());
                transaction.open_table(UPLOADS)?.remove(key)?;
            }
            Ok(all)
        })
        .await
    }

    /// A page of a bucket's uploads in order of key, then id; `max` uploads and folded prefixes at the most.
    pub async fn uploads_page(
        &self,
        bucket: String,
        prefix: String,
        delimiter: String,
        after: Option<UploadMarker>,
        max: usize,
    ) -> Result<UploadPage, MetaError> {
        self.read(move |transaction| {
            let after = after.map(|marker| (marker.key, marker.id));
            let page = pairs(transaction, &bucket, Pairs { prefix, delimiter, after, max }, decode_upload)?;
            let named = |(key, id, info)| (UploadKey { bucket: bucket.clone(), key, id }, info);
            Ok(UploadPage {
                uploads: page.lines.into_iter().map(named).collect(),
                prefixes: page.prefixes,
                next: page.next.map(|(key, id)| UploadMarker { key, id }),
            })
        })
        .await
    }

    /// The next `max` uploads of a bucket in that order, for work that goes on behind a row that does not decode: none for such
    /// a one. Where to go on, if there is more.
    pub async fn walk_uploads(
        &self,
        bucket: String,
        after: Option<UploadKey>,
        max: usize,
    ) -> Result<(Vec<WalkedUpload>, Option<UploadKey>), MetaError> {
        let unreadable = self.unreadable.clone();
        self.read(move |transaction| {
            let after = after.map(|upload| (upload.key, Some(upload.id)));
            let query = Pairs { prefix: String::new(), delimiter: String::new(), after, max };
            let page = pairs(transaction, &bucket, query, |row| Ok(decode_upload(row)))?;
            let mut lines = Vec::with_capacity(page.lines.len());
            for (key, id, info) in page.lines {
                let upload = UploadKey { bucket: bucket.clone(), key, id };
                let info = unreadable.readable(info, &upload)?;
                lines.push((upload, info));
            }
            let next = page.next.and(lines.last().map(|(upload, _)| upload.clone()));
            Ok((lines, next))
        })
        .await
    }
}

/// Lists uploads of a bucket with what `read` makes of their rows.
fn pairs<T>(
    transaction: &ReadTransaction,
    bucket: &str,
    query: Pairs<String>,
    read: impl Fn(&[u8]) -> Result<T, MetaError>,
) -> Result<PairPage<String, T>, MetaError> {
    buckets::exists(transaction, bucket)?;
    let uploads = transaction.open_table(UPLOADS)?;
    listing::list_pairs(&query, |start| {
        let from = match start {
            Start::Key(key) => Bound::Included((bucket, key.as_str(), "")),
            Start::Behind(key, id) => Bound::Excluded((bucket, key.as_str(), id.as_str())),
        };
        let mut rows = uploads.range::<(&str, &str, &str)>((from, Bound::Unbounded))?;
        let Some((at, row)) = rows.next().transpose()? else { return Ok(None) };
        let (found_in, key, id) = at.value();
        if found_in != bucket {
            return Ok(None);
        }
        Ok(Some((key.to_owned(), id.to_owned(), read(row.value())?)))
    })
}
