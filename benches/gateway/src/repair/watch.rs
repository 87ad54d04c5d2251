//! What the validator service says of the stripes and of its work.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{PATIENCE, POLL};
use crate::arion::Network;

/// Between two questions for the census, and two lines of progress.
const CENSUS_POLL: Duration = Duration::from_secs(2);
const TELL: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(20);
/// Looks one after the other that find nothing to do.
const IDLE_LOOKS: u32 = 6;

/// What `arion durability --json` says.
#[derive(Deserialize)]
struct Census {
    taken_at_ms: u64,
    epoch: u64,
    stripes: u64,
    missing: Vec<Missing>,
    lost_stripes: u64,
    contradicted_stripes: u64,
}

#[derive(Deserialize)]
struct Missing {
    shards: u8,
    stripes: u64,
}

impl Census {
    fn damaged(&self) -> u64 {
        let missing = self.missing.iter().filter(|missing| missing.shards > 0);
        missing.map(|missing| missing.stripes).sum::<u64>() + self.lost_stripes + self.contradicted_stripes
    }
}

/// A line of `arion miner list --json`.
#[derive(Deserialize)]
struct Miner {
    endpoint: Option<String>,
    ledger_bytes: Option<u64>,
}

/// A network that is watched.
pub struct Watch<'a> {
    pub network: &'a Network,
    http: String,
}

impl<'a> Watch<'a> {
    pub fn new(network: &'a Network) -> anyhow::Result<Self> {
        Ok(Self { network, http: network.process("validator-1")?.http.clone() })
    }

    /// Epoch of the current map.
    pub async fn epoch(&self) -> anyhow::Result<f64> {
        self.metric("epoch").await
    }

    /// Bytes that repair has `read` or `written`.
    pub async fn repaired(&self, which: &str) -> anyhow::Result<f64> {
        self.metric(&format!("repair_{which}_bytes_total")).await
    }

    /// Bytes that the ledgers name on a miner.
    pub async fn held(&self, name: &str) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let endpoint = self.network.process(name)?.address.trim_start_matches("quic ").to_owned();
        loop {
            let miners = self.network.arion(&["miner", "list", "--json"])?;
            let miners: Vec<Miner> = miners.map_or(Ok(vec![]), |text| serde_json::from_str(&text))?;
            let found = miners.iter().find(|miner| miner.endpoint.as_ref() == Some(&endpoint));
            if let Some(bytes) = found.and_then(|miner| miner.ledger_bytes) {
                return Ok(bytes as f64);
            }
            ensure!(begun.elapsed() < PATIENCE, "no validator service knows what {name} holds");
            sleep(POLL).await;
        }
    }

    pub async fn until_epoch_after(&self, epoch: f64) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.epoch().await? <= epoch {
            ensure!(begun.elapsed() < PATIENCE, "no map follows that of epoch {epoch}");
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until no ledger names anything on a miner.
    pub async fn until_released(&self, name: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.held(name).await? > 0.0 {
            ensure!(begun.elapsed() < PATIENCE, "{name} is not released");
            sleep(CENSUS_POLL).await;
        }
        Ok(())
    }

    /// Waits until a census by a map not older than this finds every stripe whole; returns when the last shard was stored.
    pub async fn until_whole(&self, epoch: f64) -> anyhow::Result<Instant> {
        let (begun, mut told, mut asked) = (Instant::now(), Instant::now(), None::<Instant>);
        let (mut written, mut changed, mut changed_ms) = (self.repaired("written").await?, begun, now_ms()?);
        loop {
            let now = self.repaired("written").await?;
            if now > written {
                (written, changed, changed_ms) = (now, Instant::now(), now_ms()?);
            }
            let is_due = asked.is_none_or(|asked| asked.elapsed() >= CENSUS_POLL);
            if let Some(census) = is_due.then(|| self.census()).transpose()?.flatten() {
                asked = Some(Instant::now());
                let is_newest = census.epoch as f64 == self.epoch().await? && census.epoch as f64 >= epoch;
                if is_newest && census.taken_at_ms > changed_ms && census.stripes > 0 && census.damaged() == 0
                {
                    return Ok(changed);
                }
                if told.elapsed() >= TELL {
                    told = Instant::now();
                    eprintln!("  {} of {} stripes are not whole", census.damaged(), census.stripes);
                }
            }
            ensure!(begun.elapsed() < PATIENCE, "stripes are not whole after {} s", PATIENCE.as_secs());
            sleep(POLL).await;
        }
    }

    /// Waits until nothing is queued for repair, and nothing is stored by it.
    pub async fn until_idle(&self) -> anyhow::Result<()> {
        let (begun, mut written, mut idle) = (Instant::now(), 0.0, 0);
        while idle < IDLE_LOOKS {
            let (queued, now) = (self.metric("repair_queued").await?, self.repaired("written").await?);
            idle = if queued == 0.0 && now == written { idle + 1 } else { 0 };
            written = now;
            ensure!(begun.elapsed() < PATIENCE, "repair has work after {} s", PATIENCE.as_secs());
            sleep(POLL).await;
        }
        Ok(())
    }

    /// The newest census; `None` while there is none.
    fn census(&self) -> anyhow::Result<Option<Census>> {
        let said = self.network.arion(&["durability", "--json"])?;
        said.map(|text| serde_json::from_str(&text).context("arion durability told something else"))
            .transpose()
    }

    async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let page =
            timeout(ANSWER, page(&self.http)).await.context("the validator service does not answer")??;
        let name = format!("arion_validator_{name} ");
        let Some(value) = page.lines().find_map(|line| line.strip_prefix(&name)) else {
            bail!("the validator service has no metric {name}");
        };
        Ok(value.trim().parse()?)
    }
}

async fn page(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

fn now_ms() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
