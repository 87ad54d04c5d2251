//! Constants and the rest of the runtime, as the pallet needs them. Part of the pallet's module.

use frame_support::pallet_macros::pallet_section;

#[pallet_section]
mod config_section {
    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId = AccountId32, Hash = H256, RuntimeEvent: From<Event<Self>>>
        + CreateAuthorizedTransaction<Call<Self>>
    {
        /// Admits wardens and submitters, sets lockup and the base deposit.
        type ArionAdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// A validator; succeeds with its account, which is its vote.
        type MapAuthorityOrigin: EnsureOrigin<Self::RuntimeOrigin, Success = Self::AccountId>;
        /// Who may bring attestations; succeeds with the account.
        type AttestationAuthorityOrigin: EnsureOrigin<Self::RuntimeOrigin, Success = Self::AccountId>;
        /// A validator that reports the quality of miners; succeeds with its account.
        type WeightAuthorityOrigin: EnsureOrigin<Self::RuntimeOrigin, Success = Self::AccountId>;
        /// Whose reporter a key is, in the current session.
        type Reporters: ReporterOwner<Self::AccountId>;
        /// Who may publish stats.
        type StatsAuthorityOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// The validators whose votes count now, each with its votes, which are more than 0. Their sum fits
        /// `u128`.
        type ValidatorVotes: Get<Vec<(Self::AccountId, u128)>>;
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
        /// Blocks between the announcement of maintenance and its beginning, at least: more than all attempts of a
        /// challenge take, so that nobody announces because it was challenged.
        #[pallet::constant]
        type MaintenanceNoticeBlocks: Get<BlockNumberFor<Self>>;
        /// Most blocks of maintenance of a child in a period.
        #[pallet::constant]
        type MaintenanceBlocksMax: Get<BlockNumberFor<Self>>;
        /// Blocks of such a period.
        #[pallet::constant]
        type MaintenancePeriodBlocks: Get<BlockNumberFor<Self>>;
        /// Most wardens at one time.
        #[pallet::constant]
        type MaxWardens: Get<u32>;
        /// Most submitters at one time.
        #[pallet::constant]
        type MaxAttestationSubmitters: Get<u32>;

        /// Blocks per weight bucket. A report belongs to the bucket of its block; when a bucket is over, its
        /// weights are computed.
        #[pallet::constant]
        type WeightBucketBlocks: Get<BlockNumberFor<Self>>;
        /// Most validators that can report in one bucket.
        #[pallet::constant]
        type MaxWeightReporters: Get<u32>;
        /// Children after which a block stops computing weights of a closed bucket; it finishes the family it
        /// is at.
        #[pallet::constant]
        type MaxChildrenWeighedPerBlock: Get<u32>;
        /// Permille of a node's score that bandwidth makes.
        #[pallet::constant]
        type NodeBandwidthWeightPermille: Get<u32>;
        /// Permille of a node's score that storage makes.
        #[pallet::constant]
        type NodeStorageWeightPermille: Get<u32>;
        /// What a doubling of bytes adds to a score.
        #[pallet::constant]
        type NodeScoreScale: Get<u32>;
        /// Bytes at which the score's curve bends: `NodeScoreScale * log2(1 + bytes / NodeScoreUnitBytes)`. Far
        /// below, it is proportional to the bytes, so that dust is worth dust however it is spread.
        #[pallet::constant]
        type NodeScoreUnitBytes: Get<u64>;
        /// Taken off a node's weight per strike.
        #[pallet::constant]
        type StrikePenalty: Get<u32>;
        /// Taken off a node's weight per integrity failure.
        #[pallet::constant]
        type IntegrityFailPenalty: Get<u32>;
        /// Most a node weighs.
        #[pallet::constant]
        type MaxNodeWeight: Get<u16>;
        /// Nodes of a family that count.
        #[pallet::constant]
        type FamilyTopN: Get<u32>;
        /// Permille of the rank before that each rank of a family counts.
        #[pallet::constant]
        type FamilyRankDecayPermille: Get<u32>;
        /// Permille of a new raw weight in the smoothed one.
        #[pallet::constant]
        type FamilyWeightEmaAlphaPermille: Get<u32>;
        /// Most a family's weight changes in one bucket.
        #[pallet::constant]
        type MaxFamilyWeightDeltaPerBucket: Get<u16>;
        /// Most a family weighs.
        #[pallet::constant]
        type MaxFamilyWeight: Get<u16>;
        /// Buckets from a family's first registration in which it weighs at least the floor.
        #[pallet::constant]
        type NewcomerGraceBuckets: Get<u32>;
        /// Least weight of a newcomer whose nodes are up.
        #[pallet::constant]
        type NewcomerFloorWeight: Get<u16>;

        /// Cost of the calls.
        type WeightInfo: WeightInfo;
        /// Sets up, for benchmarks, what this pallet knows of the rest of the runtime.
        #[cfg(feature = "runtime-benchmarks")]
        type BenchmarkHelper: BenchmarkHelper<Self::AccountId>;
    }
}
