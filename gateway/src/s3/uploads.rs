//! Listings of uploads in parts and of their parts.

use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store, account, errors,
    input::timestamp,
    multipart::{checksum_of, upload_key},
    output::{common_prefix, encoded, kind, owner},
};
use crate::meta::{UploadKey, UploadMarker};

/// Most lines of a listing.
const LINES_MAX: i32 = 1_000;

/// How many lines are asked for.
fn lines_max(asked: Option<i32>, name: &str) -> S3Result<i32> {
    match asked.unwrap_or(LINES_MAX) {
        negative @ i32::MIN..0 => Err(s3_error!(InvalidArgument, "{name} is {negative}")),
        max => Ok(max.min(LINES_MAX)),
    }
}

pub(super) async fn list_parts(
    store: &Store,
    request: S3Request<ListPartsInput>,
) -> S3Result<ListPartsOutput> {
    let account = account(&request)?;
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let upload = upload_key!(input);
    let after = input.part_number_marker.unwrap_or(0);
    let max = lines_max(input.max_parts, "max-parts")?;
    let meta = &store.grid.meta;
    let begun = meta.upload(upload.clone()).await.map_err(errors::meta)?;
    let first = u32::try_from(after.max(0)).unwrap_or(0);
    let (parts, more) = meta.parts_page(upload.clone(), first, max as usize).await.map_err(errors::meta)?;
    let parts: Vec<Part> = parts
        .into_iter()
        .map(|(number, part)| Part {
            part_number: Some(number as i32),
            e_tag: Some(ETag::Strong(hex::encode(part.md5))),
            last_modified: Some(timestamp(part.modified_ms)),
            size: Some(part.manifest.plain_len as i64),
            checksum_crc32: part.checksums.crc32,
            checksum_crc32c: part.checksums.crc32c,
            checksum_crc64nvme: part.checksums.crc64nvme,
            checksum_sha1: part.checksums.sha1,
            checksum_sha256: part.checksums.sha256,
        })
        .collect();
    let truncated = max > 0 && more;
    let (algorithm, made_over) = checksum_of(&begun);
    Ok(ListPartsOutput {
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        is_truncated: Some(truncated),
        max_parts: Some(max),
        part_number_marker: Some(after),
        next_part_number_marker: parts.last().and_then(|part| part.part_number).filter(|_| truncated),
        parts: Some(parts),
        checksum_algorithm: Some(algorithm.name().to_owned().into()),
        checksum_type: Some(kind(made_over)),
        initiator: Some(initiator(&begun.properties.owner)),
        owner: Some(owner(&begun.properties.owner)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..Default::default()
    })
}

fn initiator(account: &str) -> Initiator {
    Initiator { id: Some(account.to_owned()), display_name: Some(account.to_owned()) }
}

pub(super) async fn list_multipart_uploads(
    store: &Store,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<ListMultipartUploadsOutput> {
    let account = account(&request)?;
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().unwrap_or_default();
    let id = input.upload_id_marker.clone().filter(|id| !id.is_empty());
    // As in AWS, the id counts only beside a key.
    let key = input.key_marker.clone().filter(|key| !key.is_empty());
    let after = key.map(|key| UploadMarker { key, id });
    let max = lines_max(input.max_uploads, "max-uploads")?;
    let encoding = input.encoding_type.as_ref();
    let meta = &store.grid.meta;
    let page = meta.uploads_page(input.bucket.clone(), prefix, delimiter, after, max as usize).await;
    let page = page.map_err(errors::meta)?;
    let is_truncated = page.next.is_some();
    let uploads = page.uploads.into_iter().map(|(upload, info)| MultipartUpload {
        key: Some(encoded(&upload.key, encoding)),
        upload_id: Some(upload.id),
        initiated: Some(timestamp(info.created_ms)),
        initiator: Some(initiator(&info.properties.owner)),
        owner: Some(owner(&info.properties.owner)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: info.checksum.map(|(algorithm, _)| algorithm.name().to_owned().into()),
        checksum_type: info.checksum.map(|(_, made_over)| kind(made_over)),
    });
    Ok(ListMultipartUploadsOutput {
        uploads: Some(uploads.collect()),
        bucket: Some(input.bucket),
        common_prefixes: Some(page.prefixes.iter().map(|prefix| common_prefix(prefix, encoding)).collect()),
        prefix: input.prefix.map(|text| encoded(&text, encoding)),
        delimiter: input.delimiter.map(|text| encoded(&text, encoding)),
        key_marker: Some(input.key_marker.map(|text| encoded(&text, encoding)).unwrap_or_default()),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        next_key_marker: page.next.as_ref().map(|next| encoded(&next.key, encoding)),
        next_upload_id_marker: page.next.map(|next| next.id.unwrap_or_default()),
        max_uploads: Some(max),
        is_truncated: Some(is_truncated),
        encoding_type: input.encoding_type.clone(),
        request_charged: None,
    })
}
