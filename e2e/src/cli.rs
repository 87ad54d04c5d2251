//! The commands of `arion-devnet`.

use std::{
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_chain::ChainClient;
use clap::{Args, Parser, Subcommand};
use nix::sys::signal::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{
    control::{self, Control},
    layout::Layout,
    network::{FAMILY, Network, OUT_AFTER, Options, READ_CACHE, REPAIR_DELAY},
    ports::{BASE_DEFAULT, MINERS_MAX, NODES_MAX, Ports},
    process::{self, ProcessId},
    progress::{Progress, show},
    state::{Phase, State},
    story, supervisor, table,
};

const POLL: Duration = Duration::from_millis(200);
const FIRST_ATTESTATION_POLL: Duration = Duration::from_secs(3);
/// All processes are given [`supervisor::STOP_DEADLINE`], twice: daemons first, chain nodes after them.
const STOP_DEADLINE: Duration = Duration::from_secs(25);

/// A local Arion network as real processes: chain, validator service, wardens, submitter, gateway, miners.
///
/// Without a command it starts a network in the foreground; Ctrl-C stops all of it.
#[derive(Parser, Debug)]
#[command(name = "devnet", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: Up,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Start a network (what happens without a command).
    Up(Up),
    /// Show the processes, addresses, keys and directories of a network.
    Status {
        #[command(flatten)]
        place: Place,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop a network and everything in it.
    Stop {
        #[command(flatten)]
        place: Place,
    },
    /// Show the log of a process.
    Logs {
        /// Name of the process as `status` shows it, or `devnet` for a detached network's own progress.
        name: String,
        /// Wait for more.
        #[arg(long, short)]
        follow: bool,
        /// At most this many lines from the end.
        #[arg(long, short = 'n', default_value_t = 200)]
        lines: usize,
        #[command(flatten)]
        place: Place,
    },
    /// Kill a process with SIGKILL, as a crash would.
    Kill {
        /// Name of the process as `status` shows it.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Start a process that ended or was killed.
    Start {
        /// Name of the process as `status` shows it.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Tell the whole story on a network of its own: store a file, lose 20 of 30 miners, read it back, catch cheaters.
    Demo(story::demo::Arguments),
    /// Tell another story by name; `scripts/e2e NAME` calls this.
    Story {
        #[command(subcommand)]
        story: story::Story,
    },
}

#[derive(Args, Debug)]
struct Up {
    /// Storage miners.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(30..=MINERS_MAX as i64))]
    miners: u16,
    /// Chain nodes that produce blocks, each with a validator service.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=NODES_MAX as i64))]
    validators: u16,
    /// Memory of the gateway for shards that were read lately; none, so that what is read comes from the miners.
    #[arg(long, value_name = "SIZE", default_value = READ_CACHE)]
    read_cache: String,
    /// A miner that is silent for this long is left out of the map, if there are others to take its place.
    #[arg(long, value_name = "TIME", default_value = OUT_AFTER)]
    out_after: String,
    /// Miners of a family; at most two of them have a shard of the same stripe.
    #[arg(long, value_name = "N", default_value_t = FAMILY, value_parser = clap::value_parser!(u16).range(2..=10))]
    family: u16,
    /// Validator services repair what was damaged for this long.
    #[arg(long, value_name = "TIME", default_value = REPAIR_DELAY)]
    repair_delay: String,
    /// Bytes of shards that a validator service reads and writes in a second [default: the service's].
    #[arg(long, value_name = "SIZE")]
    repair_rate: Option<String>,
    /// The gateway gives up copies that the map has not named for this long [default: the gateway's].
    #[arg(long, value_name = "TIME")]
    surplus_after: Option<String>,
    /// Return when the network is ready and leave it running.
    #[arg(long)]
    detach: bool,
    /// Delete what an earlier network left in the directory.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    place: Place,
}

/// Which network: two of them run side by side with different base ports.
#[derive(Args, Debug)]
pub struct Place {
    /// Directory of the network [default: ${XDG_STATE_HOME:-~/.local/state}/arion/devnet-PORT].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// First of the 300 ports that the network uses.
    #[arg(long, value_name = "P", default_value_t = BASE_DEFAULT)]
    pub base_port: u16,
}

impl Place {
    /// The directory.
    pub fn layout(&self) -> anyhow::Result<Layout> {
        Layout::new(self.data.as_deref(), self.base_port)
    }

    fn state(&self) -> anyhow::Result<State> {
        let layout = self.layout()?;
        State::load(layout.root())?.with_context(|| {
            format!("there is no network in {}: name it with --base-port or --data", layout.root().display())
        })
    }
}

/// Runs a command.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let command = arguments.command.unwrap_or(Command::Up(arguments.up));
    match command {
        Command::Up(up) if up.detach => detach(&up).await,
        Command::Up(up) => foreground(&up).await,
        Command::Status { place, json } => status(&place.state()?, json),
        Command::Stop { place } => stop(&place.state()?).await,
        Command::Logs { name, follow, lines, place } => logs(&place, &name, follow, lines).await,
        Command::Kill { name, place } => kill(&place.state()?, &name),
        Command::Start { name, place } => {
            let state = place.state()?;
            state.process(&name)?;
            if !state.is_up() {
                bail!("the network is not running: start it first");
            }
            println!("{name} runs, pid {}", control::start(&state.directory, &name).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(arguments) => story::demo::run(&arguments, "demo").await,
        Command::Story { story } => story.run().await,
    }
}

/// Resolves when somebody wants this process to end.
pub async fn asked_to_end() -> std::io::Result<&'static str> {
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "asked to stop",
        _ = hangup.recv() => "terminal closed",
    })
}

async fn foreground(up: &Up) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let options = Options { miners: up.miners, validators: up.validators };
    let ports = Ports::new(up.place.base_port).map_err(anyhow::Error::msg)?;
    let mut network = Network::new(up.place.layout()?, ports, options);
    network.cache_reads(up.read_cache.clone());
    network.leave_out_after(up.out_after.clone());
    network.group_miners_by(up.family);
    network.repair_after(up.repair_delay.clone());
    up.repair_rate.clone().into_iter().for_each(|rate| network.repair_at_rate(rate));
    up.surplus_after.clone().into_iter().for_each(|time| network.give_up_surplus_after(time));
    let lock = network.take(up.fresh)?;
    let formed = tokio::select! {
        formed = network.form(&progress) => formed.map(|_| None),
        reason = asked_to_end() => Ok(Some(reason?)),
    };
    let ended = match formed {
        Ok(None) => {
            show(&format!(
                "\n{}\nready after {:.0} s; Ctrl-C stops everything\naudits begin with the first object\n",
                table::render(&network.state()),
                progress.seconds()
            ));
            serve(&mut network, &progress).await
        }
        Ok(Some(reason)) => Ok(reason),
        Err(error) => Err(error),
    };
    if let Ok(reason) = &ended {
        progress.say(format!("{reason}: stopping all processes"));
    }
    let late = network.stop().await?;
    drop(lock);
    for name in &late {
        progress.say(format!("{name} did not stop in time and was killed"));
    }
    ended?;
    progress.say("stopped");
    Ok(if late.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Watches the network until somebody wants it to end.
async fn serve(network: &mut Network, progress: &Progress) -> anyhow::Result<&'static str> {
    let mut control = Control::bind(network.layout().root())?;
    let (end, first) = (asked_to_end(), first_attestation(network.ws()));
    tokio::pin!(end, first);
    let mut audited = false;
    loop {
        tokio::select! {
            reason = &mut end => return Ok(reason?),
            asked = control.next() => {
                let started = network.start(&asked.name);
                if started.is_ok() {
                    progress.say(format!("{} started", asked.name));
                }
                asked.answer(started.map(|id| id.pid)).await;
            }
            line = &mut first, if !audited => {
                audited = true;
                progress.say(line);
            }
            () = sleep(POLL) => {
                for (name, ending) in network.ended()? {
                    progress.say(format!("{name} {ending}"));
                }
            }
        }
    }
}

/// Resolves when an attestation is on chain: wardens audit as soon as there is an object.
async fn first_attestation(ws: String) -> String {
    loop {
        // The node may be down for a while; that is shown elsewhere.
        if let Ok(chain) = ChainClient::connect(&ws, None).await
            && let Ok(buckets) = chain.attestations_by_bucket().await
            && let Some(record) = buckets.values().flatten().min_by_key(|record| record.timestamp)
        {
            let warden = String::from_utf8_lossy(&record.warden_id);
            return format!(
                "first attestation on chain: {:?} for miner {}, signed by {warden}",
                record.result, record.miner_uid
            );
        }
        sleep(FIRST_ATTESTATION_POLL).await;
    }
}

async fn detach(up: &Up) -> anyhow::Result<ExitCode> {
    let layout = up.place.layout()?;
    // Refuses a directory in use before anything of it is touched.
    drop(layout.take(up.fresh)?);
    let log = layout.log("devnet");
    std::fs::write(&log, "")?;
    let program = std::env::current_exe()?;
    let mut command: Vec<String> = vec![program.to_string_lossy().into_owned(), "up".to_owned()];
    command.extend(["--miners".to_owned(), up.miners.to_string()]);
    command.extend(["--validators".to_owned(), up.validators.to_string()]);
    command.extend(["--read-cache".to_owned(), up.read_cache.clone()]);
    command.extend(["--out-after".to_owned(), up.out_after.clone()]);
    command.extend(["--family".to_owned(), up.family.to_string()]);
    command.extend(["--repair-delay".to_owned(), up.repair_delay.clone()]);
    for (flag, value) in [("--repair-rate", &up.repair_rate), ("--surplus-after", &up.surplus_after)] {
        command.extend(value.iter().flat_map(|value| [flag.to_owned(), value.clone()]));
    }
    command.extend(["--base-port".to_owned(), up.place.base_port.to_string()]);
    command.extend(["--data".to_owned(), layout.root().to_string_lossy().into_owned()]);
    let (mut child, supervisor) = process::spawn_detached(&command, &log)?;

    let mut reader = std::fs::File::open(&log)?;
    let end = asked_to_end();
    tokio::pin!(end);
    loop {
        show_more(&mut reader)?;
        if let Some(status) = child.try_wait()? {
            show_more(&mut reader)?;
            bail!("the network did not come up ({status})");
        }
        if let Some(state) = State::load(layout.root())?
            && state.supervisor == supervisor
            && state.phase == Phase::Ready
        {
            sleep(POLL).await;
            show_more(&mut reader)?;
            println!("\ndetached; `status` shows this table again, `stop` ends the network");
            return Ok(ExitCode::SUCCESS);
        }
        tokio::select! {
            reason = &mut end => {
                println!("{}: stopping the network", reason?);
                supervisor.signal(Signal::SIGTERM);
                wait_gone(&supervisor).await?;
                return Ok(ExitCode::FAILURE);
            }
            () = sleep(POLL) => {}
        }
    }
}

fn show_more(reader: &mut std::fs::File) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    let mut output = std::io::stdout();
    output.write_all(&bytes)?;
    output.flush()
}

fn status(state: &State, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        show(&format!("{}\n", serde_json::to_string_pretty(state)?));
    } else {
        show(&table::render(state));
    }
    Ok(ExitCode::SUCCESS)
}

async fn stop(state: &State) -> anyhow::Result<ExitCode> {
    if state.supervisor.signal(Signal::SIGTERM) {
        wait_gone(&state.supervisor).await?;
    }
    // Where the supervisor died by SIGKILL the kernel has killed its children; this is for what escaped even that.
    let left: Vec<_> =
        state.processes.iter().filter_map(|process| process.process).filter(ProcessId::is_alive).collect();
    for process in &left {
        process.signal_group(Signal::SIGKILL);
    }
    for process in &left {
        wait_gone(process).await?;
    }
    println!("stopped; data and logs stay in {}", state.directory.display());
    Ok(ExitCode::SUCCESS)
}

async fn wait_gone(process: &ProcessId) -> anyhow::Result<()> {
    let begun = Instant::now();
    while process.is_alive() {
        if begun.elapsed() > STOP_DEADLINE {
            bail!("pid {} still runs after {} s", process.pid, STOP_DEADLINE.as_secs());
        }
        sleep(POLL).await;
    }
    Ok(())
}

fn kill(state: &State, name: &str) -> anyhow::Result<ExitCode> {
    let process = state.process(name)?.process.with_context(|| format!("{name} is not running"))?;
    if !process.signal_group(Signal::SIGKILL) {
        bail!("{name} is not running");
    }
    println!("{name} killed, pid {}; `start {name}` starts it again", process.pid);
    Ok(ExitCode::SUCCESS)
}

async fn logs(place: &Place, name: &str, follow: bool, lines: usize) -> anyhow::Result<ExitCode> {
    let layout = place.layout()?;
    let log = if name == "devnet" { layout.log(name) } else { place.state()?.process(name)?.log.clone() };
    print_end(&log, lines)?;
    if !follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut reader = std::fs::File::open(&log)?;
    reader.seek(SeekFrom::End(0))?;
    loop {
        show_more(&mut reader)?;
        sleep(POLL).await;
    }
}

fn print_end(log: &Path, lines: usize) -> anyhow::Result<()> {
    if !log.exists() {
        bail!("there is no log at {}", log.display());
    }
    show(&supervisor::tail(log, lines));
    Ok(())
}
