//! Cost of the calls.
//!
//! Derived by hand from the number of storage items a call touches in the worst case, rounded up; benchmarks that
//! measure them on the reference machine come later and replace this file.

use core::marker::PhantomData;
use frame_support::{
    traits::Get,
    weights::{Weight, constants::WEIGHT_REF_TIME_PER_MICROS},
};

use crate::Config;

/// Dispatch, decoding and hashing of a call.
const BASE: Weight = Weight::from_parts(30 * WEIGHT_REF_TIME_PER_MICROS, 4_096);
/// Decoding, comparing and reporting one usage update.
const UPDATE: Weight = Weight::from_parts(15 * WEIGHT_REF_TIME_PER_MICROS, 1_024);
/// Computing and reporting the share of one family.
const SHARE: Weight = Weight::from_parts(15 * WEIGHT_REF_TIME_PER_MICROS, 256);
/// Comparing the vote of one validator with the list of validators.
const VOTE: Weight = Weight::from_parts(5 * WEIGHT_REF_TIME_PER_MICROS, 128);

/// Cost of each call.
pub trait WeightInfo {
    /// Of `set_credit_price`.
    fn set_credit_price() -> Weight;
    /// Of `set_storage_price`.
    fn set_storage_price() -> Weight;
    /// Of `set_service`.
    fn set_service() -> Weight;
    /// Of `add_payment_authority` and `remove_payment_authority`.
    fn set_payment_authority() -> Weight;
    /// Of `buy_credits`.
    fn buy_credits() -> Weight;
    /// Of `refund_credits`.
    fn refund_credits() -> Weight;
    /// Of `credit_payment`.
    fn credit_payment() -> Weight;
    /// Of `refund_payment`.
    fn refund_payment() -> Weight;
    /// Of `authorize_gateway`.
    fn authorize_gateway() -> Weight;
    /// Of `revoke_gateway` and `drop_gateway`.
    fn revoke_gateway() -> Weight;
    /// Of `commit_usage` with so many updates.
    fn commit_usage(updates: u32) -> Weight;
    /// Of `poke`, and of one agreement in the sweep.
    fn poke() -> Weight;
    /// Of `request_service`.
    fn request_service() -> Weight;
    /// Of `assign_miner`, and of a vote in `resolve_dispute`.
    fn vote() -> Weight;
    /// Of `accept_request`, `report_delivery` and `dispute_delivery`.
    fn step() -> Weight;
    /// Of `confirm_delivery`, `cancel_request`, `poke_request`, and of one request in the sweep.
    fn end_request() -> Weight;
    /// Of `claim`.
    fn claim() -> Weight;
    /// Of a look whether a period is over.
    fn settlement_check() -> Weight;
    /// Of a settlement with so many families.
    fn settle(families: u32) -> Weight;
    /// Of reading and writing a cursor of the sweep.
    fn sweep_cursor() -> Weight;
}

/// Weights from counts of storage accesses, see the module.
pub struct HandDerived<T>(PhantomData<T>);

impl<T: Config> HandDerived<T> {
    fn accesses(reads: u64, writes: u64) -> Weight {
        T::DbWeight::get().reads_writes(reads, writes)
    }

    /// Charging an account: agreement, credits, price, revenue; and when that ends the agreement, what is
    /// billed per gateway.
    fn touch() -> Weight {
        let gateways = u64::from(T::MaxGatewaysPerAccount::get());
        Self::accesses(4 + gateways, 3 + gateways)
    }
}

impl<T: Config> WeightInfo for HandDerived<T> {
    /// The price.
    fn set_credit_price() -> Weight {
        BASE.saturating_add(Self::accesses(0, 1))
    }

    /// The price.
    fn set_storage_price() -> Weight {
        BASE.saturating_add(Self::accesses(1, 1))
    }

    /// The service.
    fn set_service() -> Weight {
        BASE.saturating_add(Self::accesses(0, 1))
    }

    /// The authority and the counter.
    fn set_payment_authority() -> Weight {
        BASE.saturating_add(Self::accesses(2, 2))
    }

    /// Price, two accounts of ALPHA; charging the beneficiary before and after.
    fn buy_credits() -> Weight {
        BASE.saturating_add(Self::touch().saturating_mul(2)).saturating_add(Self::accesses(4, 3))
    }

    /// Two accounts of ALPHA; charging before.
    fn refund_credits() -> Weight {
        BASE.saturating_add(Self::touch()).saturating_add(Self::accesses(3, 3))
    }

    /// As a purchase; authority and payment.
    fn credit_payment() -> Weight {
        Self::buy_credits().saturating_add(Self::accesses(2, 1))
    }

    /// As a refund; authority and payment.
    fn refund_payment() -> Weight {
        Self::refund_credits().saturating_add(Self::accesses(2, 1))
    }

    /// The gateway and its owner; charging before.
    fn authorize_gateway() -> Weight {
        BASE.saturating_add(Self::touch()).saturating_add(Self::accesses(2, 1))
    }

    /// The gateway and what it bills; charging before.
    fn revoke_gateway() -> Weight {
        BASE.saturating_add(Self::touch()).saturating_add(Self::accesses(2, 2))
    }

    /// Gateway, ledger, ring, what is billed; per update charging the account and what is billed.
    fn commit_usage(updates: u32) -> Weight {
        let each = UPDATE.saturating_add(Self::touch()).saturating_add(Self::accesses(1, 1));
        BASE.saturating_add(each.saturating_mul(updates.into())).saturating_add(Self::accesses(3, 2))
    }

    /// Charging.
    fn poke() -> Weight {
        BASE.saturating_add(Self::touch())
    }

    /// Service, number, request; charging before.
    fn request_service() -> Weight {
        BASE.saturating_add(Self::touch()).saturating_add(Self::accesses(2, 2))
    }

    /// Request, votes, validators, node, hash of a block.
    fn vote() -> Weight {
        let validators = u64::from(T::MaxValidators::get());
        BASE.saturating_add(VOTE.saturating_mul(validators)).saturating_add(Self::accesses(6, 2))
    }

    /// The request.
    fn step() -> Weight {
        BASE.saturating_add(Self::accesses(1, 1))
    }

    /// Request, votes, revenue, what the owner can claim; or charging the client before and after.
    fn end_request() -> Weight {
        BASE.saturating_add(Self::touch().saturating_mul(2)).saturating_add(Self::accesses(3, 4))
    }

    /// What can be claimed, two accounts of ALPHA.
    fn claim() -> Weight {
        BASE.saturating_add(Self::accesses(3, 3))
    }

    /// The revenue.
    fn settlement_check() -> Weight {
        Self::accesses(1, 0)
    }

    /// The revenue, three accounts of ALPHA, two claimable; per family its weight and what it can claim.
    fn settle(families: u32) -> Weight {
        let each = SHARE.saturating_add(Self::accesses(2, 1));
        BASE.saturating_add(each.saturating_mul(families.into())).saturating_add(Self::accesses(6, 6))
    }

    /// The cursor, and where it leads.
    fn sweep_cursor() -> Weight {
        Self::accesses(2, 1)
    }
}
