//! Starts, watches and stops the processes of one network.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::{
    http,
    process::{self, ProcessId},
    state::ProcessState,
};

/// How long a process may take to end after SIGTERM; every daemon promises 5 s.
pub const STOP_DEADLINE: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(50);

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name within the network.
    pub name: String,
    /// What it does, for people.
    pub role: String,
    /// Where it is reached, for people.
    pub address: String,
    /// `host:port` of its health page.
    pub http: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its directory.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

struct Entry {
    plan: Plan,
    running: Option<(Child, ProcessId)>,
    state: String,
}

/// The processes of one network, in the order they were planned.
#[derive(Default)]
pub struct Supervisor {
    entries: Vec<Entry>,
}

impl Supervisor {
    /// Adds a process; it is not started yet.
    pub fn plan(&mut self, plan: Plan) {
        self.entries.push(Entry { plan, running: None, state: "planned".to_owned() });
    }

    /// Starts a process that is not running.
    pub fn start(&mut self, name: &str) -> anyhow::Result<ProcessId> {
        self.reap();
        let entry = self.entry(name)?;
        if let Some((_, id)) = &entry.running {
            bail!("{name} runs already, pid {}", id.pid);
        }
        let (child, id) = process::spawn(&entry.plan.command, &entry.plan.log)
            .with_context(|| format!("cannot start {name}: {}", entry.plan.command.join(" ")))?;
        entry.running = Some((child, id));
        entry.state = "running".to_owned();
        Ok(id)
    }

    /// Kills a running process with SIGKILL and reaps it.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        self.reap();
        let entry = self.entry(name)?;
        let Some((mut child, id)) = entry.running.take() else { bail!("{name} is not running") };
        id.signal_group(Signal::SIGKILL);
        entry.state = ending(child.wait()?);
        Ok(())
    }

    /// Asks a process to end with SIGTERM and waits; kills it when it does not. Returns how long it took, or an
    /// error when it had to be killed.
    pub async fn stop(&mut self, name: &str) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let late = self.stop_together(&[name.to_owned()]).await?;
        if !late.is_empty() {
            bail!("{name} did not end within {} s of SIGTERM and was killed", STOP_DEADLINE.as_secs());
        }
        Ok(begun.elapsed())
    }

    /// Stops all, the chain nodes last. Returns the names of those that had to be killed.
    pub async fn stop_all(&mut self) -> anyhow::Result<Vec<String>> {
        let (nodes, daemons): (Vec<&Entry>, Vec<&Entry>) =
            self.entries.iter().partition(|entry| entry.plan.name.starts_with("node-"));
        let names = |entries: Vec<&Entry>| -> Vec<String> {
            entries.iter().map(|entry| entry.plan.name.clone()).collect()
        };
        let (nodes, daemons) = (names(nodes), names(daemons));
        let mut late = self.stop_together(&daemons).await?;
        late.extend(self.stop_together(&nodes).await?);
        Ok(late)
    }

    async fn stop_together(&mut self, names: &[String]) -> anyhow::Result<Vec<String>> {
        self.reap();
        for name in names {
            if let Some((_, id)) = &self.entry(name)?.running {
                id.signal(Signal::SIGTERM);
            }
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        let mut late = Vec::new();
        for name in names {
            loop {
                self.reap();
                let entry = self.entry(name)?;
                let Some((child, id)) = &mut entry.running else { break };
                if Instant::now() >= deadline {
                    id.signal_group(Signal::SIGKILL);
                    child.wait()?;
                    entry.running = None;
                    entry.state = "killed: did not stop in time".to_owned();
                    late.push(name.clone());
                    break;
                }
                sleep(POLL).await;
            }
            let entry = self.entry(name)?;
            if entry.state == "exited with code 0" {
                entry.state = "stopped".to_owned();
            }
        }
        Ok(late)
    }

    /// Waits until the health page of a process answers 200; fails as soon as the process ends.
    pub async fn wait_healthy(&mut self, name: &str, deadline: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let entry = self.entry(name)?;
            let (address, log) = (entry.plan.http.clone(), entry.plan.log.clone());
            let unhealthy = match http::get(&address, "/health").await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => format!("answers {}: {}", answer.status, answer.body.trim()),
                Err(error) => format!("{error:#}"),
            };
            self.reap();
            let entry = self.entry(name)?;
            if entry.running.is_none() {
                bail!("{name} {}; the end of its log:\n{}", entry.state, tail(&log, 15));
            }
            if begun.elapsed() >= deadline {
                bail!(
                    "{name} is not healthy after {} s: {unhealthy}\n{}",
                    deadline.as_secs(),
                    tail(&log, 15)
                );
            }
            sleep(POLL * 2).await;
        }
    }

    /// Takes note of processes that ended; returns their names and how they ended.
    pub fn reap(&mut self) -> Vec<(String, String)> {
        let mut ended = Vec::new();
        for entry in &mut self.entries {
            if let Some((child, _)) = &mut entry.running
                && let Ok(Some(status)) = child.try_wait()
            {
                entry.state = ending(status);
                entry.running = None;
                ended.push((entry.plan.name.clone(), entry.state.clone()));
            }
        }
        ended
    }

    /// Names of the processes that run, with their ids.
    pub fn running(&mut self) -> Vec<(String, ProcessId)> {
        self.reap();
        self.entries
            .iter()
            .filter_map(|entry| entry.running.as_ref().map(|(_, id)| (entry.plan.name.clone(), *id)))
            .collect()
    }

    /// Resident memory of all running processes, in bytes.
    pub fn resident_bytes(&mut self) -> u64 {
        self.running().iter().map(|(_, id)| id.resident_bytes()).sum()
    }

    /// The plan of a process.
    pub fn planned(&self, name: &str) -> anyhow::Result<&Plan> {
        self.entries
            .iter()
            .map(|entry| &entry.plan)
            .find(|plan| plan.name == name)
            .with_context(|| self.unknown(name))
    }

    /// Gives an option of a process another value, from its next start on.
    pub fn tell(&mut self, name: &str, option: &str, value: &str) -> anyhow::Result<()> {
        let unknown = self.unknown(name);
        let plan = self.entries.iter_mut().map(|entry| &mut entry.plan).find(|plan| plan.name == name);
        let command = &mut plan.context(unknown)?.command;
        let flag = format!("--{option}");
        let at = command.iter().position(|word| *word == flag).map(|at| at + 1);
        let word = at.and_then(|at| command.get_mut(at));
        *word.with_context(|| format!("{name} is not told {flag}"))? = value.to_owned();
        Ok(())
    }

    /// Everything, for the state file.
    pub fn states(&mut self) -> Vec<ProcessState> {
        self.reap();
        self.entries
            .iter()
            .map(|entry| ProcessState {
                name: entry.plan.name.clone(),
                role: entry.plan.role.clone(),
                address: entry.plan.address.clone(),
                http: entry.plan.http.clone(),
                process: entry.running.as_ref().map(|(_, id)| *id),
                state: entry.state.clone(),
                command: entry.plan.command.clone(),
                data: entry.plan.data.clone(),
                log: entry.plan.log.clone(),
            })
            .collect()
    }

    fn entry(&mut self, name: &str) -> anyhow::Result<&mut Entry> {
        let unknown = self.unknown(name);
        self.entries.iter_mut().find(|entry| entry.plan.name == name).context(unknown)
    }

    fn unknown(&self, name: &str) -> String {
        let names: Vec<&str> = self.entries.iter().map(|entry| entry.plan.name.as_str()).collect();
        format!("no process is called {name}; there are {}", names.join(", "))
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The last lines of a log.
pub fn tail(log: &std::path::Path, lines: usize) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(directory: &std::path::Path, scripts: &[(&str, &str)]) -> Supervisor {
        let mut supervisor = Supervisor::default();
        for (name, script) in scripts {
            supervisor.plan(Plan {
                name: (*name).to_owned(),
                role: "test".to_owned(),
                address: String::new(),
                http: "127.0.0.1:1".to_owned(),
                command: ["sh", "-c", script].map(String::from).to_vec(),
                data: directory.to_owned(),
                log: directory.join(format!("{name}.log")),
            });
        }
        supervisor
    }

    #[tokio::test]
    async fn a_process_is_started_once_killed_and_started_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut supervisor = supervisor(directory.path(), &[("a", "exec sleep 60")]);
        let first = supervisor.start("a").unwrap();
        assert!(supervisor.start("a").unwrap_err().to_string().contains("runs already"));
        supervisor.kill("a").unwrap();
        assert!(!first.is_alive());
        assert_eq!(supervisor.states()[0].state, "killed by signal 9");
        assert_ne!(supervisor.start("a").unwrap(), first);
        assert!(supervisor.stop_all().await.unwrap().is_empty());
        assert!(supervisor.running().is_empty());
        assert!(supervisor.start("b").unwrap_err().to_string().contains("there are a"));
    }

    #[tokio::test]
    async fn waiting_for_health_ends_when_the_process_does() {
        let directory = tempfile::tempdir().unwrap();
        let mut supervisor = supervisor(directory.path(), &[("a", "echo no such file; exit 3")]);
        supervisor.start("a").unwrap();
        let error = supervisor.wait_healthy("a", Duration::from_secs(20)).await.unwrap_err().to_string();
        assert!(error.contains("exited with code 3") && error.contains("no such file"), "{error}");
    }
}
