//! Questions about maps, placement, miners, audits, weights and prices that clients ask the runtime.
//!
//! Every answer is bounded: by the bounds of the pallet's lists, or as a page of at most 100 entries.

#![cfg_attr(not(feature = "std"), no_std)]
// The macro that declares the API generates public items without documentation.
#![allow(missing_docs)]

extern crate alloc;

use alloc::vec::Vec;
use arion_types::{AttestationRecord, CrushParams, MinerRecord};
use codec::{Codec, Decode, Encode};
use scale_info::TypeInfo;
use sp_core::H256;

/// A published map.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct CrushMap<AccountId> {
    /// Its epoch.
    pub epoch: u64,
    /// Its parameters.
    pub params: CrushParams,
    /// Its miners, strictly increasing in uid.
    pub miners: Vec<MinerRecord<AccountId>>,
    /// Its commitment.
    pub root: H256,
}

/// An active storage miner.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct ChildInfo<AccountId, Balance> {
    /// Its account.
    pub child: AccountId,
    /// Its family.
    pub family: AccountId,
    /// Its node id.
    pub node_id: [u8; 32],
    /// What is held on the family's account for it.
    pub deposit: Balance,
    /// Block of its registration.
    pub registered_at: u32,
}

/// Where the shards of a placement group go.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct Placement {
    /// Epoch of the map that says so.
    pub epoch: u64,
    /// Uid of the miner of each shard; `None` where CRUSH finds none and writers take the shard as missing.
    pub uids: Vec<Option<u32>>,
}

/// Why there is no placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub enum PlacementError {
    /// There is no map yet. Wait until validators publish one.
    #[codec(index = 0)]
    NoMap,
    /// The map has fewer placement groups. Ask for one below `pg_count`.
    #[codec(index = 1)]
    NoSuchGroup,
    /// The map has too few miners or families for one stripe. Wait until more register.
    #[codec(index = 2)]
    TooFewMiners,
}

/// A miner by rank.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct RankedMiner<AccountId> {
    /// Its account.
    pub child: AccountId,
    /// Its family.
    pub family: AccountId,
    /// Its weight.
    pub weight: u16,
}

/// Weights of a family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct FamilyWeights {
    /// The smoothed one, which payouts go by.
    pub weight: u16,
    /// The one before smoothing.
    pub raw: u16,
}

/// A page of a list.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct Page<Entry> {
    /// At most 100 entries.
    pub entries: Vec<Entry>,
    /// The cursor of the next page; `None` after the last.
    pub next: Option<u32>,
}

sp_api::decl_runtime_apis! {
    /// Maps, placement, miners, audits, weights and prices.
    #[api_version(2)]
    pub trait ArionApi<AccountId, Balance>
    where
        AccountId: Codec,
        Balance: Codec,
    {
        /// The newest map, if there is one.
        fn current_map() -> Option<CrushMap<AccountId>>;
        /// The map of an epoch, while it is kept.
        fn map_at(epoch: u64) -> Option<CrushMap<AccountId>>;
        /// The active storage miner with a node id.
        fn child_by_node_id(node_id: [u8; 32]) -> Option<ChildInfo<AccountId, Balance>>;
        /// What the next paid registration of a child costs.
        fn next_deposit() -> Balance;
        /// Miners of a placement group under the newest map, computed as everybody computes it.
        fn placement(pg: u32) -> Result<Placement, PlacementError>;
        /// All active miners by falling weight, a page from rank `cursor`; 0 is the best.
        fn ranking(cursor: u32) -> Page<RankedMiner<AccountId>>;
        /// Weight of a miner; `None` unless it is an active child.
        fn node_weight(child: AccountId) -> Option<u16>;
        /// Weights of a family; `None` without active children.
        fn family_weight(family: AccountId) -> Option<FamilyWeights>;
        /// Attestations of a bucket in the order in which they came, a page from position `cursor`.
        fn attestations(bucket: u32, cursor: u32) -> Page<AttestationRecord>;
    }
}
