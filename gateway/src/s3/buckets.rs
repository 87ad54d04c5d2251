//! Buckets and listings.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as TOKEN};
use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{Caller, NewAcl, Ownership},
    account,
    auth::ROUTES,
    errors,
    input::{now_ms, timestamp},
    output::{common_prefix, encoded, line, owner},
    stored,
};
use crate::{
    acl::Acl,
    listing::{Page, Query},
    meta::{BucketInfo, MetaError, Subresource},
    object::{LockConfig, Versioning},
};

/// Most lines of a listing.
const KEYS_MAX: i32 = 1_000;

pub(super) async fn list_buckets(
    store: &Store,
    request: S3Request<ListBucketsInput>,
) -> S3Result<ListBucketsOutput> {
    let account = account(&request)?;
    let scope = request.extensions.get::<Caller>().map(|caller| caller.scope.clone());
    let scope = scope.ok_or_else(|| s3_error!(AccessDenied))?;
    let prefix = request.input.prefix.unwrap_or_default();
    let after = request.input.continuation_token.unwrap_or_default();
    let max = request.input.max_buckets.map_or(usize::MAX, |max| max.max(1) as usize);
    let all = store.grid.meta.buckets(account.clone()).await.map_err(errors::meta)?;
    let mut found = all
        .into_iter()
        .filter(|(name, _)| scope.enters(name))
        .filter(|(name, _)| name.starts_with(&prefix) && (after.is_empty() || *name > after))
        .map(|(name, info)| Bucket {
            name: Some(name),
            creation_date: Some(timestamp(info.created_ms)),
            ..Default::default()
        })
        .collect::<Vec<_>>();
    let more = found.len() > max;
    found.truncate(max);
    let continuation_token = more.then(|| found.last().and_then(|bucket| bucket.name.clone())).flatten();
    Ok(ListBucketsOutput {
        buckets: Some(found),
        owner: Some(owner(&account)),
        continuation_token,
        prefix: (!prefix.is_empty()).then_some(prefix),
    })
}

pub(super) async fn create_bucket(
    store: &Store,
    request: S3Request<CreateBucketInput>,
) -> S3Result<CreateBucketOutput> {
    let account = account(&request)?;
    let acl = request.extensions.get::<NewAcl>().map(|NewAcl(acl)| acl.clone());
    let acl = acl.unwrap_or_else(|| Acl::private(&account));
    let input = request.input;
    if input.bucket == ROUTES {
        return Err(s3_error!(InvalidBucketName));
    }
    let mut rows = Vec::new();
    if acl != Acl::private(&account) {
        rows.push((Subresource::Acl, acl.to_row()));
    }
    if let Some(object_ownership) = input.object_ownership {
        Ownership::named(object_ownership.as_str())?;
        let controls = OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] };
        rows.push((Subresource::Ownership, stored::to_row(&controls)?));
    }
    let mut info = BucketInfo::new(account, now_ms());
    if input.object_lock_enabled_for_bucket.unwrap_or(false) {
        info.versioning = Versioning::Enabled;
        info.lock = Some(LockConfig::default());
    }
    let made = store.grid.meta.create_bucket_with(input.bucket.clone(), info, rows).await;
    match made {
        // As in AWS' first region: making a bucket again changes nothing, unless it would be another one.
        Err(MetaError::BucketOwned) if store.region == "us-east-1" => {
            if store.rules(&input.bucket).await?.acl != acl {
                return Err(s3_error!(BucketAlreadyExists, "the bucket is yours already, with another ACL"));
            }
        }
        made => made.map_err(errors::meta)?,
    }
    Ok(CreateBucketOutput { location: Some(format!("/{}", input.bucket)) })
}

pub(super) async fn delete_bucket(
    store: &Store,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<DeleteBucketOutput> {
    store.grid.meta.delete_bucket(request.input.bucket).await.map_err(errors::meta)?;
    Ok(DeleteBucketOutput {})
}

pub(super) async fn head_bucket(
    store: &Store,
    request: S3Request<HeadBucketInput>,
) -> S3Result<HeadBucketOutput> {
    store.bucket(&account(&request)?, &request.input.bucket).await?;
    Ok(HeadBucketOutput { bucket_region: Some(store.region.clone()), ..Default::default() })
}

pub(super) async fn get_bucket_location(
    store: &Store,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<GetBucketLocationOutput> {
    store.bucket(&account(&request)?, &request.input.bucket).await?;
    // An empty answer means us-east-1.
    let region = (store.region != "us-east-1").then(|| BucketLocationConstraint::from(store.region.clone()));
    Ok(GetBucketLocationOutput { location_constraint: region })
}

pub(super) fn keys_max(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(KEYS_MAX) {
        negative @ i32::MIN..0 => Err(s3_error!(InvalidArgument, "max-keys is {negative}")),
        max => Ok(max.min(KEYS_MAX)),
    }
}

async fn page(store: &Store, account: &str, bucket: &str, query: Query) -> S3Result<Page> {
    store.bucket(account, bucket).await?;
    store.grid.meta.list_objects(bucket.to_owned(), query).await.map_err(errors::meta)
}

pub(super) async fn list_objects(
    store: &Store,
    request: S3Request<ListObjectsInput>,
) -> S3Result<ListObjectsOutput> {
    let account = account(&request)?;
    let mut input = request.input;
    input.delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let max = keys_max(input.max_keys)?;
    let query = Query {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        after: input.marker.clone().unwrap_or_default(),
        max: max as usize,
    };
    let page = page(store, &account, &input.bucket, query).await?;
    let encoding = input.encoding_type.as_ref();
    let text = |text: &String| encoded(text, encoding);
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(input.prefix.as_ref().map(text).unwrap_or_default()),
        marker: Some(input.marker.as_ref().map(text).unwrap_or_default()),
        delimiter: input.delimiter.as_ref().map(text),
        max_keys: Some(max),
        is_truncated: Some(page.next.is_some()),
        // As in AWS, only where keys are folded: otherwise the last key is the marker.
        next_marker: page.next.as_ref().filter(|_| input.delimiter.is_some()).map(text),
        contents: Some(page.keys.iter().map(|(key, info)| line(key, info, encoding, true)).collect()),
        common_prefixes: Some(page.prefixes.iter().map(|prefix| common_prefix(prefix, encoding)).collect()),
        encoding_type: input.encoding_type.clone(),
        request_charged: None,
    })
}

pub(super) async fn list_objects_v2(
    store: &Store,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<ListObjectsV2Output> {
    let account = account(&request)?;
    let mut input = request.input;
    input.delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let max = keys_max(input.max_keys)?;
    let after = match &input.continuation_token {
        None => input.start_after.clone().unwrap_or_default(),
        Some(token) => {
            TOKEN.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
                s3_error!(InvalidArgument, "the continuation token is not one of this gateway")
            })?
        }
    };
    let query = Query {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        after,
        max: max as usize,
    };
    let page = page(store, &account, &input.bucket, query).await?;
    let encoding = input.encoding_type.as_ref();
    let text = |text: &String| encoded(text, encoding);
    let shown = input.fetch_owner.unwrap_or(false);
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(input.prefix.as_ref().map(text).unwrap_or_default()),
        delimiter: input.delimiter.as_ref().map(text),
        start_after: input.start_after.as_ref().map(text),
        max_keys: Some(max),
        key_count: Some((page.keys.len() + page.prefixes.len()) as i32),
        is_truncated: Some(page.next.is_some()),
        continuation_token: input.continuation_token,
        next_continuation_token: page.next.as_ref().map(|next| TOKEN.encode(next)),
        contents: Some(page.keys.iter().map(|(key, info)| line(key, info, encoding, shown)).collect()),
        common_prefixes: Some(page.prefixes.iter().map(|prefix| common_prefix(prefix, encoding)).collect()),
        encoding_type: input.encoding_type.clone(),
        request_charged: None,
    })
}
