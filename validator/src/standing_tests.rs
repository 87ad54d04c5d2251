//! How miners come to stand as they do, by the second.

use super::*;

use arion_chain::Child;
use arion_protocol::Heartbeat;
use arion_types::{CrushParams, MinerRecord, NodeQuality, signing::node_id};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

const GENESIS: [u8; 32] = [7; 32];
const START_MS: u64 = 10_000_000;
const INTERVAL: Duration = Duration::from_secs(10);
const PATIENCE: Patience =
    Patience { out_after: Duration::from_secs(600), in_after: Duration::from_secs(60) };

/// Miners with a clock that counts from the start of the service, in seconds.
struct World {
    merits: Merits,
    registry: Registry,
    map: Option<EpochMap>,
    liveness: Liveness,
    standings: Standings,
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n + 1; 32])
}

impl World {
    fn new(registered: u8, members: u8) -> Self {
        let mut registry = Registry::default();
        for n in 0..registered {
            registry.miners.insert(node_id(&key(n)), Child { child: [n; 32], family: [n / 2 + 100; 32] });
        }
        let record = |n: u8| MinerRecord {
            uid: u32::from(n) + 1,
            node_id: node_id(&key(n)).0,
            family: [n / 2 + 100; 32],
            weight: 1 << 16,
            endpoint: b"a:1".to_vec().try_into().unwrap(),
        };
        let map = EpochMap::new(1, CrushParams::STANDARD, (0..members).map(record).collect());
        let standings = Standings::new(PATIENCE);
        let (merits, liveness) = (Merits::default(), Liveness::new(GENESIS, INTERVAL));
        Self { merits, registry, map: Some(map), liveness, standings }
    }

    fn hear(&mut self, n: u8, second: u64, draining: bool) {
        let now_ms = START_MS + second * 1_000;
        let report = Heartbeat {
            node_id: node_id(&key(n)),
            endpoint: b"127.0.0.1:4000".to_vec().try_into().unwrap(),
            capacity_bytes: 1 << 40,
            used_bytes: 0,
            shard_count: 0,
            draining,
            version: (0, 1, 0),
            sent_at: now_ms,
        };
        let signed = report.sign(&GENESIS, &key(n));
        self.liveness.accept(node_id(&key(n)), signed, &self.registry, now_ms).unwrap();
    }

    /// A look at the second; the states of the first miners.
    fn look<const N: usize>(&mut self, second: u64) -> [State; N] {
        self.standings.update(
            &self.registry,
            self.map.as_ref(),
            &self.liveness,
            &self.merits,
            START_MS + second * 1_000,
        );
        std::array::from_fn(|n| self.standings.of(&node_id(&key(n as u8))).unwrap().state)
    }

    /// Everybody but the first `silent` is heard, every ten seconds of the range.
    fn run(&mut self, seconds: std::ops::Range<u64>, silent: u8) {
        let all = u8::try_from(self.registry.miners.len()).unwrap();
        for second in seconds.step_by(10) {
            for n in silent..all {
                self.hear(n, second, false);
            }
            self.look::<0>(second);
        }
    }
}

#[test]
fn a_silent_member_becomes_suspect_then_offline_then_out_and_comes_back_when_it_stays() {
    let mut world = World::new(40, 40);
    world.hear(0, 0, false);
    world.run(0..10, 1);
    assert_eq!(world.look(15), [State::Online]);
    assert_eq!(world.look(16), [State::Suspect]);
    assert_eq!(world.look(30), [State::Suspect]);
    world.run(30..600, 1);
    assert_eq!(world.look(600), [State::Offline]);
    assert!(world.standings.of(&node_id(&key(0))).unwrap().state.is_wanted());
    world.run(600..620, 1);
    assert_eq!(world.look(620), [State::Out]);
    let since = world.standings.of(&node_id(&key(0))).unwrap().since;
    assert_eq!(since, START_MS + 610_000);
    // The map goes on without it; then it is heard again.
    let map = world.map.as_mut().unwrap();
    map.miners.remove(0);
    assert_eq!(world.look(621), [State::Out]);
    world.run(630..680, 0);
    assert_eq!(world.look(680), [State::Joining]);
    world.run(680..700, 0);
    assert_eq!(world.look(700), [State::Online]);
    assert_eq!(world.standings.count(State::Online), 40);
}

#[test]
fn a_member_that_comes_back_while_it_is_offline_never_left() {
    let mut world = World::new(40, 40);
    world.run(0..20, 0);
    world.run(20..500, 1);
    assert_eq!(world.look(500), [State::Offline]);
    world.hear(0, 505, false);
    assert_eq!(world.look(505), [State::Online]);
}

#[test]
fn a_flapping_newcomer_is_not_taken_in() {
    let mut world = World::new(41, 40);
    let newcomer = node_id(&key(40));
    for second in 0..600 {
        // 40 seconds on, 40 off.
        if second % 10 == 0 {
            for n in 0..40 {
                world.hear(n, second, false);
            }
            if second % 80 < 10 {
                world.hear(40, second, false);
            }
        }
        world.look::<0>(second);
        let state = world.standings.of(&newcomer).unwrap().state;
        assert!(matches!(state, State::Joining | State::Out), "{state} at {second}");
    }
}

#[test]
fn who_drains_is_not_wanted_and_may_change_its_mind() {
    let mut world = World::new(40, 40);
    world.run(0..10, 0);
    world.hear(0, 11, true);
    assert_eq!(world.look(11), [State::Draining]);
    assert!(!State::Draining.is_wanted());
    world.hear(0, 12, false);
    assert_eq!(world.look(12), [State::Online]);
}

#[test]
fn a_service_that_just_started_counts_nobody_out_and_one_that_is_cut_off_does_not_either() {
    // Nobody has been heard yet: silence counts from the first look.
    let mut world = World::new(40, 40);
    assert_eq!(world.look(0), [State::Offline, State::Offline]);
    // Eleven of forty stay silent: more than a quarter.
    world.run(0..2_000, 11);
    assert_eq!(world.look(2_000), [State::Offline, State::Offline]);
    let standing = world.standings.of(&node_id(&key(0))).unwrap();
    assert_eq!(standing.reason, Reason::ManySilent);
    // One of them comes back: ten may go.
    world.hear(10, 2_001, false);
    assert_eq!(world.look(2_001), [State::Out, State::Out]);
    // It leaves again: who was called out stays out, it itself is waited for.
    world.run(2_000..4_000, 11);
    assert_eq!(world.look(4_000), [State::Out, State::Out]);
    assert_eq!(world.standings.of(&node_id(&key(10))).unwrap().state, State::Offline);
}

/// The operator has to hear of it, though the state stays the same.
#[test]
fn that_too_many_are_silent_to_leave_anybody_out_is_told_once_for_each() {
    let mut world = World::new(40, 40);
    world.run(0..10, 0);
    let mut told = 0;
    for second in (10..1_000).step_by(10) {
        for n in 11..40 {
            world.hear(n, second, false);
        }
        let now_ms = START_MS + second * 1_000;
        let changes = world.standings.update(
            &world.registry,
            world.map.as_ref(),
            &world.liveness,
            &world.merits,
            now_ms,
        );
        told += changes.iter().filter(|change| change.to.reason == Reason::ManySilent).count();
    }
    assert_eq!(told, 11);
}

#[test]
fn who_is_deregistered_is_forgotten_and_changes_are_told_once() {
    let mut world = World::new(3, 3);
    world.run(0..10, 0);
    let update = |world: &mut World, second: u64| {
        let now_ms = START_MS + second * 1_000;
        world.standings.update(&world.registry, world.map.as_ref(), &world.liveness, &world.merits, now_ms)
    };
    assert!(update(&mut world, 10).is_empty());
    let told = update(&mut world, 17);
    assert_eq!(told.len(), 3);
    assert!(
        told.iter().all(|change| (change.from, change.to.state) == (Some(State::Online), State::Suspect))
    );
    assert!(update(&mut world, 18).is_empty());
    world.registry = Registry::default();
    assert!(update(&mut world, 19).is_empty());
    assert!(State::ALL.iter().all(|state| world.standings.count(*state) == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever is heard when, nobody is out that was heard within `out_after`.
    #[test]
    fn nobody_goes_early(beats in proptest::collection::vec((0..1_500_u64, 0..40_u8), 1..400)) {
        let mut world = World::new(40, 40);
        let mut beats = beats;
        beats.sort_unstable();
        beats.dedup();
        let mut last = [0_u64; 40];
        for (second, n) in beats {
            if second > last[usize::from(n)] {
                world.hear(n, second, false);
                last[usize::from(n)] = second;
            }
            let states: [State; 40] = world.look(second);
            for (n, state) in states.iter().enumerate() {
                if *state == State::Out {
                    prop_assert!(second - last[n] > 600, "miner {n} at {second}, heard at {}", last[n]);
                }
            }
        }
    }
}

#[test]
fn who_fails_its_audits_is_out_until_that_is_forgotten() {
    let mut world = World::new(33, 32);
    let fail = |world: &mut World, n: u8, integrity_fails| {
        let quality = NodeQuality { uptime_permille: 1_000, integrity_fails, ..NodeQuality::default() };
        world.merits.qualities.insert([n; 32], quality);
    };
    world.run(0..100, 0);
    fail(&mut world, 0, 39);
    // One that is not in the map may have done less.
    fail(&mut world, 32, 10);
    assert_eq!((world.look::<1>(100), world.standings.banned()), ([State::Online], 1));
    fail(&mut world, 0, 40);
    assert_eq!(world.look::<2>(101), [State::Out, State::Online]);
    let standing = *world.standings.of(&node_id(&key(0))).unwrap();
    assert_eq!(
        (standing.reason, standing.since),
        (Reason::AuditsFailed { failures: 40 }, START_MS + 101_000)
    );
    // One more is no news, and does not begin anew.
    fail(&mut world, 0, 41);
    let now_ms = START_MS + 102_000;
    let (registry, map) = (world.registry.clone(), world.map.clone());
    let changes = world.standings.update(&registry, map.as_ref(), &world.liveness, &world.merits, now_ms);
    assert_eq!((changes, world.standings.of(&node_id(&key(0))).unwrap().since), (vec![], standing.since));
    // The map goes on without it; it is heard all the time.
    let mut without = world.map.clone().unwrap();
    without.miners.remove(0);
    world.map = Some(without);
    fail(&mut world, 0, 10);
    assert_eq!(world.look::<1>(103), [State::Out]);
    fail(&mut world, 0, 9);
    assert_eq!(world.look::<1>(104), [State::Online]);
}

#[test]
fn audits_that_speak_against_many_ban_nobody() {
    let mut world = World::new(32, 32);
    world.run(0..100, 0);
    for n in 0..9_u8 {
        let quality = NodeQuality { integrity_fails: 200, ..NodeQuality::default() };
        world.merits.qualities.insert([n; 32], quality);
        let expected = if n < 8 { State::Out } else { State::Online };
        assert_eq!(world.look::<1>(100), [expected], "{n}");
    }
}

#[test]
fn what_changed_is_remembered_with_time_and_reason() {
    let mut world = World::new(3, 3);
    let second = |second: u64| START_MS + second * 1_000;
    world.look::<3>(0);
    world.hear(1, 1, false);
    world.look::<3>(1);
    for seconds in 2..2_000 {
        world.look::<3>(seconds);
    }
    let all = world.standings.page(None, 1_024, 16);
    let of = |n: u8| -> Vec<_> {
        let lines = all.iter().filter(|line| line.miner == node_id(&key(n)));
        lines.map(|line| (line.at, line.from, line.to, line.reason)).collect()
    };
    let heard = of(1);
    assert_eq!(heard[0].1, None);
    assert_eq!((heard[1].0, heard[1].2, heard[1].3), (second(1), State::Online, Reason::Heard));
    assert!(heard.iter().any(|(_, _, to, reason)| (*to, *reason) == (State::Suspect, Reason::Overdue)));
    assert!(heard.windows(2).all(|pair| pair[0].0 <= pair[1].0 && Some(pair[0].2) == pair[1].1));
    assert!(all.is_sorted_by_key(|line| (line.miner, line.at)));
    // The newest of each; whole miners only; behind a miner.
    let newest = world.standings.page(None, 1_024, 1);
    assert_eq!(newest.len(), 3);
    assert_eq!(newest[0], *all.iter().rfind(|line| line.miner == newest[0].miner).unwrap());
    assert_eq!(world.standings.page(None, 2, 1), newest[..2]);
    assert_eq!(world.standings.page(Some(newest[1].miner), 9, 1), newest[2..]);
    assert_eq!(world.standings.page(Some(newest[2].miner), 9, 1), []);
    // A bounded number of each.
    for round in 0..40 {
        world.hear(1, 2_000 + round * 100, false);
        world.look::<3>(2_000 + round * 100);
        world.look::<3>(2_050 + round * 100);
    }
    assert_eq!(
        world.standings.page(None, 1_024, 200).iter().filter(|line| line.miner == node_id(&key(1))).count(),
        16
    );
}
