//! Records of owners and their nodes.

use arion_types::{Lane, NodeType};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// An owner node: the account behind a family, or behind a service.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct OwnerRecord<Balance, BlockNumber> {
    /// Service the owner says it came for. It may run nodes of any.
    pub lane: Lane,
    /// Held on the owner's account until it leaves.
    pub deposit: Balance,
    /// Block of the registration.
    pub registered_at: BlockNumber,
    /// Number of entries in `Nodes` that name this owner.
    pub nodes: u32,
}

/// A service node: validator service, gateway, compute miner or warden.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct NodeRecord<AccountId, Balance, BlockNumber> {
    /// Account the node belongs to.
    pub owner: AccountId,
    /// What the node does.
    pub node_type: NodeType,
    /// Service the node works for: `NodeType::lane` of its type.
    pub lane: Lane,
    /// Held on the owner's account until the node is deregistered.
    pub deposit: Balance,
    /// Block of the registration.
    pub registered_at: BlockNumber,
}
