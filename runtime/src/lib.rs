//! State machine of the Arion chain.
//!
//! Assembles the stock pallets of polkadot-sdk with `pallet-registration` (who takes part) and `pallet-arion`
//! (where data goes and what was audited), and exposes the runtime APIs a node needs.
//!
//! # Invariants
//! - Pallet indices, call indices and the order of transaction extensions are part of the chain's interface:
//!   they never change, only grow.
//! - The validators of `EnsureValidatorSet` are those of the current session, nobody else.
//! - Issuance only shrinks, by fees: rewards are revenue (`rewards`), what is slashed goes to the treasury.
//!
//! # Not here
//! Rules of the network (`pallets/`), consensus and networking (`node/`).
//!
//! Specified in docs/spec/chain.md.

#![cfg_attr(not(feature = "std"), no_std)]
#![recursion_limit = "512"]
// The macros that assemble a runtime generate public items without documentation.
#![allow(missing_docs)]

extern crate alloc;

#[cfg(feature = "std")]
include!(concat!(env!("OUT_DIR"), "/wasm_binary.rs"));

pub mod apis;
#[cfg(feature = "runtime-benchmarks")]
pub mod benchmarking;
pub mod configs;
pub mod constants;
pub mod genesis;
pub mod migrations;
pub mod origins;
pub mod reporters;
pub mod rewards;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use reporters::Reporters;
use sp_runtime::{
    MultiAddress, MultiSignature, generic, impl_opaque_keys,
    traits::{BlakeTwo256, IdentifyAccount, Verify},
};
use sp_version::RuntimeVersion;

pub use frame_system::Call as SystemCall;
pub use pallet_balances::Call as BalancesCall;
pub use pallet_timestamp::Call as TimestampCall;

/// Number of a block.
pub type BlockNumber = u32;
/// sr25519, ed25519 or ecdsa signature of an account.
pub type Signature = MultiSignature;
/// Account: 32 bytes.
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// Amount of ALPHA, 18 decimals.
pub type Balance = u128;
/// Number of transactions an account has sent.
pub type Nonce = u32;
/// Hash of blocks and tries: BLAKE2b-256.
pub type Hash = sp_core::H256;
/// Address in a transaction.
pub type Address = MultiAddress<AccountId, ()>;
/// Header of a block.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// Block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
/// Block whose extrinsics are bytes: what a node handles and its RPC prints, in hex, without knowing the calls.
pub type OpaqueBlock = generic::Block<Header, sp_runtime::OpaqueExtrinsic>;
/// Block with its signature, as the node keeps it.
pub type SignedBlock = generic::SignedBlock<Block>;

/// What a transaction carries besides its call, in this order.
pub type TxExtension = (
    frame_system::AuthorizeCall<Runtime>,
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckEra<Runtime>,
    frame_system::CheckNonce<Runtime>,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
    frame_metadata_hash_extension::CheckMetadataHash<Runtime>,
    frame_system::WeightReclaim<Runtime>,
);
/// Transaction before its signature was checked.
pub type UncheckedExtrinsic = generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// What a signature signs.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;

/// Runs blocks.
pub type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;

impl_opaque_keys! {
    /// Keys a validator signs blocks (BABE), finality votes (GRANDPA), its addresses, and reports of quality with.
    pub struct SessionKeys {
        pub babe: Babe,
        pub grandpa: Grandpa,
        pub authority_discovery: AuthorityDiscovery,
        pub reporter: Reporters,
    }
}

/// `spec_version` grows with every change of the state machine, `transaction_version` whenever a transaction that
/// was signed offline would mean something else. History: docs/spec/chain.md.
#[sp_version::runtime_version]
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: alloc::borrow::Cow::Borrowed("arion"),
    impl_name: alloc::borrow::Cow::Borrowed("arion-node"),
    authoring_version: 1,
    spec_version: 5,
    impl_version: 1,
    apis: apis::RUNTIME_API_VERSIONS,
    transaction_version: 3,
    system_version: 1,
};

// Hooks and genesis run in the order of this list. Babe before Session: it decides when a session ends. Authorship
// before Staking: the author's points count for the right era. Balances before Staking before Session: genesis bonds
// what was endowed, then elects the first validators.
#[frame_support::runtime(legacy_ordering)]
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
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(2)]
    pub type Babe = pallet_babe;

    #[runtime::pallet_index(10)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(11)]
    pub type TransactionPayment = pallet_transaction_payment;

    #[runtime::pallet_index(3)]
    pub type Authorship = pallet_authorship;
    #[runtime::pallet_index(6)]
    pub type Staking = pallet_staking;
    #[runtime::pallet_index(7)]
    pub type Offences = pallet_offences;
    #[runtime::pallet_index(8)]
    pub type Historical = pallet_session::historical;
    #[runtime::pallet_index(4)]
    pub type Session = pallet_session;
    #[runtime::pallet_index(5)]
    pub type Grandpa = pallet_grandpa;
    #[runtime::pallet_index(9)]
    pub type AuthorityDiscovery = pallet_authority_discovery;
    #[runtime::pallet_index(12)]
    pub type VoterList = pallet_bags_list;

    #[runtime::pallet_index(20)]
    pub type Proxy = pallet_proxy;
    #[runtime::pallet_index(21)]
    pub type Utility = pallet_utility;
    #[runtime::pallet_index(22)]
    pub type Council = pallet_collective;
    #[runtime::pallet_index(23)]
    pub type Whitelist = pallet_whitelist;
    #[runtime::pallet_index(29)]
    pub type Sudo = pallet_sudo;

    #[runtime::pallet_index(40)]
    pub type Registration = pallet_registration;
    #[runtime::pallet_index(41)]
    pub type Arion = pallet_arion;
    #[runtime::pallet_index(42)]
    pub type Marketplace = pallet_marketplace;
    #[runtime::pallet_index(43)]
    pub type Snapshots = pallet_snapshots;
}
