use super::*;
use crate::movement::Movement;
use arion_chain::EpochMap;
use arion_types::{CrushParams, MinerRecord};
use proptest::prelude::*;

const CHILD: [u8; 32] = [1; 32];
const TIB: u64 = 1 << 40;

fn merits(quality: NodeQuality) -> Merits {
    Merits { qualities: [(CHILD, quality)].into(), map_since: Some(0) }
}

fn quality(uptime_permille: u16, strikes: u32, integrity_fails: u32) -> NodeQuality {
    NodeQuality { uptime_permille, strikes, integrity_fails, ..NodeQuality::default() }
}

fn eighths(merits: &Merits, before: u32, block: u32, used: u64) -> u32 {
    nearest_step(merits.weight(&CHILD, block, Some(part(WEIGHT_ONE, before)), (TIB, used)), WEIGHT_ONE)
}

#[test]
fn capacity_is_followed_but_not_its_wobble() {
    assert_eq!((of_capacity(0), of_capacity(TIB), of_capacity(u64::MAX)), (1, WEIGHT_ONE, WEIGHT_MAX));
    let merits = Merits::default();
    let weight = |capacity| merits.weight(&CHILD, 0, Some(WEIGHT_ONE), (capacity, 0));
    assert_eq!(weight(TIB - (TIB >> 6)), WEIGHT_ONE);
    assert_eq!((weight(2 * TIB), weight(TIB / 2)), (2 * WEIGHT_ONE, WEIGHT_ONE / 2));
    assert_eq!(merits.weight(&CHILD, 0, None, (TIB, 0)), WEIGHT_ONE);
}

#[test]
fn failed_audits_take_an_eighth_at_a_time_and_it_comes_back_when_they_are_forgotten() {
    let failing = merits(quality(1_000, 0, 25));
    assert_eq!(eighths(&failing, 8, PACE_BLOCKS - 1, 0), 8, "not before the map is an hour old");
    let mut step = 8;
    for expected in [7, 6, 5, 4, 3, 2, 1, 1] {
        step = eighths(&failing, step, PACE_BLOCKS, 0);
        assert_eq!(step, expected);
    }
    assert_eq!(eighths(&merits(quality(1_000, 0, 3)), 1, PACE_BLOCKS, 0), 2, "an eighth at a time");
    assert_eq!(eighths(&merits(quality(1_000, 0, 1)), 1, 0, 0), 8);
    assert_eq!(eighths(&failing, 8, PACE_BLOCKS, 0), 7);
    // Nobody comes in with more than it deserves.
    assert_eq!(failing.weight(&CHILD, 0, None, (TIB, 0)), part(WEIGHT_ONE, 1));
}

#[test]
fn an_hour_of_absence_moves_nothing_and_absence_without_strikes_neither() {
    assert_eq!(eighths(&merits(quality(0, 0, 0)), 8, PACE_BLOCKS, 0), 8);
    assert_eq!(eighths(&merits(quality(0, 25, 0)), 8, PACE_BLOCKS, 0), 8);
    assert_eq!(eighths(&merits(quality(0, 25 + 22, 0)), 8, PACE_BLOCKS, 0), 7);
}

#[test]
fn a_full_disk_gets_less_until_there_is_room() {
    let merits = merits(quality(1_000, 0, 0));
    let used = |permille: u64| TIB / 1_000 * permille;
    assert_eq!(eighths(&merits, 8, PACE_BLOCKS, used(930)), 8);
    assert_eq!(eighths(&merits, 8, PACE_BLOCKS, used(950)), 7);
    // As much as before would fill it again.
    assert_eq!(eighths(&merits, 7, PACE_BLOCKS, used(830)), 7);
    assert_eq!(eighths(&merits, 7, PACE_BLOCKS, used(780)), 8);
    assert_eq!(
        eighths(&Merits::default(), 8, PACE_BLOCKS, used(990)),
        8,
        "since when the map is there is not known"
    );
}

#[test]
fn who_is_banned_stays_so_until_little_is_left_of_it() {
    let bans = |failures, is_member| merits(quality(1_000, 0, failures)).bans(&CHILD, is_member);
    assert_eq!([bans(39, true), bans(40, true), bans(10, false), bans(9, false)], [false, true, true, false]);
    assert!(!Merits::default().bans(&CHILD, false));
}

proptest! {
    #[test]
    fn noise_never_makes_a_new_map(
        failures in 0..30_u32, strikes in 0..60_u32, noise in proptest::collection::vec(-15..=15_i64, 1..40),
        wobble in proptest::collection::vec(0..1_000_u64, 1..40),
    ) {
        let settled = merits(quality(1_000, strikes, failures));
        let step = steps_of(settled.permille(&CHILD));
        let before = part(WEIGHT_ONE, step);
        for (strikes_off, bytes) in noise.into_iter().zip(wobble) {
            // Fifteen strikes are 60 of a thousand.
            let strikes = u32::try_from((i64::from(strikes) + strikes_off).max(0)).unwrap();
            let now = merits(quality(1_000, strikes, failures));
            let capacity = TIB - TIB / 64 * bytes / 1_000;
            let weight = now.weight(&CHILD, PACE_BLOCKS, Some(before), (capacity, capacity / 2));
            prop_assert_eq!(weight, before);
        }
    }

    #[test]
    fn steps_are_small_and_weights_never_vanish(
        before in 1..9_u32, uptime in 0..2_000_u16, strikes: u32, failures: u32, used in 0..2 * TIB, block: u32,
    ) {
        let merits = merits(quality(uptime, strikes, failures));
        let after = eighths(&merits, before, block, used);
        prop_assert!((1..=8).contains(&after) && after + 1 >= before, "{before} to {after}");
    }
}

#[test]
fn what_a_step_moves_is_near_the_least() {
    let map = |weight: u32| {
        let record = |uid: u32| MinerRecord {
            uid,
            node_id: [uid as u8; 32],
            family: [uid as u8 / 2 + 100; 32],
            weight: if uid == 7 { weight } else { WEIGHT_ONE },
            endpoint: b"a:1".to_vec().try_into().unwrap(),
        };
        let params = CrushParams { pg_count: 1_024, ..CrushParams::STANDARD };
        EpochMap::new(1, params, (2..82).map(record).collect())
    };
    for step in 1..STEPS {
        let (before, after) = (map(part(WEIGHT_ONE, step + 1)), map(part(WEIGHT_ONE, step)));
        let movement = Movement::between(&before, &after).unwrap();
        // The share that an eighth of one of 80 miners is, rounded for each of the others.
        let share = movement.positions / 80 / u64::from(STEPS);
        assert!(movement.moved <= 3 * (share + 1), "{step}: {movement:?}");
    }
}
