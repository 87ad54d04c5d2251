//! Who is asking.

use std::sync::Arc;

use s3s::{
    S3Result,
    auth::{S3Auth, SecretKey},
    s3_error,
    validation::{AwsNameValidation, NameValidation},
};

use super::{
    callers::Callers,
    link_v2,
    query::{parameter, parameters},
};

/// First segment of the path of routes that are not S3; no bucket can have this name.
pub(super) const ROUTES: &str = "v1";

/// Headers that may stand in the query of a signed address instead, and how others begin that may.
const HOISTED: [&str; 6] = [
    "x-amz-acl",
    "x-amz-bypass-governance-retention",
    "x-amz-expected-bucket-owner",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];
const HOISTED_PREFIXES: [&str; 4] =
    ["x-amz-grant-", "x-amz-meta-", "x-amz-object-lock-", "x-amz-server-side-encryption"];

/// Headers with a customer's key, which stand in no address: those end up in logs and histories.
const CUSTOMERS_KEY_PREFIXES: [&str; 2] =
    ["x-amz-server-side-encryption-customer-", "x-amz-copy-source-server-side-encryption-customer-"];

/// Secrets for checking signatures.
pub(super) struct Auth(pub(super) Arc<Callers>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0.secret(access_key)
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

/// Refuses headers of S3 that the signature says nothing about: whoever is handed a signed address, or changes a request on
/// its way, must not choose what it does.
pub(super) fn require_signed(headers: &hyper::HeaderMap, uri: &hyper::Uri) -> S3Result<()> {
    let by_query = parameter(uri.query().unwrap_or(""), "X-Amz-SignedHeaders");
    let by_header = headers.get(hyper::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let by_header = by_header.and_then(|value| {
        value.split(',').find_map(|part| part.trim().strip_prefix("SignedHeaders=").map(str::to_owned))
    });
    // Of both, the one that `s3s` verified: an address that is signed is that, whatever the headers say.
    let signed = match uri.query().is_some_and(|query| query.contains("X-Amz-Signature=")) {
        true => by_query,
        false => by_header,
    };
    let signed = signed.unwrap_or_default();
    let is_signed = |name: &str| {
        !name.starts_with("x-amz-")
            // Both are part of what is signed in any case.
            || matches!(name, "x-amz-content-sha256" | "x-amz-date")
            || signed.split(';').any(|signed| signed.eq_ignore_ascii_case(name))
            || hoisted(uri).any(|(hoisted, _)| hoisted == name)
    };
    match headers.keys().find(|name| !is_signed(name.as_str())) {
        Some(name) => Err(s3_error!(AccessDenied, "the header {name} is not signed")),
        None => Ok(()),
    }
}

/// Parameters of a signed address that stand for headers, by which some clients presign them.
pub(super) fn hoisted(uri: &hyper::Uri) -> impl Iterator<Item = (String, String)> {
    let query = uri.query().filter(|query| query.contains("X-Amz-Signature=")).unwrap_or("");
    parameters(query).filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let stands = HOISTED.contains(&name.as_str())
            || HOISTED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        stands.then_some((name, value))
    })
}

/// Refuses an address that has a customer's key, or what belongs to one, in its query.
pub(super) fn refuse_customers_key(uri: &hyper::Uri) -> S3Result<()> {
    let mut names = parameters(uri.query().unwrap_or("")).map(|(name, _)| name.to_ascii_lowercase());
    match names.find(|name| CUSTOMERS_KEY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
        Some(name) => Err(s3_error!(InvalidArgument, "{name} must be sent as a header, not in the address")),
        None => Ok(()),
    }
}

/// Bucket names as in AWS, and the name that our own routes begin with.
#[derive(Default)]
pub(super) struct Names(AwsNameValidation);

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        let labels = !name.contains(".-") && !name.contains("-.");
        name == ROUTES || (labels && self.0.validate_bucket_name(name))
    }
}

/// Whether a bucket can be made with this name.
pub(crate) fn is_bucket_name(name: &str) -> bool {
    name != ROUTES && Names::default().validate_bucket_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_s3_are_signed_or_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| {
                    (
                        hyper::header::HeaderName::from_static(name),
                        hyper::header::HeaderValue::from_static(value),
                    )
                })
                .collect::<hyper::HeaderMap>()
        };
        let plain: hyper::Uri = "/b/k".parse().unwrap();
        let link: hyper::Uri =
            "/b/k?X-Amz-SignedHeaders=host%3Bx-amz-tagging&X-Amz-Signature=x&x-amz-acl=private"
                .parse()
                .unwrap();
        let authorization = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x-amz-acl, Signature=x";
        for (uri, given, allowed) in [
            (&plain, vec![("authorization", authorization), ("x-amz-acl", "private")], true),
            (&plain, vec![("authorization", authorization), ("x-amz-date", "x"), ("accept", "x")], true),
            (&plain, vec![("authorization", authorization), ("x-amz-tagging", "a=b")], false),
            (&plain, vec![("x-amz-acl", "private")], false),
            (&link, vec![("x-amz-tagging", "a=b"), ("x-amz-acl", "private")], true),
            (&link, vec![("x-amz-bypass-governance-retention", "true")], false),
            // What a header says is signed does not count beside a signed address.
            (&link, vec![("authorization", "x SignedHeaders=x-amz-meta-a"), ("x-amz-meta-a", "b")], false),
        ] {
            assert_eq!(require_signed(&headers(&given), uri).is_ok(), allowed, "{uri} {given:?}");
        }
        let found: Vec<_> = hoisted(&link).collect();
        assert_eq!(found, [("x-amz-acl".to_owned(), "private".to_owned())]);
        assert_eq!(hoisted(&"/b/k?x-amz-acl=private".parse().unwrap()).count(), 0);
    }

    #[test]
    fn a_customers_key_stands_in_no_address() {
        for (address, refused) in [
            ("/b/k", None),
            ("/b/k?x-amz-server-side-encryption=AES256", None),
            ("/b/k?prefix=x-amz-server-side-encryption-customer-key", None),
            (
                "/b/k?a&X-Amz-Server-Side-Encryption-Customer-Key=x",
                Some("x-amz-server-side-encryption-customer-key"),
            ),
            (
                "/b/k?x-amz-server-side%2Dencryption-customer-algorithm=AES256",
                Some("x-amz-server-side-encryption-customer-algorithm"),
            ),
            (
                "/b/k?x-amz-copy-source-server-side-encryption-customer-key-MD5=x&X-Amz-Signature=x",
                Some("x-amz-copy-source-server-side-encryption-customer-key-md5"),
            ),
        ] {
            let error = refuse_customers_key(&address.parse().unwrap()).err();
            assert_eq!(error.is_some(), refused.is_some(), "{address}");
            let said =
                error.map(|error| (error.code().as_str().to_owned(), error.message().unwrap().to_owned()));
            assert!(
                said.is_none_or(
                    |(code, said)| code == "InvalidArgument" && said.starts_with(refused.unwrap())
                )
            );
        }
    }
}
