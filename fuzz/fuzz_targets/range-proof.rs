//! The proof of a byte range: honest, changed, cut, lengthened, made up.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_wire_checks::proofs::range(bytes);
});
