//! How many challenges one miner answers in a second with a million shards, and what audits weigh on chain:
//!
//!     ./scripts/bench audit
//!
//! The miner is a process of its own: service, store and QUIC of `arion-miner`, on a chain view fed by hand instead of a node. It has
//! [`SMALL`] shards of 4 KiB, whose proofs are all of them, and [`LARGE`] of 1 MiB, each of which is read and hashed whole for a challenge.
//! Wardens' seeds are of shards drawn at random; every answer is verified. Works in a directory of its own in `ARION_BENCH_DIR` (default:
//! the target directory) and removes it. Takes about 6 GiB.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arion_chain::{ChainView, Registry, Snapshot};
use arion_miner::{
    chain_facts::LiveChain,
    metrics::Metrics,
    replay::ReplayGuard,
    service::{Budgets, MinerService, Parts},
    store::{Store, StoreOptions, Volumes},
};
use arion_net::{PeerAddr, QuicServer, QuicTransport, Transport};
use arion_protocol::{Request, Response, ShardPlacement};
use arion_types::{AttestationRecord, ShardHash, StripeId, signing};
use bytes::Bytes;
use codec::Encode;
use ed25519_dalek::SigningKey;

const GENESIS: [u8; 32] = [7; 32];
const SERVE: &str = "ARION_BENCH_SERVE";
const SMALL: u64 = 1_000_000;
const SMALL_BYTES: usize = 4 << 10;
const LARGE: u64 = 1_024;
const LARGE_BYTES: usize = 1 << 20;
/// Shards that are stored at once.
const WRITERS: u64 = 256;
/// Challenges under way.
const ASKED: u64 = 16;
const MEASURED: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(30);
/// Challenges of a miner in 24 h after which a loss of 1 % is found with a chance of 99 %.
const CHALLENGES_PER_DAY: u64 = 459;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// A shard by its number, which says how long it is.
fn shard(number: u64) -> (ShardHash, Bytes) {
    let mut bytes = vec![0; if number < SMALL { SMALL_BYTES } else { LARGE_BYTES }];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    (ShardHash(*blake3::hash(&bytes).as_bytes()), Bytes::from(bytes))
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::var_os(SERVE) {
        Some(root) => runtime.block_on(serve(Path::new(&root))),
        None => runtime.block_on(measure()),
    }
}

/// The miner: says where it listens, and goes on until its standard input ends.
async fn serve(root: &Path) {
    let store = Arc::new(Volumes::from(Store::open(&root.join("store"), StoreOptions::default()).unwrap()));
    let chain = Arc::new(LiveChain::default());
    let registry = Registry { wardens: [signing::node_id(&key(2))].into(), ..Registry::default() };
    let (view, _source) =
        ChainView::manual(GENESIS, Snapshot { registry: Arc::new(registry), ..Snapshot::default() });
    chain.set(view);
    let service = MinerService::new(Parts {
        key: key(1),
        store,
        chain,
        replays: ReplayGuard::open(&root.join("nonces"), arion_daemon::now_ms()).unwrap(),
        clock: Arc::new(arion_daemon::now_ms),
        budgets: Budgets { transfers_max: 64, audits_max: 16 },
        metrics: Metrics::new(&mut Default::default()),
    });
    let server = QuicServer::bind(([127, 0, 0, 1], 0).into(), &key(1), Arc::new(service)).unwrap();
    println!("{}", server.local_addr());
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await.unwrap();
}

struct Miner {
    process: Child,
    root: PathBuf,
}

impl Drop for Miner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

async fn measure() {
    let place = std::env::var_os("ARION_BENCH_DIR").map(PathBuf::from);
    let place = place.unwrap_or_else(|| std::env::current_exe().unwrap().parent().unwrap().to_owned());
    let root = place.join(format!("arion-bench-audit-{}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    fill(&root).await;
    let mut process = Command::new(std::env::current_exe().unwrap())
        .env(SERVE, &root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut endpoint = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
    let _miner = Miner { process, root };
    let peer = PeerAddr { node_id: signing::node_id(&key(1)), endpoint: endpoint.trim().to_owned() };
    println!("{:<44} {:>10} {:>9}", "challenges of one miner", "per second", "MiB/s read");
    for (what, numbers, bytes) in [
        ("shards of 4 KiB, 1,000,000 of them", 0..SMALL, SMALL_BYTES),
        ("shards of 1 MiB, 1,024 beside these", SMALL..SMALL + LARGE, LARGE_BYTES),
    ] {
        let rate = challenges(&peer, numbers).await;
        println!("{what:<44} {rate:>10.0} {:>9.0}", rate * bytes as f64 / f64::from(1 << 20));
    }
    on_chain();
}

async fn fill(root: &Path) {
    let options = StoreOptions { background: false, ..StoreOptions::default() };
    let store = Arc::new(Store::open(&root.join("store"), options).unwrap());
    let (begun, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let writers = (0..WRITERS).map(|_| {
        let (store, next) = (store.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= SMALL + LARGE {
                    return;
                }
                let (address, body) = shard(number);
                let size = body.len() as u32;
                let placement = ShardPlacement { stripe: StripeId([1; 32]), pg: 1, index: 1, epoch: 1, size };
                store.put(address, placement, body).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    store.close().await;
    println!("{} shards stored in {:.0} s", SMALL + LARGE, begun.elapsed().as_secs_f64());
}

/// Challenges answered in a second, all of them rightly.
async fn challenges(peer: &PeerAddr, numbers: std::ops::Range<u64>) -> f64 {
    let transport = Arc::new(QuicTransport::new(&key(2)).unwrap());
    // Made beforehand: the miner is what is measured.
    let shards: Arc<Vec<ShardHash>> = Arc::new(numbers.map(|number| shard(number).0).collect());
    let answered = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let asking = (0..ASKED).map(|asker| {
        let (transport, answered, peer, shards) =
            (transport.clone(), answered.clone(), peer.clone(), shards.clone());
        tokio::spawn(async move {
            let mut drawn = asker;
            while begun.elapsed() < MEASURED {
                let seed = *blake3::hash(&drawn.to_le_bytes()).as_bytes();
                drawn += ASKED;
                let number = u64::from_le_bytes(seed[..8].try_into().unwrap());
                let shard = shards[(number % shards.len() as u64) as usize];
                let request = Request::Challenge { shard, seed };
                let answer = transport.call(&peer, request, Bytes::new(), DEADLINE).await.unwrap();
                let (Response::Proof { size }, proof) = answer else { panic!("{:?}", answer.0) };
                let groups = arion_proofs::derive(&seed, size);
                arion_proofs::verify(&shard, size, &groups, &proof).unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for asking in asking.collect::<Vec<_>>() {
        asking.await.unwrap();
    }
    answered.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Bytes of the records that a day of audits of a miner leaves on chain.
fn on_chain() {
    let record = |label: &[u8]| AttestationRecord {
        shard_hash: [1; 32],
        miner_uid: 1,
        result: arion_types::AttestationResult::Passed,
        challenge_seed: [2; 32],
        block_number: 1 << 24,
        timestamp: 1 << 40,
        warden_pubkey: [3; 32],
        signature: [0; 64],
        merkle_proof_sig_hash: [4; 32],
        warden_id: label.to_vec().try_into().unwrap(),
    };
    let bytes = record(b"").encoded_size() as u64;
    println!("an attestation takes {bytes} bytes on chain, and those of its warden's label");
    for tebibytes in [1, 4, 16] {
        println!(
            "{CHALLENGES_PER_DAY} a day of a miner with {tebibytes} TiB: {:.1} KiB per TiB and day",
            (CHALLENGES_PER_DAY * bytes) as f64 / 1_024.0 / f64::from(tebibytes)
        );
    }
}
