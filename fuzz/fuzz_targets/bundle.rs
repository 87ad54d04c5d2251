//! The files of a bundle, made up or changed.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_wire_checks::bundle::bundle(bytes);
});
