//! The inner loop in plain Rust, for CPUs without a kernel of their own.
//!
//! A row times the sources is eight sums of sources, one for each bit of the factors, from the highest bit down with a doubling
//! in between. That is shifts and exclusive ors of whole blocks, for which compilers use what vectors there are; looking
//! bytes up in tables one at a time is four to five times slower.

use crate::field::mul;

/// Bytes whose sum stays in registers.
const LANES: usize = 64;

/// Writes the rows of `factors`, row by row, times `sources` to `targets`.
pub(super) fn multiply(factors: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
    for (factors, target) in factors.chunks(sources.len().max(1)).zip(targets) {
        // By bit: the sources whose factor has it.
        let sums: [Vec<&[[u8; LANES]]>; 8] = std::array::from_fn(|bit| {
            let those = factors.iter().zip(sources).filter(|(factor, _)| **factor >> bit & 1 == 1);
            those.map(|(_, source)| source.as_chunks().0).collect()
        });
        let (whole, rest) = target.as_chunks_mut::<LANES>();
        let done = whole.len() * LANES;
        for (at, target) in whole.iter_mut().enumerate() {
            let mut sum = [0u8; LANES];
            for sources in sums.iter().rev() {
                for byte in &mut sum {
                    // 0xff where the highest bit falls out.
                    let carry = (*byte).cast_signed() >> 7;
                    *byte = (*byte << 1) ^ (carry.cast_unsigned() & 0x1d);
                }
                for source in sources {
                    for (sum, byte) in sum.iter_mut().zip(&source[at]) {
                        *sum ^= byte;
                    }
                }
            }
            *target = sum;
        }
        for (at, target) in rest.iter_mut().enumerate() {
            *target = factors
                .iter()
                .zip(sources)
                .fold(0, |sum, (factor, source)| sum ^ mul(*factor, source[done + at]));
        }
    }
}
