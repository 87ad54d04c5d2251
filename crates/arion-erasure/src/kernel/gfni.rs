//! The inner loop with GFNI: one instruction multiplies a register of bytes by a constant. With AVX-512 two registers of 64
//! bytes of each source at a time, with AVX2 one of 32, times up to ten rows, whose sums stay in registers.
//!
//! Not measured: no machine with GFNI was at hand. Miri has these instructions (`./scripts/nightly erasure_miri`), and every
//! process compares a kernel before it uses it ([`super::Path::best`]).
//!
//! Unsafe are instructions the CPU may lack, guarded by `detect`, and reads and writes by pointer, guarded by the checks of
//! `multiply`.

#![allow(unsafe_code, reason = "vector instructions and unaligned loads and stores")]

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_gf2p8affine_epi64_epi8, _mm256_loadu_si256, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_storeu_si256, _mm256_xor_si256, _mm512_gf2p8affine_epi64_epi8,
    _mm512_loadu_si512, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_xor_si512,
};

use super::AFFINE_GROUP as GROUP;

/// A kernel: its name, the features of CPU and compiler, its register with the bytes of one and the number of them per
/// step, and its instructions.
macro_rules! kernel {
    (
        $kernel:ident, $module:ident, [$($feature:tt),+], $enable:literal, $register:ty, $bytes:literal x $width:literal,
        $zero:ident, $load:ident, $store:ident, $spread:ident, $affine:ident, $xor:ident
    ) => {
        /// Proof that the CPU has the instructions.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) struct $kernel(());

        impl $kernel {
            pub(super) fn detect() -> Option<Self> {
                ($(is_x86_feature_detected!($feature))&&+).then_some(Self(()))
            }

            /// Writes the rows of `matrices`, by column and row, times `sources` to `targets`; `false`, with nothing
            /// written, for shards that are shorter than a step or more rows than a group has.
            pub(super) fn multiply(self, matrices: &[u64], sources: &[&[u8]], targets: &mut [&mut [u8]]) -> bool {
                let length = targets.first().map_or(0, |target| target.len());
                let is_even = sources.iter().all(|source| source.len() == length)
                    && targets.iter().all(|target| target.len() == length)
                    && matrices.len() == targets.len() * sources.len();
                if length < $module::STEP || !is_even {
                    return false;
                }
                // SAFETY: `self` exists only where the CPU has the instructions; lengths were checked above, and each
                // arm has as many rows as there are targets.
                unsafe {
                    match targets.len() {
                        1 => $module::rows::<1>(matrices, sources, targets),
                        2 => $module::rows::<2>(matrices, sources, targets),
                        3 => $module::rows::<3>(matrices, sources, targets),
                        4 => $module::rows::<4>(matrices, sources, targets),
                        5 => $module::rows::<5>(matrices, sources, targets),
                        6 => $module::rows::<6>(matrices, sources, targets),
                        7 => $module::rows::<7>(matrices, sources, targets),
                        8 => $module::rows::<8>(matrices, sources, targets),
                        9 => $module::rows::<9>(matrices, sources, targets),
                        GROUP => $module::rows::<GROUP>(matrices, sources, targets),
                        _ => return false,
                    }
                }
                true
            }
        }

        mod $module {
            use super::*;

            /// Bytes per step.
            pub(super) const STEP: usize = $bytes * $width;

            /// # Safety
            /// The CPU has the instructions; there are `ROWS` targets; all sources and targets have one length, at least
            /// [`STEP`]; there is a matrix for each pair of a source and a row.
            #[target_feature(enable = $enable)]
            pub(super) unsafe fn rows<const ROWS: usize>(
                matrices: &[u64],
                sources: &[&[u8]],
                targets: &mut [&mut [u8]],
            ) {
                let length = targets[0].len();
                let mut at = 0;
                while at < length {
                    // What is left of the last step is computed again together with bytes before it.
                    at = at.min(length - STEP);
                    let mut sums = [[$zero(); $width]; ROWS];
                    let mut matrix = matrices.as_ptr();
                    for source in sources {
                        let mut bytes = [$zero(); $width];
                        for (i, bytes) in bytes.iter_mut().enumerate() {
                            // SAFETY: `at + STEP <= length`, the length of every source.
                            *bytes = unsafe { $load(source.as_ptr().add(at + $bytes * i).cast::<$register>()) };
                        }
                        for sum in &mut sums {
                            // SAFETY: each pair of source and row takes the next matrix.
                            let factor = unsafe {
                                let factor = $spread(matrix.read().cast_signed());
                                matrix = matrix.add(1);
                                factor
                            };
                            for (sum, bytes) in sum.iter_mut().zip(bytes) {
                                *sum = $xor(*sum, $affine::<0>(bytes, factor));
                            }
                        }
                    }
                    for (sum, target) in sums.iter().zip(targets.iter_mut()) {
                        for (i, bytes) in sum.iter().enumerate() {
                            // SAFETY: `at + STEP <= length`, the length of every target.
                            unsafe { $store(target.as_mut_ptr().add(at + $bytes * i).cast::<$register>(), *bytes) };
                        }
                    }
                    at += STEP;
                }
            }
        }
    };
}

kernel!(
    Gfni512, wide, ["gfni", "avx512f"], "gfni,avx512f", __m512i, 64 x 2,
    _mm512_setzero_si512, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_set1_epi64,
    _mm512_gf2p8affine_epi64_epi8, _mm512_xor_si512
);
kernel!(
    Gfni256, narrow, ["gfni", "avx2"], "gfni,avx2", __m256i, 32 x 1,
    _mm256_setzero_si256, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_set1_epi64x,
    _mm256_gf2p8affine_epi64_epi8, _mm256_xor_si256
);
