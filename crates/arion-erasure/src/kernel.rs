//! The inner loop: rows of a matrix times shards.
//!
//! A byte times a constant is the product of its low four bits xor that of its high four bits, each looked up in
//! a table of 16; a CPU with byte shuffles looks up a whole register at once. The tables of a matrix are laid
//! out in the order in which the loop reads them.
//!
//! # Invariants
//! - Every path computes the same bytes; the portable one is the definition.
//! - A path is taken only where the CPU has its instructions.
//!
//! # Not here
//! Which matrix (`matrix.rs`). `unsafe` is in `kernel/x86.rs` and `kernel/neon.rs` only.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::{field::mul, matrix::Matrix};

/// Rows that are computed in one pass over the sources: their sums stay in registers.
const GROUP: usize = 4;
/// Bytes of each source that one pass over all rows takes, so that it finds them in the cache again.
const BLOCK: usize = 8 * 1024;
/// Bytes of a table pair: 16 products of low halves, then 16 of high halves.
const TABLE: usize = 32;

/// A matrix, ready to be applied.
pub(crate) struct Tables {
    rows: usize,
    columns: usize,
    /// By group of rows, by column, by row of the group.
    bytes: Vec<u8>,
}

impl Tables {
    pub(crate) fn new(matrix: &Matrix) -> Self {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let mut bytes = Vec::with_capacity(rows * columns * TABLE);
        for group in (0..rows).step_by(GROUP) {
            for column in 0..columns {
                for row in group..rows.min(group + GROUP) {
                    let factor = matrix.row(row)[column];
                    bytes.extend((0..16).map(|low| mul(factor, low)));
                    bytes.extend((0..16).map(|high| mul(factor, high << 4)));
                }
            }
        }
        Self { rows, columns, bytes }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Writes row r of the matrix times `sources` to `targets[r]`, on the fastest path there is.
    ///
    /// Sources and targets have one length, and as many as the matrix has columns and rows.
    pub(crate) fn apply(&self, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        self.apply_on(Path::best(), sources, targets);
    }

    fn apply_on(&self, path: Path, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        assert_eq!((sources.len(), targets.len()), (self.columns, self.rows), "one shard per column and row");
        let length = targets.first().map_or(0, |target| target.len());
        let is_even = |shard: &[u8]| shard.len() == length;
        assert!(
            sources.iter().all(|shard| is_even(shard)) && targets.iter().all(|shard| is_even(shard)),
            "all shards have one length"
        );
        let mut sources_now = Vec::with_capacity(sources.len());
        for from in (0..length).step_by(BLOCK) {
            let to = length.min(from + BLOCK);
            sources_now.clear();
            sources_now.extend(sources.iter().map(|source| &source[from..to]));
            let mut tables = self.bytes.as_slice();
            for group in targets.chunks_mut(GROUP) {
                let (of_group, rest) = tables.split_at(group.len() * self.columns * TABLE);
                tables = rest;
                let mut group: Vec<&mut [u8]> =
                    group.iter_mut().map(|target| &mut target[from..to]).collect();
                path.multiply(of_group, &sources_now, &mut group);
            }
        }
    }
}

/// A way to compute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Path {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

impl Path {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = x86::Avx2::detect() {
            return Self::Avx2(avx2);
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(neon) = neon::Neon::detect() {
            return Self::Neon(neon);
        }
        Self::Portable
    }

    /// One group of rows; `tables` are those of the group.
    fn multiply(self, tables: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        match self {
            Self::Portable => portable(tables, sources, targets),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => {
                if !avx2.multiply(tables, sources, targets) {
                    portable(tables, sources, targets);
                }
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon(neon) => {
                if !neon.multiply(tables, sources, targets) {
                    portable(tables, sources, targets);
                }
            }
        }
    }
}

fn portable(tables: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
    let rows = targets.len();
    for (row, target) in targets.iter_mut().enumerate() {
        target.fill(0);
        for (column, source) in sources.iter().enumerate() {
            let at = (column * rows + row) * TABLE;
            let (low, high) = tables[at..at + TABLE].split_at(16);
            for (sum, byte) in target.iter_mut().zip(*source) {
                *sum ^= low[usize::from(byte & 15)] ^ high[usize::from(byte >> 4)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every path this machine has.
    fn paths() -> Vec<Path> {
        let mut paths = vec![Path::Portable];
        if Path::best() != Path::Portable {
            paths.push(Path::best());
        }
        paths
    }

    #[test]
    fn every_path_multiplies_every_length_and_shape() {
        for (k, m) in [(1, 1), (3, 2), (10, 20), (5, 7), (7, 9), (10, 3)] {
            let matrix = Matrix::parity(k, m).unwrap();
            let tables = Tables::new(&matrix);
            for length in [1, 31, 63, 64, 65, 127, 128, 200, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 63] {
                let sources: Vec<Vec<u8>> = (0..k)
                    .map(|shard| (0..length).map(|at| (at * 31 + shard * 17 + (at >> 8)) as u8).collect())
                    .collect();
                let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
                let expected: Vec<Vec<u8>> = (0..m)
                    .map(|row| {
                        let factors = matrix.row(row);
                        let sum = |at: usize| (0..k).fold(0, |sum, i| sum ^ mul(factors[i], sources[i][at]));
                        (0..length).map(sum).collect()
                    })
                    .collect();
                for path in paths() {
                    let mut targets = vec![vec![0xaa; length]; m];
                    let mut slices: Vec<&mut [u8]> = targets.iter_mut().map(Vec::as_mut_slice).collect();
                    tables.apply_on(path, &sources, &mut slices);
                    assert_eq!(targets, expected, "{path:?}, {k} + {m}, {length} bytes");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "all shards have one length")]
    fn shards_of_several_lengths_are_a_bug() {
        let tables = Tables::new(&Matrix::parity(2, 1).unwrap());
        tables.apply(&[&[0; 64], &[0; 65]], &mut [&mut [0; 64]]);
    }
}
