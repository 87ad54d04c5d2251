//! A gateway on miners in memory, the tool, and a way between them that can break.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

#[path = "../../../gateway/tests/gateway/network.rs"]
pub mod network;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arion_cli::{objects::Client, settings::Settings};
use arion_gateway::{
    http::S3Server,
    keys::AccessKeys,
    meta::BucketInfo,
    s3::{self, Store},
};

pub struct Served {
    pub endpoint: String,
    pub credentials: (String, String),
    pub directory: tempfile::TempDir,
    server: S3Server,
}

/// Beside a bucket `taken` of somebody else.
pub async fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let network = network::Network::new();
    let grid = network.grid(directory.path());
    let keys = Arc::new(AccessKeys::new(directory.path().join("keys.toml")));
    let credentials = keys.add("alice", None, None).unwrap();
    grid.meta.create_bucket("taken".into(), BucketInfo::new("bob".into(), 1)).await.unwrap();
    let region = "us-east-1".to_owned();
    let part_bytes_min = s3::PART_BYTES_MIN;
    let keyring = network::keyring(&grid.meta);
    let (webhooks, credit) = Default::default();
    let store = Store { grid, keyring, keys, region, part_bytes_min, webhooks, credit };
    let address = "127.0.0.1:0".parse().unwrap();
    let service = s3::service(store, s3::Domains::default());
    let server = S3Server::bind(address, service, Duration::from_secs(1)).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    Served { endpoint, credentials, directory, server }
}

impl Served {
    /// Runs blocking work beside the server, then ends the server.
    pub async fn while_serving(self, work: impl FnOnce(&Tool) + Send + 'static) {
        let Self { endpoint, credentials, directory, server } = self;
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let tool = Tool { endpoint, credentials, files };
        tokio::task::spawn_blocking(move || work(&tool)).await.unwrap();
        server.shutdown().await;
    }
}

/// The tool in a directory of its own.
pub struct Tool {
    pub endpoint: String,
    pub credentials: (String, String),
    pub files: std::path::PathBuf,
}

impl Tool {
    pub fn client(&self) -> Client {
        let settings = Settings {
            chain_url: String::new(),
            chain_genesis: None,
            s3_endpoint: self.endpoint.clone(),
            region: "us-east-1".to_owned(),
            credentials: Some(self.credentials.clone()),
            gateway_http: None,
            validators: Vec::new(),
        };
        Client::new(&settings).unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arion"));
        command
            .args(arguments)
            .current_dir(&self.files)
            .env("ARION_S3_ENDPOINT", &self.endpoint)
            .env("ARION_ACCESS_KEY", &self.credentials.0)
            .env("ARION_SECRET_KEY", &self.credentials.1)
            .env("HOME", &self.files)
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it; exit code, standard output and standard error.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        said(self.command(arguments).output().unwrap())
    }

    /// Runs it; it has to succeed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.files.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.files.join(name)).unwrap()
    }

    /// Runs it through a way that breaks, interrupts it when `when` holds, and waits.
    pub fn interrupted(
        &self,
        way: &Way,
        arguments: &[&str],
        mut when: impl FnMut() -> bool,
    ) -> (i32, String) {
        let child = self.command(arguments).env("ARION_S3_ENDPOINT", &way.endpoint).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !when() {
            assert!(Instant::now() < deadline, "{arguments:?} never came to where it is interrupted");
            thread::sleep(Duration::from_millis(20));
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let (code, _, err) = said(child.wait_with_output().unwrap());
        (code, err)
    }
}

fn said(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A way to the gateway on which so many bytes pass up and down, and then nothing more.
pub struct Way {
    pub endpoint: String,
}

impl Way {
    pub fn new(endpoint: &str, up: i64, down: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = format!("http://{}", listener.local_addr().unwrap());
        let target = endpoint.trim_start_matches("http://").to_owned();
        let (up, down) = (Arc::new(AtomicI64::new(up)), Arc::new(AtomicI64::new(down)));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&target) else { return };
                let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (up, down) = (up.clone(), down.clone());
                thread::spawn(move || pump(client, server, &up));
                thread::spawn(move || pump(server_too, client_too, &down));
            }
        });
        Self { endpoint: way }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if left.fetch_sub(read as i64, Ordering::SeqCst) < read as i64 {
            // Nothing passes any more, and nobody is told: only a reset of the other side ends it.
            while matches!(from.read(&mut buffer), Ok(1..)) {}
            break;
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
