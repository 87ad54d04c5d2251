//! A chain of three pallets for the tests; every story ends with the check of all invariants.

// The runtime under test is public, and so is what its configuration names.
#![allow(missing_docs, unreachable_pub)]

use arion_types::{
    Snapshot,
    snapshot::{removal_message, snapshot_message},
};
use frame_support::{
    derive_impl,
    traits::{ConstU128, VariantCountOf},
};
use sp_core::{H256, Pair, ed25519};
use sp_keystore::{KeystoreExt, testing::MemoryKeystore};
use sp_runtime::{AccountId32, BuildStorage, traits::IdentityLookup};

use crate::weights::SubstrateWeight;

pub(crate) type Block = frame_system::mocking::MockBlock<Test>;
pub(crate) type Balance = u128;

pub(crate) const UNIT: Balance = 1_000_000;
pub(crate) const DEPOSIT: Balance = UNIT;
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
    pub type Snapshots = crate;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId32;
    type Lookup = IdentityLookup<AccountId32>;
    type AccountData = pallet_balances::AccountData<Balance>;
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

impl crate::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type SnapshotDeposit = ConstU128<DEPOSIT>;
    type WeightInfo = SubstrateWeight<Test>;
}

/// Account number `n`; 1 to 9 are rich.
pub(crate) fn account(n: u8) -> AccountId32 {
    AccountId32::new([n; 32])
}

/// Key of locator number `n`.
pub(crate) fn key(n: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[n; 32])
}

/// Locator number `n`.
pub(crate) fn locator(n: u8) -> [u8; 32] {
    key(n).public().0
}

/// A snapshot of that time.
pub(crate) fn snapshot(sequence: u64) -> Snapshot {
    Snapshot { sequence, root: [sequence as u8; 32], root_len: 100, epoch: 1 }
}

/// Brings a snapshot that locator `n` signed.
pub(crate) fn commit(sender: u8, n: u8, snapshot: Snapshot) -> frame_support::dispatch::DispatchResult {
    let signature = key(n).sign(&snapshot_message(&GENESIS, &locator(n), &snapshot)).0;
    Snapshots::commit_snapshot(RuntimeOrigin::signed(account(sender)), locator(n), snapshot, signature)
}

/// Brings a removal that locator `n` signed.
pub(crate) fn remove(sender: u8, n: u8, sequence: u64) -> frame_support::dispatch::DispatchResult {
    let signature = key(n).sign(&removal_message(&GENESIS, &locator(n), sequence)).0;
    Snapshots::remove_snapshot(RuntimeOrigin::signed(account(sender)), locator(n), sequence, signature)
}

/// Block 1 of a chain with funded accounts 1 to 9, and a keystore.
pub(crate) fn chain() -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    pallet_balances::GenesisConfig::<Test> {
        balances: (1..=9).map(|n| (account(n), 10 * UNIT)).collect(),
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    let mut externalities = sp_io::TestExternalities::from(storage);
    externalities.register_extension(KeystoreExt::new(MemoryKeystore::new()));
    externalities.execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, H256(GENESIS));
        System::set_block_number(1);
    });
    externalities
}

/// Runs a story on that chain, and checks all invariants after it.
pub(crate) fn story(test: impl FnOnce()) {
    chain().execute_with(|| {
        test();
        Snapshots::do_try_state().unwrap();
    });
}
