//! The command line: which seeds of which scenarios, each in a process of its own, several at once.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use arion_daemon::units::{ByteSize, HumanDuration};
use arion_validator::standing::Patience;
use clap::{Args, CommandFactory, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use crate::{
    many::{self, many},
    regressions::REGRESSIONS,
    run, scenario,
    what_if::{self, Assumed, Known, Lost},
};

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
    /// Runs the seeds that found something.
    Regressions,
    /// Sums up journals of runs, of one machine or several, and says which seeds are missing.
    Join {
        /// The journals.
        #[arg(required = true)]
        journals: Vec<PathBuf>,
        /// A scenario; all of them without, and it may be given several times.
        #[arg(long)]
        scenario: Vec<String>,
        /// Seeds that there should be of each scenario.
        #[arg(long, default_value = "1..1000")]
        seeds: Seeds,
    },
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
pub struct Which {
    /// A scenario; all of them without, and it may be given several times.
    #[arg(long)]
    pub scenario: Vec<String>,
    /// Seeds, FIRST..LAST; both are among them.
    #[arg(long, alias = "seed", default_value = "1..20")]
    pub seeds: Seeds,
    /// Runs at once; as many as there are processors without.
    #[arg(long)]
    pub jobs: Option<usize>,
    /// A file that gets a line for every run that is done. What it says this very program has done before is not done again.
    #[arg(long)]
    pub journal: Option<PathBuf>,
}

/// Seeds, first and last.
#[derive(Clone)]
pub struct Seeds(pub RangeInclusive<u64>);

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
        Commands::Regressions => regressions(),
        Commands::Join { journals, scenario, seeds } => many::join(&journals, &scenario, &seeds.0),
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

/// Runs what found something; whether all held.
fn regressions() -> anyhow::Result<bool> {
    let mut all_held = true;
    for (name, scenario, seed) in REGRESSIONS {
        println!("{name}");
        let (scenario, seeds) = (vec![scenario.to_owned()], Seeds(seed..=seed));
        all_held &= many(&Which { scenario, seeds, jobs: None, journal: None }, |_| false)?;
    }
    Ok(all_held)
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
