//! What is measured at an endpoint.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;
use futures_util::future::try_join_all;
use rand::{Rng, RngCore};

use crate::client::{Endpoint, Target};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const LARGE: usize = 64 * MIB;
const LISTED: usize = 2_000;
/// Every figure is taken for about so long.
const TIME: Duration = Duration::from_secs(6);
/// Objects of 1 MiB that are read from a cache.
const MEDIUM_CACHED: usize = 64;
const LARGE_AT_MOST: usize = 8;
const SMALL_AT_MOST: usize = 20_000;

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Row {
    PutLarge,
    PutMedium,
    PutSmall,
    GetLarge,
    GetMedium,
    GetSmall,
    List,
    Range,
}

impl Row {
    pub const PUTS: [Self; 3] = [Self::PutLarge, Self::PutMedium, Self::PutSmall];
    pub const GETS: [Self; 5] = [Self::GetLarge, Self::GetMedium, Self::GetSmall, Self::List, Self::Range];

    pub fn name(self) -> &'static str {
        match self {
            Self::PutLarge => "PUT 64 MiB, one at a time, MiB/s",
            Self::PutMedium => "PUT 1 MiB, 8 at once, MiB/s",
            Self::PutSmall => "PUT 4 KiB, 16 at once, objects/s",
            Self::GetLarge => "GET 64 MiB, one at a time, MiB/s",
            Self::GetMedium => "GET 1 MiB, 8 at once, MiB/s",
            Self::GetSmall => "GET 4 KiB, 16 at once, objects/s",
            Self::List => "list of 2,000 keys, lists/s",
            Self::Range => "range of 1 MiB out of 64 MiB, p50, ms",
        }
    }

    /// Whether more is worse.
    pub fn is_latency(self) -> bool {
        self == Self::Range
    }
}

/// An endpoint with a bucket of its own and what was written there.
pub struct Session {
    target: Arc<Target>,
    large: usize,
    medium: usize,
    small: usize,
}

impl Session {
    pub async fn new(endpoint: &Endpoint, bucket: &str, make: bool) -> anyhow::Result<Self> {
        let target = Arc::new(Target::new(endpoint, bucket)?);
        if make {
            target.make_bucket().await?;
        }
        Ok(Self { target, large: 0, medium: 0, small: 0 })
    }

    /// The same objects, elsewhere reached.
    pub fn moved_to(&self, endpoint: &Endpoint, bucket: &str) -> anyhow::Result<Self> {
        let target = Arc::new(Target::new(endpoint, bucket)?);
        Ok(Self { target, large: self.large, medium: self.medium, small: self.small })
    }

    /// Reads from now on only what fits into a small cache.
    pub fn keep_cached(&mut self) {
        self.large = self.large.min(1);
        self.medium = self.medium.min(MEDIUM_CACHED);
    }

    /// Measures a row; those that write come first.
    pub async fn measure(&mut self, row: Row) -> anyhow::Result<f64> {
        match row {
            Row::PutLarge => {
                let (count, rate) = self.put("large", LARGE, 1, 1..=LARGE_AT_MOST).await?;
                self.large = count;
                Ok(rate * 64.0)
            }
            Row::PutMedium => {
                let (count, rate) = self.put("medium", MIB, 8, 1..=SMALL_AT_MOST).await?;
                self.medium = count;
                Ok(rate)
            }
            Row::PutSmall => {
                let (count, rate) = self.put("small", 4 * KIB, 16, LISTED..=SMALL_AT_MOST).await?;
                self.small = count;
                Ok(rate)
            }
            Row::GetLarge => Ok(self.get("large", LARGE, 1, self.large).await? * 64.0),
            Row::GetMedium => self.get("medium", MIB, 8, self.medium).await,
            Row::GetSmall => self.get("small", 4 * KIB, 16, self.small).await,
            Row::List => self.list().await,
            Row::Range => self.range().await,
        }
    }

    /// Reads everything once, so that what caches is full.
    pub async fn warm(&self, row: Row) -> anyhow::Result<()> {
        let (name, count) = match row {
            Row::GetLarge | Row::Range => ("large", self.large),
            Row::GetMedium => ("medium", self.medium),
            _ => return Ok(()),
        };
        let mut connection = self.target.connect().await?;
        for number in 0..count {
            self.target.get(&mut connection, &key(name, number), None).await?;
        }
        Ok(())
    }

    /// Objects a second, and how many there are.
    async fn put(
        &self,
        name: &str,
        bytes: usize,
        at_once: usize,
        counts: RangeInclusive<usize>,
    ) -> anyhow::Result<(usize, f64)> {
        let (next, least, most) = (Arc::new(AtomicUsize::new(0)), *counts.start(), *counts.end());
        let mut connections = Vec::new();
        for _ in 0..at_once {
            connections.push(self.target.connect().await?);
        }
        let begun = Instant::now();
        let writers = connections.into_iter().map(|mut connection| {
            let (target, next, name) = (self.target.clone(), next.clone(), name.to_owned());
            let mut body = vec![0; bytes];
            rand::rng().fill_bytes(&mut body);
            let body = Bytes::from(body);
            tokio::spawn(async move {
                while begun.elapsed() < TIME || next.load(Ordering::Relaxed) < least {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= most {
                        break;
                    }
                    // Every object has bytes of its own: the first are its number.
                    let mut own = Vec::from(&body[..]);
                    own[..8].copy_from_slice(&number.to_le_bytes());
                    target.put(&mut connection, &key(&name, number), own.into()).await?;
                }
                anyhow::Ok(())
            })
        });
        for written in try_join_all(writers).await? {
            written?;
        }
        let count = next.load(Ordering::Relaxed).min(most);
        Ok((count, count as f64 / begun.elapsed().as_secs_f64()))
    }

    /// Objects a second, in the order they were written, again and again.
    async fn get(&self, name: &str, bytes: usize, at_once: usize, count: usize) -> anyhow::Result<f64> {
        ensure!(count > 0, "nothing was written to read");
        let (next, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let begun = Instant::now();
        let mut readers = Vec::new();
        for _ in 0..at_once {
            let mut connection = self.target.connect().await?;
            let (target, next, done, name) =
                (self.target.clone(), next.clone(), done.clone(), name.to_owned());
            readers.push(tokio::spawn(async move {
                while begun.elapsed() < TIME {
                    let number = next.fetch_add(1, Ordering::Relaxed) % count;
                    let key = key(&name, number);
                    let came = target.get(&mut connection, &key, None).await?;
                    ensure!(came == bytes as u64, "GET {key}: {came} bytes of {bytes}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        for read in try_join_all(readers).await? {
            read?;
        }
        Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
    }

    async fn list(&self) -> anyhow::Result<f64> {
        let mut connection = self.target.connect().await?;
        let (begun, mut lists) = (Instant::now(), 0);
        while begun.elapsed() < TIME {
            let (mut found, mut after) = (0, None::<String>);
            while found < LISTED {
                let page = self.target.list(&mut connection, "small/", after.as_deref()).await?;
                ensure!(!page.is_empty(), "a list of {LISTED} keys ended after {found}");
                found += page.len();
                after = page.last().cloned();
            }
            lists += 1;
        }
        Ok(f64::from(lists) / begun.elapsed().as_secs_f64())
    }

    async fn range(&self) -> anyhow::Result<f64> {
        ensure!(self.large > 0, "nothing was written to read");
        let mut connection = self.target.connect().await?;
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < TIME {
            let start = rand::rng().random_range(0..(LARGE - MIB) as u64);
            let one = Instant::now();
            let came = self.target.get(&mut connection, &key("large", 0), Some((start, MIB as u64))).await?;
            ensure!(came == MIB as u64, "a range of 1 MiB came as {came} bytes");
            times.push(one.elapsed());
        }
        times.sort();
        Ok(times[times.len() / 2].as_secs_f64() * 1e3)
    }
}

fn key(name: &str, number: usize) -> String {
    format!("{name}/{number:06}")
}
