//! Access control lists of buckets and objects.

use hyper::HeaderMap;
use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{self, Ownership, Wanted},
    errors,
    input::{now_ms, version},
    notification::origin,
    output::owner,
};
use crate::{
    acl::{Acl, Canned},
    meta::{MetaError, Subresource},
};

impl Store {
    /// The list of an object.
    async fn object_acl(&self, bucket: String, key: String, which: Option<&str>) -> S3Result<Acl> {
        let found = self.grid.meta.object(bucket, key, version(which)?).await.map_err(errors::lookup)?;
        let properties = found.info.properties;
        let acl = Acl::of_stored(&properties.owner, properties.acl.as_deref());
        acl.map_err(|_| errors::meta(MetaError::Row("objects")))
    }

    /// The list that a request to replace one asks for: a document, a name or lines in headers.
    pub(super) fn wanted_acl(
        &self,
        headers: &HeaderMap,
        document: Option<AccessControlPolicy>,
        owner: &str,
    ) -> S3Result<Wanted> {
        let by_headers = access::of_headers(headers, &self.keys)?;
        match (by_headers, document) {
            (Some(wanted), None) => Ok(wanted),
            (None, Some(document)) => access::of_document(document, owner, &self.keys),
            (Some(_), Some(_)) => {
                Err(s3_error!(UnexpectedContent, "an ACL is given in headers or in the body, not in both"))
            }
            (None, None) => {
                Err(s3_error!(MissingSecurityHeader, "which ACL? give x-amz-acl, grants or a body"))
            }
        }
    }
}

pub(super) async fn get_bucket_acl(
    store: &Store,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<GetBucketAclOutput> {
    let rules = store.rules(&request.input.bucket).await?;
    let acl = match rules.ownership {
        Ownership::Enforced => Acl::private(&rules.owner),
        Ownership::Preferred | Ownership::Writer => rules.acl,
    };
    Ok(GetBucketAclOutput { grants: Some(access::shown(&acl)), owner: Some(owner(&acl.owner)) })
}

pub(super) async fn put_bucket_acl(
    store: &Store,
    request: S3Request<PutBucketAclInput>,
) -> S3Result<PutBucketAclOutput> {
    let input = request.input;
    let rules = store.rules(&input.bucket).await?;
    if rules.ownership == Ownership::Enforced {
        return Err(s3_error!(AccessControlListNotSupported, "the bucket does not allow ACLs"));
    }
    let wanted = store.wanted_acl(&request.headers, input.access_control_policy, &rules.owner)?;
    if matches!(wanted, Wanted::Canned(Canned::BucketOwnerRead | Canned::BucketOwnerFullControl)) {
        return Err(s3_error!(InvalidArgument, "this canned ACL is one of objects"));
    }
    let acl = wanted.acl(&rules.owner, &rules.owner);
    rules.check_acl(&acl)?;
    store.put_row(input.bucket, Subresource::Acl, Some(acl.to_row())).await?;
    Ok(PutBucketAclOutput {})
}

pub(super) async fn get_object_acl(
    store: &Store,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<GetObjectAclOutput> {
    let input = request.input;
    let acl = store.object_acl(input.bucket, input.key, input.version_id.as_deref()).await?;
    Ok(GetObjectAclOutput {
        grants: Some(access::shown(&acl)),
        owner: Some(owner(&acl.owner)),
        request_charged: None,
    })
}

pub(super) async fn put_object_acl(
    store: &Store,
    request: S3Request<PutObjectAclInput>,
) -> S3Result<PutObjectAclOutput> {
    let origin = origin(&request);
    let input = request.input;
    let rules = store.rules(&input.bucket).await?;
    if rules.ownership == Ownership::Enforced {
        return Err(s3_error!(AccessControlListNotSupported, "the bucket does not allow ACLs"));
    }
    let which = version(input.version_id.as_deref())?;
    let before =
        store.object_acl(input.bucket.clone(), input.key.clone(), input.version_id.as_deref()).await?;
    let wanted = store.wanted_acl(&request.headers, input.access_control_policy, &before.owner)?;
    let acl = wanted.acl(&before.owner, &rules.owner);
    rules.check_acl(&acl)?;
    let names = (input.bucket, input.key);
    let set = store.grid.meta.set_object_acl(names, which, acl.to_stored(), origin, now_ms()).await;
    set.map_err(errors::lookup)?;
    Ok(PutObjectAclOutput::default())
}
