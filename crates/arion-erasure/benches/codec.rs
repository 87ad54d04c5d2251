//! Throughput on one core, ours beside the reference, in MiB of stripe per second:
//!
//!     cargo bench -p arion-erasure

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use arion_erasure::Codec;
use reed_solomon_erasure::galois_8::ReedSolomon;

const K: usize = 10;
const M: usize = 20;

fn main() {
    println!("RS({K}, {M}), one core, MiB of stripe per second");
    println!("{:>10} {:>9} {:>12} {:>12}", "shard", "job", "arion", "reference");
    for shard_len in [16 << 10, 210 << 10, 1 << 20] {
        let stripe: Vec<u8> =
            (0..(K * shard_len) as u32).map(|at| (at.wrapping_mul(40_503) >> 7) as u8).collect();
        let ours = Codec::new(K, M).unwrap();
        let reference = ReedSolomon::new(K, M).unwrap();
        let mut whole: Vec<Vec<u8>> =
            ours.encode(&stripe).unwrap().iter().map(|shard| shard.to_vec()).collect();

        report(
            shard_len,
            "encode",
            rate(stripe.len(), || black_box(ours.encode(black_box(&stripe)).unwrap()).len()),
            rate(stripe.len(), || {
                reference.encode(black_box(&mut whole)).unwrap();
                whole.len()
            }),
        );
        let mut lost: Vec<Option<Vec<u8>>> = whole.iter().cloned().map(Some).collect();
        let forget = |shards: &mut Vec<Option<Vec<u8>>>| {
            shards[..K].fill(None);
            shards[K + 10..].fill(None);
        };
        report(
            shard_len,
            "10 lost",
            rate(stripe.len(), || {
                forget(&mut lost);
                ours.reconstruct_data(&mut lost).unwrap();
                lost.len()
            }),
            rate(stripe.len(), || {
                forget(&mut lost);
                reference.reconstruct_data(&mut lost).unwrap();
                lost.len()
            }),
        );
    }
}

fn report(shard_len: usize, job: &str, arion: f64, reference: f64) {
    println!("{:>6} KiB {job:>9} {arion:>12.0} {reference:>12.0}", shard_len >> 10);
}

/// MiB per second of the fastest of the runs that fit into a second: the machine is shared.
fn rate(bytes: usize, mut run: impl FnMut() -> usize) -> f64 {
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_secs(1) {
        let run_start = Instant::now();
        black_box(run());
        best = best.min(run_start.elapsed());
    }
    bytes as f64 / f64::from(1 << 20) / best.as_secs_f64()
}
