//! What people do with a gateway: six S3 clients nobody here wrote, the snippets of docs/use, a gateway that is killed while
//! it takes something in, and one that is made again after its disk was lost; and what the lost one left on the miners.

mod orphans;
mod recovery;

use std::{
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{
    http,
    layout::{make, program},
    network::{Network, Options, local},
    progress::Progress,
    report::Report,
    story::{begin, client, end, within},
};

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// As few as can be placed on: a stripe takes two of each of 15 families.
const MINERS: u16 = 30;
/// How long a killed gateway may take to be healthy again.
const HEALTHY: Duration = Duration::from_secs(60);
/// Stripes that are stored of an upload before the gateway dies.
const STRIPES_LOST: u64 = 4;
const BUCKET: &str = "kept";
/// Bytes of what is stored while the gateway dies.
const LARGE_BYTES: usize = 256 << 20;

/// How the story is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Files of the tree that each client synchronises.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    files: u32,
    /// Clients at once.
    #[arg(long, value_name = "N", default_value_t = 2)]
    at_once: u32,
    /// Only these clients.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    clients: Vec<String>,
    /// Only what becomes of a gateway that is killed and lost: no clients, no snippets.
    #[arg(long, conflicts_with_all = ["files", "at_once", "clients"])]
    only_failures: bool,
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 24_000)]
    base_port: u16,
}

struct Stage {
    network: Network,
    report: Report,
    progress: Progress,
}

/// Tells the story. The exit code says whether every check held.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::start();
    let (mut network, lock) =
        begin("gateway", arguments.base_port, Options { miners: MINERS, validators: 1 })?;
    network.take_snapshots();
    network.collect_orphans_after(orphans::RETENTION.to_owned());
    let mut stage = Stage { network, report: Report::new("gateway"), progress };
    let told = within(DEADLINE, tell(&mut stage, arguments)).await;
    let Stage { report, progress, network } = stage;
    Ok(end(network, &lock, report, &progress, told).await)
}

async fn tell(stage: &mut Stage, arguments: &Arguments) -> anyhow::Result<()> {
    stage.report.step(1, &format!("the network forms, with {MINERS} miners"));
    stage.network.form(&stage.progress).await?;
    if !arguments.only_failures {
        used(stage, arguments).await?;
    }
    killed(stage).await?;
    let lost = recovery::told(stage).await?;
    orphans::told(stage, &lost).await
}

/// Steps 2 and 3: what people do with a gateway that nothing happens to.
async fn used(stage: &mut Stage, arguments: &Arguments) -> anyhow::Result<()> {
    stage.report.step(2, &format!("S3 clients, unmodified, with {} files each", arguments.files));
    let mut matrix = vec![
        "--files".to_owned(),
        arguments.files.to_string(),
        "--at-once".to_owned(),
        arguments.at_once.to_string(),
    ];
    matrix.extend(arguments.clients.iter().cloned());
    told_by(stage, "s3/matrix.py", &matrix).await?;
    stage.report.step(3, "the snippets of docs/use");
    let mut pages = vec!["--control".to_owned()];
    for name in ["cli", "aws-cli", "boto3", "rclone", "javascript", "backup"] {
        pages.push(client::source(&format!("../docs/use/{name}.md"))?.to_string_lossy().into_owned());
    }
    told_by(stage, "s3/snippets.py", &pages).await
}

/// Runs a program of ours that prints `PASS ...` and `FAIL ...`, and takes over what it found.
async fn told_by(stage: &mut Stage, script: &str, arguments: &[String]) -> anyhow::Result<()> {
    let python = std::env::var_os("ARION_S3_PYTHON")
        .context("ARION_S3_PYTHON is not set: run this through scripts/e2e")?;
    let programs = Path::new(&program("arion")?).parent().map(PathBuf::from).context("no directory")?;
    let access = stage.network.s3()?.clone();
    let mut child = Command::new(python)
        .arg(client::source(script)?)
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", &access.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &access.secret_key)
        .env("AWS_DEFAULT_REGION", &access.region)
        .env("S3_ENDPOINT", &access.endpoint)
        .env("ARION_BIN", programs)
        .env("ARION_CHAIN_URL", stage.network.ws())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {script}"))?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    while let Some(line) = lines.next_line().await? {
        match (line.trim_start().strip_prefix("PASS "), line.trim_start().strip_prefix("FAIL ")) {
            (Some(what), _) => stage.report.check(what, true),
            (_, Some(what)) => stage.report.check(what, false),
            _ => stage.report.observed(line.trim_start()),
        }
    }
    let ended = child.wait().await?;
    stage.report.check(format!("{script} ended well"), ended.success());
    Ok(())
}

/// Step 4: what was acknowledged is there, what was not is not, and nothing stands in the way of doing it again.
async fn killed(stage: &mut Stage) -> anyhow::Result<()> {
    stage.report.step(4, "the gateway is killed while it takes an object in");
    let directory = stage.network.layout().of("files");
    make(&directory)?;
    let (small, large) = (directory.join("small"), directory.join("large"));
    std::fs::write(&small, b"acknowledged")?;
    let mut body = vec![0; LARGE_BYTES];
    blake3::Hasher::new().update(b"killed").finalize_xof().fill(&mut body);
    std::fs::write(&large, &body)?;
    s3(stage, &["make-bucket", BUCKET]).await?;
    let kept = s3(stage, &["put", path(&small)?, BUCKET, "small"]).await?;

    let before = stripes_stored(stage).await?;
    let access = stage.network.s3()?.clone();
    let file = path(&large)?.to_owned();
    let upload = tokio::spawn(async move { client::s3(&access, &["put", &file, BUCKET, "large"]).await });
    until_part_of_it_is_stored(stage, before).await?;
    stage.network.kill("gateway")?;
    // The client tries again and gives up, or finds the next gateway: both are its right.
    stage.network.start_healthy(&["gateway".to_owned()]).await?;
    stage.network.supervisor().wait_healthy("gateway", HEALTHY).await?;
    let outcome = upload.await?;
    stage.report.observed(format!("the upload that was under way: {}", said(&outcome)));

    let back = s3(stage, &["get", BUCKET, "small", path(&directory.join("back"))?]).await?;
    stage.report.check("what was acknowledged before is read, equal", back["blake3"] == kept["blake3"]);
    let wanted = blake3::hash(&body).to_hex().to_string();
    let found = s3(stage, &["get", BUCKET, "large", path(&directory.join("back"))?]).await?;
    let acknowledged = outcome.as_ref().is_ok_and(|answer| answer["blake3"].is_string());
    let whole = found["blake3"].as_str() == Some(wanted.as_str());
    let absent = found["error"] == "NoSuchKey";
    stage.report.check(
        "what was under way is whole if it was acknowledged, and whole or absent otherwise",
        whole || (absent && !acknowledged),
    );
    s3(stage, &["put", path(&large)?, BUCKET, "large"]).await?;
    let found = s3(stage, &["get", BUCKET, "large", path(&directory.join("back"))?]).await?;
    stage
        .report
        .check("it is stored again and read, equal", found["blake3"].as_str() == Some(wanted.as_str()));
    Ok(())
}

/// Stripes were stored since the upload began, more than what else goes on may bring: the gateway has something to lose. What the
/// miners hold says nothing of that while earlier objects are being deleted.
async fn until_part_of_it_is_stored(stage: &Stage, before: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    while stripes_stored(stage).await? < before + STRIPES_LOST {
        ensure!(begun.elapsed() < HEALTHY, "the upload does not get on within {} s", HEALTHY.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn stripes_stored(stage: &Stage) -> anyhow::Result<u64> {
    let address = local(stage.network.ports().gateway_http());
    http::metric(&address, "arion_gateway_stripes_stored_total").await
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the directory of the network is not UTF-8")
}

fn said(outcome: &anyhow::Result<Value>) -> String {
    match outcome {
        Ok(answer) if answer["error"].is_string() => format!("refused with {}", answer["error"]),
        Ok(_) => "acknowledged".to_owned(),
        Err(error) => format!("no answer: {error:#}"),
    }
}

async fn s3(stage: &Stage, arguments: &[&str]) -> anyhow::Result<Value> {
    client::s3(stage.network.s3()?, arguments).await
}
