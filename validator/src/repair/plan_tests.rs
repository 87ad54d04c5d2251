use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

const SHAPE: Shape = Shape { data: 10, shards: 30 };

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn shard(index: u8) -> ShardHash {
    ShardHash([index + 1; 32])
}

fn id() -> arion_types::StripeId {
    stripe_id(&(0..30).map(shard).collect::<Vec<_>>())
}

/// The map names miner `i` for position `i`.
fn named() -> Vec<Option<NodeId>> {
    (0..30).map(|n| Some(node(n))).collect()
}

fn stripe(places: impl IntoIterator<Item = (u8, u8)>) -> Stripe {
    let mut places: Vec<Place> = places
        .into_iter()
        .map(|(index, n)| Place { index, shard: shard(index), node: node(n), epoch: 1 })
        .collect();
    places.sort_by_key(|place| place.index);
    Stripe { id: id(), size: 64, gateway: node(200), places }
}

fn home() -> impl Iterator<Item = (u8, u8)> {
    (0..30).map(|n| (n, n))
}

fn held(_: &NodeId, _: &ShardHash) -> Answer {
    Answer::Held
}

fn but<'a>(answers: &'a [(u8, Answer)]) -> impl Fn(&NodeId, &ShardHash) -> Answer + 'a {
    |of, _| answers.iter().find(|(n, _)| node(*n) == *of).map_or(Answer::Held, |(_, answer)| *answer)
}

#[test]
fn all_in_place_is_whole_and_nothing_is_to_do() {
    let plan = plan(&stripe(home()), SHAPE, &named(), held);
    assert_eq!((plan.condition, plan.present, plan.jobs), (Condition::Whole, 30, vec![]));
}

#[test]
fn what_another_miner_has_is_copied_and_what_nobody_has_computed() {
    // The shard of position 3 lies with miner 77, that of position 4 with nobody, that of position 5 was never signed for.
    let places = home().filter(|(n, _)| *n != 3 && *n != 5).chain([(3, 77)]);
    let plan = plan(&stripe(places), SHAPE, &named(), but(&[(3, Answer::Absent), (4, Answer::Absent)]));
    assert_eq!((plan.condition, plan.present), (Condition::Degraded { missing: 3 }, 28));
    let job =
        |index, from: &[u8]| Job { index, to: node(index), from: from.iter().map(|n| node(*n)).collect() };
    assert_eq!(plan.jobs, [job(3, &[77]), job(4, &[]), job(5, &[])]);
}

#[test]
fn a_silent_miner_is_waited_for_and_one_that_the_map_does_not_name_is_not() {
    let silent = but(&[(3, Answer::Silent)]);
    let waiting = plan(&stripe(home()), SHAPE, &named(), &silent);
    assert_eq!((waiting.condition, waiting.jobs), (Condition::Degraded { missing: 1 }, vec![]));
    let mut moved = named();
    moved[3] = Some(node(50));
    let absent = but(&[(3, Answer::Silent), (50, Answer::Absent)]);
    let plan = plan(&stripe(home()), SHAPE, &moved, absent);
    assert_eq!(plan.jobs, [Job { index: 3, to: node(50), from: vec![] }]);
}

#[test]
fn a_shard_without_a_receipt_is_signed_for_by_who_has_it() {
    let mut moved = named();
    moved[3] = Some(node(50));
    let plan = plan(&stripe(home()), SHAPE, &moved, held);
    assert_eq!(plan.condition, Condition::Degraded { missing: 1 });
    assert_eq!(plan.jobs, [Job { index: 3, to: node(50), from: vec![node(50)] }]);
}

#[test]
fn with_fewer_than_k_nothing_is_written() {
    let lost: Vec<(u8, Answer)> = (9..30).map(|n| (n, Answer::Absent)).collect();
    let nine = plan(&stripe(home()), SHAPE, &named(), but(&lost));
    assert_eq!((nine.condition, nine.present, nine.jobs), (Condition::Unrecoverable, 9, vec![]));
    let ten = plan(&stripe(home()), SHAPE, &named(), but(&lost[1..]));
    assert_eq!((ten.condition, ten.jobs.len()), (Condition::Degraded { missing: 20 }, 20));
    // One of them may come back: it is waited for, and what can be copied is.
    let mut hope = lost.clone();
    hope[0].1 = Answer::Silent;
    let places = home().chain([(29, 77)]).filter(|(index, n)| (*index, *n) != (29, 29));
    hope.retain(|(n, _)| *n != 28 && *n != 29);
    hope.extend([(28, Answer::Absent), (29, Answer::Absent), (0, Answer::Absent)]);
    let hoping = plan(&stripe(places), SHAPE, &named(), but(&hope));
    assert_eq!((hoping.condition, hoping.present), (Condition::Degraded { missing: 22 }, 9));
    assert_eq!(hoping.jobs, [Job { index: 29, to: node(29), from: vec![node(77)] }]);
}

#[test]
fn shards_that_do_not_make_the_stripe_are_left_alone() {
    let mut wrong = stripe(home());
    wrong.places[7].shard = ShardHash([99; 32]);
    let plan = plan(&wrong, SHAPE, &named(), but(&[(3, Answer::Absent)]));
    assert_eq!((plan.condition, plan.jobs), (Condition::Contradicted, vec![]));
}

#[test]
fn a_stripe_of_equal_shards_is_copied_from_any() {
    let same = ShardHash([5; 32]);
    let place = |index| Place { index, shard: same, node: node(index), epoch: 1 };
    let id = stripe_id(&[same; 30]);
    let stripe = Stripe { id, size: 64, gateway: node(200), places: [2, 9].map(place).to_vec() };
    let plan = plan(&stripe, SHAPE, &named(), |of, _| match of.0[0] {
        2 => Answer::Held,
        _ => Answer::Absent,
    });
    assert_eq!((plan.shape.data, plan.condition), (1, Condition::Degraded { missing: 29 }));
    assert_eq!((plan.jobs.len(), plan.sources.len()), (29, 1));
}

/// The miner would refuse it at a second position.
#[test]
fn a_miner_with_one_of_equal_shards_has_that_of_every_position() {
    let same = ShardHash([5; 32]);
    let place = |index| Place { index, shard: same, node: node((index + 1) % 30), epoch: 1 };
    let places = (0..30).map(place).collect();
    let stripe = Stripe { id: stripe_id(&[same; 30]), size: 64, gateway: node(200), places };
    assert_eq!(plan(&stripe, SHAPE, &named(), held).condition, Condition::Whole);
    let plan = plan(&stripe, SHAPE, &named(), but(&[(7, Answer::Absent)]));
    assert_eq!((plan.condition, plan.jobs.len()), (Condition::Degraded { missing: 1 }, 1));
    assert_eq!((plan.jobs[0].index, plan.jobs[0].to), (7, node(7)));
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![Just(Answer::Held), Just(Answer::Absent), Just(Answer::Silent)]
}

proptest! {
    #[test]
    fn every_plan_keeps_the_rules(
        places in proptest::collection::btree_set((0..30_u8, 0..60_u8), 1..90),
        answers in proptest::collection::vec(any_answer(), 60),
        gaps in proptest::collection::btree_set(0..30_usize, 0..3),
    ) {
        let mut named = named();
        for gap in gaps {
            named[gap] = None;
        }
        let stripe = stripe(places.iter().copied());
        let answer = |of: &NodeId, _: &ShardHash| answers[usize::from(of.0[0])];
        let plan = plan(&stripe, SHAPE, &named, answer);
        let has = |index: u8, n: u8| places.contains(&(index, n)) && answers[usize::from(n)] == Answer::Held;
        let all_home = (0..30).all(|n| named[usize::from(n)].is_some() && has(n, n));
        prop_assert_eq!(plan.condition == Condition::Whole, all_home);
        let mut written = BTreeSet::new();
        for job in &plan.jobs {
            prop_assert!(written.insert(job.index));
            prop_assert_eq!(named[usize::from(job.index)], Some(job.to));
            prop_assert!(!has(job.index, job.index), "what is in place is not written");
            prop_assert!(job.from.iter().all(|from| answers[usize::from(from.0[0])] == Answer::Held));
        }
        // A miner may have what it did not sign for, if anybody signed for it.
        let is_known = |index: u8| places.iter().any(|(known, _)| *known == index);
        let at_home = |index: u8| {
            let node = named[usize::from(index)];
            is_known(index) && node.is_some() && answers[usize::from(index)] == Answer::Held
        };
        let readable = (0..30).filter(|index| at_home(*index) || (0..60).any(|n| has(*index, n))).count();
        prop_assert_eq!(usize::from(plan.present), readable);
        if readable < 10 {
            prop_assert!(plan.jobs.iter().all(|job| !job.from.is_empty()));
        }
        if plan.condition == Condition::Unrecoverable {
            prop_assert!(plan.jobs.is_empty());
        }
    }
}
