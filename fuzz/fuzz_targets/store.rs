//! Edits of the files of a shard store.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_miner::store::checks::store(bytes);
});
