//! Entries of a gateway's ledger.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arion_wire_checks::messages::ledger(bytes);
});
