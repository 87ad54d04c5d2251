//! The root of a snapshot: what the chain names. It opens the tree, and says what is in it.
//!
//! # Invariants
//! - A root opens with the operator's secret for one chain, one locator and one sequence number: nobody can put an old root in the
//!   place of a new one.
//! - All roots of a network have the same length, whatever they stand for.

use arion_crypto::OperatorSecret;
use arion_types::{GenesisHash, ShardHash};
use codec::{Decode, DecodeAll, Encode};

use super::{
    anchor::Anchored,
    node::{NodeRef, open_padded, padded_len, seal_padded, sealed_len},
};
use crate::manifest::StripeRecord;

/// Version of the form of roots.
pub const VERSION: u8 = 1;
/// Version and nonce, which are not sealed.
const HEADER_BYTES: usize = 33;
/// Longest root: of a stripe of 255 shards.
const ROOT_BYTES_MAX: usize = 16 << 10;

/// What a snapshot holds, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Summary {
    /// Rows, pieces of long ones counted once.
    pub rows: u64,
    /// Buckets.
    pub buckets: u64,
    /// Keys with an object that is seen without naming a version.
    pub objects: u64,
    /// Other versions and delete markers.
    pub versions: u64,
    /// Uploads in parts that are not complete.
    pub uploads: u64,
    /// Stripes of objects.
    pub stripes: u64,
    /// Bytes of plaintext, each once however many copies refer to them.
    pub bytes: u64,
}

/// What a root says.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Root {
    /// Layout of the metadata whose rows these are.
    pub layout: u32,
    /// When the metadata were so, milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// What is in it.
    pub summary: Summary,
    /// The node above all others.
    pub top: NodeRef,
}

/// Where a root belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootPlace {
    /// Hash of block 0 of the chain that names it.
    pub genesis: GenesisHash,
    /// The public key under which the chain does.
    pub locator: [u8; 32],
    /// Its number there.
    pub sequence: u64,
}

/// Why a root does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RootFault {
    /// Impossible lengths.
    #[error("it has {0} bytes, which no root has")]
    Length(usize),
    /// A later form.
    #[error("it has version {0}; this program reads {VERSION}: use the one that wrote it")]
    Version(u8),
    /// Changed, or sealed for another chain, locator or number, or under another secret.
    #[error("it does not open: it was changed, or belongs to another snapshot")]
    Sealed,
    /// It opens, and does not decode.
    #[error("it does not decode")]
    Malformed,
}

impl RootPlace {
    fn key(&self, secret: &OperatorSecret, nonce: &[u8]) -> arion_crypto::DataKey {
        let place = [nonce, &self.genesis, &self.locator, &self.sequence.to_le_bytes()].concat();
        secret.snapshot_root_key(&place)
    }
}

impl Root {
    /// The bytes that are stored; `nonce` is fresh.
    pub fn seal(&self, secret: &OperatorSecret, place: &RootPlace, nonce: [u8; 32]) -> Vec<u8> {
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        let body = self.encode();
        let plain = [&(body.len() as u32).to_le_bytes()[..], &body].concat();
        sealed.extend_from_slice(&seal_padded(&plain, &place.key(secret, &nonce)));
        sealed
    }

    /// From the bytes that were stored.
    pub fn open(bytes: &[u8], secret: &OperatorSecret, place: &RootPlace) -> Result<Self, RootFault> {
        if bytes.len() <= HEADER_BYTES || bytes.len() > ROOT_BYTES_MAX {
            return Err(RootFault::Length(bytes.len()));
        }
        let (header, sealed) = bytes.split_at(HEADER_BYTES);
        if header[0] != VERSION {
            return Err(RootFault::Version(header[0]));
        }
        let mut sealed = sealed.to_vec();
        let key = place.key(secret, &header[1..]);
        let plain = open_padded(&mut sealed, &key).map_err(|_| RootFault::Sealed)?;
        let (len, rest) = plain.split_first_chunk::<4>().ok_or(RootFault::Malformed)?;
        let len = u32::from_le_bytes(*len) as usize;
        let body = rest.get(..len).ok_or(RootFault::Malformed)?;
        let is_padded = padded_len(len + 4) == plain.len() && rest[len..].iter().all(|byte| *byte == 0);
        if !is_padded || sealed_len(plain.len()) != sealed.len() {
            return Err(RootFault::Malformed);
        }
        Self::decode_all(&mut &*body).map_err(|_| RootFault::Malformed)
    }
}

/// The stripe that an anchor names: k = 1, so that all shards are the root itself, at the address that the chain has.
pub fn stripe(anchored: &Anchored, shards: usize) -> Option<StripeRecord> {
    let len = anchored.root_len;
    if len as usize > ROOT_BYTES_MAX {
        return None;
    }
    let hashes = vec![ShardHash(anchored.root); shards];
    Some(StripeRecord { epoch: anchored.epoch, len, shard_len: len, data_shards: 1, hashes })
}
