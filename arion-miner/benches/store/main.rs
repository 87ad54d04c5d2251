//! The shard store beside the plain tools of the system, on the same disk in the same run:
//!
//!     ./scripts/bench store
//!
//! Works in a directory of its own in `ARION_BENCH_DIR` (default: the target directory, which is a disk where /tmp may
//! be memory) and removes it. Takes about 3 GiB. Each figure is the fastest of several rounds taken in turns.
//!
//! Parts can be named: `ingest`, `read`, `start`. Only then run `reference` (the public miner, whose program
//! ARION_REFERENCE_MINER names; with `start` only how both start) and `decisions` (what docs/adr/0006 rests on).

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod decisions;
mod reference;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use arion_miner::store::{Store, StoreOptions};
use arion_protocol::{ShardPlacement, limits::LIST_SHARDS_MAX};
use arion_types::{ShardHash, StripeId};
use bytes::Bytes;
use tokio::runtime::Runtime;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Of the log behind the last checkpoint: just less than makes one due.
const TAIL_BYTES: usize = 248 * MIB;
const ROUNDS: usize = 3;
/// Shards of 1 MiB that are stored in a round.
const LARGE: usize = 384;
/// Shards of 4 KiB that each of the writers stores in a round.
const SMALL: usize = 200;
const WRITERS: usize = 64;
/// Shards of 4 KiB that are read from.
const SMALL_READ: usize = 40_000;
const READS: usize = 4_000;
const MANY: u64 = 1_000_000;
const START: &str = "ARION_BENCH_START";

struct Bench {
    root: PathBuf,
    runtime: Runtime,
    met: usize,
    all: usize,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn options() -> StoreOptions {
    StoreOptions { background: false, ..StoreOptions::default() }
}

fn shard(seed: u64, length: usize) -> (ShardHash, Bytes) {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    (ShardHash(*blake3::hash(&bytes).as_bytes()), Bytes::from(bytes))
}

fn shards(from: usize, count: usize, length: usize) -> Vec<(ShardHash, Bytes)> {
    (from..from + count).map(|number| shard(number as u64, length)).collect()
}

fn placement(length: usize) -> ShardPlacement {
    ShardPlacement { stripe: StripeId([1; 32]), pg: 1, index: 1, epoch: 1, size: length as u32 }
}

/// Drops the page cache of all files below.
fn make_cold(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            make_cold(&path);
        } else {
            let file = File::open(&path).unwrap();
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

impl Bench {
    fn line(&mut self, what: &str, unit: &str, reference: (&str, f64), ours: f64, target: f64) {
        let ratio = ours / reference.1;
        self.all += 1;
        self.met += usize::from(ratio >= target);
        let verdict = if ratio >= target { "met" } else { "MISSED" };
        println!(
            "{what:<28} {unit:>8} {:<34} {:>9.1} {ours:>9.1} {ratio:>7.2} {target:>7.1} {verdict}",
            reference.0, reference.1
        );
    }

    fn limit(&mut self, what: &str, unit: &str, limit: f64, ours: f64) {
        self.all += 1;
        self.met += usize::from(ours <= limit);
        let verdict = if ours <= limit { "met" } else { "MISSED" };
        println!(
            "{what:<28} {unit:>8} {:<34} {limit:>9.1} {ours:>9.1} {:>7.2} {:>7} {verdict}",
            "limit",
            ours / limit,
            "<= 1.0"
        );
    }

    /// 1 MiB shards against dd, which writes around the page cache and syncs at the end.
    fn ingest_large(&mut self) {
        let (mut best_dd, mut best) = (Duration::MAX, Duration::MAX);
        for round in 0..ROUNDS {
            let target = self.root.join("dd");
            let begun = Instant::now();
            let dd = Command::new("dd")
                .args(["if=/dev/zero", "bs=1M", "oflag=direct", "conv=fdatasync", "status=none"])
                .arg(format!("count={LARGE}"))
                .arg(format!("of={}", target.display()))
                .status()
                .unwrap();
            assert!(dd.success());
            best_dd = best_dd.min(begun.elapsed());
            fs::remove_file(&target).unwrap();

            let shards = shards(round * LARGE, LARGE, MIB);
            best = best.min(self.store(&shards, 32, MIB));
        }
        let rate = |time: Duration| LARGE as f64 / time.as_secs_f64();
        let dd = "dd oflag=direct conv=fdatasync";
        self.line("ingest, 1 MiB, 32 writers", "MiB/s", (dd, rate(best_dd)), rate(best), 0.8);
    }

    /// Time until all are durable in a new store.
    fn store(&self, shards: &[(ShardHash, Bytes)], writers: usize, length: usize) -> Duration {
        let root = self.root.join("ingest");
        let store = Arc::new(Store::open(&root, options()).unwrap());
        let time = self.store_in(&store, shards, writers, length);
        drop(store);
        fs::remove_dir_all(&root).unwrap();
        time
    }

    /// Time until all are durable.
    fn store_in(
        &self,
        store: &Arc<Store>,
        shards: &[(ShardHash, Bytes)],
        writers: usize,
        length: usize,
    ) -> Duration {
        let parts: Vec<Vec<_>> = (0..writers)
            .map(|writer| shards.iter().skip(writer).step_by(writers).cloned().collect())
            .collect();
        let begun = Instant::now();
        self.runtime.block_on(async {
            let writers = parts.into_iter().map(|part| {
                let store = store.clone();
                tokio::spawn(async move {
                    for (shard, body) in part {
                        assert!(store.put(shard, placement(length), body).await.unwrap().new);
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
        });
        begun.elapsed()
    }

    /// 4 KiB shards of many writers against a file and an fsync for each, by as many threads and by one.
    fn ingest_small(&mut self) {
        let (mut best_one, mut best_many, mut best) = (f64::MAX, f64::MAX, f64::MAX);
        for round in 0..ROUNDS {
            best_one = best_one.min(self.files(1, 64));
            best_many = best_many.min(self.files(WRITERS, 16));
            let count = WRITERS * SMALL;
            let shards = shards(round * count, count, 4 * KIB);
            best = best.min(self.store(&shards, WRITERS, 4 * KIB).as_secs_f64() / count as f64);
        }
        let what = "ingest, 4 KiB, 64 writers";
        self.line(what, "shards/s", ("file and fsync each, 1 writer", 1.0 / best_one), 1.0 / best, 20.0);
        self.line(what, "shards/s", ("file and fsync each, 64 writers", 1.0 / best_many), 1.0 / best, 20.0);
    }

    /// Seconds per file.
    fn files(&self, threads: usize, each: usize) -> f64 {
        let root = self.root.join("files");
        fs::create_dir_all(&root).unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let root = &root;
                scope.spawn(move || {
                    for number in 0..each {
                        let path = root.join(format!("{thread}-{number}"));
                        let mut file =
                            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
                        file.write_all(&[7; 4 * KIB]).unwrap();
                        file.sync_all().unwrap();
                    }
                });
            }
        });
        let time = begun.elapsed().as_secs_f64() / (threads * each) as f64;
        fs::remove_dir_all(&root).unwrap();
        time
    }

    /// Random reads of whole shards against pread of the same bytes of a plain file.
    fn read(&mut self, length: usize, count: usize) {
        let (root, copy) = (self.root.join("read"), self.root.join("plain"));
        let shards: Vec<_> = (0..count).map(|number| shard(number as u64, length)).collect();
        let large = StoreOptions { queue_max: 512, batch_max: 512, ..options() };
        let store = Arc::new(Store::open(&root, large).unwrap());
        let mut file = File::create(&copy).unwrap();
        self.runtime.block_on(async {
            let mut puts = tokio::task::JoinSet::new();
            for (shard, body) in shards.clone() {
                let store = store.clone();
                puts.spawn(async move { store.put(shard, placement(length), body).await.unwrap() });
            }
            while let Some(put) = puts.join_next().await {
                put.unwrap();
            }
        });
        for (_, body) in &shards {
            file.write_all(body).unwrap();
        }
        file.sync_all().unwrap();
        let file = File::open(&copy).unwrap();
        let reads = READS.min(count);
        // Every shard at most once, in the order of their hashes.
        let mut order: Vec<(ShardHash, usize)> = shards.iter().map(|(shard, _)| *shard).zip(0..).collect();
        order.sort_unstable();
        drop(shards);
        for is_cold in [true, false] {
            let (mut best_plain, mut best) = (Duration::MAX, Duration::MAX);
            for round in 0..ROUNDS {
                // What is cold is read once, what is in memory again and again.
                let from = if is_cold { (round * reads) % (count - reads + 1) } else { 0 };
                let part = &order[from..][..reads];
                let mut buffer = vec![0; length];
                let mut plain = || {
                    for (_, number) in part {
                        file.read_exact_at(&mut buffer, (number * length) as u64).unwrap();
                        std::hint::black_box(&buffer);
                    }
                };
                let ours = || {
                    for (shard, _) in part {
                        std::hint::black_box(store.read_blocking(shard).unwrap());
                    }
                };
                let prepare = |read: &mut dyn FnMut()| if is_cold { make_cold(&self.root) } else { read() };
                prepare(&mut plain);
                let begun = Instant::now();
                plain();
                best_plain = best_plain.min(begun.elapsed());
                prepare(&mut { ours });
                let begun = Instant::now();
                ours();
                best = best.min(begun.elapsed());
            }
            let rate = |time: Duration| reads as f64 / time.as_secs_f64();
            let heat = if is_cold { "cold" } else { "in memory" };
            let what = format!("read, {} KiB, {heat}", length / KIB);
            self.line(&what, "reads/s", ("pread of a plain file", rate(best_plain)), rate(best), 0.9);
        }
        drop((store, file));
        fs::remove_dir_all(&root).unwrap();
        fs::remove_file(&copy).unwrap();
    }

    /// A store of many small shards, closed.
    fn many(&self, count: u64) -> PathBuf {
        let root = self.root.join("many");
        let options = StoreOptions { queue_max: 4_096, batch_max: 4_096, ..options() };
        let store = Arc::new(Store::open(&root, options).unwrap());
        self.runtime.block_on(async {
            let writers = (0..4_096u64).map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in (writer..count).step_by(4_096) {
                        let (shard, body) = shard(number, 64);
                        store.put(shard, placement(64), body).await.unwrap();
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
            store.close().await;
        });
        drop(store);
        root
    }

    /// A process of its own opens a store of a million shards that is not in memory.
    fn start(&mut self) {
        let root = self.many(MANY);
        let (seconds, mebibytes) = started(&root, MANY);
        self.limit("start, 1,000,000 shards, cold", "s", 1.0, seconds);
        self.limit("  memory, most while starting", "MiB", 200.0, mebibytes);
        self.list(&root);
        for length in [MIB, 4 * KIB] {
            self.start_after_kill(&root, length);
        }
        fs::remove_dir_all(&root).unwrap();
    }

    /// The same where the log is as long behind the checkpoint as it gets: its bodies are read and hashed.
    fn start_after_kill(&self, root: &Path, length: usize) {
        let count = TAIL_BYTES / length;
        let store = Arc::new(Store::open(root, options()).unwrap());
        self.store_in(&store, &shards(length * 1_000, count, length), 32, length);
        let all = store.usage().shards;
        // Dropped, not closed: no checkpoint.
        drop(store);
        let (seconds, mebibytes) = started(root, all);
        let what = format!("  killed behind {} MiB of {} KiB", TAIL_BYTES / MIB, length / KIB);
        println!("{what:<28} {seconds:.2} s, {mebibytes:.0} MiB (no target)");
        let store = Store::open(root, options()).unwrap();
        assert_eq!(store.report().scanned_records, count as u64);
        self.runtime.block_on(store.close());
    }

    /// The first page and the last cost the same: no line is passed over to get there.
    fn list(&mut self, root: &Path) {
        let store = Store::open(root, options()).unwrap();
        let (mut after, mut pages) = (None, Vec::new());
        loop {
            let begun = Instant::now();
            let page = store.list(after, LIST_SHARDS_MAX.into());
            pages.push(begun.elapsed());
            after = page.last().map(|line| line.shard);
            if page.len() < usize::from(LIST_SHARDS_MAX) {
                break;
            }
        }
        let micros =
            |pages: &[Duration]| pages.iter().sum::<Duration>().as_secs_f64() * 1e6 / pages.len() as f64;
        let (first, last) = (&pages[..pages.len() / 10], &pages[pages.len() - pages.len() / 10..]);
        self.limit("  a page of the last tenth", "us", 2.0 * micros(first), micros(last));
    }
}

/// What the child does: seconds until the store is open, most memory meanwhile in MiB, shards in it.
fn start(root: &str) {
    let begun = Instant::now();
    let store = Store::open(Path::new(root), options()).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let shards = store.usage().shards;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: f64 = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    println!("{seconds} {} {shards}", kibibytes / 1024.0);
}

fn main() {
    if let Ok(root) = std::env::var(START) {
        return start(&root);
    }
    let base = std::env::var_os("ARION_BENCH_DIR").map(PathBuf::from);
    let base = base.unwrap_or_else(|| std::env::current_exe().unwrap().parent().unwrap().to_owned());
    let root = base.join(format!("arion-bench-store-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut bench = Bench { root, runtime, met: 0, all: 0 };
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with('-')).collect();
    let wanted = |part: &str| parts.iter().any(|wanted| wanted == part);
    if wanted("decisions") {
        return bench.decisions();
    }
    if wanted("reference") {
        return bench.reference(wanted("start"));
    }
    let wanted = |part: &str| parts.is_empty() || wanted(part);
    println!(
        "{:<28} {:>8} {:<34} {:>9} {:>9} {:>7} {:>7}",
        "what", "unit", "reference", "reference", "ours", "ratio", "target"
    );
    if wanted("ingest") {
        bench.ingest_large();
        bench.ingest_small();
    }
    if wanted("read") {
        bench.read(4 * KIB, SMALL_READ);
        bench.read(MIB, LARGE);
    }
    if wanted("start") {
        bench.start();
    }
    println!("bench store: {} of {} targets met", bench.met, bench.all);
}

/// Fewest seconds and MiB in which a process of its own opens the store of so many shards in `root`, which is not in memory.
fn started(root: &Path, shards: u64) -> (f64, f64) {
    let (mut seconds, mut mebibytes) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        make_cold(root);
        let child = Command::new(std::env::current_exe().unwrap()).env(START, root).output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        let text = String::from_utf8(child.stdout).unwrap();
        let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().unwrap());
        seconds = seconds.min(numbers.next().unwrap());
        mebibytes = mebibytes.min(numbers.next().unwrap());
        assert_eq!(numbers.next(), Some(shards as f64));
    }
    (seconds, mebibytes)
}
