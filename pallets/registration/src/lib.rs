//! Who takes part: owner nodes (families) and the service nodes that run in their name.
//!
//! An account becomes an owner by [`Call::register_owner_node`] and puts down a deposit; it then registers
//! gateways, validator services, compute miners and wardens by their Ed25519 node keys, each with the consent
//! of the key. Storage miners are registered with `pallet-arion`, which asks this pallet only whether their
//! family exists.
//!
//! # Invariants
//! - A node id belongs to at most one owner; every node's owner is registered.
//! - A signature that registered a node once never registers it again: `NodeNonces` only grows.
//! - A node's lane is the one of its type, whatever its owner's is.
//! - What is held under [`HoldReason`] equals the deposits of the records, on every account.
//!
//! # Not here
//! Storage miners, whose attestations count, maps (`pallet-arion`).
//!
//! Specified in docs/spec/chain.md.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod impls;
pub mod migrations;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{NodeRecord, OwnerRecord};
pub use weights::WeightInfo;

// The pallet macro generates public items without documentation.
#[allow(missing_docs)]
#[frame_support::pallet]
pub mod pallet {
    use arion_types::{Lane, NodeType};
    use frame_support::{
        pallet_prelude::*,
        traits::{
            Contains,
            fungible::{Inspect, InspectHold, MutateHold},
        },
    };
    use frame_system::pallet_prelude::*;
    use sp_core::H256;
    use sp_runtime::AccountId32;

    use crate::{NodeRecord, OwnerRecord, WeightInfo};

    /// Balance of the deposits.
    pub type BalanceOf<T> =
        <<T as Config>::Currency as Inspect<<T as frame_system::Config>::AccountId>>::Balance;
    /// Record of an owner under this configuration.
    pub type OwnerRecordOf<T> = OwnerRecord<BalanceOf<T>, BlockNumberFor<T>>;
    /// Record of a node under this configuration.
    pub type NodeRecordOf<T> =
        NodeRecord<<T as frame_system::Config>::AccountId, BalanceOf<T>, BlockNumberFor<T>>;

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(2);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId = AccountId32, Hash = H256, RuntimeEvent: From<Event<Self>>>
    {
        /// Where deposits are held.
        type Currency: InspectHold<Self::AccountId, Reason = Self::RuntimeHoldReason>
            + MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>;
        /// Reasons for holds, of the whole runtime.
        type RuntimeHoldReason: From<HoldReason>;
        /// Owners that other pallets still count on; they cannot leave.
        type OwnerInUse: Contains<Self::AccountId>;
        /// Held while an owner is registered.
        #[pallet::constant]
        type OwnerDeposit: Get<BalanceOf<Self>>;
        /// Held on the owner's account while one of its nodes is registered.
        #[pallet::constant]
        type NodeDeposit: Get<BalanceOf<Self>>;
        /// Most owners at one time.
        #[pallet::constant]
        type MaxOwners: Get<u32>;
        /// Most nodes of one owner at one time.
        #[pallet::constant]
        type MaxNodesPerOwner: Get<u32>;
        /// Cost of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Why balance is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Deposit of an owner node.
        #[codec(index = 0)]
        OwnerDeposit,
        /// Deposits of an owner's service nodes.
        #[codec(index = 1)]
        NodeDeposit,
    }

    /// Registered owners.
    #[pallet::storage]
    pub type OwnerNodes<T: Config> = CountedStorageMap<_, Blake2_128Concat, T::AccountId, OwnerRecordOf<T>>;

    /// Registered service nodes by node id.
    #[pallet::storage]
    pub type Nodes<T: Config> = StorageMap<_, Blake2_128Concat, [u8; 32], NodeRecordOf<T>>;

    /// The nonce a node key has to sign next; grows with every registration and deregistration.
    #[pallet::storage]
    pub type NodeNonces<T: Config> = StorageMap<_, Blake2_128Concat, [u8; 32], u64, ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An account became an owner.
        #[codec(index = 0)]
        OwnerNodeRegistered {
            /// The account.
            owner: T::AccountId,
            /// The service it says it came for.
            lane: Lane,
            /// What is held.
            deposit: BalanceOf<T>,
        },
        /// An owner left; its deposit is free again.
        #[codec(index = 1)]
        OwnerNodeDeregistered {
            /// The account.
            owner: T::AccountId,
        },
        /// A service node was registered.
        #[codec(index = 2)]
        NodeRegistered {
            /// Its owner.
            owner: T::AccountId,
            /// Its Ed25519 public key.
            node_id: [u8; 32],
            /// What it does.
            node_type: NodeType,
            /// What is held.
            deposit: BalanceOf<T>,
        },
        /// A service node was deregistered; its deposit is free again.
        #[codec(index = 3)]
        NodeDeregistered {
            /// Its owner.
            owner: T::AccountId,
            /// Its Ed25519 public key.
            node_id: [u8; 32],
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The account is an owner already. Nothing needs to be done.
        #[codec(index = 0)]
        OwnerAlreadyRegistered,
        /// The account is not an owner. Call `register_owner_node` first.
        #[codec(index = 1)]
        OwnerNotRegistered,
        /// The network has as many owners as it takes (`MaxOwners`). Wait until one leaves.
        #[codec(index = 2)]
        TooManyOwners,
        /// The owner still has service nodes. Call `deregister_node` for each of them first.
        #[codec(index = 3)]
        OwnerHasNodes,
        /// The owner still has storage miners. Deregister them with `arion.deregisterChild`
        /// first.
        #[codec(index = 4)]
        OwnerInUse,
        /// The owner has as many nodes as it may have (`MaxNodesPerOwner`). Deregister one or use another
        /// owner.
        #[codec(index = 5)]
        TooManyNodes,
        /// The node id is in use. Deregister it there, or make another key.
        #[codec(index = 6)]
        NodeIdAlreadyRegistered,
        /// No such node. Check the node id.
        #[codec(index = 7)]
        NodeNotRegistered,
        /// The node belongs to somebody else. Sign with its owner's account.
        #[codec(index = 8)]
        NotNodeOwner,
        /// The signature is not the node key's over the registration message. Sign again, with this chain's
        /// genesis hash, the owner's account and the current nonce of the node id (`NodeNonces`).
        #[codec(index = 9)]
        InvalidNodeSignature,
        /// Storage miners are not registered here. Use `arion.registerChild`.
        #[codec(index = 10)]
        UseRegisterChild,
        /// The account cannot pay the deposit. Fund it.
        #[codec(index = 11)]
        InsufficientDeposit,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Makes the sender an owner (a family) that came for the service `lane`, against `OwnerDeposit`. It may
        /// run nodes of any service.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::register_owner_node())]
        pub fn register_owner_node(origin: OriginFor<T>, lane: Lane) -> DispatchResult {
            let owner = ensure_signed(origin)?;
            Self::do_register_owner(owner, lane)
        }

        /// Registers a service node of the sender, against `NodeDeposit`, in the lane of its type. `node_sig` is
        /// the node key's signature over `arion_types::registration::node_message`.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::register_node())]
        pub fn register_node(
            origin: OriginFor<T>,
            node_type: NodeType,
            node_id: [u8; 32],
            node_sig: [u8; 64],
        ) -> DispatchResult {
            let owner = ensure_signed(origin)?;
            ensure!(node_type != NodeType::StorageMiner, Error::<T>::UseRegisterChild);
            Self::do_register_node(owner, node_type, node_id, node_sig)
        }

        /// Removes a service node of the sender and frees its deposit.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::deregister_node())]
        pub fn deregister_node(origin: OriginFor<T>, node_id: [u8; 32]) -> DispatchResult {
            let owner = ensure_signed(origin)?;
            Self::do_deregister_node(owner, node_id)
        }

        /// Removes the sender from the owners and frees its deposit. Its nodes must be gone.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::deregister_owner_node())]
        pub fn deregister_owner_node(origin: OriginFor<T>) -> DispatchResult {
            let owner = ensure_signed(origin)?;
            Self::do_deregister_owner(owner)
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }
}
