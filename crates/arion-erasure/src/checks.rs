//! What must hold of the code whatever the bytes: for the fuzzer (`./scripts/fuzz codec`) and for tests with fixed seeds.

#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

use arion_types::ShardHash;
use bytes::Bytes;

use crate::{
    Codec, Error,
    field::mul,
    kernel::{Path, Tables},
    matrix::Matrix,
};

/// Longest shards: some steps beyond the block in which the kernels go through them.
const SHARD_MAX: usize = 8 * 1024 + 400;

/// Bytes that say what is computed; where they end, others follow that depend on all of them.
struct Input<'a> {
    bytes: &'a [u8],
    state: u64,
}

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        if let Some((first, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            self.state = (self.state ^ u64::from(*first)).wrapping_mul(0x100_0000_01b3);
            return *first;
        }
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 56) as u8
    }

    /// From `least` to `most`.
    fn between(&mut self, least: usize, most: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        least + number % (most - least + 1)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// Every path computes what the definition says; shards that are lost come back; wrong ones are refused.
///
/// # Panics
/// When one of it does not hold.
pub fn codec(bytes: &[u8]) {
    let mut input = Input { bytes, state: 0xcbf2_9ce4_8422_2325 };
    match input.byte() % 2 {
        0 => kernels(&mut input),
        _ => stripes(&mut input),
    }
}

/// The parity of `data` on the portable path, for measurements.
///
/// # Panics
/// Unless there are k and m shards of one length.
pub fn encode_portable(codec: &Codec, data: &[&[u8]], parity: &mut [&mut [u8]]) {
    codec.inner.encode.apply_on(Path::Portable, data, parity);
}

fn kernels(input: &mut Input<'_>) {
    let (rows, columns, length) = (input.between(1, 24), input.between(1, 12), input.between(1, SHARD_MAX));
    let matrix = Matrix::of(columns, input.take(rows * columns));
    let sources: Vec<Vec<u8>> = (0..columns).map(|_| input.take(length)).collect();
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let tables = Tables::new(&matrix);
    let mut expected = Vec::new();
    for path in Path::all() {
        // The bytes that are not to be seen again.
        let mut targets = vec![vec![input.byte(); length]; rows];
        tables.apply_on(path, &sources, &mut Vec::from_iter(targets.iter_mut().map(Vec::as_mut_slice)));
        if path == Path::Portable {
            for at in [0, length / 2, length - 1, input.between(0, length - 1)] {
                for (row, target) in targets.iter().enumerate() {
                    let products = matrix.row(row).iter().zip(&sources);
                    assert_eq!(
                        target[at],
                        products.fold(0, |sum, (factor, source)| sum ^ mul(*factor, source[at]))
                    );
                }
            }
            expected = targets;
        } else {
            assert!(targets == expected, "{path:?}: {rows} x {columns}, {length} bytes");
        }
    }
}

fn stripes(input: &mut Input<'_>) {
    let (k, m) = (input.between(1, 12), input.between(1, 24));
    let codec = Codec::new(k, m).unwrap();
    let stripe_len = input.between(1, k * SHARD_MAX.min(3_000));
    let stripe = Bytes::from(input.take(stripe_len));
    let whole = codec.encode(stripe.clone()).unwrap();
    let hashed = codec.encode_hashed(&stripe, input.between(1, 2)).unwrap();
    for (shard, hashed) in whole.iter().zip(&hashed) {
        assert_eq!((shard, blake3::hash(shard).as_bytes()), (&hashed.bytes, &hashed.hash.0));
    }
    let shard_len = whole[0].len();
    let hashes: Vec<ShardHash> = hashed.iter().map(|shard| shard.hash).collect();
    let addresses = codec.addresses(hashes.clone(), shard_len).unwrap();

    // Shards that are not what they are taken for.
    let (index, other) = (input.between(0, k + m - 1), input.between(0, k + m - 1));
    let shard = &whole[index];
    let taken = addresses.check(other, shard.clone());
    match shard == &whole[other] {
        true => assert_eq!(taken.unwrap().index(), other),
        false => assert_eq!(taken.unwrap_err(), Error::Content { index: other }),
    }
    let mut flipped = shard.to_vec();
    flipped[input.between(0, shard_len - 1)] ^= 1 << input.between(0, 7);
    assert_eq!(addresses.check(index, flipped.into()).unwrap_err(), Error::Content { index });
    let short = shard.slice(..input.between(0, shard_len - 1));
    let (found, expected) = (short.len(), shard_len);
    assert_eq!(addresses.check(index, short).unwrap_err(), Error::ShardLength { index, found, expected });

    // Any of them are lost, any are wanted.
    let mut order: Vec<usize> = (0..k + m).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, input.between(0, at));
    }
    let left = input.between(0, k + m);
    let shards: Vec<_> =
        order[..left].iter().map(|index| addresses.check(*index, whole[*index].clone()).unwrap()).collect();
    let wanted: Vec<usize> = (0..input.between(0, k + m)).map(|_| input.between(0, k + m - 1)).collect();
    let rebuilt = addresses.reconstruct(&shards, &wanted);
    if left >= k || wanted.iter().all(|index| order[..left].contains(index)) {
        let expected: Vec<Bytes> = wanted.iter().map(|index| whole[*index].clone()).collect();
        assert!(rebuilt.unwrap() == expected, "{k} + {m}, {left} left, {wanted:?}");
    } else {
        assert_eq!(rebuilt, Err(Error::TooFewShards { present: left, needed: k }));
    }
    let stranger = codec.addresses(hashes, shard_len).unwrap();
    if let Some(shard) = shards.first() {
        let refused = stranger.reconstruct(&shards[..1], &[]);
        assert_eq!(refused, Err(Error::OtherStripe { index: shard.index() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds of the fuzzer without it: short inputs, which say what the first choices are.
    #[test]
    fn whatever_the_bytes() {
        let rounds = if cfg!(miri) { 2 } else { 300 };
        for round in 0..rounds {
            let mut input = Input { bytes: &[], state: round };
            let length = input.between(0, 40);
            codec(&input.take(length));
        }
    }
}
