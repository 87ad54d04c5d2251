//! `arion-gateway`: see `arion-gateway --help`.

use std::process::ExitCode;

use arion_gateway::cli::Cli;
use clap::Parser;

/// Blocks of at least this many bytes, such as stripes and shards, go back to the system when they are freed.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: i32 = 256 << 10;
/// Heaps for what is smaller.
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 2;

/// Bounds what the allocator keeps: left to itself it keeps stripes in a heap for each thread, more than twice of what is in use
/// (`scripts/bench gateway large`).
#[cfg(target_env = "gnu")]
fn bound_heaps() {
    // SAFETY: no other thread runs yet, and the allocator takes any value.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    bound_heaps();
    arion_daemon::execute(&mut tokio::runtime::Builder::new_multi_thread(), Cli::parse().run())
}
