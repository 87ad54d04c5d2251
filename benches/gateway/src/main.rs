//! Our gateway beside Garage as one and the same S3 client sees them, and the gateway's memory under load:
//!
//!     ./scripts/bench gateway             # beside Garage
//!     ./scripts/bench gateway large 20    # an upload of 20 GiB; needs 66 GiB of disk
//!     ./scripts/bench gateway crowd 200   # 200 clients at once
//!     ./scripts/bench repair --gib 1      # loss, return and emptying of a miner that holds 1 GiB
//!
//! Garage is measured before our network is started and again after it was stopped, and its better figure counts: neither has to
//! share the machine with the other, and what the machine does to one it does to both.

mod arion;
mod bounds;
mod client;
mod garage;
mod memory;
mod place;
mod repair;
mod work;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use arion::Network;
use garage::Garage;
use place::Place;
use work::{Row, Session};

const BUCKET: &str = "bench";
/// Memory for shards in the rows that read from it.
const CACHE: &str = "256MiB";
/// What Tahoe-LAFS moves at 10 of 30, MiB/s, PUT and GET (docs/performance.md).
const TAHOE: (f64, f64) = (3.1, 1.1);
const TAHOE_TARGET: f64 = 30.0;

#[derive(Parser)]
struct Arguments {
    /// `arion-devnet`, with the other programs beside it.
    #[arg(long)]
    devnet: PathBuf,
    /// First of the ports of our network.
    #[arg(long, default_value_t = 21_000)]
    base_port: u16,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Beside Garage.
    Compare {
        /// The program.
        #[arg(long)]
        garage: PathBuf,
    },
    /// One large upload.
    Large { gib: u64 },
    /// Many clients at once.
    Crowd { clients: usize },
    /// A miner is lost, comes back and is emptied; clients read and write meanwhile.
    Repair(repair::Arguments),
    /// A network that runs already, in this directory: no reference, for finding out where the time goes.
    At {
        directory: PathBuf,
        /// How often.
        #[arg(long, default_value_t = 1)]
        rounds: usize,
        /// Only rows with this in their name.
        #[arg(long, default_value = "")]
        only: String,
    },
}

/// Figures of one system, in the order of the rows.
type Figures = Vec<(Row, f64)>;

#[derive(Default)]
struct Score {
    met: usize,
    all: usize,
}

impl Score {
    fn row(&mut self, name: &str, theirs: f64, ours: f64, target: f64, is_latency: bool) {
        let ratio = if is_latency { theirs / ours } else { ours / theirs };
        let met = ratio >= target;
        self.all += 1;
        self.met += usize::from(met);
        let verdict = if met { "met" } else { "MISSED" };
        println!("{name:<52} {theirs:>9.1} {ours:>9.1} {ratio:>7.2} {target:>6.1}  {verdict}");
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let [mut interrupted, mut terminated] =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let place = Place::take(&arguments.devnet)?;
    // Interrupted, it stops what it started and removes what it wrote, as it does in the end.
    tokio::select! {
        done = run(&arguments, &place.path) => done,
        _ = interrupted.recv() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    }
}

async fn run(arguments: &Arguments, directory: &Path) -> anyhow::Result<()> {
    let (devnet, port) = (&arguments.devnet, arguments.base_port);
    let network =
        |fresh: bool, cache: &str| Network::start(devnet, &directory.join("arion"), port, fresh, cache);
    match &arguments.what {
        What::Compare { garage } => compare(garage, directory, network).await,
        What::Large { gib } => bounds::large(&network(true, "64MiB")?, directory, *gib).await,
        What::Crowd { clients } => bounds::crowd(&network(true, "64MiB")?, *clients).await,
        What::Repair(wanted) => repair::run(devnet, directory, port, wanted).await,
        What::At { directory, rounds, only } => at(devnet, directory, *rounds, only).await,
    }
}

async fn at(devnet: &Path, directory: &Path, rounds: usize, only: &str) -> anyhow::Result<()> {
    let endpoint = arion::state(devnet, directory)?;
    for round in 0..rounds {
        let bucket = format!("{BUCKET}-{round}-{}", std::process::id());
        let mut session = Session::new(&endpoint, &bucket, true).await?;
        let rows = Row::PUTS.into_iter().chain(Row::GETS);
        let rows: Vec<Row> = rows.filter(|row| row.name().contains(only)).collect();
        measure(&mut session, &rows).await?;
    }
    Ok(())
}

async fn measure(session: &mut Session, rows: &[Row]) -> anyhow::Result<Figures> {
    let mut figures = Vec::new();
    for &row in rows {
        let figure = session.measure(row).await?;
        eprintln!("  {:<44} {figure:>9.1}", row.name());
        figures.push((row, figure));
    }
    Ok(figures)
}

async fn measure_garage(program: &Path, directory: &Path, fsync: bool) -> anyhow::Result<(Figures, f64)> {
    eprintln!("Garage, fsync {}", if fsync { "on" } else { "off" });
    let cluster = Garage::start(program, directory, fsync, BUCKET).await?;
    let mut session = Session::new(&cluster.endpoint, BUCKET, false).await?;
    let mut figures = measure(&mut session, &Row::PUTS).await?;
    if !fsync {
        figures.extend(measure(&mut session, &Row::GETS).await?);
    }
    let memory = cluster.memory()?;
    drop(cluster);
    std::fs::remove_dir_all(directory)?;
    Ok((figures, memory))
}

fn better(first: Figures, second: &Figures) -> Figures {
    let best = |(at, (row, one)): (usize, (Row, f64))| {
        let other = second[at].1;
        (row, if row.is_latency() { one.min(other) } else { one.max(other) })
    };
    first.into_iter().enumerate().map(best).collect()
}

async fn compare(
    program: &Path,
    directory: &Path,
    network: impl Fn(bool, &str) -> anyhow::Result<Network>,
) -> anyhow::Result<()> {
    memory::touch()?;
    let (first, garage_memory) = measure_garage(program, &directory.join("garage"), false).await?;
    let (synced, _) = measure_garage(program, &directory.join("garage"), true).await?;

    eprintln!("Arion, reading from miners");
    let running = network(true, "0B")?;
    let mut session = Session::new(&running.endpoint, BUCKET, true).await?;
    let mut ours = measure(&mut session, &Row::PUTS).await?;
    ours.extend(measure(&mut session, &Row::GETS).await?);
    let (gateway, miners) = running.memory()?;
    drop(running);

    eprintln!("Arion, reading from the verified cache");
    let running = network(false, CACHE)?;
    let mut session = session.moved_to(&running.endpoint, BUCKET)?;
    session.keep_cached();
    let mut cached = Vec::new();
    for row in [Row::GetLarge, Row::GetMedium] {
        session.warm(row).await?;
        cached.extend(measure(&mut session, &[row]).await?);
    }
    drop(running);

    let (second, _) = measure_garage(program, &directory.join("garage"), false).await?;
    let theirs = better(first, &second);

    println!("{:<52} {:>9} {:>9} {:>7} {:>6}", "", "Garage", "Arion", "ratio", "target");
    let mut score = Score::default();
    let figure = |figures: &Figures, row| {
        figures.iter().find(|(of, _)| *of == row).map_or(f64::NAN, |(_, figure)| *figure)
    };
    for (row, target) in [
        (Row::PutLarge, 1.5),
        (Row::PutMedium, 1.0),
        (Row::PutSmall, 1.0),
        (Row::GetLarge, 0.5),
        (Row::GetMedium, 0.5),
        (Row::GetSmall, 1.0),
        (Row::List, 1.0),
        (Row::Range, 1.0),
    ] {
        score.row(row.name(), figure(&theirs, row), figure(&ours, row), target, row.is_latency());
    }
    for (row, value) in &cached {
        score.row(&format!("{}, cached", row.name()), figure(&theirs, *row), *value, 1.0, false);
    }
    score.row("PUT 64 MiB beside Tahoe-LAFS", TAHOE.0, figure(&ours, Row::PutLarge), TAHOE_TARGET, false);
    score.row("GET 64 MiB beside Tahoe-LAFS", TAHOE.1, figure(&ours, Row::GetLarge), TAHOE_TARGET, false);
    println!();
    println!("With fsync on for both (ours never is off):");
    for row in Row::PUTS {
        let (theirs, ours) = (figure(&synced, row), figure(&ours, row));
        println!("{:<52} {theirs:>9.1} {ours:>9.1} {:>7.2}", row.name(), ours / theirs);
    }
    println!();
    println!(
        "Resident memory: Garage {garage_memory:.0} MiB (3 nodes); ours {gateway:.0} MiB (gateway) + {miners:.0} MiB (30 miners)"
    );
    println!("bench gateway: {} of {} targets met", score.met, score.all);
    Ok(())
}
