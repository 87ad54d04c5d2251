//! Node ids as SubjectPublicKeyInfo: the one form in which a key appears in a handshake.

use arion_types::NodeId;
use ed25519_dalek::VerifyingKey;

/// Everything before the 32 bytes of the key: `SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING }`.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const SPKI_BYTES: usize = SPKI_PREFIX.len() + 32;
/// Everything before the 32 bytes of the seed in a PKCS#8 v1 key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why a presented key is not a node id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SpkiError {
    /// Not the one DER encoding of an Ed25519 key.
    #[error("not the DER encoding of an Ed25519 public key")]
    NotEd25519,
    /// Not a point on the curve, not its one canonical encoding, or of small order, so that anybody can sign for it.
    #[error("weak or invalid Ed25519 public key")]
    WeakKey,
}

/// The SubjectPublicKeyInfo of a node id.
pub fn spki(node_id: &NodeId) -> [u8; SPKI_BYTES] {
    let mut der = [0; SPKI_BYTES];
    let (prefix, key) = der.split_at_mut(SPKI_PREFIX.len());
    prefix.copy_from_slice(&SPKI_PREFIX);
    key.copy_from_slice(&node_id.0);
    der
}

/// The node id in a SubjectPublicKeyInfo. Exactly one encoding is accepted, of 44 bytes.
pub fn node_id_from_spki(der: &[u8]) -> Result<NodeId, SpkiError> {
    let key = der.strip_prefix(&SPKI_PREFIX).ok_or(SpkiError::NotEd25519)?;
    let key: [u8; 32] = key.try_into().map_err(|_| SpkiError::NotEd25519)?;
    match VerifyingKey::from_bytes(&key) {
        // Another encoding of the same point would be another node id of the same node.
        Ok(point) if !point.is_weak() && *point.to_edwards().compress().as_bytes() == key => Ok(NodeId(key)),
        _ => Err(SpkiError::WeakKey),
    }
}

/// A secret key in the form rustls reads.
pub(crate) fn pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    [PKCS8_PREFIX.as_slice(), seed].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_types::signing;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    fn node() -> NodeId {
        signing::node_id(&SigningKey::from_bytes(&[7; 32]))
    }

    #[test]
    fn one_encoding_round_trips() {
        assert_eq!(node_id_from_spki(&spki(&node())), Ok(node()));
    }

    /// Forgeries aimed at readers that search for the key instead of parsing.
    #[test]
    fn forged_encodings_are_refused() {
        let good = spki(&node());
        let key = node().0;
        let forged: Vec<Vec<u8>> = vec![
            vec![],
            key.to_vec(),
            good[..43].to_vec(),
            [good.as_slice(), &[0]].concat(),
            [&[0], good.as_slice()].concat(),
            // X25519, Ed448 and RSA identifiers in front of the same key.
            [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00], key.as_slice()]
                .concat(),
            [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71, 0x03, 0x21, 0x00], key.as_slice()]
                .concat(),
            // Explicit NULL parameters.
            [
                &[0x30, 0x2c, 0x30, 0x07, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x05, 0x00, 0x03, 0x21, 0x00],
                key.as_slice(),
            ]
            .concat(),
            // Long-form (BER) lengths.
            [&[0x30, 0x81, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], key.as_slice()]
                .concat(),
            // Unused bits in the bit string.
            [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x01], key.as_slice()]
                .concat(),
            // A certificate-like wrapper that contains the good encoding.
            [&[0x30, 0x2e, 0x30, 0x2c], good.as_slice()].concat(),
        ];
        for der in forged {
            assert_eq!(node_id_from_spki(&der), Err(SpkiError::NotEd25519), "{der:02x?}");
        }
    }

    #[test]
    fn keys_for_which_anybody_can_sign_are_refused() {
        let identity = { std::array::from_fn(|at| u8::from(at == 0)) };
        for weak in [[0; 32], identity] {
            assert_eq!(node_id_from_spki(&spki(&NodeId(weak))), Err(SpkiError::WeakKey));
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_before_the_key_is_refused(at in 0..SPKI_PREFIX.len(), flip in 1u8..) {
            let mut der = spki(&node());
            der[at] ^= flip;
            prop_assert_eq!(node_id_from_spki(&der), Err(SpkiError::NotEd25519));
        }

        #[test]
        fn random_bytes_never_panic(der in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = node_id_from_spki(&der);
        }
    }
}
