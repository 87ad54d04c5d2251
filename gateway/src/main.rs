//! `arion-gateway`: see `arion-gateway --help`.

use std::process::ExitCode;

use arion_gateway::cli::Cli;
use clap::Parser;

arion_daemon::keep_memory!();

fn main() -> ExitCode {
    arion_daemon::execute(&mut tokio::runtime::Builder::new_multi_thread(), Cli::parse().run())
}
