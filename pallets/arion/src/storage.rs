//! What the pallet stores. Part of the pallet's module.

use frame_support::pallet_macros::pallet_section;

#[pallet_section]
mod storage_section {
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

    /// Keys of wardens that contradicted themselves, with what shows it. They are never registered again.
    #[pallet::storage]
    pub type WardenConflicts<T: Config> =
        StorageMap<_, Blake2_128Concat, [u8; 32], WardenConflict<T::AccountId, BlockNumberFor<T>>>;

    /// Accounts, besides the validators, that may bring attestations to the chain.
    #[pallet::storage]
    pub type AttestationSubmitters<T: Config> =
        CountedStorageMap<_, Blake2_128Concat, T::AccountId, (), OptionQuery>;

    /// Kept epochs, oldest first, each with the block in which its map took effect (0 for those of before
    /// this was recorded).
    #[pallet::storage]
    pub type EpochStarts<T: Config> =
        StorageValue<_, BoundedVec<(u64, BlockNumberFor<T>), T::MaxEpochsKept>, ValueQuery>;

    // quality and weights

    /// Weight of a node after the last round; 0 unless it is an active child that was weighed.
    #[pallet::storage]
    pub type NodeWeightByChild<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u16, ValueQuery>;

    /// Quality of an active child as validators and wardens agreed on last.
    #[pallet::storage]
    pub type NodeQualityByChild<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, NodeQuality>;

    /// Smoothed weight of a family with active children; what payouts go by.
    #[pallet::storage]
    pub type FamilyWeight<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u16, ValueQuery>;

    /// Weight of a family with active children before smoothing.
    #[pallet::storage]
    pub type FamilyWeightRaw<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u16, ValueQuery>;

    /// Newest bucket whose weights are all computed; 0 before the first.
    #[pallet::storage]
    pub type CurrentWeightBucket<T: Config> = StorageValue<_, u32, ValueQuery>;

    /// Bucket of a family's first registration, from which its grace counts. Stays when the family leaves.
    #[pallet::storage]
    pub type FamilyGraceStart<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u32>;

    /// Validators that reported in the open bucket, in the order in which they did.
    #[pallet::storage]
    pub type WeightReporters<T: Config> =
        StorageMap<_, Twox64Concat, u32, BoundedVec<T::AccountId, T::MaxWeightReporters>, ValueQuery>;

    /// Reports about an active child, of the open bucket and of the one whose weights are being computed.
    #[pallet::storage]
    pub type QualityReports<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        u32,
        Blake2_128Concat,
        T::AccountId,
        BoundedVec<QualityReport, T::MaxWeightReporters>,
        ValueQuery,
    >;

    /// Audits of an active child, of the same two buckets, one entry per warden.
    #[pallet::storage]
    pub type AuditTallies<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        u32,
        Blake2_128Concat,
        T::AccountId,
        BoundedVec<AuditTally, T::MaxWardens>,
        ValueQuery,
    >;

    /// Timeouts of an active child that one warden alone saw in the last closed bucket: they count with the next
    /// one if another warden sees the child fail in it, or not at all.
    #[pallet::storage]
    pub type TimeoutsToConfirm<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, UnconfirmedTimeouts>;

    /// When an active child is away as announced, or was last.
    #[pallet::storage]
    pub type Maintenances<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, Maintenance<BlockNumberFor<T>>>;

    /// How the audits of an active child ended, all wardens together.
    #[pallet::storage]
    pub type AuditCountsByChild<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, AuditCounts, ValueQuery>;

    /// The closed bucket whose weights are being computed.
    #[pallet::storage]
    pub type CurrentWeightRound<T: Config> = StorageValue<_, WeightRound<T::AccountId>>;

    /// Votes of that bucket's reporters, in their order; 0 for those that were no longer validators when it
    /// closed.
    #[pallet::storage]
    pub type ClosingVotes<T: Config> = StorageValue<_, BoundedVec<u128, T::MaxWeightReporters>, ValueQuery>;

    /// Stats of an active child, as a validator last gave them. Nothing on chain goes by them.
    #[pallet::storage]
    pub type MinerStats<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, MinerStatsRecord>;

    /// Totals of the network, as a validator last gave them. Nothing on chain goes by them.
    #[pallet::storage]
    pub type NetworkStats<T: Config> = StorageValue<_, NetworkStatsRecord>;

    /// Where the search for what has had its time goes on.
    #[pallet::storage]
    pub type SweepPosition<T: Config> = StorageValue<_, Sweep, ValueQuery>;
}
