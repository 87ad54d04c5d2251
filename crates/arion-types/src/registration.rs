//! Messages that prove a node key's consent to be registered, and the kinds of node.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{domain, ids::GenesisHash};

/// What a node does for the network.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum NodeType {
    /// Runs the validator service: takes heartbeats, builds maps.
    #[codec(index = 0)]
    Validator,
    /// Stores shards. Registered through `pallet-arion::register_child` only.
    #[codec(index = 1)]
    StorageMiner,
    /// Serves users and writes shards to miners.
    #[codec(index = 2)]
    Gateway,
    /// Runs compute work.
    #[codec(index = 3)]
    ComputeMiner,
    /// Audits storage miners. Its attestations count once `pallet-arion::register_warden` admitted its key.
    #[codec(index = 4)]
    Warden,
}

impl NodeType {
    /// The service that nodes of this type work for.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Validator | Self::StorageMiner | Self::Gateway | Self::Warden => Lane::Storage,
            Self::ComputeMiner => Lane::Compute,
        }
    }
}

/// A service of the network; later services add variants.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Lane {
    /// Storage of objects.
    #[codec(index = 0)]
    Storage,
    /// Compute.
    #[codec(index = 1)]
    Compute,
}

/// What a storage miner's node key signs to join `family` as `child`.
///
/// `domain::REGISTRATION || genesis || family (32) || child (32) || node_id (32) || nonce (u64 LE)`.
pub fn registration_message(
    genesis: &GenesisHash,
    family: &[u8; 32],
    child: &[u8; 32],
    node_id: &[u8; 32],
    nonce: u64,
) -> Vec<u8> {
    domain::message(domain::REGISTRATION, genesis, &(family, child, node_id, nonce))
}

/// What a service node's key signs to be registered under `owner`.
///
/// `domain::NODE || genesis || owner (32) || node_type (1) || node_id (32) || nonce (u64 LE)`.
pub fn node_message(
    genesis: &GenesisHash,
    owner: &[u8; 32],
    node_type: NodeType,
    node_id: &[u8; 32],
    nonce: u64,
) -> Vec<u8> {
    domain::message(domain::NODE, genesis, &(owner, node_type, node_id, nonce))
}
