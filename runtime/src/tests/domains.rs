//! A signature means one thing: what a key signed for one purpose is worth nothing for any other.

use arion_types::{
    AttestationRecord, AttestationResult, Lane, NodeId, NodeQuality, NodeType, Receipt, ShardHash, Snapshot,
    StripeId, domain,
    registration::{node_message, registration_message},
    snapshot::{removal_message, snapshot_message},
};
use codec::Encode;
use frame_support::{assert_noop, assert_ok, traits::Authorize};
use pallet_arion::offchain::{ReporterId, ReporterSignature, report_message};
use sp_core::{Pair, ed25519, sr25519};
use sp_keyring::Sr25519Keyring::{Alice, Eve, Ferdie};
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidityError};

use super::{GENESIS, account, blocks, chain, signed};
use crate::{Arion, Proxy, Registration, Runtime, RuntimeCall, RuntimeOrigin, Snapshots, configs::ProxyType};

/// One key for everything: miner, service node and warden.
fn key() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[1; 32])
}

fn id() -> [u8; 32] {
    key().public().0
}

fn attestation() -> AttestationRecord {
    AttestationRecord {
        shard_hash: [1; 32],
        miner_uid: 1,
        result: AttestationResult::Failed,
        challenge_seed: [2; 32],
        block_number: 1,
        timestamp: 3,
        warden_pubkey: id(),
        signature: [0; 64],
        merkle_proof_sig_hash: [4; 32],
        warden_id: Default::default(),
    }
}

fn updates() -> Vec<(crate::AccountId, NodeQuality)> {
    vec![(account(Ferdie), NodeQuality { shard_data_bytes: 1, uptime_permille: 1_000, ..Default::default() })]
}

fn snapshot() -> Snapshot {
    Snapshot { sequence: 1, root: [2; 32], root_len: 3, epoch: 4 }
}

/// What keys sign in the daily life of this network, by tag.
fn daily() -> Vec<(&'static [u8], Vec<u8>)> {
    let (owner, child) = (account(Eve), account(Ferdie));
    let receipt = Receipt {
        shard: ShardHash([1; 32]),
        size: 2,
        stripe: StripeId([3; 32]),
        pg: 4,
        index: 5,
        epoch: 6,
        node_id: NodeId(id()),
        stored_at: 7,
    };
    vec![
        (domain::REGISTRATION, registration_message(&GENESIS, owner.as_ref(), child.as_ref(), &id(), 0)),
        (domain::NODE, node_message(&GENESIS, owner.as_ref(), NodeType::Gateway, &id(), 0)),
        (domain::ATTESTATION, attestation().message(&GENESIS)),
        (domain::RECEIPT, receipt.message(&GENESIS)),
        (domain::QUALITY, report_message(&GENESIS, 0, &updates())),
        (domain::SNAPSHOT, snapshot_message(&GENESIS, &id(), &snapshot())),
        (domain::SNAPSHOT_END, removal_message(&GENESIS, &id(), 2)),
    ]
}

/// What may not pass for a message with this tag: daily messages of all other kinds, and the very same fields under
/// every other tag.
fn foreign(tag: &[u8], fields: &impl Encode) -> Vec<Vec<u8>> {
    let others = domain::ALL.iter().filter(|other| **other != tag);
    let same_fields = others.map(|other| domain::message(other, &GENESIS, fields));
    let daily = daily().into_iter().filter(|(other, _)| *other != tag).map(|(_, message)| message);
    let all: Vec<_> = daily.chain(same_fields).collect();
    assert_eq!(all.len(), 6 + (domain::ALL.len() - 1));
    all
}

#[test]
fn nothing_else_that_a_node_signs_makes_it_a_child() {
    chain("local-1").execute_with(|| {
        let (family, child) = (account(Eve), account(Ferdie));
        assert_ok!(Registration::register_owner_node(signed(Eve), Lane::Storage));
        assert_ok!(Proxy::add_proxy(signed(Eve), child.clone().into(), ProxyType::NonTransfer, 0));
        let register = |message: &[u8]| {
            let signature = key().sign(message).0;
            Arion::register_child(signed(Eve), family.clone(), child.clone(), id(), signature)
        };
        for message in foreign(domain::REGISTRATION, &(&family, &child, id(), 0u64)) {
            assert_noop!(register(&message), pallet_arion::Error::<Runtime>::InvalidNodeSignature);
        }
        assert_ok!(register(&daily()[0].1));
    });
}

#[test]
fn nothing_else_that_a_node_signs_makes_it_a_service_node() {
    chain("local-1").execute_with(|| {
        assert_ok!(Registration::register_owner_node(signed(Eve), Lane::Storage));
        let register = |message: &[u8]| {
            Registration::register_node(signed(Eve), NodeType::Gateway, id(), key().sign(message).0)
        };
        for message in foreign(domain::NODE, &(account(Eve), NodeType::Gateway, id(), 0u64)) {
            assert_noop!(register(&message), pallet_registration::Error::<Runtime>::InvalidNodeSignature);
        }
        assert_ok!(register(&daily()[1].1));
    });
}

#[test]
fn nothing_else_that_a_warden_signs_is_a_verdict() {
    chain("local-1").execute_with(|| {
        assert_ok!(Arion::register_warden(RuntimeOrigin::root(), id()));
        let record = attestation();
        let fields = (
            record.shard_hash,
            record.miner_uid,
            record.result,
            record.challenge_seed,
            record.block_number,
            record.timestamp,
            record.warden_pubkey,
            record.merkle_proof_sig_hash,
            &record.warden_id,
        );
        assert_eq!(domain::message(domain::ATTESTATION, &GENESIS, &fields), record.message(&GENESIS));
        let attest = |message: &[u8]| {
            let record = AttestationRecord { signature: key().sign(message).0, ..record.clone() };
            Arion::submit_attestations(signed(Alice), 0, vec![record].try_into().unwrap())
        };
        for message in foreign(domain::ATTESTATION, &fields) {
            assert_noop!(attest(&message), pallet_arion::Error::<Runtime>::InvalidAttestationSignature);
        }
        assert_ok!(attest(&record.message(&GENESIS)));
    });
}

#[test]
fn nothing_else_that_a_reporter_signs_is_a_report() {
    chain("local-1").execute_with(|| {
        blocks::block(1, || {
            let reporter: sr25519::Pair = Alice.pair();
            let report = |message: &[u8]| {
                let call = RuntimeCall::from(pallet_arion::Call::report_node_quality {
                    bucket: 0,
                    updates: updates().try_into().unwrap(),
                    reporter: ReporterId::from(reporter.public()),
                    signature: ReporterSignature::from(reporter.sign(message)),
                });
                call.authorize(TransactionSource::External).unwrap().map(|_| ())
            };
            for message in foreign(domain::QUALITY, &(0u32, updates())) {
                let refused = TransactionValidityError::from(InvalidTransaction::BadProof);
                assert_eq!(report(&message), Err(refused));
            }
            assert_eq!(report(&daily()[4].1), Ok(()));
        });
    });
}

#[test]
fn nothing_else_that_a_locator_signs_moves_or_removes_its_snapshot() {
    chain("local-1").execute_with(|| {
        let commit =
            |message: &[u8]| Snapshots::commit_snapshot(signed(Eve), id(), snapshot(), key().sign(message).0);
        let remove = |message: &[u8]| Snapshots::remove_snapshot(signed(Eve), id(), 2, key().sign(message).0);
        let error = || pallet_snapshots::Error::<Runtime>::InvalidLocatorSignature;
        for message in foreign(domain::SNAPSHOT, &(id(), snapshot())) {
            assert_noop!(commit(&message), error());
        }
        assert_ok!(commit(&daily()[5].1));
        for message in foreign(domain::SNAPSHOT_END, &(id(), 2u64)) {
            assert_noop!(remove(&message), error());
        }
        assert_ok!(remove(&daily()[6].1));
    });
}
