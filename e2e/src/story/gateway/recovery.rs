//! Step 5: the gateway's disk is lost. What is left is a copy of its account key, its owner's key, and the chain.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use arion_types::NodeId;
use serde_json::Value;

use super::{BUCKET, Stage, path, s3, stripes_stored, until_part_of_it_is_stored};
use crate::{
    http,
    layout::make,
    network::{local, registration::run},
    story::client,
};

const GATEWAY: &str = "gateway";
/// For miners to say what they have.
const CONFIRMED_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_secs(1);

/// The node id of the gateway that was lost.
pub(super) async fn told(stage: &mut Stage) -> anyhow::Result<NodeId> {
    stage.report.step(
        5,
        "the gateway's disk is lost, and a gateway is made again from its account key and the chain",
    );
    let (data, files) = (stage.network.directory(GATEWAY), stage.network.layout().of("files"));
    let payer = stage.network.account_file(GATEWAY);
    let ws = stage.network.ws();
    let place = ["--data-dir", path(&data)?, "--chain-url", &ws, "--snapshot-account-file", path(&payer)?];
    let before = s3(stage, &["get", BUCKET, "large", path(&files.join("back"))?]).await?;

    let said = run(&[&["arion-gateway", "snapshot", "now"], &place[..]].concat()).await?;
    stage.report.check(
        "the running gateway makes a snapshot, and the chain has finalised it",
        said.contains("named under"),
    );
    put(stage, "too-late", b"acknowledged after the snapshot").await?;
    let key = files.join("account.key");
    fs::copy(data.join("account.key"), &key).context("cannot copy the account key")?;
    let lost = stage.network.node_id(GATEWAY)?;
    // It dies while it takes something in, and never looks after that again.
    let stored = stripes_stored(stage).await?;
    let (access, file) = (stage.network.s3()?.clone(), path(&files.join("large"))?.to_owned());
    let upload = tokio::spawn(async move { client::s3(&access, &["put", &file, BUCKET, "half"]).await });
    until_part_of_it_is_stored(stage, stored).await?;
    stage.network.kill(GATEWAY)?;
    upload.abort();
    fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;

    make(&data)?;
    fs::copy(&key, data.join("account.key")).context("cannot copy the account key back")?;
    run(&["arion-gateway", "init", "--data-dir", path(&data)?]).await?;
    let owner = ["--owner-key", path(&payer)?, "--json"];
    let said = run(&[&["arion-gateway", "recover"], &place[..4], &owner].concat()).await?;
    let report: Value = serde_json::from_str(&said).context("recover told no numbers")?;
    stage.report.observed(format!(
        "recovered: {} objects in {} buckets, {} bytes, from {} nodes, {} s old",
        report["objects"], report["buckets"], report["bytes"], report["nodes"], report["age_seconds"]
    ));
    stage.report.check("its node key is another one", stage.network.node_id(GATEWAY)? != lost);
    stage.network.start_healthy(&[GATEWAY.to_owned()]).await?;

    let lines = until_confirmed(stage).await?;
    stage.report.check(format!("miners have confirmed what its ledger names: {lines} lines"), lines > 0);
    let back = path(&files.join("back"))?.to_owned();
    let small = s3(stage, &["get", BUCKET, "small", &back]).await?;
    let wanted = blake3::hash(b"acknowledged").to_hex().to_string();
    let is_read = small["blake3"].as_str() == Some(wanted.as_str());
    stage.report.check("the same access key reads what was stored, equal", is_read);
    let large = s3(stage, &["get", BUCKET, "large", &back]).await?;
    let is_equal = large["blake3"].is_string() && large["blake3"] == before["blake3"];
    stage.report.check("so it does with 256 MiB", is_equal);
    let late = s3(stage, &["get", BUCKET, "too-late", &back]).await?;
    stage.report.check("what was acknowledged after the snapshot is not there", late["error"] == "NoSuchKey");
    put(stage, "new", b"stored by the new gateway").await?;
    let new = s3(stage, &["get", BUCKET, "new", &back]).await?;
    let wanted = blake3::hash(b"stored by the new gateway").to_hex().to_string();
    stage.report.check("it stores and reads what is new", new["blake3"].as_str() == Some(wanted.as_str()));
    Ok(lost)
}

/// Waits until no receipt of the snapshot waits for its miner; how many lines the ledger has then.
async fn until_confirmed(stage: &Stage) -> anyhow::Result<u64> {
    let address = local(stage.network.ports().gateway_http());
    let begun = Instant::now();
    loop {
        let lines = http::metric(&address, "arion_gateway_ledger_entries").await?;
        let waiting = http::metric(&address, "arion_gateway_shards_unconfirmed").await?;
        if lines > 0 && waiting == 0 {
            return Ok(lines);
        }
        if begun.elapsed() > CONFIRMED_DEADLINE {
            bail!("{waiting} receipts are not confirmed after {} s", CONFIRMED_DEADLINE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn put(stage: &Stage, key: &str, body: &[u8]) -> anyhow::Result<()> {
    let file = stage.network.layout().of("files").join(key);
    fs::write(&file, body).with_context(|| format!("cannot write {}", file.display()))?;
    s3(stage, &["put", path(&file)?, BUCKET, key]).await?;
    Ok(())
}
