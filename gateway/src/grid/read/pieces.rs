//! Which bytes of which stripes and shards a range of a part is.

use std::{collections::VecDeque, ops::Range};

use crate::manifest::{PartManifest, StripeRecord};

/// A piece of a stripe that is wanted.
pub(super) struct Wanted {
    pub(super) record: StripeRecord,
    /// Bytes of the stripe's ciphertext.
    pub(super) bytes: Range<usize>,
}

impl Wanted {
    /// Data shards that hold the bytes.
    pub(super) fn shards(&self) -> Range<usize> {
        let shard_len = self.record.shard_len as usize;
        self.bytes.start / shard_len..self.bytes.end.div_ceil(shard_len)
    }

    /// The wanted bytes of a shard.
    pub(super) fn of_shard(&self, index: usize) -> Range<usize> {
        let shard_len = self.record.shard_len as usize;
        let start = index * shard_len;
        self.bytes.start.max(start) - start..self.bytes.end.min(start + shard_len) - start
    }
}

/// The pieces of a part's stripes that hold these bytes of its ciphertext.
pub(super) fn pieces(part: &PartManifest, wanted: Range<u64>) -> VecDeque<Wanted> {
    let mut start = 0u64;
    let mut pieces = VecDeque::new();
    // Where a stripe is shared, what is before the offset belongs to others.
    let offset = u64::from(part.offset);
    let wanted = wanted.start + offset..wanted.end + offset;
    for record in &part.stripes {
        let end = start + u64::from(record.len);
        if start < wanted.end && wanted.start < end {
            let from = wanted.start.max(start) - start;
            let to = wanted.end.min(end) - start;
            pieces.push_back(Wanted { record: record.clone(), bytes: from as usize..to as usize });
        }
        start = end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use arion_crypto::{BucketKey, DataKey};
    use arion_types::ShardHash;

    fn part(stripe_lens: &[u32]) -> PartManifest {
        let stripes = stripe_lens
            .iter()
            .map(|len| StripeRecord {
                epoch: 1,
                len: *len,
                shard_len: len.div_ceil(10).max(64),
                data_shards: 10,
                hashes: vec![ShardHash([0; 32]); 30],
            })
            .collect();
        let key = BucketKey::random().wrap(&DataKey::random(), b"");
        PartManifest { plain_len: 0, cipher_len: 0, offset: 0, key, stripes }
    }

    fn shape(part: &PartManifest, wanted: Range<u64>) -> Vec<(Range<usize>, Range<usize>)> {
        pieces(part, wanted).iter().map(|piece| (piece.bytes.clone(), piece.shards())).collect()
    }

    #[test]
    fn a_range_touches_only_the_stripes_and_shards_that_hold_it() {
        let part = part(&[10_000, 10_000, 500]);
        assert_eq!(shape(&part, 0..10_000), [(0..10_000, 0..10)]);
        assert_eq!(shape(&part, 999..1_001), [(999..1_001, 0..2)]);
        assert_eq!(shape(&part, 9_999..10_001), [(9_999..10_000, 9..10), (0..1, 0..1)]);
        assert_eq!(shape(&part, 20_400..20_500), [(400..500, 6..8)]);
        assert_eq!(shape(&part, 0..20_500).len(), 3);
    }

    #[test]
    fn in_a_shared_stripe_a_range_begins_at_the_parts_offset() {
        let part = PartManifest { offset: 2_500, cipher_len: 600, ..part(&[10_000]) };
        assert_eq!(shape(&part, 0..600), [(2_500..3_100, 2..4)]);
        assert_eq!(shape(&part, 100..200), [(2_600..2_700, 2..3)]);
    }

    #[test]
    fn pieces_of_shards_add_up_to_the_range() {
        let part = part(&[10_000, 777]);
        for wanted in [0..10_777u64, 1..2, 3_333..10_500, 10_000..10_777] {
            let total: usize = pieces(&part, wanted.clone())
                .iter()
                .flat_map(|piece| piece.shards().map(|index| piece.of_shard(index).len()).collect::<Vec<_>>())
                .sum();
            assert_eq!(total as u64, wanted.end - wanted.start);
        }
    }
}
