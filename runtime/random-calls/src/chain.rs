//! The states sequences begin with, and blocks.

use arion_runtime::{
    AllPalletsWithSystem, Arion, Balances, Marketplace, Proxy, Registration, Runtime, RuntimeGenesisConfig,
    RuntimeOrigin, Session, System, Timestamp,
    configs::{ProxyType, RuntimeBlockWeights},
    constants::{HIPP, SESSION_SLOTS, SLOT_MS},
    genesis::preset,
};
use arion_types::{Lane, NodeType};
use frame_support::{
    assert_ok,
    traits::{BuildGenesisConfig, Get, OnFinalize, OnIdle, OnInitialize, fungible::Mutate},
};
use pallet_marketplace::{CREDIT, ServiceKind, types::ServiceTerms};
use serde_json::Value;
use sp_consensus_babe::digests::{CompatibleDigestItem, PreDigest, SecondaryPlainPreDigest};
use sp_core::H256;
use sp_runtime::{Digest, DigestItem};
use sp_state_machine::BasicExternalities;

use crate::{
    actors::{EXTRA, VALIDATORS, account, child_consent, node_consent, node_id, warden_id},
    calls, check,
};

/// Slot of the first block.
const FIRST_SLOT: u64 = 1_000;
/// Hash of block 0.
const GENESIS: H256 = H256([0x5a; 32]);

/// A state to begin with, at block 1. In a furnished one there are families with miners, a map, wardens, a gateway, a
/// compute node, a service on offer and credits.
pub(crate) fn genesis(is_furnished: bool) -> BasicExternalities {
    let name = format!("local-{VALIDATORS}");
    let patch = preset(&name).expect("the runtime has presets of up to 4 validators");
    let patch: Value = serde_json::from_slice(&patch).expect("presets are JSON");
    let default = serde_json::to_value(RuntimeGenesisConfig::default()).expect("it is a structure");
    let config: RuntimeGenesisConfig =
        serde_json::from_value(merged(default, patch)).expect("presets fit the configuration");
    // Plain maps, without a trie: nothing here asks for the root of the state.
    let mut state = BasicExternalities::default();
    state.execute_with(|| {
        config.build();
        frame_system::BlockHash::<Runtime>::insert(0, GENESIS);
        for (number, balance) in (6..).zip(EXTRA) {
            if balance > 0 {
                assert_ok!(Balances::mint_into(&account(number), balance));
            }
        }
        block(1, || ());
        if is_furnished {
            furnish();
        }
        check::state();
    });
    state
}

/// JSON merge patch (RFC 7386) for objects without nulls.
fn merged(target: Value, patch: Value) -> Value {
    match (target, patch) {
        (Value::Object(mut target), Value::Object(patch)) => {
            for (name, value) in patch {
                let before = target.remove(&name).unwrap_or(Value::Null);
                target.insert(name, merged(before, value));
            }
            Value::Object(target)
        }
        (_, patch) => patch,
    }
}

/// Families are accounts 4 and 6 with the children 20 to 22 and 23 to 24, of node keys 0 to 4; account 5 has gateway
/// 5, account 7 compute node 6; account 8 is a payment authority; account 9 has credits and an agreement.
fn furnish() {
    let signed = |number| RuntimeOrigin::signed(account(number));
    let root = RuntimeOrigin::root;
    for owner in [4, 5, 6, 7] {
        let lane = if owner == 7 { Lane::Compute } else { Lane::Storage };
        assert_ok!(Registration::register_owner_node(signed(owner), lane));
    }
    for (key, (family, child)) in (0u8..).zip([(4, 10), (4, 11), (4, 12), (6, 8), (6, 13)]) {
        let (family_account, child) = (account(family), account(child));
        assert_ok!(Proxy::add_proxy(signed(family), child.clone().into(), ProxyType::NonTransfer, 0));
        let consent = child_consent(&family_account, &child, key, 0);
        assert_ok!(Arion::register_child(signed(family), family_account, child, node_id(key), consent));
    }
    for (owner, key, node_type) in [(5, 5u8, NodeType::Gateway), (7, 6, NodeType::ComputeMiner)] {
        let consent = node_consent(&account(owner), node_type, key, 0);
        assert_ok!(Registration::register_node(signed(owner), node_type, node_id(key), consent));
    }
    for number in 0..2 {
        assert_ok!(Arion::register_warden(root(), warden_id(number)));
    }
    for validator in 0..VALIDATORS {
        let (params, miners) = calls::arion::map(0);
        assert_ok!(Arion::submit_crush_map(signed(validator), 1, params, miners));
        if Arion::current_epoch() == 1 {
            break;
        }
    }
    let terms = ServiceTerms {
        kind: ServiceKind::Container,
        name: b"container".to_vec().try_into().expect("it is short"),
        price: CREDIT,
        delivery_blocks: 30,
    };
    assert_ok!(Marketplace::set_service(root(), 1, Some(terms)));
    assert_ok!(Marketplace::add_payment_authority(root(), account(8)));
    assert_ok!(Marketplace::buy_credits(signed(5), account(9), 50 * CREDIT, 100 * HIPP));
    assert_ok!(Marketplace::authorize_gateway(signed(9), node_id(5), 1 << 40));
}

/// Slot of the newest block.
fn slot() -> u64 {
    *pallet_babe::CurrentSlot::<Runtime>::get()
}

/// Whether anybody can produce blocks. Not if every validator lost its stake or took its keys away.
pub(crate) fn is_alive() -> bool {
    !pallet_session::Validators::<Runtime>::get().is_empty()
}

/// Produces the next block, `slots` after the newest one; `body` is what happens in it before the hooks at its end.
pub(crate) fn block<T>(slots: u64, body: impl FnOnce() -> T) -> T {
    block_at(System::block_number().saturating_add(1), slots, body)
}

fn block_at<T>(number: u32, slots: u64, body: impl FnOnce() -> T) -> T {
    let slot = if slot() == 0 { FIRST_SLOT } else { slot() + slots.max(1) };
    let count = pallet_session::Validators::<Runtime>::get().len() as u64;
    let disabled = Session::disabled_validators();
    let author = (slot..slot + count)
        .map(|turn| (turn % count) as u32)
        .find(|index| !disabled.contains(index))
        .unwrap_or(0);
    let pre_digest =
        PreDigest::SecondaryPlain(SecondaryPlainPreDigest { authority_index: author, slot: slot.into() });
    let digest = Digest { logs: vec![<DigestItem as CompatibleDigestItem>::babe_pre_digest(pre_digest)] };
    let parent = H256(sp_io::hashing::blake2_256(&number.to_le_bytes()));
    System::reset_events();
    System::set_block_number(number.saturating_sub(1));
    System::initialize(&number, &parent, &digest);
    // The hash of block 0 is what was signed.
    frame_system::BlockHash::<Runtime>::insert(0, GENESIS);
    let session = Session::current_index();
    let begun = AllPalletsWithSystem::on_initialize(number);
    let most = RuntimeBlockWeights::get().max_block;
    // A block that begins a session is full by decree.
    let is_full = Session::current_index() != session;
    assert!(is_full || begun.all_lte(most), "block {number} begins with {begun} of {most}");
    System::note_finished_initialize();
    assert_ok!(Timestamp::set(RuntimeOrigin::none(), slot * SLOT_MS));
    let result = body();
    System::note_finished_extrinsics();
    let left = most.saturating_sub(begun);
    let idle = AllPalletsWithSystem::on_idle(number, left);
    assert!(idle.all_lte(left), "block {number} idles with more than is left: {idle} of {left}");
    AllPalletsWithSystem::on_finalize(number);
    result
}

/// The first block of the next session.
pub(crate) fn session() {
    block(SESSION_SLOTS.into(), || ());
}

/// Whole blocks until a bucket of weights is over and weighed.
pub(crate) fn bucket() -> u32 {
    let length: u32 = <Runtime as pallet_arion::Config>::WeightBucketBlocks::get();
    let mut blocks = 0;
    while blocks == 0
        || !System::block_number().is_multiple_of(length)
        || pallet_arion::CurrentWeightRound::<Runtime>::exists()
    {
        block(1, || ());
        blocks += 1;
        if blocks > 2 * length {
            panic!("a round of weights does not end");
        }
    }
    blocks
}

/// Lets `length` blocks pass of which only those are produced in which something is due by its number: too many pass
/// until a deposit is free.
pub(crate) fn leap(length: u32) -> u32 {
    let attestation_bucket: u32 = <Runtime as pallet_arion::Config>::AttestationBucketBlocks::get();
    let retention: u32 = <Runtime as pallet_arion::Config>::AttestationRetentionBuckets::get();
    let target = System::block_number().saturating_add(length).div_ceil(100).saturating_mul(100);
    let mut blocks = bucket();
    let mut stops: Vec<u32> = pallet_arion::AttestationsByBucket::<Runtime>::iter_keys()
        .map(|bucket| bucket.saturating_add(retention).saturating_mul(attestation_bucket))
        .filter(|stop| *stop < target)
        .collect();
    stops.push(target);
    stops.sort_unstable();
    for stop in stops.into_iter().filter(|stop| *stop > System::block_number()) {
        block_at(stop, 1, || ());
        blocks += 1;
        while pallet_arion::CurrentWeightRound::<Runtime>::exists() {
            block(1, || ());
            blocks += 1;
        }
    }
    blocks
}
