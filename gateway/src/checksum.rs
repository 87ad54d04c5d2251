//! Checksums that S3 clients give and ask for: five algorithms, over whole objects or over the checksums of their parts.
//!
//! Values are base64 of the big-endian digest, as in the headers. A composite checksum ends with `-` and the number of parts.
//!
//! # Not here
//! Hashing of bodies as they pass (`s3/digest.rs`).

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use codec::{Decode, Encode};
use crc_fast::{CrcAlgorithm, checksum_combine};
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};

/// A checksum algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Algorithm {
    /// CRC-32 (ISO HDLC).
    #[codec(index = 0)]
    Crc32,
    /// CRC-32C (Castagnoli).
    #[codec(index = 1)]
    Crc32c,
    /// CRC-64/NVME.
    #[codec(index = 2)]
    Crc64Nvme,
    /// SHA-1.
    #[codec(index = 3)]
    Sha1,
    /// SHA-256.
    #[codec(index = 4)]
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// Its name in S3.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// From its name in S3, whatever the case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// What checksums of uploads in parts are made over where nobody says.
    pub fn usual_kind(self) -> ChecksumKind {
        match self {
            Self::Crc64Nvme => ChecksumKind::Full,
            _ => ChecksumKind::Composite,
        }
    }

    /// Whether checksums of uploads in parts can be made so: hashes do not combine, CRC64NVME always does.
    pub fn allows(self, kind: ChecksumKind) -> bool {
        match (self, kind) {
            (Self::Sha1 | Self::Sha256, kind) => kind == ChecksumKind::Composite,
            (Self::Crc64Nvme, kind) => kind == ChecksumKind::Full,
            (Self::Crc32 | Self::Crc32c, _) => true,
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32 => Crc32::checksum(bytes).to_vec(),
            Self::Crc32c => Crc32c::checksum(bytes).to_vec(),
            Self::Crc64Nvme => Crc64Nvme::checksum(bytes).to_vec(),
            Self::Sha1 => Sha1::checksum(bytes).as_ref().to_vec(),
            Self::Sha256 => Sha256::checksum(bytes).as_ref().to_vec(),
        }
    }

    /// How the CRC is combined, and its bytes; none for hashes.
    fn crc(self) -> Option<(CrcAlgorithm, usize)> {
        match self {
            Self::Crc32 => Some((CrcAlgorithm::Crc32IsoHdlc, 4)),
            Self::Crc32c => Some((CrcAlgorithm::Crc32Iscsi, 4)),
            Self::Crc64Nvme => Some((CrcAlgorithm::Crc64Nvme, 8)),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// What the checksum of an object that came in parts is made over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum ChecksumKind {
    /// The bytes of the object.
    #[default]
    #[codec(index = 0)]
    Full,
    /// The checksums of its parts.
    #[codec(index = 1)]
    Composite,
}

impl ChecksumKind {
    /// Its name in S3.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// From its name in S3.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Full, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }
}

/// Checksums, base64.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Checksums {
    /// CRC-32.
    pub crc32: Option<String>,
    /// CRC-32C.
    pub crc32c: Option<String>,
    /// CRC-64/NVME.
    pub crc64nvme: Option<String>,
    /// SHA-1.
    pub sha1: Option<String>,
    /// SHA-256.
    pub sha256: Option<String>,
}

impl Checksums {
    /// The one of an algorithm.
    pub fn get(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Crc32 => self.crc32.as_deref(),
            Algorithm::Crc32c => self.crc32c.as_deref(),
            Algorithm::Crc64Nvme => self.crc64nvme.as_deref(),
            Algorithm::Sha1 => self.sha1.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }

    /// Only the one of an algorithm.
    pub fn only(algorithm: Algorithm, value: String) -> Self {
        let (value, mut only) = (Some(value), Self::default());
        match algorithm {
            Algorithm::Crc32 => only.crc32 = value,
            Algorithm::Crc32c => only.crc32c = value,
            Algorithm::Crc64Nvme => only.crc64nvme = value,
            Algorithm::Sha1 => only.sha1 = value,
            Algorithm::Sha256 => only.sha256 = value,
        }
        only
    }

    /// The algorithms there is a checksum of.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        Algorithm::ALL.into_iter().filter(|algorithm| self.get(*algorithm).is_some())
    }

    /// Whether each of these is among those, and the same.
    pub fn is_part_of(&self, those: &Self) -> bool {
        self.algorithms().all(|algorithm| self.get(algorithm) == those.get(algorithm))
    }
}

/// The checksum of an object that is these parts, each with its checksums and its bytes, one behind the other. None if a
/// part lacks that checksum, or it is not one, or there is no part.
pub fn of_parts<'p>(
    algorithm: Algorithm,
    kind: ChecksumKind,
    parts: impl IntoIterator<Item = (&'p Checksums, u64)>,
) -> Option<String> {
    match kind {
        ChecksumKind::Composite => {
            let (mut digests, mut count) = (Vec::new(), 0);
            for (checksums, _) in parts {
                digests.extend(BASE64.decode(checksums.get(algorithm)?).ok()?);
                count += 1;
            }
            (count > 0).then(|| format!("{}-{count}", BASE64.encode(algorithm.digest(&digests))))
        }
        ChecksumKind::Full => {
            let (crc, width) = algorithm.crc()?;
            let mut whole = None;
            for (checksums, len) in parts {
                let digest = BASE64.decode(checksums.get(algorithm)?).ok()?;
                if digest.len() != width {
                    return None;
                }
                let part = digest.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
                whole = Some(match whole {
                    None => part,
                    Some(before) => checksum_combine(crc, before, part, len),
                });
            }
            Some(BASE64.encode(&whole?.to_be_bytes()[8 - width..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: Algorithm, bytes: &[u8]) -> Checksums {
        Checksums::only(algorithm, BASE64.encode(algorithm.digest(bytes)))
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 251) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let whole = of(algorithm, &bytes);
            for cuts in [&[0, 100_000][..], &[0, 1, 100_000], &[0, 5_000, 5_000, 65_537, 99_999, 100_000]] {
                let parts: Vec<_> = cuts
                    .windows(2)
                    .map(|cut| (of(algorithm, &bytes[cut[0]..cut[1]]), (cut[1] - cut[0]) as u64))
                    .collect();
                let parts = parts.iter().map(|(checksums, len)| (checksums, *len));
                let combined = of_parts(algorithm, ChecksumKind::Full, parts);
                assert_eq!(combined.as_deref(), whole.get(algorithm), "{algorithm:?} {cuts:?}");
            }
        }
    }

    #[test]
    fn composites_are_made_over_the_digests_of_the_parts() {
        for algorithm in Algorithm::ALL {
            let parts = [of(algorithm, b"a"), of(algorithm, b"b")];
            let digests = [algorithm.digest(b"a"), algorithm.digest(b"b")].concat();
            let expected = format!("{}-2", BASE64.encode(algorithm.digest(&digests)));
            let made = of_parts(algorithm, ChecksumKind::Composite, parts.iter().map(|part| (part, 1)));
            assert_eq!(made, Some(expected));
        }
    }

    #[test]
    fn what_is_missing_or_no_checksum_makes_none() {
        let (good, bad) = (of(Algorithm::Crc32, b"a"), Checksums::only(Algorithm::Crc32, "?".into()));
        let short = Checksums::only(Algorithm::Crc32, BASE64.encode([1; 3]));
        for kind in [ChecksumKind::Full, ChecksumKind::Composite] {
            assert_eq!(of_parts(Algorithm::Crc32, kind, [(&good, 1), (&Checksums::default(), 1)]), None);
            assert_eq!(of_parts(Algorithm::Crc32, kind, [(&good, 1), (&bad, 1)]), None);
            assert_eq!(of_parts(Algorithm::Crc32, kind, []), None);
        }
        assert_eq!(of_parts(Algorithm::Crc32, ChecksumKind::Full, [(&short, 1)]), None);
        assert_eq!(
            of_parts(Algorithm::Sha256, ChecksumKind::Full, [(&of(Algorithm::Sha256, b"a"), 1)]),
            None
        );
    }

    #[test]
    fn names_are_those_of_s3_and_kinds_fit_algorithms() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(&algorithm.name().to_lowercase()), Some(algorithm));
            assert!(algorithm.allows(algorithm.usual_kind()));
        }
        assert_eq!(Algorithm::from_name("MD5"), None);
        assert_eq!(ChecksumKind::from_name("FULL_OBJECT"), Some(ChecksumKind::Full));
        assert_eq!(ChecksumKind::from_name("full_object"), None);
        assert!(!Algorithm::Sha256.allows(ChecksumKind::Full));
        assert!(!Algorithm::Crc64Nvme.allows(ChecksumKind::Composite));
        assert!(Algorithm::Crc32.allows(ChecksumKind::Full));
    }

    #[test]
    fn what_is_given_must_be_there_and_the_same() {
        let kept = Checksums { crc32: Some("a".into()), sha1: Some("b".into()), ..Default::default() };
        let given = |value: &str| Checksums::only(Algorithm::Crc32, value.into());
        assert!(given("a").is_part_of(&kept) && Checksums::default().is_part_of(&kept));
        assert!(!given("x").is_part_of(&kept));
        assert!(!Checksums::only(Algorithm::Sha256, "a".into()).is_part_of(&kept));
    }
}
