//! Rounds over shards of several miners.

use super::*;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::{BTreeSet, HashSet};

const ME: NodeId = NodeId([0xaa; 32]);

fn target(node: u8, shard: u8) -> Target {
    sized(node, shard, 64)
}

fn sized(node: u8, shard: u8, size: u32) -> Target {
    let mut hash = [node; 32];
    hash[0] = shard;
    Target { node: NodeId([node; 32]), shard: ShardHash(hash), size, gateway: NodeId([0; 32]) }
}

fn sampler(counts: &[u8]) -> Sampler {
    let mut sampler = Sampler::new(1, Duty::alone(ME));
    for (node, count) in counts.iter().enumerate() {
        for shard in 0..*count {
            sampler.add(target(node as u8, shard), 0);
        }
    }
    sampler
}

fn run_round(sampler: &mut Sampler, rng: &mut StdRng) -> Vec<Target> {
    std::iter::from_fn(|| sampler.next(rng, |_| true)).collect()
}

proptest! {
    #[test]
    fn every_round_covers_everything_exactly_once(
        counts in proptest::collection::vec(0u8..20, 1..8), seed in any::<u64>(),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut sampler = sampler(&counts);
        let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
        for _ in 0..3 {
            let seen = run_round(&mut sampler, &mut rng);
            prop_assert_eq!(seen.len(), total);
            prop_assert_eq!(seen.iter().collect::<HashSet<_>>().len(), total);
            prop_assert_eq!(sampler.start_round().is_some(), total > 0);
        }
    }

    /// Wardens that agree on who is there cover everything once between them; when one falls silent the others
    /// take over exactly what it left.
    #[test]
    fn wardens_share_and_take_over(count in 1u8..60, seed in any::<u64>()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let wardens: BTreeSet<NodeId> = [ME, NodeId([1; 32]), NodeId([2; 32])].into();
        let mut parts: Vec<Sampler> = wardens.iter().map(|me| {
            let mut part = sampler(&[count]);
            part.set_duty(Duty::new(*me, wardens.clone()));
            part
        }).collect();
        let mut seen: Vec<Target> = Vec::new();
        for part in &mut parts {
            let amount: u64 = part.mine().map(|(_, amount)| amount.shards).sum();
            let drawn = run_round(part, &mut rng);
            prop_assert_eq!(drawn.len() as u64, amount);
            seen.extend(drawn);
        }
        prop_assert_eq!(seen.len(), usize::from(count));
        prop_assert_eq!(seen.iter().collect::<HashSet<_>>().len(), usize::from(count));

        let left: BTreeSet<NodeId> = wardens.iter().copied().filter(|warden| *warden != ME).collect();
        let of_me: HashSet<Target> = (0..count).map(|n| target(0, n))
            .filter(|t| Duty::new(ME, wardens.clone()).is_mine(&t.node, &t.shard)).collect();
        let mut taken_over = HashSet::new();
        for (part, me) in parts.iter_mut().zip(&wardens).filter(|(_, me)| **me != ME) {
            part.set_duty(Duty::new(*me, left.clone()));
            taken_over.extend(run_round(part, &mut rng));
        }
        prop_assert_eq!(taken_over, of_me);
    }
}

#[test]
fn miners_take_turns_and_the_order_differs_between_rounds() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut sampler = sampler(&[30, 30]);
    let first = run_round(&mut sampler, &mut rng);
    assert!(first.windows(2).all(|pair| pair[0].node != pair[1].node));
    sampler.start_round().unwrap();
    assert_ne!(first, run_round(&mut sampler, &mut rng));
}

/// A first draw meets the one shard of 1 MiB among 1,000 shards of 1 KiB about every second time.
#[test]
fn a_shard_is_drawn_by_its_bytes() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut large = 0;
    for _ in 0..400 {
        let mut sampler = Sampler::new(1, Duty::alone(ME));
        sampler.add(sized(0, 255, 64_000), 0);
        for n in 0..64 {
            sampler.add(sized(0, n, 1_000), 0);
        }
        large += u32::from(sampler.next(&mut rng, |_| true).unwrap().size == 64_000);
    }
    // 200 expected; the standard deviation is 10.
    assert!((160..=240).contains(&large), "{large}");
}

#[test]
fn what_had_no_verdict_is_given_again() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut sampler = sampler(&[2]);
    let first = sampler.next(&mut rng, |_| true).unwrap();
    let second = sampler.next(&mut rng, |_| true).unwrap();
    assert_ne!(first, second);
    assert_eq!(sampler.next(&mut rng, |_| true), None);
    sampler.give_back(&second);
    assert_eq!(sampler.next(&mut rng, |_| true), Some(second));
    assert_eq!(sampler.start_round(), Some(2));
    // What is given back from an earlier round is due in this one anyway, and once.
    sampler.give_back(&second);
    assert_eq!(run_round(&mut sampler, &mut rng).len(), 2);
}

#[test]
fn new_deleted_and_ineligible_shards() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut sampler = sampler(&[2, 2]);
    sampler.remove(&target(0, 0).node, &target(0, 0).shard);
    sampler.add(target(0, 7), 0);
    sampler.add(target(0, 7), 0);
    sampler.add(target(0, 8), 1);
    let is_first = |node: &NodeId| *node == target(0, 0).node;
    let seen: Vec<Target> = std::iter::from_fn(|| sampler.next(&mut rng, is_first)).collect();
    assert_eq!(seen.iter().copied().collect::<HashSet<_>>(), [target(0, 1), target(0, 7)].into());
    assert_eq!(seen.len(), 2);
    assert_eq!(sampler.live(), 5);
    let mine: u64 = sampler.mine().map(|(_, amount)| amount.bytes).sum();
    assert_eq!(mine, 5 * 64);
}
