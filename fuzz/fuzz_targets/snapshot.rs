//! Nodes and roots of snapshots of a gateway's metadata.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_gateway::checks::snapshot(bytes);
});
