//! Who is asking.

use std::sync::Arc;

use s3s::{
    S3Result,
    auth::{S3Auth, SecretKey},
    s3_error,
    validation::{AwsNameValidation, NameValidation},
};

use super::link_v2;
use crate::keys::AccessKeys;

/// First segment of the path of routes that are not S3; no bucket can have this name.
pub(super) const ROUTES: &str = "v1";

/// Secrets for checking signatures.
pub struct Auth(pub Arc<AccessKeys>);

fn find(keys: &AccessKeys, access_key: &str) -> S3Result<(SecretKey, String)> {
    match keys.find(access_key) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(s3_error!(InvalidAccessKeyId, "there is no such access key")),
        Err(error) => {
            tracing::error!(%error, "access keys cannot be used: nobody is let in");
            Err(s3_error!(ServiceUnavailable, "access keys cannot be checked now"))
        }
    }
}

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        find(&self.0, access_key).map(|(secret, _)| secret)
    }
}

/// Refuses requests that are unsigned or signed by version 2.
pub(super) fn require_v4(headers: &hyper::HeaderMap, uri: &hyper::Uri) -> S3Result<()> {
    if link_v2::is_link(uri) {
        return Err(s3_error!(AccessDenied, "signature version 4 is required"));
    }
    let header = headers.get(hyper::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let by_header = header.is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256"));
    let by_query = uri.query().is_some_and(|query| query.contains("X-Amz-Signature="));
    if by_header || by_query {
        Ok(())
    } else {
        Err(s3_error!(AccessDenied, "signature version 4 is required"))
    }
}

/// The account behind verified credentials.
pub(super) fn account_of(keys: &AccessKeys, access_key: &str) -> S3Result<String> {
    find(keys, access_key).map(|(_, account)| account)
}

/// Bucket names as in AWS, and the name that our own routes begin with.
#[derive(Default)]
pub struct Names(AwsNameValidation);

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        let labels = !name.contains(".-") && !name.contains("-.");
        name == ROUTES || (labels && self.0.validate_bucket_name(name))
    }
}
