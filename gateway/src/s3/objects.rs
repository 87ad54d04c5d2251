//! Objects: put, get, head, delete, copy.

use std::ops::Range;

use futures_util::{StreamExt, stream};
use hyper::HeaderMap;
use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store, account,
    digest::Digests,
    errors,
    input::{
        condition, current_version, kept_headers, now_ms, refuse, refuse_wishes, seconds, take_in_body,
        timestamp,
    },
    output::{Body, object_fields, set_checksums},
};
use crate::{
    grid::{read::OpenPart, write::Upload},
    manifest::{Checksums, Manifest, ManifestId, ObjectInfo, PartManifest},
    meta::NewObject,
};

/// Most keys in one request to delete.
const DELETE_KEYS_MAX: usize = 1_000;
/// Deletions of one request under way at once.
const DELETES_AT_ONCE: usize = 64;

/// What a body became: stripes that stay if the upload is kept, where they are, MD5 and checksums.
pub(super) type Taken = (Upload, PartManifest, [u8; 16], Checksums);

/// Takes a body in: hashes, encrypts, stores. The stripes are given back if the upload is dropped.
pub(super) async fn take_in(
    store: &Store,
    account: &str,
    body: Option<StreamingBlob>,
    length: Option<i64>,
    mut digests: Digests,
) -> S3Result<Taken> {
    let key = store.accounts.of(account);
    let mut upload = Upload::new(store.grid.clone(), &key, account.as_bytes());
    let mut received = 0u64;
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| errors::body(&error))?;
            digests.update(&bytes);
            received += bytes.len() as u64;
            upload.push(&bytes).await.map_err(errors::write)?;
        }
    }
    if length.is_some_and(|length| u64::try_from(length) != Ok(received)) {
        return Err(s3_error!(
            IncompleteBody,
            "{received} bytes came where {} were announced",
            length.unwrap_or(0)
        ));
    }
    let (md5, checksums) = digests.finish()?;
    let manifest = upload.finish().await.map_err(errors::write)?;
    Ok((upload, manifest, md5, checksums))
}

pub(super) async fn put_object(
    store: &Store,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<PutObjectOutput> {
    let account = account(&request)?;
    let input = &mut request.input;
    refuse_wishes!(input)?;
    refuse(&[("appending to objects", input.write_offset_bytes.is_some())])?;
    store.bucket(&account, &input.bucket).await?;
    let condition = condition(input.if_match.take(), input.if_none_match.take())?;
    let headers = kept_headers!(input)?;
    let (upload, manifest, md5, checksums) = take_in_body!(store, &account, request);
    let now = now_ms();
    let info = ObjectInfo {
        manifest: rand::random(),
        size: manifest.plain_len,
        etag: hex::encode(md5),
        modified_ms: now,
        parts: 0,
        headers,
        checksums: checksums.clone(),
    };
    let mut output = PutObjectOutput { e_tag: Some(ETag::Strong(info.etag.clone())), ..Default::default() };
    set_checksums!(output, checksums);
    let object = NewObject {
        bucket: request.input.bucket,
        key: request.input.key,
        info,
        manifest: Manifest { parts: vec![manifest] },
        condition,
    };
    store.grid.meta.put_object(object, now).await.map_err(errors::meta)?;
    upload.keep();
    Ok(output)
}

/// Takes in a range of an object that is here already, under a key of its own.
pub(super) async fn take_in_copy(
    store: &Store,
    account: &str,
    from: (String, String),
    expected: ManifestId,
    range: Range<u64>,
) -> S3Result<Taken> {
    let found = store.grid.meta.object_with_manifest(from.0, from.1).await;
    let (info, manifest) = found.map_err(errors::meta)?;
    if info.manifest != expected {
        return Err(s3_error!(PreconditionFailed, "the object was replaced meanwhile"));
    }
    let mut plaintext = store.grid.read(open_parts(store, account, manifest)?, range.clone());
    let mut upload = Upload::new(store.grid.clone(), &store.accounts.of(account), account.as_bytes());
    let mut digests = Digests::new(&HeaderMap::new(), None, Checksums::default(), None, None)?;
    let mut copied = 0;
    while let Some(bytes) = plaintext.recv().await {
        let bytes = bytes.map_err(errors::read)?;
        digests.update(&bytes);
        copied += bytes.len() as u64;
        upload.push(&bytes).await.map_err(errors::write)?;
    }
    if copied != range.end - range.start {
        return Err(s3_error!(InternalError, "the object ended early"));
    }
    let (md5, checksums) = digests.finish()?;
    let manifest = upload.finish().await.map_err(errors::write)?;
    Ok((upload, manifest, md5, checksums))
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
    if changed { Ok(()) } else { Err(s3_error!(NotModified)) }
}

fn wants_checksums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

pub(super) async fn get_object(
    store: &Store,
    request: S3Request<GetObjectInput>,
) -> S3Result<GetObjectOutput> {
    let account = account(&request)?;
    let input = request.input;
    current_version(input.version_id.as_deref())?;
    refuse(&[
        ("customer-provided keys", input.sse_customer_algorithm.is_some()),
        ("reading by part number", input.part_number.is_some()),
    ])?;
    store.bucket(&account, &input.bucket).await?;
    let found = store.grid.meta.object_with_manifest(input.bucket, input.key).await;
    let (info, manifest) = found.map_err(errors::meta)?;
    check_read(
        &info,
        input.if_match.as_ref(),
        input.if_unmodified_since.as_ref(),
        input.if_none_match.as_ref(),
        input.if_modified_since.as_ref(),
    )?;
    let range = match &input.range {
        Some(range) => range.check(info.size)?,
        None => 0..info.size,
    };
    let content_range = input
        .range
        .is_some()
        .then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), info.size));
    let parts = open_parts(store, &account, manifest)?;
    let length = range.end - range.start;
    let mut plaintext = store.grid.read(parts, range);
    // The first piece decides between an answer and an error that says why.
    let first = plaintext.recv().await.transpose().map_err(errors::read)?;
    let mut output = object_fields!(
        GetObjectOutput,
        &info,
        wants_checksums(input.checksum_mode.as_ref()) && content_range.is_none()
    );
    output.content_length = Some(length as i64);
    output.content_range = content_range;
    output.body = Some(StreamingBlob::new(Body::new(first, plaintext, length)));
    Ok(output)
}

fn open_parts(store: &Store, account: &str, manifest: Manifest) -> S3Result<Vec<OpenPart>> {
    let account_key = store.accounts.of(account);
    let open = |part: PartManifest| match account_key.unwrap(&part.key, account.as_bytes()) {
        Ok(key) => Ok(OpenPart { manifest: part, key }),
        Err(error) => {
            tracing::error!(%error, "an object's key cannot be opened: is this the account key it was written with?");
            Err(s3_error!(InternalError, "the object's key cannot be opened"))
        }
    };
    manifest.parts.into_iter().map(open).collect()
}

pub(super) async fn head_object(
    store: &Store,
    request: S3Request<HeadObjectInput>,
) -> S3Result<HeadObjectOutput> {
    let account = account(&request)?;
    let input = request.input;
    current_version(input.version_id.as_deref())?;
    refuse(&[
        ("customer-provided keys", input.sse_customer_algorithm.is_some()),
        ("reading by part number", input.part_number.is_some()),
    ])?;
    store.bucket(&account, &input.bucket).await?;
    let info = store.grid.meta.object(input.bucket, input.key).await.map_err(errors::meta)?;
    check_read(
        &info,
        input.if_match.as_ref(),
        input.if_unmodified_since.as_ref(),
        input.if_none_match.as_ref(),
        input.if_modified_since.as_ref(),
    )?;
    let range = input.range.as_ref().map(|range| range.check(info.size)).transpose()?;
    let mut output = object_fields!(
        HeadObjectOutput,
        &info,
        wants_checksums(input.checksum_mode.as_ref()) && range.is_none()
    );
    output.content_length = Some(range.as_ref().map_or(info.size, |range| range.end - range.start) as i64);
    output.content_range =
        range.map(|range| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), info.size));
    Ok(output)
}

pub(super) async fn delete_object(
    store: &Store,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<DeleteObjectOutput> {
    let account = account(&request)?;
    let input = request.input;
    current_version(input.version_id.as_deref())?;
    refuse(&[(
        "conditional deletion",
        input.if_match.is_some()
            || input.if_match_last_modified_time.is_some()
            || input.if_match_size.is_some(),
    )])?;
    store.bucket(&account, &input.bucket).await?;
    store.grid.meta.delete_object(input.bucket, input.key, now_ms()).await.map_err(errors::meta)?;
    Ok(DeleteObjectOutput::default())
}

pub(super) async fn delete_objects(
    store: &Store,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<DeleteObjectsOutput> {
    let account = account(&request)?;
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    if input.delete.objects.is_empty() || input.delete.objects.len() > DELETE_KEYS_MAX {
        return Err(s3_error!(MalformedXML, "1 to {DELETE_KEYS_MAX} keys can be deleted at once"));
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let outcomes: Vec<_> = stream::iter(input.delete.objects)
        .map(|object| {
            let (meta, bucket) = (&store.grid.meta, input.bucket.clone());
            async move {
                let done = match current_version(object.version_id.as_deref()) {
                    Err(error) => Err(error),
                    Ok(()) => {
                        meta.delete_object(bucket, object.key.clone(), now_ms()).await.map_err(errors::meta)
                    }
                };
                (object.key, done)
            }
        })
        .buffered(DELETES_AT_ONCE)
        .collect()
        .await;
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for (key, done) in outcomes {
        match done {
            Ok(_) if quiet => {}
            Ok(_) => deleted.push(DeletedObject { key: Some(key), ..Default::default() }),
            Err(error) => failed.push(Error {
                key: Some(key),
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                version_id: None,
            }),
        }
    }
    Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(failed), request_charged: None })
}

/// What a copy is made of: bucket, key and row of the object, if it is the caller's and the conditions of the input,
/// whichever it is, hold.
macro_rules! copy_source {
    ($store:expr, $account:expr, $input:expr) => {{
        let input = $input;
        $crate::s3::input::refuse(&[(
            "customer-provided keys",
            input.copy_source_sse_customer_algorithm.is_some(),
        )])?;
        let CopySource::Bucket { bucket, key, version_id } = &input.copy_source else {
            return Err(s3_error!(NotImplemented, "only bucket/key can be copied from"));
        };
        $crate::s3::input::current_version(version_id.as_deref())?;
        let from = (bucket.to_string(), key.to_string());
        $store.bucket($account, &from.0).await?;
        $store.bucket($account, &input.bucket).await?;
        let source = $store
            .grid
            .meta
            .object(from.0.clone(), from.1.clone())
            .await
            .map_err($crate::s3::errors::meta)?;
        let met = $crate::s3::objects::check_read(
            &source,
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_unmodified_since.as_ref(),
            input.copy_source_if_none_match.as_ref(),
            input.copy_source_if_modified_since.as_ref(),
        );
        met.map_err(|_| s3_error!(PreconditionFailed))?;
        (from, source)
    }};
}
pub(super) use copy_source;

pub(super) async fn copy_object(
    store: &Store,
    request: S3Request<CopyObjectInput>,
) -> S3Result<CopyObjectOutput> {
    let account = account(&request)?;
    let mut input = request.input;
    refuse_wishes!(input)?;
    let (from, source) = copy_source!(store, &account, &input);
    let replace = input.metadata_directive.as_ref().is_some_and(|wish| wish.as_str() == "REPLACE");
    let to = (input.bucket.clone(), input.key.clone());
    if from == to && !replace {
        return Err(s3_error!(InvalidRequest, "a copy onto itself must replace the metadata"));
    }
    let headers = if replace { Some(kept_headers!(input)?) } else { None };
    let copied = store.grid.meta.copy_object(from, source.manifest, to, rand::random(), headers, now_ms());
    let info = copied.await.map_err(errors::meta)?;
    let mut result = CopyObjectResult {
        e_tag: Some(ETag::Strong(info.etag)),
        last_modified: Some(timestamp(info.modified_ms)),
        ..Default::default()
    };
    set_checksums!(result, info.checksums);
    Ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
}
