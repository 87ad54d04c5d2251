//! Who pays for what the network does, and who is paid: credits, storage agreements, services, revenue.
//!
//! Clients buy credits with ALPHA, or a payment authority credits them for a payment made elsewhere; either way
//! the ALPHA is deposited here. Storage is charged per GiB-hour from the usage that gateways commit together
//! with the roots of their ledgers; services are requested, assigned by the validators, delivered and paid one
//! by one. What is earned is split 60 % / 30 % / 10 % among miners, validators with their stakers, and the
//! treasury.
//!
//! # Invariants
//! - The pallet's account owns the ALPHA behind every credit, every open request, the revenue of the period and
//!   everything claimable, and its existential deposit: no unit is made or lost.
//! - What was bought at a price keeps that price: a new price counts from its block on.
//! - What an account is charged depends on its usage and the prices over time, not on how often it was looked
//!   at.
//! - Nobody is charged for storage at a gateway the account did not authorize, or for more than it allowed.
//! - A payment id is used once; ledger sequence numbers only grow.
//! - Every list has a bound, every loop too; nothing walks over all accounts.
//!
//! # Not here
//! Gateways and compute miners (`pallet-registration`), families' weights (`pallet-arion`), how the validators'
//! pot is divided (the runtime's staking), receipts and segments of ledgers (gateway).
//!
//! # Where things are
//! Storage here; calls, events and errors in the files of these names; what the calls do in `impls/`.
//!
//! Specified in docs/spec/marketplace.md.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod accrual;
#[cfg(feature = "runtime-benchmarks")]
pub mod benchmarking;
mod calls;
pub mod credits;
mod errors;
mod events;
mod impls;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use frame_support::pallet_macros::import_section;

pub use pallet::*;
pub use types::{CREDIT, ServiceKind};
pub use weights::WeightInfo;

/// The service nodes of the network.
pub trait NodeRegistry<AccountId> {
    /// Owner of the gateway with this node id.
    fn gateway_owner(node_id: &[u8; 32]) -> Option<AccountId>;
    /// Owner of the node with this node id, if it may be assigned services of this kind.
    fn service_owner(kind: ServiceKind, node_id: &[u8; 32]) -> Option<AccountId>;
}

/// Families of storage miners by weight.
pub trait MinerWeights<AccountId> {
    /// Families with their weights, each at most once.
    fn weights() -> Vec<(AccountId, u16)>;
}

#[import_section(crate::calls::calls)]
#[import_section(crate::errors::errors)]
#[import_section(crate::events::events)]
// The pallet macro generates public items without documentation.
#[allow(missing_docs)]
#[frame_support::pallet]
pub mod pallet {
    use alloc::vec::Vec;

    use frame_support::{
        PalletId,
        pallet_prelude::*,
        traits::fungible::{Inspect, Mutate},
    };
    use frame_system::pallet_prelude::*;
    use sp_core::H256;
    use sp_runtime::AccountId32;

    use crate::{
        MinerWeights, NodeRegistry, WeightInfo,
        credits::CreditAccount,
        types::{
            Agreement, GatewayLedger, LedgerAnchor, Payment, PaymentId, PaymentMethod, RefundReason, Revenue,
            ServiceRequest, ServiceTerms, SkipReason, StorageRate, UsageUpdate, Vote,
        },
    };

    /// Agreement under this configuration.
    pub type AgreementOf<T> = Agreement<BlockNumberFor<T>, <T as Config>::MaxGatewaysPerAccount>;
    /// Request under this configuration.
    pub type RequestOf<T> = ServiceRequest<<T as frame_system::Config>::AccountId, BlockNumberFor<T>>;
    /// Votes on a request under this configuration.
    pub type VotesOf<T> =
        BoundedVec<(<T as frame_system::Config>::AccountId, Vote), <T as Config>::MaxValidators>;
    /// Updates of one commitment under this configuration.
    pub type UpdatesOf<T> =
        BoundedVec<UsageUpdate<<T as frame_system::Config>::AccountId>, <T as Config>::MaxUsageUpdates>;

    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId = AccountId32, Hash = H256, RuntimeEvent: From<Event<Self>>>
    {
        /// ALPHA.
        type Currency: Inspect<Self::AccountId, Balance = u128> + Mutate<Self::AccountId>;
        /// Sets prices and services, admits payment authorities.
        type GovernanceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// A validator; succeeds with its account, which is its vote.
        type ValidatorOrigin: EnsureOrigin<Self::RuntimeOrigin, Success = Self::AccountId>;
        /// The validators whose votes count now.
        type Validators: Get<Vec<Self::AccountId>>;
        /// Gateways and service nodes.
        type Nodes: NodeRegistry<Self::AccountId>;
        /// Families of storage miners by weight, for the miners' share of the storage revenue.
        type MinerWeights: MinerWeights<Self::AccountId>;
        /// Where the validators' and stakers' share goes.
        type StakingPot: Get<Self::AccountId>;
        /// Where the treasury's share goes.
        type Treasury: Get<Self::AccountId>;
        /// The pallet's account derives from it.
        #[pallet::constant]
        type PalletId: Get<PalletId>;

        /// ALPHA per credit (10^12 units) until governance sets another price.
        #[pallet::constant]
        type InitialCreditPrice: Get<u128>;
        /// Units per GiB-hour until governance sets another price.
        #[pallet::constant]
        type InitialStoragePrice: Get<u128>;
        /// Blocks in the hour of the GiB-hour.
        #[pallet::constant]
        type BlocksPerHour: Get<u32>;
        /// An account that authorizes a gateway must have the credits for all it authorized over so many
        /// blocks.
        #[pallet::constant]
        type RunwayBlocks: Get<BlockNumberFor<Self>>;
        /// Length of arrears: from the end of the credits to grace.
        #[pallet::constant]
        type ArrearsBlocks: Get<BlockNumberFor<Self>>;
        /// Length of grace, until suspension.
        #[pallet::constant]
        type GraceBlocks: Get<BlockNumberFor<Self>>;
        /// Length of suspension, until the deletion notice.
        #[pallet::constant]
        type SuspensionBlocks: Get<BlockNumberFor<Self>>;
        /// Length of the deletion notice, until expiry.
        #[pallet::constant]
        type DeletionNoticeBlocks: Get<BlockNumberFor<Self>>;
        /// Most gateways an account can authorize.
        #[pallet::constant]
        type MaxGatewaysPerAccount: Get<u32>;
        /// Most updates in one commitment.
        #[pallet::constant]
        type MaxUsageUpdates: Get<u32>;
        /// Commitments kept per gateway: the newest so many.
        #[pallet::constant]
        type LedgerAnchorsKept: Get<u32>;
        /// Agreements looked at per block, at most, in the time that is left over.
        #[pallet::constant]
        type SweptAgreements: Get<u32>;
        /// Requests looked at per block, at most, in the time that is left over.
        #[pallet::constant]
        type SweptRequests: Get<u32>;
        /// Most payment authorities.
        #[pallet::constant]
        type MaxPaymentAuthorities: Get<u32>;

        /// Blocks the validators have to assign a miner.
        #[pallet::constant]
        type AssignmentBlocks: Get<BlockNumberFor<Self>>;
        /// Blocks the miner's owner has to accept.
        #[pallet::constant]
        type AcceptanceBlocks: Get<BlockNumberFor<Self>>;
        /// Blocks the client has to dispute a delivery; it counts as confirmed after them.
        #[pallet::constant]
        type DisputeWindowBlocks: Get<BlockNumberFor<Self>>;
        /// Blocks the validators have to decide a dispute; the client is refunded after them.
        #[pallet::constant]
        type VerdictBlocks: Get<BlockNumberFor<Self>>;
        /// Blocks for which a request is kept after its end.
        #[pallet::constant]
        type RequestRetentionBlocks: Get<BlockNumberFor<Self>>;
        /// Most validators whose votes are kept.
        #[pallet::constant]
        type MaxValidators: Get<u32>;

        /// Length of a settlement period.
        #[pallet::constant]
        type SettlementPeriodBlocks: Get<BlockNumberFor<Self>>;
        /// The miners' share, percent.
        #[pallet::constant]
        type MinersPercent: Get<u8>;
        /// The validators' and stakers' share, percent.
        #[pallet::constant]
        type NetworkPercent: Get<u8>;
        /// The treasury's share, percent. The three are 100.
        #[pallet::constant]
        type TreasuryPercent: Get<u8>;
        /// Most families that are paid in a settlement.
        #[pallet::constant]
        type MaxMinerFamilies: Get<u32>;
        /// Cost of the calls.
        type WeightInfo: WeightInfo;
        /// Sets up, for benchmarks, what this pallet knows of the rest of the runtime.
        #[cfg(feature = "runtime-benchmarks")]
        type BenchmarkHelper: crate::benchmarking::BenchmarkHelper<Self::AccountId>;
    }

    // credits

    /// ALPHA per credit.
    #[pallet::storage]
    pub type CreditPrice<T: Config> = StorageValue<_, u128, ValueQuery, T::InitialCreditPrice>;

    /// Credits by account. An account without any has no entry.
    #[pallet::storage]
    pub type Credits<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, CreditAccount, ValueQuery>;

    /// Accounts that may credit payments.
    #[pallet::storage]
    pub type PaymentAuthorities<T: Config> =
        CountedStorageMap<_, Blake2_128Concat, T::AccountId, (), OptionQuery>;

    /// Payments by external id. Never removed.
    #[pallet::storage]
    pub type Payments<T: Config> =
        StorageMap<_, Blake2_128Concat, PaymentId, Payment<T::AccountId, BlockNumberFor<T>>>;

    // storage

    /// The initial price, from the first block on.
    #[pallet::type_value]
    pub fn InitialStorageRate<T: Config>() -> StorageRate<BlockNumberFor<T>> {
        StorageRate { price: T::InitialStoragePrice::get(), index: 0, since: Zero::zero() }
    }

    /// The price of storage and its integral.
    #[pallet::storage]
    pub type StoragePrice<T: Config> =
        StorageValue<_, StorageRate<BlockNumberFor<T>>, ValueQuery, InitialStorageRate<T>>;

    /// Storage agreements by account.
    #[pallet::storage]
    pub type Agreements<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, AgreementOf<T>>;

    /// The account the sweep looked at last.
    #[pallet::storage]
    pub type AgreementCursor<T: Config> = StorageValue<_, T::AccountId, OptionQuery>;

    /// The ledger of each gateway that ever committed, by node id.
    #[pallet::storage]
    pub type Ledgers<T: Config> = StorageMap<_, Blake2_128Concat, [u8; 32], GatewayLedger<BlockNumberFor<T>>>;

    /// The newest `LedgerAnchorsKept` commitments of a gateway: a ring.
    #[pallet::storage]
    pub type LedgerAnchors<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, [u8; 32], Twox64Concat, u32, LedgerAnchor<BlockNumberFor<T>>>;

    /// Bytes that are billed for a gateway, over all accounts.
    #[pallet::storage]
    pub type BilledBytes<T: Config> = StorageMap<_, Blake2_128Concat, [u8; 32], u128, ValueQuery>;

    // services

    /// Services on offer, by number.
    #[pallet::storage]
    pub type Services<T: Config> = StorageMap<_, Twox64Concat, u16, ServiceTerms<BlockNumberFor<T>>>;

    /// Number of the next request.
    #[pallet::storage]
    pub type NextRequest<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// Requests, open and lately over, by number.
    #[pallet::storage]
    pub type Requests<T: Config> = StorageMap<_, Twox64Concat, u64, RequestOf<T>>;

    /// What the validators want for a request that is to be assigned or decided.
    #[pallet::storage]
    pub type RequestVotes<T: Config> = StorageMap<_, Twox64Concat, u64, VotesOf<T>, ValueQuery>;

    /// The request the sweep looked at last.
    #[pallet::storage]
    pub type RequestCursor<T: Config> = StorageValue<_, u64, OptionQuery>;

    // revenue

    /// Revenue since the last settlement.
    #[pallet::storage]
    pub type PeriodRevenue<T: Config> = StorageValue<_, Revenue<BlockNumberFor<T>>, ValueQuery>;

    /// ALPHA that was earned and not yet paid out, by account.
    #[pallet::storage]
    pub type Claimable<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u128, ValueQuery>;

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            Pallet::<T>::endow_account();
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            Self::settle_if_due(now)
        }

        fn on_idle(_: BlockNumberFor<T>, remaining: Weight) -> Weight {
            Self::sweep(remaining)
        }

        fn on_runtime_upgrade() -> Weight {
            Self::endow_account();
            T::WeightInfo::endow_account()
        }

        fn integrity_test() {
            Self::check_config();
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }
}
