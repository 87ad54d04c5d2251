//! Questions about maps, miners and prices that clients ask the runtime.

#![cfg_attr(not(feature = "std"), no_std)]
// The macro that declares the API generates public items without documentation.
#![allow(missing_docs)]

extern crate alloc;

use alloc::vec::Vec;
use arion_types::{CrushParams, MinerRecord};
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

sp_api::decl_runtime_apis! {
    /// Maps, miners and prices.
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
    }
}
