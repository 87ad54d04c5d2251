//! What a client says its bytes hash to, checked while they pass.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hyper::HeaderMap;
use md5::{Digest, Md5};
use s3s::{
    S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256},
    s3_error,
};

use crate::checksum::{Algorithm, Checksums};

/// Hashes a body and compares.
pub(super) struct Digests {
    md5: Md5,
    expected_md5: Option<[u8; 16]>,
    hasher: ChecksumHasher,
    expected: Checksums,
    trailers: Option<TrailingHeaders>,
}

impl Digests {
    /// What the headers announce: values, or the names of trailers that will bring them; and `also` another checksum. Where
    /// nothing else asks for one, CRC64NVME is made.
    pub(super) fn new(
        headers: &HeaderMap,
        content_md5: Option<&str>,
        expected: Checksums,
        algorithm: Option<&str>,
        also: Option<Algorithm>,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<Self> {
        if expected.algorithms().count() > 1 {
            return Err(s3_error!(InvalidRequest, "send one x-amz-checksum header, not several"));
        }
        let algorithm = match algorithm {
            None => None,
            Some(name) => Some(Algorithm::from_name(name).ok_or_else(|| {
                s3_error!(InvalidRequest, "checksums are CRC32, CRC32C, CRC64NVME, SHA1 and SHA256")
            })?),
        };
        let expected_md5 = match content_md5 {
            None => None,
            Some(text) => {
                let bytes = BASE64.decode(text).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
                Some(bytes.ok_or_else(|| s3_error!(InvalidDigest))?)
            }
        };
        let announced = headers.get("x-amz-trailer").and_then(|value| value.to_str().ok()).unwrap_or("");
        let in_trailer = |wanted: Algorithm| {
            announced.split(',').any(|trailer| {
                let name = trailer.trim().strip_prefix("x-amz-checksum-");
                name.is_some_and(|name| name.eq_ignore_ascii_case(wanted.name()))
            })
        };
        let asked = |wanted| {
            expected.get(wanted).is_some()
                || in_trailer(wanted)
                || algorithm == Some(wanted)
                || also == Some(wanted)
        };
        let none = !Algorithm::ALL.into_iter().any(asked);
        let hasher = ChecksumHasher {
            crc32: asked(Algorithm::Crc32).then(Crc32::new),
            crc32c: asked(Algorithm::Crc32c).then(Crc32c::new),
            sha1: asked(Algorithm::Sha1).then(Sha1::new),
            sha256: asked(Algorithm::Sha256).then(Sha256::new),
            crc64nvme: (none || asked(Algorithm::Crc64Nvme)).then(Crc64Nvme::new),
        };
        Ok(Self { md5: Md5::new(), expected_md5, hasher, expected, trailers })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.hasher.update(bytes);
    }

    /// The MD5 and the checksums, if they are what was announced.
    pub(super) fn finish(self) -> S3Result<([u8; 16], Checksums)> {
        let md5: [u8; 16] = self.md5.finalize().into();
        if self.expected_md5.is_some_and(|expected| expected != md5) {
            return Err(s3_error!(BadDigest, "the body does not match Content-MD5"));
        }
        let found = self.hasher.finalize();
        let trailers = self.trailers.and_then(|trailers| trailers.take());
        let in_trailer = |name: &str| {
            let value = trailers.as_ref()?.get(format!("x-amz-checksum-{name}"))?;
            value.to_str().ok().map(str::to_owned)
        };
        let check = |name: &str, found: Option<String>, given: Option<String>| {
            let expected = given.or_else(|| in_trailer(name));
            match (found, expected) {
                (Some(found), Some(expected)) if found != expected => {
                    Err(s3_error!(BadDigest, "the body does not match its {name} checksum"))
                }
                (found, _) => Ok(found),
            }
        };
        let checksums = Checksums {
            crc32: check("crc32", found.checksum_crc32, self.expected.crc32)?,
            crc32c: check("crc32c", found.checksum_crc32c, self.expected.crc32c)?,
            crc64nvme: check("crc64nvme", found.checksum_crc64nvme, self.expected.crc64nvme)?,
            sha1: check("sha1", found.checksum_sha1, self.expected.sha1)?,
            sha256: check("sha256", found.checksum_sha256, self.expected.sha256)?,
        };
        Ok((md5, checksums))
    }
}

/// The ETag of an object that came in parts: MD5 over the parts' MD5s, and their number.
pub(super) fn etag_of_parts(parts: impl ExactSizeIterator<Item = [u8; 16]>) -> String {
    let count = parts.len();
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    format!("{}-{count}", hex::encode(md5.finalize()))
}

/// A random id in hex.
pub(super) fn random_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(headers: &[(&'static str, &'static str)], md5: Option<&str>, expected: Checksums) -> Digests {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>();
        Digests::new(&headers, md5, expected, None, None, None).unwrap()
    }

    #[test]
    fn what_is_announced_is_checked() {
        let expected = Checksums { crc32: Some("y/Q5Jg==".into()), ..Default::default() };
        let mut fits = digests(&[], Some("JfnnlDI7RTiF9RgfG2JNCw=="), expected.clone());
        fits.update(b"12345");
        fits.update(b"6789");
        let (md5, checksums) = fits.finish().unwrap();
        assert_eq!(hex::encode(md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(checksums, expected);
        for (md5, crc32) in [(Some("JfnnlDI7RTiF9RgfG2JNCg=="), None), (None, Some("y/Q5Jw=="))] {
            let expected = Checksums { crc32: crc32.map(Into::into), ..Default::default() };
            let mut differs = digests(&[], md5, expected);
            differs.update(b"123456789");
            assert_eq!(differs.finish().unwrap_err().code().as_str(), "BadDigest");
        }
    }

    #[test]
    fn a_checksum_named_as_a_trailer_is_computed() {
        let mut digests = digests(&[("x-amz-trailer", "x-amz-checksum-crc32")], None, Checksums::default());
        digests.update(b"123456789");
        assert_eq!(digests.finish().unwrap().1.crc32.as_deref(), Some("y/Q5Jg=="));
    }

    #[test]
    fn a_checksum_is_made_where_nobody_asks_and_two_are_where_the_upload_needs_another() {
        let mut digests = digests(&[], None, Checksums::default());
        digests.update(b"123456789");
        let made = digests.finish().unwrap().1;
        assert_eq!(made.algorithms().collect::<Vec<_>>(), [Algorithm::Crc64Nvme]);
        let given = Checksums::only(Algorithm::Crc32, "y/Q5Jg==".into());
        let none = HeaderMap::new();
        let mut digests = Digests::new(&none, None, given, None, Some(Algorithm::Sha256), None).unwrap();
        digests.update(b"123456789");
        let made = digests.finish().unwrap().1;
        assert_eq!(made.algorithms().collect::<Vec<_>>(), [Algorithm::Crc32, Algorithm::Sha256]);
    }

    #[test]
    fn two_checksums_and_unknown_ones_are_refused() {
        let none = HeaderMap::new();
        let two = Checksums { crc32: Some("a".into()), sha1: Some("b".into()), ..Default::default() };
        for (given, algorithm) in [(two, None), (Checksums::default(), Some("MD5"))] {
            let refused = Digests::new(&none, None, given, algorithm, None, None).err().unwrap();
            assert_eq!(refused.code().as_str(), "InvalidRequest");
        }
    }

    #[test]
    fn etag_of_parts_is_that_of_s3() {
        let part: [u8; 16] = Md5::digest(b"a").into();
        let expected = hex::encode(Md5::digest([part, part].concat()));
        assert_eq!(etag_of_parts([part, part].into_iter()), format!("{expected}-2"));
    }
}
