//! Inverted matrices of the patterns of loss that were met lately: a network loses the same miners for many
//! stripes in a row.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::kernel::Tables;

/// Most patterns kept; when there is one more, all are forgotten.
const PATTERNS_MAX: usize = 256;

/// By positions of the shards used and of those wanted: what makes the second of the first.
#[derive(Default)]
pub(crate) struct Inverses {
    known: Mutex<HashMap<Box<[u8]>, Arc<Tables>>>,
}

impl Inverses {
    /// The tables that make the shards at `wanted` of those at `sources`, all below 256, computed where they are not
    /// known. All calls have as many sources, so that the two lists cannot be taken for others.
    pub(crate) fn tables(
        &self,
        sources: &[usize],
        wanted: &[usize],
        compute: impl FnOnce() -> Option<Tables>,
    ) -> Option<Arc<Tables>> {
        let key: Box<[u8]> = sources.iter().chain(wanted).map(|position| *position as u8).collect();
        if let Some(tables) = self.lock().get(&key) {
            return Some(tables.clone());
        }
        let tables = Arc::new(compute()?);
        let mut known = self.lock();
        if known.len() >= PATTERNS_MAX {
            known.clear();
        }
        known.insert(key, tables.clone());
        Some(tables)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Box<[u8]>, Arc<Tables>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    #[test]
    fn a_pattern_is_computed_once_and_patterns_are_bounded() {
        let inverses = Inverses::default();
        let compute = || Some(Tables::new(&Matrix::parity(1, 1)?));
        let first = inverses.tables(&[1, 2], &[0], compute).unwrap();
        let again = inverses.tables(&[1, 2], &[0], || panic!("it is known")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert!(inverses.tables(&[1, 2], &[3], || None).is_none(), "another wish is another pattern");
        for other in 0..1_000 {
            inverses.tables(&[other % 256, other / 256], &[9], compute).unwrap();
        }
        assert!(inverses.lock().len() <= PATTERNS_MAX);
        assert!(inverses.tables(&[200, 201], &[0], || None).is_none());
    }
}
