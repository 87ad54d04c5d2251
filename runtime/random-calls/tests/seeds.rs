//! A fixed number of random sequences, without libFuzzer, and every input that once was a finding.

use std::{fs, path::Path};

use arion_random_calls::{Outcome, run};
use arion_runtime::{Arion, Marketplace, Registration, Runtime, Snapshots};
use frame_support::traits::{GetCallName, PalletInfoAccess};
use scale_info::{TypeDef, TypeInfo};

/// Sequences of the test: a few seconds.
const SEEDS: u64 = 240;
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
        total.calls.extend(outcome.calls);
        total.events.extend(outcome.events);
    }
    let Outcome { accepted, refused, blocks, calls, events } = total;
    println!("{SEEDS} sequences: {accepted} calls accepted, {refused} refused, {blocks} blocks");
    // A generator whose calls are all refused would find nothing.
    assert!(accepted > refused / 4);
    assert!(blocks > 1_000);
    // Nor would one that never gets to a call, or to what should follow from it.
    let missing: Vec<_> = ours().into_iter().filter(|call| !calls.contains(call)).collect();
    assert!(missing.is_empty(), "these never succeed: {missing:?}");
    let missing: Vec<_> = our_events().into_iter().filter(|(_, index)| !events.contains(index)).collect();
    assert!(missing.is_empty(), "these never happen: {missing:?}");
}

/// The calls of our pallets, as [`Outcome::calls`] has them.
fn ours() -> Vec<(&'static str, &'static str)> {
    let calls: Vec<_> = [
        (Registration::name(), pallet_registration::Call::<Runtime>::get_call_names()),
        (Arion::name(), pallet_arion::Call::<Runtime>::get_call_names()),
        (Marketplace::name(), pallet_marketplace::Call::<Runtime>::get_call_names()),
        (Snapshots::name(), pallet_snapshots::Call::<Runtime>::get_call_names()),
    ]
    .into_iter()
    .flat_map(|(pallet, names)| names.iter().map(move |name| (pallet, *name)))
    .collect();
    assert!(calls.len() >= 45);
    calls
}

/// The events of our pallets by name, as [`Outcome::events`] has them.
fn our_events() -> Vec<(String, [u8; 2])> {
    let pallets = [
        (Registration::name(), Registration::index(), pallet_registration::Event::<Runtime>::type_info()),
        (Arion::name(), Arion::index(), pallet_arion::Event::<Runtime>::type_info()),
        (Marketplace::name(), Marketplace::index(), pallet_marketplace::Event::<Runtime>::type_info()),
        (Snapshots::name(), Snapshots::index(), pallet_snapshots::Event::<Runtime>::type_info()),
    ];
    let events = pallets.into_iter().flat_map(|(pallet, index, info)| {
        let TypeDef::Variant(variants) = info.type_def else { panic!("events of {pallet} are no variants") };
        let named = variants
            .variants
            .into_iter()
            .map(move |variant| (format!("{pallet}.{}", variant.name), [index as u8, variant.index]));
        named.collect::<Vec<_>>()
    });
    let events: Vec<_> = events.collect();
    assert!(events.len() >= 57);
    events
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
