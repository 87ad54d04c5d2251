//! The command line: which seeds of which scenarios, each in a process of its own, several at once.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    str::FromStr,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use arion_daemon::units::{ByteSize, HumanDuration};
use arion_validator::standing::Patience;
use clap::{Args, CommandFactory, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use crate::{
    run, scenario,
    what_if::{self, Assumed, Known, Lost},
};

/// A run that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// Simulates networks of Arion, each from a seed.
///
/// Exit code 0 when everything held, 1 when something did not, 2 for a wrong command line.
#[derive(Parser)]
#[command(name = "sim", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Commands>,
    /// Without a command: `what-if`.
    #[command(flatten)]
    what_if: Option<WhatIf>,
}

#[derive(Args)]
struct WhatIf {
    /// A node of the chain whose finalised map is looked at, as ws://HOST:PORT.
    #[arg(long, value_name = "URL", required = false)]
    from_chain: String,
    /// What is gone for good, separated by commas: family:ACCOUNT, miner:NUMBER.
    #[arg(long, value_delimiter = ',', required = false)]
    fail: Vec<Lost>,
    /// Bytes that repair reads and writes in a second, over all validator services.
    #[arg(long, default_value = "64MiB")]
    rate: ByteSize,
    /// How long validator services wait for a silent miner.
    #[arg(long, default_value = "4h")]
    out_after: HumanDuration,
}

#[derive(Subcommand)]
enum Commands {
    /// Names the scenarios.
    List,
    /// Runs seeds twice each, and compares what happened byte by byte.
    Meta(Which),
    /// Runs seeds; the first of each scenario twice, compared.
    Run(Which),
    /// Runs one seed and prints what happened.
    Replay {
        /// The scenario.
        #[arg(long)]
        scenario: String,
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// What of the product's log is printed: error, warn, info, debug, trace.
        #[arg(long, default_value = "info")]
        log: LevelFilter,
    },
    /// Says what would be if miners of a live chain were gone: what could not be read, what would move, the next map.
    WhatIf(WhatIf),
    /// Runs one seed in this process.
    #[command(hide = true)]
    One {
        /// The scenario.
        #[arg(long)]
        scenario: String,
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Where the trace goes.
        #[arg(long)]
        trace: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Which {
    /// A scenario; all of them without, and it may be given several times.
    #[arg(long)]
    scenario: Vec<String>,
    /// Seeds, FIRST..LAST; both are among them.
    #[arg(long, alias = "seed", default_value = "1..20")]
    seeds: Seeds,
    /// Runs at once; as many as there are processors without.
    #[arg(long)]
    jobs: Option<usize>,
}

#[derive(Clone)]
struct Seeds(RangeInclusive<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err("write a seed as 7, or seeds as 1..20".into()),
        }
    }
}

pub fn main() -> ExitCode {
    let Cli { command, what_if } = Cli::parse();
    let command = command.or(what_if.map(Commands::WhatIf));
    let Some(command) = command else {
        let missing = "name a command, or --from-chain; --help tells more";
        Cli::command().error(clap::error::ErrorKind::MissingSubcommand, missing).exit();
    };
    let outcome = match command {
        Commands::List => {
            list();
            Ok(true)
        }
        Commands::Meta(which) => many(&which, |_| true),
        Commands::Run(which) => {
            let first = *which.seeds.0.start();
            many(&which, |seed| seed == first)
        }
        Commands::Replay { scenario, seed, log } => one(&scenario, seed, Some((Box::new(io::stdout()), log))),
        Commands::WhatIf(asked) => look_ahead(&asked).map(|()| true),
        Commands::One { scenario, seed, trace } => in_child(&scenario, seed, trace.as_deref()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn list() {
    for scenario in scenario::all() {
        println!("{:16} {}", scenario.name, scenario.about);
    }
}

fn look_ahead(asked: &WhatIf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let known = runtime.block_on(Known::load(&asked.from_chain))?;
    let patience = Patience { out_after: asked.out_after.0, in_after: Duration::ZERO };
    let assumed = Assumed { patience, bytes_per_second: asked.rate.0 };
    print!("{}", what_if::look_ahead(&known, &asked.fail, assumed)?);
    Ok(())
}

type Sink = Option<(Box<dyn Write + Send>, LevelFilter)>;

/// Runs a seed here; whether all held, which the last line tells.
fn one(scenario: &str, seed: u64, sink: Sink) -> anyhow::Result<bool> {
    let scenario = scenario::find(scenario)?;
    match run::run(scenario, seed, sink) {
        Ok(outcome) => {
            let run::Outcome { simulated, events, acknowledged, reads, epochs } = outcome;
            let simulated = simulated.as_secs();
            println!("held: {simulated} {events} {acknowledged} {reads} {epochs}");
            Ok(true)
        }
        Err(error) => {
            println!("violated: {error:#}");
            Ok(false)
        }
    }
}

fn in_child(scenario: &str, seed: u64, trace: Option<&Path>) -> anyhow::Result<bool> {
    let sink: Sink = match trace {
        Some(path) => Some((Box::new(BufWriter::new(File::create(path)?)), LevelFilter::INFO)),
        None => None,
    };
    one(scenario, seed, sink)
}

/// A run that is to be made.
#[derive(Clone)]
struct Job {
    scenario: &'static str,
    seed: u64,
    is_compared: bool,
}

/// What is printed of a run.
struct Report {
    job: Job,
    outcome: Result<[u64; 5], String>,
    took: Duration,
}

/// Runs many; whether all held.
fn many(which: &Which, is_compared: impl Fn(u64) -> bool) -> anyhow::Result<bool> {
    let mut names: Vec<&'static str> = scenario::all().iter().map(|scenario| scenario.name).collect();
    if !which.scenario.is_empty() {
        let asked: Result<Vec<_>, _> = which.scenario.iter().map(|name| scenario::find(name)).collect();
        names = asked?.iter().map(|scenario| scenario.name).collect();
    }
    let seeds = which.seeds.0.clone();
    // What is not the same twice makes all else worthless: those come first.
    let mut jobs: Vec<Job> = names
        .iter()
        .flat_map(|scenario| seeds.clone().map(|seed| Job { scenario, seed, is_compared: is_compared(seed) }))
        .collect();
    jobs.sort_by_key(|job| !job.is_compared);
    jobs.reverse();
    let count = jobs.len();
    let jobs = Mutex::new(jobs);
    let at_once = which.jobs.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let begun = Instant::now();
    let (sender, reports) = mpsc::channel();
    let mut summary = Summary::default();
    thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, count.max(1)) {
            let (sender, jobs) = (sender.clone(), &jobs);
            scope.spawn(move || {
                loop {
                    let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
                    let begun = Instant::now();
                    let outcome = work(&job).map_err(|error| format!("{error:#}"));
                    let report = Report { job, outcome, took: begun.elapsed() };
                    if sender.send(report).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for report in reports {
            summary.add(report);
        }
    });
    summary.print(&names, begun.elapsed());
    Ok(summary.failed == 0 && count > 0)
}

#[derive(Default)]
struct Summary {
    /// Runs, processor time, simulated time, events, acknowledged changes, reads, epochs.
    scenarios: BTreeMap<&'static str, (u64, Duration, [u64; 5])>,
    failed: u64,
}

impl Summary {
    fn add(&mut self, report: Report) {
        let Report { job: Job { scenario, seed, .. }, outcome, took } = report;
        match outcome {
            Ok(counts) => {
                let sums = self.scenarios.entry(scenario).or_default();
                sums.0 += 1;
                sums.1 += took;
                sums.2.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
            Err(what) => {
                self.failed += 1;
                println!("FAILED {scenario} {seed}: {what}");
                println!("  again: ./scripts/sim replay --scenario {scenario} --seed {seed}");
            }
        }
    }

    fn print(&self, names: &[&'static str], took: Duration) {
        println!("scenario            seeds   seconds  simulated h     events   changes    reads   epochs");
        let mut simulated = 0;
        let mut passed = 0;
        for name in names {
            let Some((runs, took, [seconds, events, changes, reads, epochs])) = self.scenarios.get(name)
            else {
                continue;
            };
            let (took, hours) = (took.as_secs_f64(), *seconds as f64 / 3_600.0);
            println!(
                "{name:18} {runs:6} {took:9.1} {hours:12.1} {events:10} {changes:9} {reads:8} {epochs:8}"
            );
            simulated += seconds;
            passed += runs;
        }
        let per_minute = simulated as f64 / 60.0 / took.as_secs_f64().max(0.001);
        println!("{per_minute:.1} simulated hours per minute");
        println!("sim: {passed} passed, {} failed", self.failed);
    }
}

/// Makes a run in a process of its own, or two that are compared.
fn work(job: &Job) -> anyhow::Result<[u64; 5]> {
    if !job.is_compared {
        return in_process(job, None);
    }
    let directory = tempfile::tempdir()?;
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    let outcome = in_process(job, Some(&first));
    let again = in_process(job, Some(&second));
    compare(&first, &second)?;
    drop(again);
    outcome
}

fn in_process(job: &Job, trace: Option<&Path>) -> anyhow::Result<[u64; 5]> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["one", "--scenario", job.scenario, "--seed", &job.seed.to_string()]);
    if let Some(trace) = trace {
        command.arg("--trace").arg(trace);
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (said, complaints) = wait(child)?;
    let last = said.lines().last().unwrap_or_default();
    if let Some(held) = last.strip_prefix("held: ") {
        let counts: Result<Vec<u64>, _> = held.split(' ').map(str::parse).collect();
        return counts?.try_into().map_err(|_| anyhow::anyhow!("a run ended with {last}"));
    }
    match last.strip_prefix("violated: ") {
        Some(violated) => bail!("{violated}"),
        None => {
            bail!("a run ended without a word; {}", complaints.lines().last().unwrap_or("nor a complaint"))
        }
    }
}

/// What a process wrote, when it has ended.
fn wait(mut child: Child) -> anyhow::Result<(String, String)> {
    let (mut output, mut errors) =
        child.stdout.take().zip(child.stderr.take()).context("a process without output")?;
    let said = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let complaints = thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("it does not end within {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(5));
    }
    let [said, complaints] = [said, complaints].map(|reader| reader.join());
    let text = |read: thread::Result<io::Result<String>>| {
        read.map_err(|_| anyhow::anyhow!("a reader panicked"))?.context("the output of a run is no text")
    };
    Ok((text(said)?, text(complaints)?))
}

/// Two traces must be the same bytes.
fn compare(first: &Path, second: &Path) -> anyhow::Result<()> {
    let open = |path: &Path| anyhow::Ok(BufReader::new(File::open(path)?).split(b'\n'));
    let (mut ones, mut others) = (open(first)?, open(second)?);
    for number in 1u64.. {
        let (one, other) = (ones.next().transpose()?, others.next().transpose()?);
        if one != other {
            let text = |line: Option<Vec<u8>>| line.map(|line| String::from_utf8_lossy(&line).into_owned());
            bail!("not the same twice, from line {number}: {:?} and {:?}", text(one), text(other));
        }
        if one.is_none() {
            ensure!(number > 1, "the trace is empty");
            return Ok(());
        }
    }
    Ok(())
}
