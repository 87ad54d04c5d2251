//! Whatever is called in whatever order, the invariants hold and no unit of balance is made or lost.

use arion_types::{AttestationResult, MinerStatsUpdate, NetworkTotals, NodeQuality};
use frame_support::traits::fungible::{Inspect, InspectHold};
use proptest::prelude::*;
use sp_runtime::StateVersion;

use crate::{HoldReason, mock::*};

/// Something that happens on the chain.
#[derive(Clone, Debug)]
enum Step {
    Register { family: u8, child: u8, node: u8 },
    Deregister { family: u8, child: u8 },
    Claim { family: u8, child: u8 },
    Lockup(bool),
    Base(Balance),
    Map { validator: u8, epochs_ahead: u64, uids: Vec<u32> },
    Warden { add: bool, warden: u8 },
    Attest { warden: u8, shard: u8, uid: u32, result: AttestationResult, blocks_ago: u64 },
    Commit { validator: u8, epoch: u64 },
    Submitter { add: bool, who: u8 },
    Report { validator: u8, children: Vec<u8>, quality: NodeQuality },
    Stats { validator: u8, children: Vec<u8>, totals: bool },
    Validators { first: u8, count: u8, stake: u128 },
    Blocks(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (family, child) = (1..=6u8, 20..=32u8);
    prop_oneof![
        6 => (family.clone(), child.clone(), 20..=32u8)
            .prop_map(|(family, child, node)| Step::Register { family, child, node }),
        3 => (family.clone(), child.clone()).prop_map(|(family, child)| Step::Deregister { family, child }),
        3 => (family, child).prop_map(|(family, child)| Step::Claim { family, child }),
        1 => any::<bool>().prop_map(Step::Lockup),
        1 => (0..1_000 * UNIT).prop_map(Step::Base),
        2 => (100..=103u8, 0..3u64, proptest::collection::vec(1..6u32, 0..4))
            .prop_map(|(validator, epochs_ahead, uids)| Step::Map { validator, epochs_ahead, uids }),
        1 => (any::<bool>(), 200..=203u8).prop_map(|(add, warden)| Step::Warden { add, warden }),
        6 => (200..=203u8, 0..4u8, 1..6u32, result(), 0..60u64).prop_map(
            |(warden, shard, uid, result, blocks_ago)| Step::Attest { warden, shard, uid, result, blocks_ago }
        ),
        1 => (100..=103u8, 0..5u64).prop_map(|(validator, epoch)| Step::Commit { validator, epoch }),
        1 => (any::<bool>(), 1..=4u8).prop_map(|(add, who)| Step::Submitter { add, who }),
        6 => (100..=103u8, children(), quality())
            .prop_map(|(validator, children, quality)| Step::Report { validator, children, quality }),
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

/// Takes a step; the call may well be refused.
fn take(step: Step) -> bool {
    let root = RuntimeOrigin::root();
    match step {
        Step::Register { family, child, node } => register_node(family, child, node).is_ok(),
        Step::Deregister { family, child } => Arion::deregister_child(signed(family), account(child)).is_ok(),
        Step::Claim { family, child } => Arion::claim_unbonded(signed(family), account(child)).is_ok(),
        Step::Lockup(enabled) => Arion::set_lockup_enabled(root, enabled).is_ok(),
        Step::Base(deposit) => Arion::set_base_child_deposit(root, deposit).is_ok(),
        Step::Map { validator, epochs_ahead, uids } => {
            let miners = uids.iter().map(|uid| miner(*uid, 1, 20 + *uid as u8)).collect();
            submit_map(validator, Arion::current_epoch() + epochs_ahead, miners).is_ok()
        }
        Step::Warden { add: true, warden } => Arion::register_warden(root, node_id(warden)).is_ok(),
        Step::Warden { add: false, warden } => Arion::deregister_warden(root, node_id(warden)).is_ok(),
        Step::Attest { warden, shard, uid, result, blocks_ago } => {
            let block = System::block_number().saturating_sub(blocks_ago);
            let mut record = attestation(warden, shard, block);
            record.miner_uid = uid;
            record.result = result;
            sign(&mut record, warden);
            attest((block / BUCKET_BLOCKS) as u32, vec![record]).is_ok()
        }
        Step::Commit { validator, epoch } => {
            let epoch = Arion::current_epoch().saturating_sub(epoch);
            Arion::submit_attestation_commitment(signed(validator), epoch, [1; 32], [2; 32], [3; 32], 4)
                .is_ok()
        }
        Step::Submitter { add: true, who } => Arion::add_attestation_submitter(root, account(who)).is_ok(),
        Step::Submitter { add: false, who } => {
            Arion::remove_attestation_submitter(root, account(who)).is_ok()
        }
        Step::Report { validator, children, quality } => {
            report(validator, children.into_iter().map(|child| (child, quality)).collect()).is_ok()
        }
        Step::Stats { validator, children, totals } => {
            let update = |child| MinerStatsUpdate {
                child: account(child),
                shard_count: 1,
                shard_data_bytes: 2,
                last_seen_ms: 3,
            };
            let updates: Vec<_> = children.into_iter().map(update).collect();
            let totals = totals.then(NetworkTotals::default);
            let bucket = Arion::open_weight_bucket();
            Arion::submit_miner_stats(signed(validator), bucket, updates.try_into().unwrap(), totals).is_ok()
        }
        Step::Validators { first, count, stake } => {
            let accounts: Vec<_> = (first..first + count).map(account).collect();
            Stakes::set(
                accounts.iter().zip(1..).map(|(who, part)| (who.clone(), stake / part + 1)).collect(),
            );
            Validators::set(accounts);
            true
        }
        Step::Blocks(count) => {
            run_to(System::block_number() + count);
            true
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn invariants_hold_after_any_sequence_of_calls(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        story(|| {
            Validators::set((100..=102).map(account).collect());
            let issued = Balances::total_issuance();
            for step in steps {
                let described = format!("{step:?}");
                let before = sp_io::storage::root(StateVersion::V1);
                if !take(step) {
                    let after = sp_io::storage::root(StateVersion::V1);
                    assert_eq!(before, after, "refused, but not without effect: {described}");
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
        });
    }
}
