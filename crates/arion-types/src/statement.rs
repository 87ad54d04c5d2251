//! What a gateway states of an object: which stripes it is in, and what clients know it by.
//!
//! With the receipts of miners for these stripes it is a proof that the object was stored (docs/spec/receipt.md).

use alloc::{string::String, vec::Vec};
use codec::{Decode, Encode};

use crate::{
    domain,
    ids::{Epoch, GenesisHash, NodeId, StripeId},
};

/// A stripe, as far as its id does not say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct StatedStripe {
    /// Its id, which follows from the addresses of its shards.
    pub stripe: StripeId,
    /// Epoch of the map that placed it.
    pub epoch: Epoch,
    /// Bytes of ciphertext in it.
    pub len: u32,
    /// Bytes of each shard.
    pub shard_len: u32,
    /// Shards that are enough to read it.
    pub data_shards: u8,
    /// Shards it has.
    pub shards: u8,
}

/// A part of an object: one encrypted stream.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct StatedPart {
    /// Bytes of plaintext.
    pub size: u64,
    /// Bytes of ciphertext: all of its stripes, or some of the only one, which it shares with others.
    pub stored: u64,
    /// Where they begin in the only stripe, if it is shared; else 0.
    pub offset: u32,
    /// Its stripes, in order.
    pub stripes: Vec<StatedStripe>,
}

/// What a gateway states of an object.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ObjectStatement {
    /// The gateway: the key that signs.
    pub gateway: NodeId,
    /// When it was stated, milliseconds since the Unix epoch.
    pub stated_ms: u64,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version, where the bucket keeps versions.
    pub version: Option<String>,
    /// Bytes of plaintext.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
    /// Checksums of S3 by name, in order of name.
    pub checksums: Vec<(String, String)>,
    /// When it was written, milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Its parts, in order.
    pub parts: Vec<StatedPart>,
}

impl ObjectStatement {
    /// The bytes that the gateway signs.
    pub fn message(&self, genesis: &GenesisHash) -> Vec<u8> {
        domain::message(domain::STATEMENT, genesis, self)
    }
}
