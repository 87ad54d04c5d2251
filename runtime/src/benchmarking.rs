//! Benchmarks of this runtime's own pallets: which there are, and what their calls meet in the other pallets.
//!
//! Built with the feature `runtime-benchmarks` only; no chain runs such a build.

use alloc::{string::String, vec::Vec};
use arion_types::{Lane, NodeType};
use frame_benchmarking::{BenchmarkBatch, BenchmarkConfig, BenchmarkList, account, define_benchmarks};
use frame_support::{
    BoundedVec,
    traits::{Get, StorageInfo, StorageInfoTrait, WhitelistedStorageKeys},
};
use pallet_arion::offchain::{REPORTER_KEY, ReporterId};
use pallet_registration::{NodeRecord, Nodes};
use sp_runtime::RuntimeAppPublic;
use sp_staking::PagedExposureMetadata;

use crate::{
    AccountId, AllPalletsWithSystem, Arion, Marketplace, Registration, Runtime, Snapshots,
    configs::ProxyType, constants::HIPP,
};

define_benchmarks!(
    [pallet_registration, Registration]
    [pallet_arion, Arion]
    [pallet_marketplace, Marketplace]
    [pallet_snapshots, Snapshots]
);

/// Every benchmark, and what is known about storage.
pub(crate) fn metadata(extra: bool) -> (Vec<BenchmarkList>, Vec<StorageInfo>) {
    let mut list = Vec::new();
    list_benchmarks!(list, extra);
    (list, AllPalletsWithSystem::storage_info())
}

/// Runs one benchmark.
pub(crate) fn dispatch(config: BenchmarkConfig) -> Result<Vec<BenchmarkBatch>, String> {
    let whitelist = AllPalletsWithSystem::whitelisted_storage_keys();
    let mut batches = Vec::new();
    let params = (&config, &whitelist);
    add_benchmarks!(params, batches);
    Ok(batches)
}

/// The other pallets, as benchmarks need them.
pub struct World;

impl pallet_arion::benchmarking::BenchmarkHelper<AccountId> for World {
    fn set_validators(validators: &[AccountId]) {
        set_validators(validators);
    }

    fn set_family(family: &AccountId, child: &AccountId) {
        let record =
            pallet_registration::OwnerRecord { lane: Lane::Storage, deposit: 0, registered_at: 0, nodes: 0 };
        pallet_registration::OwnerNodes::<Runtime>::insert(family, record);
        let others: u32 = <Runtime as pallet_proxy::Config>::MaxProxies::get();
        let proxies = (1..others).map(|n| account("proxy", n, 0)).chain([child.clone()]);
        let proxies = proxies.map(|delegate| pallet_proxy::ProxyDefinition {
            delegate,
            proxy_type: ProxyType::NonTransfer,
            delay: 0,
        });
        let proxies = BoundedVec::truncate_from(proxies.collect());
        pallet_proxy::Proxies::<Runtime>::insert(family, (proxies, 0));
    }

    fn set_reporter(validator: &AccountId, reporter: &ReporterId) {
        pallet_session::KeyOwner::<Runtime>::insert((REPORTER_KEY, reporter.to_raw_vec()), validator);
    }
}

impl pallet_marketplace::benchmarking::BenchmarkHelper<AccountId> for World {
    fn set_validators(validators: &[AccountId]) {
        set_validators(validators);
    }

    fn gateway() -> ([u8; 32], AccountId) {
        node(NodeType::Gateway)
    }

    fn worker() -> ([u8; 32], AccountId) {
        node(NodeType::ComputeMiner)
    }

    fn set_families(count: u32) {
        for n in 0..count {
            let family: AccountId = account("family", n, 0);
            pallet_arion::FamilyWeight::<Runtime>::insert(family, 1_000);
        }
    }
}

/// Validators with the same stake behind each.
fn set_validators(validators: &[AccountId]) {
    let era = pallet_staking::ActiveEra::<Runtime>::get().map_or(0, |era| era.index);
    for validator in validators {
        let stake =
            PagedExposureMetadata { total: 1_000 * HIPP, own: HIPP, nominator_count: 100, page_count: 2 };
        pallet_staking::ErasStakersOverview::<Runtime>::insert(era, validator, stake);
    }
    pallet_session::Validators::<Runtime>::put(validators.to_vec());
}

/// A registered node and its owner.
fn node(node_type: NodeType) -> ([u8; 32], AccountId) {
    let (node_id, owner): ([u8; 32], AccountId) = ([11; 32], account("node owner", 0, 0));
    let record =
        NodeRecord { owner: owner.clone(), node_type, lane: node_type.lane(), deposit: 0, registered_at: 0 };
    Nodes::<Runtime>::insert(node_id, record);
    (node_id, owner)
}
