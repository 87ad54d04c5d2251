//! Who acts: a few accounts, node keys and warden keys.

use arion_runtime::{
    AccountId, Balance, Marketplace, Runtime,
    constants::{HIPP, MILLI_HIPP},
    rewards::{EraRewardsAccount, StakersPotAccount, TreasuryAccount},
};
use arion_types::{
    AttestationRecord, NodeQuality, NodeType,
    registration::{node_message, registration_message},
};
use frame_support::traits::TypedGet;
use pallet_arion::offchain::{ReporterId, ReporterSignature, report_message};
use sp_core::{Pair, ed25519};
use sp_keyring::Sr25519Keyring;

/// Validators of the genesis: the accounts with the lowest numbers.
pub const VALIDATORS: usize = 3;
/// Accounts that can sign.
pub const SIGNERS: usize = 14;
/// Node keys.
pub const NODES: u8 = 10;
/// Warden keys.
pub const WARDENS: u8 = 3;
/// What accounts own that the genesis knows nothing of.
pub const EXTRA: [Balance; SIGNERS - 6] =
    [5_000 * HIPP, 1_000 * HIPP, 250 * HIPP, 111 * HIPP, 11 * HIPP, 20 * MILLI_HIPP, MILLI_HIPP, 0];

/// Accounts with a name.
const NAMED: [Sr25519Keyring; 6] = [
    Sr25519Keyring::Alice,
    Sr25519Keyring::Bob,
    Sr25519Keyring::Charlie,
    Sr25519Keyring::Dave,
    Sr25519Keyring::Eve,
    Sr25519Keyring::Ferdie,
];

/// The accounts, by number: Alice (who is sudo) to Ferdie, [`EXTRA`], and those of the system.
pub fn account(number: usize) -> AccountId {
    match number {
        0..6 => NAMED[number].to_account_id(),
        6..SIGNERS => AccountId::new([number as u8; 32]),
        14 => Marketplace::account(),
        15 => StakersPotAccount::get(),
        16 => EraRewardsAccount::get(),
        _ => TreasuryAccount::get(),
    }
}

/// Accounts there are.
pub const ACCOUNTS: usize = 18;

/// Key of a storage miner or a service node.
pub fn node(number: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[number + 1; 32])
}

/// Key of a warden.
pub fn warden(number: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[number + 101; 32])
}

/// Public key of [`node`].
pub fn node_id(number: u8) -> [u8; 32] {
    node(number).public().0
}

/// Public key of [`warden`].
pub fn warden_id(number: u8) -> [u8; 32] {
    warden(number).public().0
}

/// Hash of block 0.
pub fn genesis_hash() -> [u8; 32] {
    frame_system::Pallet::<Runtime>::block_hash(0).0
}

/// Consent of a node's key to become the child of a family, with a nonce so many ahead of the right one.
pub fn child_consent(family: &AccountId, child: &AccountId, key: u8, ahead: u64) -> [u8; 64] {
    let pair = node(key);
    let id = pair.public().0;
    let nonce = pallet_arion::NodeIdNonce::<Runtime>::get(id).wrapping_add(ahead);
    pair.sign(&registration_message(&genesis_hash(), family.as_ref(), child.as_ref(), &id, nonce)).0
}

/// Consent of a node's key to be a service node of an owner, with a nonce so many ahead of the right one.
pub fn node_consent(owner: &AccountId, node_type: NodeType, key: u8, ahead: u64) -> [u8; 64] {
    let pair = node(key);
    let id = pair.public().0;
    let nonce = pallet_registration::NodeNonces::<Runtime>::get(id).wrapping_add(ahead);
    pair.sign(&node_message(&genesis_hash(), owner.as_ref(), node_type, &id, nonce)).0
}

/// Signs an audit result.
pub fn sign(record: &mut AttestationRecord, key: u8) {
    let pair = warden(key);
    record.warden_pubkey = pair.public().0;
    record.signature = pair.sign(&record.message(&genesis_hash())).0;
}

/// Signs a report of quality with the session key of a validator of the genesis.
pub fn sign_report(
    validator: usize,
    bucket: u32,
    updates: &[(AccountId, NodeQuality)],
) -> (ReporterId, ReporterSignature) {
    let pair = NAMED[validator % VALIDATORS].pair();
    let signature = pair.sign(&report_message(&genesis_hash(), bucket, updates));
    (pair.public().into(), signature.into())
}
