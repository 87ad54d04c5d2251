//! `arion-relay`: see `arion-relay --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    arion_daemon::main::<arion_relay::daemon::Relay>()
}
