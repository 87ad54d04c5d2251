//! Maps of every shape on which placement is compared with Ceph's, made from their number alone.
//!
//! Integers only and the same on every machine, so that the maps need not be kept: crush/vectors/corpus.txt holds a
//! hash of all placements of each.

use crush::{Bucket, Child, Hierarchy, Level, Step, Uid};

/// How many maps there are.
pub(crate) const MAPS: usize = 220;
/// Replica counts asked of each map: 1 to this.
pub(crate) const REPLICAS: usize = 30;
/// Values of x per replica count: 0 to this, exclusive.
pub(crate) const INPUTS: u32 = 152;
/// How Ceph writes an empty position.
pub(crate) const NONE: u32 = 0x7fff_ffff;

const ONE: u32 = 0x1_0000;

/// A map of the corpus.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) tree: Hierarchy,
}

/// The placements of a map, in the order they are hashed: by replica count, then by x.
pub(crate) fn placements(tree: &Hierarchy) -> impl Iterator<Item = (usize, u32, Vec<u32>)> + '_ {
    (1..=REPLICAS).flat_map(move |replicas| {
        (0..INPUTS).map(move |x| {
            let mut out = vec![None; replicas];
            tree.place(x, &mut out);
            (replicas, x, out.into_iter().map(|uid| uid.unwrap_or(NONE)).collect())
        })
    })
}

/// BLAKE3 of all positions as little-endian words, in hex.
pub(crate) fn digest<'a>(placements: impl Iterator<Item = &'a [u32]>) -> String {
    let mut hasher = blake3::Hasher::new();
    for positions in placements {
        for position in positions {
            hasher.update(&position.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// One line of crush/vectors/corpus.txt: number, hash of all, one placement in clear.
pub(crate) fn line(number: usize, answers: &[Vec<u32>]) -> String {
    let (replicas, x) = in_clear(number);
    let clear = &answers[(replicas - 1) * INPUTS as usize + x as usize];
    let clear: Vec<String> = clear.iter().map(u32::to_string).collect();
    format!("{number} {} {replicas} {x} {}", digest(answers.iter().map(Vec::as_slice)), clear.join(","))
}

/// Which placement of a map stands in clear: replica count and x.
pub(crate) fn in_clear(number: usize) -> (usize, u32) {
    (1 + number % REPLICAS, (number as u32 * 37) % INPUTS)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u32
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

/// The map with this number, below [`MAPS`].
pub(crate) fn case(number: usize) -> Case {
    let mut random = Random(number as u64);
    let count = miners(number, &mut random);
    let weighing = number / 5 % 6;
    let uids = uids(count, &mut random);
    let leaves: Vec<(Uid, u32)> = uids.iter().map(|uid| (*uid, weight(weighing, &mut random))).collect();
    let (shape, buckets, rule) = match number % 5 {
        0 => flat(&leaves, &mut random),
        1 => families(&leaves, &mut random),
        2 => capped(&leaves, &mut random),
        3 => regions(&leaves, &mut random),
        _ => regions_first(&leaves, &mut random),
    };
    let mut tree = Hierarchy::new(&buckets, &rule).unwrap();
    let reweighting = number / 30 % 4;
    // One miner stays in: `crushtool --test` prints nothing when all are out.
    for uid in uids.into_iter().skip(1) {
        if let Some(reweight) = reweight(reweighting, &mut random) {
            tree.set_reweight(uid, reweight).unwrap();
        }
    }
    Case {
        name: format!("{number}: {count} miners, {shape}, weights {weighing}, reweights {reweighting}"),
        tree,
    }
}

/// 1 and 2,048 and what lies between, small numbers more often.
fn miners(number: usize, random: &mut Random) -> u32 {
    match number {
        0..5 => 1,
        5..10 => 2_048,
        _ => {
            let most = 2 << random.below(11);
            1 + random.below(most)
        }
    }
}

/// Ascending with gaps, in some maps far apart.
fn uids(count: u32, random: &mut Random) -> Vec<Uid> {
    let gap = [1, 1, 3, 40][random.below(4) as usize];
    let mut next = random.below(gap);
    (0..count)
        .map(|_| {
            let uid = next;
            next += 1 + random.below(gap);
            uid
        })
        .collect()
}

/// At most 24 bits are set from the first to the last: `crushtool` reads weights as 32-bit floats.
fn weight(weighing: usize, random: &mut Random) -> u32 {
    match weighing {
        0 => ONE,
        1 => ONE * (1 + random.below(16)),
        2 => 1 + random.below(1 << 20),
        3 => [0, ONE, ONE, 8 * ONE, random.below(ONE)][random.below(5) as usize],
        4 => 1 << random.below(21),
        _ => random.below(4),
    }
}

fn reweight(reweighting: usize, random: &mut Random) -> Option<u32> {
    match reweighting {
        1 => random.one_in(8).then_some(0),
        2 => random.one_in(3).then(|| random.below(ONE + 1)),
        3 => random.one_in(2).then(|| [0, 1, ONE / 2, ONE - 1][random.below(4) as usize]),
        _ => None,
    }
}

type Shape = (&'static str, Vec<Bucket>, Vec<Step>);

fn tries(random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    if !random.one_in(3) {
        steps.push(Step::SetChooseTries([3, 20, 100, 500][random.below(4) as usize]));
    }
    if !random.one_in(3) {
        steps.push(Step::SetChooseleafTries([1, 2, 5, 20][random.below(4) as usize]));
    }
    steps.push(Step::Take(-1));
    steps
}

fn flat(leaves: &[(Uid, u32)], random: &mut Random) -> Shape {
    let items = leaves.iter().map(|(uid, weight)| (Child::Miner(*uid), *weight)).collect();
    let root = Bucket { id: -1, level: Level::Root, items };
    let mut rule = tries(random);
    rule.push(if random.one_in(2) {
        Step::ChooseIndep { count: 0, level: Level::Miner }
    } else {
        Step::ChooseleafIndep { count: 0, level: Level::Miner }
    });
    rule.push(Step::Emit);
    ("flat", vec![root], rule)
}

/// Cuts the miners into buckets of random sizes; some stay empty.
fn cut(leaves: &[(Uid, u32)], random: &mut Random) -> Vec<Bucket> {
    let most = 1 + random.below(40);
    let (mut buckets, mut rest) = (Vec::new(), leaves);
    // Ids with gaps, so that they are no ranks.
    let mut id = -2;
    while !rest.is_empty() {
        let size = if random.one_in(20) { 0 } else { 1 + random.below(most) as usize };
        let (here, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        let items = here.iter().map(|(uid, weight)| (Child::Miner(*uid), *weight)).collect();
        buckets.push(Bucket { id, level: Level::Family, items });
        id -= 1 + random.below(3) as i32;
    }
    buckets
}

/// A bucket of these, each with the weight of what it holds, or now and then another.
fn above(id: i32, level: Level, buckets: &[Bucket], random: &mut Random) -> Bucket {
    let items = buckets
        .iter()
        .map(|bucket| {
            let sum: u32 = bucket.items.iter().map(|(_, weight)| *weight).sum();
            let weight = if random.one_in(25) { random.below(8 * ONE) } else { sum };
            let spare = 8 - weight.leading_zeros().min(8);
            (Child::Bucket(bucket.id), weight >> spare << spare)
        })
        .collect();
    Bucket { id, level, items }
}

fn families(leaves: &[(Uid, u32)], random: &mut Random) -> Shape {
    let mut buckets = cut(leaves, random);
    let mut root = above(-1, Level::Root, &buckets, random);
    let mut shape = "families";
    if random.one_in(4) {
        // A miner beside families: where it is drawn Ceph gives the position up.
        let stray = leaves.last().map_or(0, |(uid, _)| uid + 1);
        root.items.push((Child::Miner(stray), ONE));
        shape = "families and a stray miner";
    }
    buckets.push(root);
    let mut rule = tries(random);
    rule.extend([Step::ChooseleafIndep { count: 0, level: Level::Family }, Step::Emit]);
    (shape, buckets, rule)
}

fn capped(leaves: &[(Uid, u32)], random: &mut Random) -> Shape {
    let mut buckets = cut(leaves, random);
    let root = above(-1, Level::Root, &buckets, random);
    buckets.push(root);
    let cap = 1 + random.below(4) as u8;
    let mut rule = tries(random);
    rule.extend([
        Step::ChooseIndep { count: (REPLICAS as u8).div_ceil(cap), level: Level::Family },
        Step::ChooseIndep { count: cap, level: Level::Miner },
        Step::Emit,
    ]);
    ("capped families", buckets, rule)
}

fn in_regions(leaves: &[(Uid, u32)], random: &mut Random) -> Vec<Bucket> {
    let mut buckets = cut(leaves, random);
    let lowest = buckets.iter().map(|bucket| bucket.id).min().unwrap();
    let each = buckets.len().div_ceil(1 + random.below(9) as usize);
    let regions: Vec<Bucket> = buckets
        .chunks(each)
        .enumerate()
        .map(|(n, chunk)| above(lowest - 1 - n as i32, Level::Region, chunk, random))
        .collect();
    let root = above(-1, Level::Root, &regions, random);
    buckets.extend(regions);
    buckets.push(root);
    buckets
}

fn regions(leaves: &[(Uid, u32)], random: &mut Random) -> Shape {
    let buckets = in_regions(leaves, random);
    let mut rule = tries(random);
    let level = if random.one_in(3) { Level::Miner } else { Level::Family };
    rule.extend([Step::ChooseleafIndep { count: 0, level }, Step::Emit]);
    ("families in regions", buckets, rule)
}

fn regions_first(leaves: &[(Uid, u32)], random: &mut Random) -> Shape {
    let buckets = in_regions(leaves, random);
    let mut rule = tries(random);
    let count = 1 + random.below(6) as u8;
    rule.push(Step::ChooseIndep { count, level: Level::Region });
    let inside = (REPLICAS as u8).div_ceil(count);
    if random.one_in(2) {
        rule.push(Step::ChooseleafIndep { count: inside, level: Level::Family });
    } else {
        rule.push(Step::ChooseIndep { count: inside.div_ceil(2), level: Level::Family });
        rule.push(Step::ChooseIndep { count: 2, level: Level::Miner });
    }
    rule.push(Step::Emit);
    ("regions, then families", buckets, rule)
}
