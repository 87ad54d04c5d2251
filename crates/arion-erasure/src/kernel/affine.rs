//! What the instruction `vgf2p8affineqb` computes, in plain Rust, and the matrices that make it multiply.
//!
//! The instruction takes a byte for a vector of eight bits and multiplies a matrix of bits with it. Multiplying by a constant
//! of GF(2^8) is such a map in any field, so that the polynomial does not matter.

use crate::field::mul;

/// By factor: the matrix that multiplies by it.
pub(super) const MATRICES: [u64; 256] = matrices();

/// Row i of the matrix, for bit i of the result, is byte 7 - i of the number; bit j of it stands for bit j of the operand.
const fn matrices() -> [u64; 256] {
    let mut all = [0; 256];
    let mut factor = 0;
    while factor < 256 {
        let (mut matrix, mut j) = (0u64, 0);
        while j < 8 {
            let product = mul(factor as u8, 1 << j);
            let mut i = 0;
            while i < 8 {
                if product >> i & 1 == 1 {
                    matrix |= 1 << (8 * (7 - i) + j);
                }
                i += 1;
            }
            j += 1;
        }
        all[factor] = matrix;
        factor += 1;
    }
    all
}

/// The instruction on one byte, with nothing added: bit i of the result is the parity of the byte and row i.
#[cfg(any(test, feature = "checks"))]
fn affine(byte: u8, matrix: u64) -> u8 {
    (0..8).fold(0, |result, i| {
        let row = matrix.to_le_bytes()[7 - i];
        result | ((((row & byte).count_ones() & 1) as u8) << i)
    })
}

/// The twin of the kernels in `gfni.rs`: the same matrices in the same order, by column and row of the group.
#[cfg(any(test, feature = "checks"))]
pub(super) fn multiply(matrices: &[u64], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
    let rows = targets.len();
    for (row, target) in targets.iter_mut().enumerate() {
        target.fill(0);
        for (column, source) in sources.iter().enumerate() {
            let matrix = matrices[column * rows + row];
            for (sum, byte) in target.iter_mut().zip(*source) {
                *sum ^= affine(*byte, matrix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_factor_times_every_byte() {
        for factor in 0..=255u8 {
            for byte in 0..=255u8 {
                assert_eq!(
                    affine(byte, MATRICES[usize::from(factor)]),
                    mul(factor, byte),
                    "{factor} * {byte}"
                );
            }
        }
    }

    /// The example of the identity in Intel's manual: 0x0102040810204080.
    #[test]
    fn one_is_the_identity_of_the_manual() {
        assert_eq!(MATRICES[1], 0x0102_0408_1020_4080);
        assert_eq!(MATRICES[0], 0);
    }
}
