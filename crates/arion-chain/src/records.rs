//! Records as they are stored on chain, and what is made of them.

use std::collections::{BTreeMap, BTreeSet};

use arion_types::{CrushParams, Epoch, Lane, MinerRecord, NodeId, NodeType, Uid, map::map_root};
use codec::{Decode, Encode};

use crate::account::AccountId;

/// A block by number and hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct BlockRef {
    /// Height.
    pub number: u32,
    /// Hash of the header.
    pub hash: [u8; 32],
}

/// `Registration::OwnerNodes`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct OwnerRecord {
    /// Service the owner takes part in.
    pub lane: Lane,
    /// Held on the owner's account, in the token's smallest unit.
    pub deposit: u128,
    /// Block of the registration.
    pub registered_at: u32,
    /// Number of nodes that name this owner.
    pub nodes: u32,
}

/// `Registration::Nodes`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct NodeRecord {
    /// Account the node belongs to.
    pub owner: AccountId,
    /// What the node does.
    pub node_type: NodeType,
    /// Service the node belongs to.
    pub lane: Lane,
    /// Held on the owner's account, in the token's smallest unit.
    pub deposit: u128,
    /// Block of the registration.
    pub registered_at: u32,
}

/// Where a child stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ChildStatus {
    /// Stores shards and may be in maps.
    #[codec(index = 0)]
    Active,
    /// Left; its deposit is held until `end`.
    #[codec(index = 1)]
    Unbonding {
        /// First block in which `claim_unbonded` works.
        end: u32,
    },
}

/// `Arion::ChildRegistrations`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ChildRegistration {
    /// The family that answers for the miner.
    pub family: AccountId,
    /// Ed25519 public key of the node.
    pub node_id: [u8; 32],
    /// Where the miner stands.
    pub status: ChildStatus,
    /// Held on the family's account, in the token's smallest unit.
    pub deposit: u128,
    /// Block of the registration.
    pub registered_at: u32,
}

/// An active storage miner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child {
    /// Its account.
    pub child: AccountId,
    /// The family that answers for it.
    pub family: AccountId,
}

/// `Arion::Maintenances`: blocks in which a miner is away as announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Maintenance {
    /// The first.
    pub from: u32,
    /// The first in which it is back.
    pub until: u32,
    /// First block of the period that what was announced is counted in.
    pub period_start: u32,
    /// Blocks announced in this period, these included.
    pub announced: u32,
}

/// Who has which role.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Registry {
    /// Active storage miners.
    pub miners: BTreeMap<NodeId, Child>,
    /// Gateways.
    pub gateways: BTreeSet<NodeId>,
    /// Validator services.
    pub validators: BTreeSet<NodeId>,
    /// Wardens, by warden key.
    pub wardens: BTreeSet<NodeId>,
    /// When miners are away as announced, or were last.
    pub maintenances: BTreeMap<NodeId, Maintenance>,
}

impl Registry {
    /// Whether a miner is away in a block, as it announced.
    pub fn is_away(&self, miner: &NodeId, block: u32) -> bool {
        self.maintenances.get(miner).is_some_and(|away| (away.from..away.until).contains(&block))
    }

    /// Whether the key has any role.
    pub fn is_registered(&self, node: &NodeId) -> bool {
        self.miners.contains_key(node)
            || self.gateways.contains(node)
            || self.validators.contains(node)
            || self.wardens.contains(node)
    }
}

/// A map that a validator service means to vote for, as it is told at `/v1/next-map`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ComingMap {
    /// Block from which on the service votes for it.
    pub voted_from: u32,
    /// Its epoch.
    pub epoch: Epoch,
    /// Parameters of placement.
    pub params: CrushParams,
    /// Miners, strictly increasing in uid.
    pub miners: Vec<MinerRecord>,
}

impl ComingMap {
    /// The map.
    pub fn map(self) -> EpochMap {
        EpochMap::new(self.epoch, self.params, self.miners)
    }
}

/// The map of an epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochMap {
    /// Its epoch, at least 1.
    pub epoch: Epoch,
    /// Parameters of placement.
    pub params: CrushParams,
    /// Miners, strictly increasing in uid.
    pub miners: Vec<MinerRecord>,
    /// `arion_types::map::map_root` of the two, as it stands on chain.
    pub root: [u8; 32],
}

impl EpochMap {
    /// A map and its root.
    pub fn new(epoch: Epoch, params: CrushParams, miners: Vec<MinerRecord>) -> Self {
        let root = map_root(&params, &miners);
        Self { epoch, params, miners, root }
    }

    /// The miner with this number.
    pub fn miner(&self, uid: Uid) -> Option<&MinerRecord> {
        let position = self.miners.binary_search_by_key(&uid, |miner| miner.uid).ok()?;
        self.miners.get(position)
    }

    /// The miner with this node id; walks the list.
    pub fn miner_by_node(&self, node: &NodeId) -> Option<&MinerRecord> {
        self.miners.iter().find(|miner| miner.node_id == node.0)
    }

    /// Positions (a shard of every stripe of one placement group) that have to move to `after`, whatever the placement: what miners
    /// gain, if each has its weight's share of all positions, rounded down.
    pub fn least_moved(&self, after: &Self) -> u64 {
        let (old, new) = (self.shares(), after.shares());
        let gain =
            |(node, share): (&[u8; 32], &u64)| share.saturating_sub(old.get(node).copied().unwrap_or(0));
        new.iter().map(gain).sum()
    }

    /// Positions of each miner by its weight.
    fn shares(&self) -> BTreeMap<[u8; 32], u64> {
        let positions = u128::from(self.params.pg_count) * u128::from(self.params.shards());
        let total: u128 = self.miners.iter().map(|miner| u128::from(miner.weight)).sum();
        let share = |miner: &MinerRecord| {
            let share = u128::from(miner.weight) * positions / total.max(1);
            (miner.node_id, u64::try_from(share).unwrap_or(u64::MAX))
        };
        self.miners.iter().map(share).collect()
    }

    /// Whether the root fits the parts.
    pub fn root_holds(&self) -> bool {
        map_root(&self.params, &self.miners) == self.root
    }
}
