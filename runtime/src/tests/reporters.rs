//! Reports of quality that a validator's node submits itself, as transactions of this runtime.

use arion_types::NodeQuality;
use codec::{Decode, Encode};
use frame_support::{
    assert_ok,
    dispatch::{DispatchClass, GetDispatchInfo, Pays},
    traits::Get,
};
use frame_system::offchain::CreateAuthorizedTransaction;
use pallet_arion::{
    Call, WeightReporters,
    offchain::{ReporterId, ReporterOwner, ReporterSignature, STATEMENT_BYTES_MAX, report_message},
};
use sp_core::Pair;
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Eve};
use sp_keystore::{KeystoreExt, testing::MemoryKeystore};
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidity};

use super::{GENESIS, account, blocks, chain, signed};
use crate::{
    AccountId, Balances, Executive, Runtime, RuntimeCall, Session, SessionKeys, UncheckedExtrinsic,
    configs::{RuntimeBlockLength, RuntimeBlockWeights},
    reporters::Reporters,
};

type Updates = Vec<(AccountId, NodeQuality)>;

fn updates(count: u32) -> Updates {
    let quality = NodeQuality {
        shard_data_bytes: 1,
        bandwidth_bytes: 2,
        uptime_permille: 3,
        strikes: 0,
        integrity_fails: 0,
    };
    (0..count)
        .map(|n| (AccountId::new([&n.to_be_bytes()[..], &[7; 28]].concat().try_into().unwrap()), quality))
        .collect()
}

fn call(who: Sr25519Keyring, bucket: u32, updates: Updates) -> Call<Runtime> {
    let signature = who.pair().sign(&report_message(&GENESIS, bucket, &updates));
    Call::report_node_quality {
        bucket,
        updates: updates.try_into().unwrap(),
        reporter: ReporterId::from(who.public()),
        signature: ReporterSignature::from(signature),
    }
}

/// The transaction of a node with the reporter key of `who`.
fn report(who: Sr25519Keyring, bucket: u32) -> UncheckedExtrinsic {
    <Runtime as CreateAuthorizedTransaction<Call<Runtime>>>::create_authorized_transaction(
        call(who, bucket, updates(2)).into(),
    )
}

fn validity(transaction: UncheckedExtrinsic) -> TransactionValidity {
    Executive::validate_transaction(TransactionSource::External, transaction, GENESIS.into())
}

#[test]
fn a_validator_of_the_session_reports_without_an_account_or_a_fee() {
    chain("local-2").execute_with(|| {
        blocks::session();
        let free = Balances::free_balance(account(Alice));
        let issued = Balances::total_issuance();
        blocks::block(1, || {
            let transaction = report(Alice, 0);
            // What goes over the network is what was made.
            let bytes = transaction.encode();
            assert_eq!(UncheckedExtrinsic::decode(&mut &bytes[..]).unwrap().encode(), bytes);
            let valid = validity(transaction.clone()).unwrap();
            assert_eq!(valid.provides.last(), Some(&("ArionQuality", (0u32, account(Alice))).encode()));
            assert!(valid.propagate);
            assert_eq!(Executive::apply_extrinsic(transaction.clone()), Ok(Ok(())));
            assert_eq!(WeightReporters::<Runtime>::get(0).into_inner(), [account(Alice)]);
            assert_eq!(validity(transaction.clone()), InvalidTransaction::Stale.into());
            assert_eq!(Executive::apply_extrinsic(transaction), Err(InvalidTransaction::Stale.into()));
        });
        assert_eq!(Balances::free_balance(account(Alice)), free);
        assert_eq!(Balances::total_issuance(), issued);
    });
}

#[test]
fn only_reporters_of_validators_of_the_session_are_heard() {
    let mut externalities = chain("local-2");
    externalities.register_extension(KeystoreExt::new(MemoryKeystore::new()));
    externalities.execute_with(|| {
        blocks::session();
        blocks::block(1, || {
            for stranger in [Charlie, Eve] {
                assert_eq!(validity(report(stranger, 0)), InvalidTransaction::BadSigner.into());
            }
            // Session keys are not enough: who has them must be elected too.
            let generated = SessionKeys::generate(&account(Eve).encode(), None);
            assert_ok!(Session::set_keys(signed(Eve), generated.keys.clone(), generated.proof.encode()));
            assert_eq!(Reporters::owner_of(&generated.keys.reporter), None);
            // A validator that sets new keys reports with the new one, and no longer with the old one.
            assert_eq!(Reporters::owner_of(&Bob.public().into()), Some(account(Bob)));
            let generated = SessionKeys::generate(&account(Bob).encode(), None);
            assert_ok!(Session::set_keys(signed(Bob), generated.keys.clone(), generated.proof.encode()));
            assert_eq!(Reporters::owner_of(&generated.keys.reporter), Some(account(Bob)));
            assert_eq!(validity(report(Bob, 0)), InvalidTransaction::BadSigner.into());
        });
    });
}

/// Whoever signs a call as an account pays, and is refused.
#[test]
fn an_account_cannot_report_for_a_reporter() {
    chain("local-2").execute_with(|| {
        blocks::session();
        let report = RuntimeCall::from(call(Alice, 0, updates(2)));
        let answer = sp_runtime::traits::Dispatchable::dispatch(report, signed(Alice));
        assert_eq!(answer.map(|_| ()).unwrap_err().error, sp_runtime::DispatchError::BadOrigin);
    });
}

#[test]
fn the_largest_report_fits_into_a_block_and_into_an_answer() {
    let miners: u32 = <Runtime as pallet_arion::Config>::MaxMiners::get();
    let report = RuntimeCall::from(call(Alice, 0, updates(miners)));
    let info = report.get_dispatch_info();
    assert_eq!(info.pays_fee, Pays::Yes, "as long as it was not carried out");
    let most = RuntimeBlockWeights::get().get(DispatchClass::Normal).max_extrinsic.unwrap();
    let weight =
        info.call_weight.saturating_add(frame_support::traits::Authorize::weight_of_authorize(&report));
    assert!(weight.all_lte(most), "{weight} of {most}");
    let longest = *RuntimeBlockLength::get().max.get(DispatchClass::Normal) as usize;
    assert!(report.encoded_size() + 256 < longest, "{} of {longest}", report.encoded_size());
    let statement =
        arion_types::quality::QualityStatement::V1 { genesis: GENESIS, bucket: 0, updates: updates(miners) };
    assert!(statement.encoded_size() <= STATEMENT_BYTES_MAX, "{}", statement.encoded_size());
}
