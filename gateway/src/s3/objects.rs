//! Putting objects.

use futures_util::StreamExt;
use hyper::Method;
use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{new_acl, payer},
    account,
    digest::Digests,
    encryption::{Sealing, check_sse, customer_of, set_encryption},
    errors,
    input::{condition, now_ms, properties, refuse, refuse_wishes, take_in_body},
    lifecycle::Expiry,
    notification::origin,
    output::{checksum_type, set_checksums},
};
use crate::{
    checksum::{ChecksumKind, Checksums},
    grid::write::Upload,
    manifest::{Manifest, PartManifest},
    meta::NewObject,
    notify::Source,
    object::ObjectInfo,
    rate::Traffic,
};

/// Most bytes in one request (as in AWS): what is longer is uploaded in parts.
const BODY_BYTES_MAX: u64 = 5 << 30;

/// What a body became: stripes that stay if the upload is kept, where they are, MD5 and checksums.
pub(super) type Taken = (Upload, PartManifest, [u8; 16], Checksums);

/// Takes a body in, as long as it says it is and no faster than its sender may: hashes, encrypts, stores. The stripes are
/// given back if the upload is dropped.
pub(super) async fn take_in(
    store: &Store,
    sealing: &Sealing,
    (body, length, traffic): (Option<StreamingBlob>, Option<i64>, Option<&Traffic>),
    mut digests: Digests,
) -> S3Result<Taken> {
    let too_large = || s3_error!(EntityTooLarge, "one request brings at most {BODY_BYTES_MAX} bytes");
    let announced = length.and_then(|length| u64::try_from(length).ok());
    if announced.is_some_and(|announced| announced > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let mut upload = Upload::new(store.grid.clone()).announced(announced);
    let mut received = 0u64;
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| errors::body(&error))?;
            digests.update(&bytes);
            received += bytes.len() as u64;
            if received > BODY_BYTES_MAX {
                return Err(too_large());
            }
            upload.push(&bytes).await.map_err(errors::write)?;
            if let Some(traffic) = traffic {
                traffic.received(bytes.len() as u64).await;
            }
        }
    }
    if length.is_some() && announced != Some(received) {
        return Err(s3_error!(
            IncompleteBody,
            "{received} bytes came where {} were announced",
            length.unwrap_or(0)
        ));
    }
    let (md5, checksums) = digests.finish()?;
    let manifest = store.with_key(sealing, upload.finish().await.map_err(errors::write)?).await?;
    Ok((upload, manifest, md5, checksums))
}

pub(super) async fn put_object(
    store: &Store,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<PutObjectOutput> {
    let account = account(&request)?;
    let (acl, payer) = (new_acl(&request)?, payer(&request)?);
    let allowance = store.allowance(&payer)?;
    let expiry = Expiry::of(&request, &request.input.key)?;
    let mut origin = origin(&request);
    if request.method == Method::POST {
        origin.source = Source::Form;
    }
    let input = &mut request.input;
    refuse_wishes!(input)?;
    refuse(&[("appending to objects", input.write_offset_bytes.is_some())])?;
    let customer = customer_of!(input)?;
    check_sse!(input, customer)?;
    let sealing = Sealing::new(&input.bucket, &input.key, customer);
    store.bucket(&account, &input.bucket).await?;
    let condition = condition(input.if_match.take(), input.if_none_match.take());
    let names = (input.bucket.clone(), input.key.clone());
    let announced = input.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
    store.check_credit(&account, announced).await?;
    let properties = properties!((acl, payer), input, store.encryption(&sealing).await?);
    // What can be refused is refused before the body is read.
    let allowed = store.grid.meta.check_put(names, &properties, &condition, allowance, announced).await;
    allowed.map_err(|error| store.refused(error))?;
    let (upload, manifest, md5, checksums) = take_in_body!(store, &sealing, request, None);
    let now = now_ms();
    let info = ObjectInfo {
        manifest: rand::random(),
        size: manifest.plain_len,
        etag: hex::encode(md5),
        modified_ms: now,
        parts: 0,
        upload: None,
        checksums: checksums.clone(),
        checksum_kind: ChecksumKind::Full,
        properties,
    };
    let mut output = PutObjectOutput {
        e_tag: Some(ETag::Strong(info.etag.clone())),
        checksum_type: checksum_type(&info),
        expiration: expiry.told(&info),
        ..Default::default()
    };
    set_checksums!(output, checksums);
    set_encryption!(output, sealing.customer);
    let object = NewObject {
        bucket: request.input.bucket,
        key: request.input.key,
        info,
        manifest: Manifest::whole(manifest),
        condition,
        allowance,
        origin,
    };
    let version = store.grid.meta.put_object(object, now).await.map_err(|error| store.refused(error))?;
    upload.keep();
    output.version_id = version.map(|id| id.to_string());
    Ok(output)
}
