//! Shards with addresses: what is not what it is taken for never gets to the decoder, and one shard keeps no other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use arion_erasure::{Addresses, CheckedShard, Codec, Error, Shard, THREADS_MAX};
use arion_types::ShardHash;
use bytes::Bytes;
use proptest::prelude::*;

fn stripe(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

fn addresses(codec: &Codec, shards: &[Shard]) -> Addresses {
    let hashes = shards.iter().map(|shard| shard.hash).collect();
    codec.addresses(hashes, shards[0].bytes.len()).unwrap()
}

fn checked(addresses: &Addresses, shards: &[Shard], indices: &[usize]) -> Vec<CheckedShard> {
    indices.iter().map(|index| addresses.check(*index, shards[*index].bytes.clone()).unwrap()).collect()
}

#[test]
fn hashed_shards_are_the_same_for_any_number_of_threads() {
    let codec = Codec::new(10, 20).unwrap();
    for len in [1, 9, 10, 1_001, 400_000, 1_000_003] {
        let stripe = stripe(len);
        let expected = codec.encode(stripe.clone().into()).unwrap();
        for threads in [0, 1, 2, 3, THREADS_MAX, 1_000] {
            let shards = codec.encode_hashed(&stripe, threads).unwrap();
            assert!(shards.iter().map(|shard| &shard.bytes).eq(&expected), "{len}, {threads} threads");
            assert!(shards.iter().all(|shard| *blake3::hash(&shard.bytes).as_bytes() == shard.hash.0));
        }
    }
    assert_eq!(codec.encode_hashed(&[], 2), Err(Error::EmptyStripe));
}

#[test]
fn a_shard_is_adopted_where_its_address_and_length_are_the_same() {
    let codec = Codec::new(2, 2).unwrap();
    let [first, other] = [stripe(2_000), stripe(3_000)].map(|bytes| codec.encode_hashed(&bytes, 1).unwrap());
    let (once, again) = (addresses(&codec, &first), addresses(&codec, &first));
    let shard = &checked(&once, &first, &[1])[0];
    let adopted = again.adopt(1, shard).unwrap();
    assert_eq!((adopted.index(), adopted.bytes()), (1, shard.bytes()));
    // The decoder takes it for one of the stripe it was adopted by, and not for one of where it was.
    let rest = checked(&again, &first, &[3]);
    assert_eq!(
        again.reconstruct(&[adopted.clone(), rest[0].clone()], &[0]).unwrap(),
        [first[0].bytes.clone()]
    );
    let error = once.reconstruct(&[adopted, checked(&once, &first, &[3])[0].clone()], &[0]).unwrap_err();
    assert_eq!(error, Error::OtherStripe { index: 1 });
    for index in [0, 2, 3, 4, 100] {
        assert!(again.adopt(index, shard).is_none(), "{index}");
    }
    assert!(addresses(&codec, &other).adopt(1, shard).is_none());
    // The same address, but shards of another length: nobody makes such a stripe, and it is not believed.
    let hashes = first.iter().map(|shard| shard.hash).collect();
    assert!(codec.addresses(hashes, 999).unwrap().adopt(1, shard).is_none());
}

#[test]
fn threads_encode_with_one_codec_at_once() {
    let codec = Codec::new(10, 20).unwrap();
    let stripes: Vec<Vec<u8>> = (1..5).map(|n| stripe(n * 300_000)).collect();
    thread::scope(|scope| {
        for stripe in &stripes {
            scope.spawn(|| {
                let expected = codec.encode(stripe.clone().into()).unwrap();
                for _ in 0..5 {
                    let shards = codec.encode_hashed(stripe, 2).unwrap();
                    assert!(shards.iter().map(|shard| &shard.bytes).eq(&expected));
                }
            });
        }
    });
}

/// Where the memory of a buffer is, and how much of it: buffers of different shards are apart.
#[test]
fn every_shard_has_memory_of_its_own() {
    /// A stripe that counts how often it is let go.
    struct Counted(Vec<u8>, Arc<AtomicUsize>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, SeqCst);
        }
    }
    let gone = Arc::<AtomicUsize>::default();
    let codec = Codec::new(10, 20).unwrap();
    let whole = Bytes::from_owner(Counted(stripe(1_000_000), gone.clone()));
    let mut parity = codec.encode(whole.clone()).unwrap().split_off(10);
    drop(whole);
    assert_eq!(gone.load(SeqCst), 1, "parity keeps no data");
    let kept = parity.remove(7);
    let before = kept.to_vec();
    // What the others of the stripe had is used again; the one that is kept is not.
    let places: Vec<*const u8> = parity.iter().map(|shard| shard.as_ptr()).collect();
    drop(parity);
    let next = codec.encode_hashed(&stripe(999_999), 1).unwrap();
    let used_again = next.iter().filter(|shard| places.contains(&shard.bytes.as_ptr())).count();
    assert_eq!(used_again, places.len(), "each buffer is free when its own shard is");
    assert_eq!(kept, before);
    assert!(next.iter().all(|shard| shard.bytes.as_ptr() != kept.as_ptr()));
}

#[test]
fn addresses_of_impossible_stripes_are_refused() {
    let codec = Codec::new(4, 3).unwrap();
    let hashes = vec![ShardHash([0; 32]); 7];
    let refused = |hashes: &[ShardHash], len| codec.addresses(hashes.to_vec(), len).map(|_| ()).unwrap_err();
    assert_eq!(refused(&hashes[1..], 9), Error::Positions { found: 6, expected: 7 });
    assert_eq!(refused(&hashes, 0), Error::EmptyStripe);
    let max = 4 << 20;
    assert_eq!(refused(&hashes, (1 << 20) + 1), Error::StripeTooLong { length: max + 4, max });
    assert_eq!(refused(&hashes, usize::MAX), Error::StripeTooLong { length: usize::MAX, max });
    assert_eq!(codec.addresses(hashes, 1 << 20).unwrap().shard_len(), 1 << 20);
}

#[test]
fn only_what_is_wanted_is_computed() {
    let codec = Codec::new(10, 20).unwrap();
    let shards = codec.encode_hashed(&stripe(10_000), 1).unwrap();
    let mut some: Vec<Option<Bytes>> = shards.iter().map(|shard| Some(shard.bytes.clone())).collect();
    some[..12].fill(None);
    codec.reconstruct(&mut some, &[3, 3, 11, 20]).unwrap();
    let there: Vec<usize> = (0..30).filter(|index| some[*index].is_some()).collect();
    assert_eq!(there, [3, 11].into_iter().chain(12..30).collect::<Vec<_>>());
    assert_eq!(some[3].as_ref(), Some(&shards[3].bytes));
    assert_eq!(some[11].as_ref(), Some(&shards[11].bytes));
    let refused = Err(Error::Index { index: 30, shards: 30 });
    assert_eq!(codec.reconstruct(&mut some, &[30]), refused);

    let addresses = addresses(&codec, &shards);
    let few = checked(&addresses, &shards, &[5, 6]);
    assert_eq!(addresses.reconstruct(&few, &[6]).unwrap(), [shards[6].bytes.clone()]);
    let refused = Err(Error::TooFewShards { present: 2, needed: 10 });
    assert_eq!(addresses.reconstruct(&few, &[6, 7]), refused);
    assert_eq!(addresses.reconstruct(&few, &[30]), Err(Error::Index { index: 30, shards: 30 }));
}

/// A code, a stripe, an order of its shards, and numbers to choose by.
fn case() -> impl Strategy<Value = (usize, usize, Vec<u8>, Vec<usize>, usize, usize)> {
    (1usize..16, 1usize..24).prop_flat_map(|(k, m)| {
        let positions = (0..k + m).collect::<Vec<_>>();
        let stripe = prop::collection::vec(any::<u8>(), 1..4_000);
        (Just(k), Just(m), stripe, Just(positions).prop_shuffle(), any::<usize>(), any::<usize>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_shard_of_the_wrong_length_is_refused((k, m, stripe, order, a, b) in case()) {
        let shards = Codec::new(k, m).unwrap().encode_hashed(&stripe, 1).unwrap();
        let addresses = addresses(&Codec::new(k, m).unwrap(), &shards);
        let (index, right) = (order[0], shards[order[0]].bytes.clone());
        let expected = right.len();
        let short = right.slice(..a % expected);
        let found = short.len();
        prop_assert_eq!(
            addresses.check(index, short).unwrap_err(),
            Error::ShardLength { index, found, expected }
        );
        let found = expected + 1 + b % 100;
        let mut long = right.to_vec();
        long.resize(found, 0);
        prop_assert_eq!(
            addresses.check(index, long.into()).unwrap_err(),
            Error::ShardLength { index, found, expected }
        );
    }

    #[test]
    fn a_shard_at_the_wrong_index_is_refused((k, m, stripe, order, a, _) in case()) {
        let codec = Codec::new(k, m).unwrap();
        let shards = codec.encode_hashed(&stripe, 1).unwrap();
        let addresses = addresses(&codec, &shards);
        let (index, other) = (order[0], order[1]);
        let bytes = shards[index].bytes.clone();
        prop_assume!(bytes != shards[other].bytes);
        prop_assert_eq!(addresses.check(other, bytes.clone()).unwrap_err(), Error::Content { index: other });
        let beyond = (k + m).saturating_add(a % 1_000);
        prop_assert_eq!(
            addresses.check(beyond, bytes).unwrap_err(),
            Error::Index { index: beyond, shards: k + m }
        );
    }

    #[test]
    fn a_shard_of_the_wrong_content_is_refused((k, m, stripe, order, a, b) in case()) {
        let codec = Codec::new(k, m).unwrap();
        let shards = codec.encode_hashed(&stripe, 1).unwrap();
        let addresses = addresses(&codec, &shards);
        let index = order[0];
        let mut bytes = shards[index].bytes.to_vec();
        let at = a % bytes.len();
        bytes[at] ^= 1 << (b % 8);
        prop_assert_eq!(addresses.check(index, bytes.into()).unwrap_err(), Error::Content { index });
    }

    #[test]
    fn a_shard_of_another_stripe_is_refused((k, m, stripe, order, _, _) in case()) {
        let codec = Codec::new(k, m).unwrap();
        let shards = codec.encode_hashed(&stripe, 1).unwrap();
        let (one, other) = (addresses(&codec, &shards), addresses(&codec, &shards));
        let mine = checked(&one, &shards, &order[..k]);
        prop_assert_eq!(other.reconstruct(&mine, &[0]), Err(Error::OtherStripe { index: order[0] }));
        prop_assert!(one.clone().reconstruct(&mine, &[0]).is_ok());
    }

    #[test]
    fn any_k_checked_shards_bring_any_others((k, m, stripe, order, a, _) in case()) {
        let codec = Codec::new(k, m).unwrap();
        let shards = codec.encode_hashed(&stripe, 1).unwrap();
        let addresses = addresses(&codec, &shards);
        let left = checked(&addresses, &shards, &order[..k]);
        let wanted = &order[a % (k + m)..];
        let expected: Vec<Bytes> = wanted.iter().map(|index| shards[*index].bytes.clone()).collect();
        prop_assert_eq!(addresses.reconstruct(&left, wanted).unwrap(), expected);
    }
}
