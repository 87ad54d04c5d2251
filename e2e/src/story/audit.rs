//! An epoch ends, its bundle is stored and committed to, and a stranger with a node's address checks all of it.
//!
//! A miner offers more space: that makes a new map, and with it the end of the epoch. The length of a bucket later (100 blocks,
//! 5 minutes here) the chain-submitter makes the bundle.

mod ledger;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_chain::{ChainClient, CommittedEpoch};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    layout::make,
    network::{Network, Options},
    progress::Progress,
    report::Report,
    story::{begin, client, end, within},
};

/// The longest the story may take; then it has failed.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// As few as can be placed on: a stripe takes two of each of 15 families.
const MINERS: u16 = 30;
/// Attestations of the epoch that are waited for before it ends.
const ATTESTATIONS: usize = 20;
const ATTESTED_DEADLINE: Duration = Duration::from_secs(300);
const MAP_DEADLINE: Duration = Duration::from_secs(120);
/// A bucket's length of blocks of 3 s, what the submitter may wait for besides, and finality.
const COMMITTED_DEADLINE: Duration = Duration::from_secs(900);
const HEALTHY_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(2);
/// Twice what miners offer otherwise.
const MORE_CAPACITY: &str = "32GiB";
const OBJECT_BYTES: usize = 4 << 20;

/// How the story is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// First of the 300 ports that the network of the story uses.
    #[arg(long, value_name = "P", default_value_t = 24_400)]
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
    let (mut network, lock) = begin("audit", arguments.base_port, Options { miners: MINERS, validators: 1 })?;
    network.make_bundles();
    network.drop_dead_lines_after(ledger::KEEP_DEAD);
    let mut stage = Stage { network, report: Report::new("audit"), progress };
    let told = within(DEADLINE, tell(&mut stage)).await;
    let Stage { report, progress, network, .. } = stage;
    Ok(end(network, &lock, report, &progress, told).await)
}

async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage
        .report
        .step(1, &format!("the network forms, with {MINERS} miners; an object is stored and audited"));
    let map = stage.network.form(&stage.progress).await?.map;
    let chain = stage.network.chain().await?;
    store(stage).await?;
    let attested = until_attested(stage, &chain, map.epoch).await?;
    stage.report.observed(format!("{attested} attestations about epoch {} are on chain", map.epoch));

    stage
        .report
        .step(2, "a miner offers more space: a new map ends the epoch, and its bundle is committed to");
    let name = Network::miner_name(0);
    stage.network.stop_one(&name).await?;
    stage.network.supervisor().tell(&name, "capacity", MORE_CAPACITY)?;
    stage.network.start(&name)?;
    stage.network.supervisor().wait_healthy(&name, HEALTHY_DEADLINE).await?;
    until_epoch(&chain, map.epoch + 1).await?;
    let (committed, seconds) = until_committed(&chain, map.epoch).await?;
    stage.report.observed(format!(
        "{seconds} s after the new map: {} attestations in bundle {}",
        committed.commitment.count,
        hex::encode(committed.commitment.content_hash)
    ));
    let submitter = stage.network.account("submitter")?.id();
    stage.report.check("the commitment is the submitter's", committed.submitter == submitter);

    stage.report.step(3, "a stranger checks it with the address of a node and of the gateway, and no key");
    let saved = stage.network.layout().of("bundle");
    let epoch = map.epoch.to_string();
    let saved_text = path(&saved)?.to_owned();
    let (code, told) = verify(stage, &[&epoch, "--save", &saved_text]).await?;
    told_of_all(stage, code, &told, &committed);
    spoil(stage, &epoch, &saved, &committed).await?;
    ledger::full(stage).await?;
    ledger::dropped(stage).await
}

async fn store(stage: &mut Stage) -> anyhow::Result<()> {
    let directory = stage.network.layout().of("files");
    make(&directory)?;
    let file = directory.join("object");
    let mut body = vec![0; OBJECT_BYTES];
    blake3::Hasher::new().update(b"audited").finalize_xof().fill(&mut body);
    std::fs::write(&file, &body)?;
    let access = stage.network.s3()?.clone();
    client::s3(&access, &["make-bucket", "audited"]).await?;
    client::s3(&access, &["put", path(&file)?, "audited", "object"]).await?;
    Ok(())
}

/// Waits for attestations about the epoch; how many there are.
async fn until_attested(stage: &Stage, chain: &ChainClient, epoch: u64) -> anyhow::Result<usize> {
    let begun = Instant::now();
    let head = chain.finalized().await?;
    let starts = chain.epoch_starts(&head).await?;
    let first = starts.iter().find(|(kept, _)| *kept == epoch).context("the epoch is not kept")?.1;
    loop {
        let stored = chain.attestations_by_bucket().await?;
        let of_epoch = stored.values().flatten().filter(|record| record.block_number >= u64::from(first));
        let count = of_epoch.count();
        if count >= ATTESTATIONS {
            return Ok(count);
        }
        if begun.elapsed() > ATTESTED_DEADLINE {
            let waited = ATTESTED_DEADLINE.as_secs();
            bail!(
                "{count} attestations after {waited} s: look at {}",
                stage.network.layout().logs().display()
            );
        }
        sleep(POLL).await;
    }
}

async fn until_epoch(chain: &ChainClient, epoch: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    while chain.current_epoch().await? < epoch {
        if begun.elapsed() > MAP_DEADLINE {
            bail!("no new map within {} s", MAP_DEADLINE.as_secs());
        }
        sleep(POLL).await;
    }
    Ok(())
}

async fn until_committed(chain: &ChainClient, epoch: u64) -> anyhow::Result<(CommittedEpoch, u64)> {
    let begun = Instant::now();
    loop {
        if let Some(committed) = chain.committed_epoch(epoch).await? {
            return Ok((committed, begun.elapsed().as_secs()));
        }
        if begun.elapsed() > COMMITTED_DEADLINE {
            bail!("nobody committed to epoch {epoch} within {} s", COMMITTED_DEADLINE.as_secs());
        }
        sleep(POLL).await;
    }
}

/// Runs `arion verify epoch` with nothing but addresses; its exit code and what it printed.
async fn verify(stage: &Stage, arguments: &[&str]) -> anyhow::Result<(Option<i32>, Value)> {
    let (ws, endpoint) = (stage.network.ws(), &stage.network.s3()?.endpoint);
    let command = ["--json", "--node", &ws, "--s3-endpoint", endpoint, "verify", "epoch"];
    let output = client::arion(&[&command[..], arguments].concat()).await?;
    let told = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("arion verify: {}", String::from_utf8_lossy(&output.stderr).trim()))?;
    Ok((output.status.code(), told))
}

fn told_of_all(stage: &mut Stage, code: Option<i32>, told: &Value, committed: &CommittedEpoch) {
    let report = &mut stage.report;
    report.observed(format!(
        "{} attestations of {} wardens, {} with the miner's answer, {} bytes in {} parts",
        told["attestations"], told["wardens"], told["with_exhibit"], told["bytes"], told["parts"]
    ));
    report.check("it holds, exit code 0", code == Some(0) && told["holds"] == true);
    report.check(
        "it has as many attestations as were committed to",
        told["attestations"] == committed.commitment.count,
    );
    report.check(
        "every bucket of the epoch was compared with the chain",
        told["buckets"] == told["buckets_compared"],
    );
    let empty = Vec::new();
    let miners = told["miners"].as_array().unwrap_or(&empty);
    let sum = |field: &str| miners.iter().filter_map(|miner| miner[field].as_u64()).sum::<u64>();
    let (passed, others) = (sum("passed"), sum("failed") + sum("invalid_proofs"));
    report
        .check(format!("{} miners: {passed} passes, nobody failed", miners.len()), passed > 0 && others == 0);
    report.check(
        format!("{} passes are shown by the miner's own answer", sum("shown")),
        sum("shown") >= passed.div_ceil(2),
    );
}

/// A byte of a part and a byte of the index, each changed alone.
async fn spoil(
    stage: &mut Stage,
    epoch: &str,
    saved: &Path,
    committed: &CommittedEpoch,
) -> anyhow::Result<()> {
    stage.report.step(4, "one byte of what it fetched is changed, and it does not hold any more");
    let index = hex::encode(committed.commitment.content_hash);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(saved)? {
        files.push(entry?.path());
    }
    files.sort();
    let mut what = Vec::new();
    for file in files {
        let before = std::fs::read(&file)?;
        let mut changed = before.clone();
        let at = before.len() / 2;
        *changed.get_mut(at).context("an object of the bundle is empty")? ^= 1;
        std::fs::write(&file, &changed)?;
        let is_index = file.file_name().is_some_and(|name| name == index.as_str());
        let (code, told) = verify(stage, &[epoch, "--bundle", path(saved)?]).await?;
        std::fs::write(&file, &before)?;
        let said = told["faults"][0]["text"].as_str().unwrap_or("nothing").to_owned();
        let is_named = said.starts_with(if is_index { "index" } else { "attestation" });
        let name = if is_index { "the index" } else { "a part" };
        stage.report.check(format!("byte {at} of {name}: {said}"), code == Some(1) && is_named);
        what.push(is_index);
    }
    stage.report.check("an index and parts were tried", what.contains(&true) && what.contains(&false));
    let (code, _) = verify(stage, &[epoch, "--bundle", path(saved)?]).await?;
    stage.report.check("as it was, it holds", code == Some(0));
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the directory of the network is not UTF-8")
}
