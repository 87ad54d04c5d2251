//! A fixed number of random sequences, without libFuzzer, and every input that once was a finding.

use std::{fs, path::Path};

use arion_random_calls::{Outcome, run};

/// Sequences of the test: a few seconds.
const SEEDS: u64 = 160;
/// Bytes of a sequence: enough for a few dozen steps.
const BYTES: usize = 640;

/// Bytes of a seed: BLAKE2b in counter mode.
fn bytes(seed: u64) -> Vec<u8> {
    (0u64..)
        .flat_map(|block| sp_io::hashing::blake2_256(&[seed.to_le_bytes(), block.to_le_bytes()].concat()))
        .take(BYTES)
        .collect()
}

#[test]
fn invariants_hold_after_random_sequences() {
    let mut total = Outcome::default();
    for seed in 0..SEEDS {
        let outcome = run(&bytes(seed));
        total.accepted += outcome.accepted;
        total.refused += outcome.refused;
        total.blocks += outcome.blocks;
    }
    println!("{SEEDS} sequences: {total:?}");
    // A generator whose calls are all refused would find nothing.
    assert!(total.accepted > total.refused / 4, "{total:?}");
    assert!(total.blocks > 1_000, "{total:?}");
}

#[test]
fn a_sequence_is_a_function_of_its_bytes() {
    for seed in 0..4 {
        let first = run(&bytes(seed));
        run(&bytes(seed + 100));
        assert_eq!(run(&bytes(seed)), first);
    }
}

/// `fuzz/regressions/calls`: inputs that libFuzzer found something with, as they were when it did.
#[test]
fn what_was_found_once_is_not_found_again() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions/calls");
    let mut inputs: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort_unstable();
    assert!(!inputs.is_empty());
    for input in inputs {
        println!("{}", input.display());
        run(&fs::read(input).unwrap());
    }
}
