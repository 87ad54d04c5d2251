//! Bytes on a stream of a running server, over QUIC.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_wire_checks::stream::feed(bytes);
});
