//! A chain of three pallets for the tests; every block ends with the check of all invariants.

// The runtime under test is public, and so is what its configuration names.
#![allow(missing_docs, unreachable_pub)]

use arion_types::{NodeType, registration::node_message};
use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU32, ConstU128, Contains, VariantCountOf},
};
use sp_core::{H256, Pair, ed25519};
use sp_keystore::{KeystoreExt, testing::MemoryKeystore};
use sp_runtime::{AccountId32, BuildStorage, traits::IdentityLookup};

use crate::{NodeNonces, weights::SubstrateWeight};

pub(crate) type Block = frame_system::mocking::MockBlock<Test>;
pub(crate) type Balance = u128;

pub(crate) const UNIT: Balance = 1_000_000;
pub(crate) const OWNER_DEPOSIT: Balance = 10 * UNIT;
pub(crate) const NODE_DEPOSIT: Balance = UNIT;
pub(crate) const OWNERS_MAX: u32 = 4;
pub(crate) const NODES_MAX: u32 = 3;
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
    pub type Registration = crate;
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

parameter_types! {
    pub static InUse: Vec<AccountId32> = Vec::new();
}

/// Owners another pallet counts on, as the test says.
pub struct Used;

impl Contains<AccountId32> for Used {
    fn contains(owner: &AccountId32) -> bool {
        InUse::get().contains(owner)
    }
}

impl crate::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type OwnerInUse = Used;
    type OwnerDeposit = ConstU128<OWNER_DEPOSIT>;
    type NodeDeposit = ConstU128<NODE_DEPOSIT>;
    type MaxOwners = ConstU32<OWNERS_MAX>;
    type MaxNodesPerOwner = ConstU32<NODES_MAX>;
    type WeightInfo = SubstrateWeight<Test>;
}

/// Account number `n`.
pub(crate) fn account(n: u8) -> AccountId32 {
    AccountId32::new([n; 32])
}

/// Node key number `n`.
pub(crate) fn node(n: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[n; 32])
}

/// Public half of a node key.
pub(crate) fn id(key: &ed25519::Pair) -> [u8; 32] {
    key.public().0
}

/// The node key's consent, for the nonce that is due.
pub(crate) fn consent(key: &ed25519::Pair, owner: &AccountId32, node_type: NodeType) -> [u8; 64] {
    let nonce = NodeNonces::<Test>::get(id(key));
    key.sign(&node_message(&GENESIS, owner.as_ref(), node_type, &id(key), nonce)).0
}

/// Block 1 of a chain with funded accounts 1 to 9, and a keystore.
pub(crate) fn chain() -> sp_io::TestExternalities {
    let mut storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    pallet_balances::GenesisConfig::<Test> {
        balances: (1..=9).map(|n| (account(n), 1_000 * UNIT)).collect(),
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
        Registration::do_try_state().unwrap();
    });
}
