//! The inner loop with AVX2: two registers of 32 bytes of each source at a time, times up to four rows.
//!
//! Eight sums, four halves of source bytes, a mask and two tables are 15 of the 16 registers there are.
//!
//! Unsafe are instructions the CPU may lack, guarded by [`Avx2::detect`], and reads and writes by pointer,
//! guarded by the checks of [`Avx2::multiply`].

#![allow(unsafe_code, reason = "vector instructions and unaligned loads and stores")]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_si256,
    _mm256_xor_si256,
};

use super::{GROUP, TABLE};

/// Registers of each source per step.
const WIDTH: usize = 2;
/// Bytes per step.
const STEP: usize = 32 * WIDTH;

/// Proof that the CPU has AVX2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Writes the rows of `tables` times `sources` to `targets`; `false`, with nothing written, for shards
    /// that are shorter than a step or more rows than a group has.
    pub(super) fn multiply(self, tables: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) -> bool {
        let length = targets.first().map_or(0, |target| target.len());
        let is_even = sources.iter().all(|source| source.len() == length)
            && targets.iter().all(|target| target.len() == length)
            && tables.len() == targets.len() * sources.len() * TABLE;
        if length < STEP || targets.len() > GROUP || !is_even {
            return false;
        }
        // SAFETY: `self` exists only where the CPU has AVX2; lengths were checked above.
        unsafe {
            match targets {
                [a] => rows(tables, sources, [a]),
                [a, b] => rows(tables, sources, [a, b]),
                [a, b, c] => rows(tables, sources, [a, b, c]),
                [a, b, c, d] => rows(tables, sources, [a, b, c, d]),
                _ => return false,
            }
        }
        true
    }
}

/// # Safety
/// The CPU has AVX2; all sources and targets have one length, at least [`STEP`]; `tables` has [`TABLE`] bytes
/// for each pair of a source and a row.
#[target_feature(enable = "avx2")]
unsafe fn rows<const ROWS: usize>(tables: &[u8], sources: &[&[u8]], targets: [&mut [u8]; ROWS]) {
    let length = targets[0].len();
    let targets: [*mut u8; ROWS] = targets.map(|target| target.as_mut_ptr());
    let mut at = 0;
    while at < length {
        // What is left of the last step is computed again together with bytes before it.
        at = at.min(length - STEP);
        // SAFETY: `at + STEP <= length`, the length of every source and target.
        unsafe { step(tables, sources, &targets, at) };
        at += STEP;
    }
}

/// # Safety
/// As of [`rows`]; `at + STEP` is at most the length of the sources and targets.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn step<const ROWS: usize>(tables: &[u8], sources: &[&[u8]], targets: &[*mut u8; ROWS], at: usize) {
    let low_half = _mm256_set1_epi8(0x0f);
    let mut sums = [[_mm256_setzero_si256(); WIDTH]; ROWS];
    let mut table = tables.as_ptr();
    for source in sources {
        let mut low = [_mm256_setzero_si256(); WIDTH];
        let mut high = [_mm256_setzero_si256(); WIDTH];
        for i in 0..WIDTH {
            // SAFETY: 32 bytes from `at + 32 * i` are within the source.
            let bytes = unsafe { _mm256_loadu_si256(source.as_ptr().add(at + 32 * i).cast::<__m256i>()) };
            low[i] = _mm256_and_si256(bytes, low_half);
            high[i] = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_half);
        }
        for sum in &mut sums {
            // SAFETY: each pair of source and row takes the next `TABLE` bytes of `tables`.
            let (of_low, of_high) = unsafe {
                let pair = (
                    _mm_loadu_si128(table.cast::<__m128i>()),
                    _mm_loadu_si128(table.add(16).cast::<__m128i>()),
                );
                table = table.add(TABLE);
                pair
            };
            let of_low = _mm256_broadcastsi128_si256(of_low);
            let of_high = _mm256_broadcastsi128_si256(of_high);
            for i in 0..WIDTH {
                let product = _mm256_xor_si256(
                    _mm256_shuffle_epi8(of_low, low[i]),
                    _mm256_shuffle_epi8(of_high, high[i]),
                );
                sum[i] = _mm256_xor_si256(sum[i], product);
            }
        }
    }
    for (sum, target) in sums.iter().zip(targets) {
        for (i, bytes) in sum.iter().enumerate() {
            // SAFETY: 32 bytes from `at + 32 * i` are within the target.
            unsafe { _mm256_storeu_si256(target.add(at + 32 * i).cast::<__m256i>(), *bytes) };
        }
    }
}
