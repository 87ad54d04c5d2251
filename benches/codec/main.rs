//! Throughput on one core, ours beside ISA-L in the same run, in GiB of stripe per second:
//!
//!     ./scripts/bench codec
//!
//! ISA-L is Intel's library (Debian: libisal2), loaded at run time and given our matrices, so that both compute
//! the same bytes, which is checked. Each figure is the fastest of many interleaved runs, in time of the processor: the machine is
//! shared. Only what two cores do together is taken by the clock, and needs two that have nothing else to do.
//! "hot" works on the same buffers again and again, "cold" on buffers that were pushed out of the caches.
//!
//! Two more tables: encoding with BLAKE3 of all shards, as the gateway does both, beside either alone; and the portable path
//! beside the portable path of `rustfs-erasure-codec`, the best maintained crate, on hot buffers.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(unsafe_code, reason = "a C library is the reference")]

use std::{
    cell::RefCell,
    ffi::c_int,
    hint::black_box,
    time::{Duration, Instant},
};

use arion_erasure::{Codec, checks};
use bytes::Bytes;
use libloading::{Library, Symbol};
use rustfs_erasure_codec::galois_8::ReedSolomon;

const K: usize = 10;
const M: usize = 20;
const KIB: usize = 1 << 10;
/// Buffers that are cold are as many as make up this.
const COLD_BYTES: usize = 256 << 20;
const TIME: Duration = Duration::from_millis(700);

type InitTables = unsafe extern "C" fn(c_int, c_int, *const u8, *mut u8);
type Multiply = unsafe extern "C" fn(c_int, c_int, c_int, *const u8, *const *const u8, *const *mut u8);

/// ISA-L.
struct Reference {
    library: Library,
}

impl Reference {
    fn load() -> Self {
        // SAFETY: the library has no initialisers with effects.
        let library = unsafe { Library::new("libisal.so.2") };
        Self { library: library.expect("libisal.so.2 is missing: run this through scripts/bench codec") }
    }

    /// Tables of the matrix that maps `columns` shards of one byte each to what `map` makes of them.
    fn tables(&self, columns: usize, rows: usize, map: impl Fn(&[Bytes]) -> Vec<u8>) -> Vec<u8> {
        let mut factors = vec![0; columns * rows];
        for column in 0..columns {
            let unit: Vec<Bytes> = (0..columns).map(|i| Bytes::from(vec![u8::from(i == column)])).collect();
            for (row, factor) in map(&unit).into_iter().enumerate() {
                factors[row * columns + column] = factor;
            }
        }
        let mut tables = vec![0; 32 * columns * rows];
        // SAFETY: the lengths are those ISA-L's documentation asks for.
        unsafe {
            let init: Symbol<'_, InitTables> = self.library.get(b"ec_init_tables").unwrap();
            init(columns as c_int, rows as c_int, factors.as_ptr(), tables.as_mut_ptr());
        }
        tables
    }

    fn multiply(&self, tables: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        let sources: Vec<*const u8> = sources.iter().map(|source| source.as_ptr()).collect();
        let target_pointers: Vec<*mut u8> = targets.iter_mut().map(|target| target.as_mut_ptr()).collect();
        // SAFETY: all shards have the length of the first target; tables are of so many sources and targets.
        unsafe {
            let multiply: Symbol<'_, Multiply> = self.library.get(b"ec_encode_data").unwrap();
            multiply(
                targets[0].len() as c_int,
                sources.len() as c_int,
                targets.len() as c_int,
                tables.as_ptr(),
                sources.as_ptr(),
                target_pointers.as_ptr(),
            );
        }
    }
}

/// A stripe with room for what is computed.
struct Work {
    sources: Vec<Vec<u8>>,
    targets: Vec<Vec<u8>>,
}

impl Work {
    fn new(seed: usize, shard_len: usize, targets: usize) -> Self {
        let byte =
            |shard: usize, at: usize| ((at ^ seed).wrapping_mul(0x9e37_79b9) >> 13) as u8 ^ shard as u8;
        Self {
            sources: (0..K).map(|shard| (0..shard_len).map(|at| byte(shard, at)).collect()).collect(),
            targets: vec![vec![0; shard_len]; targets],
        }
    }

    fn sources(&self) -> Vec<&[u8]> {
        self.sources.iter().map(Vec::as_slice).collect()
    }

    fn run(&mut self, multiply: impl FnOnce(&[&[u8]], &mut [&mut [u8]])) {
        let Self { sources, targets } = self;
        let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        multiply(black_box(&sources), &mut slices(targets));
    }
}

fn slices(shards: &mut [Vec<u8>]) -> Vec<&mut [u8]> {
    shards.iter_mut().map(Vec::as_mut_slice).collect()
}

/// Met and all targets.
#[derive(Default)]
struct Score {
    met: usize,
    all: usize,
}

impl Score {
    fn line(&mut self, shard_len: usize, job: &str, heat: &str, times: [Duration; 2], target: f64) {
        let [reference, ours] = times.map(|time| rate(shard_len, time));
        let ratio = ours / reference;
        self.all += 1;
        self.met += usize::from(ratio >= target);
        println!(
            "{:>9} {job:>8} {heat:>5} {reference:>8.2} {ours:>8.2} {ratio:>7.2} {target:>7.1} {}",
            format!("{} KiB", shard_len / KIB),
            if ratio >= target { "met" } else { "MISSED" }
        );
    }
}

/// GiB of stripe per second.
fn rate(shard_len: usize, time: Duration) -> f64 {
    (K * shard_len) as f64 / f64::from(1 << 30) / time.as_secs_f64()
}

/// The fastest run of each of two, taking turns.
fn race(mut reference: impl FnMut(usize), mut ours: impl FnMut(usize)) -> [Duration; 2] {
    turns([&mut reference, &mut ours])
}

/// The fastest run of each, taking turns.
fn turns<const N: usize>(mut jobs: [&mut dyn FnMut(usize); N]) -> [Duration; N] {
    let (start, mut best, mut round) = (Instant::now(), [Duration::MAX; N], 0);
    while start.elapsed() < TIME || round < 2 * N {
        for (job, best) in jobs.iter_mut().zip(&mut best) {
            let begun = processor_time();
            job(round);
            *best = (*best).min(processor_time() - begun);
            round += 1;
        }
    }
    best
}

/// What this thread has had of the processor, which others use too.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// What a ratio has to be: with GFNI the hardware could do much more than ISA-L makes of it.
fn target(shard_len: usize, is_cold: bool) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("gfni") {
        return match (is_cold, shard_len <= 256 * KIB) {
            (true, _) => 1.5,
            (false, true) => 2.0,
            (false, false) => 1.6,
        };
    }
    let _ = (shard_len, is_cold);
    1.0
}

fn main() {
    let reference = Reference::load();
    let codec = Codec::new(K, M).unwrap();
    println!("RS({K}, {M}), one core, GiB of stripe per second");
    println!("    shard      job  heat    ISA-L     ours   ratio  target");
    let mut score = Score::default();
    for shard_len in [64 * KIB, 210 * KIB, 256 * KIB, 1024 * KIB] {
        encode(&reference, &codec, shard_len, &mut score);
        rebuild(&reference, &codec, shard_len, &mut score);
    }
    println!(
        "\nwith BLAKE3 of the {} shards; the slower alone on one core, and together on one core and two",
        K + M
    );
    println!("    shard  encode  BLAKE3  1 core   ratio  2 cores   ratio  target");
    for shard_len in [64 * KIB, 210 * KIB, 256 * KIB, 1024 * KIB] {
        hashed(&codec, shard_len, &mut score);
    }
    println!("\nportable paths");
    println!("    shard      job  heat   rustfs     ours   ratio  target");
    for shard_len in [64 * KIB, 1024 * KIB] {
        portable(&codec, shard_len, &mut score);
    }
    println!("bench codec: {} of {} targets met", score.met, score.all);
}

/// Encoding and hashing, each alone and both, on stripes that are as far from the caches as new ones are.
fn hashed(codec: &Codec, shard_len: usize, score: &mut Score) {
    let count = COLD_BYTES.div_ceil((K + M) * shard_len).max(2);
    let works: Vec<Vec<u8>> = (0..count).map(|seed| Work::new(seed, shard_len, 0).sources.concat()).collect();
    let mut parity = vec![vec![0; shard_len]; M];
    let whole = codec.encode(works[0].clone().into()).unwrap();
    let [encode, hash, one] = turns([
        &mut |round| {
            let data: Vec<&[u8]> = works[round % count].chunks(shard_len).collect();
            codec.encode_into(black_box(&data), &mut slices(&mut parity)).unwrap();
        },
        &mut |round| {
            let data = works[round % count].chunks(shard_len);
            data.chain(whole[K..].iter().map(AsRef::as_ref)).for_each(|shard| {
                black_box(blake3::hash(black_box(shard)));
            });
        },
        &mut |round| drop(black_box(codec.encode_hashed(&works[round % count], 1).unwrap())),
    ]);
    // Two threads take the time that passes.
    let (start, mut two, mut round) = (Instant::now(), Duration::MAX, 0);
    while start.elapsed() < 2 * TIME || round < 4 {
        let begun = Instant::now();
        drop(black_box(codec.encode_hashed(&works[round % count], 2).unwrap()));
        two = two.min(begun.elapsed());
        round += 1;
    }
    let [encode, hash, one, two] = [encode, hash, one, two].map(|time| rate(shard_len, time));
    let (slower, target) = (encode.min(hash), 0.9);
    score.all += 1;
    score.met += usize::from(two >= target * slower);
    println!(
        "{:>9} {encode:>7.2} {hash:>7.2} {one:>7.2} {:>7.2} {two:>8.2} {:>7.2} {target:>7.1} {}",
        format!("{} KiB", shard_len / KIB),
        one / slower,
        two / slower,
        if two >= target * slower { "met" } else { "MISSED" }
    );
}

fn portable(codec: &Codec, shard_len: usize, score: &mut Score) {
    let theirs = ReedSolomon::new(K, M).unwrap();
    let (mut one, mut other) = (Work::new(0, shard_len, M), Work::new(0, shard_len, M));
    let times = race(
        |_| one.run(|from, to| theirs.encode_sep(from, to).unwrap()),
        |_| other.run(|from, to| checks::encode_portable(codec, from, to)),
    );
    assert_eq!(one.targets, other.targets, "both compute the same bytes");
    score.line(shard_len, "encode", "hot", times, 1.0);
}

fn encode(reference: &Reference, codec: &Codec, shard_len: usize, score: &mut Score) {
    let tables = reference.tables(K, M, |unit| {
        let stripe: Vec<u8> = unit.iter().flat_map(|shard| shard.to_vec()).collect();
        codec.encode(stripe.into()).unwrap()[K..].iter().map(|shard| shard[0]).collect()
    });
    for is_cold in [false, true] {
        let count = if is_cold { COLD_BYTES.div_ceil((K + M) * shard_len).max(2) } else { 1 };
        let works: Vec<Work> = (0..count).map(|seed| Work::new(seed, shard_len, M)).collect();
        let mut theirs = Work::new(0, shard_len, M);
        reference.multiply(&tables, &works[0].sources(), &mut slices(&mut theirs.targets));
        let (mut ours, stripe) = (vec![vec![0; shard_len]; M], works[0].sources());
        codec.encode_into(&stripe, &mut slices(&mut ours)).unwrap();
        assert_eq!(ours, theirs.targets, "both compute the same bytes");

        let works = RefCell::new(works);
        let times = race(
            |round| works.borrow_mut()[round % count].run(|from, to| reference.multiply(&tables, from, to)),
            |round| works.borrow_mut()[round % count].run(|from, to| codec.encode_into(from, to).unwrap()),
        );
        let heat = if is_cold { "cold" } else { "hot" };
        score.line(shard_len, "encode", heat, times, target(shard_len, is_cold));
    }
}

/// All ten data shards are lost; parity shards 3 to 12 are there.
fn rebuild(reference: &Reference, codec: &Codec, shard_len: usize, score: &mut Score) {
    let placed = |present: &[Bytes]| {
        let mut shards = vec![None; K + M];
        for (slot, shard) in shards[K + 3..].iter_mut().zip(present) {
            *slot = Some(shard.clone());
        }
        shards
    };
    let tables = reference.tables(K, K, |unit| {
        let mut shards = placed(unit);
        codec.reconstruct_data(&mut shards).unwrap();
        shards[..K].iter().map(|shard| shard.as_ref().unwrap()[0]).collect()
    });
    for is_cold in [false, true] {
        let count = if is_cold { COLD_BYTES.div_ceil(K * shard_len).max(2) } else { 1 };
        let works: Vec<Vec<Bytes>> = (0..count)
            .map(|seed| Work::new(seed, shard_len, 0).sources.into_iter().map(Bytes::from).collect())
            .collect();
        // Neither side's results are cold: ours reuses its buffers, so may the reference.
        let mut targets = vec![vec![0; shard_len]; K];
        let times = race(
            |round| {
                let sources: Vec<&[u8]> = works[round % count].iter().map(AsRef::as_ref).collect();
                reference.multiply(&tables, black_box(&sources), &mut slices(&mut targets));
            },
            |round| {
                let mut shards = placed(&works[round % count]);
                codec.reconstruct_data(black_box(&mut shards)).unwrap();
            },
        );
        let mut shards = placed(&works[0]);
        codec.reconstruct_data(&mut shards).unwrap();
        let sources: Vec<&[u8]> = works[0].iter().map(AsRef::as_ref).collect();
        reference.multiply(&tables, &sources, &mut slices(&mut targets));
        assert!(shards.iter().flatten().zip(&targets).all(|(ours, theirs)| ours == theirs));
        let heat = if is_cold { "cold" } else { "hot" };
        score.line(shard_len, "rebuild", heat, times, target(shard_len, is_cold));
    }
}
