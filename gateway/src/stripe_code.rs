//! Stripes of ciphertext to shards and back: `arion-erasure` on owned buffers, with the gateway's padding.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    thread,
};

use arion_erasure::{Addresses, Codec, Shard};
use arion_types::ShardHash;

/// Shortest shard: with at least so many random or encrypted bytes no two shards ever have the same hash.
const SHARD_BYTES_MIN: usize = 64;
/// Threads that encode and hash one stripe: a second one nearly halves the time, others would be missed by other stripes.
const THREADS: usize = 2;

/// k and m.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    /// Data shards, k.
    pub data: u8,
    /// Parity shards, m.
    pub parity: u8,
}

/// Why a stripe cannot be encoded or decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodeError {
    /// Lengths that make no stripe.
    #[error("not the lengths of a stripe")]
    Shape,
    /// The codec refused.
    #[error(transparent)]
    Codec(#[from] arion_erasure::Error),
}

/// Bytes of each shard of a stripe of `len` bytes.
pub fn shard_len(len: usize, shape: Shape) -> usize {
    len.div_ceil(usize::from(shape.data).max(1)).max(SHARD_BYTES_MIN)
}

fn codec(shape: Shape) -> Result<Codec, CodeError> {
    static CODECS: Mutex<Option<HashMap<Shape, Codec>>> = Mutex::new(None);
    let mut codecs = CODECS.lock().unwrap_or_else(PoisonError::into_inner);
    let codecs = codecs.get_or_insert_default();
    if let Some(codec) = codecs.get(&shape) {
        return Ok(codec.clone());
    }
    let codec = Codec::new(usize::from(shape.data), usize::from(shape.parity))?;
    codecs.insert(shape, codec.clone());
    Ok(codec)
}

/// The k + m shards of a padded stripe with their addresses, each in memory of its own.
pub fn encode(padded: &[u8], shape: Shape, shard_len: usize) -> Result<Vec<Shard>, CodeError> {
    static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, Into::into));
    if padded.len() != shard_len * usize::from(shape.data) {
        return Err(CodeError::Shape);
    }
    Ok(codec(shape)?.encode_hashed(padded, THREADS.min(*CORES))?)
}

/// What the shards of a stripe are checked against, and decoded with, when they come from miners.
pub fn addresses(data: u8, hashes: Vec<ShardHash>, shard_len: u32) -> Result<Addresses, CodeError> {
    let parity = hashes.len().saturating_sub(usize::from(data));
    let shape = Shape { data, parity: u8::try_from(parity).map_err(|_| CodeError::Shape)? };
    let shard_len = usize::try_from(shard_len).map_err(|_| CodeError::Shape)?;
    Ok(codec(shape)?.addresses(hashes, shard_len)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { data: 10, parity: 20 };

    #[test]
    fn any_ten_shards_bring_a_stripe_back() {
        for len in [1usize, 639, 641, 10_000] {
            let shard_len = shard_len(len, SHAPE);
            let padded: Vec<u8> = (0..shard_len * 10).map(|i| (i * 7 % 251) as u8).collect();
            let shards = encode(&padded, SHAPE, shard_len).unwrap();
            assert_eq!(shards.len(), 30);
            let hashes = shards.iter().map(|shard| shard.hash).collect();
            let addresses = addresses(10, hashes, shard_len as u32).unwrap();
            let checked = |indices: Vec<usize>| -> Vec<_> {
                indices.into_iter().map(|i| addresses.check(i, shards[i].bytes.clone()).unwrap()).collect()
            };
            let all: Vec<usize> = (0..10).collect();
            let left = checked((0..30).filter(|i| i % 3 == 1).collect());
            assert_eq!(addresses.reconstruct(&left, &all).unwrap().concat(), padded);
            let refused = addresses.reconstruct(&checked((0..9).collect()), &all);
            assert_eq!(refused, Err(arion_erasure::Error::TooFewShards { present: 9, needed: 10 }));
        }
    }

    #[test]
    fn records_of_impossible_stripes_are_refused() {
        let hash = ShardHash([1; 32]);
        for (data, hashes, shard_len) in [(10, 9, 64), (10, 10, 64), (0, 30, 64), (10, 300, 64), (10, 30, 0)]
        {
            addresses(data, vec![hash; hashes], shard_len).unwrap_err();
        }
        addresses(10, vec![hash; 30], 2 << 20).unwrap_err();
        addresses(10, vec![hash; 30], 1 << 20).unwrap();
    }

    #[test]
    fn shards_are_never_shorter_than_the_minimum() {
        assert_eq!(shard_len(1, SHAPE), 64);
        assert_eq!(shard_len(640, SHAPE), 64);
        assert_eq!(shard_len(641, SHAPE), 65);
        assert_eq!(shard_len(10 << 20, SHAPE), 1 << 20);
    }
}
