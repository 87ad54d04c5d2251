//! What a network is, written down in its directory for `status`, `stop` and other programs.
//!
//! `devnet.json` holds the S3 secret and is readable by its owner only. It is replaced as a whole: a reader never
//! sees half of it.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::process::ProcessId;

/// Name of the file in the directory of the network.
pub const FILE: &str = "devnet.json";

/// How far the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Processes are being started, accounts and nodes registered.
    Forming,
    /// Objects can be stored.
    Ready,
    /// Everything was stopped.
    Stopped,
}

/// How a client reaches the S3 endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Access {
    /// `http://host:port`.
    pub endpoint: String,
    /// Access key.
    pub access_key: String,
    /// Secret of the access key, made for this network.
    pub secret_key: String,
    /// Region to sign for.
    pub region: String,
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessState {
    /// Name within the network.
    pub name: String,
    /// What it does.
    pub role: String,
    /// Where it is reached.
    pub address: String,
    /// Where it answers `/health` and `/metrics`.
    pub http: String,
    /// Process id, absent while it is not running.
    pub process: Option<ProcessId>,
    /// `running`, `stopped`, `exited with code 1`, `killed by signal 9`, ...
    pub state: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its directory.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

/// A network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// First port of its block.
    pub base_port: u16,
    /// The process that started the others and stops them.
    pub supervisor: ProcessId,
    /// WebSocket URL of the first chain node.
    pub ws: String,
    /// Hash of block 0, hex, once known.
    pub genesis: Option<String>,
    /// Access to the S3 endpoint, once there is a key.
    pub s3: Option<S3Access>,
    /// Directory of the network.
    pub directory: PathBuf,
    /// Directory of the logs.
    pub logs: PathBuf,
    /// Shell file that sets the environment for `aws` and `arion`, once there is an S3 key.
    pub environment: Option<PathBuf>,
    /// All processes in the order they are started in.
    pub processes: Vec<ProcessState>,
}

impl State {
    /// Reads the state of the network in `directory`; `None` if there never was one.
    pub fn load(directory: &Path) -> anyhow::Result<Option<Self>> {
        let path = directory.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut state: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged: delete it or use --fresh", path.display()))?;
        state.look();
        Ok(Some(state))
    }

    /// Writes the state, replacing what was there.
    pub fn save(&self) -> anyhow::Result<()> {
        let (path, next) = (self.directory.join(FILE), self.directory.join(".devnet.json.next"));
        let write = || -> std::io::Result<()> {
            let mut file =
                std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.write_all(b"\n")?;
            std::fs::rename(&next, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether the supervisor lives.
    pub fn is_up(&self) -> bool {
        self.supervisor.is_alive()
    }

    /// Corrects what the file says by what `/proc` says.
    fn look(&mut self) {
        for process in &mut self.processes {
            if process.process.is_some_and(|id| !id.is_alive()) {
                process.process = None;
                if process.state == "running" {
                    process.state = "gone".to_owned();
                }
            }
        }
        if !self.is_up() && self.phase != Phase::Stopped {
            self.phase = Phase::Stopped;
        }
    }

    /// The process of that name, or an error that lists the names.
    pub fn process(&self, name: &str) -> anyhow::Result<&ProcessState> {
        self.processes.iter().find(|process| process.name == name).with_context(|| {
            let names: Vec<&str> = self.processes.iter().map(|process| process.name.as_str()).collect();
            format!("no process is called {name}; there are {}", names.join(", "))
        })
    }
}
