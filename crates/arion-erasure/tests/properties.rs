//! What the codec promises, against `reed-solomon-erasure` as reference and over random stripes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use arion_erasure::{Codec, Error};
use bytes::Bytes;
use proptest::prelude::*;
use reed_solomon_erasure::galois_8::ReedSolomon;

fn stripe(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// All shards of a stripe, padded and encoded by the reference.
fn reference(k: usize, m: usize, stripe: &[u8]) -> Vec<Vec<u8>> {
    let shard_len = stripe.len().div_ceil(k);
    let mut padded = stripe.to_vec();
    padded.resize(k * shard_len, 0);
    let mut shards: Vec<Vec<u8>> = padded.chunks(shard_len).map(<[u8]>::to_vec).collect();
    shards.resize(k + m, vec![0; shard_len]);
    ReedSolomon::new(k, m).unwrap().encode(&mut shards).unwrap();
    shards
}

fn some(shards: &[Vec<u8>]) -> Vec<Option<Bytes>> {
    shards.iter().cloned().map(|shard| Some(shard.into())).collect()
}

fn encode(codec: &Codec, stripe: &[u8]) -> Vec<Vec<u8>> {
    codec.encode(Bytes::copy_from_slice(stripe)).unwrap().iter().map(|shard| shard.to_vec()).collect()
}

/// Parity shards of a few stripes, hashed: what is stored today must decode tomorrow.
#[test]
fn frozen_parity() {
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Vector {
        k: usize,
        m: usize,
        stripe_len: usize,
        shard_len: usize,
        parity_blake3: String,
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/parity.json");
    if std::env::var("ERASURE_VECTORS").is_ok_and(|value| value == "write") {
        let cases =
            [(10, 20, 1), (10, 20, 9), (10, 20, 100_001), (10, 20, 10 << 20), (1, 1, 5), (100, 155, 7_777)];
        let lines: Vec<String> = cases
            .into_iter()
            .map(|(k, m, stripe_len)| {
                let shards = reference(k, m, &stripe(stripe_len));
                let parity_blake3 = blake3::hash(&shards[k..].concat()).to_hex().to_string();
                let vector = Vector { k, m, stripe_len, shard_len: shards[0].len(), parity_blake3 };
                serde_json::to_string(&vector).unwrap()
            })
            .collect();
        std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
    }
    let vectors: Vec<Vector> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(vectors.len(), 6);
    for Vector { k, m, stripe_len, shard_len, parity_blake3 } in vectors {
        let codec = Codec::new(k, m).unwrap();
        let shards = encode(&codec, &stripe(stripe_len));
        assert!(shards.iter().all(|shard| shard.len() == shard_len));
        assert_eq!(
            blake3::hash(&shards[k..].concat()).to_hex().as_str(),
            parity_blake3,
            "{k}+{m}, {stripe_len}"
        );
    }
}

#[test]
fn layout_of_short_and_full_stripes() {
    let codec = Codec::new(10, 20).unwrap();
    for (stripe_len, shard_len, padding) in [(1, 1, 9), (10, 1, 0), (11, 2, 9), (10 << 20, 1 << 20, 0)] {
        let layout = codec.layout(stripe_len).unwrap();
        assert_eq!((layout.stripe_len, layout.shard_len, layout.padding), (stripe_len, shard_len, padding));
    }
    assert_eq!(codec.layout(25).unwrap().locate(7), (2, 1));
    assert_eq!(codec.layout(0), Err(Error::EmptyStripe));
    let max = 10 << 20;
    assert_eq!(codec.layout(max + 1), Err(Error::StripeTooLong { length: max + 1, max }));
    assert_eq!(codec.encode(Bytes::new()), Err(Error::EmptyStripe));
}

#[test]
fn impossible_codes_are_refused() {
    for (k, m) in [(0, 1), (1, 0), (128, 128), (usize::MAX, 1)] {
        assert_eq!(Codec::new(k, m).map(|_| ()), Err(Error::Code { k, m }));
    }
    assert!(Codec::new(254, 1).is_ok());
}

#[test]
fn wrong_shards_are_refused_and_left_alone() {
    let codec = Codec::new(4, 3).unwrap();
    let good = some(&encode(&codec, &stripe(100)));

    let mut short = good.clone();
    short[0] = None;
    short[5] = Some(vec![0; 24].into());
    let before = short.clone();
    let error = Error::ShardLength { index: 5, found: 24, expected: 25 };
    assert_eq!(codec.reconstruct_data(&mut short), Err(error));
    assert_eq!(codec.reconstruct_all(&mut short), Err(error));
    assert_eq!(short, before);

    let mut empty = vec![Some(Bytes::new()); 7];
    assert_eq!(
        codec.reconstruct_data(&mut empty),
        Err(Error::ShardLength { index: 0, found: 0, expected: 1 })
    );
    assert_eq!(
        codec.reconstruct_data(&mut good[..6].to_vec()),
        Err(Error::Positions { found: 6, expected: 7 })
    );

    assert_eq!(codec.join(&good, 101), Err(Error::ShardLength { index: 0, found: 25, expected: 26 }));
    assert_eq!(codec.join(&good[..3], 100), Err(Error::Positions { found: 3, expected: 7 }));
    assert_eq!(codec.join(&before, 100), Err(Error::MissingDataShard { index: 0 }));
}

#[test]
fn parity_goes_into_buffers_of_the_caller() {
    let codec = Codec::new(4, 3).unwrap();
    let shards = encode(&codec, &stripe(400));
    let data: Vec<&[u8]> = shards[..4].iter().map(Vec::as_slice).collect();
    let mut parity = vec![vec![0; 100]; 3];
    let mut targets: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    codec.encode_into(&data, &mut targets).unwrap();
    let refused = Error::Positions { found: 6, expected: 7 };
    assert_eq!(codec.encode_into(&data[..3], &mut targets), Err(refused));
    assert_eq!(codec.encode_into(&data, &mut targets[..2]), Err(refused));
    let mut short = [0; 99];
    targets[2] = &mut short;
    let refused = Error::ShardLength { index: 6, found: 99, expected: 100 };
    assert_eq!(codec.encode_into(&data, &mut targets), Err(refused));
    assert_eq!(parity, &shards[4..]);
}

#[test]
fn data_shards_alone_need_no_parity() {
    let codec = Codec::new(10, 20).unwrap();
    let mut shards = some(&encode(&codec, &stripe(5_000)));
    shards[10..].fill(None);
    codec.reconstruct_data(&mut shards).unwrap();
    assert!(shards[10..].iter().all(Option::is_none), "parity is not asked for");
    assert_eq!(codec.join(&shards, 5_000).unwrap(), stripe(5_000));
}

/// A code, a stripe for it, and an order in which its shards vanish.
fn case() -> impl Strategy<Value = (usize, usize, Vec<u8>, Vec<usize>)> {
    (1usize..24, 1usize..24).prop_flat_map(|(k, m)| {
        let positions = (0..k + m).collect::<Vec<_>>();
        (Just(k), Just(m), prop::collection::vec(any::<u8>(), 1..4_000), Just(positions).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn shards_are_the_references((k, m, stripe, _) in case()) {
        prop_assert_eq!(encode(&Codec::new(k, m).unwrap(), &stripe), reference(k, m, &stripe));
    }

    #[test]
    fn any_m_losses_are_recovered_and_one_more_is_refused((k, m, stripe, losses) in case()) {
        let codec = Codec::new(k, m).unwrap();
        let whole = some(&encode(&codec, &stripe));
        let mut shards = whole.clone();
        for lost in &losses[..m] {
            shards[*lost] = None;
        }

        let mut data = shards.clone();
        codec.reconstruct_data(&mut data).unwrap();
        prop_assert_eq!(codec.join(&data, stripe.len()).unwrap(), stripe);
        let mut all = shards.clone();
        codec.reconstruct_all(&mut all).unwrap();
        prop_assert_eq!(&all, &whole);

        shards[losses[m]] = None;
        let refused = Err(Error::TooFewShards { present: k - 1, needed: k });
        prop_assert_eq!(codec.reconstruct_data(&mut shards.clone()), refused);
        prop_assert_eq!(codec.reconstruct_all(&mut shards), refused);
    }
}
