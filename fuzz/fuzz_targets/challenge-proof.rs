//! The answer to a challenge: honest, changed, cut, lengthened, made up.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_wire_checks::proofs::challenge(bytes);
});
