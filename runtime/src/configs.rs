//! Configuration of every pallet of the runtime.

mod arion;
mod consensus;
pub mod governance;
pub mod marketplace;
pub mod staking;
mod transactions;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{
    derive_impl,
    dispatch::DispatchClass,
    parameter_types,
    traits::{ConstU8, ConstU32, ConstU64, ConstU128, InstanceFilter, VariantCountOf},
    weights::{
        ConstantMultiplier, Weight,
        constants::{ParityDbWeight, WEIGHT_REF_TIME_PER_MILLIS},
    },
};
use frame_system::limits::{BlockLength, BlockWeights};
use pallet_transaction_payment::{ConstFeeMultiplier, FungibleAdapter, Multiplier};
use scale_info::TypeInfo;
use sp_runtime::{Perbill, traits::One};

use crate::{
    Babe, Balance, Balances, Block, BlockNumber, OriginCaller, PalletInfo, Runtime, RuntimeCall,
    RuntimeEvent, RuntimeFreezeReason, RuntimeHoldReason, RuntimeOrigin, RuntimeTask, System, VERSION,
    constants::{HIPP, MICRO_HIPP, MILLI_HIPP, SLOT_MS},
    origins::OwnersWithMiners,
};

/// Share of a block that transactions of users may fill; the rest is for operational ones.
const NORMAL_SHARE: Perbill = Perbill::from_percent(75);

parameter_types! {
    pub const BlockHashCount: BlockNumber = 2_400;
    pub const Version: sp_version::RuntimeVersion = VERSION;
    /// A third of a slot of computation, as the proposer has two thirds of it.
    pub RuntimeBlockWeights: BlockWeights = BlockWeights::with_sensible_defaults(
        Weight::from_parts(SLOT_MS / 3 * WEIGHT_REF_TIME_PER_MILLIS, u64::MAX),
        NORMAL_SHARE,
    );
    pub RuntimeBlockLength: BlockLength = BlockLength::builder()
        .max_length(5 * 1024 * 1024)
        .modify_max_length_for_class(DispatchClass::Normal, |length| *length = NORMAL_SHARE * *length)
        .build();
    pub const SS58Prefix: u16 = 42;
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type BlockHashCount = BlockHashCount;
    type DbWeight = ParityDbWeight;
    type Version = Version;
    type AccountData = pallet_balances::AccountData<Balance>;
    type SystemWeightInfo = frame_system::weights::SubstrateWeight<Runtime>;
    type SS58Prefix = SS58Prefix;
    type BlockWeights = RuntimeBlockWeights;
    type BlockLength = RuntimeBlockLength;
    type SingleBlockMigrations = crate::migrations::All;
}

impl pallet_timestamp::Config for Runtime {
    type Moment = u64;
    type OnTimestampSet = Babe;
    type MinimumPeriod = ConstU64<{ SLOT_MS / 2 }>;
    type WeightInfo = pallet_timestamp::weights::SubstrateWeight<Runtime>;
}

impl pallet_balances::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeHoldReason = RuntimeHoldReason;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type WeightInfo = pallet_balances::weights::SubstrateWeight<Runtime>;
    type Balance = Balance;
    type DustRemoval = ();
    type ExistentialDeposit = ConstU128<MILLI_HIPP>;
    type AccountStore = System;
    type ReserveIdentifier = [u8; 8];
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ConstU32<50>;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
    type DoneSlashHandler = ();
}

parameter_types! {
    pub FeeMultiplier: Multiplier = Multiplier::one();
    /// 10 ALPHA for a second of computation.
    pub const FeePerPicosecond: Balance = 10 * HIPP / 1_000_000_000_000;
    pub const FeePerByte: Balance = MICRO_HIPP;
}

impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type OnChargeTransaction = FungibleAdapter<Balances, ()>;
    type WeightToFee = ConstantMultiplier<Balance, FeePerPicosecond>;
    type LengthToFee = ConstantMultiplier<Balance, FeePerByte>;
    type FeeMultiplierUpdate = ConstFeeMultiplier<FeeMultiplier>;
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightInfo = pallet_transaction_payment::weights::SubstrateWeight<Runtime>;
}

/// What a proxy may do in the name of its principal.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    PartialEq,
    Ord,
    PartialOrd,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum ProxyType {
    /// Everything.
    #[default]
    #[codec(index = 0)]
    Any,
    /// Everything that moves no ALPHA to another account. Not staking: its rewards can go to anybody.
    #[codec(index = 1)]
    NonTransfer,
    /// Registration of nodes and the calls of `pallet-arion` only.
    #[codec(index = 2)]
    Storage,
    /// Staking and session keys only.
    #[codec(index = 3)]
    Staking,
    /// Motions and votes of the council only: a validator's account can stay offline.
    #[codec(index = 4)]
    Governance,
}

impl InstanceFilter<RuntimeCall> for ProxyType {
    fn filter(&self, call: &RuntimeCall) -> bool {
        // Some of its calls spend, some do not.
        if let RuntimeCall::Marketplace(call) = call {
            return marketplace::is_allowed(*self, call);
        }
        match self {
            Self::Any => true,
            Self::NonTransfer => matches!(
                call,
                RuntimeCall::System(..)
                    | RuntimeCall::Timestamp(..)
                    | RuntimeCall::Babe(..)
                    | RuntimeCall::Grandpa(..)
                    | RuntimeCall::Session(..)
                    | RuntimeCall::Proxy(..)
                    | RuntimeCall::Utility(..)
                    | RuntimeCall::Registration(..)
                    | RuntimeCall::Arion(..)
                    | RuntimeCall::Snapshots(..)
            ),
            Self::Storage => matches!(
                call,
                RuntimeCall::Utility(..)
                    | RuntimeCall::Registration(..)
                    | RuntimeCall::Arion(..)
                    | RuntimeCall::Snapshots(..)
            ),
            Self::Staking => matches!(
                call,
                RuntimeCall::Utility(..)
                    | RuntimeCall::Session(..)
                    | RuntimeCall::Staking(..)
                    | RuntimeCall::VoterList(..)
            ),
            Self::Governance => matches!(call, RuntimeCall::Utility(..) | RuntimeCall::Council(..)),
        }
    }

    fn is_superset(&self, other: &Self) -> bool {
        match (self, other) {
            (a, b) if a == b => true,
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (Self::NonTransfer, Self::Storage) => true,
            _ => false,
        }
    }
}

impl pallet_proxy::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type Currency = Balances;
    type ProxyType = ProxyType;
    type ProxyDepositBase = ConstU128<{ 100 * MILLI_HIPP }>;
    type ProxyDepositFactor = ConstU128<{ 10 * MILLI_HIPP }>;
    // A family may have 32 children, each of them its proxy, and delegates of its own besides.
    type MaxProxies = ConstU32<64>;
    type WeightInfo = pallet_proxy::weights::SubstrateWeight<Runtime>;
    type MaxPending = ConstU32<64>;
    type CallHasher = sp_runtime::traits::BlakeTwo256;
    type AnnouncementDepositBase = ConstU128<{ 100 * MILLI_HIPP }>;
    type AnnouncementDepositFactor = ConstU128<{ 10 * MILLI_HIPP }>;
    type BlockNumberProvider = System;
}

impl pallet_utility::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type PalletsOrigin = OriginCaller;
    type WeightInfo = pallet_utility::weights::SubstrateWeight<Runtime>;
}

impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = pallet_sudo::weights::SubstrateWeight<Runtime>;
}

impl pallet_snapshots::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type SnapshotDeposit = ConstU128<{ HIPP }>;
    type WeightInfo = pallet_snapshots::weights::SubstrateWeight<Runtime>;
}

impl pallet_registration::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type OwnerInUse = OwnersWithMiners;
    type OwnerDeposit = ConstU128<{ 10 * HIPP }>;
    type NodeDeposit = ConstU128<{ HIPP }>;
    type MaxOwners = ConstU32<1_024>;
    type MaxNodesPerOwner = ConstU32<32>;
    type WeightInfo = pallet_registration::weights::SubstrateWeight<Runtime>;
}
