//! Deleting objects and versions, one or many at once.

use futures_util::{StreamExt, stream};
use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{Refused, payer},
    account, errors,
    input::{etag_match, etag_named, now_ms, seconds, version},
    notification::origin,
};
use crate::meta::{DeleteCondition, DeleteRequest};

/// Most keys in one request to delete.
pub(super) const KEYS_MAX: usize = 1_000;
/// Deletions of one request under way at once.
const AT_ONCE: usize = 64;

/// The size a condition names; a negative one is no size.
fn size(size: Option<i64>) -> S3Result<Option<u64>> {
    let size = size.map(u64::try_from).transpose();
    size.map_err(|_| s3_error!(InvalidArgument, "a size is not negative"))
}

pub(super) async fn delete_object(
    store: &Store,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<DeleteObjectOutput> {
    let (account, payer) = (account(&request)?, payer(&request)?);
    let origin = origin(&request);
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    let request = DeleteRequest {
        version: version(input.version_id.as_deref())?,
        condition: DeleteCondition {
            etag: input.if_match.map(etag_match),
            modified_s: input.if_match_last_modified_time.as_ref().map(seconds),
            size: size(input.if_match_size)?,
        },
        bypass: input.bypass_governance_retention.unwrap_or(false),
        bucket: input.bucket,
        key: input.key,
        account,
        payer,
        origin,
    };
    let done = store.grid.meta.delete(request, now_ms()).await.map_err(errors::meta)?;
    Ok(DeleteObjectOutput {
        delete_marker: done.marker.then_some(true),
        version_id: done.version.map(|id| id.to_string()),
        request_charged: None,
    })
}

async fn delete_one(
    store: &Store,
    mut request: DeleteRequest,
    object: &ObjectIdentifier,
) -> S3Result<DeletedObject> {
    request.version = version(object.version_id.as_deref())?;
    request.condition = DeleteCondition {
        etag: object.e_tag.clone().map(etag_named),
        modified_s: object.last_modified_time.as_ref().map(seconds),
        size: size(object.size)?,
    };
    let done = store.grid.meta.delete(request, now_ms()).await.map_err(errors::meta)?;
    Ok(DeletedObject {
        key: Some(object.key.clone()),
        version_id: object.version_id.clone(),
        delete_marker: done.marker.then_some(true),
        delete_marker_version_id: done.version.filter(|_| done.marker).map(|id| id.to_string()),
    })
}

pub(super) async fn delete_objects(
    store: &Store,
    mut request: S3Request<DeleteObjectsInput>,
) -> S3Result<DeleteObjectsOutput> {
    let (account, payer) = (account(&request)?, payer(&request)?);
    let origin = origin(&request);
    let Refused(refused) = request.extensions.remove().unwrap_or_default();
    let input = request.input;
    store.bucket(&account, &input.bucket).await?;
    if (input.delete.objects.is_empty() && refused.is_empty()) || input.delete.objects.len() > KEYS_MAX {
        return Err(s3_error!(MalformedXML, "1 to {KEYS_MAX} keys can be deleted at once"));
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    let outcomes: Vec<_> = stream::iter(input.delete.objects)
        .map(|object| {
            let request = DeleteRequest {
                bucket: input.bucket.clone(),
                key: object.key.clone(),
                bypass,
                account: account.clone(),
                payer: payer.clone(),
                origin: origin.clone(),
                ..Default::default()
            };
            async move {
                let done = delete_one(store, request, &object).await;
                (object, done)
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut deleted = Vec::new();
    let mut failed: Vec<Error> = refused;
    for (object, done) in outcomes {
        match done {
            Ok(_) if quiet => {}
            Ok(done) => deleted.push(done),
            Err(error) => failed.push(Error {
                key: Some(object.key),
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                version_id: object.version_id,
            }),
        }
    }
    Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(failed), request_charged: None })
}
