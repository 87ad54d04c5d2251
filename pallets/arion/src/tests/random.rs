//! Whatever is called in whatever order, the invariants hold and no unit of balance is made or lost.

use std::collections::BTreeSet;

use arion_types::{AttestationResult, MinerStatsUpdate, NetworkTotals, NodeQuality};
use frame_support::traits::{
    GetCallName,
    fungible::{Inspect, InspectHold},
};
use frame_system::RawOrigin;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use sp_core::ByteArray;
use sp_runtime::{AccountId32, BoundedVec, StateVersion, traits::Dispatchable};

use crate::{
    Call, ChildStatus, HoldReason,
    mock::*,
    offchain::{ReporterId, ReporterSignature},
};

/// Something that happens on the chain. Where a step needs a child that there is, `nth` picks it, and its family
/// calls, unless the step says who else.
#[derive(Clone, Debug)]
enum Step {
    Register { family: u8, child: u8, node: u8 },
    Deregister { nth: usize, by: Option<u8> },
    Claim { nth: usize, by: Option<u8> },
    Lockup(bool),
    Base(Balance),
    Map { validator: u8, epochs_ahead: u64, uids: Vec<u32> },
    Warden { add: bool, warden: u8 },
    Attest { warden: u8, shard: u8, uid: u32, result: AttestationResult, blocks_ago: u64 },
    Conflict { warden: u8, first: AttestationResult, second: AttestationResult, by: u8 },
    Away { nth: usize, by: Option<u8>, ahead: u64, blocks: u64 },
    Commit { validator: u8, epoch: u64 },
    Submitter { add: bool, who: u8 },
    Report { validator: u8, children: Vec<u8>, quality: NodeQuality },
    ReportByKey { validator: u8, children: Vec<u8>, quality: NodeQuality },
    Stats { validator: u8, children: Vec<u8>, totals: bool },
    Validators { first: u8, count: u8, stake: u128 },
    Blocks(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let by = || prop_oneof![7 => Just(None), 1 => (1..=6u8).prop_map(Some)];
    prop_oneof![
        6 => (1..=6u8, 20..=32u8, 20..=32u8)
            .prop_map(|(family, child, node)| Step::Register { family, child, node }),
        3 => (0..8usize, by()).prop_map(|(nth, by)| Step::Deregister { nth, by }),
        3 => (0..8usize, by()).prop_map(|(nth, by)| Step::Claim { nth, by }),
        1 => any::<bool>().prop_map(Step::Lockup),
        1 => (0..1_000 * UNIT).prop_map(Step::Base),
        5 => (100..=103u8, prop_oneof![4 => Just(1), 1 => 0..3u64], uids())
            .prop_map(|(validator, epochs_ahead, uids)| Step::Map { validator, epochs_ahead, uids }),
        2 => (any::<bool>(), 200..=203u8).prop_map(|(add, warden)| Step::Warden { add, warden }),
        6 => (200..=203u8, 0..4u8, 1..6u32, result(), 0..60u64).prop_map(
            |(warden, shard, uid, result, blocks_ago)| Step::Attest { warden, shard, uid, result, blocks_ago }
        ),
        1 => (200..=203u8, result(), result(), 1..=6u8)
            .prop_map(|(warden, first, second, by)| Step::Conflict { warden, first, second, by }),
        2 => (0..8usize, by(), 0..9u64, 0..14u64)
            .prop_map(|(nth, by, ahead, blocks)| Step::Away { nth, by, ahead, blocks }),
        2 => (100..=103u8, 0..4u64).prop_map(|(validator, epoch)| Step::Commit { validator, epoch }),
        1 => (any::<bool>(), 1..=4u8).prop_map(|(add, who)| Step::Submitter { add, who }),
        6 => (100..=103u8, children(), quality(), any::<bool>()).prop_map(
            |(validator, children, quality, by_key)| match by_key {
                true => Step::ReportByKey { validator, children, quality },
                false => Step::Report { validator, children, quality },
            }
        ),
        1 => (100..=103u8, children(), any::<bool>())
            .prop_map(|(validator, children, totals)| Step::Stats { validator, children, totals }),
        1 => (100..=103u8, 0..4u8, 1..u128::MAX / 8)
            .prop_map(|(first, count, stake)| Step::Validators { first, count, stake }),
        3 => (1..40u64).prop_map(Step::Blocks),
    ]
}

fn result() -> impl Strategy<Value = AttestationResult> {
    use AttestationResult::*;
    proptest::sample::select(vec![Passed, Failed, Timeout, InvalidProof])
}

/// Mostly a map that can be, and mostly the same.
fn uids() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        5 => Just(vec![1, 2]),
        2 => proptest::sample::subsequence((1..6u32).collect::<Vec<_>>(), 1..4),
        1 => proptest::collection::vec(1..6u32, 0..4),
    ]
}

fn children() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::subsequence((20..=32u8).collect::<Vec<_>>(), 0..=CHILDREN_MAX as usize)
}

fn quality() -> impl Strategy<Value = NodeQuality> {
    (any::<u64>(), any::<u64>(), 0..=1_001u16, any::<u32>()).prop_map(
        |(shard_data_bytes, bandwidth_bytes, uptime_permille, strikes)| NodeQuality {
            shard_data_bytes,
            bandwidth_bytes,
            uptime_permille,
            strikes,
            integrity_fails: strikes,
        },
    )
}

/// The `nth` child that stands so, and its family; accounts that are none where there is no such child.
fn child(nth: usize, stands: impl Fn(ChildStatus<u64>) -> bool) -> (AccountId32, AccountId32) {
    let mut children: Vec<_> = crate::ChildRegistrations::<Test>::iter()
        .filter(|(_, registration)| stands(registration.status))
        .map(|(child, registration)| (registration.family, child))
        .collect();
    children.sort_unstable();
    let count = children.len().max(1);
    children.into_iter().nth(nth % count).unwrap_or((account(1), account(40)))
}

/// Session key of a validator.
fn reporter(validator: u8) -> ReporterId {
    ReporterId::from_slice(&[validator; 32]).unwrap()
}

/// Who calls what in a step; nobody calls where time passes or the validators change, which happens here.
fn call(step: Step) -> Option<(RuntimeOrigin, Call<Test>)> {
    let root = RuntimeOrigin::root;
    let reported = |children: Vec<u8>, quality: NodeQuality| {
        BoundedVec::truncate_from(children.into_iter().map(|child| (account(child), quality)).collect())
    };
    let open = Arion::open_weight_bucket();
    Some(match step {
        Step::Register { family, child, node } => {
            let (node_sig, node_id) = (consent(family, child, node), node_id(node));
            let call =
                Call::register_child { family: account(family), child: account(child), node_id, node_sig };
            (signed(family), call)
        }
        Step::Deregister { nth, by } => {
            let (family, child) = child(nth, |status| status == ChildStatus::Active);
            (by.map_or(RuntimeOrigin::signed(family), signed), Call::deregister_child { child })
        }
        Step::Claim { nth, by } => {
            let (family, child) = child(nth, |status| status != ChildStatus::Active);
            (by.map_or(RuntimeOrigin::signed(family), signed), Call::claim_unbonded { child })
        }
        Step::Lockup(enabled) => (root(), Call::set_lockup_enabled { enabled }),
        Step::Base(deposit) => (root(), Call::set_base_child_deposit { deposit }),
        Step::Map { validator, epochs_ahead, uids } => {
            let miners = uids.iter().map(|uid| miner(*uid, 1, 20 + *uid as u8)).collect();
            let call = Call::submit_crush_map {
                epoch: Arion::current_epoch() + epochs_ahead,
                params: arion_types::CrushParams::STANDARD,
                miners: BoundedVec::truncate_from(miners),
            };
            (signed(validator), call)
        }
        Step::Warden { add, warden } => {
            let warden_pubkey = node_id(warden);
            let call = match add {
                true => Call::register_warden { warden_pubkey },
                false => Call::deregister_warden { warden_pubkey },
            };
            (root(), call)
        }
        Step::Attest { warden, shard, uid, result, blocks_ago } => {
            let block = System::block_number().saturating_sub(blocks_ago);
            let mut record = attestation(warden, shard, block);
            record.miner_uid = uid;
            record.result = result;
            sign(&mut record, warden);
            let attestations = BoundedVec::truncate_from(vec![record]);
            let bucket = (block / BUCKET_BLOCKS) as u32;
            (signed(100), Call::submit_attestations { bucket, attestations })
        }
        Step::Conflict { warden, first, second, by } => {
            let verdict = |result| {
                let mut record = attestation(warden, 0, System::block_number());
                record.result = result;
                sign(&mut record, warden);
                Box::new(record)
            };
            let (first, second) = (verdict(first), verdict(second));
            (signed(by), Call::report_conflicting_attestations { first, second })
        }
        Step::Away { nth, by, ahead, blocks } => {
            let (family, child) = child(nth, |status| status == ChildStatus::Active);
            let from = System::block_number() + ahead;
            let call = Call::announce_maintenance { child, from, until: from + blocks };
            (by.map_or(RuntimeOrigin::signed(family), signed), call)
        }
        Step::Commit { validator, epoch } => {
            let call = Call::submit_attestation_commitment {
                epoch: Arion::current_epoch().saturating_sub(epoch),
                arion_content_hash: [1; 32],
                attestation_merkle_root: [2; 32],
                warden_pubkey_merkle_root: [3; 32],
                attestation_count: 4,
            };
            (signed(validator), call)
        }
        Step::Submitter { add, who } => {
            let submitter = account(who);
            let call = match add {
                true => Call::add_attestation_submitter { submitter },
                false => Call::remove_attestation_submitter { submitter },
            };
            (root(), call)
        }
        Step::Report { validator, children, quality } => {
            let updates = reported(children, quality);
            (signed(validator), Call::submit_node_quality { bucket: open, updates })
        }
        Step::ReportByKey { validator, children, quality } => {
            let call = Call::report_node_quality {
                bucket: open,
                updates: reported(children, quality),
                reporter: reporter(validator),
                // Verified before the call.
                signature: ReporterSignature::from_slice(&[0; 64]).unwrap(),
            };
            (RawOrigin::Authorized.into(), call)
        }
        Step::Stats { validator, children, totals } => {
            let update = |child| MinerStatsUpdate {
                child: account(child),
                shard_count: 1,
                shard_data_bytes: 2,
                last_seen_ms: 3,
            };
            let call = Call::submit_miner_stats {
                bucket: open,
                updates: BoundedVec::truncate_from(children.into_iter().map(update).collect()),
                network_totals: totals.then(NetworkTotals::default),
            };
            (signed(validator), call)
        }
        Step::Validators { first, count, stake } => {
            let accounts: Vec<_> = (first..first + count).map(account).collect();
            Stakes::set(
                accounts.iter().zip(1..).map(|(who, part)| (who.clone(), stake / part + 1)).collect(),
            );
            Validators::set(accounts);
            return None;
        }
        Step::Blocks(count) => {
            run_to(System::block_number() + count);
            return None;
        }
    })
}

/// Takes the steps on a new chain, checking all invariants after each; then everybody leaves. Returns the names of
/// the calls that succeeded and of the events.
fn run(steps: Vec<Step>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    story(|| {
        Validators::set((100..=102).map(account).collect());
        Stakes::set(Vec::new());
        Reporters::set((100..=103).map(|validator| (reporter(validator), account(validator))).collect());
        let issued = Balances::total_issuance();
        for step in steps {
            let described = format!("{step:?}");
            if let Some((origin, call)) = call(step) {
                let before = sp_io::storage::root(StateVersion::V1);
                let name = call.get_call_name();
                match RuntimeCall::Arion(call).dispatch(origin) {
                    Ok(_) => {
                        seen.insert(name.to_string());
                    }
                    Err(_) => {
                        let after = sp_io::storage::root(StateVersion::V1);
                        assert_eq!(before, after, "refused, but not without effect: {described}");
                    }
                }
            }
            Arion::do_try_state().unwrap_or_else(|error| panic!("{described}: {error:?}"));
        }
        assert_eq!(Balances::total_issuance(), issued);

        // Everybody leaves: every deposit comes back.
        for (child, registration) in crate::ChildRegistrations::<Test>::iter().collect::<Vec<_>>() {
            let _ = Arion::deregister_child(RuntimeOrigin::signed(registration.family), child);
        }
        run_to(System::block_number() + UNBONDING_BLOCKS);
        for (child, registration) in crate::ChildRegistrations::<Test>::iter().collect::<Vec<_>>() {
            Arion::claim_unbonded(RuntimeOrigin::signed(registration.family), child).unwrap();
        }
        for family in 1..=6 {
            let held = Balances::balance_on_hold(&HoldReason::ChildDeposit.into(), &account(family));
            assert_eq!(held, 0);
            assert_eq!(Balances::balance(&account(family)), 100_000 * UNIT);
        }
        seen.extend(System::events().iter().filter_map(|record| match &record.event {
            RuntimeEvent::Arion(event) => {
                let described = format!("{event:?}");
                described.split([' ', '{']).next().map(str::to_string)
            }
            _ => None,
        }));
    });
    seen
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn invariants_hold_after_any_sequence_of_calls(steps in steps()) {
        run(steps);
    }
}

/// The sequences above are worth something: every call succeeds in some of them, and every event happens.
#[test]
fn random_sequences_reach_everything() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        seen.extend(run(steps().new_tree(&mut runner).unwrap().current()));
    }
    for call in Call::<Test>::get_call_names() {
        assert!(seen.contains(*call), "{call} never succeeds: {seen:?}");
    }
    let published = include_str!("interface.txt");
    for line in published.lines().filter_map(|line| line.strip_prefix("event ")) {
        let event = line.split([' ', '(']).nth(1).unwrap();
        assert!(seen.contains(&format!("Event::{event}")), "{event} never happens: {seen:?}");
    }
}
