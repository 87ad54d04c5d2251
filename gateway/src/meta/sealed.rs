//! What is wrapped in a bucket, page by page: the keys of parts of uploads, then those of objects and their versions.
//!
//! # Invariants
//! - Whoever goes through all pages sees every key that was there at the beginning and still is. Parts become objects, so parts
//!   come first; of a key, a version may become the current object and the other way round, so a page that begins inside a key
//!   begins with the key's current object again.

use arion_crypto::WrappedKey;
use codec::Encode;

use super::{
    MANIFESTS, Meta, MetaError, PARTS, ReadTransaction, ReadableTable, UPLOADS, objects, uploads,
    versions::Reading,
};
use crate::{
    listing::Start,
    manifest::{Manifest, ManifestId},
    object::Version,
};

/// Wrapped keys in a page, and at most one row more.
const KEYS_MAX: usize = 2_048;

/// Where wrapped keys are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SealedRow {
    /// In a part of an upload.
    Part {
        /// Id of the upload.
        upload: String,
        /// Number of the part.
        number: u32,
    },
    /// In the manifest of an object.
    Object(ManifestId),
}

/// A row with wrapped keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Where.
    pub row: SealedRow,
    /// Key of the object they are wrapped for.
    pub object: String,
    /// The wrapped keys, in order of the parts.
    pub keys: Vec<WrappedKey>,
}

/// Where the next page begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedCursor(After);

#[derive(Clone, PartialEq, Eq, Debug)]
enum After {
    /// Key and id of an upload, number of a part.
    Part(String, String, u32),
    /// All parts.
    Parts,
    /// Key and place of a version.
    Version(String, u64),
}

fn keys_of(manifest: &Manifest) -> Vec<WrappedKey> {
    manifest.parts.iter().map(|part| part.key.clone()).collect()
}

/// Fills the page with parts; where the next one begins if there are more.
fn parts(
    transaction: &ReadTransaction,
    bucket: &str,
    after: Option<(&str, &str, u32)>,
    limit: usize,
    page: &mut Vec<Sealed>,
) -> Result<Option<After>, MetaError> {
    let (all, parts) = (transaction.open_table(UPLOADS)?, transaction.open_table(PARTS)?);
    let (key, id, number) = after.unwrap_or(("", "", 0));
    let mut seen = 0;
    for row in all.range((bucket, key, id)..)? {
        let (upload, _) = row?;
        let (found_in, key, upload) = upload.value();
        if found_in != bucket {
            break;
        }
        let first = if upload == id { number.saturating_add(1) } else { 0 };
        for row in parts.range((upload, first)..=(upload, u32::MAX))? {
            let (name, part) = row?;
            let number = name.value().1;
            let keys = vec![uploads::decode_part(part.value())?.manifest.key];
            let row = SealedRow::Part { upload: upload.to_owned(), number };
            page.push(Sealed { row, object: key.to_owned(), keys });
            if page.len() >= limit {
                return Ok(Some(After::Part(key.to_owned(), upload.to_owned(), number)));
            }
        }
        seen += 1;
        if seen >= limit {
            return Ok(Some(After::Part(key.to_owned(), upload.to_owned(), u32::MAX)));
        }
    }
    Ok(None)
}

/// Fills the page with objects; where the next one begins if there are more.
fn versions(
    transaction: &ReadTransaction,
    bucket: &str,
    after: Option<(String, u64)>,
    limit: usize,
    page: &mut Vec<Sealed>,
) -> Result<Option<After>, MetaError> {
    let (tables, manifests) = (Reading::open(transaction)?, transaction.open_table(MANIFESTS)?);
    let mut count = 0;
    let mut add = |key: &str, version: &Version| {
        let Some(info) = version.object() else { return Ok(0) };
        let row = manifests.get(info.manifest)?.ok_or(MetaError::Row("manifests"))?;
        let keys = keys_of(&objects::decode_manifest(row.value())?);
        let added = keys.len();
        page.push(Sealed { row: SealedRow::Object(info.manifest), object: key.to_owned(), keys });
        Ok::<usize, MetaError>(added)
    };
    let mut start = Start::Key(String::new());
    if let Some((key, place)) = after {
        if let Some(current) = tables.current(bucket, &key)? {
            count += add(&key, &current)?;
        }
        start = Start::Behind(key, place);
    }
    for _ in 0..limit {
        let Some((key, place, version)) = tables.seek(bucket, &start)? else { return Ok(None) };
        count += add(&key, &version)?;
        if count >= KEYS_MAX {
            return Ok(Some(After::Version(key, place)));
        }
        start = Start::Behind(key, place);
    }
    let Start::Behind(key, place) = start else { return Ok(None) };
    Ok(Some(After::Version(key, place)))
}

impl Meta {
    /// Rows with wrapped keys in a bucket, about `limit` of them, and where the next page begins.
    pub async fn sealed_page(
        &self,
        bucket: String,
        cursor: Option<SealedCursor>,
        limit: usize,
    ) -> Result<(Vec<Sealed>, Option<SealedCursor>), MetaError> {
        self.read(move |transaction| {
            let mut page = Vec::new();
            let next = match cursor.map(|SealedCursor(after)| after) {
                None => {
                    let next = parts(transaction, &bucket, None, limit, &mut page)?;
                    Some(next.unwrap_or(After::Parts))
                }
                Some(After::Part(key, id, number)) => {
                    let next = parts(transaction, &bucket, Some((&key, &id, number)), limit, &mut page)?;
                    Some(next.unwrap_or(After::Parts))
                }
                Some(After::Parts) => versions(transaction, &bucket, None, limit, &mut page)?,
                Some(After::Version(key, place)) => {
                    versions(transaction, &bucket, Some((key, place)), limit, &mut page)?
                }
            };
            Ok((page, next.map(SealedCursor)))
        })
        .await
    }

    /// Puts newly wrapped keys in the place of what they were; rows that are gone or have other keys meanwhile stay as they are.
    pub async fn reseal(
        &self,
        changes: Vec<(SealedRow, Vec<WrappedKey>, Vec<WrappedKey>)>,
    ) -> Result<(), MetaError> {
        self.write(move |transaction| {
            let mut parts = transaction.open_table(PARTS)?;
            let mut manifests = transaction.open_table(MANIFESTS)?;
            for (row, before, after) in changes {
                match row {
                    SealedRow::Part { upload, number } => {
                        let name = (upload.as_str(), number);
                        let part =
                            parts.get(name)?.map(|row| uploads::decode_part(row.value())).transpose()?;
                        let part = part.filter(|part| before.as_slice() == [part.manifest.key.clone()]);
                        if let (Some(mut part), [key]) = (part, after.as_slice()) {
                            part.manifest.key = key.clone();
                            parts.insert(name, part.encode().as_slice())?;
                        }
                    }
                    SealedRow::Object(id) => {
                        let row = manifests.get(id)?.map(|row| objects::decode_manifest(row.value()));
                        let manifest = row.transpose()?.filter(|manifest| keys_of(manifest) == before);
                        let Some(mut manifest) = manifest else { continue };
                        if manifest.replace_keys(after) {
                            manifests.insert(id, manifest.to_row().as_slice())?;
                        }
                    }
                }
            }
            Ok(())
        })
        .await
    }
}
