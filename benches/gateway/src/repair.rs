//! What the loss of a miner costs until every stripe is whole again, its return with an empty disk, and emptying one; and what clients
//! notice of it.
//!
//! A miner has at most one shard of a stripe of 30. So where all weigh the same, the network holds as many times what one of them
//! holds as it has miners: 10 GiB on one of 54 are 540 GiB on this disk, and 180 GiB of objects. Take what fits (`--gib`); times are
//! proportional to it once it is minutes.

mod foreground;
mod watch;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;

use crate::{
    arion::Network,
    bounds::free_gib,
    repair::{foreground::Foreground, watch::Watch},
};

const GIB: f64 = 1_073_741_824.0;
/// 10 data shards of 30.
const EXPANSION: f64 = 3.0;
/// Room for copies that are to go, and for what clients write meanwhile, GiB.
const ROOM: (f64, f64) = (1.3, 6.0);
/// Of its map, a miner may be silent for this long here; 4 h where nothing else is said.
const OUT_AFTER: &str = "30s";
const SURPLUS_AFTER: &str = "20s";
/// As many times as little as possible may be moved.
const MOVED_MAX: f64 = 3.0;
/// Of what clients had before, they have at least this much meanwhile.
const FOREGROUND_MIN: f64 = 0.5;
/// How long clients are measured where nothing else happens.
const CALM: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(500);
/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(4 * 3_600);

/// How much, and how.
#[derive(Args)]
pub struct Arguments {
    /// GiB of shards on each miner.
    #[arg(long, default_value_t = 0.5)]
    gib: f64,
    /// Miners, three in a family; 51 at least, so that 30 places are left without three of them.
    #[arg(long, default_value_t = 54, value_parser = clap::value_parser!(u16).range(51..=99))]
    miners: u16,
    /// What the validator service reads and writes in a second.
    #[arg(long, default_value = "64MiB")]
    rate: String,
}

/// What an event cost.
struct Cost {
    name: &'static str,
    /// What has to be stored whatever the placement, bytes.
    least: f64,
    /// Until there was a map for it, and from there until every stripe was whole.
    until_map: Duration,
    until_whole: Duration,
    read: f64,
    written: f64,
}

impl Cost {
    fn print(&self) {
        let Self { name, least, until_map, until_whole, read, written } = self;
        println!(
            "{name:<26} {:>9.3} {:>8.0} {:>8.0} {:>9.3} {:>9.3} {:>7.2} {:>7.2}",
            least / GIB,
            until_map.as_secs_f64(),
            until_whole.as_secs_f64(),
            read / GIB,
            written / GIB,
            written / least,
            (read + written) / least,
        );
    }
}

/// Counters before an event, and when it began.
struct Before {
    begun: Instant,
    epoch: f64,
    read: f64,
    written: f64,
}

impl Before {
    async fn of(watch: &Watch<'_>) -> anyhow::Result<Self> {
        let (epoch, read, written) =
            (watch.epoch().await?, watch.repaired("read").await?, watch.repaired("written").await?);
        Ok(Self { begun: Instant::now(), epoch, read, written })
    }

    /// Waits for the map and until every stripe is whole by it, and says what that cost.
    async fn cost(self, watch: &Watch<'_>, name: &'static str, least: f64) -> anyhow::Result<Cost> {
        watch.until_epoch_after(self.epoch).await?;
        let until_map = self.begun.elapsed();
        self.ended(watch, name, least, until_map).await
    }

    async fn ended(
        self,
        watch: &Watch<'_>,
        name: &'static str,
        least: f64,
        until_map: Duration,
    ) -> anyhow::Result<Cost> {
        let whole = watch.until_whole(self.epoch).await?;
        let until_whole = whole.duration_since(self.begun).saturating_sub(until_map);
        let (read, written) =
            (watch.repaired("read").await? - self.read, watch.repaired("written").await? - self.written);
        let cost = Cost { name, least, until_map, until_whole, read, written };
        eprintln!("  {name}: whole again after {:.0} s", (until_map + until_whole).as_secs_f64());
        Ok(cost)
    }
}

/// Runs it all on a network of its own.
pub async fn run(devnet: &Path, directory: &Path, port: u16, wanted: &Arguments) -> anyhow::Result<()> {
    let Arguments { gib, miners, rate } = wanted;
    ensure!(*gib > 0.0, "--gib {gib}: take more than 0");
    let (free, needed) = (free_gib(directory)?, gib * f64::from(*miners) * ROOM.0 + ROOM.1);
    ensure!(
        free >= needed,
        "{gib} GiB on each of {miners} miners take {needed:.0} GiB of this disk, {free:.0} are free: choose fewer with --gib"
    );
    let count = miners.to_string();
    let options =
        ["--fresh", "--miners", &count, "--family", "3", "--read-cache", "0B", "--out-after", OUT_AFTER];
    let repair = ["--repair-delay", "0s", "--repair-rate", rate, "--surplus-after", SURPLUS_AFTER];
    let network = Network::up(devnet, &directory.join("arion"), port, &[&options[..], &repair[..]].concat())?;
    let watch = Watch::new(&network)?;
    let mut foreground = Foreground::new(&network.endpoint).await?;

    let objects = gib * f64::from(*miners) / EXPANSION;
    eprintln!("{objects:.1} GiB of objects");
    foreground.fill((objects * 1024.0).ceil() as usize).await?;
    watch.until_whole(0.0).await?;
    let before = foreground.during(tokio::time::sleep(CALM)).await?;
    watch.until_whole(0.0).await?;

    // Of three families, so that each keeps the two miners that a stripe may need of it.
    let [first, second, third] = ["miner-01", "miner-04", "miner-07"];
    let mut costs = Vec::new();
    costs.push(lose(&watch, first, "loss").await?);
    watch.until_released(first).await?;

    eprintln!("{first} returns with an empty disk");
    let begun = Before::of(&watch).await?;
    network.tell("start", first)?;
    let mut joined = begun.cost(&watch, "join", f64::NAN).await?;
    joined.least = watch.held(first).await?;
    costs.push(joined);

    let least = watch.held(second).await?;
    let begun = Before::of(&watch).await?;
    kill(&watch, second)?;
    watch.until_epoch_after(begun.epoch).await?;
    let until_map = begun.begun.elapsed();
    let meanwhile = foreground.during(watch.until_idle()).await?;
    costs.push(begun.ended(&watch, "loss, clients at work", least, until_map).await?);

    let least = watch.held(third).await?;
    eprintln!("{third} is emptied");
    let begun = Before::of(&watch).await?;
    let data = network.process(third)?.data.to_str().context("the directory is not UTF-8")?.to_owned();
    network.arion(&["miner", "drain", "--no-wait", "--data-dir", &data])?.context("the drain was refused")?;
    costs.push(begun.cost(&watch, "drain", least).await?);
    let drained = Instant::now();
    watch.until_released(third).await?;
    let released = drained.elapsed();

    println!();
    println!(
        "{miners} miners of one weight in families of three, {objects:.1} GiB of objects; one validator service, {rate} a second"
    );
    println!(
        "{:<26} {:>9} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7}",
        "", "GiB of it", "map, s", "whole, s", "GiB read", "stored", "/least", "moved/"
    );
    for cost in &costs {
        cost.print();
    }
    println!("the emptied miner has nothing any more {:.0} s after that", released.as_secs_f64());
    println!(
        "(a miner is left out after {OUT_AFTER} here, which is in `map, s`; 4 h where nothing else is said)"
    );
    println!();
    println!("{:<44} {:>9} {:>9} {:>7}", "clients, MiB/s", "before", "meanwhile", "ratio");
    for (name, before, meanwhile) in [
        ("GET 8 MiB, 2 at once", before.read, meanwhile.read),
        ("PUT 8 MiB, 1 at once", before.written, meanwhile.written),
    ] {
        println!("{name:<44} {before:>9.1} {meanwhile:>9.1} {:>7.2}", meanwhile / before);
    }
    let moved = costs.iter().filter(|cost| cost.written / cost.least <= MOVED_MAX).count();
    let ratios = [meanwhile.read / before.read, meanwhile.written / before.written];
    let kept = ratios.into_iter().filter(|ratio| *ratio >= FOREGROUND_MIN).count();
    println!(
        "targets: stored at most {MOVED_MAX} times the least; clients have at least {FOREGROUND_MIN} of what they had"
    );
    println!("bench repair: {} of {} targets met", moved + kept, costs.len() + ratios.len());
    Ok(())
}

/// A miner is killed, its disk is lost, and nobody else is there.
async fn lose(watch: &Watch<'_>, miner: &str, name: &'static str) -> anyhow::Result<Cost> {
    let least = watch.held(miner).await?;
    let begun = Before::of(watch).await?;
    kill(watch, miner)?;
    begun.cost(watch, name, least).await
}

fn kill(watch: &Watch<'_>, miner: &str) -> anyhow::Result<()> {
    eprintln!("{miner} is lost");
    watch.network.tell("kill", miner)?;
    let store = watch.network.process(miner)?.data.join("store");
    for entry in std::fs::read_dir(&store).with_context(|| format!("no store in {}", store.display()))? {
        let path = entry?.path();
        let gone = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        gone.with_context(|| format!("cannot delete {}", path.display()))?;
    }
    Ok(())
}
