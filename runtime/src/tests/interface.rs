//! What clients depend on: numbers, presets, bounds.

use codec::Encode;
use frame_support::{
    dispatch::{DispatchClass, GetDispatchInfo},
    traits::{Get, InstanceFilter, PalletInfoAccess, fungible::Inspect},
};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie, Dave, Eve, Ferdie};

use super::{account, chain, validators};
use crate::{
    Arion, AuthorityDiscovery, Authorship, Babe, Balances, Council, Grandpa, Historical, Marketplace,
    Offences, Proxy, Registration, Runtime, RuntimeCall, Session, SessionKeys, Snapshots, Staking, Sudo,
    System, Timestamp, TransactionPayment, TxExtension, UncheckedExtrinsic, Utility, VERSION, VoterList,
    Whitelist,
    configs::{ProxyType, RuntimeBlockLength, RuntimeBlockWeights, staking::NOMINATORS_PER_VALIDATOR_MAX},
    constants::VALIDATORS_MAX,
    genesis,
};

#[test]
fn pallets_keep_their_indices() {
    let indices = [
        System::index(),
        Timestamp::index(),
        Babe::index(),
        Authorship::index(),
        Session::index(),
        Grandpa::index(),
        Balances::index(),
        TransactionPayment::index(),
        Proxy::index(),
        Utility::index(),
        Sudo::index(),
        Registration::index(),
        Arion::index(),
        Marketplace::index(),
        Snapshots::index(),
    ];
    assert_eq!(indices, [0, 1, 2, 3, 4, 5, 10, 11, 20, 21, 29, 40, 41, 42, 43]);
    let indices = [
        Staking::index(),
        Offences::index(),
        Historical::index(),
        AuthorityDiscovery::index(),
        VoterList::index(),
        Council::index(),
        Whitelist::index(),
    ];
    assert_eq!(indices, [6, 7, 8, 9, 12, 22, 23]);
}

#[test]
fn calls_keep_their_indices() {
    use codec::Decode;
    let names = |pallet: u8, indices: &[u8]| -> Vec<bool> {
        // A call without arguments' bytes decodes only if it has none; an unknown index never does.
        indices
            .iter()
            .map(|index| RuntimeCall::decode(&mut &[&[pallet, *index][..], &[0; 512]].concat()[..]).is_ok())
            .collect()
    };
    assert_eq!(names(41, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]), [true; 17]);
    assert_eq!(names(41, &[17]), [false]);
    assert_eq!(names(40, &[0, 1, 2, 3]), [true; 4]);
    assert_eq!(names(40, &[4]), [false]);
    let call: RuntimeCall = pallet_arion::Call::set_lockup_enabled { enabled: true }.into();
    assert_eq!(call.encode(), [41, 10, 1]);
    let call: RuntimeCall =
        pallet_registration::Call::register_owner_node { lane: arion_types::Lane::Compute }.into();
    assert_eq!(call.encode(), [40, 0, 1]);
}

#[test]
fn presets_have_their_validators_and_funds() {
    for (preset, expected) in [
        ("development", vec![Alice]),
        ("local-1", vec![Alice]),
        ("local-2", vec![Alice, Bob]),
        ("local-3", vec![Alice, Bob, Charlie]),
        ("local-4", vec![Alice, Bob, Charlie, Dave]),
    ] {
        assert!(genesis::preset_names().contains(&preset.into()));
        chain(preset).execute_with(|| {
            let mut stakers: Vec<_> = expected.iter().map(|who| account(*who)).collect();
            stakers.sort();
            assert_eq!(validators(), stakers, "{preset}");
            assert_eq!(Babe::authorities().len(), expected.len());
            assert_eq!(Grandpa::grandpa_authorities().len(), expected.len());
            assert_eq!(AuthorityDiscovery::authorities().len(), expected.len());
            for who in [Alice, Bob, Charlie, Dave, Eve, Ferdie] {
                assert_eq!(Balances::total_balance(&account(who)), genesis::ENDOWMENT);
                let bond = if expected.contains(&who) { genesis::LOCAL_BOND } else { 0 };
                assert_eq!(Balances::reserved_balance(account(who)), bond);
                assert_eq!(Staking::slashable_balance_of(&account(who)), bond);
            }
            assert_eq!(pallet_sudo::Key::<Runtime>::get(), Some(account(Alice)));
        });
    }
    assert_eq!(genesis::preset(&"local-5".into()), None);
    assert_eq!(genesis::preset(&"local-0".into()), None);
}

#[test]
fn the_largest_map_and_the_largest_batch_fit_into_a_block() {
    let miners: u32 = <Runtime as pallet_arion::Config>::MaxMiners::get();
    let record = arion_types::MinerRecord {
        uid: 0,
        node_id: [0; 32],
        family: account(Alice),
        weight: 0,
        endpoint: vec![b'x'; 128].try_into().unwrap(),
    };
    let map = pallet_arion::Call::submit_crush_map {
        epoch: 1,
        params: arion_types::CrushParams::STANDARD,
        miners: vec![record; miners as usize].try_into().unwrap(),
    };
    let attestations: u32 = <Runtime as pallet_arion::Config>::MaxAttestations::get();
    let record = arion_types::AttestationRecord {
        shard_hash: [0; 32],
        miner_uid: 0,
        result: arion_types::AttestationResult::Passed,
        challenge_seed: [0; 32],
        block_number: 0,
        timestamp: 0,
        warden_pubkey: [0; 32],
        signature: [0; 64],
        merkle_proof_sig_hash: [0; 32],
        warden_id: vec![b'x'; 64].try_into().unwrap(),
    };
    let batch = pallet_arion::Call::submit_attestations {
        bucket: 0,
        attestations: vec![record; attestations as usize].try_into().unwrap(),
    };
    let most = RuntimeBlockWeights::get().get(DispatchClass::Normal).max_extrinsic.unwrap();
    let longest = *RuntimeBlockLength::get().max.get(DispatchClass::Normal) as usize;
    for call in [map, batch] {
        let call = RuntimeCall::from(call);
        let weight = call.get_dispatch_info().call_weight;
        assert!(weight.all_lte(most), "{weight} of {most}");
        assert!(call.encoded_size() + 256 < longest, "{} of {longest}", call.encoded_size());
    }
}

#[test]
fn proxies_do_what_their_type_says() {
    let transfer = RuntimeCall::from(pallet_balances::Call::transfer_all {
        dest: account(Bob).into(),
        keep_alive: false,
    });
    let lockup = RuntimeCall::from(pallet_arion::Call::set_lockup_enabled { enabled: true });
    let sudo = RuntimeCall::from(pallet_sudo::Call::remove_key {});
    let chill = RuntimeCall::from(pallet_staking::Call::chill {});
    for (proxy, allowed) in [
        (ProxyType::Any, [true, true, true, true]),
        (ProxyType::NonTransfer, [false, true, false, false]),
        (ProxyType::Storage, [false, true, false, false]),
        (ProxyType::Staking, [false, false, false, true]),
    ] {
        assert_eq!([&transfer, &lockup, &sudo, &chill].map(|call| proxy.filter(call)), allowed, "{proxy:?}");
    }
    assert!(ProxyType::Any.is_superset(&ProxyType::Staking));
    assert!(!ProxyType::NonTransfer.is_superset(&ProxyType::Staking));
    assert!(!ProxyType::Staking.is_superset(&ProxyType::NonTransfer));
    let types = [ProxyType::Any, ProxyType::NonTransfer, ProxyType::Storage];
    for (i, wide) in types.iter().enumerate() {
        for (j, narrow) in types.iter().enumerate() {
            assert_eq!(wide.is_superset(narrow), i <= j, "{wide:?} {narrow:?}");
        }
    }
}

/// Otherwise no block could hold it, and cheating would have no consequence.
#[test]
fn the_report_of_an_equivocation_fits_into_a_block() {
    let most = RuntimeBlockWeights::get().get(DispatchClass::Normal).max_extrinsic.unwrap();
    let babe =
        <() as pallet_babe::WeightInfo>::report_equivocation(VALIDATORS_MAX, NOMINATORS_PER_VALIDATOR_MAX);
    let grandpa =
        <() as pallet_grandpa::WeightInfo>::report_equivocation(VALIDATORS_MAX, NOMINATORS_PER_VALIDATOR_MAX);
    assert!(babe.all_lte(most), "{babe} of {most}");
    assert!(grandpa.all_lte(most), "{grandpa} of {most}");
}

#[test]
fn transactions_carry_these_extensions() {
    use sp_runtime::traits::TransactionExtension;
    let names: Vec<_> = <TxExtension as TransactionExtension<RuntimeCall>>::metadata()
        .iter()
        .map(|extension| extension.identifier)
        .collect();
    let expected = [
        "AuthorizeCall",
        "CheckNonZeroSender",
        "CheckSpecVersion",
        "CheckTxVersion",
        "CheckGenesis",
        "CheckMortality",
        "CheckNonce",
        "CheckWeight",
        "ChargeTransactionPayment",
        "CheckMetadataHash",
        "WeightReclaim",
    ];
    assert_eq!(names, expected);
    assert_eq!((VERSION.spec_version, VERSION.transaction_version), (5, 3));
}

#[test]
fn session_keys_are_four_keys_in_this_order() {
    use sp_runtime::traits::OpaqueKeys;
    let names = SessionKeys::key_ids().iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(names, [*b"babe", *b"gran", *b"audi", *b"arqr"]);
}

#[test]
fn without_a_sudo_key_nobody_is_root() {
    use frame_support::assert_noop;
    let genesis = genesis::Genesis {
        validators: vec![genesis::Validator {
            account: account(Bob),
            bond: genesis::VALIDATOR_BOND_MIN,
            keys: SessionKeys {
                babe: Bob.public().into(),
                grandpa: sp_keyring::Ed25519Keyring::Bob.public().into(),
                authority_discovery: Bob.public().into(),
                reporter: Bob.public().into(),
            },
        }],
        seats: 1,
        validators_min: 1,
        endowed: [Alice, Bob].map(|who| (account(who), genesis::ENDOWMENT)).to_vec(),
        sudo: None,
    };
    super::chain_with(genesis.patch()).execute_with(|| {
        assert_eq!(validators(), [account(Bob)]);
        assert_eq!(pallet_sudo::Key::<Runtime>::get(), None);
        for who in [Alice, Bob] {
            let call = RuntimeCall::from(frame_system::Call::set_heap_pages { pages: 1 });
            let error = pallet_sudo::Error::<Runtime>::RequireSudo;
            assert_noop!(Sudo::sudo(super::signed(who), Box::new(call)), error);
            let error = pallet_sudo::Error::<Runtime>::RequireSudo;
            assert_noop!(Sudo::set_key(super::signed(who), account(who).into()), error);
        }
    });
}

/// A report of an equivocation is a transaction that nobody signs; every other call needs a signature.
#[test]
fn unsigned_calls_other_than_reports_are_refused() {
    use sp_runtime::transaction_validity::{InvalidTransaction, TransactionSource};
    chain("local-1").execute_with(|| {
        let call = RuntimeCall::from(frame_system::Call::remark { remark: Vec::new() });
        let bare = UncheckedExtrinsic::new_bare(call);
        let answer =
            crate::Executive::validate_transaction(TransactionSource::Local, bare, Default::default());
        assert_eq!(answer, Err(InvalidTransaction::Call.into()));
    });
}

/// The tables of docs/spec/chain.md.
#[test]
fn signed_messages_have_the_bytes_of_the_specification() {
    use arion_types::{
        AttestationRecord, AttestationResult, NodeType,
        registration::{node_message, registration_message},
    };

    let message = registration_message(&[1; 32], &[2; 32], &[3; 32], &[4; 32], 0x0506);
    let parts: [&[u8]; 6] =
        [b"arion/registration/v1", &[1; 32], &[2; 32], &[3; 32], &[4; 32], &[6, 5, 0, 0, 0, 0, 0, 0]];
    assert_eq!(message, parts.concat());
    assert_eq!(message.len(), 157);

    let message = node_message(&[1; 32], &[2; 32], NodeType::Gateway, &[4; 32], 7);
    let parts: [&[u8]; 6] = [b"arion/node/v1", &[1; 32], &[2; 32], &[2], &[4; 32], &[7, 0, 0, 0, 0, 0, 0, 0]];
    assert_eq!(message, parts.concat());
    assert_eq!(message.len(), 118);

    let record = AttestationRecord {
        shard_hash: [2; 32],
        miner_uid: 3,
        result: AttestationResult::InvalidProof,
        challenge_seed: [4; 32],
        block_number: 5,
        timestamp: 6,
        warden_pubkey: [7; 32],
        signature: [8; 64],
        merkle_proof_sig_hash: [9; 32],
        warden_id: b"ab".to_vec().try_into().unwrap(),
    };
    let (head, tail): ([&[u8]; 8], [&[u8]; 3]) = (
        [
            b"arion/attestation/v1",
            &[1; 32],
            &[2; 32],
            &[3, 0, 0, 0],
            &[3],
            &[4; 32],
            &[5, 0, 0, 0, 0, 0, 0, 0],
            &[6, 0, 0, 0, 0, 0, 0, 0],
        ],
        [&[7; 32], &[9; 32], &[2 << 2, b'a', b'b']],
    );
    assert_eq!(record.message(&[1; 32]), [head.concat(), tail.concat()].concat());
    let stored = [&head[2..].concat()[..], &[7; 32], &[8; 64], &tail[1..].concat()].concat();
    assert_eq!(record.encode(), stored);
    assert_eq!(arion_types::CrushParams::STANDARD.encode(), [0, 16, 0, 0, 10, 20, 2, 244, 1]);
}
