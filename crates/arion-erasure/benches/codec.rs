//! Throughput on one core, ours beside ISA-L in the same run, in GiB of stripe per second:
//!
//!     ./scripts/bench codec
//!
//! ISA-L is Intel's library (Debian: libisal2), loaded at run time and given our matrices, so that both compute
//! the same bytes, which is checked. Each figure is the fastest of many interleaved runs: the machine is shared.
//! "hot" works on the same buffers again and again, "cold" on buffers that were pushed out of the caches.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(unsafe_code, reason = "a C library is the reference")]

use std::{
    cell::RefCell,
    ffi::c_int,
    hint::black_box,
    time::{Duration, Instant},
};

use arion_erasure::Codec;
use bytes::Bytes;
use libloading::{Library, Symbol};

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
        let rate = |time: Duration| (K * shard_len) as f64 / f64::from(1 << 30) / time.as_secs_f64();
        let [reference, ours] = times.map(rate);
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

/// The fastest run of each of two, taking turns.
fn race(mut reference: impl FnMut(usize), mut ours: impl FnMut(usize)) -> [Duration; 2] {
    let (start, mut best, mut round) = (Instant::now(), [Duration::MAX; 2], 0);
    while start.elapsed() < TIME || round < 4 {
        let begun = Instant::now();
        reference(round);
        best[0] = best[0].min(begun.elapsed());
        let begun = Instant::now();
        ours(round + 1);
        best[1] = best[1].min(begun.elapsed());
        round += 2;
    }
    best
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
    println!("bench codec: {} of {} targets met", score.met, score.all);
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
