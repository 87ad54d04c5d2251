//! What the gateway itself keeps in a bucket for everybody to read: objects like any other, put by the way that clients' take
//! below authentication.

use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri, http::Extensions};
use s3s::{Body, S3Error, S3Request, S3Result, dto::*};

use super::{Store, access, errors, input::now_ms, objects};
use crate::{
    acl::Canned,
    meta::{BucketInfo, DeleteRequest, MetaError, Subresource},
    notify::Origin,
};

impl Store {
    /// Makes a bucket of an account that anybody may list, unless the account has one of this name.
    pub(crate) async fn make_own_bucket(&self, bucket: &str, account: &str) -> Result<(), MetaError> {
        let acl = Canned::PublicRead.acl(account, account).to_row();
        let info = BucketInfo::new(account.to_owned(), now_ms());
        let rows = vec![(Subresource::Acl, acl)];
        match self.grid.meta.create_bucket_with(bucket.to_owned(), info, rows).await {
            Err(MetaError::BucketOwned) => Ok(()),
            made => made,
        }
    }

    /// Puts an object into a bucket of an account that anybody may read, unless one has its key.
    pub(crate) async fn put_own(
        &self,
        (bucket, account): (&str, &str),
        key: String,
        content_type: &str,
        bytes: Bytes,
    ) -> S3Result<()> {
        let input = PutObjectInput {
            bucket: bucket.to_owned(),
            key,
            content_type: Some(content_type.to_owned()),
            content_length: i64::try_from(bytes.len()).ok(),
            body: Some(Body::from(bytes).into()),
            if_none_match: Some(ETagCondition::Any),
            ..Default::default()
        };
        let mut extensions = Extensions::new();
        access::admit_own(&mut extensions, account);
        let request = S3Request {
            input,
            method: Method::PUT,
            uri: Uri::default(),
            headers: HeaderMap::new(),
            extensions,
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        objects::put_object(self, request).await.map(drop)
    }

    /// Deletes an object of a bucket of an account. What is not there is no error.
    pub(crate) async fn delete_own(&self, (bucket, account): (&str, &str), key: String) -> S3Result<()> {
        let request = DeleteRequest {
            bucket: bucket.to_owned(),
            key,
            account: account.to_owned(),
            payer: account.to_owned(),
            origin: Origin { principal: account.to_owned(), ..Origin::default() },
            ..DeleteRequest::default()
        };
        self.grid.meta.delete(request, now_ms()).await.map(drop).map_err(errors::meta)
    }
}

/// A refusal as an operator reads it.
pub(crate) fn told(error: &S3Error) -> String {
    match error.message() {
        Some(message) => format!("{}: {message}", error.code().as_str()),
        None => error.code().as_str().to_owned(),
    }
}
