//! A chain of three pallets for the tests; every block starts and ends with the check of all invariants.

// The runtime under test is public, and so is what its configuration names.
#![allow(missing_docs, unreachable_pub)]

use arion_types::{
    AttestationRecord, AttestationResult, CrushParams, MinerRecord, NodeQuality,
    registration::registration_message,
};
use frame_support::{
    derive_impl, parameter_types,
    traits::{
        ConstU16, ConstU32, ConstU64, ConstU128, EnsureOrigin, Get, Hooks, StorageVersion, VariantCountOf,
    },
    weights::{Weight, constants::ParityDbWeight},
};
use frame_system::{EnsureRoot, RawOrigin};
use sp_core::{H256, Pair, ed25519};
use sp_keystore::{KeystoreExt, testing::MemoryKeystore};
use sp_runtime::{AccountId32, BoundedVec, BuildStorage, traits::IdentityLookup};

use crate::{
    AttestationSubmitters, CurrentWeightBucket, CurrentWeightRound, FamilyRegistry, FreeSlotUsed,
    NodeIdNonce, ProxyVerifier,
    offchain::{ReporterId, ReporterOwner},
    weights::SubstrateWeight,
};

pub(crate) type Block = frame_system::mocking::MockBlock<Test>;
pub(crate) type Extrinsic = frame_system::mocking::MockUncheckedExtrinsic<Test>;
pub(crate) type Balance = u128;
pub(crate) type Error = crate::Error<Test>;
pub(crate) type Event = crate::Event<Test>;

pub(crate) const UNIT: Balance = 1_000_000;
pub(crate) const BASE_DEPOSIT: Balance = 100 * UNIT;
pub(crate) const HALVING_BLOCKS: u64 = 50;
pub(crate) const UNBONDING_BLOCKS: u64 = 70;
pub(crate) const COOLDOWN_BLOCKS: u64 = 30;
pub(crate) const FAMILIES_MAX: u32 = 4;
pub(crate) const CHILDREN_MAX: u32 = 8;
pub(crate) const CHILDREN_PER_FAMILY_MAX: u32 = 4;
pub(crate) const EPOCHS_KEPT: u32 = 3;
pub(crate) const ATTESTATIONS_MAX: u32 = 5;
pub(crate) const BUCKET_BLOCKS: u64 = 10;
pub(crate) const BUCKETS_KEPT: u32 = 4;
pub(crate) const MAINTENANCE_NOTICE: u64 = 3;
pub(crate) const MAINTENANCE_MAX: u64 = 12;
pub(crate) const MAINTENANCE_PERIOD: u64 = 60;
pub(crate) const WEIGHT_BUCKET_BLOCKS: u64 = 20;
pub(crate) const REPORTERS_MAX: u32 = 6;
pub(crate) const GRACE_BUCKETS: u32 = 5;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const TIB: u64 = 1 << 40;
pub(crate) const GENESIS: [u8; 32] = [0xa0; 32];

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
    pub type Arion = crate;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId32;
    type Lookup = IdentityLookup<AccountId32>;
    type AccountData = pallet_balances::AccountData<Balance>;
    type DbWeight = ParityDbWeight;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<1>;
    type AccountStore = System;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
}

parameter_types! {
    pub static Validators: Vec<AccountId32> = vec![account(100)];
    /// Votes of validators with more than one.
    pub static Stakes: Vec<(AccountId32, u128)> = Vec::new();
    /// Reporter keys of accounts.
    pub static Reporters: Vec<(ReporterId, AccountId32)> = Vec::new();
    pub static EnforceRegistered: bool = false;
    /// Accounts of the registry's families.
    pub static Families: Vec<AccountId32> = (1..=6).map(account).collect();
    /// Pairs of family and proxy that do not exist; all others do.
    pub static NotProxies: Vec<(AccountId32, AccountId32)> = Vec::new();
}

/// Every validator with its votes.
pub struct Votes;

impl Get<Vec<(AccountId32, u128)>> for Votes {
    fn get() -> Vec<(AccountId32, u128)> {
        let stakes = Stakes::get();
        let votes =
            |who: &AccountId32| stakes.iter().find(|(staker, _)| staker == who).map_or(1, |(_, n)| *n);
        Validators::get().into_iter().map(|who| (who.clone(), votes(&who))).collect()
    }
}

/// The reporter keys the test sets up, of validators.
pub struct ReporterKeys;

impl ReporterOwner<AccountId32> for ReporterKeys {
    fn owner_of(reporter: &ReporterId) -> Option<AccountId32> {
        let owner = Reporters::get().into_iter().find(|(key, _)| key == reporter).map(|(_, owner)| owner);
        owner.filter(|owner| Validators::get().contains(owner))
    }
}

impl frame_system::offchain::CreateTransactionBase<crate::Call<Test>> for Test {
    type RuntimeCall = RuntimeCall;
    type Extrinsic = Extrinsic;
}

impl frame_system::offchain::CreateTransaction<crate::Call<Test>> for Test {
    type Extension = ();

    fn create_transaction(call: RuntimeCall, extension: ()) -> Extrinsic {
        Extrinsic::new_transaction(call, extension)
    }
}

impl frame_system::offchain::CreateAuthorizedTransaction<crate::Call<Test>> for Test {
    fn create_extension() {}
}

/// The registry the test sets up.
pub struct Registry;

impl FamilyRegistry<AccountId32> for Registry {
    fn is_family(who: &AccountId32) -> bool {
        Families::get().contains(who)
    }
}

impl ProxyVerifier<AccountId32> for Registry {
    fn is_proxy(family: &AccountId32, child: &AccountId32) -> bool {
        !NotProxies::get().contains(&(family.clone(), child.clone()))
    }
}

/// Signed by a validator, and for attestations by a submitter too.
pub struct EnsureAuthority<const SUBMITTERS: bool>;

impl<const SUBMITTERS: bool> EnsureOrigin<RuntimeOrigin> for EnsureAuthority<SUBMITTERS> {
    type Success = AccountId32;

    fn try_origin(origin: RuntimeOrigin) -> Result<AccountId32, RuntimeOrigin> {
        match origin.clone().into() {
            Ok(RawOrigin::Signed(who))
                if Validators::get().contains(&who)
                    || SUBMITTERS && AttestationSubmitters::<Test>::contains_key(&who) =>
            {
                Ok(who)
            }
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

    fn set_family(family: &AccountId32, _child: &AccountId32) {
        Families::set(vec![family.clone()]);
    }

    fn set_reporter(validator: &AccountId32, reporter: &ReporterId) {
        Reporters::set(vec![(reporter.clone(), validator.clone())]);
    }
}

impl crate::Config for Test {
    type ArionAdminOrigin = EnsureRoot<AccountId32>;
    type MapAuthorityOrigin = EnsureAuthority<false>;
    type AttestationAuthorityOrigin = EnsureAuthority<true>;
    type WeightAuthorityOrigin = EnsureAuthority<false>;
    type Reporters = ReporterKeys;
    type StatsAuthorityOrigin = EnsureAuthority<false>;
    type ValidatorVotes = Votes;
    type DepositCurrency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type FamilyRegistry = Registry;
    type ProxyVerifier = Registry;
    type BaseChildDeposit = ConstU128<BASE_DEPOSIT>;
    type GlobalDepositHalvingPeriodBlocks = ConstU64<HALVING_BLOCKS>;
    type UnbondingPeriodBlocks = ConstU64<UNBONDING_BLOCKS>;
    type UnregisterCooldownBlocks = ConstU64<COOLDOWN_BLOCKS>;
    type MaxFamilies = ConstU32<FAMILIES_MAX>;
    type MaxChildrenTotal = ConstU32<CHILDREN_MAX>;
    type MaxChildrenPerFamily = ConstU32<CHILDREN_PER_FAMILY_MAX>;
    type MaxMiners = ConstU32<16>;
    type EnforceRegisteredMiners = EnforceRegistered;
    type MaxEpochsKept = ConstU32<EPOCHS_KEPT>;
    type MaxAttestations = ConstU32<ATTESTATIONS_MAX>;
    type AttestationBucketBlocks = ConstU64<BUCKET_BLOCKS>;
    type AttestationRetentionBuckets = ConstU32<BUCKETS_KEPT>;
    type MaintenanceNoticeBlocks = ConstU64<MAINTENANCE_NOTICE>;
    type MaintenanceBlocksMax = ConstU64<MAINTENANCE_MAX>;
    type MaintenancePeriodBlocks = ConstU64<MAINTENANCE_PERIOD>;
    type MaxWardens = ConstU32<3>;
    type MaxAttestationSubmitters = ConstU32<2>;
    type WeightBucketBlocks = ConstU64<WEIGHT_BUCKET_BLOCKS>;
    type MaxWeightReporters = ConstU32<REPORTERS_MAX>;
    type MaxChildrenWeighedPerBlock = ConstU32<2>;
    type NodeBandwidthWeightPermille = ConstU32<700>;
    type NodeStorageWeightPermille = ConstU32<300>;
    type NodeScoreScale = ConstU32<512>;
    type NodeScoreUnitBytes = ConstU64<GIB>;
    type StrikePenalty = ConstU32<100>;
    type IntegrityFailPenalty = ConstU32<50>;
    type MaxNodeWeight = ConstU16<20_000>;
    type FamilyTopN = ConstU32<8>;
    type FamilyRankDecayPermille = ConstU32<800>;
    type FamilyWeightEmaAlphaPermille = ConstU32<300>;
    type MaxFamilyWeightDeltaPerBucket = ConstU16<500>;
    type MaxFamilyWeight = ConstU16<20_000>;
    type NewcomerGraceBuckets = ConstU32<GRACE_BUCKETS>;
    type NewcomerFloorWeight = ConstU16<100>;
    type WeightInfo = SubstrateWeight<Test>;
    #[cfg(feature = "runtime-benchmarks")]
    type BenchmarkHelper = Registry;
}

/// Account number `n`: 1 to 6 are families, 100 is the validator unless a test says otherwise.
pub(crate) fn account(n: u8) -> AccountId32 {
    AccountId32::new([n; 32])
}

/// Signed by account number `n`.
pub(crate) fn signed(n: u8) -> RuntimeOrigin {
    RuntimeOrigin::signed(account(n))
}

/// Ed25519 key number `n`.
pub(crate) fn key(n: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[n; 32])
}

/// Node id of key number `n`.
pub(crate) fn node_id(n: u8) -> [u8; 32] {
    key(n).public().0
}

/// Consent of node key number `node` to be `child` of `family`, for the nonce that is due.
pub(crate) fn consent(family: u8, child: u8, node: u8) -> [u8; 64] {
    let nonce = NodeIdNonce::<Test>::get(node_id(node));
    let message = registration_message(
        &GENESIS,
        account(family).as_ref(),
        account(child).as_ref(),
        &node_id(node),
        nonce,
    );
    key(node).sign(&message).0
}

/// Registers `child` of `family` with the node key of the same number.
pub(crate) fn register(family: u8, child: u8) -> frame_support::dispatch::DispatchResult {
    register_node(family, child, child)
}

/// Registers `child` of `family` with node key number `node`.
pub(crate) fn register_node(family: u8, child: u8, node: u8) -> frame_support::dispatch::DispatchResult {
    let sig = consent(family, child, node);
    Arion::register_child(signed(family), account(family), account(child), node_id(node), sig)
}

/// Uses up the free registration of a family: for what it registers from now on a deposit is held.
pub(crate) fn use_free_slot(family: u8) {
    FreeSlotUsed::<Test>::insert(account(family), ());
}

/// Record of a miner in a map.
pub(crate) fn miner(uid: u32, family: u8, node: u8) -> MinerRecord<AccountId32> {
    MinerRecord {
        uid,
        node_id: node_id(node),
        family: account(family),
        weight: 0x1_0000,
        endpoint: BoundedVec::truncate_from(b"127.0.0.1:4000".to_vec()),
    }
}

/// Submits a map as validator account `validator`.
pub(crate) fn submit_map(
    validator: u8,
    epoch: u64,
    miners: Vec<MinerRecord<AccountId32>>,
) -> frame_support::dispatch::DispatchResult {
    let miners = miners.try_into().expect("a test's map is small");
    Arion::submit_crush_map(signed(validator), epoch, CrushParams::STANDARD, miners)
}

/// A record signed by warden key number `warden` about a challenge seeded by `block`.
pub(crate) fn attestation(warden: u8, shard: u8, block: u64) -> AttestationRecord {
    let mut record = AttestationRecord {
        shard_hash: [shard; 32],
        miner_uid: 1,
        result: AttestationResult::Passed,
        challenge_seed: [9; 32],
        block_number: block,
        timestamp: 1_700_000_000_000,
        warden_pubkey: node_id(warden),
        signature: [0; 64],
        merkle_proof_sig_hash: [8; 32],
        warden_id: BoundedVec::truncate_from(b"warden".to_vec()),
    };
    sign(&mut record, warden);
    record
}

/// Signs a record again, after a change.
pub(crate) fn sign(record: &mut AttestationRecord, warden: u8) {
    record.signature = key(warden).sign(&record.message(&GENESIS)).0;
}

/// Submits attestations as the validator.
pub(crate) fn attest(
    bucket: u32,
    records: Vec<AttestationRecord>,
) -> frame_support::dispatch::DispatchResult {
    let records = records.try_into().expect("a test's batch is small");
    Arion::submit_attestations(signed(100), bucket, records)
}

/// Quality of a node that was always up.
pub(crate) fn quality(storage_bytes: u64, bandwidth_bytes: u64) -> NodeQuality {
    NodeQuality {
        shard_data_bytes: storage_bytes,
        bandwidth_bytes,
        uptime_permille: 1_000,
        ..Default::default()
    }
}

/// Reports qualities of children in the open bucket as validator account `validator`.
pub(crate) fn report(
    validator: u8,
    updates: Vec<(u8, NodeQuality)>,
) -> frame_support::dispatch::DispatchResultWithPostInfo {
    let updates: Vec<_> = updates.into_iter().map(|(child, quality)| (account(child), quality)).collect();
    let updates = updates.try_into().expect("a test's report is small");
    Arion::submit_node_quality(signed(validator), Arion::open_weight_bucket(), updates)
}

/// Goes on until the weights of the bucket that is open now are computed.
pub(crate) fn run_to_weights() {
    let bucket = Arion::open_weight_bucket();
    run_to((u64::from(bucket) + 1) * WEIGHT_BUCKET_BLOCKS);
    while CurrentWeightRound::<Test>::exists() {
        run_to(System::block_number() + 1);
    }
    assert_eq!(CurrentWeightBucket::<Test>::get(), bucket);
}

/// Goes on to block `block`, checking all invariants between blocks.
pub(crate) fn run_to(block: u64) {
    while System::block_number() < block {
        Arion::do_try_state().unwrap();
        System::set_block_number(System::block_number() + 1);
        Arion::on_initialize(System::block_number());
        Arion::on_idle(System::block_number(), Weight::MAX);
    }
    Arion::do_try_state().unwrap();
}

/// Runs a story from block 1 of [`chain`], and checks all invariants after it.
pub(crate) fn story(test: impl FnOnce()) {
    chain().execute_with(|| {
        test();
        Arion::do_try_state().unwrap();
    });
}

/// Block 1 of a chain with funded accounts 1 to 9, and a keystore.
pub(crate) fn chain() -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    pallet_balances::GenesisConfig::<Test> {
        balances: (1..=9).map(|n| (account(n), 100_000 * UNIT)).collect(),
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    let mut externalities = sp_io::TestExternalities::from(storage);
    externalities.register_extension(KeystoreExt::new(MemoryKeystore::new()));
    externalities.execute_with(|| {
        StorageVersion::new(2).put::<Arion>();
        frame_system::BlockHash::<Test>::insert(0, H256(GENESIS));
        System::set_block_number(1);
    });
    externalities
}
