//! The command line.

use std::path::{Path, PathBuf};

use anyhow::Context;
use arion_chain::{Account, ss58};
use arion_daemon::{CommonArgs, Shutdown, init_logs, keys, load_config};
use arion_types::signing::node_id;
use clap::{Parser, Subcommand};

use crate::{
    config::{Config, EXAMPLE, Options},
    daemon::Daemon,
};

/// The validator service of Arion: takes heartbeats of storage miners and votes for placement maps.
///
/// First steps: `init` makes the node key; register its node id on chain as a Validator; write a configuration
/// (`example-config`); `run --config FILE`.
#[derive(Debug, Parser)]
#[command(name = "arion-validator", version)]
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
    /// Make the node key, and an account key if a file for one is named and missing; print the public parts.
    Init {
        /// File for the node key.
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// File for the account key.
        #[arg(long, value_name = "FILE")]
        account_file: Option<PathBuf>,
    },
    /// Print a configuration with every key, its meaning and default.
    ExampleConfig,
}

impl Cli {
    /// Carries out the command.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run(flags) => run(config(&self.common, *flags)?).await,
            Command::Init { key_file, account_file } => init(&key_file, account_file.as_deref()),
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

fn init(key_file: &Path, account_file: Option<&Path>) -> anyhow::Result<()> {
    let key = arion_daemon::generate_secret_key();
    arion_daemon::write_secret_key(key_file, &key)?;
    println!("node id: {}", node_id(&key));
    if let Some(path) = account_file {
        if !path.exists() {
            keys::write_secret_seed(path, &arion_daemon::generate_secret_key().to_bytes())?;
        }
        println!("account: {}", ss58(&Account::from_file(path)?.id()));
    }
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
    fn init_makes_keys_once() {
        let directory = tempfile::tempdir().unwrap();
        let (key, account) = (directory.path().join("node.key"), directory.path().join("account.key"));
        init(&key, Some(&account)).unwrap();
        assert!(init(&key, None).is_err());
        arion_daemon::read_secret_key(&key).unwrap();
        Account::from_file(&account).unwrap();
    }
}
