//! Stripes of ciphertext to shards and back: `arion-erasure` on owned buffers, with the gateway's padding.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use arion_erasure::Codec;
use bytes::Bytes;

/// Shortest shard: with at least so many random or encrypted bytes no two shards ever have the same hash.
const SHARD_BYTES_MIN: usize = 64;

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

/// The k + m shards of a padded stripe.
pub fn encode(padded: Vec<u8>, shape: Shape, shard_len: usize) -> Result<Vec<Bytes>, CodeError> {
    if padded.len() != shard_len * usize::from(shape.data) {
        return Err(CodeError::Shape);
    }
    Ok(codec(shape)?.encode(Bytes::from(padded))?)
}

/// Fills the missing data shards; missing parity shards stay `None`.
pub fn decode(mut shards: Vec<Option<Bytes>>, shape: Shape) -> Result<Vec<Option<Bytes>>, CodeError> {
    codec(shape)?.reconstruct_data(&mut shards)?;
    Ok(shards)
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
            let shards = encode(padded.clone(), SHAPE, shard_len).unwrap();
            assert_eq!(shards.len(), 30);
            let left =
                shards.iter().enumerate().map(|(i, shard)| (i % 3 == 1).then(|| shard.clone())).collect();
            let decoded = decode(left, SHAPE).unwrap();
            let data: Vec<u8> =
                decoded[..10].iter().flat_map(|shard| shard.as_ref().unwrap().to_vec()).collect();
            assert_eq!(data, padded);
            let nine = shards.iter().enumerate().map(|(i, shard)| (i < 9).then(|| shard.clone())).collect();
            assert!(matches!(decode(nine, SHAPE), Err(CodeError::Codec(_))));
        }
    }

    #[test]
    fn shards_are_never_shorter_than_the_minimum() {
        assert_eq!(shard_len(1, SHAPE), 64);
        assert_eq!(shard_len(640, SHAPE), 64);
        assert_eq!(shard_len(641, SHAPE), 65);
        assert_eq!(shard_len(10 << 20, SHAPE), 1 << 20);
    }
}
