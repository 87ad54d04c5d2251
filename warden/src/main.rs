//! `arion-warden`: see `arion-warden --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    arion_daemon::main::<arion_warden::daemon::Daemon>()
}
