//! This program again, in another role, on a core or in a network namespace.

use std::{
    io::{BufRead, BufReader},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

const ROLE: &str = "ARION_BENCH_ROLE";

/// What this process is to do, if it is not the one that measures.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Returns when the process that measures wants this one to end.
pub(crate) fn until_told() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

/// A running child. It ends when this is dropped: its input ends.
pub(crate) struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// On one core, counted modulo those there are.
    pub(crate) fn on_core<S: AsRef<str>>(core: usize, role: &[S]) -> Self {
        let cores = std::thread::available_parallelism().unwrap().get();
        let mut command = Command::new("taskset");
        command.args(["-c", &(core % cores).to_string()]).arg(std::env::current_exe().unwrap());
        Self::start(command, role)
    }

    /// A server on one core, and the address it says it listens on.
    pub(crate) fn server<S: AsRef<str>>(core: usize, role: &[S]) -> (Self, String) {
        let mut child = Self::on_core(core, role);
        let addr = child.line();
        (child, addr)
    }

    /// In a network namespace, on any core.
    pub(crate) fn in_namespace<S: AsRef<str>>(name: &str, role: &[S]) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(std::env::current_exe().unwrap());
        Self::start(command, role)
    }

    fn start<S: AsRef<str>>(mut command: Command, role: &[S]) -> Self {
        let role: Vec<&str> = role.iter().map(AsRef::as_ref).collect();
        let mut process = command
            .env(ROLE, role.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (input, output) = (process.stdin.take(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output) }
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "a process of the bench ended early; see its message above");
        line.trim().to_owned()
    }

    /// The numbers of the one line it prints; it has ended then.
    pub(crate) fn figures(mut self) -> Vec<f64> {
        let figures = self.line().split(' ').map(|figure| figure.parse().unwrap()).collect();
        self.end();
        figures
    }

    /// Memory it has in RAM.
    pub(crate) fn resident_mib(&self) -> f64 {
        resident_mib(&self.process.id().to_string())
    }

    /// Seconds its first thread, which does all the work, has been on a processor.
    pub(crate) fn busy_seconds(&self) -> f64 {
        busy_seconds(&self.process.id().to_string())
    }

    pub(crate) fn end(&mut self) {
        self.input = None;
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}

/// Memory a process has in RAM.
pub(crate) fn resident_mib(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// Seconds the first thread of a process has been on a processor.
pub(crate) fn busy_seconds(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap();
    status.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
