//! Heartbeats: a miner tells the validator services that it lives, where, and how full it is.

use arion_types::{GenesisHash, NodeId, Signature, domain, map::Endpoint, signing};
use codec::{Decode, Encode};
use ed25519_dalek::SigningKey;

/// What a miner reports. Sequence and time only grow, so that an old heartbeat cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Heartbeat {
    /// The miner.
    pub node_id: NodeId,
    /// Where it is reached.
    pub endpoint: Endpoint,
    /// Bytes it offers for shards.
    pub capacity_bytes: u64,
    /// Bytes of shards it holds.
    pub used_bytes: u64,
    /// Shards it holds.
    pub shard_count: u64,
    /// Whether it is being emptied.
    pub draining: bool,
    /// Version of the software: major, minor, patch.
    pub version: (u16, u16, u16),
    /// When it was sent, milliseconds since the Unix epoch; strictly increasing per miner.
    pub sent_at: u64,
}

/// A heartbeat signed over `domain::HEARTBEAT || genesis || SCALE(heartbeat)` by its `node_id`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedHeartbeat {
    /// The report.
    pub heartbeat: Heartbeat,
    /// Ed25519, by `heartbeat.node_id`.
    pub signature: Signature,
}

impl Heartbeat {
    /// Signs the report with the key of `node_id`.
    pub fn sign(self, genesis: &GenesisHash, key: &SigningKey) -> SignedHeartbeat {
        let signature = signing::sign(key, &domain::message(domain::HEARTBEAT, genesis, &self));
        SignedHeartbeat { heartbeat: self, signature }
    }
}

impl SignedHeartbeat {
    /// Whether the miner named in the report signed it for this chain.
    pub fn verify(&self, genesis: &GenesisHash) -> bool {
        let message = domain::message(domain::HEARTBEAT, genesis, &self.heartbeat);
        signing::verify(&self.heartbeat.node_id.0, &message, &self.signature)
    }
}
