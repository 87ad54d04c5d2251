//! `arion-submitter`: see `arion-submitter --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    arion_daemon::main::<arion_submitter::daemon::Daemon>()
}
