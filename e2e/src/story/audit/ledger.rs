//! The ledger behind the audits: read from its segments by anybody, and without the lines that nothing needs any more.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::time::sleep;

use super::{POLL, Stage, client, path};
use crate::{
    http,
    network::{Network, local},
};

/// How long lines that nothing needs stay when the chain knows that they are to go.
pub(super) const KEEP_DEAD: &str = "10s";
/// Lines of a full segment of the ledger.
const SEGMENT_LINES: u64 = 4_096;
/// More stripes, of 30 shards each, than a segment has lines for.
const STRIPES: u64 = SEGMENT_LINES / 30 + 4;
const SEGMENT_DEADLINE: Duration = Duration::from_secs(60);
/// For deletions, a commitment to the line that says what is kept, its finality, and what it takes to drop the others.
const DROPPED_DEADLINE: Duration = Duration::from_secs(240);
const AUDITED_DEADLINE: Duration = Duration::from_secs(120);

/// Stores small objects until a segment of the gateway's ledger is full, and verifies that without asking the gateway.
pub(super) async fn full(stage: &mut Stage) -> anyhow::Result<()> {
    stage.report.step(
        5,
        "so many stripes that a segment of the ledger is full: anybody verifies it without asking the gateway for it",
    );
    let file = stage.network.layout().of("files").join("small");
    std::fs::write(&file, b"a stripe of its own")?;
    many(stage, &["store-many", path(&file)?], STRIPES).await?;
    let told = verified(stage, true).await?;
    stage.report.check(
        format!("arion ledger verify --segments: {} lines, {} findings", told["lines"], told["found"]),
        told["found"] == 0 && told["lines"].as_u64() >= Some(SEGMENT_LINES),
    );
    Ok(())
}

/// Deletes most of it: the gateway drops what nothing needs, and whoever comes later goes by the rest.
pub(super) async fn dropped(stage: &mut Stage) -> anyhow::Result<()> {
    stage.report.step(
        6,
        "most of it is deleted: the ledger drops the lines of what is gone, and a newcomer reads the rest",
    );
    let files = stage.network.layout().of("files");
    let receipt = files.join("receipt.json");
    let access = stage.network.s3()?.clone();
    let made = client::s3(&access, &["receipt", "audited", "object", path(&receipt)?]).await?;
    let (code, before) = traced(stage, &receipt).await?;
    stage.report.check(
        format!("arion receipt trace: the object's receipt was made, and all its shards are live in the ledger, exit code {code:?}"),
        made["error"].is_null() && code == Some(0) && before["is_kept"] == true,
    );
    client::s3(&access, &["delete", "audited", "object"]).await?;
    many(stage, &["store-many", path(&files.join("small"))?], 2 * STRIPES).await?;
    many(stage, &["delete-many"], 2 * STRIPES).await?;
    let gateway = local(stage.network.ports().gateway_http());
    let begun = Instant::now();
    let base = loop {
        let base = http::metric(&gateway, "arion_gateway_ledger_base").await?;
        if base > 0 {
            break base;
        }
        if begun.elapsed() > DROPPED_DEADLINE {
            bail!("no line was dropped within {} s: look with `logs gateway`", DROPPED_DEADLINE.as_secs());
        }
        sleep(POLL).await;
    };
    let kept = http::metric(&gateway, "arion_gateway_ledger_kept").await?;
    let seconds = begun.elapsed().as_secs();
    stage
        .report
        .observed(format!("{seconds} s after the deletions: of the lines up to {base} {kept} are kept"));
    stage.report.check("at least half of these lines are gone", kept <= base / 2);
    let told = verified(stage, false).await?;
    let (until, found) = (&told["compacted_until"], &told["found"]);
    stage.report.check(
        format!(
            "the gateway's word: what is kept up to line {until} is what it committed to, {found} findings"
        ),
        *found == 0 && told["compacted_until"].as_u64() >= Some(base),
    );
    let told = verified(stage, true).await?;
    stage.report.check(
        format!("the segments have all lines: {} of them, {} findings", told["lines"], told["found"]),
        told["found"] == 0 && told["lines"].as_u64() >= Some(base),
    );

    let (code, after) = traced(stage, &receipt).await?;
    let (stripe, is_shown) = (&after["stripes"][0], !after["stripes"][0]["proof"].is_null());
    stage.report.check(
        format!(
            "arion receipt trace: {} shards of a stripe were deleted, lines {}, which the gateway committed to; exit code {code:?}",
            stripe["deleted"], stripe["deleted_by"]
        ),
        code == Some(1) && after["is_kept"] == false && stripe["live"] == 0 && is_shown,
    );

    let warden = Network::warden_name(0);
    stage.network.stop_one(&warden).await?;
    std::fs::remove_file(stage.network.layout().of(&warden).join("warden.redb"))?;
    stage.network.start_healthy(&[warden]).await?;
    let address = local(stage.network.ports().warden_http(0));
    let verdicts = async |result: &str| {
        http::metric(&address, &format!("arion_warden_verdicts_total{{result=\"{result}\"}}")).await
    };
    let begun = Instant::now();
    while verdicts("passed").await? == 0 && begun.elapsed() < AUDITED_DEADLINE {
        sleep(POLL).await;
    }
    let (passed, failed) = (verdicts("passed").await?, verdicts("failed").await?);
    stage.report.check(
        format!("a warden that knew nothing audits by what is kept: {passed} passed, {failed} failed"),
        passed > 0 && failed == 0,
    );
    Ok(())
}

/// One after the other, so that each has a stripe.
async fn many(stage: &Stage, command: &[&str], count: u64) -> anyhow::Result<()> {
    let access = stage.network.s3()?;
    let count = count.to_string();
    let done = client::s3(access, &[command, &["audited", &count]].concat()).await?;
    if !done["error"].is_null() {
        bail!("{command:?}: {done}");
    }
    Ok(())
}

/// What `arion ledger verify` says, by the segments in their bucket or by what the gateway gives.
async fn verified(stage: &Stage, by_segments: bool) -> anyhow::Result<Value> {
    let id = stage.network.node_id("gateway")?.to_string();
    let (place, asked) = (segments(stage)?, gateway(stage)?);
    let command: &[&str] = match by_segments {
        true => &["ledger", "verify", &id, "--segments", &place],
        false => &["ledger", "verify", &asked],
    };
    Ok(told(stage, command).await?.1)
}

/// What `arion receipt trace` says by the segments and the lines behind them, and its exit code. Commitments may all be to lines behind.
async fn traced(stage: &Stage, receipt: &Path) -> anyhow::Result<(Option<i32>, Value)> {
    let (segments, gateway) = (segments(stage)?, gateway(stage)?);
    told(stage, &["receipt", "trace", path(receipt)?, &gateway, "--segments", &segments]).await
}

fn gateway(stage: &Stage) -> anyhow::Result<String> {
    let id = stage.network.node_id("gateway")?;
    Ok(format!("{id}@{}", local(stage.network.ports().gateway_quic())))
}

fn segments(stage: &Stage) -> anyhow::Result<String> {
    Ok(format!("{}/arion-ledger", stage.network.s3()?.endpoint))
}

/// What `arion` prints; segments may still be on their way.
async fn told(stage: &Stage, command: &[&str]) -> anyhow::Result<(Option<i32>, Value)> {
    let ws = stage.network.ws();
    let command = [&["--json", "--node", &ws], command].concat();
    let begun = Instant::now();
    loop {
        let output = client::arion(&command).await?;
        match serde_json::from_slice(&output.stdout) {
            Ok(told) => return Ok((output.status.code(), told)),
            Err(_) if begun.elapsed() < SEGMENT_DEADLINE => sleep(POLL).await,
            Err(error) => {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(error).with_context(|| format!("{}: {}", command.join(" "), said.trim()));
            }
        }
    }
}
