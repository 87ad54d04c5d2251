//! Questions about credits, usage, services and payouts that clients ask the runtime.
//!
//! Every answer is as of the block that is asked: what accrued since an account was last touched is counted in.

#![cfg_attr(not(feature = "std"), no_std)]
// The macro that declares the API generates public items without documentation.
#![allow(missing_docs)]

extern crate alloc;

use alloc::vec::Vec;
use codec::Codec;
pub use pallet_marketplace::types::{
    AgreementView, AssignmentOrder, CreditBalance, NextSettlement, Prices, ServiceRequest,
};

sp_api::decl_runtime_apis! {
    /// Credits, usage, services and payouts.
    pub trait MarketplaceApi<AccountId, BlockNumber>
    where
        AccountId: Codec,
        BlockNumber: Codec,
    {
        /// What the account can spend and what backs it.
        fn balance(account: AccountId) -> CreditBalance;
        /// The account's storage agreement: usage per gateway, charges, debt and status. `None` without one.
        fn agreement(account: AccountId) -> Option<AgreementView<BlockNumber>>;
        /// The first block in which the account is short of credits, at the present usage and price. The
        /// present block if it is short already; `None` if the credits last for good.
        fn burn_down(account: AccountId) -> Option<BlockNumber>;
        /// The present prices.
        fn prices() -> Prices;
        /// What so many credits (in units of 10^-12) cost now, in ALPHA; `None` if more than there can be.
        fn quote(credits: u128) -> Option<u128>;
        /// When the period is settled, and its revenue so far.
        fn next_settlement() -> NextSettlement<BlockNumber>;
        /// What `claim` would pay to the account.
        fn claimable(account: AccountId) -> u128;
        /// A service request, until it is removed after its end.
        fn service_request(id: u64) -> Option<ServiceRequest<AccountId, BlockNumber>>;
        /// How the given service nodes rank for a request: best first, with the draw of each. `None` while
        /// the request's seed is not known, or without such a request. At most 256 nodes are ranked.
        fn assignment_order(id: u64, nodes: Vec<[u8; 32]>) -> Option<AssignmentOrder>;
    }
}
