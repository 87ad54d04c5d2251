//! Chaos: a network under continuous S3 load while its processes are killed, stopped, wiped and cut off.
//!
//! The load remembers every acknowledged change (`e2e/s3/load.py`). In the end everything is started again, every object is
//! read and compared, and a census asks every miner for its shards.
//!
//! # Invariants
//! - What is done is within what the network promises: at most [`faults::IMPAIRED_MAX`] miners are in trouble at once, and at most
//!   [`faults::DAMAGED_MAX`] ever lose what they had acknowledged.
//! - Which faults come in which order follows from the seed; when exactly, and what the load does meanwhile, does not.

mod faults;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use self::faults::{Fault, Faults};
use crate::{
    census::Census,
    layout::make,
    network::{Network, Options},
    progress::{Progress, show},
    report::Report,
    story::{
        begin, client, end,
        load::{Load, Verdict},
        picture::Picture,
        within,
    },
};

const BUCKET: &str = "chaos";
/// The longest that forming, healing and verifying may take beside the chaos itself.
const OVERHEAD: Duration = Duration::from_secs(25 * 60);
/// The load alone, before the first fault and after the last.
const CALM: Duration = Duration::from_secs(5);
/// Between faults.
const PAUSE_MS: std::ops::Range<u64> = 1_500..8_000;
/// How long processes may take to be healthy in the end.
const HEALTHY: Duration = Duration::from_secs(120);
/// How long shards that were not stored, or were lost, may take to be where they belong.
const WHOLE: Duration = Duration::from_secs(10 * 60);
const TICK: Duration = Duration::from_millis(200);
/// Objects that the census looks for.
const CENSUS_OBJECTS: usize = 60;

/// How long, and what.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Minutes of chaos.
    #[arg(long, value_name = "M", default_value_t = 30.0)]
    minutes: f64,
    /// Seed of the faults [default: another one each time].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Storage miners, two per family.
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = clap::value_parser!(u16).range(34..=60))]
    miners: u16,
    /// Only these kinds of faults.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    only: Vec<faults::Kind>,
    /// Where the picture of the run is written [default: report.svg beside the logs].
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// First of the 300 ports that the network uses.
    #[arg(long, value_name = "P", default_value_t = 25_000)]
    base_port: u16,
}

struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
}

/// Runs it. The exit code says whether nothing was lost, corrupt or wrong, and everything else held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if !(0.1..=24.0 * 60.0).contains(&arguments.minutes) {
        bail!("--minutes {}: take 0.1 to 1440", arguments.minutes);
    }
    let progress = Progress::start();
    let options = Options { miners: arguments.miners, validators: 1 };
    let (mut network, lock) = begin("chaos", arguments.base_port, options)?;
    network.repair_at_once();
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    show(&format!("chaos: {} minutes, seed {seed}\n", arguments.minutes));
    let mut stage = Stage { network, report: Report::new("chaos"), progress };
    let chaos = Duration::from_secs_f64(arguments.minutes * 60.0);
    let told = within(chaos + OVERHEAD, tell(&mut stage, arguments, chaos, seed)).await;
    let Stage { report, progress, network } = stage;
    let verdict = told.as_ref().ok().cloned();
    let code = end(network, &lock, report, &progress, told.map(|_| ())).await;
    if let Some(Verdict { acknowledged, lost, corrupt, wrong, .. }) = verdict {
        show(&format!("chaos: acknowledged {acknowledged}, lost {lost}, corrupt {corrupt}, wrong {wrong}\n"));
    }
    Ok(code)
}

async fn tell(
    stage: &mut Stage,
    arguments: &Arguments,
    chaos: Duration,
    seed: u64,
) -> anyhow::Result<Verdict> {
    stage.report.step(1, &format!("the network forms, with {} miners", arguments.miners));
    let mut faults = Faults::new(&arguments.only, arguments.miners, StdRng::seed_from_u64(seed))?;
    faults.prepare(&mut stage.network).await?;
    stage.network.form(&stage.progress).await?;
    stage.report.observed(format!("kinds of faults: {}", faults.names()));

    stage.report.step(2, "S3 load, and faults");
    let mut load = Load::start(stage.network.s3()?, &[], seed, BUCKET).await?;
    let began = Instant::now();
    let mut picture = Picture::new(seed);
    let mut dice = StdRng::seed_from_u64(seed ^ 0x5eed);
    let mut next = began + CALM;
    while began.elapsed() < chaos {
        tokio::time::sleep(TICK).await;
        let now = Instant::now();
        for ended in faults.end_due(&mut stage.network, now).await? {
            tell_end(stage, began, &mut picture, &ended);
        }
        if now >= next && began.elapsed() + CALM < chaos {
            if let Some(fault) = faults.begin_one(&mut stage.network, now).await? {
                let second = began.elapsed().as_secs();
                stage.report.observed(format!("{second:>5} s  {}", fault.text));
            }
            next = now + Duration::from_millis(dice.random_range(PAUSE_MS));
        }
        for (name, how) in stage.network.ended()? {
            stage.report.check(format!("{name} ended by itself: {how}"), false);
            stage.network.start(&name)?;
        }
        load.read(&mut stage.report, &mut picture)?;
    }
    for ended in faults.end_all(&mut stage.network).await? {
        tell_end(stage, began, &mut picture, &ended);
    }
    let seconds = load.stop(&mut stage.report, &mut picture).await?;
    stage.report.observed(format!("{} faults in {seconds} s", picture.faults()));

    stage.report.step(3, "every process is healthy again");
    let names = stage.network.supervisor().running().into_iter().map(|(name, _)| name);
    // Whether nodes are well is part of everybody else's health.
    let names: Vec<String> = names.filter(|name| !name.starts_with("node-")).collect();
    let mut ill = Vec::new();
    for name in &names {
        if let Err(error) = stage.network.supervisor().wait_healthy(name, HEALTHY).await {
            ill.push(format!("{error:#}"));
        }
    }
    for reason in &ill {
        stage.report.observed(reason);
    }
    stage.report.check(format!("all {} are", names.len()), ill.is_empty());

    stage.report.step(4, "every object that was acknowledged is read and compared");
    let verdict = load.verify(&mut stage.report, &mut picture).await?;
    stage.report.check("nothing was lost", verdict.lost == 0);
    stage.report.check("nothing is corrupt", verdict.corrupt == 0);
    stage.report.check("nothing is wrong", verdict.wrong == 0);
    stage.report.check("there was something to lose", verdict.acknowledged > 0);
    let file = arguments.report.clone().unwrap_or_else(|| stage.network.layout().logs().join("report.svg"));
    std::fs::write(&file, picture.svg()).with_context(|| format!("cannot write {}", file.display()))?;
    stage.report.observed(format!("availability by fault:\n{}", picture.table()));
    stage.report.observed(format!("picture of the run in {}", file.display()));

    stage.report.step(5, "the census: every shard is on a miner that a map names");
    census(stage, &verdict.keys, faults.damaged()).await?;
    Ok(verdict)
}

fn tell_end(stage: &Stage, began: Instant, picture: &mut Picture, fault: &Fault) {
    let from = fault.began.saturating_duration_since(began).as_secs_f64();
    picture.fault(fault.kind.name(), from, began.elapsed().as_secs_f64());
    stage.report.observed(format!("{:>5} s  over: {}", began.elapsed().as_secs(), fault.text));
}

/// Waits until nothing is missing of the objects, or of those that can be expected to be whole.
async fn census(stage: &mut Stage, keys: &[String], damaged: usize) -> anyhow::Result<()> {
    let directory = stage.network.layout().of("files");
    make(&directory)?;
    let deadline = Instant::now() + WHOLE;
    let keys = &keys[..keys.len().min(CENSUS_OBJECTS)];
    let (mut whole, mut shards, mut missing) = (0, 0, Vec::new());
    for key in keys {
        loop {
            let census = census_of(stage, key).await?;
            if census.missing.is_empty() {
                (whole, shards) = (whole + 1, shards + census.expected);
                break;
            }
            if Instant::now() > deadline {
                missing.push(format!("{key}: {} of {} shards", census.missing.len(), census.expected));
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    stage.report.observed(format!(
        "{whole} of {} objects whole, {shards} shards; {damaged} miners had lost what they stored",
        keys.len()
    ));
    for line in missing.iter().take(8) {
        stage.report.observed(format!("missing: {line}"));
    }
    stage.report.check("no shard is missing", missing.is_empty());
    Ok(())
}

async fn census_of(stage: &Stage, key: &str) -> anyhow::Result<Census> {
    let located: Value = client::s3(stage.network.s3()?, &["locate", BUCKET, key]).await?;
    let file = stage.network.layout().of("files").join("located.json");
    client::census(&stage.network.ws(), &located, &file).await
}
