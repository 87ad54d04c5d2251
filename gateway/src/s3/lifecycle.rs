//! Lifecycle rules of a bucket. [`crate::lifecycle`] carries them out.

use s3s::{S3Request, S3Result, dto::*, s3_error};

use super::{Store, access::Rows, digest::random_id, stored};
use crate::{
    lifecycle::{self, Rules},
    meta::Subresource,
    object::ObjectInfo,
};

/// The rules in a row that was checked when it was put.
pub(crate) fn rules_of(row: &[u8]) -> S3Result<Rules> {
    Rules::parse(&stored::from_row(row)?)
}

/// What clients are told of when an object expires.
pub(super) struct Expiry(Option<(Rules, String)>);

impl Expiry {
    /// By the rules of the bucket that a request is about, for an object with this key.
    pub(super) fn of<T>(request: &S3Request<T>, key: &str) -> S3Result<Self> {
        let rows = request.extensions.get::<Rows>();
        let row = rows.and_then(|Rows(rows)| rows.get(Subresource::Lifecycle));
        let rules = row.map(rules_of).transpose()?;
        Ok(Self(rules.map(|rules| (rules, key.to_owned()))))
    }

    /// `x-amz-expiration` of the object.
    pub(super) fn told(&self, info: &ObjectInfo) -> Option<String> {
        let (rules, key) = self.0.as_ref()?;
        rules.expiration(key, info.size, &info.properties.tags, info.modified_ms)
    }
}

pub(super) async fn put_bucket_lifecycle_configuration(
    store: &Store,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<PutBucketLifecycleConfigurationOutput> {
    let input = request.input;
    let document = input.lifecycle_configuration;
    let mut document = document.ok_or_else(|| s3_error!(MalformedXML, "rules are expected"))?;
    lifecycle::check(&mut document, random_id)?;
    let row = stored::to_row(&document)?;
    store.put_row(input.bucket, Subresource::Lifecycle, Some(row)).await?;
    Ok(PutBucketLifecycleConfigurationOutput::default())
}

pub(super) async fn get_bucket_lifecycle_configuration(
    store: &Store,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<GetBucketLifecycleConfigurationOutput> {
    let none = || s3_error!(NoSuchLifecycleConfiguration, "the bucket has no lifecycle rules");
    let row = store.row(request.input.bucket, Subresource::Lifecycle, none).await?;
    let document: BucketLifecycleConfiguration = stored::from_row(&row)?;
    Ok(GetBucketLifecycleConfigurationOutput { rules: Some(document.rules), ..Default::default() })
}

pub(super) async fn delete_bucket_lifecycle(
    store: &Store,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<DeleteBucketLifecycleOutput> {
    store.put_row(request.input.bucket, Subresource::Lifecycle, None).await?;
    Ok(DeleteBucketLifecycleOutput {})
}
