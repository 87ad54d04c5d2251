//! Full node and block-producing validator of the Arion chain.
//!
//! Runs the wasm runtime of `arion-runtime` with BABE and GRANDPA, a ParityDB database, and JSON-RPC for
//! clients.
//!
//! # Not here
//! Rules of the chain (`runtime/`, `pallets/`); the daemons of the storage network, which are clients of this
//! node.

// The errors of sc-cli are what they are, and made once in the life of a process.
#![allow(clippy::result_large_err)]

mod chain_spec;
mod cli;
mod command;
mod equivocation;
mod export_runtime;
mod metadata_hash;
mod quality;
mod rpc;
mod service;
mod testnet;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
