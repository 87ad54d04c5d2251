//! Where data goes, who stores it and what was audited: CRUSH maps, storage miners and attestations.
//!
//! Families register miners (children) against a deposit that doubles with demand; validators agree on a
//! CRUSH map per epoch; wardens' signed audit results arrive in batches and are verified one by one.
//!
//! # Invariants
//! - A map takes effect only when two thirds of the validators submitted the very same one; epochs only grow,
//!   and a published map never changes.
//! - A node id belongs to at most one active child; a signature that registered it once never does so again.
//! - What is held under [`HoldReason`] on a family's account is the sum of its children's deposits.
//! - Every stored attestation carries a valid signature of a warden that was registered when it came in, and
//!   no challenge has two verdicts of the same warden.
//! - Every list has a bound, every loop too.
//!
//! # Not here
//! Families and service nodes (`pallet-registration`), the placement itself (`crush`), who may sign as
//! authority (the runtime's origins).
//!
//! Specified in docs/spec/chain.md.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod impls;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{ChildRegistration, ChildStatus, EpochAttestationCommitment, MapVote, WardenInfo};
pub use weights::WeightInfo;

/// Which accounts are families.
pub trait FamilyRegistry<AccountId> {
    /// Whether `who` is registered as a family.
    fn is_family(who: &AccountId) -> bool;
}

/// Which accounts act for which families.
pub trait ProxyVerifier<AccountId> {
    /// Whether `child` is a proxy of `family`.
    fn is_proxy(family: &AccountId, child: &AccountId) -> bool;
}

// The pallet macro generates public items without documentation.
#[allow(missing_docs)]
#[frame_support::pallet]
pub mod pallet {
    use alloc::vec::Vec;

    use arion_types::{AttestationRecord, CrushParams, MinerRecord};
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{Inspect, InspectHold, MutateHold},
    };
    use frame_system::pallet_prelude::*;
    use sp_core::H256;
    use sp_runtime::AccountId32;

    use crate::{
        ChildRegistration, EpochAttestationCommitment, FamilyRegistry, MapVote, ProxyVerifier, WardenInfo,
        WeightInfo,
    };

    /// Balance of the deposits.
    pub type BalanceOf<T> =
        <<T as Config>::DepositCurrency as Inspect<<T as frame_system::Config>::AccountId>>::Balance;
    /// Record of a child under this configuration.
    pub type ChildRegistrationOf<T> =
        ChildRegistration<<T as frame_system::Config>::AccountId, BalanceOf<T>, BlockNumberFor<T>>;
    /// Miners of a map, strictly increasing in uid.
    pub type MinersOf<T> =
        BoundedVec<MinerRecord<<T as frame_system::Config>::AccountId>, <T as Config>::MaxMiners>;
    /// Attestations of a bucket or of a call.
    pub type AttestationsOf<T> = BoundedVec<AttestationRecord, <T as Config>::MaxAttestations>;

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId = AccountId32, Hash = H256, RuntimeEvent: From<Event<Self>>>
    {
        /// Admits wardens and submitters, sets lockup and the base deposit.
        type ArionAdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// A validator; succeeds with its account, which is its vote.
        type MapAuthorityOrigin: EnsureOrigin<Self::RuntimeOrigin, Success = Self::AccountId>;
        /// Who may bring attestations; succeeds with the account.
        type AttestationAuthorityOrigin: EnsureOrigin<Self::RuntimeOrigin, Success = Self::AccountId>;
        /// The validators whose votes count now.
        type Validators: Get<Vec<Self::AccountId>>;
        /// Where deposits are held.
        type DepositCurrency: InspectHold<Self::AccountId, Reason = Self::RuntimeHoldReason>
            + MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>;
        /// Reasons for holds, of the whole runtime.
        type RuntimeHoldReason: From<HoldReason>;
        /// Which accounts are families.
        type FamilyRegistry: FamilyRegistry<Self::AccountId>;
        /// Which accounts act for which families.
        type ProxyVerifier: ProxyVerifier<Self::AccountId>;

        /// Floor of the deposit until `set_base_child_deposit` names another.
        #[pallet::constant]
        type BaseChildDeposit: Get<BalanceOf<Self>>;
        /// The deposit halves once per this many blocks without a paid registration.
        #[pallet::constant]
        type GlobalDepositHalvingPeriodBlocks: Get<BlockNumberFor<Self>>;
        /// From deregistration until the deposit can be claimed.
        #[pallet::constant]
        type UnbondingPeriodBlocks: Get<BlockNumberFor<Self>>;
        /// From deregistration until the account and the node id can be registered again.
        #[pallet::constant]
        type UnregisterCooldownBlocks: Get<BlockNumberFor<Self>>;

        /// Most families with active children.
        #[pallet::constant]
        type MaxFamilies: Get<u32>;
        /// Most active children.
        #[pallet::constant]
        type MaxChildrenTotal: Get<u32>;
        /// Most active children of one family.
        #[pallet::constant]
        type MaxChildrenPerFamily: Get<u32>;
        /// Most miners in a map.
        #[pallet::constant]
        type MaxMiners: Get<u32>;
        /// Whether a map may only name active children of their families.
        #[pallet::constant]
        type EnforceRegisteredMiners: Get<bool>;
        /// Maps kept: the newest so many. Older ones are removed when a map is published.
        #[pallet::constant]
        type MaxEpochsKept: Get<u32>;

        /// Most attestations in a call and in a bucket.
        #[pallet::constant]
        type MaxAttestations: Get<u32>;
        /// Blocks per bucket: an attestation belongs to the bucket of its block.
        #[pallet::constant]
        type AttestationBucketBlocks: Get<BlockNumberFor<Self>>;
        /// Buckets kept, the current one included.
        #[pallet::constant]
        type AttestationRetentionBuckets: Get<u32>;
        /// Most wardens at one time.
        #[pallet::constant]
        type MaxWardens: Get<u32>;
        /// Most submitters at one time.
        #[pallet::constant]
        type MaxAttestationSubmitters: Get<u32>;
        /// Cost of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Why balance is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Deposits of a family's children.
        #[codec(index = 0)]
        ChildDeposit,
    }

    // maps

    /// Epoch of the newest map; 0 while there is none.
    #[pallet::storage]
    pub type CurrentEpoch<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// Parameters of a map.
    #[pallet::storage]
    pub type EpochParams<T: Config> = StorageMap<_, Twox64Concat, u64, CrushParams>;

    /// Miners of a map.
    #[pallet::storage]
    pub type EpochMiners<T: Config> = StorageMap<_, Twox64Concat, u64, MinersOf<T>>;

    /// Commitment of a map: `arion_types::map::map_root`.
    #[pallet::storage]
    pub type EpochRoot<T: Config> = StorageMap<_, Twox64Concat, u64, H256>;

    /// Epochs whose maps are stored, oldest first.
    #[pallet::storage]
    pub type KeptEpochs<T: Config> = StorageValue<_, BoundedVec<u64, T::MaxEpochsKept>, ValueQuery>;

    /// The map each validator wants next; emptied when a map is published.
    #[pallet::storage]
    pub type MapVotes<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, MapVote>;

    // children

    /// Active and unbonding children by account.
    #[pallet::storage]
    pub type ChildRegistrations<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, ChildRegistrationOf<T>>;

    /// Account of the active child with a node id.
    #[pallet::storage]
    pub type NodeIdToChild<T: Config> = StorageMap<_, Blake2_128Concat, [u8; 32], T::AccountId>;

    /// The nonce a node key has to sign next; grows with every registration and deregistration.
    #[pallet::storage]
    pub type NodeIdNonce<T: Config> = StorageMap<_, Blake2_128Concat, [u8; 32], u64, ValueQuery>;

    /// Active children of a family, oldest first.
    #[pallet::storage]
    pub type FamilyChildren<T: Config> = StorageMap<
        _,
        Blake2_128Concat,
        T::AccountId,
        BoundedVec<T::AccountId, T::MaxChildrenPerFamily>,
        ValueQuery,
    >;

    /// Families that used their free registration.
    #[pallet::storage]
    pub type FreeSlotUsed<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, (), OptionQuery>;

    /// The deposit as of `LastPaidRegistration`; 0 before the first paid registration. What a registration
    /// costs now is `Pallet::next_deposit`.
    #[pallet::storage]
    pub type GlobalNextDeposit<T: Config> = StorageValue<_, BalanceOf<T>, ValueQuery>;

    /// Block of the last paid registration, from which the deposit decays.
    #[pallet::storage]
    pub type LastPaidRegistration<T: Config> = StorageValue<_, BlockNumberFor<T>, ValueQuery>;

    /// Base deposit set by the admin; `BaseChildDeposit` counts while there is none.
    #[pallet::storage]
    pub type BaseDeposit<T: Config> = StorageValue<_, BalanceOf<T>, OptionQuery>;

    /// Lockup is on unless switched off.
    #[pallet::type_value]
    pub fn LockupDefault() -> bool {
        true
    }

    /// Whether registrations cost a deposit and unbonding takes time.
    #[pallet::storage]
    pub type LockupEnabled<T: Config> = StorageValue<_, bool, ValueQuery, LockupDefault>;

    /// Families with active children.
    #[pallet::storage]
    pub type FamilyCount<T: Config> = StorageValue<_, u32, ValueQuery>;

    /// Active children.
    #[pallet::storage]
    pub type TotalActiveChildren<T: Config> = StorageValue<_, u32, ValueQuery>;

    /// First block in which an account that left can be a child again.
    #[pallet::storage]
    pub type ChildCooldownEnd<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, BlockNumberFor<T>>;

    /// First block in which a node id that left can be registered again.
    #[pallet::storage]
    pub type NodeIdCooldownEnd<T: Config> = StorageMap<_, Blake2_128Concat, [u8; 32], BlockNumberFor<T>>;

    // attestations

    /// Attestations by bucket, in the order in which they came.
    #[pallet::storage]
    pub type AttestationsByBucket<T: Config> =
        StorageMap<_, Twox64Concat, u32, AttestationsOf<T>, ValueQuery>;

    /// Newest bucket that has attestations.
    #[pallet::storage]
    pub type CurrentAttestationBucket<T: Config> = StorageValue<_, u32, ValueQuery>;

    /// Commitments to the attestation bundles of epochs.
    #[pallet::storage]
    pub type EpochAttestationCommitments<T: Config> =
        StorageMap<_, Twox64Concat, u64, EpochAttestationCommitment<T::AccountId, BlockNumberFor<T>>>;

    /// Wardens whose attestations count, by Ed25519 public key.
    #[pallet::storage]
    pub type RegisteredWardens<T: Config> =
        CountedStorageMap<_, Blake2_128Concat, [u8; 32], WardenInfo<BlockNumberFor<T>>>;

    /// Accounts, besides the validators, that may bring attestations to the chain.
    #[pallet::storage]
    pub type AttestationSubmitters<T: Config> =
        CountedStorageMap<_, Blake2_128Concat, T::AccountId, (), OptionQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A map took effect.
        #[codec(index = 0)]
        CrushMapPublished {
            /// Its epoch.
            epoch: u64,
            /// Number of miners in it.
            miners: u32,
            /// Its commitment.
            root: H256,
        },
        /// A child became active.
        #[codec(index = 1)]
        ChildRegistered {
            /// Its family.
            family: T::AccountId,
            /// Its account.
            child: T::AccountId,
            /// Its node id.
            node_id: [u8; 32],
            /// What is held on the family's account for it.
            deposit: BalanceOf<T>,
        },
        /// A child left; its deposit stays held until `unbonding_end`.
        #[codec(index = 2)]
        ChildDeregistered {
            /// Its family.
            family: T::AccountId,
            /// Its account.
            child: T::AccountId,
            /// Its node id, which is free again at `cooldown_end`.
            node_id: [u8; 32],
            /// First block in which the deposit can be claimed.
            unbonding_end: BlockNumberFor<T>,
            /// First block in which account and node id can be registered again.
            cooldown_end: BlockNumberFor<T>,
        },
        /// A child's deposit is free again and its record gone.
        #[codec(index = 3)]
        ChildUnbonded {
            /// Its family, whose account has the deposit back.
            family: T::AccountId,
            /// Its account.
            child: T::AccountId,
            /// Its node id.
            node_id: [u8; 32],
            /// The deposit.
            amount: BalanceOf<T>,
        },
        /// Attestations were verified and stored.
        #[codec(index = 4)]
        AttestationsSubmitted {
            /// Their bucket.
            bucket: u32,
            /// How many.
            count: u32,
        },
        /// An epoch's attestation bundle was committed to.
        #[codec(index = 5)]
        AttestationCommitmentSubmitted {
            /// The epoch.
            epoch: u64,
            /// BLAKE3 of the bundle.
            arion_content_hash: [u8; 32],
            /// Root over its attestations.
            attestation_merkle_root: [u8; 32],
            /// Root over its wardens.
            warden_pubkey_merkle_root: [u8; 32],
            /// How many attestations.
            attestation_count: u32,
        },
        /// A warden's attestations count from now on.
        #[codec(index = 6)]
        WardenRegistered {
            /// Its key.
            warden_pubkey: [u8; 32],
            /// When.
            registered_at: BlockNumberFor<T>,
        },
        /// A warden's attestations no longer count; those stored stay.
        #[codec(index = 7)]
        WardenDeregistered {
            /// Its key.
            warden_pubkey: [u8; 32],
            /// When.
            deregistered_at: BlockNumberFor<T>,
        },
        /// Lockup was switched.
        #[codec(index = 11)]
        LockupEnabledSet {
            /// Whether it is on.
            enabled: bool,
        },
        /// The floor of the deposit was set.
        #[codec(index = 12)]
        BaseChildDepositSet {
            /// The floor.
            deposit: BalanceOf<T>,
        },
        /// A validator voted for a map.
        #[codec(index = 13)]
        MapProposed {
            /// Who.
            validator: T::AccountId,
            /// Epoch of the map.
            epoch: u64,
            /// Its commitment.
            root: H256,
            /// Validators that want this very map now.
            votes: u32,
            /// Votes with which it takes effect.
            votes_needed: u32,
        },
        /// An account may bring attestations from now on.
        #[codec(index = 14)]
        AttestationSubmitterAdded {
            /// The account.
            submitter: T::AccountId,
        },
        /// An account may no longer bring attestations.
        #[codec(index = 15)]
        AttestationSubmitterRemoved {
            /// The account.
            submitter: T::AccountId,
        },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The epoch is not greater than the current one. Read `CurrentEpoch` and submit the next.
        #[codec(index = 0)]
        EpochRegression,
        /// The first map must be epoch 1.
        #[codec(index = 1)]
        FirstEpochNotOne,
        /// A parameter makes no sense: at least 1 placement group (at most 65,536), data shard, shard per
        /// family and try (at most 10,000), and at most 255 shards in all. Correct the parameters.
        #[codec(index = 2)]
        InvalidCrushParams,
        /// The map has no miners. Wait until there are some.
        #[codec(index = 3)]
        EmptyMinerList,
        /// The miners are not strictly increasing in uid. Sort them, and give each its own uid.
        #[codec(index = 4)]
        MinerListNotSortedOrNotUnique,
        /// Two miners have the same node id. Name each miner once.
        #[codec(index = 5)]
        DuplicateNodeId,
        /// An endpoint is empty or not UTF-8. Correct it or leave the miner out.
        #[codec(index = 6)]
        InvalidEndpoint,
        /// A miner is not an active child of the family the map puts it in. Leave it out, or register it
        /// first.
        #[codec(index = 7)]
        MinerNotRegistered,
        /// Only the family itself may do this. Sign with the family's account.
        #[codec(index = 8)]
        NotFamily,
        /// The family is not in pallet-registration. Call `registration.registerOwnerNode` with its account
        /// first.
        #[codec(index = 9)]
        FamilyNotRegistered,
        /// The child is not a proxy of the family. Call `proxy.addProxy` with the family's account first.
        #[codec(index = 10)]
        ProxyVerificationFailed,
        /// The account has a record already, active or unbonding. Use another account, or deregister it and
        /// claim.
        #[codec(index = 11)]
        ChildAlreadyRegistered,
        /// The account left recently. Wait until the block in `ChildCooldownEnd`.
        #[codec(index = 12)]
        ChildInCooldown,
        /// The node id is in use. Use another key.
        #[codec(index = 13)]
        NodeIdAlreadyRegistered,
        /// The node id left recently. Wait until the block in `NodeIdCooldownEnd`, or use another key.
        #[codec(index = 14)]
        NodeIdInCooldown,
        /// The family has as many active children as it may have. Deregister old ones or use another family.
        #[codec(index = 15)]
        TooManyChildrenInFamily,
        /// The network has as many families with children as it takes (`MaxFamilies`). Wait until one leaves.
        #[codec(index = 16)]
        TooManyFamilies,
        /// The network has as many children as it takes (`MaxChildrenTotal`). Wait until one leaves.
        #[codec(index = 17)]
        TooManyChildren,
        /// The signature is not the node key's over the registration message. Sign again, with this chain's
        /// genesis hash, family, child, node id and the current `NodeIdNonce`.
        #[codec(index = 18)]
        InvalidNodeSignature,
        /// The family cannot pay the deposit. Fund its account.
        #[codec(index = 19)]
        InsufficientDeposit,
        /// No such child. Check the account.
        #[codec(index = 20)]
        ChildNotRegistered,
        /// The child left already. Claim its deposit when unbonding is over.
        #[codec(index = 21)]
        ChildNotActive,
        /// The child is active. Deregister it first.
        #[codec(index = 22)]
        ChildNotUnbonding,
        /// Unbonding is not over. Wait until the block in the child's status.
        #[codec(index = 23)]
        UnbondingNotOver,
        /// The batch is empty. Submit at least one attestation.
        #[codec(index = 24)]
        NoAttestations,
        /// An attestation's block is not in the bucket of the call. Put it into the bucket
        /// `block_number / AttestationBucketBlocks`.
        #[codec(index = 25)]
        WrongAttestationBucket,
        /// An attestation's block has not been produced yet. Name a finalised block.
        #[codec(index = 26)]
        AttestationFromFuture,
        /// The bucket is older than `AttestationRetentionBuckets` and was pruned. Drop the attestations.
        #[codec(index = 27)]
        AttestationBucketTooOld,
        /// The bucket cannot take that many more. Submit fewer, or have `MaxAttestations` raised.
        #[codec(index = 28)]
        AttestationBucketFull,
        /// An attestation's warden is not registered. Have it registered by the admin.
        #[codec(index = 29)]
        UnregisteredWarden,
        /// An attestation's signature does not verify. Check the message: all fields but the signature, this
        /// chain's genesis hash.
        #[codec(index = 30)]
        InvalidAttestationSignature,
        /// The warden's verdict on this challenge (shard, miner, block) is on chain already. Leave it out.
        #[codec(index = 31)]
        DuplicateAttestation,
        /// The epoch's map is not on chain. Commit to the attestations of a published, not yet pruned epoch.
        #[codec(index = 32)]
        UnknownEpoch,
        /// The epoch has a commitment already, and commitments never change.
        #[codec(index = 33)]
        CommitmentAlreadyExists,
        /// The warden is registered. Nothing needs to be done.
        #[codec(index = 34)]
        WardenAlreadyRegistered,
        /// There are as many wardens as the network takes (`MaxWardens`). Deregister one first.
        #[codec(index = 35)]
        TooManyWardens,
        /// The account is a submitter. Nothing needs to be done.
        #[codec(index = 36)]
        SubmitterAlreadyAdded,
        /// The account is not a submitter. Check the account.
        #[codec(index = 37)]
        SubmitterNotFound,
        /// There are as many submitters as the network takes (`MaxAttestationSubmitters`). Remove one first.
        #[codec(index = 38)]
        TooManySubmitters,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Removes the one bucket whose retention ends with this block.
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            Self::prune_attestations(now)
        }

        fn integrity_test() {
            assert!(T::MaxEpochsKept::get() > 0, "at least the current map is kept");
            assert!(T::AttestationRetentionBuckets::get() > 0, "at least the current bucket is kept");
            let zero = BlockNumberFor::<T>::default();
            assert!(T::AttestationBucketBlocks::get() > zero, "a bucket has at least one block");
            assert!(
                T::GlobalDepositHalvingPeriodBlocks::get() > zero,
                "a halving period has at least one block"
            );
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    // Calls 8 and 9, events 8 to 10 belong to node quality and miner stats.
    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Votes for the map of `epoch`. It takes effect when two thirds of the validators submitted the same
        /// epoch, parameters and miners; a validator's newer vote replaces its older one.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::submit_crush_map(miners.len() as u32))]
        pub fn submit_crush_map(
            origin: OriginFor<T>,
            epoch: u64,
            params: CrushParams,
            miners: MinersOf<T>,
        ) -> DispatchResult {
            let validator = T::MapAuthorityOrigin::ensure_origin(origin)?;
            Self::do_submit_crush_map(validator, epoch, params, miners)
        }

        /// Makes `child` a storage miner of the sender, which must be `family`. `node_sig` is the node key's
        /// signature over `arion_types::registration::registration_message`.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::register_child())]
        pub fn register_child(
            origin: OriginFor<T>,
            family: T::AccountId,
            child: T::AccountId,
            node_id: [u8; 32],
            node_sig: [u8; 64],
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(sender == family, Error::<T>::NotFamily);
            Self::do_register_child(family, child, node_id, node_sig)
        }

        /// Takes the sender's child out of service; its deposit stays held for the unbonding period.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::deregister_child())]
        pub fn deregister_child(origin: OriginFor<T>, child: T::AccountId) -> DispatchResult {
            let family = ensure_signed(origin)?;
            Self::do_deregister_child(family, child)
        }

        /// Frees the deposit of the sender's child after the unbonding period and removes its record.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::claim_unbonded())]
        pub fn claim_unbonded(origin: OriginFor<T>, child: T::AccountId) -> DispatchResult {
            let family = ensure_signed(origin)?;
            Self::do_claim_unbonded(family, child)
        }

        /// Stores audit results in their bucket, after every one was verified; one that does not hold fails
        /// the batch.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::submit_attestations(attestations.len() as u32))]
        pub fn submit_attestations(
            origin: OriginFor<T>,
            bucket: u32,
            attestations: AttestationsOf<T>,
        ) -> DispatchResult {
            T::AttestationAuthorityOrigin::ensure_origin(origin)?;
            Self::do_submit_attestations(bucket, attestations)
        }

        /// Anchors the bundle of an epoch's attestations, once per epoch.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::submit_attestation_commitment())]
        pub fn submit_attestation_commitment(
            origin: OriginFor<T>,
            epoch: u64,
            arion_content_hash: [u8; 32],
            attestation_merkle_root: [u8; 32],
            warden_pubkey_merkle_root: [u8; 32],
            attestation_count: u32,
        ) -> DispatchResult {
            let submitter = T::AttestationAuthorityOrigin::ensure_origin(origin)?;
            let submitted_at = frame_system::Pallet::<T>::block_number();
            Self::do_submit_commitment(
                epoch,
                EpochAttestationCommitment {
                    arion_content_hash,
                    attestation_merkle_root,
                    warden_pubkey_merkle_root,
                    attestation_count,
                    submitter,
                    submitted_at,
                },
            )
        }

        /// Makes a warden's attestations count. Admin only.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::admin())]
        pub fn register_warden(origin: OriginFor<T>, warden_pubkey: [u8; 32]) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            Self::do_register_warden(warden_pubkey)
        }

        /// Makes a warden's attestations no longer count. Admin only.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::admin())]
        pub fn deregister_warden(origin: OriginFor<T>, warden_pubkey: [u8; 32]) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            Self::do_deregister_warden(warden_pubkey)
        }

        /// Switches deposits and unbonding on or off for calls from now on. Admin only.
        #[pallet::call_index(10)]
        #[pallet::weight(T::WeightInfo::admin())]
        pub fn set_lockup_enabled(origin: OriginFor<T>, enabled: bool) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            LockupEnabled::<T>::put(enabled);
            Self::deposit_event(Event::LockupEnabledSet { enabled });
            Ok(())
        }

        /// Sets the floor of the deposit. Admin only.
        #[pallet::call_index(11)]
        #[pallet::weight(T::WeightInfo::admin())]
        pub fn set_base_child_deposit(origin: OriginFor<T>, deposit: BalanceOf<T>) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            BaseDeposit::<T>::put(deposit);
            Self::deposit_event(Event::BaseChildDepositSet { deposit });
            Ok(())
        }

        /// Lets an account bring attestations to the chain. Admin only.
        #[pallet::call_index(12)]
        #[pallet::weight(T::WeightInfo::admin())]
        pub fn add_attestation_submitter(origin: OriginFor<T>, submitter: T::AccountId) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            Self::do_add_submitter(submitter)
        }

        /// No longer lets an account bring attestations to the chain. Admin only.
        #[pallet::call_index(13)]
        #[pallet::weight(T::WeightInfo::admin())]
        pub fn remove_attestation_submitter(origin: OriginFor<T>, submitter: T::AccountId) -> DispatchResult {
            T::ArionAdminOrigin::ensure_origin(origin)?;
            Self::do_remove_submitter(submitter)
        }
    }
}
