//! Bytes that choose matrices, stripes and losses for the erasure code.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| arion_erasure::checks::codec(bytes));
