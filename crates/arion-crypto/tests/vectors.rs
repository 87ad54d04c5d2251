//! Frozen vectors, computed with another implementation (OpenSSL through pyca/cryptography): what is stored
//! today must open tomorrow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use arion_crypto::{
    AccountKey, BucketKey, CustomerKey, DataKey, Decryptor, Encryptor, OperatorSecret, WrappedKey, Wrapping,
    ciphertext_len,
    layout::{SEALED_BYTES, segment_count},
    segment_range,
};
use codec::{DecodeAll, Encode};
use serde::Deserialize;

fn key(digits: &str) -> [u8; 32] {
    hex::decode(digits).unwrap().try_into().unwrap()
}

fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

fn seal(key: &DataKey, plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    let mut encryptor = Encryptor::new(key);
    encryptor.update(plain, &mut sealed).unwrap();
    encryptor.finish(&mut sealed).unwrap();
    sealed
}

#[test]
fn streams() {
    #[derive(Deserialize)]
    struct Vector {
        data_key: String,
        plain_len: u64,
        ciphertext_len: u64,
        ciphertext_sha256: String,
        last_tag: String,
    }
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/stream.json")).unwrap();
    assert_eq!(vectors.len(), 6);
    for vector in vectors {
        let sealed = seal(&DataKey::from_bytes(key(&vector.data_key)), &pattern(vector.plain_len));
        assert_eq!(ciphertext_len(vector.plain_len), vector.ciphertext_len);
        assert_eq!(sealed.len() as u64, vector.ciphertext_len);
        assert_eq!(hex::encode(&sealed[sealed.len() - 16..]), vector.last_tag, "{} bytes", vector.plain_len);
        let digest = ring::digest::digest(&ring::digest::SHA256, &sealed);
        assert_eq!(hex::encode(digest), vector.ciphertext_sha256, "{} bytes", vector.plain_len);
    }
}

#[test]
fn account_keys() {
    #[derive(Deserialize)]
    struct Vector {
        secret: String,
        generation: String,
        account: String,
        account_key: String,
        key_id: String,
    }
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/account.json")).unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let secret = OperatorSecret::from_bytes(key(&vector.secret));
        assert_eq!(secret.id().to_string(), vector.generation);
        let derived = secret.account_key(&vector.account);
        assert_eq!(derived.id().to_string(), vector.key_id);
        assert_eq!(AccountKey::from_bytes(key(&vector.account_key)).id(), derived.id());
    }
}

#[test]
fn fingerprints() {
    #[derive(Deserialize)]
    struct Vector {
        key: String,
        plain: String,
        fingerprint: String,
    }
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/fingerprint.json")).unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let mut fingerprinter = BucketKey::from_bytes(key(&vector.key)).fingerprinter();
        fingerprinter.update(&hex::decode(&vector.plain).unwrap());
        assert_eq!(hex::encode(fingerprinter.finish()), vector.fingerprint);
    }
}

#[test]
fn wrapped_keys() {
    #[derive(Deserialize)]
    struct Vector {
        wrapping: u8,
        upper: String,
        lower: String,
        context: String,
        wrapped: String,
    }
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/wrap.json")).unwrap();
    assert_eq!(vectors.len(), 4);
    // Data keys do not show their bytes: equal keys seal equally.
    let same = |opened: &DataKey, lower: &str| {
        assert_eq!(seal(opened, b"same key"), seal(&DataKey::from_bytes(key(lower)), b"same key"));
    };
    for vector in vectors {
        let bytes = hex::decode(&vector.wrapped).unwrap();
        let wrapped = WrappedKey::decode_all(&mut &bytes[..]).unwrap();
        assert_eq!(wrapped.encode(), bytes);
        let (upper, context) = (key(&vector.upper), hex::decode(&vector.context).unwrap());
        match wrapped.wrapping() {
            Wrapping::Bucket => {
                let opened = AccountKey::from_bytes(upper).unwrap(&wrapped, &context).unwrap();
                assert_eq!(opened.id(), BucketKey::from_bytes(key(&vector.lower)).id());
            }
            Wrapping::Data => {
                same(&BucketKey::from_bytes(upper).unwrap(&wrapped, &context).unwrap(), &vector.lower)
            }
            Wrapping::Customer => {
                same(&CustomerKey::from_bytes(upper).unwrap(&wrapped, &context).unwrap(), &vector.lower)
            }
        }
        assert_eq!(bytes[..2], [2, vector.wrapping]);
    }
}

#[test]
fn any_range_opens_from_just_its_segments() {
    let key = DataKey::from_bytes([9; 32]);
    let plain = pattern(200_001);
    let sealed = seal(&key, &plain);
    let decryptor = Decryptor::new(&key);
    let last = segment_count(200_001) - 1;
    for range in [0..1, 65_535..65_537, 65_536..131_072, 196_608..200_001, 0..200_001] {
        let (segments, bytes) = segment_range(range.clone(), 200_001);
        let mut fetched = sealed[bytes.start as usize..bytes.end as usize].to_vec();
        let mut opened = Vec::new();
        for (number, segment) in segments.clone().zip(fetched.chunks_mut(SEALED_BYTES)) {
            opened.extend_from_slice(decryptor.open(number, number == last, segment).unwrap());
        }
        let skipped = (range.start - segments.start * 65_536) as usize;
        let wanted = &plain[range.start as usize..range.end as usize];
        assert_eq!(&opened[skipped..skipped + wanted.len()], wanted);
    }
}
