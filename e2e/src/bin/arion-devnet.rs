//! A local Arion network for people: start it, look at it, break it, stop it. `scripts/devnet` builds and runs this.

use std::process::ExitCode;

use arion_e2e::cli;
use clap::Parser;

// One thread: the kernel kills a child when the thread that started it ends.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
