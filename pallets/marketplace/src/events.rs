//! What happened: see the metadata, or docs/spec/marketplace.md.

use frame_support::pallet_macros::pallet_section;

/// Events of the pallet.
#[pallet_section]
mod events {
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A credit has a new price, for purchases from now on.
        #[codec(index = 0)]
        CreditPriceSet {
            /// ALPHA per credit.
            price: u128,
        },
        /// Storage has a new price, from this block on.
        #[codec(index = 1)]
        StoragePriceSet {
            /// Units of credit per GiB-hour.
            price: u128,
        },
        /// A service is on offer at these terms, or no longer.
        #[codec(index = 2)]
        ServiceSet {
            /// Its number.
            service: u16,
            /// The terms; `None` if it is no longer on offer.
            terms: Option<ServiceTerms<BlockNumberFor<T>>>,
        },
        /// An account may credit payments.
        #[codec(index = 3)]
        PaymentAuthorityAdded {
            /// The account.
            authority: T::AccountId,
        },
        /// An account may no longer credit payments.
        #[codec(index = 4)]
        PaymentAuthorityRemoved {
            /// The account.
            authority: T::AccountId,
        },
        /// Credits were bought with ALPHA.
        #[codec(index = 5)]
        CreditsBought {
            /// Who paid.
            payer: T::AccountId,
            /// Who got the credits.
            beneficiary: T::AccountId,
            /// Units of credit.
            credits: u128,
            /// ALPHA deposited.
            alpha: u128,
        },
        /// Bought credits were turned back into the ALPHA behind them.
        #[codec(index = 6)]
        CreditsRefunded {
            /// The account.
            account: T::AccountId,
            /// Units of credit.
            credits: u128,
            /// ALPHA paid out.
            alpha: u128,
        },
        /// A payment made elsewhere was turned into credits.
        #[codec(index = 7)]
        PaymentCredited {
            /// Its external id.
            payment_id: PaymentId,
            /// How it was paid.
            method: PaymentMethod,
            /// Who vouches for it and deposited the ALPHA.
            authority: T::AccountId,
            /// Who got the credits.
            beneficiary: T::AccountId,
            /// Units of credit.
            credits: u128,
            /// ALPHA deposited.
            alpha: u128,
        },
        /// Credits of a payment were taken back, as it was refunded elsewhere.
        #[codec(index = 8)]
        PaymentRefunded {
            /// Its external id.
            payment_id: PaymentId,
            /// Who lost the credits.
            beneficiary: T::AccountId,
            /// Units of credit.
            credits: u128,
            /// ALPHA returned to the authority.
            alpha: u128,
        },
        /// An account lets a gateway bill it.
        #[codec(index = 9)]
        GatewayAuthorized {
            /// The account.
            account: T::AccountId,
            /// Node id of the gateway.
            gateway: [u8; 32],
            /// Most bytes that may be billed.
            bytes_max: u64,
        },
        /// A gateway may no longer bill an account: it can delete what it stores for it.
        #[codec(index = 10)]
        GatewayRevoked {
            /// The account.
            account: T::AccountId,
            /// Node id of the gateway.
            gateway: [u8; 32],
            /// Bytes that are no longer billed.
            bytes: u64,
        },
        /// A gateway anchored its ledger.
        #[codec(index = 11)]
        LedgerAnchored {
            /// Node id of the gateway.
            gateway: [u8; 32],
            /// Number of the commitment.
            sequence: u64,
            /// Root over the segments.
            root: [u8; 32],
            /// Live bytes.
            bytes: u64,
            /// Updates that were applied.
            applied: u32,
            /// Updates that were not, see `UsageSkipped`.
            skipped: u32,
        },
        /// An account stores another number of bytes at a gateway.
        #[codec(index = 12)]
        UsageChanged {
            /// The account.
            account: T::AccountId,
            /// Node id of the gateway.
            gateway: [u8; 32],
            /// Bytes there now.
            bytes: u64,
        },
        /// A gateway's update for an account was not applied.
        #[codec(index = 13)]
        UsageSkipped {
            /// The account.
            account: T::AccountId,
            /// Node id of the gateway.
            gateway: [u8; 32],
            /// Bytes it asked for.
            bytes: u64,
            /// Why not.
            reason: SkipReason,
        },
        /// Storage was charged, or a debt paid.
        #[codec(index = 14)]
        StorageCharged {
            /// The account.
            account: T::AccountId,
            /// Units charged since the last time.
            credits: u128,
            /// Units paid, for them and for debt.
            paid: u128,
            /// ALPHA behind the paid units: revenue.
            alpha: u128,
            /// Units that are owed now.
            debt: u128,
        },
        /// The credits ran out. Buy credits.
        #[codec(index = 15)]
        ArrearsStarted {
            /// The account.
            account: T::AccountId,
            /// Units owed.
            debt: u128,
            /// Block from which on grace starts.
            until: BlockNumberFor<T>,
        },
        /// Nothing was paid; service goes on until `until`. Buy credits.
        #[codec(index = 16)]
        GraceStarted {
            /// The account.
            account: T::AccountId,
            /// Units owed.
            debt: u128,
            /// Block from which on the agreement is suspended.
            until: BlockNumberFor<T>,
        },
        /// Nothing was paid: reads work, usage cannot grow. Buy credits.
        #[codec(index = 17)]
        AgreementSuspended {
            /// The account.
            account: T::AccountId,
            /// Units owed.
            debt: u128,
            /// Block from which on the deletion is announced.
            until: BlockNumberFor<T>,
        },
        /// Nothing was paid: the data can be deleted from `until` on. Buy credits.
        #[codec(index = 18)]
        DeletionAnnounced {
            /// The account.
            account: T::AccountId,
            /// Units owed.
            debt: u128,
            /// Block from which on the agreement expires.
            until: BlockNumberFor<T>,
        },
        /// The agreement is over and the data can be deleted. The debt is written off.
        #[codec(index = 19)]
        AgreementExpired {
            /// The account.
            account: T::AccountId,
            /// Units that were owed.
            debt: u128,
        },
        /// The debt is paid and the agreement as good as new.
        #[codec(index = 20)]
        AgreementRestored {
            /// The account.
            account: T::AccountId,
        },
        /// The account revoked its last gateway and owes nothing: the agreement is over.
        #[codec(index = 21)]
        AgreementClosed {
            /// The account.
            account: T::AccountId,
        },
        /// A service was requested and its price reserved.
        #[codec(index = 22)]
        ServiceRequested {
            /// Number of the request.
            request: u64,
            /// Who asks.
            client: T::AccountId,
            /// Number of the service.
            service: u16,
            /// Pieces.
            quantity: u32,
            /// Units reserved.
            credits: u128,
            /// BLAKE3 of the description of the work.
            spec: [u8; 32],
        },
        /// A validator wants a node to do the work.
        #[codec(index = 23)]
        AssignmentProposed {
            /// Number of the request.
            request: u64,
            /// The validator.
            validator: T::AccountId,
            /// The node.
            node_id: [u8; 32],
            /// Its draw: the least of all nodes that are fit should win.
            draw: H256,
            /// Validators that want it.
            votes: u32,
            /// Votes that are enough.
            votes_needed: u32,
        },
        /// The validators assigned a miner.
        #[codec(index = 24)]
        MinerAssigned {
            /// Number of the request.
            request: u64,
            /// The node.
            node_id: [u8; 32],
            /// Its owner, who has to accept.
            owner: T::AccountId,
            /// Seed of the draws.
            seed: H256,
            /// The node's draw.
            draw: H256,
            /// Last block for the acceptance.
            deadline: BlockNumberFor<T>,
        },
        /// The miner's owner accepted.
        #[codec(index = 25)]
        RequestAccepted {
            /// Number of the request.
            request: u64,
            /// Last block for the delivery.
            deadline: BlockNumberFor<T>,
        },
        /// The miner's owner reported the delivery.
        #[codec(index = 26)]
        ServiceDelivered {
            /// Number of the request.
            request: u64,
            /// BLAKE3 of what was delivered.
            result: [u8; 32],
            /// Last block for a dispute.
            deadline: BlockNumberFor<T>,
        },
        /// The client disputes the delivery.
        #[codec(index = 27)]
        DeliveryDisputed {
            /// Number of the request.
            request: u64,
            /// Last block for the verdict.
            deadline: BlockNumberFor<T>,
        },
        /// A validator decided for itself.
        #[codec(index = 28)]
        VerdictProposed {
            /// Number of the request.
            request: u64,
            /// The validator.
            validator: T::AccountId,
            /// Whether the miner is to be paid.
            pay: bool,
            /// Validators that want the same.
            votes: u32,
            /// Votes that are enough.
            votes_needed: u32,
        },
        /// A service was paid.
        #[codec(index = 29)]
        ServicePaid {
            /// Number of the request.
            request: u64,
            /// The miner's owner.
            owner: T::AccountId,
            /// ALPHA it was worth.
            alpha: u128,
            /// Of that, claimable by the owner.
            reward: u128,
        },
        /// The credits of a request went back to the client.
        #[codec(index = 30)]
        ServiceRefunded {
            /// Number of the request.
            request: u64,
            /// The client.
            client: T::AccountId,
            /// Units of credit.
            credits: u128,
            /// Why.
            reason: RefundReason,
        },
        /// ALPHA can be claimed for an account.
        #[codec(index = 31)]
        RewardCredited {
            /// The account.
            account: T::AccountId,
            /// ALPHA.
            amount: u128,
        },
        /// ALPHA was paid out.
        #[codec(index = 32)]
        RewardClaimed {
            /// The account.
            account: T::AccountId,
            /// ALPHA.
            amount: u128,
        },
        /// The revenue of a period was split.
        #[codec(index = 33)]
        PeriodSettled {
            /// ALPHA from storage.
            storage: u128,
            /// ALPHA from services.
            services: u128,
            /// ALPHA to families by weight.
            miners: u128,
            /// ALPHA to validators and stakers.
            network: u128,
            /// ALPHA to the treasury.
            treasury: u128,
            /// ALPHA carried to the next period.
            carried: u128,
        },
    }
}
