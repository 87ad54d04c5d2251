//! Calls of `pallet-marketplace`.

use arion_types::NodeId;

use super::{Arg, Call, arg};
use crate::account::AccountId;

const PALLET: &str = "Marketplace";

/// What a service is, see `ServiceKind` of the pallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, codec::Encode)]
pub enum ServiceKind {
    /// A virtual machine for a time.
    #[codec(index = 0)]
    VirtualMachine,
    /// A container that runs to its end.
    #[codec(index = 1)]
    Container,
    /// Execution of a contract.
    #[codec(index = 2)]
    ContractExecution,
    /// Whatever else the name says.
    #[codec(index = 3)]
    Other,
}

/// A service on offer.
#[derive(Clone, PartialEq, Eq, Debug, codec::Encode)]
pub struct ServiceTerms {
    /// What it is.
    pub kind: ServiceKind,
    /// Its name: 1 to 32 bytes of UTF-8.
    pub name: String,
    /// Units of 10^-12 credits per piece.
    pub price: u128,
    /// Blocks from acceptance to the deadline of the delivery.
    pub delivery_blocks: u32,
}

/// How a payment that an authority vouches for was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, codec::Encode)]
pub enum PaymentMethod {
    /// In a state's currency.
    #[codec(index = 0)]
    Fiat,
    /// In TAO.
    #[codec(index = 1)]
    Tao,
}

impl Call {
    fn marketplace(name: &'static str, args: Vec<Arg>) -> Self {
        Self::new(PALLET, name, args)
    }

    /// `Marketplace.set_credit_price`, smallest units of ALPHA per credit; governance.
    pub fn set_credit_price(price: u128) -> Self {
        Self::marketplace("set_credit_price", vec![arg(&price)])
    }

    /// `Marketplace.set_storage_price`, units of 10^-12 credits per GiB-hour; governance.
    pub fn set_storage_price(price: u128) -> Self {
        Self::marketplace("set_storage_price", vec![arg(&price)])
    }

    /// `Marketplace.set_service`: on offer at these terms, or no longer; governance.
    pub fn set_service(service: u16, terms: Option<&ServiceTerms>) -> Self {
        Self::marketplace("set_service", vec![arg(&service), arg(&terms)])
    }

    /// `Marketplace.add_payment_authority`; governance.
    pub fn add_payment_authority(authority: &AccountId) -> Self {
        Self::marketplace("add_payment_authority", vec![arg(authority)])
    }

    /// `Marketplace.buy_credits`: `credits` units for `beneficiary`, for at most `alpha_max` of the sender's ALPHA.
    pub fn buy_credits(beneficiary: &AccountId, credits: u128, alpha_max: u128) -> Self {
        Self::marketplace("buy_credits", vec![arg(beneficiary), arg(&credits), arg(&alpha_max)])
    }

    /// `Marketplace.credit_payment`, signed by a payment authority, whose ALPHA backs the credits.
    pub fn credit_payment(
        payment_id: &str,
        method: PaymentMethod,
        beneficiary: &AccountId,
        credits: u128,
        alpha_max: u128,
    ) -> Self {
        let args = vec![arg(&payment_id), arg(&method), arg(beneficiary), arg(&credits), arg(&alpha_max)];
        Self::marketplace("credit_payment", args)
    }

    /// `Marketplace.authorize_gateway`: it may bill the sender for up to `bytes_max` bytes.
    pub fn authorize_gateway(gateway: &NodeId, bytes_max: u64) -> Self {
        Self::marketplace("authorize_gateway", vec![arg(&gateway.0), arg(&bytes_max)])
    }

    /// `Marketplace.commit_usage`, signed by the owner of the gateway: root and live bytes of its ledger, and what
    /// accounts store now, strictly increasing in account.
    pub fn commit_usage(
        gateway: &NodeId,
        sequence: u64,
        root: &[u8; 32],
        bytes: u64,
        updates: &[(AccountId, u64)],
    ) -> Self {
        let updates = Arg::Encoded(codec::Encode::encode(updates));
        let args = vec![arg(&gateway.0), arg(&sequence), arg(root), arg(&bytes), updates];
        Self::marketplace("commit_usage", args)
    }

    /// `Marketplace.request_service`: `quantity` pieces for at most `credits_max` units; `spec` is the BLAKE3 hash of
    /// the description of the work.
    pub fn request_service(service: u16, quantity: u32, spec: &[u8; 32], credits_max: u128) -> Self {
        let args = vec![arg(&service), arg(&quantity), arg(spec), arg(&credits_max)];
        Self::marketplace("request_service", args)
    }

    /// `Marketplace.assign_miner`, signed by a validator: its vote.
    pub fn assign_miner(request: u64, node: &NodeId) -> Self {
        Self::marketplace("assign_miner", vec![arg(&request), arg(&node.0)])
    }

    /// `Marketplace.accept_request`, signed by the owner of the assigned node.
    pub fn accept_request(request: u64) -> Self {
        Self::marketplace("accept_request", vec![arg(&request)])
    }

    /// `Marketplace.report_delivery`, signed by the owner of the assigned node; `result` is the BLAKE3 hash of what was
    /// delivered.
    pub fn report_delivery(request: u64, result: &[u8; 32]) -> Self {
        Self::marketplace("report_delivery", vec![arg(&request), arg(result)])
    }

    /// `Marketplace.confirm_delivery`, signed by the client.
    pub fn confirm_delivery(request: u64) -> Self {
        Self::marketplace("confirm_delivery", vec![arg(&request)])
    }

    /// `Marketplace.claim`: pays out what `account` earned.
    pub fn claim(account: &AccountId) -> Self {
        Self::marketplace("claim", vec![arg(account)])
    }
}
