//! Prices, lengths and bounds of `pallet-marketplace`, and its view of the other pallets.

use alloc::vec::Vec;
use arion_types::NodeType;
use frame_support::{
    PalletId, parameter_types,
    traits::{ConstU8, ConstU32, ConstU128, TypedGet},
};
use pallet_marketplace::{Call, MinerWeights, NodeRegistry, ServiceKind};

use super::{ProxyType, governance::EnsureGovernance};
use crate::{
    AccountId, Balances, BlockNumber, Runtime,
    constants::{HIPP, HOURS, VALIDATORS_MAX},
    origins::{EnsureValidatorSet, SessionValidators},
    rewards::{StakersPotAccount, TreasuryAccount},
};

const DAYS: BlockNumber = 24 * HOURS;

/// A length of time: `usual`, or so many blocks on networks that are to show everything within minutes.
const fn blocks(usual: BlockNumber, fast: BlockNumber) -> BlockNumber {
    if cfg!(feature = "fast-runtime") { fast } else { usual }
}

parameter_types! {
    pub const MarketplaceId: PalletId = PalletId(*b"ar/mrket");
    pub StakersPot: AccountId = StakersPotAccount::get();
    pub Treasury: AccountId = TreasuryAccount::get();
}

/// Gateways and compute miners are nodes of `pallet-registration`.
pub struct RegisteredNodes;

fn owner_of(node_id: &[u8; 32], node_type: NodeType) -> Option<AccountId> {
    let node = pallet_registration::Nodes::<Runtime>::get(node_id)?;
    (node.node_type == node_type).then_some(node.owner)
}

impl NodeRegistry<AccountId> for RegisteredNodes {
    fn gateway_owner(node_id: &[u8; 32]) -> Option<AccountId> {
        owner_of(node_id, NodeType::Gateway)
    }

    /// Compute miners do every kind of service.
    fn service_owner(_kind: ServiceKind, node_id: &[u8; 32]) -> Option<AccountId> {
        owner_of(node_id, NodeType::ComputeMiner)
    }
}

/// Weights of the families of `pallet-arion`.
pub struct Families;

impl MinerWeights<AccountId> for Families {
    fn weights() -> Vec<(AccountId, u16)> {
        pallet_arion::Pallet::<Runtime>::family_weights()
    }
}

impl pallet_marketplace::Config for Runtime {
    type Currency = Balances;
    type GovernanceOrigin = EnsureGovernance;
    type ValidatorOrigin = EnsureValidatorSet;
    type Validators = SessionValidators;
    type Nodes = RegisteredNodes;
    type MinerWeights = Families;
    type StakingPot = StakersPot;
    type Treasury = Treasury;
    type PalletId = MarketplaceId;
    type InitialCreditPrice = ConstU128<HIPP>;
    // A hundredth of a credit for a GiB in a month of 730 hours.
    type InitialStoragePrice = ConstU128<13_700_000>;
    type BlocksPerHour = ConstU32<HOURS>;
    type RunwayBlocks = ConstU32<{ blocks(DAYS, 40) }>;
    type ArrearsBlocks = ConstU32<{ blocks(3 * DAYS, 20) }>;
    type GraceBlocks = ConstU32<{ blocks(7 * DAYS, 20) }>;
    type SuspensionBlocks = ConstU32<{ blocks(14 * DAYS, 20) }>;
    type DeletionNoticeBlocks = ConstU32<{ blocks(7 * DAYS, 20) }>;
    type MaxGatewaysPerAccount = ConstU32<4>;
    type MaxUsageUpdates = ConstU32<500>;
    type LedgerAnchorsKept = ConstU32<32>;
    type SweptAgreements = ConstU32<16>;
    type SweptRequests = ConstU32<8>;
    type MaxPaymentAuthorities = ConstU32<16>;
    type AssignmentBlocks = ConstU32<{ blocks(HOURS, 100) }>;
    type AcceptanceBlocks = ConstU32<{ blocks(HOURS, 100) }>;
    type DisputeWindowBlocks = ConstU32<{ blocks(DAYS, 40) }>;
    type VerdictBlocks = ConstU32<{ blocks(7 * DAYS, 100) }>;
    type RequestRetentionBlocks = ConstU32<{ blocks(7 * DAYS, 200) }>;
    type MaxValidators = ConstU32<VALIDATORS_MAX>;
    type SettlementPeriodBlocks = ConstU32<{ blocks(DAYS, 40) }>;
    type MinersPercent = ConstU8<60>;
    type NetworkPercent = ConstU8<30>;
    type TreasuryPercent = ConstU8<10>;
    type MaxMinerFamilies = <Runtime as pallet_arion::Config>::MaxFamilies;
    type WeightInfo = pallet_marketplace::weights::SubstrateWeight<Runtime>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = crate::benchmarking::World;
}

/// Whether a proxy of this type may make the call.
pub(super) fn is_allowed(proxy: ProxyType, call: &Call<Runtime>) -> bool {
    match proxy {
        ProxyType::Any => true,
        ProxyType::NonTransfer => !spends(call),
        ProxyType::Storage => is_of_operators(call),
        ProxyType::Staking | ProxyType::Governance => false,
    }
}

/// Whether a call turns ALPHA or credits of the sender into something of somebody else's.
fn spends(call: &Call<Runtime>) -> bool {
    matches!(
        call,
        Call::buy_credits { .. }
            | Call::credit_payment { .. }
            | Call::refund_payment { .. }
            | Call::authorize_gateway { .. }
            | Call::request_service { .. }
            | Call::confirm_delivery { .. }
    )
}

/// Whether a call is one that gateways and compute miners live by.
fn is_of_operators(call: &Call<Runtime>) -> bool {
    matches!(
        call,
        Call::commit_usage { .. }
            | Call::accept_request { .. }
            | Call::report_delivery { .. }
            | Call::poke { .. }
            | Call::poke_request { .. }
            | Call::drop_gateway { .. }
            | Call::claim { .. }
    )
}
