//! The checked way in: shards of a stripe are compared with its addresses before anything is decoded.
//!
//! # Invariants
//! - A [`CheckedShard`] has the length of its stripe's shards and is the one that its index stands for; only
//!   [`Addresses::check`] makes one, and [`Addresses::adopt`] another of it.
//! - [`Addresses::reconstruct`] takes nothing else, and only shards of its own stripe.

use std::{fmt, sync::Arc};

use arion_types::ShardHash;
use bytes::Bytes;

use crate::{Codec, Error, check_length, hashed::address};

/// What the shards of a stripe have to be. Clones are the same stripe.
#[derive(Clone)]
pub struct Addresses {
    inner: Arc<Inner>,
}

struct Inner {
    codec: Codec,
    hashes: Vec<ShardHash>,
    shard_len: usize,
}

/// A shard that was compared with its address.
#[derive(Clone)]
pub struct CheckedShard {
    stripe: Addresses,
    index: usize,
    bytes: Bytes,
}

impl Codec {
    /// The addresses of a stripe: BLAKE3 of each of its k + m shards, and the bytes that each has.
    ///
    /// # Errors
    /// [`Error::Positions`] unless there are k + m, [`Error::EmptyStripe`] and [`Error::StripeTooLong`] for a length that
    /// shards cannot have.
    pub fn addresses(&self, hashes: Vec<ShardHash>, shard_len: usize) -> Result<Addresses, Error> {
        if hashes.len() != self.shards() {
            return Err(Error::Positions { found: hashes.len(), expected: self.shards() });
        }
        self.layout(shard_len.saturating_mul(self.k))?;
        Ok(Addresses { inner: Arc::new(Inner { codec: self.clone(), hashes, shard_len }) })
    }
}

impl Addresses {
    /// Bytes of each shard.
    pub fn shard_len(&self) -> usize {
        self.inner.shard_len
    }

    /// Takes `bytes` for the shard at `index` if that is what they are.
    ///
    /// # Errors
    /// [`Error::Index`], [`Error::ShardLength`], [`Error::Content`].
    pub fn check(&self, index: usize, bytes: Bytes) -> Result<CheckedShard, Error> {
        let Inner { hashes, shard_len, .. } = &*self.inner;
        let hash = hashes.get(index).ok_or(Error::Index { index, shards: hashes.len() })?;
        check_length(index, &bytes, *shard_len)?;
        if address(&bytes) != *hash {
            return Err(Error::Content { index });
        }
        Ok(CheckedShard { stripe: self.clone(), index, bytes })
    }

    /// Takes a shard that was compared with the same address before, in this stripe or in another, for the one at `index`.
    pub fn adopt(&self, index: usize, shard: &CheckedShard) -> Option<CheckedShard> {
        let Inner { hashes, shard_len, .. } = &*self.inner;
        let known = shard.stripe.inner.hashes.get(shard.index)?;
        let is_same = hashes.get(index) == Some(known) && shard.bytes.len() == *shard_len;
        is_same.then(|| CheckedShard { stripe: self.clone(), index, bytes: shard.bytes.clone() })
    }

    /// The shards at the positions `wanted`, in that order: those that are among `shards` as they are, the others, data or
    /// parity, computed from any k of them.
    ///
    /// # Errors
    /// [`Error::Index`] for a position beyond k + m, [`Error::OtherStripe`], [`Error::TooFewShards`] where something has to
    /// be computed.
    pub fn reconstruct(&self, shards: &[CheckedShard], wanted: &[usize]) -> Result<Vec<Bytes>, Error> {
        let codec = &self.inner.codec;
        let mut known = vec![None; codec.shards()];
        for shard in shards {
            if !Arc::ptr_eq(&self.inner, &shard.stripe.inner) {
                return Err(Error::OtherStripe { index: shard.index });
            }
            known[shard.index] = Some(shard.bytes.clone());
        }
        codec.reconstruct(&mut known, wanted)?;
        // All wanted are there now.
        Ok(wanted.iter().filter_map(|index| known[*index].clone()).collect())
    }
}

impl CheckedShard {
    /// Its position among the shards of the stripe.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { codec, shard_len, .. } = &*self.inner;
        write!(f, "Addresses({} + {} shards of {shard_len} bytes)", codec.k, codec.m)
    }
}

impl fmt::Debug for CheckedShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedShard({}, {} bytes)", self.index, self.bytes.len())
    }
}
