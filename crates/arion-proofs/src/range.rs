//! Proofs of byte ranges.

use std::ops::Range;

use arion_types::ShardHash;
use bao_tree::{
    BaoTree, ChunkRanges,
    io::{
        BaoContentItem, EncodeError,
        outboard::PreOrderMemOutboard,
        round_up_to_chunks_groups,
        sync::{DecodeResponseIter, encode_ranges_validated},
    },
};
use bytes::Bytes;

use crate::{BLOCK_SIZE, GROUP_BYTES};

/// Why no proof is made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The range is empty or reaches beyond the shard.
    #[error("range {start}..{end} is empty or beyond the shard's {len} bytes")]
    Range {
        /// First byte asked for.
        start: u32,
        /// Byte behind the last one asked for.
        end: u32,
        /// Length of the shard.
        len: u32,
    },
    /// The bytes at hand are not those of the shard.
    #[error("the stored bytes do not hash to the shard's address")]
    Damaged,
    /// The encoder failed for another reason.
    #[error("cannot encode the proof: {0}")]
    Encode(#[from] EncodeError),
}

/// Why a proof is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// The range asked for is empty or reaches beyond the shard: the verifier's own mistake.
    #[error("the range asked for is empty or beyond the shard")]
    Range,
    /// A tree node or a chunk group is missing, or is not the one the address commits to.
    #[error("a tree node or chunk group is missing or wrong")]
    Mismatch,
    /// More bytes than the proof needs.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

/// The bytes of `shard` and the proof that its chunk groups covering `range` belong to `address`.
///
/// Hashes the whole shard: damaged bytes are noticed wherever they lie.
pub fn prove_range(address: &ShardHash, shard: &[u8], range: Range<u32>) -> Result<Vec<u8>, ProveError> {
    let len = u32::try_from(shard.len()).unwrap_or(u32::MAX);
    if range.start >= range.end || range.end > len {
        return Err(ProveError::Range { start: range.start, end: range.end, len });
    }
    prove_groups(address, shard, &groups_of(range))
}

/// The bytes `range` of the shard, if `proof` is exactly the proof for them.
pub fn verify_range(
    address: &ShardHash,
    shard_len: u32,
    range: Range<u32>,
    proof: &[u8],
) -> Result<Bytes, VerifyError> {
    if range.start >= range.end || range.end > shard_len {
        return Err(VerifyError::Range);
    }
    let first_group_start = range.start / GROUP_BYTES * GROUP_BYTES;
    let groups = verify_groups(address, shard_len, &groups_of(range.clone()), proof)?;
    let start = (range.start - first_group_start) as usize;
    Ok(groups.slice(start..start + range.len()))
}

fn groups_of(range: Range<u32>) -> ChunkRanges {
    use bao_tree::ChunkNum;
    let chunks = ChunkNum::full_chunks(u64::from(range.start))..ChunkNum::chunks(u64::from(range.end));
    round_up_to_chunks_groups(ChunkRanges::from(chunks), BLOCK_SIZE)
}

/// Proof for whole chunk groups.
pub(crate) fn prove_groups(
    address: &ShardHash,
    shard: &[u8],
    groups: &ChunkRanges,
) -> Result<Vec<u8>, ProveError> {
    let outboard = PreOrderMemOutboard::create(shard, BLOCK_SIZE);
    if outboard.root.as_bytes() != address.as_bytes() {
        return Err(ProveError::Damaged);
    }
    let mut proof = Vec::new();
    encode_ranges_validated(shard, &outboard, groups, &mut proof)?;
    Ok(proof)
}

/// The bytes of the chunk groups, one after the other, if the proof is exact.
pub(crate) fn verify_groups(
    address: &ShardHash,
    shard_len: u32,
    groups: &ChunkRanges,
    mut proof: &[u8],
) -> Result<Bytes, VerifyError> {
    let tree = BaoTree::new(u64::from(shard_len), BLOCK_SIZE);
    let root = blake3::Hash::from_bytes(address.0);
    let mut bytes = Vec::with_capacity(proof.len());
    for item in DecodeResponseIter::new(root, tree, &mut proof, groups) {
        if let BaoContentItem::Leaf(leaf) = item.map_err(|_| VerifyError::Mismatch)? {
            bytes.extend_from_slice(&leaf.data);
        }
    }
    match proof.len() {
        0 => Ok(bytes.into()),
        trailing => Err(VerifyError::Trailing(trailing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn shard(len: u32) -> (ShardHash, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        (ShardHash(blake3::hash(&bytes).into()), bytes)
    }

    #[test]
    fn empty_and_overlong_ranges_are_refused() {
        let (address, bytes) = shard(100);
        for range in [0..0, 50..50, 0..101, 100..101] {
            assert!(matches!(prove_range(&address, &bytes, range.clone()), Err(ProveError::Range { .. })));
            assert_eq!(verify_range(&address, 100, range, &[]), Err(VerifyError::Range));
        }
    }

    #[test]
    fn a_damaged_shard_proves_nothing() {
        let (address, mut bytes) = shard(100_000);
        bytes[99_999] ^= 1;
        assert!(matches!(prove_range(&address, &bytes, 0..10), Err(ProveError::Damaged)));
    }

    /// docs/spec/proofs.md, "What a proof says about the length".
    #[test]
    fn the_last_group_fixes_the_length_and_the_first_does_not() {
        let len = 40 * GROUP_BYTES + 100;
        let (address, bytes) = shard(len);
        let last = prove_range(&address, &bytes, len - 1..len).unwrap();
        for claimed in [len - 1, len + 1, len + GROUP_BYTES] {
            assert!(verify_range(&address, claimed, claimed - 1..claimed, &last).is_err(), "{claimed}");
        }
        let first = prove_range(&address, &bytes, 0..1).unwrap();
        for (groups, same_nodes) in [(32, false), (33, true), (64, true), (65, false)] {
            let held = verify_range(&address, groups * GROUP_BYTES, 0..1, &first).is_ok();
            assert_eq!(held, same_nodes, "{groups} groups");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_range_round_trips_and_nothing_else_verifies(
            len in 1u32..120_000, ends in any::<(u32, u32)>(), at in any::<prop::sample::Index>(), bit in 0u8..8
        ) {
            let (address, bytes) = shard(len);
            let start = ends.0 % len;
            let end = start + 1 + ends.1 % (len - start);
            let proof = prove_range(&address, &bytes, start..end).unwrap();
            let wanted = &bytes[start as usize..end as usize];
            prop_assert_eq!(&verify_range(&address, len, start..end, &proof).unwrap()[..], wanted);

            let mut flipped = proof.clone();
            flipped[at.index(proof.len())] ^= 1 << bit;
            prop_assert_eq!(verify_range(&address, len, start..end, &flipped), Err(VerifyError::Mismatch));

            let short = &proof[..at.index(proof.len())];
            prop_assert_eq!(verify_range(&address, len, start..end, short), Err(VerifyError::Mismatch));

            let long = [&proof[..], &[0]].concat();
            prop_assert_eq!(verify_range(&address, len, start..end, &long), Err(VerifyError::Trailing(1)));

            let other = ShardHash(blake3::hash(b"other").into());
            prop_assert_eq!(verify_range(&other, len, start..end, &proof), Err(VerifyError::Mismatch));
        }
    }
}
