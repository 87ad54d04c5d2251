//! Shards that nobody has any more, computed from any k of the others.
//!
//! # Invariants
//! - What is computed is compared with its address, or, where that is not known, with the id of the stripe: that is the hash of the
//!   addresses of all its shards.

use std::collections::BTreeMap;

use arion_erasure::Codec;
use arion_types::{ShardHash, StripeId, stripe::stripe_id};
use bytes::Bytes;

use super::plan::Shape;

/// Why shards cannot be computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum RebuildError {
    /// The codec refused.
    #[error(transparent)]
    Codec(#[from] arion_erasure::Error),
    /// The shards that there are make another stripe.
    #[error("what was computed is not what the receipts and the id of the stripe say")]
    OtherStripe,
}

/// The shards `missing`, with their addresses, from those in `have`, which were checked.
pub(super) fn rebuild(
    id: &StripeId,
    shape: Shape,
    known: &[Option<ShardHash>],
    have: &BTreeMap<u8, Bytes>,
    missing: &[u8],
) -> Result<Vec<(u8, ShardHash, Bytes)>, RebuildError> {
    let (data, shards) = (usize::from(shape.data), usize::from(shape.shards));
    let codec = Codec::new(data, shards.saturating_sub(data))?;
    let mut slots: Vec<Option<Bytes>> = (0..shape.shards).map(|index| have.get(&index).cloned()).collect();
    let address = |index: u8| known.get(usize::from(index)).copied().flatten();
    let all_known = missing.iter().all(|index| address(*index).is_some());
    match all_known {
        true => codec
            .reconstruct(&mut slots, &missing.iter().map(|index| usize::from(*index)).collect::<Vec<_>>())?,
        false => codec.reconstruct_all(&mut slots)?,
    }
    let hashes: Vec<Option<ShardHash>> =
        slots.iter().map(|slot| Some(ShardHash(blake3::hash(slot.as_ref()?).into()))).collect();
    let is_right = match all_known {
        true => {
            missing.iter().all(|index| hashes.get(usize::from(*index)).copied().flatten() == address(*index))
        }
        false => hashes.iter().copied().collect::<Option<Vec<_>>>().is_some_and(|all| stripe_id(&all) == *id),
    };
    if !is_right {
        return Err(RebuildError::OtherStripe);
    }
    let made = missing.iter().filter_map(|index| {
        let at = usize::from(*index);
        Some((*index, hashes.get(at).copied().flatten()?, slots.get(at).cloned().flatten()?))
    });
    Ok(made.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { data: 10, shards: 30 };

    fn stripe() -> (StripeId, Vec<ShardHash>, Vec<Bytes>) {
        let codec = Codec::new(10, 20).unwrap();
        let bytes: Vec<u8> = (0..10 * 100_u32).map(|n| (n * n % 251) as u8).collect();
        let shards = codec.encode(bytes.into()).unwrap();
        let hashes: Vec<_> = shards.iter().map(|shard| ShardHash(blake3::hash(shard).into())).collect();
        (stripe_id(&hashes), hashes, shards)
    }

    #[test]
    fn any_k_make_every_other_also_one_that_nobody_has_signed_for() {
        let (id, hashes, shards) = stripe();
        let have: BTreeMap<u8, Bytes> = (15..25).map(|n| (n, shards[usize::from(n)].clone())).collect();
        let mut known: Vec<_> = hashes.iter().copied().map(Some).collect();
        let expected: Vec<_> =
            [0_u8, 9, 29].map(|n| (n, hashes[usize::from(n)], shards[usize::from(n)].clone())).to_vec();
        assert_eq!(rebuild(&id, SHAPE, &known, &have, &[0, 9, 29]).unwrap(), expected);
        known[9] = None;
        assert_eq!(rebuild(&id, SHAPE, &known, &have, &[0, 9, 29]).unwrap(), expected);
    }

    #[test]
    fn what_does_not_fit_the_receipts_or_the_id_is_refused() {
        let (id, hashes, shards) = stripe();
        let mut have: BTreeMap<u8, Bytes> = (15..25).map(|n| (n, shards[usize::from(n)].clone())).collect();
        let mut known: Vec<_> = hashes.iter().copied().map(Some).collect();
        known[0] = Some(ShardHash([1; 32]));
        assert_eq!(rebuild(&id, SHAPE, &known, &have, &[0]), Err(RebuildError::OtherStripe));
        known[0] = None;
        assert_eq!(rebuild(&StripeId([1; 32]), SHAPE, &known, &have, &[0]), Err(RebuildError::OtherStripe));
        have.remove(&20);
        assert!(matches!(rebuild(&id, SHAPE, &known, &have, &[0]), Err(RebuildError::Codec(_))));
    }

    #[test]
    fn a_stripe_of_one_data_shard_is_copies_of_it() {
        let shard = Bytes::from(vec![7; 100]);
        let hash = ShardHash(blake3::hash(&shard).into());
        let shape = Shape { data: 1, shards: 30 };
        let have = BTreeMap::from([(4, shard.clone())]);
        let made = rebuild(&stripe_id(&[hash; 30]), shape, &[Some(hash); 30], &have, &[0, 29]).unwrap();
        assert_eq!(made, [(0, hash, shard.clone()), (29, hash, shard)]);
    }
}
