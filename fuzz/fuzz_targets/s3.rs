//! Requests of any kind to a gateway's S3 edge.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_gateway::checks::s3(bytes);
});
