//! How many small objects a gateway takes in a second, and what they cost: on miners in memory or on real ones (stores on
//! disk, QUIC on loopback), through the data path and the metadata, without HTTP.
//!
//!     cargo run --release -p arion-gateway --example small_objects -- --miners real --at-once 16 --bytes 1024 --pack on
//!     cargo run --release -p arion-gateway --example small_objects -- --metadata postgres --bytes 4096

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/gateway/network.rs"]
mod network;
#[path = "../tests/gateway/real.rs"]
mod real;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arion_gateway::{
    grid::{Grid, GridOptions, write::Upload},
    listing::Query,
    manifest::Manifest,
    meta::{Allowance, BucketInfo, Condition, Meta, NewObject, Role},
    object::ObjectInfo,
};
use arion_stranger::Postgres;
use clap::{Parser, ValueEnum};

/// Keys of a list, and how long lists are made.
const LISTED: usize = 2_000;
const LISTING: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Miners {
    Memory,
    Real,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Pack {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Metadata {
    File,
    Postgres,
}

#[derive(Parser)]
struct Arguments {
    /// Where the shards go.
    #[arg(long, value_enum, default_value = "memory")]
    miners: Miners,
    /// Whether small objects share stripes.
    #[arg(long, value_enum, default_value = "on")]
    pack: Pack,
    /// Where the metadata are; a PostgreSQL of its own, which flushes to the disk as the file does.
    #[arg(long, value_enum, default_value = "file")]
    metadata: Metadata,
    /// Writers at once.
    #[arg(long, default_value_t = 16)]
    at_once: usize,
    /// Bytes of an object.
    #[arg(long, default_value_t = 1_024)]
    bytes: usize,
    /// Seconds to write.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

async fn put(grid: &Arc<Grid>, key: String, plain: &[u8]) {
    let mut upload = Upload::new(grid.clone());
    upload.push(plain).await.unwrap();
    let (sealed, data_key) = upload.finish().await.unwrap();
    let manifest = Manifest::whole(sealed.with_key(network::wrapped(&data_key)));
    let info = ObjectInfo { manifest: rand::random(), size: plain.len() as u64, ..Default::default() };
    let object = NewObject {
        bucket: "b".into(),
        key,
        info,
        manifest,
        condition: Condition::default(),
        allowance: Allowance::NONE,
        origin: Default::default(),
    };
    grid.meta.put_object(object, arion_daemon::now_ms()).await.unwrap();
    upload.keep();
}

/// Lists in pages, as clients do.
async fn list(grid: &Grid) {
    let (mut after, mut count) = (String::new(), 0);
    while count < LISTED {
        let query = Query { after, max: 1_000, ..Query::default() };
        let page = grid.meta.list_objects("b".into(), query).await.unwrap();
        count += page.keys.len();
        let Some(next) = page.next else { break };
        after = next;
    }
    assert!(count >= LISTED, "only {count} objects were written");
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let directory = tempfile::tempdir().unwrap();
    let mut options = GridOptions::default();
    if arguments.pack == Pack::Off {
        options.pack_object_bytes = 0;
    }
    let (real, memory);
    let mut server = None;
    let grid = match arguments.miners {
        Miners::Memory => {
            memory = network::Network::new();
            match arguments.metadata {
                Metadata::File => memory.grid_with(directory.path(), options),
                Metadata::Postgres => {
                    let database = Postgres::start_with(&["fsync=on", "full_page_writes=on"]).schema();
                    let meta = Meta::connect(database.address.parse().unwrap(), Role::Replica).unwrap();
                    server = Some(database);
                    memory.replica_with(meta, options)
                }
            }
        }
        Miners::Real => {
            assert!(arguments.metadata == Metadata::File, "real miners are measured with a file");
            real = real::RealNetwork::start(false).await;
            real.grid(directory.path(), options)
        }
    };
    let info = BucketInfo::new("a".into(), 1);
    grid.meta.create_bucket("b".into(), info).await.unwrap();
    let plain = Arc::new(network::sample(arguments.bytes));
    // Connections are made before the clock runs.
    put(&grid, "first".into(), &plain).await;
    let (count, slowest_us) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let total_us = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let until = began + Duration::from_secs(arguments.seconds);
    let stripes = grid.metrics.stripes_stored.get();
    let writers: Vec<_> = (0..arguments.at_once)
        .map(|writer| {
            let (grid, plain) = (grid.clone(), plain.clone());
            let (count, slowest_us, total_us) = (count.clone(), slowest_us.clone(), total_us.clone());
            tokio::spawn(async move {
                for number in 0u64.. {
                    let one = Instant::now();
                    if one >= until {
                        break;
                    }
                    put(&grid, format!("{writer}/{number}"), &plain).await;
                    let took = one.elapsed().as_micros() as u64;
                    count.fetch_add(1, Ordering::Relaxed);
                    total_us.fetch_add(took, Ordering::Relaxed);
                    slowest_us.fetch_max(took, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let (objects, seconds) = (count.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    let stripes = grid.metrics.stripes_stored.get() - stripes;
    println!(
        "{:?} miners, packing {:?}, {} at once, {} bytes: {:.0} objects/s, {stripes} stripes for {objects} objects, {:.1} ms \
         each on average, {:.1} ms the slowest",
        arguments.miners,
        arguments.pack,
        arguments.at_once,
        arguments.bytes,
        objects as f64 / seconds,
        total_us.load(Ordering::Relaxed) as f64 / objects.max(1) as f64 / 1_000.0,
        slowest_us.load(Ordering::Relaxed) as f64 / 1_000.0,
    );
    let (began, mut lists) = (Instant::now(), 0u32);
    while began.elapsed() < LISTING {
        list(&grid).await;
        lists += 1;
    }
    println!(
        "{:?}: {:.1} lists of {LISTED} keys a second",
        arguments.metadata,
        f64::from(lists) / began.elapsed().as_secs_f64()
    );
    drop((grid, server));
}
