//! The command line and the life of a daemon.

use std::{fs::File, future::Future, io::Write, path::absolute, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{FromArgMatches, Subcommand};
use tokio::runtime;

use crate::{
    keys::{generate_secret_key, write_secret_seed},
    line,
    logs::init_logs,
    output::OutputClosed,
    settings::{Flags, Loaded, Place, Settings},
    shutdown::Shutdown,
};

/// A daemon that was told to stop ends after this long, whatever it is doing.
pub const STOP_DEADLINE: Duration = Duration::from_millis(4_500);
/// Blocking work that is still under way at the end of the program gets this long.
const EXIT_DEADLINE: Duration = Duration::from_millis(300);

/// Something that runs until it is told to stop.
pub trait Daemon: Sized + Send {
    /// What it needs to know.
    type Settings: Settings;
    /// What it is for, and the first steps with it.
    const ABOUT: &'static str;

    /// Opens everything; it works once this returns. It may be dropped at any time before.
    fn start(settings: Self::Settings) -> impl Future<Output = anyhow::Result<Self>> + Send;

    /// Returns once the daemon cannot go on.
    fn failed(&mut self) -> impl Future<Output = anyhow::Error> + Send {
        std::future::pending()
    }

    /// Finishes what is under way.
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// Commands that every daemon has; `K` are the daemon's own commands for keys.
#[derive(Subcommand)]
pub enum DaemonCommand<S: Settings, K: Subcommand = NoKeyCommand> {
    /// Make keys, and a configuration with the flags given here. Nothing is overwritten.
    ///
    /// The configuration goes to the file of --config, or into the data directory.
    Init(Flags<S>),
    /// Serve until SIGTERM or SIGINT.
    Run(Flags<S>),
    /// The daemon's keys.
    #[command(subcommand)]
    Key(KeyCommand<S, K>),
    /// Print a configuration with every key, its meaning and its default.
    ExampleConfig,
}

/// What can be done with keys.
#[derive(Subcommand)]
pub enum KeyCommand<S: Settings, K: Subcommand = NoKeyCommand> {
    /// Print what others know this daemon by: its node id, its account.
    Show(Place<S>),
    /// What only this daemon can do.
    #[command(flatten)]
    Own(K),
}

/// A daemon has no commands for keys of its own.
pub enum NoKeyCommand {}

impl FromArgMatches for NoKeyCommand {
    fn from_arg_matches(_: &clap::ArgMatches) -> Result<Self, clap::Error> {
        Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand))
    }

    fn update_from_arg_matches(&mut self, _: &clap::ArgMatches) -> Result<(), clap::Error> {
        match *self {}
    }
}

impl Subcommand for NoKeyCommand {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        command
    }

    fn has_subcommand(_: &str) -> bool {
        false
    }
}

impl<S: Settings> DaemonCommand<S> {
    /// Does what was asked for.
    pub async fn execute<D: Daemon<Settings = S>>(self) -> anyhow::Result<()> {
        self.execute_with::<D>(async |own| match own {}).await
    }
}

impl<S: Settings, K: Subcommand> DaemonCommand<S, K> {
    /// Does what was asked for; `own` does what only this daemon can do with keys.
    pub async fn execute_with<D: Daemon<Settings = S>>(
        self,
        own: impl AsyncFnOnce(K) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Init(flags) => init(flags),
            Self::Run(flags) => run::<D>(flags.load()?).await,
            Self::Key(KeyCommand::Own(command)) => own(command).await,
            Self::Key(KeyCommand::Show(place)) => {
                for (kind, path) in place.load()?.keys {
                    if let Some(public) = kind.public(&path)? {
                        line!("{public}");
                    }
                }
                Ok(())
            }
            Self::ExampleConfig => {
                line!("{}", S::EXAMPLE.trim_end());
                Ok(())
            }
        }
    }
}

fn init<S: Settings>(mut flags: Flags<S>) -> anyhow::Result<()> {
    let file = flags.take_config();
    let loaded = flags.load()?;
    let data_dir = absolute(&loaded.data_dir)?;
    let name = format!("{}.toml", S::PROGRAM.trim_start_matches("arion-"));
    let file = file.unwrap_or_else(|| data_dir.join(name));
    if file.exists() {
        bail!("{} exists already and is not overwritten; name another with --config", file.display());
    }
    for (kind, path) in loaded.keys {
        let is_new = !path.exists();
        if is_new {
            write_secret_seed(&path, &generate_secret_key().to_bytes())?;
        }
        if let Some(public) = kind.public(&path)? {
            line!("{public}");
        }
        let note = if is_new { "new; back it up" } else { "was there" };
        line!("{}: {} ({note})", kind.name(), path.display());
    }
    let mut made = File::create_new(&file).with_context(|| format!("cannot write {}", file.display()))?;
    made.write_all(flags.filled_in(&data_dir).as_bytes())?;
    made.sync_all()?;
    line!("configuration: {} (edit it; then see `{} --help`)", file.display(), S::PROGRAM);
    Ok(())
}

async fn run<D: Daemon>(loaded: Loaded<D::Settings>) -> anyhow::Result<()> {
    init_logs(&loaded.log)?;
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    tokio::spawn(cut_off(shutdown.clone()));
    let mut daemon = tokio::select! {
        started = D::start(loaded.settings) => started?,
        () = shutdown.wait() => return Ok(()),
    };
    let failed = tokio::select! {
        () = shutdown.wait() => None,
        error = daemon.failed() => Some(error),
    };
    daemon.stop().await;
    failed.map_or(Ok(()), Err)
}

/// Ends the process where stopping takes too long. Nothing acknowledged is lost by that: all stores survive a crash.
async fn cut_off(shutdown: Shutdown) {
    shutdown.wait().await;
    tokio::time::sleep(STOP_DEADLINE).await;
    tracing::warn!("what was under way is cut off at the deadline");
    std::process::exit(1);
}

/// Runs a program to its end: an error goes to standard error, and into the exit code.
pub fn execute(
    runtime: &mut runtime::Builder,
    program: impl Future<Output = anyhow::Result<()>>,
) -> ExitCode {
    let outcome = runtime.enable_all().build().context("cannot start threads").and_then(|runtime| {
        let outcome = runtime.block_on(program);
        runtime.shutdown_timeout(EXIT_DEADLINE);
        outcome
    });
    match outcome {
        Err(error) if !error.is::<OutputClosed>() => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The whole program of a daemon that has no other commands.
pub fn main<D: Daemon>() -> ExitCode {
    let matches = cli::<D>().get_matches();
    match DaemonCommand::<D::Settings>::from_arg_matches(&matches) {
        Ok(command) => {
            execute(runtime::Builder::new_multi_thread().worker_threads(2), command.execute::<D>())
        }
        Err(error) => error.exit(),
    }
}

fn cli<D: Daemon>() -> clap::Command {
    let command = clap::Command::new(D::Settings::PROGRAM).version(env!("CARGO_PKG_VERSION"));
    let command = command.subcommand_required(true).arg_required_else_help(true);
    // The enumeration brings a text of its own.
    DaemonCommand::<D::Settings>::augment_subcommands(command).about(D::ABOUT).long_about(D::ABOUT)
}
