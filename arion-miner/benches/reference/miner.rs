//! The shard store of the public miner of thenervelab/arion 0.1.28, driven as `benches/store.rs` drives ours. Not a part
//! of the workspace: `./scripts/bench store` fetches their source, which is theirs and stays where it was fetched,
//! and builds this program with it. Its one module is their file `miner/src/flat_store.rs`.
//!
//!     reference-miner store DIR LENGTH COUNT WRITERS FSYNC   seconds until all are stored
//!     reference-miner read  DIR LENGTH COUNT READS           seconds for so many reads in order of address
//!     reference-miner start DIR                              seconds until open, until sizes are known, until listed

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

#[path = "../flat_store.rs"]
mod flat_store;

use std::{fs::File, path::Path, sync::Arc, time::Instant};

use flat_store::FlatBlobStore;

fn shard(seed: u64, length: usize) -> (String, Vec<u8>) {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    (blake3::hash(&bytes).to_hex().to_string(), bytes)
}

/// What a durable store would add: the file and the directory that names it.
fn sync(dir: &Path, hash: &str) {
    let leaf = dir.join(&hash[..2]).join(&hash[2..4]);
    File::open(leaf.join(format!("{hash}.bin"))).unwrap().sync_all().unwrap();
    File::open(leaf).unwrap().sync_all().unwrap();
}

async fn store(dir: &Path, length: usize, count: usize, writers: usize, durable: bool) -> f64 {
    let store = Arc::new(FlatBlobStore::new(dir).unwrap());
    let shards: Arc<Vec<_>> = Arc::new((0..count as u64).map(|number| shard(number, length)).collect());
    let begun = Instant::now();
    let tasks = (0..writers).map(|writer| {
        let (store, shards, dir) = (store.clone(), shards.clone(), dir.to_owned());
        tokio::spawn(async move {
            for (hash, bytes) in shards.iter().skip(writer).step_by(writers) {
                // As their handler does before it stores.
                assert_eq!(*blake3::hash(bytes).to_hex(), **hash);
                store.store(hash, bytes).await.unwrap();
                if durable {
                    let (dir, hash) = (dir.clone(), hash.clone());
                    tokio::task::spawn_blocking(move || sync(&dir, &hash)).await.unwrap();
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    begun.elapsed().as_secs_f64()
}

async fn read(dir: &Path, length: usize, count: usize, reads: usize) -> f64 {
    let store = FlatBlobStore::new(dir).unwrap();
    let mut hashes: Vec<_> = (0..count as u64).map(|number| shard(number, length).0).collect();
    hashes.sort_unstable();
    let begun = Instant::now();
    for hash in &hashes[..reads] {
        assert_eq!(std::hint::black_box(store.read(hash).await.unwrap()).len(), length);
    }
    begun.elapsed().as_secs_f64()
}

fn start(dir: &Path) -> [f64; 3] {
    let begun = Instant::now();
    let store = FlatBlobStore::new(dir).unwrap();
    let open = begun.elapsed().as_secs_f64();
    store.recompute_usage();
    let sized = begun.elapsed().as_secs_f64();
    let listed = store.list_hashes().len();
    assert!(listed > 0 && store.used_bytes() > 0);
    [open, sized, begun.elapsed().as_secs_f64()]
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<usize>().unwrap();
    let dir = Path::new(&arguments[1]);
    match arguments[0].as_str() {
        "store" => println!("{}", store(dir, number(2), number(3), number(4), number(5) == 1).await),
        "read" => println!("{}", read(dir, number(2), number(3), number(4)).await),
        "start" => {
            let [open, sized, listed] = start(dir);
            println!("{open} {sized} {listed}");
        }
        other => panic!("what is {other}?"),
    }
}
