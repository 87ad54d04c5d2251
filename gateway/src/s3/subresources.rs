//! Policy, public access block, ownership, CORS rules and tags of a bucket.

use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, dto::*, s3_error};

use super::{
    Store,
    access::{Block, Ownership, Policy, PolicyError, Rules},
    cors, errors, stored,
};
use crate::meta::{BucketRows, Subresource};

/// Most tags of a bucket (as in AWS).
const TAGS_MAX: usize = 50;
/// Longest key and value of a tag, characters (as in AWS).
const TAG_KEY_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;

impl Store {
    /// A bucket with all its rows.
    pub(super) async fn rows(&self, bucket: &str) -> S3Result<BucketRows> {
        let rows = self.grid.meta.bucket_rows(bucket.to_owned()).await.map_err(errors::meta)?;
        rows.ok_or_else(|| s3_error!(NoSuchBucket, "the bucket does not exist"))
    }

    /// What a bucket says about who may do what.
    pub(super) async fn rules(&self, bucket: &str) -> S3Result<Rules> {
        Rules::new(bucket, &self.rows(bucket).await?)
    }

    /// A row of a bucket, or the error that says that there is none.
    pub(super) async fn row(
        &self,
        bucket: String,
        kind: Subresource,
        none: impl FnOnce() -> S3Error,
    ) -> S3Result<Vec<u8>> {
        let row = self.grid.meta.subresource(bucket, kind).await.map_err(errors::meta)?;
        row.ok_or_else(none)
    }

    /// Enters a row of a bucket, or removes it.
    pub(super) async fn put_row(
        &self,
        bucket: String,
        kind: Subresource,
        row: Option<Vec<u8>>,
    ) -> S3Result<()> {
        self.grid.meta.put_subresource(bucket, kind, row).await.map_err(errors::meta)
    }
}

pub(super) async fn put_bucket_policy(
    store: &Store,
    request: S3Request<PutBucketPolicyInput>,
) -> S3Result<PutBucketPolicyOutput> {
    let input = request.input;
    let policy = Policy::parse(&input.policy, &input.bucket).map_err(|error| match error {
        PolicyError::TooLong => s3_error!(InvalidArgument, "{error}"),
        error => s3_error!(MalformedPolicy, "{error}"),
    })?;
    if store.rules(&input.bucket).await?.block.put_policy && policy.is_public() {
        return Err(s3_error!(AccessDenied, "public policies are blocked for this bucket"));
    }
    let row = input.policy.into_bytes();
    store.put_row(input.bucket, Subresource::Policy, Some(row)).await?;
    Ok(PutBucketPolicyOutput {})
}

pub(super) async fn get_bucket_policy(
    store: &Store,
    request: S3Request<GetBucketPolicyInput>,
) -> S3Result<GetBucketPolicyOutput> {
    let none = || s3_error!(NoSuchBucketPolicy, "the bucket has no policy");
    let row = store.row(request.input.bucket, Subresource::Policy, none).await?;
    let policy = String::from_utf8(row).map_err(|_| s3_error!(InternalError))?;
    Ok(GetBucketPolicyOutput { policy: Some(policy) })
}

pub(super) async fn delete_bucket_policy(
    store: &Store,
    request: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<DeleteBucketPolicyOutput> {
    store.put_row(request.input.bucket, Subresource::Policy, None).await?;
    Ok(DeleteBucketPolicyOutput {})
}

pub(super) async fn get_bucket_policy_status(
    store: &Store,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<GetBucketPolicyStatusOutput> {
    let is_public = store.rules(&request.input.bucket).await?.is_public();
    Ok(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public: Some(is_public) }) })
}

pub(super) async fn put_public_access_block(
    store: &Store,
    request: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<PutPublicAccessBlockOutput> {
    let input = request.input;
    let row = stored::to_row(&input.public_access_block_configuration)?;
    store.put_row(input.bucket, Subresource::PublicAccessBlock, Some(row)).await?;
    Ok(PutPublicAccessBlockOutput {})
}

pub(super) async fn get_public_access_block(
    store: &Store,
    request: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<GetPublicAccessBlockOutput> {
    let none = || {
        let code = S3ErrorCode::Custom("NoSuchPublicAccessBlockConfiguration".into());
        errors::not_found(code, "the bucket has no public access block")
    };
    let row = store.row(request.input.bucket, Subresource::PublicAccessBlock, none).await?;
    let Block { put_acls, ignore_acls, put_policy, restrict } = Block::of(&stored::from_row(&row)?);
    Ok(GetPublicAccessBlockOutput {
        public_access_block_configuration: Some(PublicAccessBlockConfiguration {
            block_public_acls: Some(put_acls),
            block_public_policy: Some(put_policy),
            ignore_public_acls: Some(ignore_acls),
            restrict_public_buckets: Some(restrict),
        }),
    })
}

pub(super) async fn delete_public_access_block(
    store: &Store,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<DeletePublicAccessBlockOutput> {
    store.put_row(request.input.bucket, Subresource::PublicAccessBlock, None).await?;
    Ok(DeletePublicAccessBlockOutput {})
}

pub(super) async fn put_bucket_ownership_controls(
    store: &Store,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<PutBucketOwnershipControlsOutput> {
    let input = request.input;
    if Ownership::of(&input.ownership_controls)? == Ownership::Enforced {
        let rules = store.rules(&input.bucket).await?;
        if !rules.acl.is_only_for(&rules.owner) {
            return Err(s3_error!(
                InvalidBucketAclWithObjectOwnership,
                "make the bucket's ACL private before its owner is enforced"
            ));
        }
    }
    let row = stored::to_row(&input.ownership_controls)?;
    store.put_row(input.bucket, Subresource::Ownership, Some(row)).await?;
    Ok(PutBucketOwnershipControlsOutput {})
}

pub(super) async fn get_bucket_ownership_controls(
    store: &Store,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<GetBucketOwnershipControlsOutput> {
    let none = || s3_error!(OwnershipControlsNotFoundError, "the bucket has no ownership controls");
    let row = store.row(request.input.bucket, Subresource::Ownership, none).await?;
    Ok(GetBucketOwnershipControlsOutput { ownership_controls: Some(stored::from_row(&row)?) })
}

pub(super) async fn delete_bucket_ownership_controls(
    store: &Store,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> S3Result<DeleteBucketOwnershipControlsOutput> {
    store.put_row(request.input.bucket, Subresource::Ownership, None).await?;
    Ok(DeleteBucketOwnershipControlsOutput {})
}

pub(super) async fn put_bucket_cors(
    store: &Store,
    request: S3Request<PutBucketCorsInput>,
) -> S3Result<PutBucketCorsOutput> {
    let input = request.input;
    cors::check(&input.cors_configuration)?;
    let row = stored::to_row(&input.cors_configuration)?;
    store.put_row(input.bucket, Subresource::Cors, Some(row)).await?;
    Ok(PutBucketCorsOutput {})
}

pub(super) async fn get_bucket_cors(
    store: &Store,
    request: S3Request<GetBucketCorsInput>,
) -> S3Result<GetBucketCorsOutput> {
    let none = || s3_error!(NoSuchCORSConfiguration, "the bucket has no CORS rules");
    let row = store.row(request.input.bucket, Subresource::Cors, none).await?;
    let document: CORSConfiguration = stored::from_row(&row)?;
    Ok(GetBucketCorsOutput { cors_rules: Some(document.cors_rules) })
}

pub(super) async fn delete_bucket_cors(
    store: &Store,
    request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<DeleteBucketCorsOutput> {
    store.put_row(request.input.bucket, Subresource::Cors, None).await?;
    Ok(DeleteBucketCorsOutput {})
}

/// Refuses tags that S3 would.
fn check_tags(tags: &[Tag]) -> S3Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(s3_error!(InvalidTag, "at most {TAGS_MAX} tags"));
    }
    let mut seen = Vec::with_capacity(tags.len());
    for tag in tags {
        let key = tag.key.as_deref().unwrap_or("");
        let value = tag.value.as_deref().unwrap_or("");
        if key.is_empty() || key.chars().count() > TAG_KEY_MAX || value.chars().count() > TAG_VALUE_MAX {
            return Err(s3_error!(
                InvalidTag,
                "keys have 1 to {TAG_KEY_MAX} characters, values at most {TAG_VALUE_MAX}"
            ));
        }
        if key.starts_with("aws:") {
            return Err(s3_error!(InvalidTag, "keys that begin with aws: are reserved"));
        }
        if seen.contains(&key) {
            return Err(s3_error!(InvalidTag, "the key {key} is there twice"));
        }
        seen.push(key);
    }
    Ok(())
}

pub(super) async fn put_bucket_tagging(
    store: &Store,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<PutBucketTaggingOutput> {
    let input = request.input;
    check_tags(&input.tagging.tag_set)?;
    let row = stored::to_row(&input.tagging)?;
    store.put_row(input.bucket, Subresource::Tagging, Some(row)).await?;
    Ok(PutBucketTaggingOutput {})
}

pub(super) async fn get_bucket_tagging(
    store: &Store,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<GetBucketTaggingOutput> {
    let code = || S3ErrorCode::Custom("NoSuchTagSet".into());
    let none = || errors::not_found(code(), "the bucket has no tags");
    let row = store.row(request.input.bucket, Subresource::Tagging, none).await?;
    let document: Tagging = stored::from_row(&row)?;
    Ok(GetBucketTaggingOutput { tag_set: document.tag_set })
}

pub(super) async fn delete_bucket_tagging(
    store: &Store,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<DeleteBucketTaggingOutput> {
    store.put_row(request.input.bucket, Subresource::Tagging, None).await?;
    Ok(DeleteBucketTaggingOutput {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_the_bounds_of_s3() {
        let tag = |key: &str, value: &str| Tag { key: Some(key.into()), value: Some(value.into()) };
        assert!(check_tags(&[tag("a", ""), tag("b", "x")]).is_ok());
        let long = "x".repeat(257);
        for wrong in [
            vec![tag("", "x")],
            vec![tag(&long[..129], "x")],
            vec![tag("a", &long)],
            vec![tag("aws:a", "x")],
            vec![tag("a", "1"), tag("a", "2")],
            (0..51).map(|number| tag(&number.to_string(), "")).collect(),
        ] {
            assert_eq!(check_tags(&wrong).unwrap_err().code().as_str(), "InvalidTag");
        }
    }
}
