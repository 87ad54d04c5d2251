//! The socket through which other invocations ask the supervisor to start a process.
//!
//! A request is the name of a process and a newline; the answer is `ok PID` or `error TEXT` and a newline. Who may
//! ask: whoever may enter the directory of the network, which is its owner.

use std::{os::fd::AsRawFd, path::Path};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinSet,
};

const FILE: &str = "control.sock";
const LINE_BYTES_MAX: u64 = 1_024;

/// Where the supervisor listens.
#[derive(Debug)]
pub struct Control {
    asked: mpsc::Receiver<Asked>,
    // Ends with this.
    _listening: JoinSet<()>,
    // The path of the socket goes through this descriptor.
    _directory: std::fs::File,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Asked {
    /// The process to start.
    pub name: String,
    stream: UnixStream,
}

impl Control {
    /// Listens in the directory of the network.
    pub fn bind(directory: &Path) -> anyhow::Result<Self> {
        let socket = directory.join(FILE);
        if socket.exists() {
            std::fs::remove_file(&socket)?;
        }
        let (directory, path) = short_path(directory)?;
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen on {}", socket.display()))?;
        let (sender, asked) = mpsc::channel(1);
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, sender));
        Ok(Self { asked, _listening: listening, _directory: directory })
    }

    /// The next request. Nothing is lost when it is not waited for to the end.
    pub async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

/// Passes on what is asked. Connections that send nothing are dropped.
async fn listen(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    while !asked.is_closed() {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if let Ok(request) = read(stream).await
            && asked.send(request).await.is_err()
        {
            return;
        }
    }
}

impl Asked {
    /// Answers.
    pub async fn answer(mut self, result: anyhow::Result<u32>) {
        let line = match result {
            Ok(pid) => format!("ok {pid}\n"),
            Err(error) => format!("error {}\n", format!("{error:#}").replace('\n', " | ")),
        };
        // A client that went away has no use for the answer.
        let _ = self.stream.write_all(line.as_bytes()).await;
    }
}

/// Asks the supervisor of the network in `directory` to start a process; returns its pid.
pub async fn start(directory: &Path, name: &str) -> anyhow::Result<u32> {
    let (_descriptor, path) = short_path(directory)?;
    let mut stream = UnixStream::connect(path)
        .await
        .context("the supervisor does not listen yet: wait until the network has formed")?;
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    let line = read_line(&mut stream).await?;
    match line.split_once(' ') {
        Some(("ok", pid)) => pid.parse().context("the supervisor answered no pid"),
        Some(("error", text)) => bail!("{text}"),
        _ => bail!("the supervisor closed the connection"),
    }
}

async fn read(mut stream: UnixStream) -> anyhow::Result<Asked> {
    let name = tokio::time::timeout(std::time::Duration::from_secs(2), read_line(&mut stream)).await??;
    Ok(Asked { name, stream })
}

async fn read_line(stream: &mut UnixStream) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

/// A path to the socket within the 108 bytes that a socket address holds, whatever the directory is called.
fn short_path(directory: &Path) -> anyhow::Result<(std::fs::File, String)> {
    let descriptor =
        std::fs::File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    let path = format!("/proc/self/fd/{}/{FILE}", descriptor.as_raw_fd());
    Ok((descriptor, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_over_a_long_path() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("d".repeat(120));
        std::fs::create_dir(&directory).unwrap();
        let mut control = Control::bind(&directory).unwrap();
        let serve = async {
            for _ in 0..2 {
                let asked = control.next().await;
                let result = if asked.name == "miner-01" { Ok(7) } else { Err(anyhow::anyhow!("a\nb")) };
                asked.answer(result).await;
            }
        };
        let ask = async {
            assert_eq!(start(&directory, "miner-01").await.unwrap(), 7);
            assert_eq!(start(&directory, "x").await.unwrap_err().to_string(), "a | b");
        };
        tokio::join!(serve, ask);
    }

    /// The supervisor looks after its processes between requests; a request that came in that moment was dropped once.
    #[tokio::test]
    async fn a_request_outlives_a_wait_that_was_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut control = Control::bind(directory.path()).unwrap();
        let (_descriptor, path) = short_path(directory.path()).unwrap();
        let mut slow = UnixStream::connect(path).await.unwrap();
        let given_up = tokio::time::timeout(std::time::Duration::from_millis(50), control.next()).await;
        assert!(given_up.is_err(), "nothing was asked yet");
        slow.write_all(b"miner-01\n").await.unwrap();
        let asked = control.next().await;
        assert_eq!(asked.name, "miner-01");
        asked.answer(Ok(7)).await;
        assert_eq!(read_line(&mut slow).await.unwrap(), "ok 7");
    }
}
