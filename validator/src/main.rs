//! `arion-validator`: see `arion-validator --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    arion_daemon::main::<arion_validator::daemon::Daemon>()
}
