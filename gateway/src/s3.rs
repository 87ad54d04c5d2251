//! The S3 API: what `s3s` parsed and authenticated becomes objects on the grid.
//!
//! # Invariants
//! - A request that is signed is signed by version 4 (the policy of a form, by version 2 or 4), or is a link of version 2 to an
//!   object. What it may do, signed or not, is decided in one place: `access`.
//! - What a client asks for and the gateway does not do is refused, not ignored.
//!
//! # Not here
//! Signatures, XML, chunked bodies (`s3s`).

pub(crate) mod access;
mod acl;
mod audit;
mod auth;
mod buckets;
mod callers;
mod copies;
mod cors;
mod credit;
mod deletes;
mod digest;
mod encryption;
mod errors;
mod front;
mod input;
mod lifecycle;
mod link_v2;
mod locate;
mod lock;
mod multipart;
mod notification;
mod objects;
mod output;
mod own;
mod percent;
mod query;
mod reads;
mod receipt;
mod routes;
mod stored;
mod subresources;
mod tagging;
mod taken;
mod uploads;
mod usage;
mod versioning;
mod website;

pub(crate) use auth::is_bucket_name;
pub use front::{Connection, Domains, Front};
pub(crate) use lifecycle::rules_of;
pub use locate::{Located, LocatedShard, LocatedStripe};
pub(crate) use own::told;
#[cfg(any(test, feature = "checks"))]
pub(crate) use query::parameters;
pub use usage::{AccountUsage, all as usage_of_all};

use std::sync::Arc;

use s3s::{
    S3, S3Error, S3Request, S3Response, S3Result,
    config::{S3Config, StaticConfigProvider},
    dto::*,
    s3_error,
};

use self::{
    access::Guard,
    auth::{Auth, Names},
    callers::Callers,
    routes::Routes,
};
use crate::{
    billing::credit::Credit,
    grid::Grid,
    keyring::Keyring,
    keys::AccessKeys,
    meta::{Allowance, BucketInfo, MetaError},
    notify::Webhooks,
    rate::Rate,
};

/// Least bytes of every part but the last.
pub const PART_BYTES_MIN: u64 = 5 << 20;

/// Longest file in a form, bytes: it is kept in memory until the form's policy has been checked against its length.
pub const FORM_BYTES_MAX: u64 = 64 << 20;

/// The S3 service.
#[derive(Clone)]
pub struct Store {
    /// The way to the miners.
    pub grid: Arc<Grid>,
    /// What data keys are wrapped under.
    pub keyring: Arc<Keyring>,
    /// Access keys, and with them the accounts that exist.
    pub keys: Arc<AccessKeys>,
    /// The region that is told to clients.
    pub region: String,
    /// Where events of buckets can be told.
    pub webhooks: Arc<Webhooks>,
    /// What the chain says of the accounts that pay.
    pub credit: Arc<Credit>,
    /// Least bytes of every part but the last; [`PART_BYTES_MIN`] outside tests.
    pub part_bytes_min: u64,
}

/// The account whose things a request works on: the owner of its bucket, who need not be who signed it, or who signed it
/// where there is no bucket yet. Put there by `access`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account(pub String);

fn account<T>(request: &S3Request<T>) -> S3Result<String> {
    match request.extensions.get::<Account>() {
        Some(Account(name)) => Ok(name.clone()),
        None => Err(s3_error!(AccessDenied, "signature version 4 is required")),
    }
}

impl Store {
    /// How much may be stored in the name of an account or a sub-account.
    fn allowance(&self, payer: &str) -> S3Result<Allowance> {
        Callers::allowance(&self.keys, payer)
    }

    /// Why something was not stored; counts what a quota refused.
    fn refused(&self, error: MetaError) -> S3Error {
        if matches!(error, MetaError::Quota(_)) {
            self.grid.metrics.quota_refused.inc();
        }
        errors::meta(error)
    }

    /// The bucket. Whether the caller may use it was decided by [`Guard`]; `_account` is whose it is.
    async fn bucket(&self, _account: &str, name: &str) -> S3Result<BucketInfo> {
        let found = self.grid.meta.bucket(name.to_owned()).await.map_err(errors::meta)?;
        found.ok_or_else(|| s3_error!(NoSuchBucket, "the bucket does not exist"))
    }
}

async fn owned_bucket(grid: &Grid, account: &str, name: &str) -> S3Result<BucketInfo> {
    match grid.meta.bucket(name.to_owned()).await.map_err(errors::meta)? {
        None => Err(s3_error!(NoSuchBucket, "the bucket does not exist")),
        Some(info) if info.account != account => {
            Err(s3_error!(AccessDenied, "the bucket belongs to another account"))
        }
        Some(info) => Ok(info),
    }
}

/// Builds the service: operations, authentication, access and the location route, with what stands in front of it.
pub fn service(store: Store, domains: Domains) -> Front {
    service_with(store, domains, Arc::default())
}

/// The same with counts that somebody else sees too.
pub fn service_with(store: Store, domains: Domains, rate: Arc<Rate>) -> Front {
    let (grid, meta) = (store.grid.clone(), store.grid.meta.clone());
    let (keys, credit) = (store.keys.clone(), store.credit.clone());
    let callers = Arc::new(Callers::new(keys, rate, credit, grid.metrics.clone()));
    let mut builder = s3s::service::S3ServiceBuilder::new(store);
    builder.set_auth(Auth(callers.clone()));
    builder.set_access(Guard::new(callers.clone(), meta.clone()));
    builder.set_route(Routes::new(grid, callers.clone()));
    builder.set_validation(Names::default());
    builder.set_host(domains.clone());
    let mut config = S3Config::default();
    config.post_object_max_file_size = FORM_BYTES_MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    Front::new(builder.build(), meta, domains, callers)
}

macro_rules! operations {
    ($($name:ident: $input:ident => $output:ident, $file:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Store {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    $file::$name(self, request).await.map(S3Response::new)
                }
            )*

            async fn complete_multipart_upload(
                &self,
                request: S3Request<CompleteMultipartUploadInput>,
            ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                multipart::complete_multipart_upload(self, request).await
            }

            async fn head_object(
                &self,
                request: S3Request<HeadObjectInput>,
            ) -> S3Result<S3Response<HeadObjectOutput>> {
                reads::head_object(self, request).await
            }
        }

        /// Names of all operations that are carried out.
        #[cfg(test)]
        const OFFERED: &[&str] = &["head_object", $(stringify!($name)),*];
    };
}

operations! {
    list_buckets: ListBucketsInput => ListBucketsOutput, buckets;
    create_bucket: CreateBucketInput => CreateBucketOutput, buckets;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, buckets;
    head_bucket: HeadBucketInput => HeadBucketOutput, buckets;
    get_object_acl: GetObjectAclInput => GetObjectAclOutput, acl;
    put_object_acl: PutObjectAclInput => PutObjectAclOutput, acl;
    get_bucket_acl: GetBucketAclInput => GetBucketAclOutput, acl;
    put_bucket_acl: PutBucketAclInput => PutBucketAclOutput, acl;
    put_bucket_policy: PutBucketPolicyInput => PutBucketPolicyOutput, subresources;
    get_bucket_policy: GetBucketPolicyInput => GetBucketPolicyOutput, subresources;
    delete_bucket_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput, subresources;
    get_bucket_policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput, subresources;
    put_public_access_block: PutPublicAccessBlockInput => PutPublicAccessBlockOutput, subresources;
    get_public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput, subresources;
    delete_public_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput, subresources;
    put_bucket_ownership_controls: PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput, subresources;
    get_bucket_ownership_controls: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput, subresources;
    delete_bucket_ownership_controls: DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput, subresources;
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput, subresources;
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput, subresources;
    delete_bucket_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput, subresources;
    put_bucket_tagging: PutBucketTaggingInput => PutBucketTaggingOutput, subresources;
    get_bucket_tagging: GetBucketTaggingInput => GetBucketTaggingOutput, subresources;
    delete_bucket_tagging: DeleteBucketTaggingInput => DeleteBucketTaggingOutput, subresources;
    put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput, lifecycle;
    get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput, lifecycle;
    delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput, lifecycle;
    put_bucket_notification_configuration: PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput, notification;
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, notification;
    put_bucket_website: PutBucketWebsiteInput => PutBucketWebsiteOutput, website;
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput, website;
    delete_bucket_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput, website;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, buckets;
    list_objects: ListObjectsInput => ListObjectsOutput, buckets;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, buckets;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, versioning;
    put_bucket_encryption: PutBucketEncryptionInput => PutBucketEncryptionOutput, encryption;
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput, encryption;
    delete_bucket_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput, encryption;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, versioning;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, versioning;
    put_object_lock_configuration: PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput, lock;
    get_object_lock_configuration: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput, lock;
    put_object: PutObjectInput => PutObjectOutput, objects;
    get_object: GetObjectInput => GetObjectOutput, reads;
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput, reads;
    delete_object: DeleteObjectInput => DeleteObjectOutput, deletes;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, deletes;
    copy_object: CopyObjectInput => CopyObjectOutput, copies;
    put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput, tagging;
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput, tagging;
    delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput, tagging;
    put_object_retention: PutObjectRetentionInput => PutObjectRetentionOutput, lock;
    get_object_retention: GetObjectRetentionInput => GetObjectRetentionOutput, lock;
    put_object_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput, lock;
    get_object_legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput, lock;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, multipart;
    upload_part: UploadPartInput => UploadPartOutput, multipart;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, multipart;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, multipart;
    list_parts: ListPartsInput => ListPartsOutput, uploads;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, uploads;
}
