//! Clients that read and write while something else goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::ensure;
use bytes::Bytes;
use futures_util::future::try_join_all;
use rand::Rng;

use crate::{
    BUCKET,
    bounds::random,
    client::{Endpoint, Target},
};

const MIB: usize = 1 << 20;
const OBJECT_MIB: usize = 8;
const FILL_MIB: usize = 64;
const FILLED_AT_ONCE: usize = 4;
const READERS: usize = 2;

/// MiB a second.
pub struct Rates {
    pub read: f64,
    pub written: f64,
}

/// Who ends a measurement, and whether that went well.
pub trait End {
    fn well(self) -> anyhow::Result<()>;
}

impl End for () {
    fn well(self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl End for anyhow::Result<()> {
    fn well(self) -> anyhow::Result<()> {
        self
    }
}

/// The clients and what they wrote.
pub struct Foreground {
    target: Arc<Target>,
    written: Arc<AtomicUsize>,
}

impl Foreground {
    pub async fn new(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let target = Arc::new(Target::new(endpoint, BUCKET)?);
        target.make_bucket().await?;
        Ok(Self { target, written: Arc::default() })
    }

    /// Fills the network with so many MiB, and what clients read.
    pub async fn fill(&mut self, mib: usize) -> anyhow::Result<()> {
        let (objects, next) = (mib.div_ceil(FILL_MIB), Arc::new(AtomicUsize::new(0)));
        let body = random(FILL_MIB * MIB);
        let writers = (0..FILLED_AT_ONCE).map(|_| {
            let (target, next, body) = (self.target.clone(), next.clone(), body.clone());
            tokio::spawn(async move {
                let mut connection = target.connect().await?;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= objects {
                        return anyhow::Ok(());
                    }
                    target.put(&mut connection, &format!("fill/{number:06}"), own(&body, number)).await?;
                }
            })
        });
        for done in try_join_all(writers).await? {
            done?;
        }
        let (mut connection, body) = (self.target.connect().await?, random(OBJECT_MIB * MIB));
        for number in 0..READERS {
            self.target.put(&mut connection, &key(number), own(&body, number)).await?;
        }
        self.written.store(READERS, Ordering::Relaxed);
        Ok(())
    }

    /// Reads and writes until something ends; returns how fast that was. Any answer but success is an error.
    pub async fn during<E: End>(&mut self, other: impl Future<Output = E>) -> anyhow::Result<Rates> {
        let over = Arc::new(AtomicBool::new(false));
        let (read, wrote) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let begun = Instant::now();
        let client = |bytes: &Arc<AtomicU64>| Client {
            target: self.target.clone(),
            written: self.written.clone(),
            bytes: bytes.clone(),
            over: over.clone(),
        };
        let mut clients = vec![tokio::spawn(client(&wrote).write(random(OBJECT_MIB * MIB)))];
        clients.extend((0..READERS).map(|_| tokio::spawn(client(&read).read())));
        let ended = other.await;
        let seconds = begun.elapsed().as_secs_f64();
        let rate = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) as f64 / MIB as f64 / seconds;
        let rates = Rates { read: rate(&read), written: rate(&wrote) };
        over.store(true, Ordering::Relaxed);
        for done in try_join_all(clients).await? {
            done?;
        }
        ended.well()?;
        Ok(rates)
    }
}

/// One of them: what it needs to know, and what it counts.
struct Client {
    target: Arc<Target>,
    written: Arc<AtomicUsize>,
    bytes: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Client {
    async fn write(self, body: Bytes) -> anyhow::Result<()> {
        let mut connection = self.target.connect().await?;
        while !self.over.load(Ordering::Relaxed) {
            let number = self.written.load(Ordering::Relaxed);
            self.target.put(&mut connection, &key(number), own(&body, number)).await?;
            self.written.store(number + 1, Ordering::Relaxed);
            self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn read(self) -> anyhow::Result<()> {
        let mut connection = self.target.connect().await?;
        while !self.over.load(Ordering::Relaxed) {
            let key = key(rand::rng().random_range(0..self.written.load(Ordering::Relaxed)));
            let came = self.target.get(&mut connection, &key, None).await?;
            ensure!(came == (OBJECT_MIB * MIB) as u64, "GET {key}: {came} bytes");
            self.bytes.fetch_add(came, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Every object has bytes of its own: the first are its number.
fn own(body: &Bytes, number: usize) -> Bytes {
    let mut own = Vec::from(&body[..]);
    own[..8].copy_from_slice(&number.to_le_bytes());
    own.into()
}

fn key(number: usize) -> String {
    format!("client/{number:06}")
}
