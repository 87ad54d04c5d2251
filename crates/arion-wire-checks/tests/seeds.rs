//! Every check with every golden message, with fixed seeds of mutations of them, and with every input that was a finding.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{fs, path::Path};

use arion_net::spki;
use arion_wire_checks::{CHECKS, memory, raw::node};

#[global_allocator]
static COUNTING: memory::Counting = memory::Counting;

/// Inputs of each check.
const SEEDS: u64 = 400;

/// A stream of numbers from a seed.
struct Numbers(blake3::OutputReader);

impl Numbers {
    fn of(name: &str, seed: u64) -> Self {
        Self(blake3::Hasher::new().update(name.as_bytes()).update(&seed.to_le_bytes()).finalize_xof())
    }

    fn below(&mut self, end: usize) -> usize {
        let mut word = [0; 8];
        self.0.fill(&mut word);
        (u64::from_le_bytes(word) % end.max(1) as u64) as usize
    }
}

/// The golden messages: whole, without the length, and only their fields; so that each check finds something it knows.
fn golden() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../arion-protocol/golden");
    let files = hex_files(&directory);
    assert!(files.len() >= 28);
    let key = spki(&node(1));
    let mut inputs = vec![key.to_vec(), key[12..].to_vec()];
    for (_, wire) in files {
        let length = u32::from_le_bytes(wire[..4].try_into().unwrap()) as usize;
        let (header, body) = wire[4..].split_at(length);
        inputs.extend([header.to_vec(), header[12..].to_vec(), header[13..].to_vec(), body.to_vec()]);
        inputs.push([&[0], &wire[..]].concat());
        inputs.push([&[1], header].concat());
        // A list of one: its item.
        inputs.push(header.get(14..).unwrap_or_default().to_vec());
        inputs.push(body.get(1..).unwrap_or_default().to_vec());
    }
    for (name, message) in hex_files(&directory.join("relay")) {
        let kind = ["request", "order", "answer"].iter().position(|kind| name.starts_with(kind)).unwrap();
        inputs.push([&[kind as u8], &message[..]].concat());
        // A channel and what is sent over it.
        inputs.push([&[3], &message[..]].concat());
    }
    inputs
}

/// Names and bytes of the golden files of a directory, by name.
fn hex_files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let digits: String = text.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), hex::decode(digits).unwrap())
        })
        .collect();
    files.sort_unstable();
    files
}

fn mutated(mut bytes: Vec<u8>, numbers: &mut Numbers) -> Vec<u8> {
    for _ in 0..numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        match numbers.below(4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, numbers.below(256) as u8),
            _ => {
                let more = numbers.below(40);
                bytes.resize(bytes.len() + more, numbers.below(256) as u8);
            }
        }
    }
    bytes
}

fn run(check: &str) {
    let (name, check) = *CHECKS.iter().find(|(name, _)| *name == check).unwrap();
    let (known, others): (Vec<_>, Vec<_>) = golden().into_iter().partition(|input| check(input));
    // A check that nothing gets into would find nothing.
    assert!(!known.is_empty(), "{name} knows none of the golden messages");
    let mut useful = 0;
    for seed in 0..SEEDS {
        let mut numbers = Numbers::of(name, seed);
        let input = match numbers.below(4) {
            0 => (0..numbers.below(300)).map(|_| numbers.below(256) as u8).collect(),
            1 if !others.is_empty() => mutated(others[numbers.below(others.len())].clone(), &mut numbers),
            _ => mutated(known[numbers.below(known.len())].clone(), &mut numbers),
        };
        useful += usize::from(check(&input));
    }
    println!("{name}: {useful} of {SEEDS} inputs got behind the first refusal");
    assert!(useful >= 20, "{name}: only {useful} inputs got behind the first refusal");
    let findings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions").join(name);
    for finding in fs::read_dir(findings).into_iter().flatten() {
        check(&fs::read(finding.unwrap().path()).unwrap());
    }
}

macro_rules! checks {
    ($($test:ident: $name:literal)*) => {
        $(#[test] fn $test() { run($name) })*

        #[test]
        fn every_check_has_a_test() {
            let tested = [$($name),*];
            assert_eq!(CHECKS.map(|(name, _)| name), tested);
        }
    };
}

checks! {
    requests: "request"
    responses: "response"
    ledger_entries: "ledger"
    keys: "spki"
    commands: "command"
    heartbeats: "heartbeat"
    receipts: "receipt"
    attestations: "attestation"
    range_proofs: "range-proof"
    challenge_proofs: "challenge-proof"
    relays: "relay"
    streams: "stream"
    bundles: "bundle"
}

/// Otherwise the limit in the checks would hold of anything.
#[test]
fn memory_is_counted() {
    let (length, peak) = memory::peak_of(|| {
        let mut bytes = vec![0u8; 1_000];
        bytes.reserve_exact(100_000);
        bytes.capacity()
    });
    assert!(peak >= length && peak < 2 * length, "{peak}");
}

/// Lists that are within the cap of the header and would take many times its bytes: refused before they are decoded.
#[test]
fn a_header_full_of_nothing_takes_no_memory() {
    use arion_protocol::{FrameError, ResponseHeader, frame::Header, limits::HEADER_BYTES_MAX};
    use codec::{Compact, Encode};
    let nones = HEADER_BYTES_MAX - 20;
    let mut header = (7u64, 0u32, 4u8, Compact(nones)).encode();
    header.resize(header.len() + nones as usize, 0);
    let (outcome, peak) = memory::peak_of(|| ResponseHeader::from_bytes(&header));
    assert_eq!(outcome.unwrap_err().error, FrameError::ListTooLong { count: nones, max: 1_024 });
    assert_eq!(peak, 0);
}
