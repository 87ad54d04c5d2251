//! Stripes: identity and placement group.

use crate::ids::{PgId, ShardHash, StripeId};

/// Identity of a stripe: BLAKE3 key derivation over the hashes of all its shards, in order of index.
///
/// It follows from the content, so that anyone who knows the shard hashes computes the same placement.
pub fn stripe_id(shards: &[ShardHash]) -> StripeId {
    let mut hasher = blake3::Hasher::new_derive_key("arion 2026-11 stripe id v1");
    for shard in shards {
        hasher.update(&shard.0);
    }
    StripeId(hasher.finalize().into())
}

/// Placement group of a stripe: the first 8 bytes of its id, little-endian, modulo `pg_count`.
///
/// `pg_count` of 0 is treated as 1; maps with 0 are refused on chain.
pub fn placement_group(stripe: &StripeId, pg_count: u32) -> PgId {
    let mut head = [0u8; 8];
    head.copy_from_slice(&stripe.0[..8]);
    (u64::from_le_bytes(head) % u64::from(pg_count.max(1))) as PgId
}
