//! Keys as bytes whose order is that of the keys, for engines that know bytes only.
//!
//! | part | bytes |
//! |---|---|
//! | text | its UTF-8, each byte 0 followed by 1, then 0 0 |
//! | integer | big-endian |
//! | fixed bytes | as they are |
//!
//! A key of several parts is their bytes one behind the other. No key's bytes begin with those of another one.

/// A key: what redb makes of it, and the same in ordered bytes.
pub(crate) trait Key: redb::Key + 'static {
    /// What owns what the key borrows.
    type Owned;

    /// Appends the ordered bytes.
    fn put(key: &Self::SelfType<'_>, out: &mut Vec<u8>);

    /// Takes a key off the front of ordered bytes.
    fn take(bytes: &mut &[u8]) -> Option<Self::Owned>;

    /// The key itself.
    fn lend(owned: &Self::Owned) -> Self::SelfType<'_>;

    /// The bytes that redb knows the key by; none for bytes that are no key.
    fn native(mut ordered: &[u8]) -> Option<Vec<u8>> {
        let owned = Self::take(&mut ordered)?;
        ordered.is_empty().then(|| Self::as_bytes(&Self::lend(&owned)).as_ref().to_vec())
    }
}

/// The ordered bytes of a key.
pub(super) fn ordered<K: Key>(key: &K::SelfType<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    K::put(key, &mut out);
    out
}

impl Key for &'static str {
    type Owned = String;

    fn put(key: &&str, out: &mut Vec<u8>) {
        for byte in key.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(1);
            }
        }
        out.extend_from_slice(&[0, 0]);
    }

    fn take(bytes: &mut &[u8]) -> Option<String> {
        let mut text = Vec::new();
        loop {
            match **bytes {
                [0, 0, ..] => break,
                [0, 1, ..] => {
                    text.push(0);
                    *bytes = &bytes[2..];
                }
                [0, ..] | [] => return None,
                [byte, ..] => {
                    text.push(byte);
                    *bytes = &bytes[1..];
                }
            }
        }
        *bytes = &bytes[2..];
        String::from_utf8(text).ok()
    }

    fn lend(owned: &String) -> &str {
        owned
    }
}

macro_rules! integers {
    ($($integer:ty),*) => { $(
        impl Key for $integer {
            type Owned = Self;

            fn put(key: &Self, out: &mut Vec<u8>) {
                out.extend_from_slice(&key.to_be_bytes());
            }

            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (first, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_be_bytes(*first))
            }

            fn lend(owned: &Self) -> Self {
                *owned
            }
        }
    )* };
}

integers!(u8, u32, u64);

impl<const N: usize> Key for [u8; N] {
    type Owned = Self;

    fn put(key: &Self, out: &mut Vec<u8>) {
        out.extend_from_slice(key);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*first)
    }

    fn lend(owned: &Self) -> Self {
        *owned
    }
}

macro_rules! tuples {
    ($(($($part:ident $at:tt),*)),*) => { $(
        impl<$($part: Key),*> Key for ($($part,)*) {
            type Owned = ($($part::Owned,)*);

            fn put(key: &Self::SelfType<'_>, out: &mut Vec<u8>) {
                $($part::put(&key.$at, out);)*
            }

            fn take(bytes: &mut &[u8]) -> Option<Self::Owned> {
                Some(($($part::take(bytes)?,)*))
            }

            fn lend(owned: &Self::Owned) -> Self::SelfType<'_> {
                ($($part::lend(&owned.$at),)*)
            }
        }
    )* };
}

tuples!((A 0, B 1), (A 0, B 1, C 2));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::Value as _;

    use super::*;

    type Triple = (&'static str, &'static str, u64);

    fn triple(key: &(String, String, u64)) -> Vec<u8> {
        ordered::<Triple>(&(key.0.as_str(), key.1.as_str(), key.2))
    }

    proptest! {
        #[test]
        fn bytes_order_as_keys_do_and_come_back(
            a in ("[\0\u{1}a\u{ff}]{0,4}", "[\0\u{1}b]{0,4}", 0..3u64),
            b in ("[\0\u{1}a\u{ff}]{0,4}", "[\0\u{1}b]{0,4}", 0..3u64),
        ) {
            let (left, right) = (triple(&a), triple(&b));
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
            prop_assert!(a == b || !right.starts_with(&left));
            let native = Triple::native(&left).unwrap();
            prop_assert_eq!(Triple::from_bytes(&native), (a.0.as_str(), a.1.as_str(), a.2));
            // The order of the other engine.
            let other = Triple::native(&right).unwrap();
            prop_assert_eq!(<Triple as redb::Key>::compare(&native, &other), a.cmp(&b));
        }
    }

    #[test]
    fn bytes_that_are_no_key_are_none() {
        for bytes in [&b""[..], b"a", b"a\0", b"a\0\x02", b"\xff\0\0", b"a\0\0b"] {
            assert_eq!(<&str>::native(bytes), None, "{bytes:?}");
        }
        assert_eq!(u32::native(&[0; 3]), None);
        assert_eq!(<[u8; 16]>::native(&[0; 17]), None);
        assert_eq!(u32::native(&[0, 0, 1, 2]), Some(258u32.to_le_bytes().to_vec()));
    }
}
