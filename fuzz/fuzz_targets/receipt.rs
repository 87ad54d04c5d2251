//! A signed receipt: decoded, forged, made genuine, changed by a bit.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_wire_checks::signed::receipt(bytes);
});
