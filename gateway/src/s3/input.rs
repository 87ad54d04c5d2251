//! What clients may ask for when they write: headers that are kept, and wishes that are refused.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use s3s::{S3Result, dto::*, s3_error};

use crate::{
    manifest::{Checksums, ObjectHeaders},
    meta::Condition,
};

/// Longest user metadata of an object, names and values together, in bytes (as in AWS).
const USER_METADATA_BYTES_MAX: usize = 2_048;

/// Milliseconds since the Unix epoch as S3 writes times.
pub(super) fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(ms))
}

/// Whole seconds, as in HTTP dates.
pub(super) fn seconds(time: &Timestamp) -> u64 {
    let mut text = Vec::new();
    if time.format(TimestampFormat::EpochSeconds, &mut text).is_err() {
        return 0;
    }
    String::from_utf8_lossy(&text).split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0)
}

/// The gateway's clock.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The headers that are kept, wherever an input has them.
macro_rules! kept_headers {
    ($input:expr) => {
        $crate::s3::input::headers(
            $input.content_type.take(),
            $input.content_encoding.take(),
            $input.content_language.take(),
            $input.content_disposition.take(),
            $input.cache_control.take(),
            $input.expires.take(),
            $input.metadata.take(),
        )
    };
}
pub(super) use kept_headers;

pub(super) fn headers(
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    content_disposition: Option<String>,
    cache_control: Option<String>,
    expires: Option<Timestamp>,
    user: Option<HashMap<String, String>>,
) -> S3Result<ObjectHeaders> {
    let mut user: Vec<(String, String)> = user.unwrap_or_default().into_iter().collect();
    user.sort();
    if user.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > USER_METADATA_BYTES_MAX {
        return Err(s3_error!(MetadataTooLarge));
    }
    // `aws-chunked` is how the body travelled, not what the object is.
    let content_encoding = content_encoding
        .map(|value| {
            let kept =
                value.split(',').map(str::trim).filter(|name| !name.eq_ignore_ascii_case("aws-chunked"));
            kept.collect::<Vec<_>>().join(",")
        })
        .filter(|value| !value.is_empty());
    Ok(ObjectHeaders {
        content_type,
        content_encoding,
        content_language,
        content_disposition,
        cache_control,
        expires_ms: expires.as_ref().map(|time| seconds(time).saturating_mul(1_000)),
        user,
    })
}

/// Refuses what the gateway does not do, wherever an input can ask for it.
macro_rules! refuse_wishes {
    ($input:expr) => {
        $crate::s3::input::refuse(&[
            (
                "ACL",
                $input.acl.as_ref().is_some_and(|acl| {
                    acl.as_str() != "private" && acl.as_str() != "bucket-owner-full-control"
                }),
            ),
            (
                "grants",
                $input.grant_full_control.is_some()
                    || $input.grant_read.is_some()
                    || $input.grant_read_acp.is_some()
                    || $input.grant_write_acp.is_some(),
            ),
            (
                "customer-provided keys",
                $input.sse_customer_algorithm.is_some() || $input.sse_customer_key.is_some(),
            ),
            (
                "encryption other than AES256",
                $input.ssekms_key_id.is_some()
                    || $input.server_side_encryption.as_ref().is_some_and(|sse| sse.as_str() != "AES256"),
            ),
            (
                "object lock",
                $input.object_lock_mode.is_some()
                    || $input.object_lock_retain_until_date.is_some()
                    || $input.object_lock_legal_hold_status.is_some(),
            ),
            ("tags", $input.tagging.as_ref().is_some_and(|tags| !tags.is_empty())),
            ("website redirects", $input.website_redirect_location.is_some()),
            (
                "storage classes other than STANDARD",
                $input.storage_class.as_ref().is_some_and(|class| class.as_str() != "STANDARD"),
            ),
        ])
    };
}
pub(super) use refuse_wishes;

pub(super) fn refuse(wishes: &[(&str, bool)]) -> S3Result<()> {
    match wishes.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(s3_error!(NotImplemented, "this gateway does not offer {what}")),
        None => Ok(()),
    }
}

/// The checksums an input brings.
macro_rules! given_checksums {
    ($input:expr) => {
        $crate::manifest::Checksums {
            crc32: $input.checksum_crc32.take(),
            crc32c: $input.checksum_crc32c.take(),
            crc64nvme: $input.checksum_crc64nvme.take(),
            sha1: $input.checksum_sha1.take(),
            sha256: $input.checksum_sha256.take(),
        }
    };
}
pub(super) use given_checksums;

/// Takes in the body of an input, whichever it is, compared with what its headers and trailers say of it.
macro_rules! take_in_body {
    ($store:expr, $account:expr, $request:expr) => {{
        let input = &mut $request.input;
        let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
        let digests = $crate::s3::digest::Digests::new(
            &$request.headers,
            input.content_md5.as_deref(),
            $crate::s3::input::given_checksums!(input),
            algorithm,
            $request.trailing_headers.take(),
        )?;
        $crate::s3::objects::take_in($store, $account, input.body.take(), input.content_length, digests)
            .await?
    }};
}
pub(super) use take_in_body;

/// Whether a part's checksums contradict those that were kept.
pub(super) fn contradicts(given: &Checksums, kept: &Checksums) -> bool {
    let differ = |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
    differ(&given.crc32, &kept.crc32)
        || differ(&given.crc32c, &kept.crc32c)
        || differ(&given.crc64nvme, &kept.crc64nvme)
        || differ(&given.sha1, &kept.sha1)
        || differ(&given.sha256, &kept.sha256)
}

/// `If-Match` and `If-None-Match` of a write.
pub(super) fn condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Always),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Condition::Present),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Etag(etag.value().to_owned())),
        _ => {
            Err(s3_error!(NotImplemented, "If-None-Match takes only * here, and not together with If-Match"))
        }
    }
}

/// Only the version that is there.
pub(super) fn current_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "this gateway keeps one version of an object")),
    }
}
