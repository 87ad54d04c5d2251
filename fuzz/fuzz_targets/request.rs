//! A request's header, raw or behind an envelope that is right.

#![no_main]

// Lets the check see how much memory decoding takes.
#[global_allocator]
static COUNTING: arion_wire_checks::memory::Counting = arion_wire_checks::memory::Counting;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_wire_checks::messages::request(bytes);
});
