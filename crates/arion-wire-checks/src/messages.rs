//! Headers, ledger entries, keys: what decodes encodes to the same bytes, what does not is told apart as the rules say.

use std::fmt::Debug;

use arion_net::{node_id_from_spki, spki as encode_spki};
use arion_protocol::{
    ErrorCode, FrameError, LedgerEntry, Rejection, RequestHeader, ResponseHeader,
    frame::{ENVELOPE_BYTES, Header, PREFIX_BYTES, header_len},
    limits::HEADER_BYTES_MAX,
};
use codec::{Decode, Encode};

use crate::memory::peak_of;

/// Memory that decoding a header may take beside twice its bytes: the longest list, in its largest form.
const DECODED_BYTES_MAX: usize = 512 << 10;

/// A request's header, and its fields behind an envelope that is right.
pub fn request(bytes: &[u8]) -> bool {
    header::<RequestHeader>(bytes) | header::<RequestHeader>(&enveloped::<RequestHeader>(bytes))
}

/// A response's header, and its fields behind an envelope that is right.
pub fn response(bytes: &[u8]) -> bool {
    header::<ResponseHeader>(bytes) | header::<ResponseHeader>(&enveloped::<ResponseHeader>(bytes))
}

/// The first byte picks the kind, the others are its fields.
fn enveloped<H: Header>(bytes: &[u8]) -> Vec<u8> {
    let (kind, fields) = bytes.split_first().unwrap_or((&0, &[]));
    let mut header = (7u64, 0u32, kind % H::KINDS).encode();
    header.extend_from_slice(fields);
    header
}

fn header<H: Header + PartialEq + Debug>(bytes: &[u8]) -> bool {
    if bytes.len() > HEADER_BYTES_MAX as usize {
        return false;
    }
    let (outcome, peak) = peak_of(|| H::from_bytes(bytes));
    assert!(peak <= 2 * bytes.len() + DECODED_BYTES_MAX, "{peak} bytes of memory for {}", bytes.len());
    match outcome {
        Ok(header) => {
            let frame = header.to_frame().unwrap();
            let (prefix, again) = frame.split_at(PREFIX_BYTES);
            assert_eq!(again, bytes);
            assert_eq!(header_len(prefix.try_into().unwrap()), Ok(bytes.len()));
            let longer = [bytes, &[0]].concat();
            if longer.len() <= HEADER_BYTES_MAX as usize {
                assert_eq!(H::from_bytes(&longer).unwrap_err().error, FrameError::UnknownFields(1));
            }
            true
        }
        Err(rejection) => {
            refused::<H>(bytes, rejection);
            false
        }
    }
}

/// The rules of docs/spec/wire.md, "Frames".
fn refused<H: Header + PartialEq + Debug>(bytes: &[u8], Rejection { id, error }: Rejection) {
    if bytes.len() < ENVELOPE_BYTES {
        assert_eq!((id, error), (0, FrameError::Undecodable));
        return;
    }
    assert_eq!(id.to_le_bytes(), bytes[..8]);
    let unsupported = error.code() == ErrorCode::Unsupported;
    match error {
        FrameError::UnknownKind(kind) => assert!(unsupported && kind == bytes[12] && kind >= H::KINDS),
        FrameError::UnknownFields(count) => {
            let known = &bytes[..bytes.len() - count as usize];
            assert!(unsupported && H::from_bytes(known).is_ok());
        }
        _ => assert!(!unsupported && bytes[12] < H::KINDS),
    }
}

/// Entries of a gateway's ledger, one behind the other.
pub fn ledger(mut bytes: &[u8]) -> bool {
    let mut entries = 0;
    let mut rest = bytes;
    while let Ok(entry) = LedgerEntry::decode(&mut rest) {
        let (read, behind) = bytes.split_at(bytes.len() - rest.len());
        assert_eq!(entry.encode(), read);
        bytes = behind;
        entries += 1;
    }
    entries > 0
}

/// A key as it comes in a handshake, and the same behind the right prefix.
pub fn spki(bytes: &[u8]) -> bool {
    let mut prefixed = encode_spki(&arion_types::NodeId([0; 32])).to_vec();
    prefixed.truncate(12);
    prefixed.extend_from_slice(bytes);
    let mut keys = 0;
    for der in [bytes, &prefixed] {
        if let Ok(node_id) = node_id_from_spki(der) {
            assert_eq!(encode_spki(&node_id), der);
            keys += 1;
        }
    }
    keys > 0
}
