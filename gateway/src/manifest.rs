//! What the gateway keeps about an object: where its bytes are and how to open them.
//!
//! An object is a list of parts (one, or one per uploaded part); a part is one encrypted stream with its own
//! wrapped key, cut into stripes. Rows are SCALE; each persisted type is an enum whose variant is its version.
//!
//! # Invariants
//! - The ciphertext of a part is the concatenation of its stripes' first `len` bytes, in order; or a range of one stripe that
//!   it shares with other parts.
//! - Stripes before the last one of a part are all equally long.
//!
//! # Not here
//! What else is kept of an object ([`crate::object`]); tables and transactions ([`crate::meta`]); encryption
//! (`arion-crypto`).

use std::ops::Range;

use arion_crypto::{WrappedKey, ciphertext_len};
use arion_types::{Epoch, ShardHash, StripeId, stripe, units::SHARD_BYTES_MAX};
use codec::{Decode, DecodeAll, Encode};

use crate::checksum::Checksums;

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

    /// Whether its lengths make a stripe: what was decoded may say anything.
    pub fn is_possible(&self) -> bool {
        let data = usize::from(self.data_shards);
        data > 0
            && data <= self.hashes.len()
            && (1..=SHARD_BYTES_MAX).contains(&self.shard_len)
            && u64::from(self.len) <= u64::from(self.shard_len) * u64::from(self.data_shards)
    }
}

/// One encrypted stream.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PartManifest {
    /// Bytes of plaintext.
    pub plain_len: u64,
    /// Bytes of ciphertext: the sum of the stripes' `len`, or less where the only stripe is shared.
    pub cipher_len: u64,
    /// Where they begin in the only stripe, if it is shared; else 0.
    pub offset: u32,
    /// The stream's key, wrapped under its bucket's or a customer's key.
    pub key: WrappedKey,
    /// The stripes in order.
    pub stripes: Vec<StripeRecord>,
}

impl PartManifest {
    /// The stripe, if other parts have their ciphertext in it too.
    pub fn shared(&self) -> Option<&StripeRecord> {
        match self.stripes.as_slice() {
            [only] if self.cipher_len < u64::from(only.len) => Some(only),
            _ => None,
        }
    }

    /// Whether its lengths agree with each other, so that it can be read: what was decoded may say anything.
    pub fn is_possible(&self) -> bool {
        let stripes: u64 = self.stripes.iter().map(|stripe| u64::from(stripe.len)).sum();
        let is_whole = match self.shared() {
            Some(_) => u64::from(self.offset) + self.cipher_len <= stripes,
            None => self.offset == 0 && self.cipher_len == stripes,
        };
        is_whole
            && self.stripes.iter().all(StripeRecord::is_possible)
            && self.plain_len <= self.cipher_len
            && self.cipher_len == ciphertext_len(self.plain_len)
    }
}

/// The plaintext of several parts: as much as a number can say where it is more.
fn plain_len(parts: &[PartManifest]) -> u64 {
    parts.iter().map(|part| part.plain_len).fold(0, u64::saturating_add)
}

/// What a client knows an uploaded part by.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct PartLabel {
    /// The number it was uploaded under.
    pub number: u32,
    /// Its checksums.
    pub checksums: Checksums,
}

/// Where an object's bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Manifest {
    /// The parts in order.
    pub parts: Vec<PartManifest>,
    /// For an object that was uploaded in parts: what each of them is known by, in order of number. Empty otherwise.
    pub labels: Vec<PartLabel>,
}

#[derive(Encode, Decode)]
enum VersionedManifest {
    #[codec(index = 1)]
    V1(Manifest),
}

impl Manifest {
    /// Of an object that came in one piece.
    pub fn whole(part: PartManifest) -> Self {
        Self { parts: vec![part], labels: Vec::new() }
    }

    /// The range of plaintext that the uploaded part of this number is. An object that came in one piece is part 1.
    pub fn part_range(&self, number: u32) -> Option<Range<u64>> {
        let at = match self.labels.is_empty() {
            true => (number == 1).then_some(0)?,
            false => self.labels.binary_search_by_key(&number, |label| label.number).ok()?,
        };
        let before = plain_len(self.parts.get(..at)?);
        Some(before..before.saturating_add(self.parts.get(at)?.plain_len))
    }

    /// Puts other wrapped keys in the place of the parts'; whether there was one for each.
    pub fn replace_keys(&mut self, keys: Vec<WrappedKey>) -> bool {
        let fit = keys.len() == self.parts.len();
        if fit {
            for (part, key) in self.parts.iter_mut().zip(keys) {
                part.key = key;
            }
        }
        fit
    }

    /// Bytes of plaintext.
    pub fn plain_len(&self) -> u64 {
        plain_len(&self.parts)
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
        let wrapping = arion_crypto::Wrapping::Data;
        let key = WrappedKey::V2 { wrapping, key_id: [1; 8], nonce: [2; 12], sealed: [3; 48] };
        let part = PartManifest { plain_len: 0, cipher_len: 16, offset: 0, key, stripes: vec![stripe] };
        Manifest { parts: vec![part.clone(), part], labels: Vec::new() }
    }

    #[test]
    fn manifest_rows_round_trip_and_carry_a_version() {
        let row = manifest().to_row();
        assert_eq!(row[0], 1);
        assert_eq!(Manifest::from_row(&row).unwrap(), manifest());
        assert_eq!(manifest().stripes().count(), 2);
    }

    #[test]
    fn a_part_that_is_less_than_its_stripe_shares_it() {
        let mut part = manifest().parts.remove(0);
        assert_eq!(part.shared(), None);
        part.stripes[0].len = 17;
        assert_eq!(part.shared(), Some(&part.stripes[0]));
        part.stripes.push(part.stripes[0].clone());
        assert_eq!(part.shared(), None);
    }

    #[test]
    fn lengths_that_cannot_be_are_no_lengths() {
        let mut absurd = manifest();
        absurd.parts.iter_mut().for_each(|part| part.plain_len = u64::MAX);
        absurd.labels = [1, 2].map(|number| PartLabel { number, checksums: Checksums::default() }).to_vec();
        let absurd = Manifest::from_row(&absurd.to_row()).unwrap();
        assert_eq!(absurd.plain_len(), u64::MAX);
        assert_eq!(absurd.part_range(2), Some(u64::MAX..u64::MAX));
        assert!(absurd.parts.iter().all(|part| !part.is_possible()));
    }

    #[test]
    fn lengths_agree_or_a_part_is_not_read() {
        let mut part = manifest().parts.remove(0);
        part.stripes[0].len = 640;
        (part.plain_len, part.cipher_len) = (624, 640);
        assert!(part.is_possible());
        let changed = |change: fn(&mut PartManifest)| {
            let mut part = part.clone();
            change(&mut part);
            part.is_possible()
        };
        let shared = changed(|part| (part.plain_len, part.cipher_len, part.offset) = (14, 30, 610));
        assert!(shared, "the last bytes of a shared stripe");
        let changes: [fn(&mut PartManifest); 11] = [
            |part| part.plain_len += 1,
            |part| part.plain_len = u64::MAX,
            |part| part.offset = 1,
            |part| (part.plain_len, part.cipher_len, part.offset) = (14, 30, 611),
            |part| part.cipher_len += 1,
            |part| part.stripes.clear(),
            |part| part.stripes[0].len += 1,
            |part| part.stripes[0].shard_len = 0,
            |part| part.stripes[0].shard_len = u32::MAX,
            |part| part.stripes[0].data_shards = 0,
            |part| part.stripes[0].hashes.truncate(9),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(!changed(change), "change {number}");
        }
    }

    #[test]
    fn keys_are_replaced_all_or_none() {
        let mut changed = manifest();
        let other = WrappedKey::V2 {
            wrapping: arion_crypto::Wrapping::Customer,
            key_id: [0; 8],
            nonce: [9; 12],
            sealed: [9; 48],
        };
        assert!(!changed.replace_keys(vec![other.clone()]));
        assert_eq!(changed, manifest());
        assert!(changed.replace_keys(vec![other.clone(), other.clone()]));
        assert!(changed.parts.iter().all(|part| part.key == other));
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
    fn parts_are_found_by_the_number_they_were_uploaded_under() {
        let mut manifest = manifest();
        for (part, len) in manifest.parts.iter_mut().zip([5, 7]) {
            part.plain_len = len;
        }
        let label = |number| PartLabel { number, checksums: Checksums::default() };
        manifest.labels = vec![label(2), label(9)];
        assert_eq!(manifest.part_range(2), Some(0..5));
        assert_eq!(manifest.part_range(9), Some(5..12));
        assert_eq!(manifest.part_range(1), None);
        let whole = Manifest::whole(manifest.parts.remove(0));
        assert_eq!((whole.part_range(1), whole.part_range(2)), (Some(0..5), None));
    }
}
