//! Why the pallet refuses, and what to do about it. Part of the pallet's module.

use frame_support::pallet_macros::pallet_section;

#[pallet_section]
mod errors_section {
    #[pallet::error]
    pub enum Error<T> {
        /// The epoch is not greater than the current one. Read `CurrentEpoch` and submit the next.
        #[codec(index = 0)]
        EpochRegression,
        /// There is no map yet, and the first must be of epoch 1. Submit it as epoch 1.
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
        /// The epoch has a commitment already, and commitments never change. Read it in
        /// `EpochAttestationCommitments`; commit to the next epoch.
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
        /// The bucket is over. Report for the bucket of the present block, `block / WeightBucketBlocks`.
        #[codec(index = 39)]
        WeightBucketClosed,
        /// The bucket has not begun. Report for the bucket of the present block,
        /// `block / WeightBucketBlocks`.
        #[codec(index = 40)]
        WeightBucketNotOpen,
        /// The report says nothing. Send at least one update, or, of stats, the network's totals.
        #[codec(index = 41)]
        EmptyReport,
        /// The updates are not strictly increasing in account. Sort them, and name each miner once.
        #[codec(index = 42)]
        UpdatesNotSortedOrNotUnique,
        /// An uptime is beyond 1,000 permille. Correct it.
        #[codec(index = 43)]
        InvalidUptime,
        /// The validator reported in this bucket already. Report again in the next.
        #[codec(index = 44)]
        AlreadyReported,
        /// As many validators as may (`MaxWeightReporters`) reported in this bucket. Report in the next.
        #[codec(index = 45)]
        TooManyReports,
        /// The key is no reporter of a validator of the session. Set it with `session.setKeys`, and wait until
        /// the validator is in the set.
        #[codec(index = 46)]
        UnknownReporter,
        /// The two attestations are of different wardens, who may disagree. Name two of one warden.
        #[codec(index = 47)]
        DifferentWardens,
        /// The two attestations are about different challenges: shard, miner and block must be the same. Name two
        /// about one challenge.
        #[codec(index = 48)]
        DifferentChallenges,
        /// The two attestations have the same verdict, so they do not contradict each other. Name two that do.
        #[codec(index = 49)]
        SameVerdict,
        /// It was shown already that this warden contradicted itself. Nothing needs to be done.
        #[codec(index = 50)]
        ConflictAlreadyReported,
        /// This key signed attestations that contradict each other, and is never a warden again. Register another
        /// key.
        #[codec(index = 51)]
        WardenContradictedItself,
        /// Maintenance has to be announced at least `MaintenanceNoticeBlocks` before it begins, and has to end after it
        /// begins. Choose later blocks.
        #[codec(index = 52)]
        MaintenanceTooSoon,
        /// The child has used up the blocks of maintenance that it has in a period (`MaintenanceBlocksMax` in
        /// `MaintenancePeriodBlocks`). Announce fewer, or wait until the period is over.
        #[codec(index = 53)]
        MaintenanceTooLong,
        /// Maintenance that was announced before is not over. Wait until it is: see `Maintenances`.
        #[codec(index = 54)]
        MaintenanceNotOver,
    }
}
