//! Why a call was refused and what to do about it.

use frame_support::pallet_macros::pallet_section;

/// Errors of the pallet.
#[pallet_section]
mod errors {
    #[pallet::error]
    pub enum Error<T> {
        /// The price is out of bounds: a credit costs 10^12 to 10^27 of the smallest unit of ALPHA, a GiB-hour
        /// at most 1,000 credits. Take one within them.
        #[codec(index = 0)]
        PriceOutOfRange,
        /// A service needs a name in UTF-8, a price from 1 unit to 10^9 credits and time to deliver. Correct
        /// the terms.
        #[codec(index = 1)]
        InvalidServiceTerms,
        /// The account is a payment authority already. Nothing needs to be done.
        #[codec(index = 2)]
        AuthorityAlreadyAdded,
        /// The account is no payment authority. Use one of `PaymentAuthorities`, or have governance add it.
        #[codec(index = 3)]
        NotPaymentAuthority,
        /// There are as many payment authorities as there can be (`MaxPaymentAuthorities`). Remove one first.
        #[codec(index = 4)]
        TooManyPaymentAuthorities,
        /// The amount is 0. State what you want.
        #[codec(index = 5)]
        ZeroAmount,
        /// The amount, or what the account would have with it, is more than can be counted. Take less.
        #[codec(index = 6)]
        AmountTooLarge,
        /// It costs more than the limit in the call: the price has changed. Look at the price and call again.
        #[codec(index = 7)]
        PriceAboveLimit,
        /// The paying account has too little ALPHA (it must keep its existential deposit). Fund it, or buy
        /// less.
        #[codec(index = 8)]
        InsufficientAlpha,
        /// The account has too few credits for this, after what it was charged up to now. Buy credits.
        #[codec(index = 9)]
        NotEnoughCredits,
        /// The payment's id is empty. Use the id of the payment provider.
        #[codec(index = 10)]
        EmptyPaymentId,
        /// The payment was credited already. Nothing needs to be done; a new payment needs an id of its own.
        #[codec(index = 11)]
        PaymentAlreadyCredited,
        /// No payment with this id was credited. Check the id.
        #[codec(index = 12)]
        UnknownPayment,
        /// More credits than are left of the payment. Refund at most `credits - refunded`.
        #[codec(index = 13)]
        RefundExceedsPayment,
        /// No gateway with this node id is registered. Check the node id; register it with
        /// `registration.registerNode`.
        #[codec(index = 14)]
        GatewayNotRegistered,
        /// The gateway belongs to somebody else. Sign with its owner's account.
        #[codec(index = 15)]
        NotGatewayOwner,
        /// The account authorizes as many gateways as it can (`MaxGatewaysPerAccount`). Revoke one first.
        #[codec(index = 16)]
        TooManyGateways,
        /// The gateway stores more for the account than the new limit. Delete data first, or revoke the
        /// gateway.
        #[codec(index = 17)]
        LimitBelowUsage,
        /// The account owes credits. Buy credits first.
        #[codec(index = 18)]
        AgreementInArrears,
        /// The account has no storage agreement. Authorize a gateway first.
        #[codec(index = 19)]
        AgreementNotFound,
        /// The account does not authorize this gateway. Check the node id.
        #[codec(index = 20)]
        GatewayNotAuthorized,
        /// The gateway is still registered: only the account itself can revoke it. Have the account call
        /// `revoke_gateway`, or wait until the gateway is deregistered.
        #[codec(index = 21)]
        GatewayStillRegistered,
        /// The sequence number was used or is older than one that was. Use a greater one.
        #[codec(index = 22)]
        SequenceNotIncreasing,
        /// The updates are not strictly increasing in account. Sort them and name each account once.
        #[codec(index = 23)]
        UpdatesNotSorted,
        /// With the updates more bytes would be billed than the ledger holds. Commit what became less first.
        #[codec(index = 24)]
        BilledMoreThanAnchored,
        /// No service with this number is on offer. See `Services`.
        #[codec(index = 25)]
        ServiceNotOffered,
        /// No such request, or it was over long ago. Check the number.
        #[codec(index = 26)]
        RequestNotFound,
        /// The request is not in the state this step needs. See its `status`.
        #[codec(index = 27)]
        WrongRequestStatus,
        /// The deadline of this step is over. `poke_request` moves the request on.
        #[codec(index = 28)]
        DeadlinePassed,
        /// The deadline of the request is not over. Wait for it.
        #[codec(index = 29)]
        DeadlineNotPassed,
        /// The request came in this very block, whose hash is not known yet. Call in a later block.
        #[codec(index = 30)]
        SeedNotKnown,
        /// No node with this id is registered that may do this. Check the node id.
        #[codec(index = 31)]
        NotServiceNode,
        /// More validators than votes can be kept of (`MaxValidators`). The runtime has to be configured for
        /// more.
        #[codec(index = 32)]
        TooManyVotes,
        /// The node assigned to the request belongs to somebody else. Sign with its owner's account.
        #[codec(index = 33)]
        NotAssignedOwner,
        /// The request is somebody else's. Sign with the client's account.
        #[codec(index = 34)]
        NotClient,
        /// Nothing can be claimed for the account. Wait for the next settlement.
        #[codec(index = 35)]
        NothingToClaim,
        /// The account cannot take the ALPHA: it does not exist and the amount is below the existential
        /// deposit. Fund the account, or wait until more can be claimed.
        #[codec(index = 36)]
        AccountCannotReceive,
    }
}
