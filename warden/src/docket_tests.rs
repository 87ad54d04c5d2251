//! The docket with a clock, dice and answers of the test.

use super::*;
use crate::{challenge::Judgement, samples::record};
use arion_protocol::ErrorCode;
use arion_types::{CrushParams, MinerRecord, map::WEIGHT_ONE};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

const ME: NodeId = NodeId([0xaa; 32]);
const OTHER: NodeId = NodeId([0xbb; 32]);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn miner(uid: u8) -> MinerRecord {
    MinerRecord {
        uid: uid.into(),
        node_id: [uid; 32],
        family: [uid; 32],
        weight: WEIGHT_ONE,
        endpoint: format!("miner-{uid}:1").into_bytes().try_into().unwrap(),
    }
}

fn snapshot(block: u32, miners: std::ops::Range<u8>, wardens: &[NodeId]) -> Snapshot {
    let mut registry = Registry::default();
    registry.wardens.extend(wardens.iter().copied());
    Snapshot {
        block: BlockRef { number: block, hash: [block as u8; 32] },
        current: Some(Arc::new(EpochMap::new(1, CrushParams::STANDARD, miners.map(miner).collect()))),
        registry: Arc::new(registry),
        ..Snapshot::default()
    }
}

fn target(node: u8, shard: u8) -> Target {
    let mut hash = [node; 32];
    hash[0] = shard;
    Target { node: NodeId([node; 32]), shard: ShardHash(hash), size: 64, gateway: NodeId([0; 32]) }
}

fn docket(counts: &[u8], wardens: &[NodeId]) -> Docket {
    let mut sampler = Sampler::new(1, Duty::alone(ME));
    for (node, count) in counts.iter().enumerate() {
        (0..*count).for_each(|shard| sampler.add(target(node as u8, shard), 0));
    }
    let pace = Pace { pause: seconds(1), round_min: seconds(60), round_max: seconds(3_600), parallel: 4 };
    let patience = Patience { deadline: seconds(10), retries: 2, pause: seconds(3) };
    let mut docket = Docket::new(ME, sampler, pace, patience);
    let snapshot = snapshot(100, 0..counts.len() as u8, wardens);
    docket.chain(&snapshot);
    docket.witnessed(&snapshot.registry.wardens, &[], 150);
    docket
}

fn ask(docket: &mut Docket, now: Duration, rng: &mut StdRng) -> Option<Ask> {
    match docket.poll(now, rng) {
        Action::Ask(ask) => Some(*ask),
        Action::Rest(until) => {
            assert!(until > now, "it spins");
            None
        }
        Action::Round(_) => None,
    }
}

fn passed() -> Judgement {
    Judgement::Passed(Default::default())
}

fn finding(warden: NodeId, of: &Target, block: u64) -> AttestationRecord {
    AttestationRecord {
        shard_hash: of.shard.0,
        miner_uid: of.node.0[0].into(),
        result: AttestationResult::Failed,
        ..record(warden, block)
    }
}

#[test]
fn nobody_is_challenged_before_the_chain_is_known_and_names_this_warden() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut stranger = docket(&[20], &[OTHER]);
    assert_eq!(ask(&mut stranger, seconds(1), &mut rng), None);
    stranger.chain(&snapshot(101, 0..1, &[ME]));
    assert!(ask(&mut stranger, seconds(2), &mut rng).is_some());
    let sampler = Sampler::new(1, Duty::alone(ME));
    let (pace, patience) = (*stranger.pace(), stranger.patience);
    let mut uninformed = Docket::new(ME, sampler, pace, patience);
    uninformed.chain(&snapshot(100, 0..1, &[ME]));
    uninformed.sampler_mut().add(target(0, 0), 0);
    assert_eq!(ask(&mut uninformed, seconds(1), &mut rng), None);
}

#[test]
fn silence_is_answered_with_new_seeds_longer_pauses_and_in_the_end_a_timeout() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut docket = docket(&[1], &[ME]);
    let first = ask(&mut docket, seconds(0), &mut rng).unwrap();
    assert_eq!((first.block.number, first.deadline), (100, seconds(10)));
    assert_eq!(docket.answered(first.case, Judgement::NoAnswer, seconds(10), seconds(10)), None);
    // The same answer again is none.
    assert_eq!(docket.answered(first.case, passed(), seconds(10), seconds(10)), None);
    assert_eq!(ask(&mut docket, seconds(12), &mut rng), None);
    docket.chain(&snapshot(103, 0..1, &[ME]));
    let second = ask(&mut docket, seconds(13), &mut rng).unwrap();
    assert_eq!((second.case, second.target, second.block.number), (first.case, first.target, 103));
    assert_ne!(second.seed, first.seed);
    assert_eq!(docket.answered(second.case, Judgement::NoAnswer, seconds(10), seconds(23)), None);
    assert_eq!(ask(&mut docket, seconds(28), &mut rng), None);
    let third = ask(&mut docket, seconds(29), &mut rng).unwrap();
    let verdict = docket.answered(third.case, Judgement::NoAnswer, seconds(10), seconds(39)).unwrap();
    assert_eq!(verdict.result(), AttestationResult::Timeout);
    docket.said(&verdict);
    assert_eq!(docket.under_way(), 0);
}

#[test]
fn what_an_answer_shows_counts_at_once() {
    for (judgement, result) in [
        (passed(), AttestationResult::Passed),
        (Judgement::Failed(ErrorCode::NotFound), AttestationResult::Failed),
        (Judgement::InvalidProof(Default::default()), AttestationResult::InvalidProof),
    ] {
        let mut docket = docket(&[1], &[ME]);
        let ask = ask(&mut docket, seconds(0), &mut StdRng::seed_from_u64(1)).unwrap();
        let verdict = docket.answered(ask.case, judgement, seconds(1), seconds(1)).unwrap();
        assert_eq!((verdict.result(), verdict.round), (result, 1));
    }
}

#[test]
fn a_miner_that_leaves_the_map_is_not_accused() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut docket = docket(&[1], &[ME]);
    let first = ask(&mut docket, seconds(0), &mut rng).unwrap();
    docket.answered(first.case, Judgement::NoAnswer, seconds(10), seconds(10));
    docket.chain(&Snapshot {
        current: Some(Arc::new(EpochMap::new(2, CrushParams::STANDARD, vec![miner(7)]))),
        ..snapshot(101, 0..1, &[ME])
    });
    assert_eq!(ask(&mut docket, seconds(60), &mut rng), None);
    assert_eq!(docket.under_way(), 0);
}

#[test]
fn a_round_ends_when_all_is_done_or_its_time_is_over() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut docket = docket(&[2], &[ME]);
    let first = ask(&mut docket, seconds(0), &mut rng).unwrap();
    let second = ask(&mut docket, seconds(1), &mut rng).unwrap();
    assert_ne!(first.target, second.target);
    let verdict = docket.answered(first.case, passed(), seconds(0), seconds(1)).unwrap();
    docket.said(&verdict);
    // Not while a verdict is missing.
    assert!(matches!(docket.poll(seconds(100), &mut rng), Action::Rest(_)));
    docket.concluded(second.case, Conclusion::Lost);
    assert_eq!(ask(&mut docket, seconds(101), &mut rng).map(|ask| ask.target), Some(second.target));
    // But when it lasts too long.
    assert_eq!(docket.poll(seconds(3_600), &mut rng), Action::Round(2));
    assert_eq!(ask(&mut docket, seconds(3_600), &mut rng).map(|ask| ask.target), Some(first.target));
    // The shard with a challenge under way is not challenged twice.
    assert_eq!(ask(&mut docket, seconds(3_601), &mut rng), None);
}

#[test]
fn findings_of_others_are_looked_into_at_most_every_second_time() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut docket = docket(&[12], &[ME, OTHER]);
    let theirs: Vec<Target> = (0..12)
        .map(|n| target(0, n))
        .filter(|t| !docket.sampler().duty().is_mine(&t.node, &t.shard))
        .collect();
    assert!(theirs.len() >= 3, "of 12 shards some are the other's");
    let registered = [ME, OTHER].into();
    let mut records: Vec<_> = theirs.iter().map(|of| finding(OTHER, of, 100)).collect();
    // Of a stranger, of this warden itself, long ago, about a shard or a miner nobody knows.
    records.push(finding(NodeId([1; 32]), &target(0, 0), 100));
    records.push(finding(ME, &target(0, 0), 100));
    records.push(finding(OTHER, &target(0, 0), 10));
    records.push(finding(OTHER, &target(0, 99), 100));
    records.push(finding(OTHER, &target(9, 1), 100));
    docket.witnessed(&registered, &records, 150);
    docket.witnessed(&registered, &records, 150);
    assert_eq!(docket.opinions_waiting(), theirs.len());
    let mut asked = Vec::new();
    for now in 0..40 {
        if let Some(ask) = ask(&mut docket, seconds(now), &mut rng) {
            let verdict = docket.answered(ask.case, passed(), seconds(0), seconds(now)).unwrap();
            docket.said(&verdict);
            asked.push(ask.target);
        }
    }
    assert_eq!(asked.len(), 12);
    let is_theirs: Vec<bool> = asked.iter().map(|target| theirs.contains(target)).collect();
    assert!(is_theirs[0] && !is_theirs[1], "{is_theirs:?}");
    assert_eq!(is_theirs.iter().filter(|is_theirs| **is_theirs).count(), theirs.len());
}

#[test]
fn a_silent_warden_is_taken_over_from_and_gets_its_shards_back() {
    let mut docket = docket(&[40], &[ME, OTHER]);
    let mine = |docket: &Docket| docket.sampler().mine().map(|(_, amount)| amount.shards).sum::<u64>();
    let half = mine(&docket);
    assert!((5..36).contains(&half), "{half}");
    let registered = [ME, OTHER].into();
    docket.chain(&snapshot(251, 0..1, &[ME, OTHER]));
    docket.witnessed(&registered, &[finding(ME, &target(0, 1), 250)], 150);
    assert_eq!(mine(&docket), 40);
    docket.witnessed(&registered, &[finding(OTHER, &target(0, 1), 250)], 150);
    assert_eq!(mine(&docket), half);
}

/// What happens to a challenge in the test below.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Pass,
    Fail,
    Silence,
    Lost,
    Unwanted,
    Late,
}

proptest! {
    /// Whatever happens: the invariants of the module hold, and every round ends with every shard accounted for.
    #[test]
    fn every_case_comes_to_its_end(
        counts in proptest::collection::vec(1u8..6, 1..4),
        fates in proptest::collection::vec(
            proptest::sample::select(vec![
                Fate::Pass, Fate::Pass, Fate::Fail, Fate::Silence, Fate::Lost, Fate::Unwanted, Fate::Late,
            ]), 1..40),
        seed in any::<u64>(),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut docket = docket(&counts, &[ME]);
        let mut fates = fates.into_iter().chain(std::iter::repeat(Fate::Pass));
        let mut now = Duration::ZERO;
        let mut late: Vec<Ask> = Vec::new();
        let mut done: HashSet<Target> = HashSet::new();
        let mut opened: Vec<Duration> = Vec::new();
        let mut cases = HashSet::new();
        let mut rounds = 0;
        while rounds < 3 {
            prop_assert!(now < seconds(3_500), "a round does not end");
            let ask = match docket.poll(now, &mut rng) {
                Action::Rest(until) => {
                    prop_assert!(until > now);
                    if let Some(ask) = late.pop() {
                        let verdict = docket.answered(ask.case, passed(), seconds(1), now).unwrap();
                        docket.said(&verdict);
                        done.insert(ask.target);
                    }
                    now = until;
                    continue;
                }
                Action::Round(_) => {
                    rounds += 1;
                    prop_assert_eq!(docket.under_way(), 0);
                    prop_assert_eq!(done.len(), counts.iter().map(|n| usize::from(*n)).sum::<usize>());
                    done.clear();
                    continue;
                }
                Action::Ask(ask) => *ask,
            };
            prop_assert!(docket.under_way() <= 4 * RESTING_FACTOR);
            prop_assert!(late.len() < 4, "more than `parallel` wait for an answer");
            prop_assert!(late.iter().all(|other| other.target != ask.target));
            if cases.insert(ask.case) {
                // Two may share a moment when the clock was late; never three within a pause.
                opened.push(now);
                if let [.., before, _, _] = opened[..] {
                    prop_assert!(now.saturating_sub(before) >= seconds(1), "{opened:?}");
                }
            }
            match fates.next().unwrap() {
                Fate::Late => late.push(ask),
                Fate::Silence => {
                    if let Some(verdict) = docket.answered(ask.case, Judgement::NoAnswer, seconds(10), now) {
                        docket.said(&verdict);
                        done.insert(ask.target);
                    }
                }
                fate => {
                    let judgement = match fate {
                        Fate::Fail => Judgement::Failed(ErrorCode::Damaged),
                        _ => passed(),
                    };
                    let verdict = docket.answered(ask.case, judgement, seconds(1), now).unwrap();
                    match fate {
                        Fate::Lost => docket.concluded(ask.case, Conclusion::Lost),
                        Fate::Unwanted => {
                            docket.concluded(ask.case, Conclusion::None);
                            done.insert(ask.target);
                        }
                        _ => {
                            docket.said(&verdict);
                            prop_assert!(done.insert(ask.target), "challenged twice in a round");
                        }
                    }
                }
            }
        }
    }
}

/// The snapshot of a block in which miner 1 is away from block 110 to before block 120.
fn with_maintenance(block: u32) -> Snapshot {
    let mut snapshot = snapshot(block, 0..2, &[ME]);
    let mut registry = (*snapshot.registry).clone();
    let away = arion_chain::Maintenance { from: 110, until: 120, period_start: 110, announced: 10 };
    registry.maintenances.insert(NodeId([1; 32]), away);
    snapshot.registry = Arc::new(registry);
    snapshot
}

#[test]
fn a_miner_that_is_away_as_announced_is_not_challenged() {
    let (mut docket, mut rng) = (docket(&[2, 2], &[ME]), StdRng::seed_from_u64(1));
    let mut challenged = |docket: &mut Docket, block: u32, from: u64| {
        docket.chain(&with_maintenance(block));
        let mut nodes = Vec::new();
        for second in from..from + 10 {
            if let Some(ask) = ask(docket, seconds(second), &mut rng) {
                nodes.push(ask.target.node.0[0]);
                let verdict = docket.answered(
                    ask.case,
                    Judgement::Failed(ErrorCode::NotFound),
                    seconds(0),
                    seconds(second),
                );
                docket.said(&verdict.unwrap());
            }
        }
        nodes.sort_unstable();
        nodes
    };
    assert_eq!(challenged(&mut docket, 115, 0), [0, 0]);
    assert_eq!(challenged(&mut docket, 120, 20), [1, 1], "it is back");
}

#[test]
fn a_case_that_is_open_when_the_maintenance_begins_ends_without_a_verdict() {
    let (mut docket, mut rng) = (docket(&[0, 1], &[ME]), StdRng::seed_from_u64(1));
    docket.chain(&with_maintenance(109));
    let asked = ask(&mut docket, seconds(0), &mut rng).unwrap();
    assert_eq!(docket.answered(asked.case, Judgement::NoAnswer, seconds(2), seconds(2)), None);
    docket.chain(&with_maintenance(110));
    for second in 3..30 {
        assert_eq!(ask(&mut docket, seconds(second), &mut rng), None);
    }
    assert_eq!(docket.under_way(), 0);
}
