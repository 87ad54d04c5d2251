//! Receipts: a miner's signed word that a shard is durable on its disk.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{
    domain,
    ids::{Epoch, GenesisHash, NodeId, PgId, ShardHash, Signature, StripeId},
};

/// What a miner vouches for.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Receipt {
    /// Address of the shard.
    pub shard: ShardHash,
    /// Length of the shard in bytes.
    pub size: u32,
    /// Stripe the shard belongs to.
    pub stripe: StripeId,
    /// Placement group of the stripe under the map of `epoch`.
    pub pg: PgId,
    /// Position of the shard in the stripe, `0..k + m`.
    pub index: u8,
    /// Epoch of the map that placed it.
    pub epoch: Epoch,
    /// The miner.
    pub node_id: NodeId,
    /// When the shard became durable, milliseconds since the Unix epoch.
    pub stored_at: u64,
}

impl Receipt {
    /// The bytes the miner signs.
    pub fn message(&self, genesis: &GenesisHash) -> Vec<u8> {
        domain::message(domain::RECEIPT, genesis, self)
    }
}

/// A receipt with its miner's signature over [`Receipt::message`].
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct SignedReceipt {
    /// What is vouched for.
    pub receipt: Receipt,
    /// Ed25519, by `receipt.node_id`.
    pub signature: Signature,
}
