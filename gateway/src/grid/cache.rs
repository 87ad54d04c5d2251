//! Shards that were read lately, as the miners gave them: checked, and still encrypted.
//!
//! An address never means other bytes, so nothing in here is ever stale. Who may read an object is decided before anything is
//! looked up, and without the object's key what is kept opens for nobody.
//!
//! # Invariants
//! - Bytes kept are at most as many as were allowed; a shard for which there is no room is just not kept.
//! - Which shards were wanted lately is known of so many only that it takes little beside what is kept.

use arion_erasure::CheckedShard;
use arion_types::ShardHash;
use quick_cache::{OptionsBuilder, Weighter, sync};

/// What a shard takes besides its bytes: entry, and the addresses of its stripe.
const OVERHEAD: u64 = 1_536;
/// Bytes per part of the cache, at least: a part keeps no shard that is longer.
const PART_BYTES: u64 = 8 << 20;
/// Parts that are locked one by one.
const PARTS_MAX: u64 = 16;

/// Bytes kept for each shard of which it is known that it was wanted.
const WANTED_PER: u64 = 16 << 10;

/// Keeps what was read, up to so many bytes.
pub(super) struct ShardCache(Option<Kept>);

struct Kept {
    shards: sync::Cache<ShardHash, CheckedShard, ByLength>,
    /// Shards of which a part was wanted lately.
    wanted: sync::Cache<ShardHash, ()>,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<ShardHash, CheckedShard> for ByLength {
    fn weight(&self, _: &ShardHash, shard: &CheckedShard) -> u64 {
        OVERHEAD + shard.bytes().len() as u64
    }
}

impl ShardCache {
    /// For so many bytes; 0 keeps nothing.
    pub(super) fn new(bytes: u64) -> Self {
        let parts = (bytes / PART_BYTES).clamp(1, PARTS_MAX);
        let options = OptionsBuilder::new()
            .weight_capacity(bytes)
            .estimated_items_capacity(usize::try_from(bytes >> 16).unwrap_or(usize::MAX).max(16))
            .shards(usize::try_from(parts).unwrap_or(1))
            .build();
        let cache = (bytes > 0).then_some(options).and_then(Result::ok);
        Self(cache.map(|options| Kept {
            shards: sync::Cache::with_options(options, ByLength, Default::default(), Default::default()),
            wanted: sync::Cache::new(usize::try_from(bytes / WANTED_PER).unwrap_or(usize::MAX).max(64)),
        }))
    }

    /// Whether no part of this shard was asked about lately; from now on one was. Where nothing is kept, none ever was.
    pub(super) fn is_new(&self, shard: &ShardHash) -> bool {
        let Some(kept) = &self.0 else { return true };
        let known = kept.wanted.get(shard).is_some();
        kept.wanted.insert(*shard, ());
        !known
    }

    /// The shard with this address.
    pub(super) fn get(&self, shard: &ShardHash) -> Option<CheckedShard> {
        self.0.as_ref()?.shards.get(shard)
    }

    /// Keeps a shard, if it is worth it.
    pub(super) fn keep(&self, hash: ShardHash, shard: &CheckedShard) {
        if let Some(kept) = &self.0 {
            kept.shards.insert(hash, shard.clone());
        }
    }

    /// Bytes kept, with what each entry takes besides.
    pub(super) fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |kept| kept.shards.weight())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use arion_erasure::Codec;

    use super::*;

    fn shard(fill: u32, len: usize) -> (ShardHash, CheckedShard) {
        let codec = Codec::new(1, 1).unwrap();
        let stripe: Vec<u8> = (0..len as u32).map(|at| (at ^ fill).to_le_bytes()[0]).collect();
        let shards = codec.encode_hashed(&[&fill.to_le_bytes()[..], &stripe].concat(), 1).unwrap();
        let hashes = shards.iter().map(|shard| shard.hash).collect();
        let addresses = codec.addresses(hashes, len + 4).unwrap();
        (shards[0].hash, addresses.check(0, shards[0].bytes.clone()).unwrap())
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        for bytes in [1 << 20, 64 << 20] {
            let cache = ShardCache::new(bytes);
            for fill in 0..200 {
                let (hash, shard) = shard(fill, 500_000);
                cache.keep(hash, &shard);
                assert!(cache.bytes() <= bytes, "{} of {bytes}", cache.bytes());
            }
            assert!(cache.bytes() > bytes / 2, "{} of {bytes}", cache.bytes());
        }
    }

    #[test]
    fn a_shard_comes_back_until_there_is_no_room_and_none_where_nothing_is_kept() {
        let cache = ShardCache::new(16 << 20);
        let (hash, kept) = shard(1, 1_000);
        assert!(cache.get(&hash).is_none());
        cache.keep(hash, &kept);
        assert_eq!(cache.get(&hash).unwrap().bytes(), kept.bytes());
        let none = ShardCache::new(0);
        none.keep(hash, &kept);
        assert!(none.get(&hash).is_none() && none.bytes() == 0);
        let small = ShardCache::new(900);
        small.keep(hash, &kept);
        assert!(small.get(&hash).is_none());
    }

    #[test]
    fn a_shard_is_new_once_and_always_where_nothing_is_kept() {
        let (hash, _) = shard(1, 10);
        let cache = ShardCache::new(1 << 20);
        assert!(cache.is_new(&hash) && !cache.is_new(&hash) && !cache.is_new(&hash));
        let none = ShardCache::new(0);
        assert!(none.is_new(&hash) && none.is_new(&hash));
        // What was wanted long ago is forgotten.
        for fill in 0..10_000u32 {
            cache.is_new(&ShardHash(*blake3::hash(&fill.to_le_bytes()).as_bytes()));
        }
        let first: Vec<_> =
            (0..1_000u32).map(|fill| ShardHash(*blake3::hash(&fill.to_le_bytes()).as_bytes())).collect();
        let new = first.iter().filter(|hash| cache.is_new(hash)).count();
        assert!(new > 900, "{new} of 1,000");
    }

    /// One long download does not take the place of what is read again and again.
    #[test]
    fn a_scan_does_not_drive_out_what_is_read_often() {
        let cache = ShardCache::new(8 << 20);
        let often: Vec<_> = (0..8).map(|fill| shard(fill, 100_000)).collect();
        for (hash, shard) in &often {
            cache.keep(*hash, shard);
        }
        for _ in 0..5 {
            assert!(often.iter().all(|(hash, _)| cache.get(hash).is_some()));
        }
        for fill in 1_000..1_300 {
            let (hash, shard) = shard(fill, 100_000);
            cache.keep(hash, &shard);
        }
        let left = often.iter().filter(|(hash, _)| cache.get(hash).is_some()).count();
        assert!(left >= 6, "{left} of 8");
    }
}
