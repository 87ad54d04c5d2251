//! The inner loop: rows of a matrix times shards.
//!
//! A byte times a constant is the product of its low four bits xor that of its high four bits, each looked up in
//! a table of 16; a CPU with byte shuffles looks up a whole register at once, one with GFNI multiplies it. The tables of a
//! matrix are laid out in the order in which the loops read them.
//!
//! # Invariants
//! - Every path computes the same bytes; the portable one is the definition.
//! - A path is taken only where the CPU has its instructions, and only after it agreed with the portable one in this process.
//!
//! # Not here
//! Which matrix (`matrix.rs`). `unsafe` is in `kernel/x86.rs`, `kernel/gfni.rs` and `kernel/neon.rs` only.

mod affine;
#[cfg(target_arch = "x86_64")]
mod gfni;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::{ops::Range, sync::OnceLock};

use crate::{field::mul, matrix::Matrix};

/// Rows that are computed in one pass over the sources: their sums stay in registers.
const GROUP: usize = 4;
/// The same with the instructions that need no tables in registers.
const AFFINE_GROUP: usize = 10;
/// Bytes of each source that one pass over all rows takes, so that it finds them in the cache again.
const BLOCK: usize = 8 * 1024;
/// Bytes of a table pair: 16 products of low halves, then 16 of high halves.
const TABLE: usize = 32;

/// A matrix, ready to be applied.
pub(crate) struct Tables {
    rows: usize,
    columns: usize,
    /// By row, by column.
    factors: Vec<u8>,
    /// By group of [`GROUP`] rows, by column, by row of the group.
    shuffles: Vec<u8>,
    /// By group of [`AFFINE_GROUP`] rows, by column, by row of the group.
    affine: Vec<u64>,
}

impl Tables {
    pub(crate) fn new(matrix: &Matrix) -> Self {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let grouped = |size: usize| {
            (0..rows).step_by(size).flat_map(move |group| {
                let of_group = group..rows.min(group + size);
                (0..columns).flat_map(move |column| of_group.clone().map(move |row| matrix.row(row)[column]))
            })
        };
        let table = |factor: u8| {
            let low = (0..16).map(move |low| mul(factor, low));
            low.chain((0..16).map(move |high| mul(factor, high << 4)))
        };
        Self {
            rows,
            columns,
            factors: grouped(1).collect(),
            shuffles: grouped(GROUP).flat_map(table).collect(),
            affine: grouped(AFFINE_GROUP).map(|factor| affine::MATRICES[usize::from(factor)]).collect(),
        }
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

    pub(crate) fn apply_on(&self, path: Path, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
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
            let mut done = 0;
            for group in targets.chunks_mut(path.group()) {
                let cells = done..done + group.len() * self.columns;
                done = cells.end;
                let mut group: Vec<&mut [u8]> =
                    group.iter_mut().map(|target| &mut target[from..to]).collect();
                path.multiply(self, cells, &sources_now, &mut group);
            }
        }
    }
}

/// A way to compute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    Portable,
    /// The plain-Rust twin of the paths with GFNI.
    #[cfg(any(test, feature = "checks"))]
    Affine,
    /// One bit off.
    #[cfg(test)]
    Wrong,
    #[cfg(target_arch = "x86_64")]
    Gfni512(gfni::Gfni512),
    #[cfg(target_arch = "x86_64")]
    Gfni256(gfni::Gfni256),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

impl Path {
    /// The fastest path that this CPU has and that computes what it should.
    fn best() -> Self {
        static BEST: OnceLock<Path> = OnceLock::new();
        *BEST.get_or_init(|| Self::fast().into_iter().find(|path| path.is_right()).unwrap_or(Self::Portable))
    }

    /// Those for which this CPU has the instructions, the fastest first.
    fn fast() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let paths = [
            gfni::Gfni512::detect().map(Self::Gfni512),
            gfni::Gfni256::detect().map(Self::Gfni256),
            x86::Avx2::detect().map(Self::Avx2),
        ];
        #[cfg(target_arch = "aarch64")]
        let paths = [neon::Neon::detect().map(Self::Neon)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let paths: [Option<Self>; 0] = [];
        paths.into_iter().flatten().collect()
    }

    /// All that can be computed on here, for tests.
    #[cfg(any(test, feature = "checks"))]
    pub(crate) fn all() -> Vec<Self> {
        [Self::Portable, Self::Affine].into_iter().chain(Self::fast()).collect()
    }

    /// Whether it computes what the portable path does, for some shards that take whole steps and what is left of one.
    fn is_right(self) -> bool {
        const LEN: usize = 300;
        let byte = |shard: usize, at: usize| (at * 167 + shard * 59 + (at >> 3) * 13) as u8;
        let sources: Vec<Vec<u8>> =
            (0..5).map(|shard| (0..LEN).map(|at| byte(shard, at)).collect()).collect();
        let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        // One row more than the largest group.
        let Some(matrix) = Matrix::parity(sources.len(), AFFINE_GROUP + 1) else { return false };
        let tables = Tables::new(&matrix);
        let on = |path| {
            let mut targets = vec![vec![0; LEN]; tables.rows];
            tables.apply_on(path, &sources, &mut Vec::from_iter(targets.iter_mut().map(Vec::as_mut_slice)));
            targets
        };
        on(self) == on(Self::Portable)
    }

    /// Rows of a group.
    fn group(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512(_) | Self::Gfni256(_) => AFFINE_GROUP,
            #[cfg(any(test, feature = "checks"))]
            Self::Affine => AFFINE_GROUP,
            _ => GROUP,
        }
    }

    /// One group of rows; `cells` are those of the group, in the order of the path's tables.
    fn multiply(self, tables: &Tables, cells: Range<usize>, sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        let shuffles = || &tables.shuffles[cells.start * TABLE..cells.end * TABLE];
        let affine = || &tables.affine[cells.clone()];
        let is_done = match self {
            Self::Portable => false,
            #[cfg(any(test, feature = "checks"))]
            Self::Affine => {
                affine::multiply(affine(), sources, targets);
                true
            }
            #[cfg(test)]
            Self::Wrong => {
                portable::multiply(&tables.factors[cells.clone()], sources, targets);
                targets.last_mut().and_then(|target| target.last_mut()).map(|byte| *byte ^= 1).is_some()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512(gfni) => gfni.multiply(affine(), sources, targets),
            #[cfg(target_arch = "x86_64")]
            Self::Gfni256(gfni) => gfni.multiply(affine(), sources, targets),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.multiply(shuffles(), sources, targets),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(neon) => neon.multiply(shuffles(), sources, targets),
        };
        if !is_done {
            // Groups follow each other row by row.
            portable::multiply(&tables.factors[cells], sources, targets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Around every step; less for Miri, which takes its time.
    fn lengths() -> Vec<usize> {
        if cfg!(miri) {
            return vec![1, 63, 64, 129, 200];
        }
        vec![1, 31, 63, 64, 65, 127, 128, 129, 200, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 63]
    }

    /// Every number of rows that a group can have.
    fn shapes() -> Vec<(usize, usize)> {
        let mut shapes = vec![(1, 1), (3, 2), (7, 9), (2, 14), (1, 16)];
        if !cfg!(miri) {
            shapes.extend([(10, 20), (10, 3), (5, 7), (4, 5), (3, 6), (6, 8), (100, 30)]);
        }
        shapes
    }

    #[test]
    fn every_path_passes_the_check_before_its_use_and_a_wrong_one_does_not() {
        for path in Path::all() {
            assert!(path.is_right(), "{path:?}");
        }
        assert!(Path::all().contains(&Path::best()));
        assert!(!Path::Wrong.is_right());
    }

    #[test]
    fn every_path_multiplies_every_length_and_shape() {
        for (k, m) in shapes() {
            let matrix = Matrix::parity(k, m).unwrap();
            let tables = Tables::new(&matrix);
            for length in lengths() {
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
                for path in Path::all() {
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
