//! From a family's registration to an attestation, through the pallets as they are configured here.

use arion_types::{
    AttestationRecord, AttestationResult, CrushParams, Lane, MinerRecord, registration::registration_message,
};
use frame_support::{assert_noop, assert_ok, dispatch::DispatchResult};
use sp_core::{Pair, ed25519};
use sp_keyring::Sr25519Keyring::{self, Alice, Bob, Charlie, Dave, Eve, Ferdie};
use sp_runtime::DispatchError;

use super::{GENESIS, account, chain, signed};
use crate::{Arion, Proxy, Registration, Runtime, RuntimeCall, RuntimeOrigin, Sudo, configs::ProxyType};

type Error = pallet_arion::Error<Runtime>;

fn key(n: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[n; 32])
}

fn register(family: Sr25519Keyring, child: Sr25519Keyring) -> DispatchResult {
    let node = key(1);
    let message = registration_message(
        &GENESIS,
        account(family).as_ref(),
        account(child).as_ref(),
        &node.public().0,
        pallet_arion::NodeIdNonce::<Runtime>::get(node.public().0),
    );
    Arion::register_child(
        signed(family),
        account(family),
        account(child),
        node.public().0,
        node.sign(&message).0,
    )
}

fn submit_map(validator: Sr25519Keyring) -> DispatchResult {
    let miner = MinerRecord {
        uid: 1,
        node_id: key(1).public().0,
        family: account(Eve),
        weight: 0x1_0000,
        endpoint: b"127.0.0.1:4000".to_vec().try_into().unwrap(),
    };
    let miners = vec![miner].try_into().unwrap();
    Arion::submit_crush_map(signed(validator), 1, CrushParams::STANDARD, miners)
}

fn attest(sender: Sr25519Keyring) -> DispatchResult {
    let warden = key(9);
    let mut record = AttestationRecord {
        shard_hash: [1; 32],
        miner_uid: 1,
        result: AttestationResult::Failed,
        challenge_seed: [2; 32],
        block_number: 1,
        timestamp: 3,
        warden_pubkey: warden.public().0,
        signature: [0; 64],
        merkle_proof_sig_hash: [4; 32],
        warden_id: Default::default(),
    };
    record.signature = warden.sign(&record.message(&GENESIS)).0;
    Arion::submit_attestations(signed(sender), 0, vec![record].try_into().unwrap())
}

fn as_root(call: pallet_arion::Call<Runtime>) {
    assert_ok!(Sudo::sudo(signed(Alice), Box::new(RuntimeCall::from(call))));
}

#[test]
fn a_miner_joins_gets_into_the_map_and_is_audited() {
    chain("local-3").execute_with(|| {
        assert_noop!(register(Eve, Ferdie), Error::FamilyNotRegistered);
        assert_ok!(Registration::register_owner_node(signed(Eve), Lane::Storage));
        assert_noop!(register(Eve, Ferdie), Error::ProxyVerificationFailed);
        assert_ok!(Proxy::add_proxy(signed(Eve), account(Ferdie).into(), ProxyType::NonTransfer, 0));
        assert_ok!(register(Eve, Ferdie));
        assert_noop!(
            Registration::deregister_owner_node(signed(Eve)),
            pallet_registration::Error::<Runtime>::OwnerInUse
        );

        assert_noop!(submit_map(Dave), DispatchError::BadOrigin);
        assert_ok!(submit_map(Alice));
        assert_eq!(Arion::current_epoch(), 0);
        assert_ok!(submit_map(Charlie));
        assert_eq!(Arion::current_epoch(), 1);

        assert_noop!(attest(Bob), Error::UnregisteredWarden);
        as_root(pallet_arion::Call::register_warden { warden_pubkey: key(9).public().0 });
        assert_noop!(attest(Dave), DispatchError::BadOrigin);
        as_root(pallet_arion::Call::add_attestation_submitter { submitter: account(Dave) });
        assert_ok!(attest(Dave));
        assert_noop!(attest(Bob), Error::DuplicateAttestation);

        assert_ok!(Arion::deregister_child(signed(Eve), account(Ferdie)));
        assert_ok!(Registration::deregister_owner_node(signed(Eve)));
    });
}

#[test]
fn the_admin_is_root_and_nobody_else() {
    chain("local-1").execute_with(|| {
        let warden_pubkey = key(9).public().0;
        for origin in [signed(Alice), RuntimeOrigin::none()] {
            assert_noop!(Arion::register_warden(origin, warden_pubkey), DispatchError::BadOrigin);
        }
        assert_ok!(Arion::register_warden(RuntimeOrigin::root(), warden_pubkey));
        assert_noop!(
            Sudo::sudo(signed(Bob), Box::new(pallet_arion::Call::deregister_warden { warden_pubkey }.into())),
            pallet_sudo::Error::<Runtime>::RequireSudo
        );
    });
}
