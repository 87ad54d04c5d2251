//! What objects look like in answers.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use s3s::{
    StdError,
    dto::*,
    stream::{ByteStream, RemainingLength},
};
use tokio::time::Sleep;

use super::{input::timestamp, percent};
use crate::{
    checksum::ChecksumKind,
    grid::read::Plaintext,
    object::ObjectInfo,
    rate::{Traffic, Way},
};

/// Most bytes that go at once where a rate slows them: otherwise a client waits for long and then gets a lot.
const PACED_BYTES: usize = 64 << 10;

/// Text in a listing; percent-encoded where the client asked for it.
pub(super) fn encoded(text: &str, encoding: Option<&EncodingType>) -> String {
    if encoding.is_none_or(|encoding| encoding.as_str() != EncodingType::URL) {
        return text.to_owned();
    }
    percent::encoded(text, b"*")
}

/// A folded prefix.
pub(super) fn common_prefix(prefix: &str, encoding: Option<&EncodingType>) -> CommonPrefix {
    CommonPrefix { prefix: Some(encoded(prefix, encoding)) }
}

/// Who an account is in listings.
pub(super) fn owner(account: &str) -> Owner {
    Owner { id: Some(account.to_owned()), display_name: Some(account.to_owned()) }
}

/// A line of a listing.
pub(super) fn line(
    key: &str,
    info: &ObjectInfo,
    encoding: Option<&EncodingType>,
    with_owner: bool,
) -> Object {
    Object {
        key: Some(encoded(key, encoding)),
        size: Some(info.size as i64),
        e_tag: Some(ETag::Strong(info.etag.clone())),
        last_modified: Some(timestamp(info.modified_ms)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        owner: with_owner.then(|| owner(&info.properties.owner)),
        checksum_algorithm: Some(
            info.checksums.algorithms().map(|algorithm| algorithm.name().to_owned().into()).collect(),
        ),
        checksum_type: checksum_type(info),
        ..Default::default()
    }
}

/// What an object's checksums are made over, if it has any.
pub(super) fn checksum_type(info: &ObjectInfo) -> Option<ChecksumType> {
    info.checksums.algorithms().next().map(|_| kind(info.checksum_kind))
}

/// Its name in S3.
pub(super) fn kind(kind: ChecksumKind) -> ChecksumType {
    ChecksumType::from_static(kind.name())
}

/// Fills the fields that answers to GET and HEAD share. `$found` is the object with its version, `$bucket` where it is,
/// `$view` what of it is asked for.
macro_rules! object_fields {
    ($output:ident, $bucket:expr, $found:expr, $view:expr) => {{
        let (found, view): (&$crate::meta::Found, &$crate::s3::reads::View) = ($found, $view);
        let (info, properties) = (&found.info, &found.info.properties);
        let headers = &properties.headers;
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: headers.cache_control.clone(),
            content_disposition: headers.content_disposition.clone(),
            content_encoding: headers.content_encoding.clone(),
            content_language: headers.content_language.clone(),
            content_length: Some((view.range.end - view.range.start) as i64),
            content_range: view.content_range(info.size),
            content_type: Some(
                headers.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned()),
            ),
            e_tag: Some(ETag::Strong(info.etag.clone())),
            expires: headers.expires_ms.map($crate::s3::input::timestamp),
            last_modified: Some($crate::s3::input::timestamp(info.modified_ms)),
            metadata: Some(headers.user.iter().cloned().collect()),
            object_lock_legal_hold_status: properties.legal_hold.map($crate::s3::lock::hold_name),
            object_lock_mode: properties
                .retention
                .map(|kept| ObjectLockMode::from_static($crate::s3::lock::mode_name(kept.mode))),
            object_lock_retain_until_date: properties
                .retention
                .map(|kept| $crate::s3::input::timestamp(kept.until_ms)),
            parts_count: view.parts_count.map(|count| count as i32),
            version_id: $bucket.shown(found.version).map(|id| id.to_string()),
            website_redirect_location: headers.redirect.clone(),
            ..Default::default()
        };
        if let Some(checksums) = &view.checksums {
            $crate::s3::output::set_checksums!(output, checksums.clone());
            output.checksum_type = $crate::s3::output::checksum_type(info);
        }
        output
    }};
}
pub(super) use object_fields;

/// Sets the checksums of an answer, whichever it is.
macro_rules! set_checksums {
    ($output:expr, $checksums:expr) => {{
        let checksums: $crate::checksum::Checksums = $checksums;
        $output.checksum_crc32 = checksums.crc32;
        $output.checksum_crc32c = checksums.crc32c;
        $output.checksum_crc64nvme = checksums.crc64nvme;
        $output.checksum_sha1 = checksums.sha1;
        $output.checksum_sha256 = checksums.sha256;
    }};
}
pub(super) use set_checksums;

/// Plaintext as a body of known length.
pub(super) struct Body {
    first: Option<Bytes>,
    rest: Plaintext,
    left: u64,
    traffic: Option<Traffic>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body {
    /// `first` is what came already.
    pub(super) fn new(first: Option<Bytes>, rest: Plaintext, length: u64, traffic: Option<Traffic>) -> Self {
        Self { first, rest, left: length, traffic, pause: None }
    }

    /// As much of what there is as goes at once, where a rate slows it.
    fn paced(&mut self, mut bytes: Bytes) -> Bytes {
        let Some(traffic) = &self.traffic else { return bytes };
        if traffic.is_rated(Way::Down) && bytes.len() > PACED_BYTES {
            let rest = bytes.split_off(PACED_BYTES);
            self.first = Some(rest);
        }
        let wait = traffic.bytes(Way::Down, bytes.len() as u64);
        if !wait.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
        bytes
    }
}

impl Stream for Body {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let next = match self.first.take() {
            Some(bytes) => Some(Ok(bytes)),
            None => match self.rest.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(next) => next,
            },
        };
        Poll::Ready(match next {
            Some(Ok(bytes)) => {
                let bytes = self.paced(bytes);
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Some(Ok(bytes))
            }
            Some(Err(error)) => Some(Err(Box::new(error))),
            None if self.left > 0 => {
                self.left = 0;
                Some(Err("the object ended early".into()))
            }
            None => None,
        })
    }
}

impl ByteStream for Body {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.left).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_percent_encoded_only_on_request() {
        let url = EncodingType::from_static(EncodingType::URL);
        assert_eq!(encoded("a b+c/ü\n", Some(&url)), "a%20b%2Bc/%C3%BC%0A");
        assert_eq!(encoded("a b", None), "a b");
    }
}
