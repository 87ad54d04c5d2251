//! Draws by bytes, without replacement.
//!
//! # Invariants
//! - Each draw takes a shard with the probability of its bytes among the bytes left.
//! - Adding, drawing and the sum take time in the logarithm of the number of shards.

use arion_types::ShardHash;

/// Shards to be drawn: a Fenwick tree over their lengths.
#[derive(Debug, Default)]
pub(super) struct Draw {
    shards: Vec<(ShardHash, u32)>,
    /// `tree[i - 1]` is the sum of the lengths at positions `i - lowest_bit(i) .. i`.
    tree: Vec<u64>,
    bytes: u64,
}

fn lowest_bit(i: usize) -> usize {
    i & i.wrapping_neg()
}

impl Draw {
    /// Bytes not drawn yet.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes all out.
    pub(super) fn clear(&mut self) {
        self.shards.clear();
        self.tree.clear();
        self.bytes = 0;
    }

    /// Adds a shard. One without bytes weighs as much as one with a single byte: it could not be drawn otherwise.
    pub(super) fn push(&mut self, shard: ShardHash, size: u32) {
        let size = size.max(1);
        self.shards.push((shard, size));
        let i = self.shards.len();
        let mut sum = u64::from(size);
        let mut below = i - 1;
        while below > i - lowest_bit(i) {
            sum = sum.saturating_add(self.tree.get(below - 1).copied().unwrap_or(0));
            below -= lowest_bit(below);
        }
        self.tree.push(sum);
        self.bytes = self.bytes.saturating_add(size.into());
    }

    /// Takes out the shard that holds this byte of what is left; `None` beyond [`Draw::bytes`].
    pub(super) fn take(&mut self, byte: u64) -> Option<ShardHash> {
        if byte >= self.bytes {
            return None;
        }
        let (mut at, mut rest) = (0, byte);
        let mut step = self.tree.len().checked_ilog2().map_or(0, |log| 1usize << log);
        while step > 0 {
            if let Some(sum) = self.tree.get(at + step - 1).filter(|sum| **sum <= rest) {
                at += step;
                rest -= sum;
            }
            step /= 2;
        }
        let (shard, size) = self.shards.get_mut(at)?;
        let taken = u64::from(std::mem::take(size));
        let shard = *shard;
        let mut i = at + 1;
        while let Some(sum) = self.tree.get_mut(i - 1) {
            *sum = sum.saturating_sub(taken);
            i += lowest_bit(i);
        }
        self.bytes = self.bytes.saturating_sub(taken);
        Some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shard(n: usize) -> ShardHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&(n as u64).to_le_bytes());
        ShardHash(hash)
    }

    proptest! {
        #[test]
        fn every_byte_leads_to_its_shard_and_every_shard_is_drawn_once(
            sizes in proptest::collection::vec(0u32..5_000, 0..70),
            bytes in proptest::collection::vec(any::<prop::sample::Index>(), 100),
        ) {
            let mut draw = Draw::default();
            let mut left: Vec<(ShardHash, u64)> = Vec::new();
            for (n, size) in sizes.iter().enumerate() {
                draw.push(shard(n), *size);
                left.push((shard(n), u64::from(*size).max(1)));
            }
            for index in &bytes {
                let total: u64 = left.iter().map(|(_, size)| size).sum();
                prop_assert_eq!(draw.bytes(), total);
                prop_assert_eq!(draw.take(total), None);
                if left.is_empty() {
                    break;
                }
                let byte = index.index(total as usize) as u64;
                let mut end = 0;
                let expected = left.iter().position(|(_, size)| {
                    end += size;
                    byte < end
                });
                let (expected, _) = left.remove(expected.unwrap());
                prop_assert_eq!(draw.take(byte), Some(expected));
            }
        }
    }
}
