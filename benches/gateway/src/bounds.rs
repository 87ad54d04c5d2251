//! How much memory the gateway takes under load: the most it ever had, as the kernel counted.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::ensure;
use bytes::Bytes;
use futures_util::future::try_join_all;
use rand::RngCore;

use crate::{BUCKET, arion::Network, client::Target, memory};

const MIB: usize = 1 << 20;
const PART: usize = 64 * MIB;
const PARTS_AT_ONCE: usize = 4;
/// Most that an upload may take, MB.
const LARGE_MB: f64 = 400.0;
const CROWD_OBJECT: usize = 8 * MIB;
const CROWD_MB: f64 = 1_000.0;
/// What is stored for a byte, and some room.
const EXPANSION: f64 = 3.25;

pub fn random(bytes: usize) -> Bytes {
    let mut body = vec![0; bytes];
    rand::rng().fill_bytes(&mut body);
    body.into()
}

fn tell(name: &str, peak_mib: f64, bound_mb: f64) {
    let peak = peak_mib * 1.048_576;
    let verdict = if peak <= bound_mb { "met" } else { "MISSED" };
    println!("most memory of the gateway: {peak:.0} MB; target {bound_mb:.0} MB, {verdict}");
    println!("bench gateway {name}: {} of 1 targets met", usize::from(peak <= bound_mb));
}

/// One upload in parts.
pub async fn large(network: &Network, directory: &Path, gib: u64) -> anyhow::Result<()> {
    let free = free_gib(directory)?;
    let needed = gib as f64 * EXPANSION;
    ensure!(
        free >= needed,
        "storing {gib} GiB takes {needed:.0} GiB on this disk, {free:.0} are free: choose fewer"
    );
    let target = Arc::new(Target::new(&network.endpoint, BUCKET)?);
    target.make_bucket().await?;
    let upload = Arc::new(target.begin(&mut target.connect().await?, "large").await?);
    let (parts, next) = (gib as usize * 1024 / 64, Arc::new(AtomicUsize::new(0)));
    let (begun, body) = (Instant::now(), random(PART));
    let senders = (0..PARTS_AT_ONCE).map(|_| {
        let (target, upload, next, body) = (target.clone(), upload.clone(), next.clone(), body.clone());
        tokio::spawn(async move {
            let (mut connection, mut sent) = (target.connect().await?, Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) + 1;
                if number > parts {
                    return anyhow::Ok(sent);
                }
                let etag = target
                    .part(&mut connection, ("large", &upload), u16::try_from(number)?, body.clone())
                    .await?;
                sent.push((number, etag));
            }
        })
    });
    let mut sent = Vec::new();
    for some in try_join_all(senders).await? {
        sent.extend(some?);
    }
    sent.sort();
    // Not over the first connection: nothing was said over it for minutes.
    let etags = sent.iter().map(|(_, etag)| etag.as_str());
    target.complete(&mut target.connect().await?, ("large", &upload), etags).await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{gib} GiB in {seconds:.0} s, {:.1} MiB/s", gib as f64 * 1024.0 / seconds);
    tell("large", memory::peak_mib(network.gateway()?)?, LARGE_MB);
    Ok(())
}

/// Many clients at once: each writes an object and reads it.
pub async fn crowd(network: &Network, clients: usize) -> anyhow::Result<()> {
    let target = Arc::new(Target::new(&network.endpoint, BUCKET)?);
    target.make_bucket().await?;
    let (begun, body) = (Instant::now(), random(CROWD_OBJECT));
    let tasks = (0..clients).map(|number| {
        let (target, body) = (target.clone(), body.clone());
        tokio::spawn(async move {
            let mut connection = target.connect().await?;
            let key = format!("crowd/{number}");
            target.put(&mut connection, &key, body).await?;
            let written = begun.elapsed();
            let came = target.get(&mut connection, &key, None).await?;
            ensure!(came == CROWD_OBJECT as u64, "GET {key}: {came} bytes");
            Ok(written)
        })
    });
    let (mut failed, mut slowest) = (0, 0.0_f64);
    for done in try_join_all(tasks).await? {
        match done {
            Ok(written) => slowest = slowest.max(written.as_secs_f64()),
            Err(error) => {
                eprintln!("{error:#}");
                failed += 1;
            }
        }
    }
    println!(
        "{clients} clients, 8 MiB each, written and read in {:.0} s (the last was written after {slowest:.0} s); {failed} failed",
        begun.elapsed().as_secs_f64()
    );
    ensure!(failed == 0, "{failed} of {clients} clients failed");
    tell("crowd", memory::peak_mib(network.gateway()?)?, CROWD_MB);
    Ok(())
}

pub fn free_gib(directory: &Path) -> anyhow::Result<f64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok((stat.f_bavail * stat.f_frsize) as f64 / f64::from(1 << 30))
}
