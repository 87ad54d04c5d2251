//! The program as an operator meets it: set-up, errors that say what to do, a clean stop.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);

fn miner(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arion-miner")).args(args).output().unwrap()
}

fn refused(args: &[&str]) -> String {
    let output = miner(args);
    assert!(!output.status.success(), "{args:?} was accepted");
    String::from_utf8(output.stderr).unwrap()
}

fn init() -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("miner").display().to_string();
    let made = miner(&["init", "--data", &data]);
    assert!(made.status.success(), "{made:?}");
    (dir, data)
}

/// A miner without a chain, which `--node-url` points nowhere for.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    http: String,
}

impl Running {
    fn start(data: &str) -> Self {
        let args = ["run", "--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_arion-miner"))
            .args(args)
            .args(["--node-url", "ws://127.0.0.1:1", "--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut running = Self { child, lines, http: String::new() };
        let started = running.line("miner started");
        let started: serde_json::Value = serde_json::from_str(&started).unwrap();
        running.http = started["http"].as_str().unwrap().to_owned();
        running
    }

    fn line(&self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("`{part}` was not logged"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn stop(mut self) -> Duration {
        let start = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        start.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn init_makes_a_key_and_a_configuration_once() {
    let (_dir, data) = init();
    let key = Path::new(&data).join("node.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let node_id = miner(&["node-id", "--data", &data]).stdout;
    assert_eq!(String::from_utf8(node_id).unwrap().trim().len(), 64);
    let config = fs::read_to_string(Path::new(&data).join("miner.toml")).unwrap();
    assert!(config.contains(&format!("data_dir = \"{data}\"")), "{config}");
    let before = fs::read(&key).unwrap();
    assert!(refused(&["init", "--data", &data]).contains("not overwritten"));
    fs::remove_file(Path::new(&data).join("miner.toml")).unwrap();
    assert!(refused(&["init", "--data", &data]).contains("not overwritten"));
    assert_eq!(fs::read(&key).unwrap(), before);
}

#[test]
fn the_example_configuration_is_printed() {
    let printed = String::from_utf8(miner(&["example-config"]).stdout).unwrap();
    assert_eq!(printed, include_str!("../example.toml"));
}

#[test]
fn it_serves_health_and_metrics_and_stops_cleanly_on_sigterm() {
    let (_dir, data) = init();
    let running = Running::start(&data);
    let health = running.get("/health");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("\"chain\""), "{health}");
    let metrics = running.get("/metrics");
    assert!(metrics.contains("arion_miner_store_capacity_bytes"), "{metrics}");
    let second = refused(&["run", "--data", &data, "--listen", "127.0.0.1:0"]);
    assert!(second.contains("another process"), "{second}");
    // The tools work beside the running miner.
    let stats = String::from_utf8(miner(&["store", "stats", "--data", &data]).stdout).unwrap();
    assert!(stats.contains("\"shards\":0"), "{stats}");
    let took = running.stop();
    assert!(took < Duration::from_secs(5), "{took:?}");
    Running::start(&data).stop();
}

#[test]
fn an_exposed_key_a_taken_port_and_a_useless_directory_are_explained() {
    let (dir, data) = init();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let in_use = refused(&["run", "--data", &data, "--listen", &addr]);
    assert!(in_use.contains(&addr) && in_use.contains("in use"), "{in_use}");

    let unreachable = refused(&["run", "--data", &data]);
    assert!(unreachable.contains("`endpoint`"), "{unreachable}");

    let key = Path::new(&data).join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = refused(&["run", "--data", &data, "--listen", "127.0.0.1:0"]);
    assert!(exposed.contains("chmod 600"), "{exposed}");

    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("data").display().to_string();
    let useless = refused(&["run", "--data", &below, "--listen", "127.0.0.1:0"]);
    assert!(useless.contains("data directory"), "{useless}");
}

#[test]
fn wrong_options_are_explained() {
    let (dir, data) = init();
    assert!(refused(&["run"]).contains("--config"));
    let config = dir.path().join("bad.toml");
    fs::write(&config, "data_dir = \"/x\"\ncolour = 1\n").unwrap();
    let unknown = refused(&["--config", &config.display().to_string(), "run"]);
    assert!(unknown.contains("colour"), "{unknown}");
    let validator = refused(&["run", "--data", &data, "--validator", "nobody"]);
    assert!(validator.contains("NODE_ID@HOST:PORT"), "{validator}");
    let hash = "0".repeat(64);
    let no_store = refused(&["store", "locate", "--data", &data, &hash]);
    assert!(no_store.contains("no shard store"), "{no_store}");
    let nobody = refused(&["register", "--data", &data]);
    assert!(nobody.contains("--family-key"), "{nobody}");
}
