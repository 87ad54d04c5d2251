//! Memory of processes.

use anyhow::Context;

/// Resident memory of a process, MiB.
pub fn resident_mib(process: u32) -> anyhow::Result<f64> {
    value(process, "VmRSS:")
}

/// The most it ever was, MiB.
pub fn peak_mib(process: u32) -> anyhow::Result<f64> {
    value(process, "VmHWM:")
}

fn value(process: u32, name: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no memory in the status")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
