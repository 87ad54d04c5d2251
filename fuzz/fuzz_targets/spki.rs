//! A key as it comes in a handshake.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_wire_checks::messages::spki(bytes);
});
