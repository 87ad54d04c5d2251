//! Matrices over GF(2^8): the code's generator and its inverses.

use crate::field::{inverse, mul, pow};

/// A matrix, row by row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Matrix {
    columns: usize,
    cells: Vec<u8>,
}

impl Matrix {
    /// The `m` x `k` matrix that makes parity out of data: the lower rows of a (k + m) x k Vandermonde matrix
    /// whose row r is 1, r, r^2, ..., multiplied by the inverse of its upper square, which makes the code
    /// systematic. This is the construction of `reed-solomon-erasure`.
    ///
    /// `None` if k + m is beyond 256, where rows would repeat.
    pub(crate) fn parity(k: usize, m: usize) -> Option<Self> {
        if k + m > 256 {
            return None;
        }
        let vandermonde = |rows: std::ops::Range<usize>| Self {
            columns: k,
            cells: rows.flat_map(|row| (0..k).map(move |column| pow(row as u8, column))).collect(),
        };
        let upper = vandermonde(0..k).inverse()?;
        Some(vandermonde(k..k + m).times(&upper))
    }

    /// The rows `rows` of the identity matrix above `parity`: how the shards at these positions follow from
    /// the data.
    pub(crate) fn generator_rows(parity: &Self, rows: impl IntoIterator<Item = usize>) -> Self {
        let k = parity.columns;
        let mut cells = Vec::new();
        for row in rows {
            match row.checked_sub(k) {
                Some(row) => cells.extend_from_slice(parity.row(row)),
                None => cells.extend((0..k).map(|column| u8::from(column == row))),
            }
        }
        Self { columns: k, cells }
    }

    pub(crate) fn rows(&self) -> usize {
        self.cells.len() / self.columns
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.cells[row * self.columns..(row + 1) * self.columns]
    }

    /// These rows of it, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self { columns: self.columns, cells: rows.iter().flat_map(|row| self.row(*row)).copied().collect() }
    }

    /// A matrix of these cells, row by row.
    #[cfg(any(test, feature = "checks"))]
    pub(crate) fn of(columns: usize, cells: Vec<u8>) -> Self {
        assert_eq!(cells.len() % columns, 0, "rows are whole");
        Self { columns, cells }
    }

    /// The product of two.
    pub(crate) fn times(&self, right: &Self) -> Self {
        let cells = (0..self.rows())
            .flat_map(|row| (0..right.columns).map(move |column| (row, column)))
            .map(|(row, column)| {
                let products = self.row(row).iter().enumerate();
                products.fold(0, |sum, (i, left)| sum ^ mul(*left, right.row(i)[column]))
            })
            .collect();
        Self { columns: right.columns, cells }
    }

    /// The inverse of a square matrix, by Gauss-Jordan elimination; `None` if it has none.
    pub(crate) fn inverse(&self) -> Option<Self> {
        let n = self.columns;
        debug_assert_eq!(self.rows(), n);
        // The matrix beside the identity; when the left half is the identity, the right half is the inverse.
        let mut rows: Vec<Vec<u8>> = (0..n)
            .map(|row| {
                let identity = (0..n).map(|column| u8::from(column == row));
                self.row(row).iter().copied().chain(identity).collect()
            })
            .collect();
        for pivot in 0..n {
            let found = (pivot..n).find(|row| rows[*row][pivot] != 0)?;
            rows.swap(pivot, found);
            let scale = inverse(rows[pivot][pivot])?;
            rows[pivot].iter_mut().for_each(|cell| *cell = mul(*cell, scale));
            let pivot_row = rows[pivot].clone();
            for (_, row) in rows.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
                let factor = row[pivot];
                row.iter_mut().zip(&pivot_row).for_each(|(cell, above)| *cell ^= mul(factor, *above));
            }
        }
        Some(Self { columns: n, cells: rows.iter().flat_map(|row| &row[n..]).copied().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_the_identity() {
        let parity = Matrix::parity(10, 20).unwrap();
        let square = Matrix::generator_rows(&parity, [29, 3, 17, 0, 11, 12, 9, 21, 10, 28]);
        let identity = Matrix::generator_rows(&parity, 0..10);
        assert_eq!(square.times(&square.inverse().unwrap()), identity);
        let singular = square.select(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 8]);
        assert_eq!(singular.inverse(), None);
    }

    #[test]
    fn codes_with_more_than_256_rows_do_not_exist() {
        // Eight million products: an hour for Miri.
        if !cfg!(miri) {
            assert!(Matrix::parity(200, 56).is_some());
        }
        assert_eq!(Matrix::parity(200, 57), None);
    }
}
