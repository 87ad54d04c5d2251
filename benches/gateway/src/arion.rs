//! A local network of ours: `arion-devnet`, run as a user would.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::{client::Endpoint, memory};

/// A running network, stopped when dropped.
pub struct Network {
    program: PathBuf,
    place: Vec<String>,
    pub endpoint: Endpoint,
    state: State,
}

#[derive(Deserialize)]
struct State {
    s3: Endpoint,
    environment: PathBuf,
    processes: Vec<Process>,
}

/// A process of the network.
#[derive(Deserialize)]
pub struct Process {
    pub name: String,
    /// `quic host:port` of a miner.
    pub address: String,
    /// `host:port` of its metrics.
    pub http: String,
    /// Its directory.
    pub data: PathBuf,
    process: Option<Id>,
}

#[derive(Deserialize)]
struct Id {
    pid: u32,
}

impl Network {
    /// Starts a network; one that is not `fresh` has what an earlier one in the directory stored.
    pub fn start(
        program: &Path,
        directory: &Path,
        port: u16,
        fresh: bool,
        cache: &str,
    ) -> anyhow::Result<Self> {
        let mut options = vec!["--miners", "30", "--read-cache", cache];
        options.extend(fresh.then_some("--fresh"));
        Self::up(program, directory, port, &options)
    }

    /// Starts a network with these options of `arion-devnet up`.
    pub fn up(program: &Path, directory: &Path, port: u16, options: &[&str]) -> anyhow::Result<Self> {
        let place = vec![
            "--data".to_owned(),
            directory.to_str().context("the directory is not UTF-8")?.to_owned(),
            "--base-port".to_owned(),
            port.to_string(),
        ];
        run(program, &[&["up", "--detach"], options].concat(), &place)?;
        let state: State = serde_json::from_str(&run(program, &["status", "--json"], &place)?)?;
        Ok(Self { program: program.to_owned(), place, endpoint: state.s3.clone(), state })
    }

    /// Resident memory of the gateway and of all miners, MiB.
    pub fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let (mut gateway, mut miners) = (0.0, 0.0);
        for process in &self.state.processes {
            let id = process.process.as_ref().with_context(|| format!("{} does not run", process.name))?.pid;
            if process.name == "gateway" {
                gateway += memory::resident_mib(id)?;
            } else if process.name.starts_with("miner") {
                miners += memory::resident_mib(id)?;
            }
        }
        Ok((gateway, miners))
    }

    /// A process, by name.
    pub fn process(&self, name: &str) -> anyhow::Result<&Process> {
        let found = self.state.processes.iter().find(|process| process.name == name);
        found.with_context(|| format!("there is no process {name}"))
    }

    /// Kills a process with SIGKILL, or starts it again.
    pub fn tell(&self, command: &str, name: &str) -> anyhow::Result<()> {
        run(&self.program, &[command, name], &self.place).map(drop)
    }

    /// What a command of `arion` printed on this network; `None` if it failed, which it has said on standard error.
    pub fn arion(&self, arguments: &[&str]) -> anyhow::Result<Option<String>> {
        let output = Command::new("sh")
            .args(["-c", r#". "$0" && exec arion "$@""#])
            .arg(&self.state.environment)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .context("cannot run arion")?;
        Ok(output.status.success().then(|| String::from_utf8(output.stdout)).transpose()?)
    }

    /// The process of the gateway.
    pub fn gateway(&self) -> anyhow::Result<u32> {
        let gateway = self.state.processes.iter().find(|process| process.name == "gateway");
        let id = gateway.and_then(|gateway| gateway.process.as_ref());
        Ok(id.context("there is no gateway")?.pid)
    }
}

/// How the network in a directory is reached.
pub fn state(program: &Path, directory: &Path) -> anyhow::Result<Endpoint> {
    let place = ["--data".to_owned(), directory.display().to_string()];
    let state: State = serde_json::from_str(&run(program, &["status", "--json"], &place)?)?;
    Ok(state.s3)
}

/// Stops the network in a directory.
pub fn stop(program: &Path, directory: &Path) -> anyhow::Result<()> {
    run(program, &["stop"], &["--data".to_owned(), directory.display().to_string()]).map(drop)
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = run(&self.program, &["stop"], &self.place) {
            eprintln!("{error:#}");
        }
    }
}

fn run(program: &Path, command: &[&str], place: &[String]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(command)
        .args(place)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(output.status.success(), "{} {} failed", program.display(), command.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}
