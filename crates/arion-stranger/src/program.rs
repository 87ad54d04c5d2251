//! Starting, watching and stopping a program.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Longest wait for anything that must happen.
const DEADLINE: Duration = Duration::from_secs(60);
/// What a daemon promises: from the signal to its end.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A daemon's program with a data directory that its `init` made.
pub struct Program {
    exe: PathBuf,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) ports: Vec<&'static str>,
    pub(crate) dir: TempDir,
}

impl Program {
    /// `run` needs these `options` besides the directory; `ports` are those flags among them that take an address on
    /// 127.0.0.1 which must be free.
    pub fn new(exe: &str, options: &[(&str, &str)], ports: &[&'static str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut all = BTreeMap::from([
            ("--http-addr".to_owned(), "127.0.0.1:0".to_owned()),
            ("--chain-url".to_owned(), "ws://127.0.0.1:1".to_owned()),
            ("--log-format".to_owned(), "json".to_owned()),
        ]);
        all.extend(ports.iter().map(|port| ((*port).to_owned(), "127.0.0.1:0".to_owned())));
        all.extend(options.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())));
        let mut program = Self { exe: exe.into(), options: all, ports: ports.to_vec(), dir };
        let data = program.data().display().to_string();
        let made = program.output(&["init", "--data-dir", &data]);
        assert!(made.status.success(), "{made:?}");
        program.options.insert("--data-dir".to_owned(), data);
        program
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs a command to its end.
    pub fn output(&self, args: &[&str]) -> Output {
        self.output_of(self.command(args))
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.exe);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn output_of(&self, mut command: Command) -> Output {
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + DEADLINE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("{command:?} goes on: {:?}", child.wait_with_output().unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.wait_with_output().unwrap()
    }

    /// What a command that must fail says.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(!output.status.success(), "{args:?} was accepted");
        String::from_utf8(output.stderr).unwrap()
    }

    fn run_args(&self, changes: &[(&str, &str)]) -> Vec<String> {
        let mut options = self.options.clone();
        options.extend(changes.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())));
        let options = options.into_iter().flat_map(|(flag, value)| [flag, value]);
        std::iter::once("run".to_owned()).chain(options).collect()
    }

    /// What `run` with these changed options, which must fail, says.
    pub fn run_refused(&self, changes: &[(&str, &str)]) -> String {
        let args = self.run_args(changes);
        self.refused(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs the daemon with these changed options.
    pub fn run(&self, changes: &[(&str, &str)]) -> Running {
        let args = self.run_args(changes);
        let mut command = self.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A running daemon; killed when dropped.
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// The next line of the log with this text.
    pub fn line(&self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("`{part}` was not logged"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// A field of the next line of the log with this text.
    pub fn field(&self, part: &str, name: &str) -> String {
        let line: serde_json::Value = serde_json::from_str(&self.line(part)).unwrap();
        line[name].as_str().unwrap_or_else(|| panic!("{line} has no {name}")).to_owned()
    }

    /// Waits until health and metrics are served; returns where.
    pub fn http(&self) -> String {
        self.field("health and metrics are served", "http")
    }

    /// Tells it to stop, and sees that it does so in time and without complaint.
    pub fn stop(mut self) {
        let start = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = self.end();
        assert!(status.success(), "{status}");
        assert!(start.elapsed() < STOP_MAX, "{:?}", start.elapsed());
    }

    /// Waits until it ends by itself.
    pub fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the daemon goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer to GET, header and body.
pub fn get(addr: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
