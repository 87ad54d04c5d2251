//! What the gateway keeps of an object besides where its bytes are: its versions, what clients said of it, its lock.
//!
//! A key has versions. The newest one, unless it is a delete marker, is the object that a client sees who names no version.
//! Rows are SCALE; each persisted type is an enum whose variant is its version.
//!
//! # Invariants
//! - The orders of a key's versions are all different and grow: a newer version has a greater order.
//! - At most one version of a key is the null version.
//!
//! # Not here
//! Where bytes are ([`crate::manifest`]); tables and transactions ([`crate::meta`]); checksums ([`crate::checksum`]).

mod lock;
mod version;

pub use lock::{DefaultRetention, LockConfig, LockMode, Retention, RetentionPeriod};
pub use version::{BadVersionId, Entry, Marker, Stamp, Version, VersionId, Versioning};

use arion_crypto::WrappedKey;
use codec::{Decode, DecodeAll, Encode};

use crate::{
    checksum::{ChecksumKind, Checksums},
    manifest::ManifestId,
};

/// The headers that come back with an object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ObjectHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
    /// `x-amz-website-redirect-location`.
    pub redirect: Option<String>,
    /// `x-amz-meta-*`, names without the prefix, in order of name.
    pub user: Vec<(String, String)>,
}

/// Whose key the data keys of an object are wrapped under.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum Encryption {
    /// The bucket's.
    #[default]
    #[codec(index = 0)]
    Gateway,
    /// A customer's (SSE-C), which opens this random key: so that it is known to be the right one.
    #[codec(index = 1)]
    Customer(WrappedKey),
}

/// What a client says of an object besides its bytes; an upload in parts keeps it until it is completed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Properties {
    /// The account that wrote it.
    pub owner: String,
    /// The account or sub-account whose usage counts it: of the bucket's account.
    pub payer: String,
    /// Headers that come back.
    pub headers: ObjectHeaders,
    /// Tags, in the order they came.
    pub tags: Vec<(String, String)>,
    /// Until when and how firmly it is kept.
    pub retention: Option<Retention>,
    /// Whether it is held; `None` if nobody ever said.
    pub legal_hold: Option<bool>,
    /// Its access control list ([`crate::s3`] knows its form); `None` is private to the owner.
    pub acl: Option<Vec<u8>>,
    /// Whose key it is sealed under.
    pub encryption: Encryption,
}

/// What a listing or a HEAD needs to know of an object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ObjectInfo {
    /// Row of its manifest.
    pub manifest: ManifestId,
    /// Bytes of plaintext.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
    /// When it was written, milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Number of uploaded parts; 0 for an object that came in one piece.
    pub parts: u32,
    /// Id of the upload in parts that made it.
    pub upload: Option<String>,
    /// Checksums of the whole object.
    pub checksums: Checksums,
    /// What the checksums are made over.
    pub checksum_kind: ChecksumKind,
    /// What its writer said of it.
    pub properties: Properties,
}

#[derive(Encode, Decode)]
enum StoredVersion {
    #[codec(index = 1)]
    V1(Version),
}

impl Version {
    /// The row.
    pub fn to_row(&self) -> Vec<u8> {
        StoredVersion::V1(self.clone()).encode()
    }

    /// From a row.
    pub fn from_row(mut row: &[u8]) -> Result<Self, codec::Error> {
        StoredVersion::decode_all(&mut row).map(|StoredVersion::V1(version)| version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_rows_round_trip_carry_a_version_and_end_where_they_end() {
        let properties = Properties {
            headers: ObjectHeaders { user: vec![("a".into(), "b".into())], ..Default::default() },
            tags: vec![("k".into(), "v".into())],
            retention: Some(Retention { mode: LockMode::Governance, until_ms: 9 }),
            legal_hold: Some(false),
            ..Default::default()
        };
        let info =
            ObjectInfo { manifest: [1; 16], size: 5, etag: "x".into(), properties, ..Default::default() };
        for entry in [
            Entry::Object(info),
            Entry::Marker(Marker { modified_ms: 3, owner: "a".into(), payer: "a".into() }),
        ] {
            let stamp = Stamp { order: 7, salt: None };
            let version = Version { stamp, superseded_ms: Some(8), entry };
            let mut row = version.to_row();
            assert_eq!(row[0], 1);
            assert_eq!(Version::from_row(&row).unwrap(), version);
            row.push(0);
            assert!(Version::from_row(&row).is_err());
            row.pop();
            row[0] = 2;
            assert!(Version::from_row(&row).is_err());
        }
    }
}
