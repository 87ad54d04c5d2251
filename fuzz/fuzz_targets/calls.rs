//! Random sequences of calls against the whole runtime, see `arion_random_calls`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_random_calls::run(bytes);
});
