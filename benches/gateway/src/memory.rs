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

/// Uses most of the free memory once: a virtual machine may get it from its host at first use only, at a price that whoever is
/// measured first would pay.
pub fn touch() -> anyhow::Result<()> {
    const CHUNK: usize = 64 << 20;
    let text = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).context("no MemAvailable")?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
    let chunks: Vec<Vec<u8>> = (0..kib * 1024 / 4 * 3 / CHUNK).map(|_| vec![1; CHUNK]).collect();
    std::hint::black_box(&chunks);
    Ok(())
}

fn value(process: u32, name: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no memory in the status")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
