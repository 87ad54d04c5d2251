//! Cutting a stream of items into chunks by what the items are about, so that a change moves no boundary but those beside it.
//!
//! # Invariants
//! - Equal items give equal chunks, whatever is in other chunks.
//! - A chunk ends behind an item whose number says so, unless it is shorter than the least; it is never longer than the most.
//!   The longer an item, the more often it ends a chunk, so that chunks have about the same length whatever is in them.

use super::node::Plain;

/// Lengths of chunks, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// No chunk but the last of a level is shorter.
    pub min: usize,
    /// What lies between two boundaries on average.
    pub target: usize,
    /// No chunk of more than one item is longer.
    pub max: usize,
}

impl Sizes {
    /// Those of gateways. Ids of objects are random, so that each new one changes another chunk: the longer chunks are, the
    /// more is stored again for it; the shorter, the longer the lists and the more shards there are.
    pub const STANDARD: Self = Self { min: 64 << 10, target: 256 << 10, max: 1 << 20 };
}

/// Cuts the items of one level.
pub struct Cutter {
    sizes: Sizes,
    chunk: Plain,
    emitted: usize,
}

impl Cutter {
    /// For a level: 0 has rows, the others references to chunks of the level below.
    pub fn new(level: u8, sizes: Sizes) -> Self {
        Self { sizes, chunk: Plain::empty(level), emitted: 0 }
    }

    /// Takes an item: its bytes, its number, how many rows it stands for, and whether its chunk must lie where the newest map
    /// puts it. Gives the chunks that are complete, which are two at the most.
    pub fn push(&mut self, item: &[u8], number: u64, rows: u64, is_fresh: bool) -> Vec<Plain> {
        let mut complete = Vec::new();
        if self.chunk.count > 0 && self.chunk.body.len() + item.len() > self.sizes.max {
            complete.push(self.cut());
        }
        self.chunk.body.extend_from_slice(item);
        self.chunk.count += 1;
        self.chunk.rows += rows;
        self.chunk.is_fresh |= is_fresh;
        let share = (item.len() as u128) << 64;
        let ends = u128::from(number) < share / self.sizes.target.max(1) as u128;
        if ends && self.chunk.body.len() >= self.sizes.min {
            complete.push(self.cut());
        }
        complete
    }

    /// The last chunk, if anything is left or there was none at all.
    pub fn rest(&mut self) -> Option<Plain> {
        (self.chunk.count > 0 || self.emitted == 0).then(|| self.cut())
    }

    /// Items that are in no chunk yet, where none is complete.
    pub fn only(&self) -> Option<&[u8]> {
        (self.emitted == 0 && self.chunk.count == 1).then_some(self.chunk.body.as_slice())
    }

    fn cut(&mut self) -> Plain {
        self.emitted += 1;
        let next = Plain::empty(self.chunk.level);
        std::mem::replace(&mut self.chunk, next)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::row::Row, *};
    use codec::Encode;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SMALL: Sizes = Sizes { min: 400, target: 1_600, max: 6_000 };

    fn chunks(keys: &BTreeSet<u32>, sizes: Sizes) -> Vec<Plain> {
        let mut cutter = Cutter::new(0, sizes);
        let mut chunks = Vec::new();
        for key in keys {
            for (row, number) in Row::pieces(3, &key.to_be_bytes(), &[7; 90]) {
                chunks.extend(cutter.push(&row.encode(), number, 1, false));
            }
        }
        chunks.extend(cutter.rest());
        chunks
    }

    fn ids(chunks: &[Plain]) -> BTreeSet<[u8; 32]> {
        chunks.iter().map(Plain::id).collect()
    }

    #[test]
    fn lengths_stay_between_the_bounds_and_near_the_target() {
        let keys = (0..20_000).collect();
        let found = chunks(&keys, SMALL);
        let (last, others) = found.split_last().unwrap();
        assert!(others.iter().all(|chunk| (SMALL.min..=SMALL.max).contains(&chunk.body.len())));
        assert!(last.body.len() <= SMALL.max);
        let average = found.iter().map(|chunk| chunk.body.len()).sum::<usize>() / found.len();
        assert!((SMALL.target / 2..SMALL.target * 2).contains(&average), "{average}");
        assert_eq!(found.iter().map(|chunk| chunk.rows).sum::<u64>(), 20_000);
    }

    #[test]
    fn nothing_is_one_empty_chunk() {
        let found = chunks(&BTreeSet::new(), SMALL);
        assert_eq!((found.len(), found[0].count, found[0].body.len()), (1, 0, 0));
    }

    #[test]
    fn an_item_longer_than_the_most_is_a_chunk_of_its_own() {
        let mut cutter = Cutter::new(0, SMALL);
        assert!(cutter.push(&[1; 100], u64::MAX, 1, false).is_empty());
        // So long that every number ends it.
        let complete = cutter.push(&[2; 7_000], u64::MAX, 1, false);
        assert_eq!(complete.iter().map(|chunk| chunk.body.len()).collect::<Vec<_>>(), [100, 7_000]);
        assert!(cutter.push(&[3; 10], u64::MAX, 1, true).is_empty());
        let rest = cutter.rest().unwrap();
        assert_eq!((rest.body.len(), rest.is_fresh), (10, true));
        assert!(cutter.rest().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever is put in or taken out changes the chunks it is in, and few beside them.
        #[test]
        fn a_change_stays_where_it_is(
            keys in prop::collection::btree_set(0u32..100_000, 1_500..2_500),
            change in prop::collection::vec(0u32..100_000, 1..4),
        ) {
            let before = chunks(&keys, SMALL);
            let mut changed = keys.clone();
            for key in &change {
                if !changed.remove(key) {
                    changed.insert(*key);
                }
            }
            let after = chunks(&changed, SMALL);
            let known = ids(&before);
            let new = after.iter().filter(|chunk| !known.contains(&chunk.id())).count();
            prop_assert!(new <= change.len() * 6, "{new} of {} chunks are new", after.len());
            prop_assert_eq!(ids(&chunks(&keys, SMALL)), known);
        }
    }
}
