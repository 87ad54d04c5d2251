//! What clients may ask for when they write: headers that are kept, and wishes that are refused.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use s3s::{S3Result, dto::*, s3_error};

use crate::{
    meta::{Condition, EtagMatch},
    object::{ObjectHeaders, VersionId},
};

/// Longest user metadata of an object, names and values together, in bytes (as in AWS).
const USER_METADATA_BYTES_MAX: usize = 2_048;

/// Milliseconds since the Unix epoch as S3 writes times.
pub(super) fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(ms))
}

/// Whole seconds, as in HTTP dates.
pub(super) fn seconds(time: &Timestamp) -> u64 {
    millis(time) / 1_000
}

/// Milliseconds since the Unix epoch; 0 for what was before.
pub(super) fn millis(time: &Timestamp) -> u64 {
    let mut text = Vec::new();
    if time.format(TimestampFormat::EpochSeconds, &mut text).is_err() {
        return 0;
    }
    let text = String::from_utf8_lossy(&text);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let thousandths = fraction.chars().chain("000".chars()).take(3).collect::<String>();
    let whole: u64 = whole.parse().unwrap_or(0);
    whole.saturating_mul(1_000).saturating_add(thousandths.parse().unwrap_or(0))
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
            $input.website_redirect_location.take(),
            $input.metadata.take(),
        )
    };
}
pub(super) use kept_headers;

/// What an input says of an object besides its bytes, whichever it is; `$payer` is whose usage counts it, `$encryption` whose
/// key wraps its keys.
macro_rules! properties {
    (($acl:expr, $payer:expr), $input:expr, $encryption:expr) => {
        $crate::object::Properties {
            owner: $acl.owner.clone(),
            payer: $payer,
            acl: $acl.to_stored(),
            headers: $crate::s3::input::kept_headers!($input)?,
            tags: $crate::s3::tagging::from_header($input.tagging.as_deref())?,
            retention: $crate::s3::lock::retention_of(
                $input.object_lock_mode.as_ref().map(ObjectLockMode::as_str),
                $input.object_lock_retain_until_date.as_ref(),
            )?,
            legal_hold: $crate::s3::lock::hold_of($input.object_lock_legal_hold_status.as_ref())?,
            encryption: $encryption,
        }
    };
}
pub(super) use properties;

#[expect(clippy::too_many_arguments, reason = "one for each header, named by the macro above")]
pub(super) fn headers(
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    content_disposition: Option<String>,
    cache_control: Option<String>,
    expires: Option<Timestamp>,
    redirect: Option<String>,
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
            kept.collect::<Vec<_>>().join(", ")
        })
        .filter(|value| !value.is_empty());
    Ok(ObjectHeaders {
        content_type,
        content_encoding,
        content_language,
        content_disposition,
        cache_control,
        expires_ms: expires.as_ref().map(|time| seconds(time).saturating_mul(1_000)),
        redirect,
        user,
    })
}

/// Refuses what the gateway does not do, wherever an input can ask for it.
macro_rules! refuse_wishes {
    ($input:expr) => {
        $crate::s3::input::refuse(&[(
            "storage classes other than STANDARD",
            $input.storage_class.as_ref().is_some_and(|class| class.as_str() != "STANDARD"),
        )])
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
        $crate::checksum::Checksums {
            crc32: $input.checksum_crc32.take(),
            crc32c: $input.checksum_crc32c.take(),
            crc64nvme: $input.checksum_crc64nvme.take(),
            sha1: $input.checksum_sha1.take(),
            sha256: $input.checksum_sha256.take(),
        }
    };
}
pub(super) use given_checksums;

/// Takes in the body of an input, whichever it is, compared with what its headers and trailers say of it; with `$equal` equal
/// bytes are looked for.
macro_rules! take_in_body {
    ($store:expr, $request:expr, $also:expr, $equal:expr) => {{
        let input = &mut $request.input;
        let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
        let digests = $crate::s3::digest::Digests::new(
            &$request.headers,
            input.content_md5.as_deref(),
            $crate::s3::input::given_checksums!(input),
            algorithm,
            $also,
            $request.trailing_headers.take(),
        )?;
        let length = input.content_length;
        let body = (input.body.take(), length, $request.extensions.get::<$crate::rate::Traffic>());
        $crate::s3::taken::take_in($store, body, digests, $equal).await?
    }};
}
pub(super) use take_in_body;

/// `If-Match` and `If-None-Match` of a write.
pub(super) fn condition(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> Condition {
    Condition { matches: if_match.map(etag_match), differs: if_none_match.map(etag_match) }
}

/// What an ETag must be.
pub(super) fn etag_match(condition: ETagCondition) -> EtagMatch {
    match condition {
        ETagCondition::Any => EtagMatch::Any,
        ETagCondition::ETag(etag) => etag_named(etag),
    }
}

/// The ETag that is named in a list of keys to delete, where `*` is one too.
pub(super) fn etag_named(etag: ETag) -> EtagMatch {
    match etag.into_value() {
        any if any == "*" => EtagMatch::Any,
        value => EtagMatch::Etag(value),
    }
}

/// The version that a client names.
pub(super) fn version(text: Option<&str>) -> S3Result<Option<VersionId>> {
    match text {
        None => Ok(None),
        Some("") => Err(s3_error!(InvalidArgument, "the version id is empty")),
        Some(text) => match text.parse() {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(s3_error!(InvalidArgument, "the version id is none of this gateway")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_milliseconds() {
        for ms in [0, 1, 999, 1_000, 1_893_456_000_000, 1_893_456_000_120, 5_364_662_400_007] {
            assert_eq!(millis(&timestamp(ms)), ms);
            assert_eq!(seconds(&timestamp(ms)), ms / 1_000);
        }
    }

    #[test]
    fn version_ids_are_read_or_refused() {
        assert_eq!(version(None).unwrap(), None);
        assert_eq!(version(Some("null")).unwrap(), Some(VersionId::Null));
        for text in ["", "1", "nothing"] {
            assert_eq!(version(Some(text)).unwrap_err().code().as_str(), "InvalidArgument");
        }
    }
}
