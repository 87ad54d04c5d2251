//! Trees, rules and reweights: what is refused and what they do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use crush::{Bucket, Child, Hierarchy, HierarchyError, Level, Step};

const ONE: u32 = 0x1_0000;
const RULE: [Step; 3] =
    [Step::Take(-1), Step::ChooseleafIndep { count: 0, level: Level::Family }, Step::Emit];

fn family(id: i32, miners: std::ops::Range<u32>) -> Bucket {
    Bucket { id, level: Level::Family, items: miners.map(|uid| (Child::Miner(uid), ONE)).collect() }
}

fn above(id: i32, level: Level, ids: &[i32]) -> Bucket {
    Bucket { id, level, items: ids.iter().map(|id| (Child::Bucket(*id), 4 * ONE)).collect() }
}

/// Three regions of three families of four miners.
fn tree() -> Vec<Bucket> {
    let mut buckets: Vec<_> = (0..9).map(|n| family(-10 - n, n as u32 * 4..n as u32 * 4 + 4)).collect();
    for region in 0..3 {
        let families = [-10 - 3 * region, -11 - 3 * region, -12 - 3 * region];
        buckets.push(above(-2 - region, Level::Region, &families));
    }
    buckets.push(above(-1, Level::Root, &[-2, -3, -4]));
    buckets
}

fn place(tree: &Hierarchy, x: u32, positions: usize) -> Vec<Option<u32>> {
    let mut out = vec![Some(9_999); positions];
    tree.place(x, &mut out);
    out
}

#[test]
fn regions_and_families_are_failure_domains() {
    let regions_first = [
        Step::Take(-1),
        Step::ChooseIndep { count: 3, level: Level::Region },
        Step::ChooseleafIndep { count: 2, level: Level::Family },
        Step::Emit,
    ];
    let tree = Hierarchy::new(&tree(), &regions_first).unwrap();
    for x in 0..500 {
        let mut held = BTreeMap::new();
        for uid in place(&tree, x, 6).into_iter().flatten() {
            *held.entry(uid / 12).or_insert(0) += 1;
            assert_eq!(held.insert(100 + uid / 4, 1), None, "x = {x}: two shards in a family");
        }
        assert!(held.range(..100).all(|(_, shards)| *shards <= 2), "x = {x}: {held:?}");
    }
}

#[test]
fn a_rule_may_take_twice() {
    let rule = [&RULE[..2], &[Step::Emit, Step::Take(-10)], &RULE[1..]].concat();
    let twice = Hierarchy::new(&tree(), &rule).unwrap();
    let once = Hierarchy::new(&tree(), &RULE).unwrap();
    // The first take fills all that was asked for.
    assert_eq!(place(&twice, 5, 4), place(&once, 5, 4));
}

#[test]
fn the_order_of_buckets_does_not_matter() {
    let mut buckets = tree();
    let given = Hierarchy::new(&buckets, &RULE).unwrap();
    buckets.reverse();
    assert_eq!(Hierarchy::new(&buckets, &RULE).unwrap(), given);
}

#[test]
fn a_reweighted_miner_keeps_its_share_and_others_keep_theirs() {
    let before = Hierarchy::new(&tree(), &[&[Step::SetChooseleafTries(5)], &RULE[..]].concat()).unwrap();
    let mut after = before.clone();
    after.set_reweight(7, ONE / 4).unwrap();
    after.set_reweight(20, 0).unwrap();
    assert_eq!(after.reweights(), [(7, ONE / 4), (20, 0)]);
    let (mut had, mut kept, mut moved, mut others) = (0, 0, 0, 0);
    for x in 0..8_000 {
        for (old, new) in place(&before, x, 4).into_iter().zip(place(&after, x, 4)) {
            assert_ne!(new, Some(20));
            had += u32::from(old == Some(7));
            kept += u32::from(old == Some(7) && new == Some(7));
            moved += u32::from(old != new);
            others += u32::from(old != new && old != Some(7) && old != Some(20));
        }
    }
    let share = f64::from(kept) / f64::from(had);
    assert!((0.2..0.3).contains(&share), "{kept} of {had}");
    // Who moves may take the place that another would have been given after a collision.
    assert!(others * 50 < moved, "{others} of {moved}");
}

#[test]
fn more_positions_than_a_code_has_stay_empty() {
    let tree = Hierarchy::new(&tree(), &RULE).unwrap();
    assert_eq!(place(&tree, 1, 300)[255..], [None; 45]);
    assert_eq!(place(&tree, 1, 0), []);
}

#[test]
fn what_makes_no_tree_is_refused() {
    let refuse = |change: &dyn Fn(&mut Vec<Bucket>)| {
        let mut buckets = tree();
        change(&mut buckets);
        Hierarchy::new(&buckets, &RULE).unwrap_err()
    };
    assert_eq!(refuse(&|all| all[0].id = 0), HierarchyError::BucketId { id: 0 });
    assert_eq!(refuse(&|all| all[0].level = Level::Miner), HierarchyError::MinerBucket { id: -10 });
    assert_eq!(refuse(&|all| all[0].id = -11), HierarchyError::DuplicateBucket { id: -11 });
    assert_eq!(refuse(&|all| drop(all.remove(0))), HierarchyError::UnknownBucket { parent: -2, id: -10 });
    let own = |all: &mut Vec<Bucket>| all[0].items.push((Child::Bucket(-10), ONE));
    assert_eq!(refuse(&own), HierarchyError::Level { parent: -10, id: -10 });
    let twice = |all: &mut Vec<Bucket>| all[10].items.push((Child::Bucket(-10), ONE));
    assert_eq!(refuse(&twice), HierarchyError::TwoParents { id: -10 });
    let miner = |uid| move |all: &mut Vec<Bucket>| all[3].items.push((Child::Miner(uid), ONE));
    assert_eq!(refuse(&miner(35)), HierarchyError::DuplicateMiner { uid: 35 });
    assert_eq!(refuse(&miner(0x7fff_fffe)), HierarchyError::UidTooLarge { uid: 0x7fff_fffe });
}

#[test]
fn what_makes_no_rule_or_reweight_is_refused() {
    let mut tree = Hierarchy::new(&tree(), &RULE).unwrap();
    let kept = tree.clone();
    assert_eq!(tree.set_rule(&[]), Err(HierarchyError::Steps { found: 0 }));
    assert_eq!(tree.set_rule(&[Step::Emit; 33]), Err(HierarchyError::Steps { found: 33 }));
    assert_eq!(tree.set_rule(&[Step::Take(-9), Step::Emit]), Err(HierarchyError::TakesUnknown { id: -9 }));
    assert_eq!(tree.set_rule(&RULE[..2]), Err(HierarchyError::NoEmit));
    for none in [Step::SetChooseTries(0), Step::SetChooseleafTries(0)] {
        assert_eq!(tree.set_rule(&[none, Step::Emit]), Err(HierarchyError::NoTries));
    }
    assert_eq!(tree.set_reweight(36, 0), Err(HierarchyError::UnknownMiner { uid: 36 }));
    let above = HierarchyError::Reweight { uid: 3, reweight: ONE + 1 };
    assert_eq!(tree.set_reweight(3, ONE + 1), Err(above));
    assert_eq!(
        above.to_string(),
        "reweight 65537 of miner 3 is above 65536, which stands for 1.0: raise its weight instead"
    );
    assert_eq!(tree, kept);
}
