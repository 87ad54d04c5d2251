//! `arion`: see `arion --help`.

use std::process::ExitCode;

use arion_cli::{args::Cli, failure};
use arion_daemon::output::OutputClosed;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            if !error.is::<OutputClosed>() {
                eprintln!("error: {error:#}");
            }
            failure::exit_code(&error)
        }
    }
}
