//! A chain of three pallets for the tests; every block starts and ends with the check of all invariants.

// The runtime under test is public, and so is what its configuration names.
#![allow(missing_docs, unreachable_pub)]

use frame_support::{
    PalletId, derive_impl, parameter_types,
    traits::{
        ConstU8, ConstU32, ConstU64, ConstU128, EnsureOrigin, Hooks, VariantCountOf, fungible::Inspect,
    },
    weights::Weight,
};
use frame_system::{EnsureRoot, RawOrigin};
use sp_core::H256;
use sp_runtime::{AccountId32, BoundedVec, BuildStorage, DispatchResult, traits::IdentityLookup};

use crate::{
    MinerWeights, NodeRegistry, ServiceKind,
    types::{CREDIT, PaymentMethod, ServiceTerms, UsageUpdate},
    weights::SubstrateWeight,
};

pub(crate) type Block = frame_system::mocking::MockBlock<Test>;
pub(crate) type Error = crate::Error<Test>;
pub(crate) type Event = crate::Event<Test>;

/// Price of a credit at the start: 2 ALPHA of 10^12.
pub(crate) const CREDIT_PRICE: u128 = 2 * CREDIT;
/// Price of a GiB-hour at the start, units: 1,000 per GiB and block.
pub(crate) const STORAGE_PRICE: u128 = 10_000;
pub(crate) const BLOCKS_PER_HOUR: u32 = 10;
pub(crate) const RUNWAY: u64 = 20;
pub(crate) const ARREARS: u64 = 5;
pub(crate) const GRACE: u64 = 6;
pub(crate) const SUSPENSION: u64 = 7;
pub(crate) const NOTICE: u64 = 8;
pub(crate) const GATEWAYS_MAX: u32 = 2;
pub(crate) const UPDATES_MAX: u32 = 4;
pub(crate) const ANCHORS_KEPT: u32 = 3;
pub(crate) const SWEPT: u32 = 2;
pub(crate) const AUTHORITIES_MAX: u32 = 2;
pub(crate) const ASSIGNMENT: u64 = 8;
pub(crate) const ACCEPTANCE: u64 = 5;
pub(crate) const DELIVERY: u64 = 12;
pub(crate) const DISPUTE: u64 = 6;
pub(crate) const VERDICT: u64 = 7;
pub(crate) const RETENTION: u64 = 10;
pub(crate) const VALIDATORS_MAX: u32 = 4;
pub(crate) const PERIOD: u64 = 20;
pub(crate) const FAMILIES_MAX: u32 = 4;
pub(crate) const EXISTENTIAL: u128 = 100;
pub(crate) const FUNDS: u128 = 1_000_000 * CREDIT;
/// Gateways at the start, and their owners' accounts.
pub(crate) const FIRST_GATEWAYS: [(u8, u8); 3] = [(1, 7), (2, 7), (3, 8)];
/// Account of the validators and stakers.
pub(crate) const POT: u8 = 98;
/// Account of the treasury.
pub(crate) const TREASURY: u8 = 99;

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask
    )]
    pub struct Test;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(2)]
    pub type Marketplace = crate;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId32;
    type Lookup = IdentityLookup<AccountId32>;
    type AccountData = pallet_balances::AccountData<u128>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = u128;
    type ExistentialDeposit = ConstU128<EXISTENTIAL>;
    type AccountStore = System;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
}

parameter_types! {
    pub const Id: PalletId = PalletId(*b"ar/test!");
    pub PotAccount: AccountId32 = account(POT);
    pub TreasuryAccount: AccountId32 = account(TREASURY);
    pub static Validators: Vec<AccountId32> = (100..=102).map(account).collect();
    /// Gateways and their owners' accounts.
    pub static Gateways: Vec<(u8, u8)> = FIRST_GATEWAYS.to_vec();
    /// Compute nodes and their owners' accounts.
    pub static Workers: Vec<(u8, u8)> = vec![(11, 5), (12, 5), (13, 6)];
    pub static Weights: Vec<(u8, u16)> = vec![(50, 3), (51, 2), (52, 2)];
}

/// The registry and the weights the test sets up.
pub struct Registry;

fn owner_in(list: Vec<(u8, u8)>, node_id: &[u8; 32]) -> Option<AccountId32> {
    list.into_iter().find(|(id, _)| node(*id) == *node_id).map(|(_, owner)| account(owner))
}

impl NodeRegistry<AccountId32> for Registry {
    fn gateway_owner(node_id: &[u8; 32]) -> Option<AccountId32> {
        owner_in(Gateways::get(), node_id)
    }

    fn service_owner(kind: ServiceKind, node_id: &[u8; 32]) -> Option<AccountId32> {
        if kind == ServiceKind::Other { None } else { owner_in(Workers::get(), node_id) }
    }
}

impl MinerWeights<AccountId32> for Registry {
    fn weights() -> Vec<(AccountId32, u16)> {
        Weights::get().into_iter().map(|(family, weight)| (account(family), weight)).collect()
    }
}

/// Signed by a validator.
pub struct EnsureValidator;

impl EnsureOrigin<RuntimeOrigin> for EnsureValidator {
    type Success = AccountId32;

    fn try_origin(origin: RuntimeOrigin) -> Result<AccountId32, RuntimeOrigin> {
        match origin.clone().into() {
            Ok(RawOrigin::Signed(who)) if Validators::get().contains(&who) => Ok(who),
            _ => Err(origin),
        }
    }

    #[cfg(feature = "runtime-benchmarks")]
    fn try_successful_origin() -> Result<RuntimeOrigin, ()> {
        Validators::get().into_iter().next().map(RuntimeOrigin::signed).ok_or(())
    }
}

#[cfg(feature = "runtime-benchmarks")]
impl crate::benchmarking::BenchmarkHelper<AccountId32> for Registry {
    fn set_validators(validators: &[AccountId32]) {
        Validators::set(validators.to_vec());
    }

    fn gateway() -> ([u8; 32], AccountId32) {
        Gateways::set(FIRST_GATEWAYS.to_vec());
        (node(1), account(7))
    }

    fn worker() -> ([u8; 32], AccountId32) {
        (node(11), account(5))
    }

    fn set_families(count: u32) {
        Weights::set((0..count as u8).map(|n| (50 + n, 1)).collect());
    }
}

impl crate::Config for Test {
    type Currency = Balances;
    type GovernanceOrigin = EnsureRoot<AccountId32>;
    type ValidatorOrigin = EnsureValidator;
    type Validators = Validators;
    type Nodes = Registry;
    type MinerWeights = Registry;
    type StakingPot = PotAccount;
    type Treasury = TreasuryAccount;
    type PalletId = Id;
    type InitialCreditPrice = ConstU128<CREDIT_PRICE>;
    type InitialStoragePrice = ConstU128<STORAGE_PRICE>;
    type BlocksPerHour = ConstU32<BLOCKS_PER_HOUR>;
    type RunwayBlocks = ConstU64<RUNWAY>;
    type ArrearsBlocks = ConstU64<ARREARS>;
    type GraceBlocks = ConstU64<GRACE>;
    type SuspensionBlocks = ConstU64<SUSPENSION>;
    type DeletionNoticeBlocks = ConstU64<NOTICE>;
    type MaxGatewaysPerAccount = ConstU32<GATEWAYS_MAX>;
    type MaxUsageUpdates = ConstU32<UPDATES_MAX>;
    type LedgerAnchorsKept = ConstU32<ANCHORS_KEPT>;
    type SweptAgreements = ConstU32<SWEPT>;
    type SweptRequests = ConstU32<SWEPT>;
    type MaxPaymentAuthorities = ConstU32<AUTHORITIES_MAX>;
    type AssignmentBlocks = ConstU64<ASSIGNMENT>;
    type AcceptanceBlocks = ConstU64<ACCEPTANCE>;
    type DisputeWindowBlocks = ConstU64<DISPUTE>;
    type VerdictBlocks = ConstU64<VERDICT>;
    type RequestRetentionBlocks = ConstU64<RETENTION>;
    type MaxValidators = ConstU32<VALIDATORS_MAX>;
    type SettlementPeriodBlocks = ConstU64<PERIOD>;
    type MinersPercent = ConstU8<60>;
    type NetworkPercent = ConstU8<30>;
    type TreasuryPercent = ConstU8<10>;
    type MaxMinerFamilies = ConstU32<FAMILIES_MAX>;
    type WeightInfo = SubstrateWeight<Test>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = Registry;
}

/// Account number `n`: 1 to 4 are clients, 5 and 6 own workers, 7 and 8 gateways, 9 is the payment authority.
pub(crate) fn account(n: u8) -> AccountId32 {
    AccountId32::new([n; 32])
}

/// Signed by account number `n`.
pub(crate) fn signed(n: u8) -> RuntimeOrigin {
    RuntimeOrigin::signed(account(n))
}

pub(crate) fn root() -> RuntimeOrigin {
    RuntimeOrigin::root()
}

/// Node id number `n`: 1 to 3 are gateways, 11 to 13 workers.
pub(crate) fn node(n: u8) -> [u8; 32] {
    [n; 32]
}

/// ALPHA of account number `n`.
pub(crate) fn alpha(n: u8) -> u128 {
    Balances::balance(&account(n))
}

/// Units account number `n` can spend.
pub(crate) fn available(n: u8) -> u128 {
    Marketplace::balance(&account(n)).available
}

/// Account `n` buys `credits` units for itself.
pub(crate) fn buy(n: u8, credits: u128) -> DispatchResult {
    Marketplace::buy_credits(signed(n), account(n), credits, u128::MAX)
}

/// Authority 9, admitted on the way, credits `credits` units to account `n`.
pub(crate) fn grant(payment: &[u8], n: u8, credits: u128) -> DispatchResult {
    if !crate::PaymentAuthorities::<Test>::contains_key(account(9)) {
        Marketplace::add_payment_authority(root(), account(9))?;
    }
    let id = BoundedVec::truncate_from(payment.to_vec());
    Marketplace::credit_payment(signed(9), id, PaymentMethod::Fiat, account(n), credits, u128::MAX)
}

/// The owner of gateway `gateway` commits that accounts store so many bytes, with the next sequence number.
pub(crate) fn commit(gateway: u8, updates: &[(u8, u64)]) -> DispatchResult {
    let owner = Gateways::get().into_iter().find(|(id, _)| *id == gateway).map_or(7, |(_, owner)| owner);
    let sequence = crate::Ledgers::<Test>::get(node(gateway)).map_or(1, |ledger| ledger.anchor.sequence + 1);
    let updates: Vec<_> =
        updates.iter().map(|(n, bytes)| UsageUpdate { account: account(*n), bytes: *bytes }).collect();
    let updates = BoundedVec::truncate_from(updates);
    Marketplace::commit_usage(signed(owner), node(gateway), sequence, [7; 32], u64::MAX, updates)
}

/// Account `n` lets gateway 1 bill up to `bytes`, and stores that much there.
pub(crate) fn store(n: u8, bytes: u64) {
    Marketplace::authorize_gateway(signed(n), node(1), bytes).unwrap();
    commit(1, &[(n, bytes)]).unwrap();
}

/// Offers service 1 at `price` units per piece.
pub(crate) fn offer(price: u128) {
    let terms = ServiceTerms {
        kind: ServiceKind::VirtualMachine,
        name: BoundedVec::truncate_from(b"vm".to_vec()),
        price,
        delivery_blocks: DELIVERY,
    };
    Marketplace::set_service(root(), 1, Some(terms)).unwrap();
}

/// Hash of a block in these tests.
pub(crate) fn block_hash(block: u64) -> H256 {
    H256::from_low_u64_be(0xb10c_0000 + block)
}

/// Starts the next block.
fn next_block() {
    let block = System::block_number();
    Marketplace::do_try_state().unwrap();
    System::set_block_number(block + 1);
    frame_system::BlockHash::<Test>::insert(block, block_hash(block));
    Marketplace::on_initialize(block + 1);
}

/// Goes on to block `block`, checking all invariants between blocks, without time left for the sweep.
pub(crate) fn run_to(block: u64) {
    while System::block_number() < block {
        next_block();
    }
    Marketplace::do_try_state().unwrap();
}

/// As [`run_to`], with blocks that have time for the sweep.
pub(crate) fn run_idle_to(block: u64) {
    while System::block_number() < block {
        Marketplace::on_idle(System::block_number(), Weight::MAX);
        next_block();
    }
    Marketplace::do_try_state().unwrap();
}

/// The pallet's events since the last look.
pub(crate) fn events() -> Vec<Event> {
    let events = System::events()
        .into_iter()
        .filter_map(|record| match record.event {
            RuntimeEvent::Marketplace(event) => Some(event),
            _ => None,
        })
        .collect();
    System::reset_events();
    events
}

/// Block 1 of a chain with funded accounts 1 to 9.
pub(crate) fn chain() -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    pallet_balances::GenesisConfig::<Test> {
        balances: (1..=9).map(|n| (account(n), FUNDS)).collect(),
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    crate::GenesisConfig::<Test>::default().assimilate_storage(&mut storage).unwrap();
    let mut externalities = sp_io::TestExternalities::from(storage);
    externalities.execute_with(|| {
        // What an earlier story in this thread set.
        Validators::set((100..=102).map(account).collect());
        Gateways::set(FIRST_GATEWAYS.to_vec());
        Weights::set(vec![(50, 3), (51, 2), (52, 2)]);
        System::set_block_number(1);
        frame_system::BlockHash::<Test>::insert(0, block_hash(0));
    });
    externalities
}

/// Runs a story on that chain, and checks all invariants after it, and that the pallet owns what it owes to the
/// unit and that no ALPHA was made or lost.
pub(crate) fn story(test: impl FnOnce()) {
    chain().execute_with(|| {
        let issued = Balances::total_issuance();
        test();
        Marketplace::do_try_state().unwrap();
        assert_eq!(
            Balances::balance(&Marketplace::account()),
            Marketplace::liabilities() + EXISTENTIAL,
            "the pallet owns what it owes"
        );
        assert_eq!(Balances::total_issuance(), issued, "no ALPHA is made or lost");
    });
}
