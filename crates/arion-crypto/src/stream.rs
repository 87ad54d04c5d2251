//! AES-256-GCM in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and
//! its Nonce-Reuse Misuse-Resistance", CRYPTO 2015): the nonce of a segment is
//! `0 (7 bytes) || segment number (u32 BE) || last (1 byte: 0 or 1)`.
//!
//! The prefix is constant because every data key is fresh ([`DataKey::random`]).

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::{
    keys::DataKey,
    layout::{SEALED_BYTES, SEGMENT_BYTES, TAG_BYTES},
};

/// Most segments of one stream: 2^32, which is 256 TiB of plaintext.
const SEGMENTS_MAX: u64 = 1 << 32;

/// Why ciphertext is not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The segment is not what was sealed under this key with this number.
    #[error("segment {segment} is damaged or belongs elsewhere")]
    Damaged {
        /// Its number.
        segment: u64,
    },
    /// A segment has an impossible length.
    #[error("segment {segment} has {length} bytes")]
    Length {
        /// Its number.
        segment: u64,
        /// Bytes given.
        length: usize,
    },
}

/// More plaintext than a stream can hold (256 TiB).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("more than 2^32 segments in one stream")]
pub struct TooLong;

/// Seals a stream as it comes.
pub struct Encryptor {
    key: LessSafeKey,
    pending: Vec<u8>,
    segment: u64,
}

impl Encryptor {
    /// Starts a stream. A data key seals one stream only.
    pub fn new(key: &DataKey) -> Self {
        Self { key: aead_key(key), pending: Vec::with_capacity(SEGMENT_BYTES), segment: 0 }
    }

    /// Takes plaintext; appends the ciphertext of every segment that is complete and known not to be the last.
    pub fn update(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        while !plain.is_empty() {
            if self.pending.len() == SEGMENT_BYTES {
                self.seal(false, out)?;
            }
            let taken = plain.len().min(SEGMENT_BYTES - self.pending.len());
            self.pending.extend_from_slice(&plain[..taken]);
            plain = &plain[taken..];
        }
        Ok(())
    }

    /// Ends the stream; appends its last segment.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.seal(true, out)
    }

    fn seal(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let nonce = nonce(self.segment, last).ok_or(TooLong)?;
        let start = out.len();
        out.extend_from_slice(&self.pending);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[start..])
            .map_err(|_| TooLong)?;
        out.extend_from_slice(tag.as_ref());
        self.pending.clear();
        self.segment += 1;
        Ok(())
    }
}

/// Opens segments, in any order.
pub struct Decryptor {
    key: LessSafeKey,
}

impl Decryptor {
    /// For the stream sealed under `key`.
    pub fn new(key: &DataKey) -> Self {
        Self { key: aead_key(key) }
    }

    /// Opens one segment in place and returns its plaintext. `last` says whether it is the stream's last one.
    pub fn open<'a>(
        &self,
        segment: u64,
        last: bool,
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let length = sealed.len();
        let whole = if last { (TAG_BYTES..=SEALED_BYTES).contains(&length) } else { length == SEALED_BYTES };
        if !whole {
            return Err(OpenError::Length { segment, length });
        }
        let nonce = nonce(segment, last).ok_or(OpenError::Damaged { segment })?;
        self.key.open_in_place(nonce, Aad::empty(), sealed).map_err(|_| OpenError::Damaged { segment })
    }
}

fn aead_key(key: &DataKey) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("AES-256 takes 32 bytes");
    LessSafeKey::new(key)
}

fn nonce(segment: u64, last: bool) -> Option<Nonce> {
    if segment >= SEGMENTS_MAX {
        return None;
    }
    let mut bytes = [0; 12];
    bytes[7..11].copy_from_slice(&(segment as u32).to_be_bytes());
    bytes[11] = u8::from(last);
    Some(Nonce::assume_unique_for_key(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ciphertext_len, segment_count};
    use proptest::prelude::*;

    fn seal(key: &DataKey, plain: &[u8], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encryptor = Encryptor::new(key);
        for piece in plain.chunks(piece) {
            encryptor.update(piece, &mut out).unwrap();
        }
        encryptor.finish(&mut out).unwrap();
        out
    }

    fn open(key: &DataKey, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let decryptor = Decryptor::new(key);
        let count = sealed.len().div_ceil(SEALED_BYTES);
        let mut plain = Vec::new();
        for (number, segment) in sealed.chunks(SEALED_BYTES).enumerate() {
            let mut segment = segment.to_vec();
            plain.extend_from_slice(decryptor.open(number as u64, number + 1 == count, &mut segment)?);
        }
        Ok(plain)
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn every_length_around_the_borders_round_trips() {
        let key = DataKey::from_bytes([1; 32]);
        for len in [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES, 200_001] {
            let sealed = seal(&key, &sample(len), 10_007);
            assert_eq!(sealed.len() as u64, ciphertext_len(len as u64));
            assert_eq!(sealed.len().div_ceil(SEALED_BYTES) as u64, segment_count(len as u64));
            assert_eq!(open(&key, &sealed), Ok(sample(len)));
        }
    }

    /// Frozen: what is stored today must open tomorrow. The answer was computed with another implementation
    /// (OpenSSL through pyca/cryptography).
    #[test]
    fn known_answer() {
        let key = DataKey::from_bytes(core::array::from_fn(|i| i as u8));
        assert_eq!(hex::encode(seal(&key, b"arion", 5)), "74a4d6932a49407d484bc0a2baa2d87837e5bba9a4");
    }

    #[test]
    fn truncation_at_a_segment_border_is_noticed() {
        let key = DataKey::from_bytes([1; 32]);
        let sealed = seal(&key, &sample(3 * SEGMENT_BYTES), 1_000);
        assert_eq!(open(&key, &sealed[..2 * SEALED_BYTES]), Err(OpenError::Damaged { segment: 1 }));
    }

    #[test]
    fn swapped_and_appended_segments_are_noticed() {
        let key = DataKey::from_bytes([1; 32]);
        let sealed = seal(&key, &sample(3 * SEGMENT_BYTES), 1_000);
        let mut swapped = sealed.clone();
        swapped[..2 * SEALED_BYTES].rotate_left(SEALED_BYTES);
        assert_eq!(open(&key, &swapped), Err(OpenError::Damaged { segment: 0 }));
        let appended = [&sealed[..], &sealed[..SEALED_BYTES]].concat();
        assert_eq!(open(&key, &appended), Err(OpenError::Damaged { segment: 2 }));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(len in 0usize..3_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let key = DataKey::from_bytes([2; 32]);
            let mut sealed = seal(&key, &sample(len), 500);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(open(&key, &sealed), Err(OpenError::Damaged { segment: 0 }));
        }

        #[test]
        fn pieces_do_not_matter(len in 0usize..200_000, piece in 1usize..100_000) {
            let key = DataKey::from_bytes([3; 32]);
            prop_assert_eq!(seal(&key, &sample(len), piece), seal(&key, &sample(len), len.max(1)));
        }
    }
}
