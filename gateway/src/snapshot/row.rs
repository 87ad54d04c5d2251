//! A row of a snapshot: which table, which key, which value.

use codec::{Decode, Encode};

/// Longest value in one row; a longer one is cut into several rows of the same key.
pub const VALUE_BYTES_MAX: usize = 256 << 10;
/// Domain of what says where chunks end.
const CUT: &str = "arion 2026-11 snapshot cut v1";

/// A row, or a piece of one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Row {
    /// Number of the table, see docs/spec/snapshot.md.
    pub table: u8,
    /// Whether the value goes on in the next row.
    pub more: bool,
    /// The key, SCALE.
    pub key: Vec<u8>,
    /// The value, or the next piece of it.
    pub value: Vec<u8>,
}

impl Row {
    /// The rows that a value takes, each with the number that decides whether a chunk ends behind it.
    pub fn pieces<'a>(table: u8, key: &'a [u8], value: &'a [u8]) -> impl Iterator<Item = (Self, u64)> + 'a {
        let count = value.len().div_ceil(VALUE_BYTES_MAX).max(1);
        (0..count).map(move |at| {
            let end = value.len().min((at + 1) * VALUE_BYTES_MAX);
            let piece = value.get(at * VALUE_BYTES_MAX..end).unwrap_or_default();
            let row = Self { table, more: at + 1 < count, key: key.to_vec(), value: piece.to_vec() };
            (row, cut_number(&[&[table], key, &(at as u64).to_le_bytes()]))
        })
    }
}

/// What decides whether a chunk ends behind an item: the first 8 bytes of a hash of what the item is about, not of what it says.
pub fn cut_number(about: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(CUT);
    for part in about {
        hasher.update(part);
    }
    let mut head = [0; 8];
    head.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(head)
}

/// Puts the pieces of values together again.
#[derive(Default)]
pub struct Assembly(Option<Row>);

/// A piece that does not belong to the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a row goes on as another one")]
pub struct Torn;

impl Assembly {
    /// Takes the next row; gives the whole one where this was its last piece.
    pub fn push(&mut self, row: Row) -> Result<Option<Row>, Torn> {
        let whole = match self.0.take() {
            None => row,
            Some(mut begun) => {
                if (begun.table, &begun.key) != (row.table, &row.key) {
                    return Err(Torn);
                }
                begun.value.extend_from_slice(&row.value);
                begun.more = row.more;
                begun
            }
        };
        if whole.more {
            self.0 = Some(whole);
            return Ok(None);
        }
        Ok(Some(whole))
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_come_together_again() {
        for len in [0, 1, VALUE_BYTES_MAX, VALUE_BYTES_MAX + 1, 3 * VALUE_BYTES_MAX] {
            let value: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let pieces: Vec<_> = Row::pieces(7, b"k", &value).collect();
            assert_eq!(pieces.len(), len.div_ceil(VALUE_BYTES_MAX).max(1));
            let mut assembly = Assembly::default();
            let mut whole = None;
            for (piece, _) in pieces {
                assert!(whole.is_none() && piece.value.len() <= VALUE_BYTES_MAX);
                whole = assembly.push(piece).unwrap();
            }
            assert!(assembly.is_whole());
            assert_eq!(whole.unwrap(), Row { table: 7, more: false, key: b"k".to_vec(), value });
        }
    }

    #[test]
    fn a_piece_of_another_row_is_refused() {
        let row = |key: &[u8], more| Row { table: 1, more, key: key.to_vec(), value: vec![1] };
        let mut assembly = Assembly::default();
        assert_eq!(assembly.push(row(b"a", true)), Ok(None));
        assert!(!assembly.is_whole());
        assert_eq!(assembly.push(row(b"b", false)), Err(Torn));
    }
}
