//! The calls: each checks its origin and hands over to `impls`.

use frame_support::pallet_macros::pallet_section;

/// Calls of the pallet.
#[pallet_section]
mod calls {
    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Sets what a credit costs, in the smallest unit of ALPHA, for purchases from now on. Governance only.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::set_credit_price())]
        pub fn set_credit_price(origin: OriginFor<T>, price: u128) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_set_credit_price(price)
        }

        /// Sets what a GiB-hour costs, in units of 10^-12 credits, from this block on. Governance only.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::set_storage_price())]
        pub fn set_storage_price(origin: OriginFor<T>, price: u128) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_set_storage_price(price)
        }

        /// Offers a service at these terms, or, without terms, no longer. Requests made before keep theirs.
        /// Governance only.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::set_service())]
        pub fn set_service(
            origin: OriginFor<T>,
            service: u16,
            terms: Option<ServiceTerms<BlockNumberFor<T>>>,
        ) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_set_service(service, terms)
        }

        /// Lets an account credit payments, with its own ALPHA. Governance only.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::add_payment_authority())]
        pub fn add_payment_authority(origin: OriginFor<T>, authority: T::AccountId) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_add_payment_authority(authority)
        }

        /// No longer lets an account credit payments. Governance only.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::remove_payment_authority())]
        pub fn remove_payment_authority(origin: OriginFor<T>, authority: T::AccountId) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_remove_payment_authority(authority)
        }

        /// Buys `credits` units of 10^-12 credits for `beneficiary` at the present price, for at most
        /// `alpha_max` of the sender's ALPHA. Debt of the beneficiary is paid from them at once.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::buy_credits())]
        pub fn buy_credits(
            origin: OriginFor<T>,
            beneficiary: T::AccountId,
            credits: u128,
            alpha_max: u128,
        ) -> DispatchResult {
            let payer = ensure_signed(origin)?;
            Self::do_buy_credits(payer, beneficiary, credits, alpha_max)
        }

        /// Turns bought credits of the sender back into the ALPHA behind them.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::refund_credits())]
        pub fn refund_credits(origin: OriginFor<T>, credits: u128) -> DispatchResult {
            let account = ensure_signed(origin)?;
            Self::do_refund_credits(account, credits)
        }

        /// Credits a payment that was made elsewhere, once per `payment_id`, with at most `alpha_max` of the
        /// sender's ALPHA behind it. Payment authorities only.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::credit_payment())]
        pub fn credit_payment(
            origin: OriginFor<T>,
            payment_id: PaymentId,
            method: PaymentMethod,
            beneficiary: T::AccountId,
            credits: u128,
            alpha_max: u128,
        ) -> DispatchResult {
            let authority = Self::ensure_payment_authority(origin)?;
            Self::do_credit_payment(authority, payment_id, method, beneficiary, credits, alpha_max)
        }

        /// Takes back unspent credits of a payment that was refunded elsewhere; the ALPHA behind them returns
        /// to the authority that credited it. Payment authorities only.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::refund_payment())]
        pub fn refund_payment(origin: OriginFor<T>, payment_id: PaymentId, credits: u128) -> DispatchResult {
            Self::ensure_payment_authority(origin)?;
            Self::do_refund_payment(payment_id, credits)
        }

        /// Lets a gateway bill the sender for up to `bytes_max` bytes; opens a storage agreement if there is
        /// none, changes the limit if the gateway is authorized already.
        #[pallet::call_index(9)]
        #[pallet::weight(T::WeightInfo::authorize_gateway())]
        pub fn authorize_gateway(origin: OriginFor<T>, gateway: [u8; 32], bytes_max: u64) -> DispatchResult {
            let account = ensure_signed(origin)?;
            Self::do_authorize_gateway(account, gateway, bytes_max)
        }

        /// No longer lets a gateway bill the sender. The gateway can delete the data at once.
        #[pallet::call_index(10)]
        #[pallet::weight(T::WeightInfo::revoke_gateway())]
        pub fn revoke_gateway(origin: OriginFor<T>, gateway: [u8; 32]) -> DispatchResult {
            let account = ensure_signed(origin)?;
            Self::do_revoke_gateway(account, gateway)
        }

        /// Ends the billing of an account for a gateway that is no longer registered. Anybody may call it.
        #[pallet::call_index(11)]
        #[pallet::weight(T::WeightInfo::drop_gateway())]
        pub fn drop_gateway(
            origin: OriginFor<T>,
            account: T::AccountId,
            gateway: [u8; 32],
        ) -> DispatchResult {
            ensure_signed(origin)?;
            ensure!(T::Nodes::gateway_owner(&gateway).is_none(), Error::<T>::GatewayStillRegistered);
            Self::do_revoke_gateway(account, gateway)
        }

        /// Anchors the ledger of a gateway of the sender, and sets how many bytes accounts store there.
        /// Updates that cannot be applied are skipped with `UsageSkipped`; the anchor counts nevertheless.
        #[pallet::call_index(12)]
        #[pallet::weight(T::WeightInfo::commit_usage(updates.len() as u32))]
        pub fn commit_usage(
            origin: OriginFor<T>,
            gateway: [u8; 32],
            sequence: u64,
            root: [u8; 32],
            bytes: u64,
            updates: UpdatesOf<T>,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let owner = T::Nodes::gateway_owner(&gateway).ok_or(Error::<T>::GatewayNotRegistered)?;
            ensure!(owner == sender, Error::<T>::NotGatewayOwner);
            Self::do_commit_usage(gateway, sequence, root, bytes, updates)
        }

        /// Charges an account up to now and moves its agreement on if that is due. Anybody may call it.
        #[pallet::call_index(13)]
        #[pallet::weight(T::WeightInfo::poke())]
        pub fn poke(origin: OriginFor<T>, account: T::AccountId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::touch(&account).map(drop)
        }

        /// Requests `quantity` pieces of a service for at most `credits_max` units, which are reserved. `spec`
        /// is the BLAKE3 hash of the description of the work.
        #[pallet::call_index(14)]
        #[pallet::weight(T::WeightInfo::request_service())]
        pub fn request_service(
            origin: OriginFor<T>,
            service: u16,
            quantity: u32,
            spec: [u8; 32],
            credits_max: u128,
        ) -> DispatchResult {
            let client = ensure_signed(origin)?;
            Self::do_request_service(client, service, quantity, spec, credits_max)
        }

        /// Votes for the node that is to serve a request; two thirds of the validators assign it. Validators
        /// only.
        #[pallet::call_index(15)]
        #[pallet::weight(T::WeightInfo::assign_miner())]
        pub fn assign_miner(origin: OriginFor<T>, request: u64, node_id: [u8; 32]) -> DispatchResult {
            let validator = T::ValidatorOrigin::ensure_origin(origin)?;
            Self::do_assign_miner(validator, request, node_id)
        }

        /// Accepts a request. The owner of the assigned node only.
        #[pallet::call_index(16)]
        #[pallet::weight(T::WeightInfo::accept_request())]
        pub fn accept_request(origin: OriginFor<T>, request: u64) -> DispatchResult {
            let owner = ensure_signed(origin)?;
            Self::do_accept_request(owner, request)
        }

        /// Reports that the work is done; `result` is the BLAKE3 hash of what was delivered. The owner of the
        /// assigned node only.
        #[pallet::call_index(17)]
        #[pallet::weight(T::WeightInfo::report_delivery())]
        pub fn report_delivery(origin: OriginFor<T>, request: u64, result: [u8; 32]) -> DispatchResult {
            let owner = ensure_signed(origin)?;
            Self::do_report_delivery(owner, request, result)
        }

        /// Confirms a delivery, which is paid at once. The client only.
        #[pallet::call_index(18)]
        #[pallet::weight(T::WeightInfo::confirm_delivery())]
        pub fn confirm_delivery(origin: OriginFor<T>, request: u64) -> DispatchResult {
            let client = ensure_signed(origin)?;
            Self::do_confirm_delivery(client, request)
        }

        /// Disputes a delivery; the validators decide. The client only.
        #[pallet::call_index(19)]
        #[pallet::weight(T::WeightInfo::dispute_delivery())]
        pub fn dispute_delivery(origin: OriginFor<T>, request: u64) -> DispatchResult {
            let client = ensure_signed(origin)?;
            Self::do_dispute_delivery(client, request)
        }

        /// Votes whether a disputed delivery is paid or refunded; two thirds of the validators decide.
        /// Validators only.
        #[pallet::call_index(20)]
        #[pallet::weight(T::WeightInfo::resolve_dispute())]
        pub fn resolve_dispute(origin: OriginFor<T>, request: u64, pay: bool) -> DispatchResult {
            let validator = T::ValidatorOrigin::ensure_origin(origin)?;
            Self::do_resolve_dispute(validator, request, pay)
        }

        /// Cancels a request that was not accepted yet. The client only.
        #[pallet::call_index(21)]
        #[pallet::weight(T::WeightInfo::cancel_request())]
        pub fn cancel_request(origin: OriginFor<T>, request: u64) -> DispatchResult {
            let client = ensure_signed(origin)?;
            Self::do_cancel_request(client, request)
        }

        /// Moves a request on whose deadline is over: pays, refunds or removes it. Anybody may call it.
        #[pallet::call_index(22)]
        #[pallet::weight(T::WeightInfo::poke_request())]
        pub fn poke_request(origin: OriginFor<T>, request: u64) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_poke_request(request)
        }

        /// Pays out what `account` earned. Anybody may call it.
        #[pallet::call_index(23)]
        #[pallet::weight(T::WeightInfo::claim())]
        pub fn claim(origin: OriginFor<T>, account: T::AccountId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_claim(account)
        }
    }
}
