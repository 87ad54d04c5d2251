//! The simulator: the real gateway, miners, validator services and wardens in one thread, from one seed, on a clock, disks, a network
//! and a chain that fail as told. What runs and what does not: docs/simulator.md.

mod chain;
mod commands;
mod dice;
mod disk;
mod gateway;
mod host;
mod journal;
mod life;
mod load;
mod many;
mod miner;
mod network;
mod outside;
mod pauses;
mod regressions;
mod run;
mod scenario;
mod trace;
mod validator;
mod warden;
mod what_if;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
