//! Calls of `pallet-arion`.

use arion_runtime::{AccountId, Arion, Runtime, RuntimeCall, System};
use arion_types::{
    AttestationRecord, AttestationResult, CrushParams, MinerRecord, MinerStatsUpdate, NetworkTotals,
    NodeQuality,
};
use frame_support::{BoundedVec, traits::Get};
use pallet_arion::{Call, MinersOf};

use crate::{
    actors::{
        ACCOUNTS, NODES, SIGNERS, VALIDATORS, WARDENS, account, child_consent, node_id, sign, sign_report,
        warden_id,
    },
    script::{Script, Sender},
};

pub(crate) fn call(script: &mut Script) -> (Sender, RuntimeCall) {
    let (sender, call): (Sender, Call<Runtime>) = match script.byte() % 32 {
        0..4 => submit_crush_map(script),
        4..10 => register_child(script),
        10 => {
            let child = child(script);
            (family_of(script, &child), Call::deregister_child { child })
        }
        11 => announce_maintenance(script),
        12..14 => {
            let child = child(script);
            (family_of(script, &child), Call::claim_unbonded { child })
        }
        14..18 => submit_attestations(script),
        18 => report_conflict(script),
        19 => {
            let call = Call::submit_attestation_commitment {
                epoch: epoch(script),
                arion_content_hash: script.array(),
                attestation_merkle_root: script.array(),
                warden_pubkey_merkle_root: script.array(),
                attestation_count: script.byte().into(),
            };
            (script.validator(), call)
        }
        20 => (script.root(), Call::register_warden { warden_pubkey: warden_key(script) }),
        21 => (script.root(), Call::deregister_warden { warden_pubkey: warden_key(script) }),
        22..26 => submit_node_quality(script),
        26..28 => submit_miner_stats(script),
        28 => (script.root(), Call::set_lockup_enabled { enabled: script.flag() }),
        29 => (script.root(), Call::set_base_child_deposit { deposit: script.amount() }),
        30 => (script.root(), Call::add_attestation_submitter { submitter: script.account() }),
        _ => (script.root(), Call::remove_attestation_submitter { submitter: script.account() }),
    };
    (sender, call.into())
}

/// A map of the active children, the same for the same seed: validators that choose it agree.
pub(crate) fn map(seed: u8) -> (CrushParams, MinersOf<Runtime>) {
    let mut params = CrushParams::STANDARD;
    if seed > 4 {
        params.pg_count = u32::from(seed) << (seed % 16);
        params.ec_k = seed % 11;
        params.choose_tries = u16::from(seed) * 50;
    }
    let mut miners = Vec::new();
    for key in 0..NODES {
        let node_id = node_id(key);
        let registered = pallet_arion::NodeIdToChild::<Runtime>::get(node_id)
            .and_then(pallet_arion::ChildRegistrations::<Runtime>::get);
        let family = match registered {
            Some(child) => child.family,
            None if seed == 255 => account(0),
            None => continue,
        };
        if seed & (1 << (key % 8)) != 0 && seed < 128 {
            continue;
        }
        let uid = u32::from(key) + u32::from(seed == 254 && key == 1);
        let endpoint = format!("127.0.0.1:{}", 4_000 + u32::from(seed)).into_bytes();
        let endpoint = BoundedVec::truncate_from(endpoint);
        miners.push(MinerRecord { uid, node_id, family, weight: 0x1_0000 << (seed % 8), endpoint });
    }
    if seed == 253 {
        miners.reverse();
    }
    (params, BoundedVec::truncate_from(miners))
}

fn epoch(script: &mut Script) -> u64 {
    let current = Arion::current_epoch();
    match script.byte() % 16 {
        0 => script.number_u64(),
        1 => current,
        2 => current.saturating_sub(1),
        _ => current.saturating_add(1),
    }
}

fn submit_crush_map(script: &mut Script) -> (Sender, Call<Runtime>) {
    let epoch = epoch(script);
    let seed = if script.rarely(4) { script.byte() } else { script.byte() % 4 };
    let (params, miners) = map(seed);
    (script.validator(), Call::submit_crush_map { epoch, params, miners })
}

fn register_child(script: &mut Script) -> (Sender, Call<Runtime>) {
    let (family_number, child_number) = (script.below(SIGNERS), script.below(ACCOUNTS));
    let (family, child) = (account(family_number), account(child_number));
    let key = script.byte() % NODES;
    let ahead = if script.rarely(16) { script.number_u64() } else { 0 };
    let signed_for = if script.rarely(16) { account(0) } else { child.clone() };
    let node_sig = child_consent(&family, &signed_for, key, ahead);
    let node_id = node_id(key);
    (script.one_of(&[family_number]), Call::register_child { family, child, node_id, node_sig })
}

/// An account that is a child, if there is any.
fn child(script: &mut Script) -> AccountId {
    let chosen = script.below(ACCOUNTS);
    let mut children: Vec<_> = pallet_arion::ChildRegistrations::<Runtime>::iter_keys().collect();
    if children.is_empty() || chosen == 0 {
        return account(chosen);
    }
    children.sort_unstable();
    children[chosen % children.len()].clone()
}

fn family_of(script: &mut Script, child: &AccountId) -> Sender {
    let family = pallet_arion::ChildRegistrations::<Runtime>::get(child).map(|record| record.family);
    let number = (0..SIGNERS).find(|number| Some(account(*number)) == family);
    script.one_of(&[number.unwrap_or(0)])
}

/// Mostly in time, and mostly not for too long.
fn announce_maintenance(script: &mut Script) -> (Sender, Call<Runtime>) {
    let child = child(script);
    let sender = family_of(script, &child);
    let from = System::block_number().wrapping_add(u32::from(script.byte() % 64));
    let blocks = if script.rarely(16) { script.number_u64() as u32 } else { script.byte().into() };
    (sender, Call::announce_maintenance { child, from, until: from.wrapping_add(blocks) })
}

fn warden_key(script: &mut Script) -> [u8; 32] {
    warden_id(script.byte() % WARDENS)
}

fn submit_attestations(script: &mut Script) -> (Sender, Call<Runtime>) {
    let length: u32 = <Runtime as pallet_arion::Config>::AttestationBucketBlocks::get();
    let first = script.recent_block(120);
    let bucket = if script.rarely(32) { script.byte().into() } else { (first / u64::from(length)) as u32 };
    let mut records = Vec::new();
    for _ in 0..=script.below(6) {
        let mut record = attestation(script, first);
        sign(&mut record, script.byte() % WARDENS);
        if script.rarely(64) {
            record.challenge_seed = [3; 32];
        }
        records.push(record);
    }
    let call = Call::submit_attestations { bucket, attestations: BoundedVec::truncate_from(records) };
    (script.validator(), call)
}

/// A record without a signature, mostly of this block.
fn attestation(script: &mut Script, block: u64) -> AttestationRecord {
    AttestationRecord {
        shard_hash: [script.byte() % 8; 32],
        miner_uid: u32::from(script.byte() % NODES),
        result: verdict(script),
        challenge_seed: [2; 32],
        block_number: if script.rarely(32) { script.recent_block(200) } else { block },
        timestamp: 3,
        warden_pubkey: [0; 32],
        signature: [0; 64],
        merkle_proof_sig_hash: [4; 32],
        warden_id: Default::default(),
    }
}

fn verdict(script: &mut Script) -> AttestationResult {
    use AttestationResult::{Failed, InvalidProof, Passed, Timeout};
    [Passed, Failed, Timeout, InvalidProof][script.below(4)]
}

/// Mostly two verdicts of one warden on one challenge, which may be the same.
fn report_conflict(script: &mut Script) -> (Sender, Call<Runtime>) {
    let block = script.recent_block(120);
    let mut first = attestation(script, block);
    let mut second = AttestationRecord { result: verdict(script), ..first.clone() };
    if script.rarely(16) {
        second.miner_uid = second.miner_uid.wrapping_add(1);
    }
    let key = script.byte() % WARDENS;
    sign(&mut first, key);
    sign(&mut second, if script.rarely(16) { script.byte() % WARDENS } else { key });
    if script.rarely(16) {
        first.timestamp = 4;
    }
    let (first, second) = (Box::new(first), Box::new(second));
    (Sender::Account(script.signer()), Call::report_conflicting_attestations { first, second })
}

/// Mostly the open bucket.
fn bucket(script: &mut Script) -> u32 {
    let open = Arion::open_weight_bucket();
    match script.byte() % 32 {
        0 => open.wrapping_sub(1),
        1 => open.wrapping_add(1),
        _ => open,
    }
}

/// Some accounts in their order; now and then in another.
fn some_accounts(script: &mut Script) -> Vec<AccountId> {
    let (chosen, more) = (script.byte(), script.byte());
    let chosen = u32::from_le_bytes([chosen, more, 3, 0]);
    let mut accounts: Vec<_> =
        (0..ACCOUNTS).filter(|number| chosen & (1 << number) != 0).map(account).collect();
    if !script.rarely(32) {
        accounts.sort_unstable();
    }
    accounts
}

fn submit_node_quality(script: &mut Script) -> (Sender, Call<Runtime>) {
    let bucket = bucket(script);
    let updates: Vec<_> = some_accounts(script)
        .into_iter()
        .map(|child| {
            let quality = NodeQuality {
                shard_data_bytes: script.number_u64(),
                bandwidth_bytes: script.number_u64(),
                uptime_permille: (u16::from(script.byte()) * 4).saturating_sub(19),
                strikes: script.byte().into(),
                integrity_fails: u32::MAX,
            };
            (child, quality)
        })
        .collect();
    if script.rarely(3) {
        let (reporter, signature) = sign_report(script.below(VALIDATORS), bucket, &updates);
        let updates = BoundedVec::truncate_from(updates);
        return (Sender::Authorized, Call::report_node_quality { bucket, updates, reporter, signature });
    }
    let call = Call::submit_node_quality { bucket, updates: BoundedVec::truncate_from(updates) };
    (script.validator(), call)
}

fn submit_miner_stats(script: &mut Script) -> (Sender, Call<Runtime>) {
    let bucket = bucket(script);
    let updates = some_accounts(script)
        .into_iter()
        .map(|child| MinerStatsUpdate {
            child,
            shard_count: script.number_u64(),
            shard_data_bytes: script.number_u64(),
            last_seen_ms: script.number_u64(),
        })
        .collect();
    let network_totals = script.flag().then(|| NetworkTotals {
        miners: script.byte().into(),
        shard_count: script.number_u64(),
        shard_data_bytes: script.number_u128(),
        capacity_bytes: script.number_u128(),
    });
    let call =
        Call::submit_miner_stats { bucket, updates: BoundedVec::truncate_from(updates), network_totals };
    (script.validator(), call)
}
