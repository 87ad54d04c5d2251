//! The inner loop with NEON: four registers of 16 bytes of each source at a time, times up to four rows.
//!
//! 16 sums, eight halves of source bytes, a mask and two tables are 27 of the 32 registers there are.
//!
//! Unsafe are instructions the CPU may lack, guarded by [`Neon::detect`], and reads and writes by pointer,
//! guarded by the checks of [`Neon::multiply`].

#![allow(unsafe_code, reason = "vector instructions and unaligned loads and stores")]

use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vdupq_n_u8, veorq_u8, vld1q_u8, vqtbl1q_u8, vshrq_n_u8, vst1q_u8,
};

use super::{GROUP, TABLE};

/// Registers of each source per step.
const WIDTH: usize = 4;
/// Bytes per step.
const STEP: usize = 16 * WIDTH;

/// Proof that the CPU has NEON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Neon(());

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
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
        // SAFETY: `self` exists only where the CPU has NEON; lengths were checked above.
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
/// The CPU has NEON; all sources and targets have one length, at least [`STEP`]; `tables` has [`TABLE`] bytes
/// for each pair of a source and a row.
#[target_feature(enable = "neon")]
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
#[target_feature(enable = "neon")]
#[inline]
unsafe fn step<const ROWS: usize>(tables: &[u8], sources: &[&[u8]], targets: &[*mut u8; ROWS], at: usize) {
    let low_half = vdupq_n_u8(0x0f);
    let mut sums = [[vdupq_n_u8(0); WIDTH]; ROWS];
    let mut table = tables.as_ptr();
    for source in sources {
        let mut low = [vdupq_n_u8(0); WIDTH];
        let mut high = [vdupq_n_u8(0); WIDTH];
        for i in 0..WIDTH {
            // SAFETY: 16 bytes from `at + 16 * i` are within the source.
            let bytes: uint8x16_t = unsafe { vld1q_u8(source.as_ptr().add(at + 16 * i)) };
            low[i] = vandq_u8(bytes, low_half);
            high[i] = vshrq_n_u8::<4>(bytes);
        }
        for sum in &mut sums {
            // SAFETY: each pair of source and row takes the next `TABLE` bytes of `tables`.
            let (of_low, of_high) = unsafe {
                let pair = (vld1q_u8(table), vld1q_u8(table.add(16)));
                table = table.add(TABLE);
                pair
            };
            for i in 0..WIDTH {
                let product = veorq_u8(vqtbl1q_u8(of_low, low[i]), vqtbl1q_u8(of_high, high[i]));
                sum[i] = veorq_u8(sum[i], product);
            }
        }
    }
    for (sum, target) in sums.iter().zip(targets) {
        for (i, bytes) in sum.iter().enumerate() {
            // SAFETY: 16 bytes from `at + 16 * i` are within the target.
            unsafe { vst1q_u8(target.add(at + 16 * i), *bytes) };
        }
    }
}
