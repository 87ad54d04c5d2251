//! Uploads in parts.

use std::ops::Range;

use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{Judged, new_acl, payer},
    account,
    copies::{copy_source, take_in_copy},
    digest::{etag_of_parts, random_id},
    encryption::{Sealing, check_sse, customer_of, refuse_on_read, set_encryption},
    errors,
    input::{condition, given_checksums, now_ms, properties, refuse, refuse_wishes, take_in_body, timestamp},
    notification::origin,
    output::{checksum_type, kind, set_checksums},
    taken::Taken,
};
use crate::{
    checksum::{self, Algorithm, ChecksumKind, Checksums},
    meta::{Allowance, Completed, Completion, MetaError, PartInfo, UploadInfo, UploadKey},
};

/// Highest number of a part.
const PART_NUMBER_MAX: i32 = 10_000;
/// Most bytes that one request copies into a part (as in AWS).
const COPY_BYTES_MAX: u64 = 5 << 30;

/// What names the upload of an input, whichever it is.
macro_rules! upload_key {
    ($input:expr) => {
        UploadKey { bucket: $input.bucket.clone(), key: $input.key.clone(), id: $input.upload_id.clone() }
    };
}
pub(super) use upload_key;

/// The checksum that the object of an upload will have, as the client wishes.
fn checksum_wish(
    algorithm: Option<&ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<Option<(Algorithm, ChecksumKind)>> {
    let algorithm = match algorithm {
        Some(name) => Some(Algorithm::from_name(name.as_str()).ok_or_else(|| {
            s3_error!(InvalidRequest, "checksums are CRC32, CRC32C, CRC64NVME, SHA1 and SHA256")
        })?),
        None => None,
    };
    let kind = match kind {
        Some(name) => Some(ChecksumKind::from_name(name.as_str()).ok_or_else(|| {
            s3_error!(InvalidRequest, "the type of a checksum is FULL_OBJECT or COMPOSITE")
        })?),
        None => None,
    };
    match (algorithm, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(s3_error!(InvalidRequest, "a type of checksum needs an algorithm")),
        (Some(algorithm), kind) => match kind.unwrap_or(algorithm.usual_kind()) {
            kind if algorithm.allows(kind) => Ok(Some((algorithm, kind))),
            kind => {
                Err(s3_error!(InvalidRequest, "{} checksums cannot be {}", algorithm.name(), kind.name()))
            }
        },
    }
}

/// The checksum that the object of an upload will have.
pub(super) fn checksum_of(upload: &UploadInfo) -> (Algorithm, ChecksumKind) {
    upload.checksum.unwrap_or((Algorithm::Crc64Nvme, ChecksumKind::Full))
}

pub(super) async fn create_multipart_upload(
    store: &Store,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let account = account(&request)?;
    let (acl, payer) = (new_acl(&request)?, payer(&request)?);
    let allowance = store.allowance(&payer)?;
    let mut input = request.input;
    refuse_wishes!(input)?;
    let customer = customer_of!(input)?;
    check_sse!(input, customer)?;
    let sealing = Sealing::new(&input.bucket, &input.key, customer);
    store.bucket(&account, &input.bucket).await?;
    store.check_credit(&account, 0).await?;
    let checksum = checksum_wish(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let properties = properties!((acl, payer), input, store.encryption(&sealing).await?);
    let info = UploadInfo { created_ms: now_ms(), properties, checksum };
    let upload = UploadKey { bucket: input.bucket, key: input.key, id: random_id() };
    let begun = store.grid.meta.create_upload(upload.clone(), info, allowance).await;
    begun.map_err(|error| store.refused(error))?;
    let mut output = CreateMultipartUploadOutput {
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: checksum.map(|(_, made_over)| kind(made_over)),
        ..Default::default()
    };
    set_encryption!(output, sealing.customer);
    Ok(output)
}

pub(super) fn part_number(number: i32) -> S3Result<u32> {
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
    refuse_on_read(&request.headers)?;
    let input = &mut request.input;
    let sealing = Sealing::new(&input.bucket, &input.key, customer_of!(input)?);
    store.bucket(&account, &input.bucket).await?;
    let number = part_number(input.part_number)?;
    let upload_key = upload_key!(input);
    let upload = store.grid.meta.upload(upload_key.clone()).await.map_err(errors::meta)?;
    store.check_customer(&sealing, &upload.properties.encryption).await?;
    let announced = input.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
    store.check_credit(&account, announced).await?;
    let allowance = part_allowance(store, (&upload_key, &upload), number, announced).await?;
    let equal = store.equals(&request, &account, &sealing).await?;
    let taken = take_in_body!(store, request, Some(checksum_of(&upload).0), equal);
    let (e_tag, checksums) = enter_part(store, &sealing, (upload_key, number), taken, allowance).await?;
    let mut output = UploadPartOutput { e_tag: Some(e_tag), ..Default::default() };
    set_checksums!(output, checksums);
    set_encryption!(output, sealing.customer);
    Ok(output)
}

/// A range of an object here becomes a part: the bytes are read, checked and stored again, and never leave the gateway
/// as plaintext.
pub(super) async fn upload_part_copy(
    store: &Store,
    mut request: S3Request<UploadPartCopyInput>,
) -> S3Result<UploadPartCopyOutput> {
    let account = account(&request)?;
    let judged = Judged::of(&request);
    refuse_on_read(&request.headers)?;
    let input = &mut request.input;
    let number = part_number(input.part_number)?;
    let sealing = Sealing::new(&input.bucket, &input.key, customer_of!(input)?);
    let (from, source_bucket, source, opening) = copy_source!(store, &account, &judged, &mut *input);
    let upload_key = upload_key!(input);
    let upload = store.grid.meta.upload(upload_key.clone()).await.map_err(errors::meta)?;
    store.check_customer(&sealing, &upload.properties.encryption).await?;
    let range = match &input.copy_source_range {
        Some(text) => copy_range(text, source.info.size)?,
        None => 0..source.info.size,
    };
    if range.end - range.start > COPY_BYTES_MAX {
        return Err(s3_error!(InvalidRequest, "at most {COPY_BYTES_MAX} bytes can be copied into a part"));
    }
    store.check_credit(&account, range.end - range.start).await?;
    let also = Some(checksum_of(&upload).0);
    let allowance = part_allowance(store, (&upload_key, &upload), number, range.end - range.start).await?;
    let equal = store.equals(&request, &account, &sealing).await?;
    let taken = take_in_copy(store, (from, &opening), range, also, equal).await?;
    let (e_tag, checksums) = enter_part(store, &sealing, (upload_key, number), taken, allowance).await?;
    let mut result =
        CopyPartResult { e_tag: Some(e_tag), last_modified: Some(timestamp(now_ms())), ..Default::default() };
    set_checksums!(result, checksums);
    let mut output = UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source_bucket.shown(source.version).map(|id| id.to_string()),
        ..Default::default()
    };
    set_encryption!(output, sealing.customer);
    Ok(output)
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

/// How much may be stored in the name of whoever began an upload, if a part of so many bytes does not exceed it.
async fn part_allowance(
    store: &Store,
    (key, upload): (&UploadKey, &UploadInfo),
    number: u32,
    bytes: u64,
) -> S3Result<Allowance> {
    let allowance = store.allowance(&upload.properties.payer)?;
    let room = store.grid.meta.check_part_room(key.clone(), number, allowance, bytes).await;
    room.map_err(|error| store.refused(error))?;
    Ok(allowance)
}

/// Enters what was taken in as a part; returns its ETag and checksums.
async fn enter_part(
    store: &Store,
    sealing: &Sealing,
    name: (UploadKey, u32),
    taken: Taken,
    allowance: Allowance,
) -> S3Result<(ETag, Checksums)> {
    let (now, md5, checksums) = (now_ms(), taken.md5, taken.checksums.clone());
    let entered = store.settle(sealing, taken, |manifest, equal| {
        let part = PartInfo { md5, modified_ms: now, manifest, checksums: checksums.clone() };
        store.grid.meta.put_equal_part(name.clone(), part, equal, allowance, now)
    });
    entered.await?;
    Ok((ETag::Strong(hex::encode(md5)), checksums))
}

pub(super) async fn complete_multipart_upload(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let account = account(&request)?;
    let origin = origin(&request);
    let mut input = request.input;
    let sealing = Sealing::new(&input.bucket, &input.key, customer_of!(input)?);
    store.bucket(&account, &input.bucket).await?;
    let wanted = input.multipart_upload.take().and_then(|list| list.parts).unwrap_or_default();
    if wanted.is_empty() {
        return Err(s3_error!(MalformedXML, "name the parts that make the object"));
    }
    let upload = upload_key!(input);
    // Whether there is such an upload comes before what is said of its parts.
    let named = wanted.iter().map(named_part).collect::<S3Result<Vec<_>>>();
    let named = named.map(|parts| (etag_of_parts(parts.iter().map(|(_, md5)| *md5)), parts));
    let given = given_checksums!(input);
    let begun = match store.grid.meta.upload(upload.clone()).await {
        Err(MetaError::NoSuchUpload) => {
            let earlier = store.grid.meta.completed_upload(upload.clone()).await.map_err(errors::meta)?;
            let same = |earlier: &Completed| named.is_ok_and(|(etag, _)| earlier.info.etag == etag);
            return match earlier.filter(same) {
                Some(earlier) => {
                    store.check_customer(&sealing, &earlier.info.properties.encryption).await?;
                    Ok(completed(upload, earlier, &sealing))
                }
                None => Err(errors::meta(MetaError::NoSuchUpload)),
            };
        }
        begun => begun.map_err(errors::meta)?,
    };
    let (etag, parts) = named?;
    store.check_customer(&sealing, &begun.properties.encryption).await?;
    let kept = store.grid.meta.parts(upload.clone()).await.map_err(errors::meta)?;
    let checksums = check_parts(wanted, &kept, checksum_of(&begun), &given)?;
    let (_, checksum_kind) = checksum_of(&begun);
    if input.checksum_type.as_ref().is_some_and(|named| named.as_str() != checksum_kind.name()) {
        return Err(s3_error!(InvalidRequest, "the upload was begun for {} checksums", checksum_kind.name()));
    }
    let size = |number: &u32| kept.iter().find(|(kept, _)| kept == number).map(|(_, p)| p.manifest.plain_len);
    let size: u64 = parts.iter().filter_map(|(number, _)| size(number)).sum();
    if input.mpu_object_size.is_some_and(|announced| u64::try_from(announced) != Ok(size)) {
        return Err(s3_error!(InvalidRequest, "the parts have {size} bytes"));
    }
    let completion = Completion {
        upload: upload.clone(),
        parts,
        etag,
        checksums,
        checksum_kind,
        manifest: rand::random(),
        part_bytes_min: store.part_bytes_min,
        condition: condition(input.if_match.take(), input.if_none_match.take()),
        origin,
    };
    let done = store.grid.meta.complete_upload(completion, now_ms()).await.map_err(errors::meta)?;
    Ok(completed(upload, done, &sealing))
}

/// A part as the client names it: number and MD5.
fn named_part(part: &CompletedPart) -> S3Result<(u32, [u8; 16])> {
    let number = part_number(part.part_number.unwrap_or(0))?;
    let mut md5 = [0; 16];
    let etag = part.e_tag.as_ref().map(|etag| hex::decode_to_slice(etag.value(), &mut md5));
    match etag {
        Some(Ok(())) => Ok((number, md5)),
        _ => Err(s3_error!(InvalidPart, "part {number} comes without the ETag it was given")),
    }
}

/// The checksum of the object, if what the client says of it and of its parts is so.
fn check_parts(
    wanted: Vec<CompletedPart>,
    kept: &[(u32, PartInfo)],
    (algorithm, made_over): (Algorithm, ChecksumKind),
    given: &Checksums,
) -> S3Result<Checksums> {
    let mut own = Vec::with_capacity(wanted.len());
    for mut part in wanted {
        let number = part_number(part.part_number.unwrap_or(0))?;
        let found = kept.binary_search_by_key(&number, |(kept, _)| *kept).ok();
        let found = found.and_then(|at| kept.get(at)).map(|(_, part)| part);
        let found = found.ok_or_else(|| errors::meta(MetaError::InvalidPart(number)))?;
        if !given_checksums!(part).is_part_of(&found.checksums) {
            return Err(s3_error!(InvalidPart, "part {number} has another checksum"));
        }
        own.push((&found.checksums, found.manifest.plain_len));
    }
    let Some(value) = checksum::of_parts(algorithm, made_over, own) else {
        tracing::error!(algorithm = algorithm.name(), "a part was kept without its checksum");
        return Err(s3_error!(InternalError));
    };
    // A composite may be named with or without the number of parts.
    let bare = value.split('-').next().unwrap_or(&value).to_owned();
    let found = Checksums::only(algorithm, value);
    if given.algorithms().any(|asked| asked != algorithm) {
        return Err(s3_error!(InvalidRequest, "the upload was begun for {} checksums", algorithm.name()));
    }
    match given.is_part_of(&found) || given.is_part_of(&Checksums::only(algorithm, bare)) {
        true => Ok(found),
        false => Err(s3_error!(BadDigest, "the object has another {} checksum", algorithm.name())),
    }
}

fn completed(
    upload: UploadKey,
    done: Completed,
    sealing: &Sealing,
) -> S3Response<CompleteMultipartUploadOutput> {
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", upload.bucket, upload.key)),
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        e_tag: Some(ETag::Strong(done.info.etag.clone())),
        checksum_type: checksum_type(&done.info),
        version_id: done.version.map(|id| id.to_string()),
        ..Default::default()
    };
    set_checksums!(output, done.info.checksums);
    match &sealing.customer {
        Some(customer) => S3Response::with_headers(output, customer.headers()),
        None => {
            output.server_side_encryption =
                Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256));
            S3Response::new(output)
        }
    }
}

pub(super) async fn abort_multipart_upload(
    store: &Store,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<AbortMultipartUploadOutput> {
    let account = account(&request)?;
    let input = request.input;
    refuse(&[("aborting by the time of the beginning", input.if_match_initiated_time.is_some())])?;
    store.bucket(&account, &input.bucket).await?;
    let upload = upload_key!(input);
    store.grid.meta.abort_upload(upload, now_ms()).await.map_err(errors::meta)?;
    Ok(AbortMultipartUploadOutput::default())
}
