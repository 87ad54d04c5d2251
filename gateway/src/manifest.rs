//! What the gateway keeps about an object: where its bytes are and how to open them.
//!
//! An object is a list of parts (one, or one per uploaded part); a part is one encrypted stream with its own
//! wrapped key, cut into stripes. Rows are SCALE; each persisted type is an enum whose variant is its version.
//!
//! # Invariants
//! - The ciphertext of a part is the concatenation of its stripes' first `len` bytes, in order.
//! - Stripes before the last one of a part are all equally long.
//!
//! # Not here
//! Tables and transactions ([`crate::meta`]); encryption (`arion-crypto`).

use arion_crypto::WrappedKey;
use arion_types::{Epoch, ShardHash, StripeId, stripe};
use codec::{Decode, DecodeAll, Encode};

/// Random id of a manifest row.
pub type ManifestId = [u8; 16];

/// One stripe of ciphertext.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct StripeRecord {
    /// Epoch of the map that placed it.
    pub epoch: Epoch,
    /// Bytes of ciphertext in it; what follows up to `k * shard_len` is random padding.
    pub len: u32,
    /// Bytes of each shard.
    pub shard_len: u32,
    /// Data shards (k): the first of `hashes`.
    pub data_shards: u8,
    /// Addresses of the shards by index; k + m of them.
    pub hashes: Vec<ShardHash>,
}

impl StripeRecord {
    /// Identity of the stripe.
    pub fn id(&self) -> StripeId {
        stripe::stripe_id(&self.hashes)
    }
}

/// One encrypted stream.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PartManifest {
    /// Bytes of plaintext.
    pub plain_len: u64,
    /// Bytes of ciphertext: the sum of the stripes' `len`.
    pub cipher_len: u64,
    /// The stream's key, sealed under the account's key.
    pub key: WrappedKey,
    /// The stripes in order.
    pub stripes: Vec<StripeRecord>,
}

/// Where an object's bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Manifest {
    /// The parts in order.
    pub parts: Vec<PartManifest>,
}

#[derive(Encode, Decode)]
enum VersionedManifest {
    #[codec(index = 1)]
    V1(Manifest),
}

impl Manifest {
    /// Bytes of plaintext.
    pub fn plain_len(&self) -> u64 {
        self.parts.iter().map(|part| part.plain_len).sum()
    }

    /// All stripes in order.
    pub fn stripes(&self) -> impl Iterator<Item = &StripeRecord> {
        self.parts.iter().flat_map(|part| &part.stripes)
    }

    /// The row.
    pub fn to_row(self) -> Vec<u8> {
        VersionedManifest::V1(self).encode()
    }

    /// From a row.
    pub fn from_row(mut row: &[u8]) -> Result<Self, codec::Error> {
        VersionedManifest::decode_all(&mut row).map(|VersionedManifest::V1(manifest)| manifest)
    }
}

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
    /// `x-amz-meta-*`, names without the prefix, in order of name.
    pub user: Vec<(String, String)>,
}

/// Checksums a client gave and the gateway verified, base64.
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

/// What a listing or a HEAD needs to know of an object.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
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
    /// Headers that come back.
    pub headers: ObjectHeaders,
    /// Checksums of the whole object.
    pub checksums: Checksums,
}

#[derive(Encode, Decode)]
enum VersionedObject {
    #[codec(index = 1)]
    V1(ObjectInfo),
}

impl ObjectInfo {
    /// The row.
    pub fn to_row(self) -> Vec<u8> {
        VersionedObject::V1(self).encode()
    }

    /// From a row.
    pub fn from_row(mut row: &[u8]) -> Result<Self, codec::Error> {
        VersionedObject::decode_all(&mut row).map(|VersionedObject::V1(info)| info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let stripe = StripeRecord {
            epoch: 3,
            len: 16,
            shard_len: 64,
            data_shards: 10,
            hashes: (0..30).map(|i| ShardHash([i; 32])).collect(),
        };
        let key = WrappedKey::V1 { key_id: [1; 8], nonce: [2; 12], sealed: [3; 48] };
        let part = PartManifest { plain_len: 0, cipher_len: 16, key, stripes: vec![stripe] };
        Manifest { parts: vec![part.clone(), part] }
    }

    #[test]
    fn manifest_rows_round_trip_and_carry_a_version() {
        let row = manifest().to_row();
        assert_eq!(row[0], 1);
        assert_eq!(Manifest::from_row(&row).unwrap(), manifest());
        assert_eq!(manifest().stripes().count(), 2);
    }

    #[test]
    fn unknown_versions_and_trailing_bytes_are_refused() {
        let mut row = manifest().to_row();
        row.push(0);
        assert!(Manifest::from_row(&row).is_err());
        row.pop();
        row[0] = 2;
        assert!(Manifest::from_row(&row).is_err());
        assert!(Manifest::from_row(&row[..10]).is_err());
    }

    #[test]
    fn object_rows_round_trip() {
        let info = ObjectInfo {
            manifest: [1; 16],
            size: 5,
            etag: "x".into(),
            modified_ms: 7,
            parts: 0,
            headers: ObjectHeaders { user: vec![("a".into(), "b".into())], ..Default::default() },
            checksums: Checksums { crc32: Some("AAAA".into()), ..Default::default() },
        };
        assert_eq!(ObjectInfo::from_row(&info.clone().to_row()).unwrap(), info);
    }
}
