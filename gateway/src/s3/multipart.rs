//! Uploads in parts.

use std::ops::Range;

use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store, account,
    digest::{etag_of_parts, random_id},
    errors,
    input::{
        condition, contradicts, given_checksums, kept_headers, now_ms, refuse, refuse_wishes, take_in_body,
        timestamp,
    },
    objects::{Taken, copy_source, take_in_copy},
    output::{common_prefix, encoded, owner, set_checksums},
};
use crate::{
    manifest::Checksums,
    meta::{Completion, PartInfo, UploadInfo, UploadKey},
};

/// Highest number of a part.
const PART_NUMBER_MAX: i32 = 10_000;
/// Most bytes that one request copies into a part (as in AWS).
const COPY_BYTES_MAX: u64 = 5 << 30;
/// Most lines of a listing.
const LINES_MAX: i32 = 1_000;

/// What names the upload of an input, whichever it is.
macro_rules! upload_key {
    ($input:expr) => {
        UploadKey { bucket: $input.bucket.clone(), key: $input.key.clone(), id: $input.upload_id.clone() }
    };
}

pub(super) async fn create_multipart_upload(
    store: &Store,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let account = account(&request)?;
    let mut input = request.input;
    refuse_wishes!(input)?;
    store.bucket(&account, &input.bucket).await?;
    let info = UploadInfo { created_ms: now_ms(), headers: kept_headers!(input)? };
    let upload = UploadKey { bucket: input.bucket, key: input.key, id: random_id() };
    store.grid.meta.create_upload(upload.clone(), info).await.map_err(errors::meta)?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..Default::default()
    })
}

fn part_number(number: i32) -> S3Result<u32> {
    match number {
        1..=PART_NUMBER_MAX => Ok(number as u32),
        _ => Err(s3_error!(InvalidArgument, "part numbers go from 1 to {PART_NUMBER_MAX}")),
    }
}

pub(super) async fn upload_part(
    store: &Store,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let account = account(&request)?;
    let input = &request.input;
    refuse(&[("customer-provided keys", input.sse_customer_algorithm.is_some())])?;
    store.bucket(&account, &input.bucket).await?;
    let number = part_number(input.part_number)?;
    let upload_key = upload_key!(input);
    store.grid.meta.upload(upload_key.clone()).await.map_err(errors::meta)?;
    let taken = take_in_body!(store, &account, request);
    let (e_tag, checksums) = enter_part(store, upload_key, number, taken).await?;
    let mut output = UploadPartOutput { e_tag: Some(e_tag), ..Default::default() };
    set_checksums!(output, checksums);
    Ok(output)
}

/// A range of an object here becomes a part: the bytes are read, checked and stored again, and never leave the gateway
/// as plaintext.
pub(super) async fn upload_part_copy(
    store: &Store,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<UploadPartCopyOutput> {
    let account = account(&request)?;
    let input = &request.input;
    refuse(&[("customer-provided keys", input.sse_customer_algorithm.is_some())])?;
    let number = part_number(input.part_number)?;
    let (from, source) = copy_source!(store, &account, input);
    let upload_key = upload_key!(input);
    store.grid.meta.upload(upload_key.clone()).await.map_err(errors::meta)?;
    let range = match &input.copy_source_range {
        Some(text) => copy_range(text, source.size)?,
        None => 0..source.size,
    };
    if range.end - range.start > COPY_BYTES_MAX {
        return Err(s3_error!(InvalidRequest, "at most {COPY_BYTES_MAX} bytes can be copied into a part"));
    }
    let taken = take_in_copy(store, &account, from, source.manifest, range).await?;
    let (e_tag, _) = enter_part(store, upload_key, number, taken).await?;
    let result =
        CopyPartResult { e_tag: Some(e_tag), last_modified: Some(timestamp(now_ms())), ..Default::default() };
    Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
}

/// `bytes=FIRST-LAST`, both of which the object must have.
fn copy_range(text: &str, size: u64) -> S3Result<Range<u64>> {
    let ends = text.strip_prefix("bytes=").and_then(|ends| ends.split_once('-'));
    let ends = ends.and_then(|(first, last)| Some((first.parse().ok()?, last.parse::<u64>().ok()?)));
    match ends {
        Some((first, last)) if first <= last && last < size => Ok(first..last + 1),
        Some(_) => Err(s3_error!(InvalidRange, "the object has {size} bytes")),
        None => Err(s3_error!(InvalidArgument, "write the range as bytes=FIRST-LAST")),
    }
}

/// Enters what was taken in as a part; returns its ETag and checksums.
async fn enter_part(
    store: &Store,
    upload: UploadKey,
    number: u32,
    (taken, manifest, md5, checksums): Taken,
) -> S3Result<(ETag, Checksums)> {
    let now = now_ms();
    let part = PartInfo { md5, modified_ms: now, manifest, checksums: checksums.clone() };
    store.grid.meta.put_part(upload, number, part, now).await.map_err(errors::meta)?;
    taken.keep();
    Ok((ETag::Strong(hex::encode(md5)), checksums))
}

pub(super) async fn complete_multipart_upload(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<CompleteMultipartUploadOutput> {
    let account = account(&request)?;
    let mut input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let condition = condition(input.if_match.take(), input.if_none_match.take())?;
    let upload = upload_key!(input);
    let kept = store.grid.meta.parts(upload.clone()).await.map_err(errors::meta)?;
    let wanted = input.multipart_upload.and_then(|list| list.parts).unwrap_or_default();
    if wanted.is_empty() {
        return Err(s3_error!(MalformedXML, "name the parts that make the object"));
    }
    let mut parts = Vec::with_capacity(wanted.len());
    for mut part in wanted {
        let number = part_number(part.part_number.unwrap_or(0))?;
        let md5 = part.e_tag.as_ref().and_then(|etag| {
            let mut md5 = [0; 16];
            hex::decode_to_slice(etag.value(), &mut md5).ok().map(|()| md5)
        });
        let md5 =
            md5.ok_or_else(|| s3_error!(InvalidPart, "part {number} comes without the ETag it was given"))?;
        let given = given_checksums!(part);
        let own = kept.iter().find(|(kept, _)| *kept == number);
        if own.is_some_and(|(_, own)| contradicts(&given, &own.checksums)) {
            return Err(s3_error!(InvalidPart, "part {number} has another checksum"));
        }
        parts.push((number, md5));
    }
    let etag = etag_of_parts(parts.iter().map(|(_, md5)| *md5));
    let completion = Completion {
        upload: upload.clone(),
        parts,
        etag,
        manifest: rand::random(),
        part_bytes_min: store.part_bytes_min,
        condition,
    };
    let info = store.grid.meta.complete_upload(completion, now_ms()).await.map_err(errors::meta)?;
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", upload.bucket, upload.key)),
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        e_tag: Some(ETag::Strong(info.etag)),
        ..Default::default()
    })
}

pub(super) async fn abort_multipart_upload(
    store: &Store,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<AbortMultipartUploadOutput> {
    let account = account(&request)?;
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let upload = upload_key!(input);
    store.grid.meta.abort_upload(upload, now_ms()).await.map_err(errors::meta)?;
    Ok(AbortMultipartUploadOutput::default())
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
    let max = input.max_parts.unwrap_or(LINES_MAX).clamp(0, LINES_MAX);
    let all = store.grid.meta.parts(upload.clone()).await.map_err(errors::meta)?;
    let mut left = all.into_iter().filter(|(number, _)| i64::from(*number) > i64::from(after)).peekable();
    let parts: Vec<Part> = left
        .by_ref()
        .take(max as usize)
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
    let truncated = max > 0 && left.peek().is_some();
    Ok(ListPartsOutput {
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        is_truncated: Some(truncated),
        max_parts: Some(max),
        part_number_marker: Some(after),
        next_part_number_marker: parts.last().and_then(|part| part.part_number).filter(|_| truncated),
        parts: Some(parts),
        owner: Some(owner(&account)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..Default::default()
    })
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
    let marker = input.key_marker.clone().unwrap_or_default();
    let id_marker = input.upload_id_marker.clone().unwrap_or_default();
    let max = input.max_uploads.unwrap_or(LINES_MAX).clamp(1, LINES_MAX) as usize;
    let encoding = input.encoding_type.as_ref();
    let all = store.grid.meta.uploads(input.bucket.clone()).await.map_err(errors::meta)?;
    let mut uploads: Vec<MultipartUpload> = Vec::new();
    let mut prefixes: Vec<String> = Vec::new();
    let mut last = (String::new(), String::new());
    let mut truncated = false;
    for (upload, info) in all {
        let behind =
            upload.key > marker || (upload.key == marker && !id_marker.is_empty() && upload.id > id_marker);
        let Some(rest) = upload.key.strip_prefix(prefix.as_str()) else { continue };
        let fold = (!delimiter.is_empty()).then(|| rest.find(delimiter.as_str())).flatten();
        let fold = fold.map(|at| upload.key[..prefix.len() + at + delimiter.len()].to_owned());
        if !behind || fold.as_ref().is_some_and(|fold| *fold == marker || prefixes.last() == Some(fold)) {
            continue;
        }
        if uploads.len() + prefixes.len() == max {
            truncated = true;
            break;
        }
        match fold {
            Some(fold) => {
                last = (fold.clone(), String::new());
                prefixes.push(fold);
            }
            None => {
                last = (upload.key.clone(), upload.id.clone());
                uploads.push(MultipartUpload {
                    key: Some(encoded(&upload.key, encoding)),
                    upload_id: Some(upload.id),
                    initiated: Some(timestamp(info.created_ms)),
                    owner: Some(owner(&account)),
                    storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                    ..Default::default()
                });
            }
        }
    }
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        uploads: Some(uploads),
        common_prefixes: Some(prefixes.iter().map(|prefix| common_prefix(prefix, encoding)).collect()),
        prefix: input.prefix.map(|text| encoded(&text, encoding)),
        delimiter: input.delimiter.map(|text| encoded(&text, encoding)),
        key_marker: Some(encoded(&marker, encoding)),
        upload_id_marker: Some(id_marker),
        next_key_marker: truncated.then(|| encoded(&last.0, encoding)),
        next_upload_id_marker: truncated.then_some(last.1),
        max_uploads: Some(max as i32),
        is_truncated: Some(truncated),
        encoding_type: input.encoding_type.clone(),
        request_charged: None,
    })
}
