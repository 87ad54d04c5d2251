//! The sheet by hand: every number below was worked out on paper, none comes from a program.

use super::*;

const RULES: Rules = Rules {
    bandwidth_permille: 700,
    storage_permille: 300,
    scale: 512,
    unit_bytes: 1_024,
    strike_penalty: 100,
    fail_penalty: 50,
    node_max: 20_000,
    top: 8,
    decay_permille: 800,
    family_max: 20_000,
    alpha_permille: 300,
    delta_max: 500,
    grace_buckets: 100,
    floor: 100,
};

const KIB: u64 = 1_024;

fn quality(stored: u64, served: u64, uptime: u64, strikes: u64, fails: u64) -> Quality {
    Quality { stored, served, uptime, strikes, fails }
}

fn said(votes: u128, stored: u64, served: u64, uptime: u64) -> Said {
    Said { votes, stored, served, uptime }
}

fn seen(timeouts: u64, fails: u64) -> Seen {
    Seen { timeouts, fails }
}

#[test]
fn logarithms() {
    // log2(1 + 1), log2(1 + 3), log2(1 + 2) = 1.58496250, log2(1 + 6) = 2.80735492; nothing of nothing.
    let cases = [(0, 0), (1, 65_536), (3, 131_072), (2, 103_872), (6, 183_982)];
    for (kib, doublings) in cases {
        assert_eq!(RULES.doublings(kib * 1_024).unwrap(), doublings, "{kib} KiB");
    }
    // Half a unit: log2(1.5) = 0.58496250.
    assert_eq!(RULES.doublings(512).unwrap(), 38_336);
    assert!(RULES.doublings(1 << 53).is_err());
}

#[test]
fn a_node() {
    // 512 * (0.7 * 1 + 0.3 * 2) = 665.6; half of the time 332.5; less 100 and twice 50.
    let cases = [
        (quality(3 * KIB, KIB, 1_000, 0, 0), 665),
        (quality(3 * KIB, KIB, 500, 0, 0), 332),
        (quality(3 * KIB, KIB, 500, 1, 2), 132),
        (quality(3 * KIB, KIB, 1_000, 0, 14), 0),
        (quality(3 * KIB, 0, 1_000, 0, 0), 307),
        (quality(0, 0, 1_000, 0, 0), 0),
    ];
    for (quality, weight) in cases {
        assert_eq!(RULES.node(&quality).unwrap(), weight, "{quality:?}");
    }
}

#[test]
fn a_family() {
    let good = quality(3 * KIB, KIB, 1_000, 0, 0);
    assert_eq!(RULES.raw(&[]).unwrap(), 0);
    assert_eq!(RULES.raw(&[good]).unwrap(), 665);
    // By rank 665 + 0.8 * 665 = 1,197. Together 6 KiB stored and 2 KiB served: 512 * (0.7 * 1.585 + 0.3 * 2.807) = 999.3, and
    // both keep all of it.
    assert_eq!(RULES.raw(&[good, good]).unwrap(), 999);
    // The second is never up: it keeps nothing, half of the bytes count, and 999 * 1/2 is less than what the best weighs alone.
    assert_eq!(RULES.raw(&[quality(3 * KIB, KIB, 0, 0, 0), good]).unwrap(), 665);
    // Two small ones: 512 * log2(1.25) = 164 each, 164 + 0.8 * 164 = 295, and together 512 * log2(1.5) = 299: the ranks decide.
    let tiny = quality(256, 256, 1_000, 0, 0);
    assert_eq!(RULES.raw(&[tiny, tiny]).unwrap(), 295);
    // 512 * (0.7 * 4.08746 + 0.3 * 2.32193) = 1,821 and 512 * (0.7 * 2.32193 + 0.3) = 985, of which uptime leaves 886: 0.89949.
    // Together 20 KiB served and 5 KiB stored: 512 * (0.7 * 4.39232 + 0.3 * 2.58496) = 1,971. Of both kinds of bytes four fifths
    // keep all and one fifth keeps 0.89949: 0.97990 of 1,971.
    let (large, small) = (quality(4 * KIB, 16 * KIB, 1_000, 0, 0), quality(KIB, 4 * KIB, 900, 0, 0));
    assert_eq!((RULES.node(&large).unwrap(), RULES.node(&small).unwrap()), (1_821, 886));
    assert_eq!(RULES.raw(&[small, large]).unwrap(), 1_931);
}

#[test]
fn smoothing() {
    // Three tenths of the way, at least 1, at most 500, and never beyond.
    let cases = [
        (0, 999, 299),
        (299, 999, 509),
        (0, 5_000, 500),
        (5_000, 0, 4_500),
        (1_000, 0, 700),
        (7, 8, 8),
        (9, 8, 8),
        (8, 8, 8),
    ];
    for (old, raw, new) in cases {
        assert_eq!(RULES.smoothed(old, raw), new, "{old} towards {raw}");
    }
}

#[test]
fn validators_agree_on_medians() {
    let three = [said(1, 10, 1, 1_000), said(1, 30, 3, 900), said(1, 20, 2, 0)];
    assert_eq!(agreed(&three, 3), Some((20, 2, 900)));
    // Of two the lower; one of three is too few; more votes weigh more.
    assert_eq!(agreed(&three[..2], 3), Some((10, 1, 900)));
    assert_eq!(agreed(&three[..1], 3), None);
    assert_eq!(agreed(&[said(1, 10, 1, 1_000), said(3, 30, 3, 900)], 4), Some((30, 3, 900)));
    assert_eq!(agreed(&[], 0), None);
}

#[test]
fn wardens_are_believed_by_halves() {
    let cases = [
        // One of one counts in full, one of two alone only once.
        (vec![seen(0, 3)], 1, seen(0, 3)),
        (vec![seen(0, 3)], 2, seen(0, 1)),
        // The lower median of the sums: 0 of (0, 3); 2 of (2, 3), failures first.
        (vec![seen(0, 0), seen(0, 3)], 2, seen(0, 0)),
        (vec![seen(1, 1), seen(2, 1)], 2, seen(2, 2)),
        (vec![seen(0, 5), seen(4, 0), seen(0, 0)], 3, seen(4, 4)),
        // No more than 25 of each.
        (vec![seen(30, 0), seen(30, 0)], 2, seen(25, 0)),
        (vec![], 2, seen(0, 0)),
    ];
    for (saw, wardens, added) in cases {
        assert_eq!(believed(&saw, wardens), added, "{saw:?} of {wardens}");
    }
}

const FAMILY: AccountId = [1; 32];
const CHILD: AccountId = [2; 32];

fn bucket(number: u32, reports: Vec<Said>, saw: &[(u8, Seen)]) -> Bucket {
    let seen = saw.iter().map(|(warden, seen)| ([*warden; 32], *seen)).collect();
    let miner = Miner { child: CHILD, family: FAMILY, since: 5, said: reports, seen };
    Bucket { number, votes: 1, wardens: 2, miners: vec![miner] }
}

/// A life in six buckets.
#[test]
fn a_miner_by_hand() {
    let mut sheet = Sheet::new(RULES);
    // Nobody has said anything yet.
    sheet.close(&bucket(5, vec![], &[])).unwrap();
    assert_eq!((sheet.qualities.len(), sheet.families[&FAMILY]), (0, 0));
    // It is there and has nothing: the floor.
    sheet.close(&bucket(6, vec![said(1, 0, 0, 1_000)], &[])).unwrap();
    assert_eq!((sheet.nodes[&CHILD], sheet.families[&FAMILY]), (0, 100));
    // It has something: 665; 100 + 0.3 * 565 = 269. One warden alone had no answer twice, which waits.
    let report = || vec![said(1, 3 * KIB, KIB, 1_000)];
    sheet.close(&bucket(7, report(), &[(1, seen(2, 0)), (2, seen(0, 0))])).unwrap();
    assert_eq!((sheet.qualities[&CHILD].strikes, sheet.families[&FAMILY]), (0, 269));
    // The other one sees it fail once, and the two timeouts count with that one: sums 2 and 1, believed 1, so a strike and a
    // failure. 665 - 100 - 50 = 515; 269 + 0.3 * 246 = 342.
    sheet.close(&bucket(8, report(), &[(2, seen(0, 1))])).unwrap();
    assert_eq!(sheet.qualities[&CHILD], quality(3 * KIB, KIB, 1_000, 1, 1));
    assert_eq!((sheet.nodes[&CHILD], sheet.families[&FAMILY]), (515, 342));
    // Nobody reports: seven eighths of the uptime, of strikes and of failures, rounded down: 665 * 0.875 = 581;
    // 342 + 0.3 * 239 = 413.
    sheet.close(&bucket(9, vec![], &[])).unwrap();
    assert_eq!(sheet.qualities[&CHILD], quality(3 * KIB, KIB, 875, 0, 0));
    assert_eq!((sheet.nodes[&CHILD], sheet.families[&FAMILY]), (581, 413));
    // Long after its grace it is down: 0.7 * 413 = 290 (a step of 123).
    sheet.close(&bucket(200, vec![said(1, 3 * KIB, KIB, 0)], &[])).unwrap();
    assert_eq!((sheet.nodes[&CHILD], sheet.families[&FAMILY]), (0, 290));
}

#[test]
fn timeouts_of_one_warden_that_nobody_confirms_in_time_are_forgotten() {
    let mut sheet = Sheet::new(RULES);
    let report = || vec![said(1, 3 * KIB, KIB, 1_000)];
    sheet.close(&bucket(1, report(), &[(1, seen(2, 0))])).unwrap();
    sheet.close(&bucket(2, report(), &[])).unwrap();
    sheet.close(&bucket(3, report(), &[(2, seen(0, 1)), (1, seen(0, 0))])).unwrap();
    // The failure of bucket 3 is the word of one of two auditors: the lower median is 0.
    assert_eq!(sheet.qualities[&CHILD], quality(3 * KIB, KIB, 1_000, 0, 0));
    assert!(sheet.waiting.is_empty());
}
