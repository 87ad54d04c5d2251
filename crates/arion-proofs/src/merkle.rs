//! Merkle trees over lists: roots, paths, and their verification.
//!
//! # Invariants
//! - Leaves, inner nodes and the empty list are hashed under different contexts: none passes for another.
//! - The left subtree has the largest power of two below the number of leaves. So the subtrees over aligned blocks of a
//!   power of two leaves are nodes of the tree, and a list that only grows keeps them.
//! - A path verifies for one position in a list of one length, with exactly as many hashes as it needs.
//!
//! Specified in docs/spec/proofs.md, "Lists".

/// A hash in a tree.
pub type Hash = [u8; 32];

/// The hash of a leaf with these bytes.
pub fn leaf(bytes: &[u8]) -> Hash {
    blake3::derive_key("arion 2026-11 merkle leaf v1", bytes)
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("arion 2026-11 merkle node v1");
    hasher.update(left).update(right);
    hasher.finalize().into()
}

/// Leaves on the left, of `count` in all, at least 2.
fn left_of(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// Root over hashes of leaves, or of subtrees over aligned blocks of equally many leaves, of which the last may be
/// shorter.
pub fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => blake3::derive_key("arion 2026-11 merkle empty v1", b""),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(left_of(more.len()));
            node(&root(left), &root(right))
        }
    }
}

/// Path from the hash at `position` to the root, from below; `None` beyond the end.
pub fn path(hashes: &[Hash], position: usize) -> Option<Vec<Hash>> {
    if position >= hashes.len() {
        return None;
    }
    let (mut within, mut position, mut path) = (hashes, position, Vec::new());
    while within.len() > 1 {
        let (left, right) = within.split_at(left_of(within.len()));
        if position < left.len() {
            path.push(root(right));
            within = left;
        } else {
            path.push(root(left));
            position -= left.len();
            within = right;
        }
    }
    path.reverse();
    Some(path)
}

/// Whether `hash` is at `position` in the list of `count` hashes with this root.
pub fn is_at(root: &Hash, hash: &Hash, position: u64, count: u64, path: &[Hash]) -> bool {
    if position >= count {
        return false;
    }
    // Which side is the other's, from the root down.
    let (mut position, mut count, mut is_left) = (position, count, Vec::new());
    while count > 1 {
        let left = 1u64 << (count - 1).ilog2();
        is_left.push(position >= left);
        (position, count) = if position < left { (position, left) } else { (position - left, count - left) };
    }
    if path.len() != is_left.len() {
        return false;
    }
    let top = path.iter().zip(is_left.iter().rev()).fold(*hash, |below, (other, other_is_left)| {
        if *other_is_left { node(other, &below) } else { node(&below, other) }
    });
    top == *root
}

/// What is needed of a list to hash on where it ends: the roots over its largest blocks of a power of two, from the left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Peaks {
    count: u64,
    hashes: Vec<Hash>,
}

impl Peaks {
    /// Those of a list of so many hashes; `None` if it has another number of them.
    pub fn of(count: u64, hashes: Vec<Hash>) -> Option<Self> {
        (hashes.len() == count.count_ones() as usize).then_some(Self { count, hashes })
    }

    /// Length of the list.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The roots, from the left.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends a hash to the list.
    pub fn push(&mut self, hash: Hash) {
        let mut top = hash;
        for _ in 0..self.count.trailing_ones() {
            let Some(left) = self.hashes.pop() else { break };
            top = node(&left, &top);
        }
        self.hashes.push(top);
        self.count = self.count.saturating_add(1);
    }

    /// [`root()`] of the list.
    pub fn root(&self) -> Hash {
        match self.hashes.split_last() {
            None => root(&[]),
            Some((last, others)) => others.iter().rev().fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf(&(n as u64).to_le_bytes())).collect()
    }

    proptest! {
        #[test]
        fn every_leaf_has_a_path_and_no_other_passes(
            count in 1usize..70, at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let leaves = leaves(count);
            let (top, at) = (root(&leaves), at.index(count));
            let way = path(&leaves, at).unwrap();
            let holds = |at: usize, count: usize, way: &[Hash], hash: &Hash| {
                is_at(&top, hash, at as u64, count as u64, way)
            };
            prop_assert!(holds(at, count, &way, &leaves[at]));
            let other = other.index(count);
            prop_assert_eq!(holds(other, count, &way, &leaves[at]), other == at);
            prop_assert_eq!(holds(at, count, &way, &leaves[other]), other == at);
            prop_assert!(!holds(at, count, &[&way[..], &[top]].concat(), &leaves[at]));
            if let Some((_, short)) = way.split_last() {
                prop_assert!(!holds(at, count, short, &leaves[at]));
                let mut flipped = way.clone();
                flipped[other % way.len()][0] ^= 1 << bit;
                prop_assert!(!holds(at, count, &flipped, &leaves[at]));
            }
            prop_assert_eq!(path(&leaves, count), None);
            prop_assert!(!holds(count, count, &way, &leaves[at]));
        }

        /// A list goes on from its peaks, or from those over blocks, as it would have from its hashes.
        #[test]
        fn peaks_are_enough_to_hash_on(count in 0usize..200, from in 0usize..200, log in 0u32..4) {
            let (leaves, from) = (leaves(count), from.min(count) >> log << log);
            let mut blocks = Peaks::default();
            leaves[..from].chunks(1 << log).for_each(|block| blocks.push(root(block)));
            let peaks = Peaks::of(from as u64, blocks.hashes().to_vec());
            let mut peaks = peaks.unwrap();
            leaves[from..].iter().for_each(|leaf| peaks.push(*leaf));
            prop_assert_eq!((peaks.root(), peaks.count()), (root(&leaves), count as u64));
            prop_assert_eq!(Peaks::of(count as u64 + 1, [peaks.hashes(), &[[0; 32]; 8]].concat()), None);
        }

        /// Roots of aligned blocks stand for their leaves.
        #[test]
        fn blocks_are_nodes(count in 0usize..200, log in 0u32..6) {
            let leaves = leaves(count);
            let blocks: Vec<Hash> = leaves.chunks(1 << log).map(root).collect();
            prop_assert_eq!(root(&blocks), root(&leaves));
        }
    }

    #[test]
    fn lists_of_different_lengths_have_different_roots() {
        let roots: std::collections::HashSet<Hash> = (0..70).map(|count| root(&leaves(count))).collect();
        assert_eq!(roots.len(), 70);
    }
}
