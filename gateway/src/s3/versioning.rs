//! Versions of objects: whether a bucket keeps them, and their listing.

use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store, account,
    buckets::keys_max,
    errors,
    input::{refuse, timestamp, version},
    output::{common_prefix, encoded, owner},
};
use crate::{
    meta::VersionMarker,
    object::{Entry, Version, Versioning},
};

pub(super) async fn put_bucket_versioning(
    store: &Store,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<PutBucketVersioningOutput> {
    let account = account(&request)?;
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let given = input.versioning_configuration;
    let mfa = given.mfa_delete.as_ref().is_some_and(|mfa| mfa.as_str() != MFADelete::DISABLED);
    refuse(&[("deletion with a second factor", mfa)])?;
    let versioning = match given.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => return Err(s3_error!(MalformedXML, "the status of versioning is Enabled or Suspended")),
    };
    store.grid.meta.set_versioning(input.bucket, versioning).await.map_err(errors::meta)?;
    Ok(PutBucketVersioningOutput {})
}

pub(super) async fn get_bucket_versioning(
    store: &Store,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<GetBucketVersioningOutput> {
    let bucket = store.bucket(&account(&request)?, &request.input.bucket).await?;
    let status = match bucket.versioning {
        Versioning::Unversioned => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(GetBucketVersioningOutput {
        status: status.map(BucketVersioningStatus::from_static),
        ..Default::default()
    })
}

pub(super) async fn list_object_versions(
    store: &Store,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<ListObjectVersionsOutput> {
    let account = account(&request)?;
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let max = keys_max(input.max_keys)?;
    let named = input.version_id_marker.as_deref().filter(|id| !id.is_empty());
    let key_marker = input.key_marker.as_deref().filter(|key| !key.is_empty());
    let after = match (key_marker, version(named)?) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(s3_error!(InvalidArgument, "a version-id-marker needs a key-marker"));
        }
        (Some(key), version) => Some(VersionMarker { key: key.to_owned(), version }),
    };
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().unwrap_or_default();
    let page =
        store.grid.meta.versions_page(input.bucket.clone(), prefix, delimiter, after, max as usize).await;
    let page = page.map_err(errors::meta)?;
    let encoding = input.encoding_type.as_ref();
    let text = |text: &String| encoded(text, encoding);
    let (mut versions, mut delete_markers) = (Vec::new(), Vec::new());
    for (key, version) in &page.lines {
        line(key, version, encoding, &mut versions, &mut delete_markers);
    }
    Ok(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(input.prefix.as_ref().map(text).unwrap_or_default()),
        delimiter: input.delimiter.as_ref().map(text),
        key_marker: Some(input.key_marker.as_ref().map(text).unwrap_or_default()),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        max_keys: Some(max),
        is_truncated: Some(page.next.is_some()),
        next_key_marker: page.next.as_ref().map(|next| text(&next.key)),
        next_version_id_marker: page.next.as_ref().and_then(|next| next.version).map(|id| id.to_string()),
        common_prefixes: Some(page.prefixes.iter().map(|prefix| common_prefix(prefix, encoding)).collect()),
        versions: Some(versions),
        delete_markers: Some(delete_markers),
        encoding_type: input.encoding_type.clone(),
        request_charged: None,
    })
}

fn line(
    key: &str,
    version: &Version,
    encoding: Option<&EncodingType>,
    versions: &mut Vec<ObjectVersion>,
    delete_markers: &mut Vec<DeleteMarkerEntry>,
) {
    let (key, id) = (Some(encoded(key, encoding)), Some(version.id().to_string()));
    let (is_latest, last_modified) = (Some(version.is_latest()), Some(timestamp(version.modified_ms())));
    match &version.entry {
        Entry::Object(info) => versions.push(ObjectVersion {
            key,
            version_id: id,
            is_latest,
            last_modified,
            size: Some(info.size as i64),
            e_tag: Some(ETag::Strong(info.etag.clone())),
            storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
            owner: Some(owner(&info.properties.owner)),
            ..Default::default()
        }),
        Entry::Marker(marker) => delete_markers.push(DeleteMarkerEntry {
            key,
            version_id: id,
            is_latest,
            last_modified,
            owner: Some(owner(&marker.owner)),
        }),
    }
}
