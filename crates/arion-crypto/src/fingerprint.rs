//! What byte streams are known by to whoever has a key, so that equal ones are found.

use ring::{hkdf, hmac};
use zeroize::Zeroize;

use crate::BucketKey;

/// Salt of the derivation of keys of fingerprints.
const FINGERPRINT_KEY: &[u8] = b"arion/fingerprint-key/v1";

/// Name of a byte stream: equal bytes have equal names under one key, and nobody without the key learns anything from them.
pub type Fingerprint = [u8; 32];

/// Computes a [`Fingerprint`] of bytes as they pass.
pub struct Fingerprinter(hmac::Context);

impl BucketKey {
    /// Begins a fingerprint: HMAC-SHA256 of the bytes, under HKDF-SHA256 with the salt `"arion/fingerprint-key/v1"` and this key as
    /// keying material.
    pub fn fingerprinter(&self) -> Fingerprinter {
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, FINGERPRINT_KEY)
            .extract(self.as_bytes())
            .expand(&[], hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(&mut key))
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        let fingerprinter = Fingerprinter(hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key)));
        key.zeroize();
        fingerprinter
    }
}

impl Fingerprinter {
    /// Takes the next bytes.
    pub fn update(&mut self, plain: &[u8]) {
        self.0.update(plain);
    }

    /// The name of all bytes.
    pub fn finish(self) -> Fingerprint {
        let mut print = [0; 32];
        print.copy_from_slice(self.0.sign().as_ref());
        print
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_have_equal_names_however_they_come_and_under_one_key_only() {
        let (one, two) = (BucketKey::from_bytes([1; 32]), BucketKey::from_bytes([2; 32]));
        let print = |key: &BucketKey, pieces: &[&[u8]]| {
            let mut fingerprinter = key.fingerprinter();
            pieces.iter().for_each(|piece| fingerprinter.update(piece));
            fingerprinter.finish()
        };
        assert_eq!(print(&one, &[b"ar", b"", b"ion"]), print(&one, &[b"arion"]));
        assert_ne!(print(&one, &[b"arion"]), print(&two, &[b"arion"]));
        assert_ne!(print(&one, &[b"arion"]), print(&one, &[b"arion", b"\0"]));
    }
}
