//! What the calls do once their origin is known.

use arion_types::{Lane, NodeType, registration::node_message};
use frame_support::{
    ensure,
    pallet_prelude::*,
    traits::{Contains, fungible::MutateHold, tokens::Precision},
};
use sp_core::ed25519;
use sp_runtime::traits::Zero;

use crate::{
    BalanceOf, Config, Error, Event, HoldReason, NodeNonces, NodeRecord, Nodes, OwnerNodes, OwnerRecord,
    Pallet,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_register_owner(owner: T::AccountId, lane: Lane) -> DispatchResult {
        ensure!(!OwnerNodes::<T>::contains_key(&owner), Error::<T>::OwnerAlreadyRegistered);
        ensure!(OwnerNodes::<T>::count() < T::MaxOwners::get(), Error::<T>::TooManyOwners);
        let deposit = T::OwnerDeposit::get();
        Self::hold(HoldReason::OwnerDeposit, &owner, deposit)?;
        let registered_at = frame_system::Pallet::<T>::block_number();
        OwnerNodes::<T>::insert(&owner, OwnerRecord { lane, deposit, registered_at, nodes: 0 });
        Self::deposit_event(Event::OwnerNodeRegistered { owner, lane, deposit });
        Ok(())
    }

    pub(crate) fn do_deregister_owner(owner: T::AccountId) -> DispatchResult {
        let record = OwnerNodes::<T>::get(&owner).ok_or(Error::<T>::OwnerNotRegistered)?;
        ensure!(record.nodes == 0, Error::<T>::OwnerHasNodes);
        ensure!(!T::OwnerInUse::contains(&owner), Error::<T>::OwnerInUse);
        Self::release(HoldReason::OwnerDeposit, &owner, record.deposit)?;
        OwnerNodes::<T>::remove(&owner);
        Self::deposit_event(Event::OwnerNodeDeregistered { owner });
        Ok(())
    }

    pub(crate) fn do_register_node(
        owner: T::AccountId,
        node_type: NodeType,
        node_id: [u8; 32],
        node_sig: [u8; 64],
    ) -> DispatchResult {
        let mut record = OwnerNodes::<T>::get(&owner).ok_or(Error::<T>::OwnerNotRegistered)?;
        ensure!(!Nodes::<T>::contains_key(node_id), Error::<T>::NodeIdAlreadyRegistered);
        ensure!(record.nodes < T::MaxNodesPerOwner::get(), Error::<T>::TooManyNodes);

        let genesis =
            frame_system::Pallet::<T>::block_hash(frame_system::pallet_prelude::BlockNumberFor::<T>::zero());
        let nonce = NodeNonces::<T>::get(node_id);
        let message = node_message(&genesis.0, owner.as_ref(), node_type, &node_id, nonce);
        ensure!(
            sp_io::crypto::ed25519_verify(
                &ed25519::Signature::from_raw(node_sig),
                &message,
                &ed25519::Public::from_raw(node_id),
            ),
            Error::<T>::InvalidNodeSignature
        );

        let deposit = T::NodeDeposit::get();
        Self::hold(HoldReason::NodeDeposit, &owner, deposit)?;
        record.nodes += 1;
        let registered_at = frame_system::Pallet::<T>::block_number();
        OwnerNodes::<T>::insert(&owner, record);
        NodeNonces::<T>::insert(node_id, nonce.saturating_add(1));
        Nodes::<T>::insert(
            node_id,
            NodeRecord { owner: owner.clone(), node_type, lane: node_type.lane(), deposit, registered_at },
        );
        Self::deposit_event(Event::NodeRegistered { owner, node_id, node_type, deposit });
        Ok(())
    }

    pub(crate) fn do_deregister_node(owner: T::AccountId, node_id: [u8; 32]) -> DispatchResult {
        let node = Nodes::<T>::get(node_id).ok_or(Error::<T>::NodeNotRegistered)?;
        ensure!(node.owner == owner, Error::<T>::NotNodeOwner);
        Self::release(HoldReason::NodeDeposit, &owner, node.deposit)?;
        OwnerNodes::<T>::mutate(&owner, |record| {
            if let Some(record) = record {
                record.nodes = record.nodes.saturating_sub(1);
            }
        });
        NodeNonces::<T>::mutate(node_id, |nonce| *nonce = nonce.saturating_add(1));
        Nodes::<T>::remove(node_id);
        Self::deposit_event(Event::NodeDeregistered { owner, node_id });
        Ok(())
    }

    fn hold(reason: HoldReason, owner: &T::AccountId, amount: BalanceOf<T>) -> DispatchResult {
        T::Currency::hold(&reason.into(), owner, amount).map_err(|_| Error::<T>::InsufficientDeposit.into())
    }

    fn release(reason: HoldReason, owner: &T::AccountId, amount: BalanceOf<T>) -> DispatchResult {
        T::Currency::release(&reason.into(), owner, amount, Precision::Exact).map(drop)
    }

    /// Checks every invariant of the pallet's state.
    #[cfg(any(feature = "std", feature = "try-runtime"))]
    pub fn do_try_state() -> Result<(), sp_runtime::TryRuntimeError> {
        use alloc::collections::BTreeMap;
        use frame_support::traits::fungible::InspectHold;

        let mut nodes: BTreeMap<T::AccountId, (u32, BalanceOf<T>)> = BTreeMap::new();
        let mut deposits: BTreeMap<T::AccountId, (BalanceOf<T>, BalanceOf<T>)> = BTreeMap::new();
        for (node_id, node) in Nodes::<T>::iter() {
            ensure!(
                node.node_type != NodeType::StorageMiner,
                "a storage miner is registered as a service node"
            );
            ensure!(NodeNonces::<T>::get(node_id) > 0, "a registered node has never used a nonce");
            ensure!(node.lane == node.node_type.lane(), "a node is not in the lane of its type");
            ensure!(OwnerNodes::<T>::contains_key(&node.owner), "a node's owner is not registered");
            let (count, held) = nodes.entry(node.owner).or_default();
            *count += 1;
            *held += node.deposit;
        }
        ensure!(OwnerNodes::<T>::count() <= T::MaxOwners::get(), "more owners than MaxOwners");
        for (owner, record) in OwnerNodes::<T>::iter() {
            let (count, held) = nodes.remove(&owner).unwrap_or_default();
            ensure!(record.nodes == count, "an owner's node count is not the number of its nodes");
            ensure!(count <= T::MaxNodesPerOwner::get(), "an owner has more nodes than MaxNodesPerOwner");
            deposits.insert(owner, (record.deposit, held));
        }
        for account in frame_system::Account::<T>::iter_keys() {
            let (owner, nodes) = deposits.remove(&account).unwrap_or_default();
            let on_hold = |reason: HoldReason| T::Currency::balance_on_hold(&reason.into(), &account);
            ensure!(on_hold(HoldReason::OwnerDeposit) == owner, "what is held is not the owner's deposit");
            ensure!(
                on_hold(HoldReason::NodeDeposit) == nodes,
                "what is held is not the sum of the deposits of the owner's nodes"
            );
        }
        ensure!(deposits.is_empty(), "an owner has no account");
        Ok(())
    }
}
