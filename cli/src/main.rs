//! `arion`: see `arion --help`.

use std::process::ExitCode;

use arion_cli::{args::Cli, failure};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json();
    let outcome = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                outcome = cli.run() => outcome,
                Ok(()) = tokio::signal::ctrl_c() => {
                    // Transfers run on threads that nobody can stop: what they leave is made to be taken up.
                    eprintln!("\ninterrupted; a transfer goes on where it stopped when you give the same command again");
                    std::process::exit(failure::INTERRUPTED.into());
                }
            }
        }),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            failure::tell(&error, json);
            failure::exit_code(&error)
        }
    }
}
