//! Rows of manifests.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_gateway::checks::manifest(bytes);
});
