//! `arion-miner`: see `arion-miner --help`.

use std::process::ExitCode;

use arion_miner::cli::Cli;
use clap::Parser;

arion_daemon::keep_memory!();

fn main() -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    arion_daemon::execute(runtime.worker_threads(2).max_blocking_threads(16), Cli::parse().run())
}
