//! What is signed: no bytes pass for a signature, a genuine one covers every bit.

use std::fmt::Debug;

use arion_protocol::{SignedCommand, SignedHeartbeat};
use arion_types::{AttestationRecord, GenesisHash, ShownAttestation, SignedReceipt, signing};
use codec::{DecodeAll, Encode};
use ed25519_dalek::SigningKey;

use crate::memory::peak_of;

/// Memory that a list of attestations with what they rest on may take for each of its bytes, and beside them.
const SHOWN_FACTOR: usize = 6;
const SHOWN_BYTES_MAX: usize = 64 << 10;

/// Another chain than that of the golden messages, whose signatures must not hold here.
const GENESIS: GenesisHash = [0x77; 32];

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// `sign` makes what was decoded genuine, `holds` judges.
fn check<T>(bytes: &[u8], sign: impl Fn(T) -> T, holds: impl Fn(&T) -> bool) -> bool
where
    T: DecodeAll + Encode + PartialEq + Debug,
{
    let Ok(value) = T::decode_all(&mut &bytes[..]) else { return false };
    assert_eq!(value.encode(), bytes);
    assert!(!holds(&value), "{value:?} was never signed for this chain");
    let genuine = sign(value);
    assert!(holds(&genuine), "{genuine:?}");
    // One bit, which the input picks.
    let mut wire = genuine.encode();
    let bit = bytes.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let at = bit / 8 % wire.len();
    wire[at] ^= 1 << (bit % 8);
    if let Ok(changed) = T::decode_all(&mut &wire[..]) {
        assert!(!holds(&changed), "{changed:?} was {genuine:?}");
    }
    true
}

/// A signed command.
pub fn command(bytes: &[u8]) -> bool {
    let holds = |signed: &SignedCommand| {
        let now = signed.command.expires_at.saturating_sub(1);
        signed.check(&GENESIS, &signed.command.target, now).is_ok()
    };
    let sign = |signed: SignedCommand| {
        let mut command = signed.command;
        command.expires_at = command.expires_at.max(1);
        command.sign(&GENESIS, &key())
    };
    check(bytes, sign, holds)
}

/// A signed heartbeat.
pub fn heartbeat(bytes: &[u8]) -> bool {
    let sign = |signed: SignedHeartbeat| {
        let mut heartbeat = signed.heartbeat;
        heartbeat.node_id = signing::node_id(&key());
        heartbeat.sign(&GENESIS, &key())
    };
    check(bytes, sign, |signed| signed.verify(&GENESIS))
}

/// A signed receipt.
pub fn receipt(bytes: &[u8]) -> bool {
    let sign = |signed: SignedReceipt| {
        let mut receipt = signed.receipt;
        receipt.node_id = signing::node_id(&key());
        receipt.sign(&GENESIS, &key())
    };
    check(bytes, sign, |signed| signed.verify(&GENESIS))
}

/// An attestation; the same bytes as a list are the body of `Attest`, and with what they rest on of `AttestShown`.
pub fn attestation(bytes: &[u8]) -> bool {
    if let Ok(records) = Vec::<AttestationRecord>::decode_all(&mut &bytes[..]) {
        assert_eq!(records.encode(), bytes);
    }
    let (shown, peak) = peak_of(|| Vec::<ShownAttestation>::decode_all(&mut &bytes[..]));
    assert!(
        peak <= SHOWN_FACTOR * bytes.len() + SHOWN_BYTES_MAX,
        "{peak} bytes of memory for {}",
        bytes.len()
    );
    if let Ok(shown) = shown {
        assert_eq!(shown.encode(), bytes);
    }
    let sign = |mut record: AttestationRecord| {
        record.sign(&GENESIS, &key());
        record
    };
    check(bytes, sign, |record| record.verify(&GENESIS))
}
