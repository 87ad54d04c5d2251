//! Transactions as wallets sign them: with and without the hash of the metadata.

use codec::{Decode, Encode};
use frame_metadata_hash_extension::CheckMetadataHash;
use sp_keyring::Sr25519Keyring::{Alice, Bob};
use sp_runtime::{
    generic::Era,
    transaction_validity::{
        InvalidTransaction, TransactionSource, TransactionValidityError, UnknownTransaction,
    },
};

use super::{GENESIS, account, blocks, chain};
use crate::{
    Balances, Executive, Runtime, RuntimeCall, Signature, SignedPayload, TxExtension, UncheckedExtrinsic,
    constants::HIPP,
};

/// What a wallet's device shows its user: any hash will do, as this runtime was built without one.
const METADATA_HASH: [u8; 32] = [7; 32];

fn extension(metadata: CheckMetadataHash<Runtime>) -> TxExtension {
    (
        frame_system::AuthorizeCall::new(),
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(Era::Immortal),
        frame_system::CheckNonce::from(0),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        metadata,
        frame_system::WeightReclaim::new(),
    )
}

/// A transfer from Alice as it comes over the network. `signed` is what the signature covers, `sent` what the transaction
/// says of it.
fn transfer(signed: CheckMetadataHash<Runtime>, sent: CheckMetadataHash<Runtime>) -> UncheckedExtrinsic {
    let call = RuntimeCall::from(pallet_balances::Call::transfer_keep_alive {
        dest: account(Bob).into(),
        value: HIPP,
    });
    let payload = SignedPayload::new(call.clone(), extension(signed)).unwrap();
    let signature = Signature::from(payload.using_encoded(|bytes| Alice.sign(bytes)));
    let sent = UncheckedExtrinsic::new_signed(call, account(Alice).into(), signature, extension(sent));
    UncheckedExtrinsic::decode(&mut &sent.encode()[..]).unwrap()
}

fn refused(transaction: UncheckedExtrinsic, reason: impl Into<TransactionValidityError>) {
    let reason = reason.into();
    let validity =
        Executive::validate_transaction(TransactionSource::External, transaction.clone(), GENESIS.into());
    assert_eq!(validity, Err(reason));
    assert_eq!(Executive::apply_extrinsic(transaction), Err(reason));
}

#[test]
fn a_runtime_without_its_metadata_hash_refuses_who_signed_one_and_takes_all_others() {
    let (off, on) = (CheckMetadataHash::new(false), CheckMetadataHash::new(true));
    let shown = CheckMetadataHash::new_with_custom_hash(METADATA_HASH);
    assert_eq!((off.encode(), on.encode(), shown.encode()), (vec![0], vec![1], vec![1]));
    chain("local-1").execute_with(|| {
        blocks::block(1, || {
            let before = Balances::free_balance(account(Bob));
            // It does not know whether the hash that was signed is its own.
            refused(transfer(shown.clone(), on.clone()), UnknownTransaction::CannotLookup);
            // Nor can anybody turn the question off, or claim that it was asked.
            refused(transfer(shown.clone(), off.clone()), InvalidTransaction::BadProof);
            refused(transfer(off.clone(), on.clone()), UnknownTransaction::CannotLookup);
            assert_eq!(Balances::free_balance(account(Bob)), before);

            let plain = transfer(off.clone(), off.clone());
            let validity =
                Executive::validate_transaction(TransactionSource::External, plain.clone(), GENESIS.into());
            assert!(validity.is_ok(), "{validity:?}");
            assert_eq!(Executive::apply_extrinsic(plain), Ok(Ok(())));
            assert_eq!(Balances::free_balance(account(Bob)), before + HIPP);
        });
    });
}
