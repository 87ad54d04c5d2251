//! Every call of this repository's pallets, as large as it can be, fits a block of transactions; what blocks do by
//! themselves is a small part of one.

use std::collections::BTreeSet;

use arion_types::{
    AttestationRecord, AttestationResult, CrushParams, Lane, MinerRecord, MinerStatsUpdate, NodeQuality,
    NodeType, Snapshot,
};
use codec::Encode;
use frame_support::{
    BoundedVec,
    dispatch::{DispatchClass, GetDispatchInfo},
    traits::{Get, GetCallName},
    weights::Weight,
};
use pallet_arion::WeightInfo as _;
use pallet_marketplace::{
    ServiceKind, WeightInfo as _,
    types::{PaymentMethod, ServiceTerms, UsageUpdate},
};

use crate::{
    AccountId, Runtime, RuntimeCall,
    configs::{RuntimeBlockLength, RuntimeBlockWeights},
};

/// Bytes of a transaction besides its call: signature, sender, extensions, and what they may become.
const ENVELOPE_BYTES: usize = 256;

/// Blocks of local networks have half the time and are for networks that are far smaller: there, the largest of
/// everything may take twice its share.
const SHARES: u64 = if cfg!(feature = "fast-runtime") { 2 } else { 1 };

type ArionWeights = <Runtime as pallet_arion::Config>::WeightInfo;
type MarketplaceWeights = <Runtime as pallet_marketplace::Config>::WeightInfo;

fn nobody() -> AccountId {
    AccountId::new([0xff; 32])
}

/// The longest list.
fn full<Item: Clone, Bound: Get<u32>>(item: Item) -> BoundedVec<Item, Bound> {
    BoundedVec::truncate_from(vec![item; Bound::get() as usize])
}

fn registration_calls() -> Vec<RuntimeCall> {
    use pallet_registration::Call;
    [
        Call::register_owner_node { lane: Lane::Storage },
        Call::register_node { node_type: NodeType::Gateway, node_id: [0; 32], node_sig: [0; 64] },
        Call::deregister_node { node_id: [0; 32] },
        Call::deregister_owner_node {},
    ]
    .map(RuntimeCall::from)
    .into()
}

fn arion_calls() -> Vec<RuntimeCall> {
    use pallet_arion::Call;
    let miner = MinerRecord {
        uid: u32::MAX,
        node_id: [0; 32],
        family: nobody(),
        weight: u32::MAX,
        endpoint: full(b'a'),
    };
    let attestation = AttestationRecord {
        shard_hash: [0; 32],
        miner_uid: 0,
        result: AttestationResult::Passed,
        challenge_seed: [0; 32],
        block_number: 0,
        timestamp: 0,
        warden_pubkey: [0; 32],
        signature: [0; 64],
        merkle_proof_sig_hash: [0; 32],
        warden_id: full(b'w'),
    };
    let stats = MinerStatsUpdate { child: nobody(), shard_count: 0, shard_data_bytes: 0, last_seen_ms: 0 };
    [
        Call::submit_crush_map { epoch: 0, params: CrushParams::STANDARD, miners: full(miner) },
        Call::register_child { family: nobody(), child: nobody(), node_id: [0; 32], node_sig: [0; 64] },
        Call::deregister_child { child: nobody() },
        Call::claim_unbonded { child: nobody() },
        Call::submit_attestations { bucket: 0, attestations: full(attestation.clone()) },
        Call::submit_attestation_commitment {
            epoch: 0,
            arion_content_hash: [0; 32],
            attestation_merkle_root: [0; 32],
            warden_pubkey_merkle_root: [0; 32],
            attestation_count: 0,
        },
        Call::register_warden { warden_pubkey: [0; 32] },
        Call::deregister_warden { warden_pubkey: [0; 32] },
        Call::submit_node_quality { bucket: 0, updates: full((nobody(), NodeQuality::default())) },
        Call::submit_miner_stats {
            bucket: 0,
            updates: full(stats),
            network_totals: Some(Default::default()),
        },
        Call::set_lockup_enabled { enabled: true },
        Call::set_base_child_deposit { deposit: u128::MAX },
        Call::add_attestation_submitter { submitter: nobody() },
        Call::remove_attestation_submitter { submitter: nobody() },
        Call::report_node_quality {
            bucket: 0,
            updates: full((nobody(), NodeQuality::default())),
            reporter: sp_core::sr25519::Public::from_raw([0; 32]).into(),
            signature: sp_core::sr25519::Signature::from_raw([0; 64]).into(),
        },
        Call::report_conflicting_attestations {
            first: Box::new(attestation.clone()),
            second: Box::new(attestation),
        },
        Call::announce_maintenance { child: nobody(), from: 0, until: u32::MAX },
    ]
    .map(RuntimeCall::from)
    .into()
}

fn marketplace_calls() -> Vec<RuntimeCall> {
    use pallet_marketplace::Call;
    let (price, credits, alpha_max, credits_max) = (u128::MAX, u128::MAX, u128::MAX, u128::MAX);
    let (gateway, account, request) = ([0; 32], nobody(), 0);
    let terms =
        ServiceTerms { kind: ServiceKind::Container, name: full(b's'), price, delivery_blocks: u32::MAX };
    [
        Call::set_credit_price { price },
        Call::set_storage_price { price },
        Call::set_service { service: 0, terms: Some(terms) },
        Call::add_payment_authority { authority: nobody() },
        Call::remove_payment_authority { authority: nobody() },
        Call::buy_credits { beneficiary: nobody(), credits, alpha_max },
        Call::refund_credits { credits },
        Call::credit_payment {
            payment_id: full(b'p'),
            method: PaymentMethod::Tao,
            beneficiary: nobody(),
            credits,
            alpha_max,
        },
        Call::refund_payment { payment_id: full(b'p'), credits },
        Call::authorize_gateway { gateway, bytes_max: u64::MAX },
        Call::revoke_gateway { gateway },
        Call::drop_gateway { account: account.clone(), gateway },
        Call::commit_usage {
            gateway,
            sequence: 0,
            root: [0; 32],
            bytes: 0,
            updates: full(UsageUpdate { account: account.clone(), bytes: u64::MAX }),
        },
        Call::poke { account: account.clone() },
        Call::request_service { service: 0, quantity: 0, spec: [0; 32], credits_max },
        Call::assign_miner { request, node_id: [0; 32] },
        Call::accept_request { request },
        Call::report_delivery { request, result: [0; 32] },
        Call::confirm_delivery { request },
        Call::dispute_delivery { request },
        Call::resolve_dispute { request, pay: true },
        Call::cancel_request { request },
        Call::poke_request { request },
        Call::claim { account },
    ]
    .map(RuntimeCall::from)
    .into()
}

fn snapshot_calls() -> Vec<RuntimeCall> {
    use pallet_snapshots::Call;
    let snapshot = Snapshot { sequence: 0, root: [0; 32], root_len: 0, epoch: 0 };
    [
        Call::commit_snapshot { locator: [0; 32], snapshot, signature: [0; 64] },
        Call::remove_snapshot { locator: [0; 32], sequence: 0, signature: [0; 64] },
    ]
    .map(RuntimeCall::from)
    .into()
}

/// Names of calls, and those of the calls there are.
fn assert_complete<Call: GetCallName>(calls: &[RuntimeCall], name: fn(&RuntimeCall) -> &'static str) {
    let names: BTreeSet<&str> = calls.iter().map(name).collect();
    let all: BTreeSet<&str> = Call::get_call_names().iter().copied().collect();
    assert_eq!(names, all);
}

fn name(call: &RuntimeCall) -> &'static str {
    match call {
        RuntimeCall::Registration(call) => call.get_call_name(),
        RuntimeCall::Arion(call) => call.get_call_name(),
        RuntimeCall::Marketplace(call) => call.get_call_name(),
        RuntimeCall::Snapshots(call) => call.get_call_name(),
        _ => "none of ours",
    }
}

#[test]
fn every_call_fits_a_block_when_it_is_largest() {
    let (registration, arion, marketplace) = (registration_calls(), arion_calls(), marketplace_calls());
    let snapshots = snapshot_calls();
    assert_complete::<pallet_registration::Call<Runtime>>(&registration, name);
    assert_complete::<pallet_arion::Call<Runtime>>(&arion, name);
    assert_complete::<pallet_marketplace::Call<Runtime>>(&marketplace, name);
    assert_complete::<pallet_snapshots::Call<Runtime>>(&snapshots, name);

    let most =
        RuntimeBlockWeights::get().get(DispatchClass::Normal).max_extrinsic.unwrap().saturating_mul(SHARES);
    let longest = *RuntimeBlockLength::get().max.get(DispatchClass::Normal) as usize;
    for call in [registration, arion, marketplace, snapshots].concat() {
        let weight = call.get_dispatch_info().call_weight;
        assert!(weight.ref_time() > 0, "{} costs nothing", name(&call));
        assert!(weight.all_lte(most), "{}: {weight} of {most}", name(&call));
        let bytes = call.encoded_size() + ENVELOPE_BYTES;
        assert!(bytes <= longest, "{}: {bytes} of {longest} bytes", name(&call));
    }
}

/// Calls that take longer the more they are given are charged for it.
#[test]
fn a_call_weighs_more_the_more_it_carries() {
    let grows = |weight: fn(u32) -> Weight, most: u32| {
        let (least, half, all) = (weight(1), weight(most / 2), weight(most));
        assert!(least.all_lt(half) && half.all_lt(all), "{least}, {half}, {all}");
    };
    grows(ArionWeights::submit_crush_map, 2_048);
    grows(ArionWeights::submit_attestations, 1_000);
    grows(ArionWeights::submit_node_quality, 2_048);
    grows(ArionWeights::submit_miner_stats, 2_048);
    grows(MarketplaceWeights::commit_usage, 500);
    grows(MarketplaceWeights::settle, 256);
}

/// The first block after a weight bucket weighs families too; a settlement, and the end of an attestation bucket, may
/// fall on the same block.
#[test]
fn what_blocks_must_do_leaves_them_to_transactions() {
    let most = (RuntimeBlockWeights::get().max_block / 5).saturating_mul(SHARES);
    let weight = ArionWeights::open_weight_round(128)
        .saturating_add(ArionWeights::weigh_children(128, 31))
        .saturating_add(ArionWeights::prune_attestations())
        .saturating_add(MarketplaceWeights::settle(256));
    assert!(weight.all_lte(most), "{weight} of {most}");
}

/// A step of a sweep is small, so that blocks have room for it even when they are half full.
#[test]
fn what_blocks_do_with_time_left_is_small() {
    let most = (RuntimeBlockWeights::get().max_block / 20).saturating_mul(SHARES);
    for weight in [
        ArionWeights::sweep_map_votes(32),
        ArionWeights::sweep_child_cooldowns(32),
        ArionWeights::sweep_node_id_cooldowns(32),
        ArionWeights::sweep_attestations(32),
        ArionWeights::sweep_quality_reports(32),
        ArionWeights::sweep_audit_tallies(32),
        ArionWeights::sweep_free_unbonding(32),
        MarketplaceWeights::sweep_agreements(16),
        MarketplaceWeights::sweep_requests(8),
    ] {
        assert!(weight.all_lte(most), "{weight} of {most}");
    }
}
