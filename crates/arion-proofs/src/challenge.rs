//! Audit challenges: which chunk groups a miner must prove.
//!
//! Wardens, miners and whoever checks a warden call [`derive()`]; nobody may choose groups any other way.
//!
//! # Invariants
//! - Pure: an equal seed and shard length give equal groups everywhere.
//! - At most [`CHUNKS_MAX`] distinct groups, at least one.

use arion_types::ShardHash;
use bao_tree::{ChunkNum, ChunkRanges};

use crate::{
    GROUP_BYTES,
    range::{ProveError, VerifyError, prove_groups, verify_groups},
};

/// Most chunk groups in one challenge; shards of fewer groups are proven whole.
pub const CHUNKS_MAX: usize = 4;

/// The challenged chunk groups: numbers from 0, strictly increasing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Groups(Vec<u32>);

impl Groups {
    /// The numbers.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    fn chunk_ranges(&self) -> ChunkRanges {
        let chunks_per_group = u64::from(GROUP_BYTES / 1024);
        self.0.iter().fold(ChunkRanges::empty(), |ranges, group| {
            let first = u64::from(*group) * chunks_per_group;
            ranges | ChunkRanges::from(ChunkNum(first)..ChunkNum(first + chunks_per_group))
        })
    }
}

/// The groups that `seed` picks in a shard of `shard_len` bytes.
///
/// All groups where the shard has at most [`CHUNKS_MAX`]. Otherwise the output stream of BLAKE3 key derivation over
/// the seed is read as u64 little-endian, each number taken modulo the number of groups, until
/// [`CHUNKS_MAX`] distinct groups are found (at most 1 MiB / 16 KiB = 64 exist, so the bias of the modulo is
/// below 2^-57).
pub fn derive(seed: &[u8; 32], shard_len: u32) -> Groups {
    let count = shard_len.div_ceil(GROUP_BYTES).max(1);
    if count as usize <= CHUNKS_MAX {
        return Groups((0..count).collect());
    }
    let mut stream =
        blake3::Hasher::new_derive_key("arion 2026-11 challenge groups v1").update(seed).finalize_xof();
    let mut picked = Vec::with_capacity(CHUNKS_MAX);
    while picked.len() < CHUNKS_MAX {
        let mut word = [0; 8];
        stream.fill(&mut word);
        let group = (u64::from_le_bytes(word) % u64::from(count)) as u32;
        if let Err(at) = picked.binary_search(&group) {
            picked.insert(at, group);
        }
    }
    Groups(picked)
}

/// The answer to a challenge. Hashes the whole shard: a damaged one proves nothing.
pub fn prove(address: &ShardHash, shard: &[u8], groups: &Groups) -> Result<Vec<u8>, ProveError> {
    prove_groups(address, shard, &groups.chunk_ranges())
}

/// Whether `proof` is exactly the answer for these groups of this shard.
pub fn verify(address: &ShardHash, shard_len: u32, groups: &Groups, proof: &[u8]) -> Result<(), VerifyError> {
    verify_groups(address, shard_len, &groups.chunk_ranges(), proof).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shard(len: u32) -> (ShardHash, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|i| (i.wrapping_mul(40_503) >> 7) as u8).collect();
        (ShardHash(blake3::hash(&bytes).into()), bytes)
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        seed: String,
        shard_len: u32,
        groups: Vec<u32>,
        proof_blake3: String,
    }

    #[test]
    fn frozen_vectors() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/challenge.json")).unwrap();
        assert!(!vectors.is_empty());
        for vector in vectors {
            let seed: [u8; 32] = hex::decode(&vector.seed).unwrap().try_into().unwrap();
            let groups = derive(&seed, vector.shard_len);
            assert_eq!(groups.as_slice(), vector.groups, "seed {}", vector.seed);
            let (address, bytes) = shard(vector.shard_len);
            let proof = prove(&address, &bytes, &groups).unwrap();
            assert_eq!(blake3::hash(&proof).to_hex().as_str(), vector.proof_blake3, "seed {}", vector.seed);
        }
    }

    #[test]
    fn a_proof_for_other_groups_is_refused() {
        let (address, bytes) = shard(1 << 20);
        let (one, two) = (derive(&[1; 32], 1 << 20), derive(&[2; 32], 1 << 20));
        assert_ne!(one, two);
        let proof = prove(&address, &bytes, &one).unwrap();
        assert_eq!(verify(&address, 1 << 20, &one, &proof), Ok(()));
        assert_eq!(verify(&address, 1 << 20, &two, &proof), Err(VerifyError::Mismatch));
    }

    #[test]
    fn a_longer_claimed_shard_is_refused() {
        let (address, bytes) = shard(70_000);
        let groups = derive(&[1; 32], 70_000);
        let proof = prove(&address, &bytes, &groups).unwrap();
        assert!(verify(&address, 200_000, &groups, &proof).is_err());
    }

    #[test]
    fn one_flipped_byte_anywhere_is_noticed_by_the_prover() {
        let (address, mut bytes) = shard(1 << 20);
        let groups = derive(&[9; 32], 1 << 20);
        let outside = (0..64).find(|group| !groups.as_slice().contains(group)).unwrap();
        bytes[(outside * GROUP_BYTES) as usize] ^= 1;
        assert!(matches!(prove(&address, &bytes, &groups), Err(ProveError::Damaged)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn groups_are_distinct_sorted_and_within_the_shard(seed in any::<[u8; 32]>(), len in 0u32..=1 << 20) {
            let groups = derive(&seed, len);
            let count = len.div_ceil(GROUP_BYTES).max(1);
            prop_assert_eq!(groups.as_slice().len(), CHUNKS_MAX.min(count as usize));
            prop_assert!(groups.as_slice().is_sorted_by(|a, b| a < b));
            prop_assert!(groups.as_slice().iter().all(|group| *group < count));
        }

        #[test]
        fn only_the_exact_answer_verifies(
            seed in any::<[u8; 32]>(), len in 1u32..400_000, at in any::<prop::sample::Index>(), bit in 0u8..8
        ) {
            let (address, bytes) = shard(len);
            let groups = derive(&seed, len);
            let proof = prove(&address, &bytes, &groups).unwrap();
            prop_assert_eq!(verify(&address, len, &groups, &proof), Ok(()));
            let mut flipped = proof.clone();
            flipped[at.index(proof.len())] ^= 1 << bit;
            prop_assert_eq!(verify(&address, len, &groups, &flipped), Err(VerifyError::Mismatch));
            prop_assert_eq!(
                verify(&address, len, &groups, &proof[..at.index(proof.len())]), Err(VerifyError::Mismatch)
            );
            let long = [&proof[..], &[0]].concat();
            prop_assert_eq!(verify(&address, len, &groups, &long), Err(VerifyError::Trailing(1)));
        }
    }
}
