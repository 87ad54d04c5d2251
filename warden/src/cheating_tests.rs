//! Miners that cheat, each in its way, over the in-memory network: how many challenges until they are caught, against
//! what the arithmetic says. Clock and dice are the test's, so that every run is the same.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use arion_chain::{BlockRef, EpochMap, Registry, Snapshot};
use arion_net::{CallError, MemoryNetwork, Service, Transport};
use arion_proofs::{GROUP_BYTES, detection_ppm};
use arion_protocol::{ErrorCode, Request, Response};
use arion_types::{AttestationResult, CrushParams, MinerRecord, NodeId, ShardHash, map::WEIGHT_ONE};
use async_trait::async_trait;
use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    challenge::{Patience, judge},
    docket::{Action, Docket, Pace},
    duty::Duty,
    sampler::{Sampler, Target},
};

const ME: NodeId = NodeId([0xaa; 32]);
const NODE: NodeId = NodeId([1; 32]);
const ENDPOINT: &str = "miner:1";
/// Shards of the miner, each of eight chunk groups.
const SHARDS: usize = 60;
const GROUPS: u32 = 8;
const SIZE: u32 = GROUPS * GROUP_BYTES;

/// What the miner does.
#[derive(Clone, Debug)]
enum Cheat {
    Honest,
    /// Dropped these shards, and says so.
    Dropped(HashSet<usize>),
    /// Dropped these shards, and is busy whenever it is asked about them.
    Evasive(HashSet<usize>),
    /// Is busy whenever it is challenged.
    NoChallenges,
    /// Keeps the tree of each shard, but only the first so many groups, and makes the others up.
    Partial(u32),
    /// Has one byte flipped in one group of each shard, and does not look.
    Flipped,
    /// Keeps half of each shard and claims that this is all.
    Truncated,
    /// Keeps the first answer it gave about each shard, and drops the shard.
    Replays,
    /// Has nothing; asks an accomplice, who is honest and answers after so long.
    Copies(Duration),
    /// Has nothing; computes what it is asked about from the other shards of the stripe, as far as these helpers have
    /// [`K`] of them, and is silent about the rest.
    Computes(Helpers),
    /// Begins to compute one of these when it is first asked about it, has it after so long, and forgets it once it has
    /// answered. It has the others.
    ComputesSlowly(HashSet<usize>, Duration),
    /// Proves everything to wardens and serves nobody a byte.
    NoReads,
}

/// Shards of a stripe that the others can be computed from, and all of them.
const K: usize = 10;
const STRIPE: usize = 30;
/// Miners of the network but the cheater.
const OTHERS: usize = 39;

/// The first so many of the others give the cheater what they have.
#[derive(Clone, Copy, Debug)]
struct Helpers {
    count: usize,
    trial: u64,
}

impl Helpers {
    /// Whether they have enough of the stripe of this shard: its others lie on miners drawn for each stripe.
    fn can_compute(&self, number: usize) -> bool {
        let seed = self.trial << 8 | number as u64;
        let holders = rand::seq::index::sample(&mut StdRng::seed_from_u64(seed), OTHERS, STRIPE - 1);
        holders.into_iter().filter(|holder| *holder < self.count).count() >= K
    }

    fn missing(&self) -> usize {
        (0..SHARDS).filter(|number| !self.can_compute(*number)).count()
    }
}

struct Miner {
    cheat: Cheat,
    shards: Arc<Vec<(ShardHash, Vec<u8>)>>,
    answers: Mutex<HashMap<ShardHash, Vec<u8>>>,
    /// The test's clock, and by it when what is being computed is there.
    now: Mutex<Duration>,
    ready: Mutex<HashMap<ShardHash, Duration>>,
    /// How long the last answer took.
    took: Mutex<Duration>,
}

/// How long an answer takes that nothing holds up.
const QUICK: Duration = Duration::from_millis(20);

fn refuse(code: ErrorCode) -> (Response, Bytes) {
    (Response::error(code, ""), Bytes::new())
}

#[async_trait]
impl Service for Miner {
    async fn serve(&self, _: NodeId, request: Request, _: Bytes) -> (Response, Bytes) {
        let (shard, seed) = match request {
            Request::Challenge { shard, seed } => (shard, seed),
            Request::Fetch { .. } => return refuse(ErrorCode::Busy),
            other => panic!("nobody asks for {other:?}"),
        };
        *self.took.lock().unwrap() = QUICK;
        let number = self.shards.iter().position(|(hash, _)| *hash == shard).unwrap();
        let bytes = &self.shards[number].1;
        let groups = arion_proofs::derive(&seed, SIZE);
        let honest = || arion_proofs::prove(&shard, bytes, &groups).unwrap();
        let made_up = |is_kept: &dyn Fn(u32) -> bool| {
            let mut proof = honest();
            // Whoever has the tree but not the bytes of a group can do no better than make them up.
            if !groups.as_slice().iter().all(|group| is_kept(*group)) {
                *proof.last_mut().unwrap() ^= 1;
            }
            proof
        };
        let proof = match &self.cheat {
            Cheat::Honest | Cheat::NoReads => honest(),
            Cheat::Dropped(lost) if lost.contains(&number) => return refuse(ErrorCode::NotFound),
            Cheat::Evasive(lost) if lost.contains(&number) => return refuse(ErrorCode::Busy),
            Cheat::Dropped(_) | Cheat::Evasive(_) => honest(),
            Cheat::NoChallenges => return refuse(ErrorCode::Busy),
            Cheat::Partial(kept) => made_up(&|group| group < *kept),
            Cheat::Flipped => made_up(&|group| group != number as u32 % GROUPS),
            Cheat::Truncated => {
                let half = &bytes[..bytes.len() / 2];
                let groups = arion_proofs::derive(&seed, half.len() as u32);
                let own = ShardHash(blake3::hash(half).into());
                let proof = arion_proofs::prove(&own, half, &groups).unwrap();
                return (Response::Proof { size: half.len() as u32 }, proof.into());
            }
            Cheat::Replays => self.answers.lock().unwrap().entry(shard).or_insert_with(honest).clone(),
            Cheat::Copies(after) => {
                *self.took.lock().unwrap() = *after;
                honest()
            }
            Cheat::Computes(helpers) if !helpers.can_compute(number) => return refuse(ErrorCode::Busy),
            Cheat::Computes(_) => honest(),
            Cheat::ComputesSlowly(lost, after) if lost.contains(&number) => {
                let now = *self.now.lock().unwrap();
                let ready = *self.ready.lock().unwrap().entry(shard).or_insert(now + *after);
                *self.took.lock().unwrap() = ready.saturating_sub(now).max(QUICK);
                honest()
            }
            Cheat::ComputesSlowly(..) => honest(),
        };
        (Response::Proof { size: SIZE }, proof.into())
    }
}

/// How a cheater was caught.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Caught {
    /// Shards challenged until then, this one included: cases are numbered from 1.
    challenges: u64,
    /// Round, from 1.
    round: u64,
    result: AttestationResult,
}

struct Bench {
    shards: Arc<Vec<(ShardHash, Vec<u8>)>>,
}

impl Bench {
    fn new() -> Self {
        Self::of(SHARDS)
    }

    fn of(count: usize) -> Self {
        let shards = (0..count).map(|n| {
            let bytes: Vec<u8> = (0..SIZE).map(|i| (i.wrapping_mul(40_503) >> 7) as u8 ^ n as u8).collect();
            (ShardHash(blake3::hash(&bytes).into()), bytes)
        });
        Self { shards: Arc::new(shards.collect()) }
    }

    fn docket(&self) -> Docket {
        let mut sampler = Sampler::new(1, Duty::alone(ME));
        for (shard, _) in self.shards.iter() {
            sampler.add(Target { node: NODE, shard: *shard, size: SIZE, gateway: NodeId([0; 32]) }, 0);
        }
        let second = Duration::from_secs(1);
        let pace = Pace { pause: second, round_min: second, round_max: 86_400 * second, parallel: 1 };
        Docket::new(ME, sampler, pace, Patience { deadline: 10 * second, retries: 2, pause: second })
    }

    /// Audits the miner until it is caught, for at most so many rounds. Every block has another hash.
    async fn audit(&self, cheat: Cheat, seed: u64, rounds: u64) -> Option<Caught> {
        let network = MemoryNetwork::new();
        let miner = Arc::new(Miner {
            cheat,
            shards: self.shards.clone(),
            answers: Mutex::default(),
            now: Mutex::default(),
            ready: Mutex::default(),
            took: Mutex::default(),
        });
        network.listen(ENDPOINT, NODE, miner.clone());
        let transport = network.transport(ME);
        let (mut docket, mut rng) = (self.docket(), StdRng::seed_from_u64(seed));
        let (mut now, mut block) = (Duration::ZERO, 0);
        loop {
            block += 1;
            let snapshot = chain(block, seed);
            docket.chain(&snapshot);
            if block == 1 {
                docket.witnessed(&snapshot.registry.wardens, &[], 150);
            }
            let ask = match docket.poll(now, &mut rng) {
                Action::Ask(ask) => *ask,
                Action::Rest(until) => {
                    now = until;
                    continue;
                }
                Action::Round(round) if round > rounds => return None,
                Action::Round(_) => continue,
            };
            *miner.now.lock().unwrap() = now;
            let request = Request::Challenge { shard: ask.target.shard, seed: ask.seed };
            // The clock is the test's: what comes too late by it is dropped here.
            let answer = transport.call(&ask.peer, request, Bytes::new(), Duration::from_secs(60)).await;
            let took = *miner.took.lock().unwrap();
            let answer = match took > ask.deadline {
                true => Err(CallError::Timeout(ask.deadline)),
                false => {
                    miner.ready.lock().unwrap().remove(&ask.target.shard);
                    answer
                }
            };
            let elapsed = took.min(ask.deadline);
            now += elapsed;
            let (id, judgement) = (ask.case, judge(&ask, answer));
            let Some(verdict) = docket.answered(id, judgement, elapsed, now) else {
                continue;
            };
            let (result, round) = (verdict.result(), verdict.round);
            if result != AttestationResult::Passed {
                return Some(Caught { challenges: id, round, result });
            }
            docket.said(&verdict);
        }
    }

    /// Mean number of challenges until caught, in thousandths, and the verdicts.
    async fn mean(&self, cheat: impl Fn(u64) -> Cheat, trials: u64) -> (u64, HashSet<String>) {
        let (mut sum, mut results) = (0, HashSet::new());
        for seed in 0..trials {
            let caught = self.audit(cheat(seed), seed, 50).await.expect("caught within 50 rounds");
            sum += caught.challenges;
            results.insert(format!("{:?}", caught.result));
        }
        (sum * 1_000 / trials, results)
    }
}

fn chain(block: u32, seed: u64) -> Snapshot {
    let miner = MinerRecord {
        uid: 1,
        node_id: NODE.0,
        family: [1; 32],
        weight: WEIGHT_ONE,
        endpoint: ENDPOINT.as_bytes().to_vec().try_into().unwrap(),
    };
    let mut registry = Registry::default();
    registry.wardens.insert(ME);
    Snapshot {
        block: BlockRef {
            number: block,
            hash: blake3::hash(&[block as u64, seed].map(u64::to_le_bytes).concat()).into(),
        },
        current: Some(Arc::new(EpochMap::new(1, CrushParams::STANDARD, vec![miner]))),
        registry: Arc::new(registry),
        ..Snapshot::default()
    }
}

/// `count` shards, others for every trial.
fn some(count: usize, trial: u64) -> HashSet<usize> {
    use rand::seq::index::sample;
    sample(&mut StdRng::seed_from_u64(trial ^ 0x5eed), SHARDS, count).into_iter().collect()
}

fn choose(n: u64) -> u64 {
    if n < 4 { 0 } else { n * (n - 1) * (n - 2) * (n - 3) / 24 }
}

fn assert_near(strategy: &str, mean: u64, expected: u64, tolerance: u64) {
    println!("{strategy}: caught after {mean} thousandths of a challenge, expected {expected}");
    assert!(mean.abs_diff(expected) <= tolerance, "{strategy}: {mean}, expected {expected} +- {tolerance}");
}

fn only(result: AttestationResult) -> HashSet<String> {
    [format!("{result:?}")].into()
}

const TRIALS: u64 = 150;

#[tokio::test]
async fn an_honest_miner_is_never_caught() {
    assert_eq!(Bench::new().audit(Cheat::Honest, 1, 5).await, None);
}

/// 6 of 60 equal shards, without replacement: (60 + 1) / (6 + 1) draws. Standard deviation of the mean of 150: 0.6.
#[tokio::test]
async fn dropped_shards() {
    let bench = Bench::new();
    let (mean, results) = bench.mean(|trial| Cheat::Dropped(some(6, trial)), TRIALS).await;
    assert_near("dropped shards", mean, 61_000 / 7, 1_900);
    assert_eq!(results, only(AttestationResult::Failed));
}

/// As many challenges; each is asked three times first.
#[tokio::test]
async fn refusing_only_what_it_lost() {
    let bench = Bench::new();
    let (mean, results) = bench.mean(|trial| Cheat::Evasive(some(6, trial)), TRIALS).await;
    assert_near("busy about what it lost", mean, 61_000 / 7, 1_900);
    assert_eq!(results, only(AttestationResult::Timeout));
}

#[tokio::test]
async fn refusing_all_challenges() {
    let caught = Bench::new().audit(Cheat::NoChallenges, 1, 1).await.unwrap();
    assert_eq!(caught, Caught { challenges: 1, round: 1, result: AttestationResult::Timeout });
}

/// One lost group of 8: a challenge of 4 groups meets it every second time; the mean is 2 challenges, with a standard
/// deviation of the mean of 0.12.
#[tokio::test]
async fn a_flipped_byte_in_every_shard() {
    let (mean, results) = Bench::new().mean(|_| Cheat::Flipped, TRIALS).await;
    assert_near("a flipped byte in every shard", mean, 1_000 * choose(8) / (choose(8) - choose(7)), 400);
    assert_eq!(results, only(AttestationResult::InvalidProof));
}

/// 7 of 8 groups kept: the same, by the other road; with 6 kept 1 / (1 - 15/70).
#[tokio::test]
async fn parts_of_every_shard() {
    let bench = Bench::new();
    for (kept, tolerance) in [(7, 400), (6, 160), (4, 40)] {
        let (mean, results) = bench.mean(|_| Cheat::Partial(kept), TRIALS).await;
        let expected = 1_000 * choose(8) / (choose(8) - choose(u64::from(kept)));
        assert_near(&format!("{kept} of 8 groups kept"), mean, expected, tolerance);
        assert_eq!(results, only(AttestationResult::InvalidProof));
    }
}

#[tokio::test]
async fn truncated_shards() {
    let caught = Bench::new().audit(Cheat::Truncated, 1, 1).await.unwrap();
    assert_eq!(caught, Caught { challenges: 1, round: 1, result: AttestationResult::InvalidProof });
}

/// The first round passes: the answers are being collected. In the second the same 4 of 8 groups come up once in 70
/// times: 60 + 1 / (1 - 1/70) challenges.
#[tokio::test]
async fn replayed_answers() {
    let bench = Bench::new();
    let mut challenges = 0;
    for seed in 0..20 {
        let caught = bench.audit(Cheat::Replays, seed, 3).await.unwrap();
        assert_eq!((caught.round, caught.result), (2, AttestationResult::InvalidProof));
        challenges += caught.challenges;
    }
    assert_near("replayed answers", challenges * 1_000 / 20, 61_014, 100);
}

/// What cannot be told apart: a miner that has nothing itself, but somebody near who answers in time. The deadline
/// bounds how far away that may be, and nothing else (docs/spec/proofs.md).
#[tokio::test]
async fn copied_answers_pass_within_the_deadline_and_time_out_beyond_it() {
    let bench = Bench::new();
    assert_eq!(bench.audit(Cheat::Copies(Duration::from_millis(500)), 1, 3).await, None);
    let caught = bench.audit(Cheat::Copies(Duration::from_secs(11)), 1, 1).await.unwrap();
    assert_eq!(caught, Caught { challenges: 1, round: 1, result: AttestationResult::Timeout });
}

/// Ways to take `k` of `n`.
fn ways(n: u64, k: u64) -> u64 {
    if k > n { 0 } else { (0..k).fold(1, |ways, i| ways * (n - i) / (i + 1)) }
}

/// 14 of 39 others help: of the 29 other shards of a stripe they have fewer than 10 as often as the hypergeometric
/// distribution says, 24 %. Those `m` of 60 shards are what it lacks: (60 + 1) / (m + 1) challenges.
#[tokio::test]
async fn computed_answers_where_helpers_are_too_few() {
    let (count, others, asked) = (14, OTHERS as u64, STRIPE as u64 - 1);
    let few = (0..K as u64).map(|had| ways(count, had) * ways(others - count, asked - had)).sum::<u64>();
    let helpers = |trial| Helpers { count: count as usize, trial };
    let missing: Vec<u64> = (0..TRIALS).map(|trial| helpers(trial).missing() as u64).collect();
    let expected = TRIALS * SHARDS as u64 * few / ways(others, asked);
    let found = missing.iter().sum::<u64>();
    // Three standard deviations of 9,000 shards.
    assert!(found.abs_diff(expected) <= 122, "{found} shards cannot be computed, expected {expected}");
    let bench = Bench::new();
    let (mean, results) = bench.mean(|trial| Cheat::Computes(helpers(trial)), TRIALS).await;
    let challenges = missing.iter().map(|m| 61_000 / (m + 1)).sum::<u64>() / TRIALS;
    assert_near("computed with too few helpers", mean, challenges, 1_000);
    assert_eq!(results, only(AttestationResult::Timeout));
    // Ten shards of each stripe are always among 20 of its others: nothing is missing, and nothing is found.
    let enough = Helpers { count: OTHERS - (STRIPE - 1 - K), trial: 1 };
    assert_eq!(bench.audit(Cheat::Computes(enough), 1, 3).await, None);
}

/// Who begins to compute at the first attempt has until the end of the last: 10 + 1 + 10 + 2 + 10 s of this warden's
/// patience. What takes longer is caught at the first challenge.
#[tokio::test]
async fn computed_answers_pass_within_all_attempts_together_and_time_out_beyond_them() {
    let (bench, all) = (Bench::of(1), HashSet::from([0]));
    let slowly = |ms| Cheat::ComputesSlowly(all.clone(), Duration::from_millis(ms));
    assert_eq!(bench.audit(slowly(33_000), 1, 3).await, None);
    let caught = bench.audit(slowly(33_001), 1, 1).await.unwrap();
    assert_eq!(caught, Caught { challenges: 1, round: 1, result: AttestationResult::Timeout });
}

/// A miner that is quick about what it has gets less for what it has not: 2 + 1 + 4 + 2 + 10 s, and half a second each
/// until the warden looks again.
#[tokio::test]
async fn who_is_quick_has_less_time_to_compute() {
    let bench = Bench::new();
    for seed in 0..10 {
        let slowly = |ms| Cheat::ComputesSlowly(some(1, seed), Duration::from_millis(ms));
        assert_eq!(bench.audit(slowly(19_000), seed, 2).await, None);
        // Unless the lost shard is the first of all, of which nothing is known yet.
        let caught = bench.audit(slowly(20_100), seed, 2).await.expect("caught within two rounds");
        assert_eq!(caught.result, AttestationResult::Timeout);
    }
}

/// What no audit sees: wardens are known by their keys, and proofs are not reads.
#[tokio::test]
async fn serving_challenges_but_no_reads_is_not_found_by_audits() {
    let bench = Bench::new();
    assert_eq!(bench.audit(Cheat::NoReads, 1, 5).await, None);
}

/// The exported chance is a lower bound of what happens: 10 % of the bytes lost, 20 challenges.
#[tokio::test]
async fn the_computed_chance_is_not_overstated() {
    let bench = Bench::new();
    let claimed = detection_ppm(100_000, 20);
    for cheat in [|trial| Cheat::Dropped(some(6, trial)), |_: u64| Cheat::Partial(7)] {
        let mut found = 0;
        for trial in 0..TRIALS {
            let caught = bench.audit(cheat(trial), trial, 50).await.expect("caught within 50 rounds");
            found += u64::from(caught.challenges <= 20);
        }
        // Two standard deviations of 150 trials: 5.4 %.
        println!("found within 20 challenges: {found} of {TRIALS}; claimed: {claimed} ppm");
        assert!(found * 1_000_000 / TRIALS + 54_000 >= claimed, "{found} of {TRIALS}, claimed {claimed} ppm");
    }
}
