//! Stripes to shards and back: systematic Reed-Solomon over GF(2^8).
//!
//! A stripe is cut into k data shards of equal length, the last ones padded with zeros, and gets m parity
//! shards; any k of the k + m bring it back. Parity bytes equal those of `reed-solomon-erasure` 6 (Vandermonde
//! matrix made systematic, polynomial 0x11d): shards that are stored outlive the crate that computed them.
//!
//! ```
//! let codec = arion_erasure::Codec::new(10, 20)?;
//! let stripe = bytes::Bytes::from_static(b"any twenty of the thirty shards may vanish");
//! let mut shards: Vec<_> = codec.encode(stripe.clone())?.into_iter().map(Some).collect();
//! shards[..20].fill(None);
//! codec.reconstruct_data(&mut shards)?;
//! assert_eq!(codec.join(&shards, stripe.len())?, stripe);
//! # Ok::<(), arion_erasure::Error>(())
//! ```
//!
//! # Invariants
//! - Pure: the same stripe gives the same shards on every machine, whatever its instruction set.
//! - A shard is 1 byte to 1 MiB long; nothing is allocated beyond k + m shards, besides a few buffers that are
//!   used again.
//! - Computed shards have memory of their own each.
//!
//! # Not here
//! Placement (`crush`), stripe ids (`arion_types::stripe`). A [`Codec`] can not tell whether a shard is the right one:
//! shards from elsewhere go through [`Addresses`], which compares each with its BLAKE3 first.
//!
//! Why this code: docs/adr/0001-erasure-crate.md; frozen by crates/arion-erasure/vectors/parity.json.

mod addresses;
#[cfg(any(test, feature = "checks"))]
pub mod checks;
mod field;
mod hashed;
mod inverses;
mod kernel;
mod matrix;
mod pool;

use std::sync::Arc;

use arion_types::units::SHARD_BYTES_MAX;
use bytes::Bytes;

pub use crate::{
    addresses::{Addresses, CheckedShard},
    hashed::{Shard, THREADS_MAX},
    pool::FREE_BYTES_MAX,
};
use crate::{
    inverses::Inverses,
    kernel::Tables,
    matrix::Matrix,
    pool::{Buffer, Pool},
};

/// Largest k + m.
pub const SHARDS_MAX: usize = 255;

/// Why a stripe can not be encoded or brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// k or m is 0, or k + m is beyond [`SHARDS_MAX`].
    #[error("k = {k}, m = {m} is no code: choose both at least 1 and k + m at most 255")]
    Code {
        /// Data shards.
        k: usize,
        /// Parity shards.
        m: usize,
    },
    /// A stripe of no bytes: there is nothing to store.
    #[error("the stripe is empty: an object without bytes has no stripes")]
    EmptyStripe,
    /// The shards of the stripe would be beyond 1 MiB.
    #[error("a stripe of {length} bytes is beyond {max}: cut it into more stripes")]
    StripeTooLong {
        /// Bytes of the stripe.
        length: usize,
        /// Most bytes of a stripe in this code.
        max: usize,
    },
    /// Not k + m positions.
    #[error("{found} shard positions given, the code has {expected}: pass missing shards as None")]
    Positions {
        /// Positions given.
        found: usize,
        /// k + m.
        expected: usize,
    },
    /// A shard has another length than the stripe's shards have.
    #[error("shard {index} has {found} bytes, not {expected}: drop it and fetch it again")]
    ShardLength {
        /// Position of the shard.
        index: usize,
        /// Its bytes.
        found: usize,
        /// Bytes every shard of the stripe has.
        expected: usize,
    },
    /// A position beyond k + m.
    #[error("there is no shard {index} among {shards}: count from 0")]
    Index {
        /// The position.
        index: usize,
        /// k + m.
        shards: usize,
    },
    /// The bytes are not the shard's: rotten, forged, or those of another position.
    #[error("shard {index} does not hash to its address: drop it and fetch it from elsewhere")]
    Content {
        /// Position of the shard.
        index: usize,
    },
    /// A shard was checked against the addresses of another stripe.
    #[error("shard {index} was checked for another stripe: check it against this one's addresses")]
    OtherStripe {
        /// Position of the shard.
        index: usize,
    },
    /// Fewer than k shards are left.
    #[error("{present} shards are left of the {needed} that are needed: fetch more")]
    TooFewShards {
        /// Shards at hand.
        present: usize,
        /// k.
        needed: usize,
    },
    /// A data shard is missing where the stripe is joined.
    #[error("data shard {index} is missing: reconstruct before joining")]
    MissingDataShard {
        /// Position of the shard.
        index: usize,
    },
    /// The matrix of the chosen shards has no inverse, which the construction excludes.
    #[error("the decoding matrix is singular: please report this as a bug")]
    Singular,
}

/// Lengths of a stripe and its shards, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StripeLayout {
    /// Bytes of the stripe, at least 1.
    pub stripe_len: usize,
    /// Bytes of each of its k + m shards: stripe_len / k rounded up.
    pub shard_len: usize,
    /// Zeros behind the stripe's last byte, up to k * shard_len.
    pub padding: usize,
}

impl StripeLayout {
    /// Where byte `offset` of the stripe lies: (data shard, byte in it).
    pub fn locate(&self, offset: usize) -> (usize, usize) {
        (offset / self.shard_len, offset % self.shard_len)
    }
}

/// A Reed-Solomon code. Cheap to clone, shareable between threads.
#[derive(Clone)]
pub struct Codec {
    k: usize,
    m: usize,
    inner: Arc<Inner>,
}

struct Inner {
    parity: Matrix,
    encode: Tables,
    inverses: Inverses,
    buffers: Arc<Pool>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Codec({}, {})", self.k, self.m)
    }
}

impl Codec {
    /// The code of `k` data and `m` parity shards.
    ///
    /// # Errors
    /// [`Error::Code`] unless both are at least 1 and k + m at most 255.
    pub fn new(k: usize, m: usize) -> Result<Self, Error> {
        let refused = Error::Code { k, m };
        if k == 0 || m == 0 || k.saturating_add(m) > SHARDS_MAX {
            return Err(refused);
        }
        let parity = Matrix::parity(k, m).ok_or(refused)?;
        let encode = Tables::new(&parity);
        let inner = Inner { parity, encode, inverses: Inverses::default(), buffers: Arc::default() };
        Ok(Self { k, m, inner: Arc::new(inner) })
    }

    /// Data shards, k.
    pub fn data_shards(&self) -> usize {
        self.k
    }

    /// Parity shards, m.
    pub fn parity_shards(&self) -> usize {
        self.m
    }

    /// All shards, k + m.
    pub fn shards(&self) -> usize {
        self.k + self.m
    }

    /// Most bytes of one stripe: k shards of 1 MiB.
    pub fn stripe_len_max(&self) -> usize {
        self.k * SHARD_BYTES_MAX as usize
    }

    /// Lengths for a stripe of `stripe_len` bytes.
    ///
    /// # Errors
    /// [`Error::EmptyStripe`], [`Error::StripeTooLong`].
    pub fn layout(&self, stripe_len: usize) -> Result<StripeLayout, Error> {
        if stripe_len == 0 {
            return Err(Error::EmptyStripe);
        }
        if stripe_len > self.stripe_len_max() {
            return Err(Error::StripeTooLong { length: stripe_len, max: self.stripe_len_max() });
        }
        let shard_len = stripe_len.div_ceil(self.k);
        Ok(StripeLayout { stripe_len, shard_len, padding: shard_len * self.k - stripe_len })
    }

    /// The k + m shards of `stripe`, in order of index. Data shards are parts of the stripe's own memory, but
    /// for those that reach beyond its end: who keeps one keeps the stripe ([`Codec::encode_hashed`] copies them). Parity
    /// shards have a buffer each, which is used again when they are dropped.
    ///
    /// # Errors
    /// As [`Codec::layout`].
    pub fn encode(&self, stripe: Bytes) -> Result<Vec<Bytes>, Error> {
        let StripeLayout { shard_len, .. } = self.layout(stripe.len())?;
        let mut shards: Vec<Bytes> = (0..self.k)
            .map(|index| {
                let start = (index * shard_len).min(stripe.len());
                let end = (start + shard_len).min(stripe.len());
                let shard = stripe.slice(start..end);
                if shard.len() == shard_len { shard } else { padded(&shard, shard_len) }
            })
            .collect();
        let data: Vec<&[u8]> = shards.iter().map(AsRef::as_ref).collect();
        let parity = self.multiply(&self.inner.encode, &data, shard_len);
        shards.extend(parity);
        Ok(shards)
    }

    /// Writes the parity of `data` to `parity`, for callers with buffers of their own.
    ///
    /// # Errors
    /// [`Error::Positions`] unless there are k and m of them, [`Error::ShardLength`] where lengths differ.
    pub fn encode_into(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), Error> {
        let found = data.len() + parity.len();
        if data.len() != self.k || parity.len() != self.m {
            return Err(Error::Positions { found, expected: self.shards() });
        }
        let expected = data[0].len();
        for (index, shard) in data.iter().copied().chain(parity.iter().map(|shard| &**shard)).enumerate() {
            check_length(index, shard, expected)?;
        }
        self.inner.encode.apply(data, parity);
        Ok(())
    }

    /// Fills those of the positions `wanted` that are missing, from any k of the others.
    ///
    /// The shards given must be right: where that is not certain use [`Addresses::reconstruct`].
    ///
    /// # Errors
    /// [`Error::Index`] for a position beyond k + m, [`Error::Positions`], [`Error::ShardLength`] where lengths differ,
    /// [`Error::TooFewShards`] where something is missing.
    pub fn reconstruct(&self, shards: &mut [Option<Bytes>], wanted: &[usize]) -> Result<(), Error> {
        let shard_len = self.check(shards)?;
        if let Some(index) = wanted.iter().copied().find(|index| *index >= self.shards()) {
            return Err(Error::Index { index, shards: self.shards() });
        }
        let mut missing: Vec<usize> =
            wanted.iter().copied().filter(|index| shards[*index].is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let present = shards.iter().flatten().count();
        if present < self.k {
            return Err(Error::TooFewShards { present, needed: self.k });
        }
        let (sources, present): (Vec<usize>, Vec<&[u8]>) = shards
            .iter()
            .enumerate()
            .filter_map(|(index, shard)| Some((index, shard.as_deref()?)))
            .take(self.k)
            .unzip();
        let rebuilt = if sources.iter().copied().eq(0..self.k) {
            // All data is there: parity follows from it without an inverse.
            let rows: Vec<usize> = missing.iter().map(|index| index - self.k).collect();
            self.multiply(&Tables::new(&self.inner.parity.select(&rows)), &present, shard_len)
        } else {
            let tables = self.inner.inverses.tables(&sources, &missing, || {
                let generator =
                    |rows: &[usize]| Matrix::generator_rows(&self.inner.parity, rows.iter().copied());
                Some(Tables::new(&generator(&missing).times(&generator(&sources).inverse()?)))
            });
            let tables = tables.ok_or(Error::Singular)?;
            self.multiply(&tables, &present, shard_len)
        };
        for (index, shard) in missing.into_iter().zip(rebuilt) {
            shards[index] = Some(shard);
        }
        Ok(())
    }

    /// Fills the missing data shards (positions 0..k); missing parity shards stay `None`.
    ///
    /// # Errors
    /// As [`Codec::reconstruct`].
    pub fn reconstruct_data(&self, shards: &mut [Option<Bytes>]) -> Result<(), Error> {
        self.reconstruct(shards, &Vec::from_iter(0..self.k))
    }

    /// Fills all missing shards.
    ///
    /// # Errors
    /// As [`Codec::reconstruct`].
    pub fn reconstruct_all(&self, shards: &mut [Option<Bytes>]) -> Result<(), Error> {
        self.reconstruct(shards, &Vec::from_iter(0..self.shards()))
    }

    /// The rows of a matrix times `sources`, one shard for each row.
    fn multiply(&self, tables: &Tables, sources: &[&[u8]], shard_len: usize) -> Vec<Bytes> {
        let mut buffers: Vec<Buffer> =
            (0..tables.rows()).map(|_| self.inner.buffers.take(shard_len)).collect();
        let mut targets: Vec<&mut [u8]> = buffers.iter_mut().map(AsMut::as_mut).collect();
        tables.apply(sources, &mut targets);
        buffers.into_iter().map(Buffer::freeze).collect()
    }

    /// The stripe of `stripe_len` bytes from its data shards (positions 0..k; any others are not looked at).
    ///
    /// # Errors
    /// [`Error::MissingDataShard`], [`Error::ShardLength`], or as [`Codec::layout`].
    pub fn join<S: AsRef<[u8]>>(&self, shards: &[Option<S>], stripe_len: usize) -> Result<Vec<u8>, Error> {
        let layout = self.layout(stripe_len)?;
        if shards.len() < self.k {
            return Err(Error::Positions { found: shards.len(), expected: self.shards() });
        }
        let mut stripe = Vec::with_capacity(layout.shard_len * self.k);
        for (index, shard) in shards[..self.k].iter().enumerate() {
            let shard = shard.as_ref().ok_or(Error::MissingDataShard { index })?.as_ref();
            check_length(index, shard, layout.shard_len)?;
            stripe.extend_from_slice(shard);
        }
        stripe.truncate(stripe_len);
        Ok(stripe)
    }

    /// Length of the shards, if they can be worked with.
    fn check(&self, shards: &[Option<Bytes>]) -> Result<usize, Error> {
        if shards.len() != self.shards() {
            return Err(Error::Positions { found: shards.len(), expected: self.shards() });
        }
        let shard_len = shards.iter().flatten().next().map_or(1, |shard| shard.len().max(1));
        for (index, shard) in shards.iter().enumerate() {
            if let Some(shard) = shard {
                check_length(index, shard, shard_len)?;
            }
        }
        Ok(shard_len)
    }
}

fn padded(shard: &[u8], shard_len: usize) -> Bytes {
    let mut whole = Vec::with_capacity(shard_len);
    whole.extend_from_slice(shard);
    whole.resize(shard_len, 0);
    whole.into()
}

fn check_length(index: usize, shard: &[u8], expected: usize) -> Result<(), Error> {
    if shard.len() == expected {
        return Ok(());
    }
    Err(Error::ShardLength { index, found: shard.len(), expected })
}
