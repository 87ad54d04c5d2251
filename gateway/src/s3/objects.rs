//! Putting objects.

use hyper::Method;
use s3s::{S3Request, S3Result, dto::*};

use super::{
    Store,
    access::{new_acl, payer},
    account,
    encryption::{Sealing, check_sse, customer_of, set_encryption},
    input::{condition, now_ms, properties, refuse, refuse_wishes, take_in_body},
    lifecycle::Expiry,
    notification::origin,
    output::{checksum_type, set_checksums},
};
use crate::{
    checksum::ChecksumKind, manifest::Manifest, meta::NewObject, notify::Source, object::ObjectInfo,
};

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
    let equal = store.equals(&request, &account, &sealing).await?;
    let taken = take_in_body!(store, request, None, equal);
    let (now, checksums) = (now_ms(), taken.checksums.clone());
    let info = ObjectInfo {
        manifest: rand::random(),
        size: taken.size,
        etag: hex::encode(taken.md5),
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
        manifest: Manifest::default(),
        condition,
        allowance,
        origin,
    };
    let version = store.settle(&sealing, taken, |part, equal| {
        let object = NewObject { manifest: Manifest::whole(part), ..object.clone() };
        store.grid.meta.put_equal(object, equal, now)
    });
    let version = version.await?;
    output.version_id = version.map(|id| id.to_string());
    Ok(output)
}
