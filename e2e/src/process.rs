//! Child processes: their own session each, dead when the supervisor is dead, never mixed up with a recycled pid.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getppid, setsid},
};
use serde::{Deserialize, Serialize};

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

/// What `/proc/PID/stat` says.
struct Stat {
    state: char,
    start_ticks: u64,
}

impl ProcessId {
    /// The process that has this pid now, if there is one.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_ticks: stat(pid)?.start_ticks })
    }

    /// This process.
    pub fn current() -> Self {
        Self::of(std::process::id()).expect("a running process has an entry in /proc")
    }

    /// Whether the same process still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| {
            stat.start_ticks == self.start_ticks && !matches!(stat.state, 'Z' | 'X' | 'x')
        })
    }

    /// Sends `signal` if the same process still runs; says whether it was sent.
    pub fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && kill(self.nix_pid(), signal).is_ok()
    }

    /// Sends `signal` to the process group that this process leads, if the process still runs.
    pub fn signal_group(&self, signal: Signal) -> bool {
        self.is_alive() && killpg(self.nix_pid(), signal).is_ok()
    }

    /// Resident memory in bytes; 0 when it is gone.
    pub fn resident_bytes(&self) -> u64 {
        if !self.is_alive() {
            return 0;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1_024
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.pid as i32)
    }
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command name in the second field may hold spaces and brackets: fields are counted behind its last `)`.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start_ticks })
}

/// Starts `command[0]` with the rest as arguments, standard output and error appended to `log`.
///
/// Must be called on the main thread: the kernel kills the child when the *thread* that started it ends.
pub fn spawn(command: &[String], log: &Path) -> std::io::Result<(Child, ProcessId)> {
    let mut process = detached(command, log)?;
    let parent = Pid::this();
    // SAFETY: prctl, getppid and compare are async-signal-safe and touch no memory of the parent.
    unsafe {
        process.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                return Err(std::io::Error::other("the supervisor is gone"));
            }
            Ok(())
        });
    }
    start(process)
}

/// Like [`spawn`], but the child goes on when this process ends.
pub fn spawn_detached(command: &[String], log: &Path) -> std::io::Result<(Child, ProcessId)> {
    start(detached(command, log)?)
}

fn detached(command: &[String], log: &Path) -> std::io::Result<Command> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| std::io::Error::other("an empty command cannot be started"))?;
    let log = File::options().create(true).append(true).open(log)?;
    let mut process = Command::new(program);
    process.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
    unsafe {
        process.pre_exec(|| setsid().map(|_| ()).map_err(std::io::Error::from));
    }
    Ok(process)
}

fn start(mut process: Command) -> std::io::Result<(Child, ProcessId)> {
    let child = process.spawn()?;
    let id = ProcessId::of(child.id()).expect("a child that was not waited for has an entry in /proc");
    Ok((child, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_last_bracket() {
        let line =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 8192 1 18446744073709551615";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.start_ticks), ('S', 4242));
        assert!(parse_stat("7 (cut").is_none());
    }

    #[test]
    fn a_recycled_pid_is_neither_alive_nor_signalled() {
        let mut other = ProcessId::current();
        assert!(other.is_alive());
        assert!(other.resident_bytes() > 0);
        other.start_ticks += 1;
        assert!(!other.is_alive());
        assert!(!other.signal(Signal::SIGKILL));
    }

    #[test]
    fn a_child_writes_its_log_leads_its_session_and_is_reaped() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("child.log");
        let command = ["sh", "-c", "echo from the child; exec sleep 60"].map(String::from);
        let (mut child, id) = spawn(&command, &log).unwrap();
        assert!(id.is_alive());
        assert_eq!(nix::unistd::getsid(Some(Pid::from_raw(id.pid as i32))).unwrap().as_raw() as u32, id.pid);
        assert!(id.signal_group(Signal::SIGKILL));
        child.wait().unwrap();
        assert!(!id.is_alive());
        assert!(std::fs::read_to_string(log).is_ok());
    }
}
