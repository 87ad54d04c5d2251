//! `kill -9` in the middle of work: a child process stores and deletes shards and says what was acknowledged; it is
//! killed at a random moment, and what it said must be found.
//!
//! `ARION_KILLS` sets how often (default: a sample).

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arion_miner::store::{ReadError, Store, StoreOptions};
use arion_protocol::ShardPlacement;
use arion_types::{ShardHash, StripeId};
use bytes::Bytes;
use tempfile::TempDir;

const SAMPLE: u64 = 5;
/// Kills of one store before the next is begun.
const KILLS_PER_STORE: u64 = 20;
const WRITERS: u64 = 16;
const DIRECTORY: &str = "ARION_KILL_DIRECTORY";
const FIRST: &str = "ARION_KILL_FIRST";

/// Shards are named by a number.
fn body(number: u64) -> Bytes {
    let mut bytes = vec![0; 50 + (number * 7_919 % 20_000) as usize];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    Bytes::from(bytes)
}

fn address(body: &[u8]) -> ShardHash {
    ShardHash(*blake3::hash(body).as_bytes())
}

/// Segments, checkpoints and background work small and frequent enough to be hit. The store's clock runs a thousand times
/// too fast, so that trash of one life is purged and compacted in the next.
fn options() -> StoreOptions {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    StoreOptions {
        segment_bytes: 2 << 20,
        checkpoint_bytes: 1 << 20,
        checkpoint_interval: Duration::from_millis(20),
        trash_retention: Duration::from_millis(30),
        scrub_period: Duration::from_secs(500),
        background_bytes_per_second: 1 << 30,
        clock: Arc::new(move || u64::try_from(clock()).unwrap()),
        ..StoreOptions::default()
    }
}

fn say(what: &str, number: u64) {
    // One write: whole lines or none.
    let _ = std::io::stdout().lock().write_all(format!("\n={what} {number}\n").as_bytes());
}

/// The child: works until it is killed.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let next = Arc::new(AtomicU64::new(std::env::var(FIRST).unwrap().parse().unwrap()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let store = Arc::new(Store::open(Path::new(&directory), options()).unwrap());
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..WRITERS {
            let (store, next) = (store.clone(), next.clone());
            writers.spawn(async move {
                // Until it is killed.
                for _ in 0..u64::MAX {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let body = body(number);
                    let size = body.len() as u32;
                    let placement =
                        ShardPlacement { stripe: StripeId([1; 32]), pg: 1, index: 2, epoch: 3, size };
                    let shard = address(&body);
                    store.put(shard, placement, body).await.unwrap();
                    say("put", number);
                    if number % 3 == 0 {
                        say("deleting", number);
                        store.delete(shard).await.unwrap();
                        say("deleted", number);
                    }
                }
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
    });
}

/// What was heard of the child.
#[derive(Default)]
struct Heard {
    stored: BTreeSet<u64>,
    /// Whether the deletion was acknowledged.
    deleted: BTreeMap<u64, bool>,
    lines: u64,
}

impl Heard {
    fn line(&mut self, line: &str) {
        let Some((what, number)) = line.strip_prefix('=').and_then(|line| line.split_once(' ')) else {
            return;
        };
        let number = number.parse().unwrap();
        self.lines += 1;
        match what {
            "put" => drop(self.stored.insert(number)),
            "deleting" => drop(self.deleted.entry(number).or_insert(false)),
            "deleted" => drop(self.deleted.insert(number, true)),
            other => panic!("{other}"),
        }
    }
}

/// Runs a child and kills it after so many lines.
fn kill_after(root: &Path, lines: u64, heard: &mut Heard) {
    let first = heard.stored.last().map_or(0, |number| number + 2 * WRITERS);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(DIRECTORY, root)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (before, mut killed) = (heard.lines, false);
    // What it said before it died counts, whenever it is read.
    for line in output.lines() {
        heard.line(&line.unwrap());
        if !killed && heard.lines >= before + lines {
            child.kill().unwrap();
            killed = true;
        }
    }
    let status = child.wait().unwrap();
    assert!(killed, "the child ended by itself: {status}");
}

fn check(root: &Path, heard: &Heard) {
    let store = Store::open(root, StoreOptions { background: false, ..options() }).unwrap();
    assert_eq!(store.usage().quarantined, 0);
    for number in &heard.stored {
        let body = body(*number);
        match (store.read_blocking(&address(&body)), heard.deleted.get(number)) {
            (Ok((_, read)), None | Some(false)) => assert_eq!(read, body),
            (Err(ReadError::NotFound), Some(_)) => {}
            (read, deleted) => panic!("shard {number}, deleted: {deleted:?}: {:?}", read.map(|_| ())),
        }
    }
    for line in store.list(None, usize::MAX) {
        store.read_blocking(&line.shard).unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_minus_nine() {
    let kills = std::env::var("ARION_KILLS").map_or(SAMPLE, |text| text.parse().unwrap());
    let (mut acknowledged, mut done) = (0, 0);
    while done < kills {
        let root = TempDir::new().unwrap();
        let mut heard = Heard::default();
        for _ in 0..KILLS_PER_STORE.min(kills - done) {
            // Also while it starts.
            let lines = 1 + blake3::hash(&u64::to_le_bytes(done)).as_bytes()[0] as u64 * 2;
            kill_after(root.path(), lines, &mut heard);
            check(root.path(), &heard);
            done += 1;
        }
        acknowledged += heard.lines;
    }
    println!("{done} kills survived, {acknowledged} acknowledgements kept");
}
