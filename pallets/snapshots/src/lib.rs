//! Where the newest snapshot of each gateway's metadata is, for whoever has the key it was made with.
//!
//! A gateway that lost its disk derives the key of a *locator* from its account key, finds the record here, and rebuilds
//! itself from what the record names. The locator's key signs, any account pays: a record says nothing about who
//! a gateway is.
//!
//! # Invariants
//! - Only the locator's key changes what stands under it; sequence numbers of a record only grow.
//! - Every record has one deposit, held on the account that brought it, given back when it is replaced or removed.
//!
//! # Not here
//! What a snapshot is made of (gateway, docs/spec/snapshot.md); whether its root can be fetched: the chain cannot know.
//!
//! Specified in docs/spec/chain.md.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
pub mod benchmarking;
mod impls;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use weights::WeightInfo;

// The pallet macro generates public items without documentation.
#[allow(missing_docs)]
#[frame_support::pallet]
pub mod pallet {
    use arion_types::Snapshot;
    use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{Inspect, InspectHold, MutateHold},
    };
    use frame_system::pallet_prelude::*;
    use scale_info::TypeInfo;
    use sp_core::H256;
    use sp_runtime::AccountId32;

    use crate::WeightInfo;

    /// Balance of the deposits.
    pub type BalanceOf<T> =
        <<T as Config>::Currency as Inspect<<T as frame_system::Config>::AccountId>>::Balance;
    /// Record under this configuration.
    pub type RecordOf<T> =
        SnapshotRecord<<T as frame_system::Config>::AccountId, BalanceOf<T>, BlockNumberFor<T>>;

    /// The newest snapshot of a locator.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
    pub struct SnapshotRecord<AccountId, Balance, BlockNumber> {
        /// Where it is.
        pub snapshot: Snapshot,
        /// Account that brought it.
        pub depositor: AccountId,
        /// Held on that account.
        pub deposit: Balance,
        /// Block it was brought in.
        pub committed_at: BlockNumber,
    }

    #[pallet::pallet]
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
        /// Held while a record stands.
        #[pallet::constant]
        type SnapshotDeposit: Get<BalanceOf<Self>>;
        /// Cost of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Why balance is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Deposits of records of snapshots.
        #[codec(index = 0)]
        SnapshotDeposit,
    }

    /// The newest snapshot by locator, an Ed25519 public key.
    #[pallet::storage]
    pub type Snapshots<T: Config> = StorageMap<_, Blake2_128Concat, [u8; 32], RecordOf<T>>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A locator has a new newest snapshot.
        #[codec(index = 0)]
        SnapshotCommitted {
            /// Ed25519 public key.
            locator: [u8; 32],
            /// Where it is.
            snapshot: Snapshot,
            /// Account that brought it, and on which the deposit is held.
            depositor: T::AccountId,
        },
        /// A locator has no snapshot any more; the deposit is free again.
        #[codec(index = 1)]
        SnapshotRemoved {
            /// Ed25519 public key.
            locator: [u8; 32],
            /// Account on which the deposit was held.
            depositor: T::AccountId,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The signature is not the locator key's over the message. Sign again, with this chain's genesis hash and the
        /// very fields of the call.
        #[codec(index = 0)]
        InvalidLocatorSignature,
        /// The locator has a snapshot with this sequence number or a larger one. Read `Snapshots`, and sign with a
        /// larger one: the present time in milliseconds.
        #[codec(index = 1)]
        SequenceNotIncreasing,
        /// The locator has no snapshot. Check the locator; there is nothing to remove.
        #[codec(index = 2)]
        SnapshotNotFound,
        /// The account cannot pay the deposit (`SnapshotDeposit`). Fund it.
        #[codec(index = 3)]
        InsufficientDeposit,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Makes `snapshot` the newest of `locator`, against `SnapshotDeposit` of the sender; who brought the one before
        /// gets the deposit back. `signature` is the locator key's over `arion_types::snapshot::snapshot_message`.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::commit_snapshot())]
        pub fn commit_snapshot(
            origin: OriginFor<T>,
            locator: [u8; 32],
            snapshot: Snapshot,
            signature: [u8; 64],
        ) -> DispatchResult {
            let depositor = ensure_signed(origin)?;
            Self::do_commit(depositor, locator, snapshot, signature)
        }

        /// Removes the record of `locator`; who brought it gets the deposit back. Anyone may bring this. `signature` is the
        /// locator key's over `arion_types::snapshot::removal_message`; `sequence` is larger than that of the record.
        /// Snapshots of the locator that follow must have larger ones still, or the removal could be brought again.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::remove_snapshot())]
        pub fn remove_snapshot(
            origin: OriginFor<T>,
            locator: [u8; 32],
            sequence: u64,
            signature: [u8; 64],
        ) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_remove(locator, sequence, signature)
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
