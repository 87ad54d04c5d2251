//! Many runs, each in a process of its own, several at once; and what became of those of many machines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{
    commands::Which,
    journal::{Journal, Line, lines, program},
    scenario,
};

/// A run that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// A run that is to be made.
#[derive(Clone)]
struct Job {
    scenario: &'static str,
    seed: u64,
    is_compared: bool,
}

/// The names of these scenarios; of all for none.
fn named(asked: &[String]) -> anyhow::Result<Vec<&'static str>> {
    if asked.is_empty() {
        return Ok(scenario::all().iter().map(|scenario| scenario.name).collect());
    }
    asked.iter().map(|name| Ok(scenario::find(name)?.name)).collect()
}

/// Runs many; whether all held.
pub fn many(which: &Which, is_compared: impl Fn(u64) -> bool) -> anyhow::Result<bool> {
    let names = named(&which.scenario)?;
    let mut summary = Summary::default();
    let mut journal = None;
    if let Some(path) = &which.journal {
        let before = lines(path)?.into_iter().filter(|line| which.seeds.0.contains(&line.seed));
        let own = program()?;
        for line in before.filter(|line| line.program == own && line.outcome.is_ok()) {
            if let Some(scenario) = names.iter().find(|name| **name == line.scenario) {
                summary.note(scenario, line);
            }
        }
        println!("{} done before by this program", summary.done.len());
        journal = Some(Journal::open(path)?);
    }
    // What is not the same twice makes all else worthless: those come first. Then seed by seed, so that a run that is stopped has
    // something to say of every scenario.
    let is_left = |job: &Job| !summary.done.contains(&(job.scenario, job.seed));
    let mut jobs: Vec<Job> = (which.seeds.0.clone())
        .flat_map(|seed| names.iter().map(move |scenario| (seed, *scenario)))
        .map(|(seed, scenario)| Job { scenario, seed, is_compared: is_compared(seed) })
        .filter(is_left)
        .collect();
    jobs.sort_by_key(|job| !job.is_compared);
    jobs.reverse();
    let count = jobs.len() + summary.done.len();
    let jobs = Mutex::new(jobs);
    let at_once = which.jobs.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let begun = Instant::now();
    let (sender, reports) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            let (sender, jobs) = (sender.clone(), &jobs);
            scope.spawn(move || {
                loop {
                    let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
                    let begun = Instant::now();
                    let outcome = work(&job).map_err(|error| format!("{error:#}"));
                    if sender.send((job, outcome, begun.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (job, outcome, took) in reports {
            let Job { scenario, seed, .. } = job;
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let program = journal.as_ref().map(Journal::program).unwrap_or_default();
            let line = Line { scenario: scenario.into(), seed, outcome, took_ms, program };
            if let Some(journal) = &mut journal {
                journal.write(&line)?;
            }
            summary.note(scenario, line);
        }
        anyhow::Ok(())
    })?;
    summary.print(&names, journal.is_none().then(|| begun.elapsed()));
    Ok(summary.failed == 0 && count > 0)
}

/// Sums up journals; whether all seeds of these scenarios were run and held.
pub fn join(journals: &[PathBuf], asked: &[String], seeds: &RangeInclusive<u64>) -> anyhow::Result<bool> {
    let names = named(asked)?;
    // Of several runs of a seed the last one counts.
    let (mut last, mut programs) = (BTreeMap::new(), BTreeSet::new());
    for path in journals {
        ensure!(path.exists(), "there is no journal {}", path.display());
        for line in lines(path)?.into_iter().filter(|line| seeds.contains(&line.seed)) {
            programs.insert(line.program.clone());
            last.insert((line.scenario.clone(), line.seed), line);
        }
    }
    let mut summary = Summary::default();
    for ((scenario, _), line) in last {
        if let Some(name) = names.iter().find(|name| **name == scenario) {
            summary.note(name, line);
        }
    }
    println!("{} programs", programs.len());
    let mut missing = 0;
    for name in &names {
        let left: Vec<u64> = seeds.clone().filter(|seed| !summary.done.contains(&(*name, *seed))).collect();
        for run in left.chunk_by(|one, next| one + 1 == *next) {
            println!("missing: {name} {}..{}", run[0], run[run.len() - 1]);
        }
        missing += left.len();
    }
    summary.print(&names, None);
    Ok(summary.failed == 0 && missing == 0)
}

#[derive(Default)]
struct Summary {
    /// Runs, their time, simulated time, events, acknowledged changes, reads, epochs.
    scenarios: BTreeMap<&'static str, (u64, Duration, [u64; 5])>,
    /// What has been run, well or not.
    done: BTreeSet<(&'static str, u64)>,
    failed: u64,
}

impl Summary {
    fn note(&mut self, scenario: &'static str, line: Line) {
        self.done.insert((scenario, line.seed));
        match line.outcome {
            Ok(counts) => {
                let sums = self.scenarios.entry(scenario).or_default();
                sums.0 += 1;
                sums.1 += Duration::from_millis(line.took_ms);
                sums.2.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
            Err(what) => {
                self.failed += 1;
                println!("FAILED {scenario} {}: {what}", line.seed);
                println!("  again: ./scripts/sim replay --scenario {scenario} --seed {}", line.seed);
            }
        }
    }

    /// A line for each scenario; how fast it went where that is known, else how fast one run at a time goes.
    fn print(&self, names: &[&'static str], took: Option<Duration>) {
        println!("scenario            seeds   seconds  simulated h     events   changes    reads   epochs");
        let (mut simulated, mut passed, mut spent) = (0, 0, Duration::ZERO);
        for name in names {
            let Some((runs, took, [seconds, events, changes, reads, epochs])) = self.scenarios.get(name)
            else {
                continue;
            };
            spent += *took;
            let (took, hours) = (took.as_secs_f64(), *seconds as f64 / 3_600.0);
            println!(
                "{name:18} {runs:6} {took:9.1} {hours:12.1} {events:10} {changes:9} {reads:8} {epochs:8}"
            );
            simulated += seconds;
            passed += runs;
        }
        let per_minute = simulated as f64 / 60.0 / took.unwrap_or(spent).as_secs_f64().max(0.001);
        let of = if took.is_some() { "" } else { " of one run at a time" };
        println!("{per_minute:.1} simulated hours per minute{of}");
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
