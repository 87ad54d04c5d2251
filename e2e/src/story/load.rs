//! The load: a process of its own that says in lines of JSON what it saw.

use std::process::Stdio;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use super::picture::Picture;
use crate::{report::Report, state::S3Access, story::client};

/// What a run comes to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Verdict {
    /// Changes that were answered with success.
    pub acknowledged: u64,
    /// Objects that are not there, or cannot be read.
    pub lost: u64,
    /// Objects with bytes that nobody wrote.
    pub corrupt: u64,
    /// Objects in an earlier version, or deleted ones that are there.
    pub wrong: u64,
    /// Objects that are there for certain.
    pub keys: Vec<String>,
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Second {
    /// Seconds since the load began.
    pub second: u64,
    /// Answers that were fine.
    pub ok: u64,
    /// Those that were not, or did not come.
    pub failed: u64,
    /// Longest answer, in seconds.
    pub slowest: f64,
}

pub(super) struct Load {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::UnboundedReceiver<Value>,
    seconds: u64,
    failed_at: Vec<u64>,
}

impl Load {
    /// Against one endpoint, or replicas that take turns; `further` are those beside the first.
    pub(super) async fn start(
        access: &S3Access,
        further: &[S3Access],
        seed: u64,
        bucket: &str,
    ) -> anyhow::Result<Self> {
        let endpoints = std::iter::once(access).chain(further).map(|access| access.endpoint.as_str());
        let endpoints: Vec<&str> = endpoints.collect();
        let python = std::env::var_os("ARION_PYTHON")
            .context("ARION_PYTHON is not set: run this through scripts/chaos or scripts/e2e")?;
        let mut child = Command::new(python)
            .arg(client::source("s3/load.py")?)
            .args(["--seed", &seed.to_string(), "--bucket", bucket])
            .env("AWS_ACCESS_KEY_ID", &access.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &access.secret_key)
            .env("AWS_DEFAULT_REGION", &access.region)
            .env("S3_ENDPOINT", endpoints.join(","))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run load.py")?;
        let stdin = child.stdin.take().context("no input")?;
        let mut printed = BufReader::new(child.stdout.take().context("no output")?).lines();
        // As many as the run has seconds and findings; read several times a second.
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = printed.next_line().await {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdin, lines, seconds: 0, failed_at: vec![0; endpoints.len()] })
    }

    /// Takes over what was said meanwhile.
    pub(super) fn read(&mut self, report: &mut Report, picture: &mut Picture) -> anyhow::Result<()> {
        while let Ok(line) = self.lines.try_recv() {
            self.take(&line, report, picture);
        }
        match self.child.try_wait()? {
            Some(status) => bail!("load.py ended: {status}"),
            None => Ok(()),
        }
    }

    fn take(&mut self, line: &Value, report: &mut Report, picture: &mut Picture) {
        if let Ok(second) = serde_json::from_value::<Second>(line.clone()) {
            self.seconds = self.seconds.max(second.second + 1);
            picture.second(second);
            let failed = line["failed_at"].as_array().into_iter().flatten().filter_map(Value::as_u64);
            for (sum, failed) in self.failed_at.iter_mut().zip(failed) {
                *sum += failed;
            }
        } else if let Some(kind) = line["finding"].as_str() {
            report.check(format!("{} is {kind}: {}", line["key"], line["what"]), false);
        }
    }

    /// Requests to each endpoint that failed so far, up to the last whole second.
    pub(super) fn failed_at(&self) -> &[u64] {
        &self.failed_at
    }

    async fn say(&mut self, word: &str) -> anyhow::Result<()> {
        self.stdin.write_all(format!("{word}\n").as_bytes()).await?;
        Ok(self.stdin.flush().await?)
    }

    /// Ends the load; answers how many seconds it lasted.
    pub(super) async fn stop(&mut self, report: &mut Report, picture: &mut Picture) -> anyhow::Result<u64> {
        self.say("stop").await?;
        while let Some(line) = self.lines.recv().await {
            if line["stopped"] == true {
                return Ok(self.seconds);
            }
            self.take(&line, report, picture);
        }
        bail!("load.py ended before it stopped")
    }

    /// Has everything read and compared.
    pub(super) async fn verify(
        &mut self,
        report: &mut Report,
        picture: &mut Picture,
    ) -> anyhow::Result<Verdict> {
        self.say("verify").await?;
        while let Some(line) = self.lines.recv().await {
            if line["acknowledged"].is_u64() {
                return serde_json::from_value(line).context("not a verdict");
            }
            if line["finding"].is_string() {
                self.take(&line, report, picture);
            }
        }
        bail!("load.py ended before its verdict")
    }
}
