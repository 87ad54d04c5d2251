//! Reading objects: GET, HEAD and attributes; whole, in ranges, or by part.

use std::ops::Range;

use hyper::{HeaderMap, header};
use s3s::{S3Error, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{Caller, Judged},
    account,
    encryption::{Sealing, customer_of, refuse_on_read, set_encryption},
    errors,
    input::{seconds, version},
    lifecycle::Expiry,
    output::{Body, checksum_type, object_fields},
};
use crate::{checksum::Checksums, manifest::Manifest, object::ObjectInfo, rate::Traffic};

/// Most parts in an answer about attributes.
const PARTS_MAX: i32 = 1_000;

/// What of an object is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct View {
    /// The bytes.
    pub(super) range: Range<u64>,
    /// Whether these are not meant to be all of it.
    pub(super) is_partial: bool,
    /// Its parts, if one of them is asked for.
    pub(super) parts_count: Option<u32>,
    /// The checksums that go with the bytes, if they are asked for.
    pub(super) checksums: Option<Checksums>,
}

impl View {
    /// What a range or a part number means; part numbers need the manifest.
    fn new(
        info: &ObjectInfo,
        manifest: Option<&Manifest>,
        asked: Option<&s3s::dto::Range>,
        part: Option<i32>,
        mode: Option<&ChecksumMode>,
    ) -> S3Result<Self> {
        let wants_checksums = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        let checksums = |checksums: &Checksums| wants_checksums.then(|| checksums.clone());
        match (asked, part) {
            (Some(_), Some(_)) => {
                Err(s3_error!(InvalidRequest, "a range and a part number cannot both be asked for"))
            }
            (None, None) => Ok(Self {
                range: 0..info.size,
                is_partial: false,
                parts_count: None,
                checksums: checksums(&info.checksums),
            }),
            (Some(asked), None) => {
                let range = asked.check(info.size).map_err(|_| unsatisfiable(info.size))?;
                let whole = range == (0..info.size);
                let checksums = checksums(&info.checksums).filter(|_| whole);
                Ok(Self { range, is_partial: true, parts_count: None, checksums })
            }
            (None, Some(number)) => {
                let number = super::multipart::part_number(number)?;
                let found = manifest.and_then(|manifest| {
                    let at = manifest.labels.iter().find(|label| label.number == number);
                    Some((manifest.part_range(number)?, at.map(|label| &label.checksums)))
                });
                let (range, of_part) =
                    found.ok_or_else(|| s3_error!(InvalidPart, "the object has no part {number}"))?;
                let checksums = match of_part {
                    // The part may have more than the object is known by.
                    Some(part) => info.checksums.algorithms().next().and_then(|algorithm| {
                        Some(Checksums::only(algorithm, part.get(algorithm)?.to_owned()))
                    }),
                    None => Some(info.checksums.clone()),
                };
                Ok(Self {
                    is_partial: info.size > 0,
                    range,
                    parts_count: (info.parts > 0).then_some(info.parts),
                    checksums: checksums.filter(|_| wants_checksums),
                })
            }
        }
    }

    /// The header that says which bytes they are.
    pub(super) fn content_range(&self, size: u64) -> Option<String> {
        let last = self.range.end.saturating_sub(1);
        self.is_partial.then(|| format!("bytes {}-{last}/{size}", self.range.start))
    }
}

fn unsatisfiable(size: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "the object has {size} bytes");
    if let Ok(value) = format!("bytes */{size}").parse() {
        error.set_headers(HeaderMap::from_iter([(header::CONTENT_RANGE, value)]));
    }
    error
}

/// `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since` of a read, as RFC 9110 orders them.
pub(super) fn check_read(
    info: &ObjectInfo,
    if_match: Option<&ETagCondition>,
    if_unmodified: Option<&Timestamp>,
    if_none_match: Option<&ETagCondition>,
    if_modified: Option<&Timestamp>,
) -> S3Result<()> {
    let is = |condition: &ETagCondition| condition.as_etag().is_none_or(|etag| etag.value() == info.etag);
    let modified = info.modified_ms / 1_000;
    let met = match if_match {
        Some(condition) => is(condition),
        None => if_unmodified.is_none_or(|since| modified <= seconds(since)),
    };
    if !met {
        return Err(s3_error!(PreconditionFailed));
    }
    let changed = match if_none_match {
        Some(condition) => !is(condition),
        None => if_modified.is_none_or(|since| modified > seconds(since)),
    };
    if changed {
        return Ok(());
    }
    let mut error = s3_error!(NotModified);
    if let Ok(etag) = format!("\"{}\"", info.etag).parse() {
        error.set_headers(HeaderMap::from_iter([(header::ETAG, etag)]));
    }
    Err(error)
}

/// The conditions of an input, whichever it is.
macro_rules! check_conditions {
    ($input:expr, $info:expr) => {
        check_read(
            $info,
            $input.if_match.as_ref(),
            $input.if_unmodified_since.as_ref(),
            $input.if_none_match.as_ref(),
            $input.if_modified_since.as_ref(),
        )
    };
}

pub(super) async fn get_object(
    store: &Store,
    request: S3Request<GetObjectInput>,
) -> S3Result<GetObjectOutput> {
    let account = account(&request)?;
    let judged = Judged::of(&request);
    let expiry = Expiry::of(&request, &request.input.key)?;
    refuse_on_read(&request.headers)?;
    let traffic = request.extensions.get::<Traffic>().cloned();
    let mut input = request.input;
    let sealing = Sealing::new(&input.bucket, &input.key, customer_of!(input)?);
    let bucket = store.bucket(&account, &input.bucket).await?;
    let which = version(input.version_id.as_deref())?;
    let found = store.grid.meta.object_with_manifest(input.bucket, input.key, which).await;
    let (found, manifest) = found.map_err(errors::lookup)?;
    judged.check(&found.info)?;
    check_conditions!(input, &found.info)?;
    let mode = input.checksum_mode.as_ref();
    let view = View::new(&found.info, Some(&manifest), input.range.as_ref(), input.part_number, mode)?;
    let length = view.range.end - view.range.start;
    store.check_customer(&sealing, &found.info.properties.encryption).await?;
    let parts = store.open_parts(&sealing, manifest).await?;
    let mut plaintext = store.grid.read(parts, view.range.clone());
    // The first piece decides between an answer and an error that says why.
    let first = plaintext.recv().await.transpose().map_err(errors::read)?;
    let mut output = object_fields!(GetObjectOutput, bucket, &found, &view);
    output.expiration = expiry.told(&found.info);
    output.tag_count = tag_count(&found.info);
    set_encryption!(output, sealing.customer);
    output.body = Some(StreamingBlob::new(Body::new(first, plaintext, length, traffic)));
    Ok(output)
}

/// Said only of objects that have tags.
fn tag_count(info: &ObjectInfo) -> Option<i32> {
    let count = info.properties.tags.len();
    i32::try_from(count).ok().filter(|count| *count > 0)
}

pub(super) async fn head_object(
    store: &Store,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let account = account(&request)?;
    let judged = Judged::of(&request);
    let expiry = Expiry::of(&request, &request.input.key)?;
    let caller = request.extensions.get::<Caller>().cloned();
    refuse_on_read(&request.headers)?;
    let mut input = request.input;
    let sealing = Sealing::new(&input.bucket, &input.key, customer_of!(input)?);
    let bucket = store.bucket(&account, &input.bucket).await?;
    let which = version(input.version_id.as_deref())?;
    let meta = &store.grid.meta;
    let (found, manifest) = match input.part_number {
        None => (meta.object(input.bucket, input.key, which).await.map_err(errors::lookup)?, None),
        Some(_) => {
            let found = meta.object_with_manifest(input.bucket, input.key, which).await;
            let (found, manifest) = found.map_err(errors::lookup)?;
            (found, Some(manifest))
        }
    };
    judged.check(&found.info)?;
    check_conditions!(input, &found.info)?;
    let mode = input.checksum_mode.as_ref();
    let view = View::new(&found.info, manifest.as_ref(), input.range.as_ref(), input.part_number, mode)?;
    store.check_customer(&sealing, &found.info.properties.encryption).await?;
    let mut output = object_fields!(HeadObjectOutput, bucket, &found, &view);
    set_encryption!(output, sealing.customer);
    output.expiration = expiry.told(&found.info);
    let mut response = S3Response::new(output);
    if let Some(count) = tag_count(&found.info) {
        response.headers.insert("x-amz-tagging-count", count.into());
    }
    store.tell_audits(caller.as_ref(), &bucket, &found.info, &mut response.headers).await;
    Ok(response)
}

pub(super) async fn get_object_attributes(
    store: &Store,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<GetObjectAttributesOutput> {
    let account = account(&request)?;
    let judged = Judged::of(&request);
    let mut input = request.input;
    let sealing = Sealing::new(&input.bucket, &input.key, customer_of!(input)?);
    let known = [
        ObjectAttributes::CHECKSUM,
        ObjectAttributes::ETAG,
        ObjectAttributes::OBJECT_PARTS,
        ObjectAttributes::OBJECT_SIZE,
        ObjectAttributes::STORAGE_CLASS,
    ];
    // Several of them come in one header.
    let asked = input.object_attributes.iter().flat_map(|list| list.as_str().split(','));
    let asked: Vec<_> = asked.map(|name| name.trim().to_owned()).collect();
    if asked.iter().any(|name| !known.contains(&name.as_str())) {
        return Err(s3_error!(InvalidArgument, "the attributes are {}", known.join(", ")));
    }
    let asks = |name: &str| asked.iter().any(|asked| asked == name);
    let bucket = store.bucket(&account, &input.bucket).await?;
    let which = version(input.version_id.as_deref())?;
    let max = match input.max_parts.unwrap_or(PARTS_MAX) {
        negative @ i32::MIN..0 => return Err(s3_error!(InvalidArgument, "max-parts is {negative}")),
        max => max.min(PARTS_MAX),
    };
    let after = input.part_number_marker.unwrap_or(0);
    let found = store.grid.meta.object_with_manifest(input.bucket, input.key, which).await;
    let (found, manifest) = found.map_err(errors::lookup)?;
    judged.check(&found.info)?;
    let info = &found.info;
    store.check_customer(&sealing, &info.properties.encryption).await?;
    let checksum = asks(ObjectAttributes::CHECKSUM).then(|| checksum_of(info)).flatten();
    let parts = asks(ObjectAttributes::OBJECT_PARTS) && info.parts > 0;
    Ok(GetObjectAttributesOutput {
        checksum,
        e_tag: asks(ObjectAttributes::ETAG).then(|| ETag::Strong(info.etag.clone())),
        last_modified: Some(super::input::timestamp(info.modified_ms)),
        object_parts: parts.then(|| parts_of(info, &manifest, after, max)),
        object_size: asks(ObjectAttributes::OBJECT_SIZE).then_some(info.size as i64),
        storage_class: asks(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from_static(StorageClass::STANDARD)),
        version_id: bucket.shown(found.version).map(|id| id.to_string()),
        ..Default::default()
    })
}

fn checksum_of(info: &ObjectInfo) -> Option<Checksum> {
    let checksum_type = checksum_type(info)?;
    let kept = info.checksums.clone();
    Some(Checksum {
        checksum_crc32: kept.crc32,
        checksum_crc32c: kept.crc32c,
        checksum_crc64nvme: kept.crc64nvme,
        checksum_sha1: kept.sha1,
        checksum_sha256: kept.sha256,
        checksum_type: Some(checksum_type),
    })
}

fn parts_of(info: &ObjectInfo, manifest: &Manifest, after: i32, max: i32) -> GetObjectAttributesParts {
    let shown = |checksums: &Checksums, algorithm| {
        let known = info.checksums.get(algorithm).is_some();
        checksums.get(algorithm).filter(|_| known).map(str::to_owned)
    };
    let mut left = manifest
        .labels
        .iter()
        .zip(&manifest.parts)
        .filter(|(label, _)| i64::from(label.number) > i64::from(after))
        .peekable();
    use crate::checksum::Algorithm;
    let parts: Vec<ObjectPart> = left
        .by_ref()
        .take(max as usize)
        .map(|(label, part)| ObjectPart {
            part_number: Some(label.number as i32),
            size: Some(part.plain_len as i64),
            checksum_crc32: shown(&label.checksums, Algorithm::Crc32),
            checksum_crc32c: shown(&label.checksums, Algorithm::Crc32c),
            checksum_crc64nvme: shown(&label.checksums, Algorithm::Crc64Nvme),
            checksum_sha1: shown(&label.checksums, Algorithm::Sha1),
            checksum_sha256: shown(&label.checksums, Algorithm::Sha256),
        })
        .collect();
    let is_truncated = max > 0 && left.peek().is_some();
    GetObjectAttributesParts {
        is_truncated: Some(is_truncated),
        max_parts: Some(max),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        part_number_marker: Some(after),
        parts: Some(parts),
        total_parts_count: Some(info.parts as i32),
    }
}
