//! Measures what the calls cost, each in the worst state it can meet.
//!
//! `./scripts/bench weights` runs this in wasm and writes `weights.rs` from it.

// The macro makes public items without documentation.
#![allow(missing_docs)]

use alloc::format;
use arion_types::{Lane, NodeType, registration::node_message};
use codec::Encode;
use frame_benchmarking::v2::*;
use frame_support::{
    sp_runtime::{
        KeyTypeId,
        traits::{Bounded, Zero},
    },
    traits::{Get, UncheckedOnRuntimeUpgrade, fungible::Mutate},
};
use frame_system::{RawOrigin, pallet_prelude::BlockNumberFor};
use sp_core::{ed25519, hexdisplay::HexDisplay};

use crate::{BalanceOf, Call, Config, NodeNonces, NodeRecord, Nodes, OwnerNodes, Pallet, migrations::V1ToV2};

/// Keys of the benchmarks in the keystore.
const KEYS: KeyTypeId = KeyTypeId(*b"reg!");

/// An owner with enough for every deposit, and with so many nodes on its record.
fn owner<T: Config>(nodes: u32) -> T::AccountId
where
    T::Currency: Mutate<T::AccountId>,
{
    let owner: T::AccountId = whitelisted_caller();
    T::Currency::set_balance(&owner, BalanceOf::<T>::max_value() / 4u32.into());
    Pallet::<T>::do_register_owner(owner.clone(), Lane::Storage).expect("the account is rich and new");
    OwnerNodes::<T>::mutate(&owner, |record| {
        if let Some(record) = record {
            record.nodes = nodes;
        }
    });
    owner
}

/// A new node key and its consent to be the owner's gateway.
fn node<T: Config>(owner: &T::AccountId) -> ([u8; 32], [u8; 64]) {
    let seed = format!("0x{}", HexDisplay::from(&[7; 32]));
    let key = sp_io::crypto::ed25519_generate(KEYS, Some(seed.into_bytes()));
    let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero());
    let nonce = NodeNonces::<T>::get(key.0);
    let message = node_message(&genesis.0, owner.as_ref(), NodeType::Gateway, &key.0, nonce);
    let signature: ed25519::Signature =
        sp_io::crypto::ed25519_sign(KEYS, &key, &message).expect("the key is in the keystore");
    (key.0, signature.0)
}

#[benchmarks(where T::Currency: Mutate<T::AccountId>)]
mod benchmarks {
    use super::*;

    #[benchmark]
    fn register_owner_node() {
        let owner: T::AccountId = whitelisted_caller();
        T::Currency::set_balance(&owner, BalanceOf::<T>::max_value() / 4u32.into());

        #[extrinsic_call]
        _(RawOrigin::Signed(owner.clone()), Lane::Storage);

        assert!(OwnerNodes::<T>::contains_key(&owner));
    }

    #[benchmark]
    fn register_node() {
        let owner = owner::<T>(T::MaxNodesPerOwner::get() - 1);
        let (node_id, node_sig) = node::<T>(&owner);

        #[extrinsic_call]
        _(RawOrigin::Signed(owner.clone()), NodeType::Gateway, node_id, node_sig);

        assert!(Nodes::<T>::contains_key(node_id));
    }

    #[benchmark]
    fn deregister_node() {
        let owner = owner::<T>(T::MaxNodesPerOwner::get() - 1);
        let (node_id, node_sig) = node::<T>(&owner);
        Pallet::<T>::do_register_node(owner.clone(), NodeType::Gateway, node_id, node_sig)
            .expect("the owner may have one more node");

        #[extrinsic_call]
        _(RawOrigin::Signed(owner.clone()), node_id);

        assert!(!Nodes::<T>::contains_key(node_id));
    }

    #[benchmark]
    fn deregister_owner_node() {
        let owner = owner::<T>(0);

        #[extrinsic_call]
        _(RawOrigin::Signed(owner.clone()));

        assert!(!OwnerNodes::<T>::contains_key(&owner));
    }

    /// Every node is in another lane than it is to be.
    #[benchmark]
    fn migrate_v1_to_v2(n: Linear<0, { T::MaxOwners::get() }>) {
        for node in 0..n {
            let node_id = (b"node", node).using_encoded(sp_io::hashing::blake2_256);
            let record = NodeRecord {
                owner: account("owner", node, 0),
                node_type: NodeType::ComputeMiner,
                lane: Lane::Storage,
                deposit: T::NodeDeposit::get(),
                registered_at: 0u32.into(),
            };
            Nodes::<T>::insert(node_id, record);
        }

        #[block]
        {
            V1ToV2::<T>::on_runtime_upgrade();
        }

        assert!(Nodes::<T>::iter_values().all(|node| node.lane == Lane::Compute));
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::chain(), crate::mock::Test);
}
