//! Links signed by version 2 (`AWSAccessKeyId`, `Expires`, `Signature` in the query): what `aws s3 presign`, boto3 and s3cmd
//! hand out where nobody tells them otherwise.
//!
//! # Invariants
//! - Version 2 opens one object for reading or writing, nothing else: its signature leaves out parameters of the query that
//!   choose other operations.
//! - No such link lives longer than one of version 4 may.

use hyper::Uri;
use s3s::{S3Result, s3_error};

/// What a link may do. Version 2 signs the method and the path, with all `x-amz-` headers.
const OPERATIONS: [&str; 3] = ["GetObject", "HeadObject", "PutObject"];
/// Longest life of a link, as in version 4.
const LIFE_SECONDS_MAX: u64 = 7 * 24 * 3_600;

fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Whether the query is signed by version 2, whatever the headers say: its signature is the one that was verified.
pub(super) fn is_link(uri: &Uri) -> bool {
    parameter(uri, "Signature").is_some()
}

/// Refuses a link of version 2 that does more than read or write an object, or lives too long.
pub(super) fn check(operation: &str, uri: &Uri, now_ms: u64) -> S3Result<()> {
    if !OPERATIONS.contains(&operation) {
        return Err(s3_error!(
            AccessDenied,
            "links of signature version 2 read or write an object; signature version 4 is required"
        ));
    }
    let expires: Option<u64> = parameter(uri, "Expires").and_then(|text| text.parse().ok());
    match expires {
        Some(expires) if expires <= (now_ms / 1_000).saturating_add(LIFE_SECONDS_MAX) => Ok(()),
        _ => Err(s3_error!(AccessDenied, "a link lives for 7 days at most")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_open_objects_for_a_week_at_most() {
        let link = |expires: u64| -> Uri {
            format!("/b/k?AWSAccessKeyId=A&Signature=x%3D&Expires={expires}").parse().unwrap()
        };
        assert!(is_link(&link(1)) && !is_link(&"/b/k?X-Amz-Signature=x".parse().unwrap()));
        for operation in OPERATIONS {
            assert!(check(operation, &link(10 + LIFE_SECONDS_MAX), 10_000).is_ok());
            assert!(check(operation, &link(11 + LIFE_SECONDS_MAX), 10_000).is_err());
        }
        for operation in ["DeleteObject", "ListObjects", "GetObjectAcl", "UploadPart", ""] {
            assert!(check(operation, &link(11), 10_000).is_err(), "{operation}");
        }
        assert!(check("GetObject", &"/b/k?Signature=x".parse().unwrap(), 10_000).is_err());
        assert!(check("GetObject", &"/b/k?Signature=x&Expires=-1".parse().unwrap(), 10_000).is_err());
    }
}
