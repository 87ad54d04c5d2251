//! Placement on one core, ours beside Ceph's `crushtool --test` in the same run, in placements per second:
//!
//!     ./scripts/bench placement
//!
//! Every map has 2,048 miners and is given to both; 512 placements of each are compared first. Figures are of CPU
//! time (user and system), since the machine is shared, and the best of several rounds in turns. `crushtool` prints
//! nothing and its start, about 1 % of its time, counts. Bucket ids are dense: its tables are as long as the
//! largest id, and with the hashed ids of a real map it is several times slower.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../tests/corpus/mod.rs"]
#[allow(dead_code, reason = "the other half is for the tests")]
mod corpus;
#[path = "../tests/corpus/judge.rs"]
#[allow(dead_code, reason = "the other half is for the tests")]
mod judge;

use std::{
    fs,
    hint::black_box,
    process::{Command, ExitCode, Stdio},
};

use crush::{Bucket, Child, CrushParams, Hierarchy, Leaf, Level, Map, Plan, Step};

const MINERS: u32 = 2_048;
const POSITIONS: usize = 30;
const GROUPS: u32 = 16_384;
const ROUNDS: usize = 3;
/// A tick of the CPU times in /proc: USER_HZ is 100 on every Linux.
const TICK_SECONDS: f64 = 0.01;

fn main() -> ExitCode {
    // `cargo test --benches` asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    if !judge::installed() {
        eprintln!("run this through scripts/bench placement, which installs crushtool");
        return ExitCode::FAILURE;
    }
    println!(
        "{:<44} {:>10} {:>10} {:>7} {:>7}",
        "2,048 miners, 30 positions", "crushtool", "ours", "ratio", "target"
    );
    let mut score = Score::default();
    let two_steps = [
        Step::SetChooseTries(500),
        Step::Take(-1),
        Step::ChooseIndep { count: 15, level: Level::Family },
        Step::ChooseIndep { count: 2, level: Level::Miner },
        Step::Emit,
    ];
    let chooseleaf = |level| {
        let tries = [Step::SetChooseTries(100), Step::SetChooseleafTries(5), Step::Take(-1)];
        [&tries[..], &[Step::ChooseleafIndep { count: 0, level }, Step::Emit]].concat()
    };
    let equal = |_: u32| 0x1_0000;
    let skewed = |uid: u32| 0x1_0000 * (1 + uid * 7 % 16);
    for (name, families, weight, rule) in [
        ("128 families, 15 x 2", 128, &equal as &dyn Fn(u32) -> u32, two_steps.to_vec()),
        ("128 families, 15 x 2, weights 1 to 16", 128, &skewed, two_steps.to_vec()),
        ("128 families, chooseleaf", 128, &skewed, chooseleaf(Level::Family)),
        ("one bucket", 1, &skewed, chooseleaf(Level::Miner)),
    ] {
        let tree = tree(families, weight, &rule);
        let compiled = judge::Compiled::new(&tree);
        compare(&tree, &compiled);
        let groups = if families == 1 { GROUPS / 16 } else { GROUPS };
        let reference = || crushtool(&compiled, groups);
        let ours = || {
            let mut out = [None; POSITIONS];
            for x in 0..groups {
                tree.place(black_box(x), &mut out);
                black_box(&out);
            }
        };
        score.line(name, groups, race(reference, ours), 10.0);
    }

    let tree = tree(128, &equal, &two_steps);
    let compiled = judge::Compiled::new(&tree);
    let (before, after) = (map(MINERS), map(MINERS - 1));
    let ours = || {
        black_box(Plan::between(&before, &after).unwrap());
    };
    let name = "two epochs and their difference against one";
    score.line(name, GROUPS, race(|| crushtool(&compiled, GROUPS), ours), 5.0);
    println!("bench placement: {} of {} targets met", score.met, score.all);
    ExitCode::SUCCESS
}

/// Families of equal size below a root, or all miners in it.
fn tree(families: u32, weight: &dyn Fn(u32) -> u32, rule: &[Step]) -> Hierarchy {
    let size = MINERS / families;
    let bucket = |id, level, family: u32| Bucket {
        id,
        level,
        items: (family * size..(family + 1) * size).map(|uid| (Child::Miner(uid), weight(uid))).collect(),
    };
    if families == 1 {
        return Hierarchy::new(&[bucket(-1, Level::Root, 0)], rule).unwrap();
    }
    let mut buckets: Vec<_> =
        (0..families).map(|family| bucket(-2 - family as i32, Level::Family, family)).collect();
    let sum = |bucket: &Bucket| bucket.items.iter().map(|(_, weight)| weight).sum();
    let items = buckets.iter().map(|bucket| (Child::Bucket(bucket.id), sum(bucket))).collect();
    buckets.push(Bucket { id: -1, level: Level::Root, items });
    Hierarchy::new(&buckets, rule).unwrap()
}

/// The map of an epoch with so many miners in 128 families.
fn map(miners: u32) -> Map {
    let params =
        CrushParams { pg_count: GROUPS, ec_k: 10, ec_m: 20, family_shards_max: 2, choose_tries: 500 };
    let leaf = |uid: u32| Leaf { uid, family: [(uid / 16) as u8; 32], weight: 0x1_0000 };
    Map::build(&params, (0..miners).map(leaf)).unwrap()
}

fn compare(tree: &Hierarchy, compiled: &judge::Compiled) {
    for (x, answer) in compiled.test(POSITIONS, 512).into_iter().enumerate() {
        let mut out = [None; POSITIONS];
        tree.place(x as u32, &mut out);
        assert!(out.iter().map(|uid| uid.unwrap_or(corpus::NONE)).eq(answer), "x = {x}");
    }
}

fn crushtool(compiled: &judge::Compiled, inputs: u32) {
    let status = Command::new("crushtool")
        .arg("-i")
        .arg(compiled.path())
        .args(["--test", "--rule", "0", "--min-x", "0", "--max-x", &(inputs - 1).to_string()])
        .args(["--num-rep", &POSITIONS.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// Seconds of CPU time of this process and of its children that have ended.
fn cpu_seconds() -> [f64; 2] {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // After the name in parentheses; utime, stime, cutime and cstime are fields 14 to 17 of all.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<f64>().unwrap() * TICK_SECONDS;
    [ticks(14) + ticks(15), ticks(16) + ticks(17)]
}

/// Seconds of the fastest run of each of two, taking turns.
fn race(reference: impl Fn(), ours: impl Fn()) -> [f64; 2] {
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        let begun = cpu_seconds();
        reference();
        best[0] = best[0].min(cpu_seconds()[1] - begun[1]);
        // As often as it takes for the ticks not to matter.
        let (begun, mut runs) = (cpu_seconds(), 0);
        while cpu_seconds()[0] - begun[0] < 1.0 {
            ours();
            runs += 1;
        }
        best[1] = best[1].min((cpu_seconds()[0] - begun[0]) / f64::from(runs));
    }
    best
}

/// Met and all targets.
#[derive(Default)]
struct Score {
    met: usize,
    all: usize,
}

impl Score {
    fn line(&mut self, name: &str, placements: u32, [reference, ours]: [f64; 2], target: f64) {
        let rate = |seconds: f64| f64::from(placements) / seconds;
        let ratio = reference / ours;
        self.all += 1;
        self.met += usize::from(ratio >= target);
        println!(
            "{name:<44} {:>10.0} {:>10.0} {ratio:>7.2} {target:>7.1} {}",
            rate(reference),
            rate(ours),
            if ratio >= target { "met" } else { "MISSED" }
        );
    }
}
