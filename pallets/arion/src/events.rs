//! What the pallet tells. Part of the pallet's module.

use frame_support::pallet_macros::pallet_section;

#[pallet_section]
mod events_section {
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
        /// A child's deposit is free again and its record gone: claimed, or swept where nothing was held.
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
        /// Weights of all nodes were computed for a bucket that is over.
        #[codec(index = 8)]
        NodeWeightsUpdated {
            /// The bucket.
            bucket: u32,
            /// How many nodes.
            updates: u32,
        },
        /// Weights of all families were computed for a bucket that is over.
        #[codec(index = 9)]
        FamilyWeightsComputed {
            /// The bucket.
            bucket: u32,
            /// How many families.
            families: u32,
        },
        /// Stats of miners were published.
        #[codec(index = 10)]
        MinerStatsUpdated {
            /// The bucket.
            bucket: u32,
            /// How many miners.
            updates: u32,
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
            /// Votes of the validators that want this very map now.
            votes: u128,
            /// Votes with which it takes effect.
            votes_needed: u128,
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
        /// A validator reported the quality of miners.
        #[codec(index = 16)]
        NodeQualityReported {
            /// Who.
            validator: T::AccountId,
            /// The bucket.
            bucket: u32,
            /// How many miners of the report are active children; the others were passed over.
            updates: u32,
        },
        /// It was shown that a warden has two verdicts on one challenge; it is deregistered.
        #[codec(index = 17)]
        ConflictingAttestationsReported {
            /// Who showed it.
            reporter: T::AccountId,
            /// The warden.
            warden_pubkey: [u8; 32],
            /// Shard of the challenge.
            shard_hash: [u8; 32],
            /// Number of its miner.
            miner_uid: u32,
            /// Block of its seed.
            block_number: u64,
        },
        /// A child will be away.
        #[codec(index = 18)]
        MaintenanceAnnounced {
            /// The child.
            child: T::AccountId,
            /// From this block on.
            from: BlockNumberFor<T>,
            /// In this one it is back.
            until: BlockNumberFor<T>,
        },
    }
}
