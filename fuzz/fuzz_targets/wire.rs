//! Headers of the wire protocol: whatever the bytes, decoding ends with an error or with a header that encodes to
//! the same bytes.

#![no_main]

use arion_protocol::frame::{Header, PREFIX_BYTES, RequestHeader, ResponseHeader, header_len};

fn round_trip<H: Header>(bytes: &[u8]) {
    let Ok(header) = H::from_bytes(bytes) else { return };
    if let Ok(frame) = header.to_frame() {
        assert_eq!(&frame[PREFIX_BYTES..], bytes);
    } else {
        assert!(header_len((bytes.len() as u32).to_le_bytes()).is_err());
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    round_trip::<RequestHeader>(bytes);
    round_trip::<ResponseHeader>(bytes);
});
