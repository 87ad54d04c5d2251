//! What a gateway holds while a miner is slow, counted by the allocator.
//!
//! A program of its own with one test: the allocator counts for the whole process, so a test beside it would count too.

#![allow(missing_docs, clippy::unwrap_used)]
#![allow(unsafe_code, reason = "a global allocator that counts")]

#[path = "gateway/network.rs"]
mod network;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use arion_erasure::FREE_BYTES_MAX;
use arion_gateway::grid::GridOptions;
use network::{Mood, Network, eventually, sample, write};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every request goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), SeqCst);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), SeqCst);
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), SeqCst);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Metadata, connections, tasks.
const REST: usize = 8 << 20;
const PATIENT: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_waits_for_its_miner_holds_no_more_than_itself() {
    behind_the_quorum().await;
    before_the_quorum().await;
}

/// One of thirty miners stores nothing, but says that it lives: each stripe leaves one shard with it, which takes one of
/// `shards_in_memory`, and must not keep the others of its stripe.
async fn behind_the_quorum() {
    const STRIPE: usize = 1 << 20;
    const STRIPES: usize = 80;
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    network.miners.iter().for_each(|miner| miner.set(Mood::Forgetful));
    network.miners[4].set(Mood::Stalled);
    let options = GridOptions { stripe_bytes: STRIPE, store_timeout: PATIENT, ..Network::options() };
    let free = options.shards_in_memory - STRIPES;
    assert!(free >= 30, "every stripe must find its slots");
    let grid = network.grid_with(directory.path(), options);
    let plain = sample(STRIPE);
    // The first takes along what is set up once.
    let mut manifests = vec![write(&grid, &plain[..1_000_000]).await.unwrap()];
    let before = HELD.load(SeqCst);
    while manifests.len() < STRIPES {
        manifests.push(write(&grid, &plain[..1_000_000]).await.unwrap());
    }
    let held = HELD.load(SeqCst).saturating_sub(before);
    let stalled = network.miners[4].stores.load(SeqCst);
    assert!(stalled >= STRIPES - 1, "{stalled} shards wait");
    let counted = STRIPES * manifests[0].stripes[0].shard_len as usize;
    assert!(held <= counted + FREE_BYTES_MAX + REST, "{held} bytes are held, {counted} of them counted");
}

/// Eleven of thirty miners store nothing, so that no stripe has its quorum: what the others have stored gave its slots back, and was
/// held all the same.
async fn before_the_quorum() {
    const STRIPE: usize = 8 << 20;
    const STRIPES: usize = 9;
    const STALLED: usize = 11;
    let directory = tempfile::tempdir().unwrap();
    let network = Network::new();
    network.miners.iter().for_each(|miner| miner.set(Mood::Forgetful));
    network.miners[..STALLED].iter().for_each(|miner| miner.set(Mood::Stalled));
    let (stripe_timeout, store_timeout) = (PATIENT, PATIENT);
    let options = GridOptions { stripe_bytes: STRIPE, stripe_timeout, store_timeout, ..Network::options() };
    let free = options.shards_in_memory - STALLED * (STRIPES - 1);
    assert!(free >= 30, "every stripe must find its slots");
    let grid = network.grid_with(directory.path(), options);
    let plain = Arc::new(sample(STRIPE - (1 << 20)));
    let before = HELD.load(SeqCst);
    let uploads: Vec<_> = (0..STRIPES)
        .map(|_| {
            let (grid, plain) = (grid.clone(), plain.clone());
            tokio::spawn(async move { write(&grid, &plain).await.map(drop) })
        })
        .collect();
    eventually("all stripes are on their way", async || {
        network.miners.iter().all(|miner| miner.stores.load(SeqCst) >= STRIPES)
    })
    .await;
    let counted = STRIPES * STALLED * STRIPE.div_ceil(10);
    let held = || HELD.load(SeqCst).saturating_sub(before);
    eventually("what is stored is held no more", async || held() <= counted + FREE_BYTES_MAX + REST).await;
    assert!(uploads.iter().all(|upload| !upload.is_finished()));
    uploads.iter().for_each(tokio::task::JoinHandle::abort);
}
