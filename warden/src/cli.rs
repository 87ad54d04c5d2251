//! The command line.

use std::path::{Path, PathBuf};

use anyhow::Context;
use arion_daemon::{CommonArgs, Shutdown, init_logs, load_config};
use arion_types::signing::node_id;
use clap::{Parser, Subcommand};

use crate::{
    config::{Config, EXAMPLE, Options},
    daemon::Daemon,
};

/// The warden of Arion: challenges storage miners to prove the shards they signed for, and signs what it saw.
///
/// First steps: `init` makes the warden key; have it registered on chain (`Arion.register_warden`);
/// write a configuration
/// (`example-config`); `run --config FILE`.
#[derive(Debug, Parser)]
#[command(name = "arion-warden", version)]
pub struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT.
    Run(Box<Options>),
    /// Make the warden key and print its public part.
    Init {
        /// File for the warden key.
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
    /// Print a configuration with every key, its meaning and default.
    ExampleConfig,
}

impl Cli {
    /// Carries out the command.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run(flags) => run(config(&self.common, *flags)?).await,
            Command::Init { key_file } => init(&key_file),
            Command::ExampleConfig => {
                print!("{EXAMPLE}");
                Ok(())
            }
        }
    }
}

fn config(common: &CommonArgs, flags: Options) -> anyhow::Result<Config> {
    let file = common.config.as_deref().map(load_config::<Options>).transpose()?.unwrap_or_default();
    let mut options = flags.over(file);
    common.apply(&mut options.http, &mut options.log);
    Ok(options.complete()?)
}

fn init(key_file: &Path) -> anyhow::Result<()> {
    let key = arion_daemon::generate_secret_key();
    arion_daemon::write_secret_key(key_file, &key)?;
    println!("warden: {}", node_id(&key));
    Ok(())
}

async fn run(config: Config) -> anyhow::Result<()> {
    init_logs(&config.log)?;
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let started = tokio::select! {
        started = Daemon::start(config) => started?,
        _ = shutdown.wait() => return Ok(()),
    };
    shutdown.wait().await;
    started.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn init_makes_a_key_once() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("warden.key");
        init(&key).unwrap();
        assert!(init(&key).is_err());
        arion_daemon::read_secret_key(&key).unwrap();
    }
}
